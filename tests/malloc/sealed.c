/* sealed.c - programs that forbid themselves system calls, some of which Oakum
 * would need to know of them. */
#include "forbid.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* From here on nothing but read, write and the end of the thread. */
static void seal(void)
{
    leak();
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) exit(6);
    free(malloc(100));
    syscall(SYS_exit, 4);
}

static void filter(void)
{
    forbid_all();
    exit(4);
}

/* Of a child, which has nothing to report, and so is not to ask whether it may. */
static void filter_child(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        forbid(SYS_openat, 0);
        _exit(7);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) exit(6);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
}

/* A collection is due, and a report; it would fork. */
static void filter_waste(void)
{
    forbid_all();
    waste();
}

static void *waste_forbidden(void *arg)
{
    forbid_fork(0);
    waste();
    return arg;
}

/* Of a thread that has forbidden it only to itself. */
static void filter_thread(void)
{
    pthread_t id;
    if (pthread_create(&id, NULL, waste_forbidden, NULL) != 0) exit(6);
    pthread_join(id, NULL);
}

/* Nothing that would tell of the filter may be asked for. */
static void forbid_questions(unsigned flags)
{
    leak();
    forbid(SYS_openat, flags);
    forbid(SYS_prctl, flags);
}

/* Two filters: what the first one forbids isn't called before the second. */
static void filter_twice(void)
{
    leak();
    forbid(SYS_ppoll, 0);
    forbid_questions(0);
    exit(4);
}

static void filter_open(void)
{
    forbid_questions(SECCOMP_FILTER_FLAG_TSYNC);
    exit(4);
}

static void filter_prctl(void)
{
    forbid_questions(BY_PRCTL);
    waste();
    exit(4);
}

static void *exit_forbidden(void *arg)
{
    (void)arg;
    exit(4);
}

/* A thread has its starter's filter. */
static void filter_heir(void)
{
    pthread_t id;
    forbid_questions(0);
    if (pthread_create(&id, NULL, exit_forbidden, NULL) != 0) _exit(6);
    pthread_join(id, NULL);
}

/* Started by no function that libc has. */
static void filter_clone(void)
{
    int status = 0;
    leak();
    long child = syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    if (child == 0) {
        forbid_questions(BY_PRCTL);
        _exit(4);
    }
    waitpid((pid_t)child, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
}

/* As OpenSSH does; standard error is a file. */
static void filter_size(void)
{
    if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 0, 0 }) != 0) exit(6);
    filter_prctl();
}

int main(int argc, char **argv)
{
    static const struct way {
        const char *name;
        void (*run)(void);
    } ways[] = { { "strict", seal },       { "filter", filter },     { "child", filter_child },
                 { "waste", filter_waste }, { "thread", filter_thread }, { "open", filter_open },
                 { "prctl", filter_prctl }, { "heir", filter_heir },  { "clone", filter_clone },
                 { "size", filter_size }, { "twice", filter_twice } };
    for (size_t i = 0; argc > 1 && i < sizeof ways / sizeof ways[0]; i++)
        if (strcmp(argv[1], ways[i].name) == 0) return ways[i].run(), 0;
    return 2;
}

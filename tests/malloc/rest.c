/* rest.c - what refers to a block in a place that is easily missed, while much garbage is made and
 * collected: usage: rest result|environment|child|user|dumpable|guard|stack|closed|namespace
 * Ends with 0 if the block is whole, 1 if not, 77 if the system can't do that. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GARBAGE ((size_t)300 << 20)
#define ADVICE_GUARD 102 /* MADV_GUARD_INSTALL, from Linux 6.13 */

static const char text[] = "OAKUM_TEST_REST=kept";

/* Of the size of the text's block, too, each filled. */
static __attribute__((noinline)) void make_garbage(void)
{
    static const size_t size[] = { sizeof text, 100, 4000, 100000 };
    for (size_t all = 0, i = 0; all < GARBAGE; i++) {
        size_t n = size[i % 4];
        char *p = malloc(n);
        if (p) memset(p, 'x', n);
        all += n;
    }
}

static __attribute__((noinline)) char *new_text(void)
{
    char *p = malloc(sizeof text);
    return p ? memcpy(p, text, sizeof text) : NULL;
}

/* ---- the result of a thread that is joined late ---- */

static void *give_text(void *arg)
{
    (void)arg;
    return new_text();
}

static int result(void)
{
    pthread_t t;
    void *p;
    if (pthread_create(&t, NULL, give_text, NULL) != 0) return 2;
    usleep(100000); /* it has ended, or still has its result on its stack */
    make_garbage();
    if (pthread_join(t, &p) != 0) return 2;
    int wrong = strcmp(p, text) != 0;
    free(p);
    return wrong;
}

/* ---- the environment, after the first thread ---- */

static int environment(void)
{
    char *there = getenv("OAKUM_TEST_REST");
    return !there || strcmp(there, "kept") != 0;
}

static void *outlive(void *arg)
{
    pthread_join(*(pthread_t *)arg, NULL);
    make_garbage();
    exit(environment());
}

static void *fork_child(void *arg)
{
    int status;
    (void)arg;
    pid_t child = fork();
    if (child == 0) {
        make_garbage();
        exit(environment());
    }
    if (child < 0 || waitpid(child, &status, 0) != child) exit(2);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

/* As putenv where the array of names is the one on the stack. */
static int replace(char **variables, int then)
{
    static pthread_t first;
    pthread_t t;
    char **at = variables;
    while (*at && strncmp(*at, "OAKUM_TEST_REST=", 16) != 0) at++;
    if (!*at) return 2;
    *at = new_text();
    first = pthread_self();
    if (pthread_create(&t, NULL, then ? fork_child : outlive, &first) != 0) return 2;
    if (then) pthread_join(t, NULL);
    pthread_exit(NULL);
}

/* ---- what a mapping refers to ---- */

static char **mapping;

static __attribute__((noinline)) int map_text(size_t bytes)
{
    mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return 2;
    *mapping = new_text();
    return 0;
}

/* The page map is root's then. */
static int as_another(int by_user)
{
    if (map_text(4096) != 0) return 2;
    if (by_user ? setuid(65534) : prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) return 77;
    make_garbage();
    return strcmp(*mapping, text) != 0;
}

static int guard(void)
{
    long page = sysconf(_SC_PAGESIZE);
    if (map_text(4 * (size_t)page) != 0) return 2;
    if (madvise((char *)mapping + page, (size_t)page, ADVICE_GUARD) != 0) return 77;
    make_garbage();
    return strcmp(*mapping, text) != 0;
}

/* As glibc makes a thread's guard from 2.42 on. */
static int stack(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 64 * page;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t a;
    pthread_t t;
    void *got;
    if (p == MAP_FAILED || madvise(p, page, ADVICE_GUARD) != 0) return 77;
    if (pthread_attr_init(&a) != 0 || pthread_attr_setstack(&a, p + page, n - page) != 0) return 2;
    if (map_text(page) != 0 || pthread_create(&t, &a, give_text, NULL) != 0) return 2;
    make_garbage();
    if (pthread_join(t, &got) != 0) return 2;
    int wrong = strcmp(got, text) != 0 || strcmp(*mapping, text) != 0;
    free(got);
    return wrong;
}

/* ---- a block with a page that the program closes ---- */

/* Blocks are freed, and lost, with the page closed: the C library unmaps such ones. */
static int closed(void)
{
    static char *kept;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 64 * page;
    void *p;
    for (int i = 0; i < 20; i++) {
        if (posix_memalign(&p, page, n) != 0) return 2;
        memset(p, 0, n);
        if (mprotect((char *)p + page, page, PROT_NONE) != 0) return 2;
        if (i == 0) kept = p;
        else if (i % 2 == 0) free(p);
    }
    *(char **)(kept + 2 * page) = new_text();
    make_garbage();
    for (int i = 0; i < 20; i++) {
        if (posix_memalign(&p, page, n) != 0) return 2;
        memset(p, 'x', n);
    }
    return strcmp(*(char **)(kept + 2 * page), text) != 0;
}

/* ---- a process that begins a namespace ---- */

static int begin_namespace(void)
{
    int status;
    if (unshare(CLONE_NEWPID) != 0) return 77;
    make_garbage();
    pid_t child = fork();
    if (child == 0) _exit(getpid() == 1 ? 0 : 1);
    if (child < 0 || waitpid(child, &status, 0) != child) return 1;
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

int main(int argc, char **argv, char **variables)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "result") == 0) return result();
    if (strcmp(what, "environment") == 0) return replace(variables, 0);
    if (strcmp(what, "child") == 0) return replace(variables, 1);
    if (strcmp(what, "user") == 0) return as_another(1);
    if (strcmp(what, "dumpable") == 0) return as_another(0);
    if (strcmp(what, "guard") == 0) return guard();
    if (strcmp(what, "stack") == 0) return stack();
    if (strcmp(what, "closed") == 0) return closed();
    if (strcmp(what, "namespace") == 0) return begin_namespace();
    return 2;
}

/* storm - threads, forks, keys, signals and programs executed, with malloc everywhere: storm PART.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 6
#define ROUNDS 20000

static void fail(const char *what)
{
    fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
    exit(3);
}

/* ---- threads: what one allocates another frees ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *shared[512];

/* Of forklib.c, where that is preloaded. */
__attribute__((weak)) void forklib_use(void);

static void swap_blocks(unsigned *x, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        *x = *x * 1103515245 + 12345;
        size_t n = (*x >> 20) % 9 ? (*x >> 8) % 500 + 8 : (*x >> 8) % 60000 + 8;
        char *mine = malloc(n);
        if (!mine) fail("malloc");
        memset(mine, (int)(*x >> 24), n < 64 ? n : 64);
        pthread_mutex_lock(&lock);
        char **at = &shared[(*x >> 10) % 512], *other = *at;
        *at = mine;
        pthread_mutex_unlock(&lock);
        free(other);
        if (forklib_use) forklib_use();
    }
}

static void *swapper(void *arg)
{
    unsigned x = (unsigned)(uintptr_t)arg;
    swap_blocks(&x, ROUNDS);
    return NULL;
}

static void threads(void)
{
    pthread_t id[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&id[i], NULL, swapper, (void *)(i + 1)) != 0) fail("thread");
    for (int i = 0; i < THREADS; i++) pthread_join(id[i], NULL);
    for (int i = 0; i < 512; i++) free(shared[i]);
}

/* ---- keys: destructors that allocate, in every round ---- */

static pthread_key_t keys[40];

static void destroy(void *value)
{
    static __thread int again;
    char *p = realloc(value, 300);
    free(p);
    int i = again++ % 40;
    if (again < 100 && !pthread_getspecific(keys[i])) pthread_setspecific(keys[i], malloc(50));
}

static void *with_keys(void *arg)
{
    for (int i = 0; i < 40; i++) pthread_setspecific(keys[i], malloc(100));
    return arg;
}

static void key_threads(void)
{
    for (int i = 0; i < 40; i++)
        if (pthread_key_create(&keys[i], destroy) != 0) fail("key");
    for (int i = 0; i < 200; i++) {
        pthread_t id[2];
        for (int k = 0; k < 2; k++)
            if (pthread_create(&id[k], NULL, with_keys, NULL) != 0) fail("thread");
        for (int k = 0; k < 2; k++) pthread_join(id[k], NULL);
    }
}

/* ---- forks: in threads, with handlers that allocate, while others allocate ---- */

static void in_handler(void) { free(malloc(1234)); }

static void wait_for(pid_t pid)
{
    int status;
    if (pid < 0) fail("fork");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (status != 0) {
        fprintf(stderr, "storm: a child ended with %x\n", (unsigned)status);
        exit(4);
    }
}

static void *child_thread(void *arg)
{
    unsigned x = 99;
    swap_blocks(&x, 100);
    return arg;
}

static void *forker(void *arg)
{
    for (int i = 0; i < 15; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t id;
            pthread_mutex_init(&lock, NULL);
            unsigned x = (unsigned)i;
            swap_blocks(&x, 200);
            if (pthread_create(&id, NULL, child_thread, NULL) != 0) _exit(5);
            pthread_join(id, NULL);
            _exit(0);
        }
        wait_for(pid);
    }
    return arg;
}

static void forks(void)
{
    pthread_t id[4];
    if (pthread_atfork(in_handler, in_handler, in_handler) != 0) fail("atfork");
    for (uintptr_t i = 0; i < 4; i++)
        if (pthread_create(&id[i], NULL, i % 2 ? forker : swapper, (void *)(i + 1)) != 0)
            fail("thread");
    for (int i = 0; i < 4; i++) pthread_join(id[i], NULL);
}

/* ---- programs executed by vfork, and by a shell ---- */

/* Not inlined: the child writes to its caller's variables. */
static __attribute__((noinline)) pid_t start_true(void)
{
    char *const argv[] = { "true", NULL };
    pid_t pid = vfork();
    if (pid == 0) {
        execvp("true", argv);
        _exit(9);
    }
    return pid;
}

static void programs(void)
{
    for (int i = 0; i < 20; i++) {
        wait_for(start_true());
        if (system("exit 0") != 0) fail("system");
    }
}

/* ---- signals: a handler that allocates, which is wrong; and threads that block all ---- */

static volatile sig_atomic_t next_us; /* 0: no more */

/* From the handler's end on, and then twice as long, up to 128 times: what a tool or a busy machine
 * makes slow gets on all the same, and a fork, which begins anew when a signal comes, ends. */
static void arm(long us)
{
    static volatile sig_atomic_t times;
    struct itimerval once = { { 0, 0 }, { 0, us << times++ % 8 } };
    setitimer(ITIMER_REAL, &once, NULL);
}

static void on_signal(int sig)
{
    (void)sig;
    free(malloc(64));
    free(malloc(100000));
    if (next_us) arm(next_us);
}

static void begin_signals(long us)
{
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigaction(SIGALRM, &sa, NULL);
    next_us = us;
    arm(us);
}

static void end_signals(void)
{
    next_us = 0;
    setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 0 }, { 0, 0 } }, NULL);
}

static void signals(void)
{
    unsigned x = 7;
    begin_signals(500);
    swap_blocks(&x, 100000);
    end_signals();
}

/* The same, and nothing but forks that it can interrupt: by a thread that has called malloc before,
 * and by those that have not. */

static void fork_often(int n)
{
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            raise(SIGALRM);
            _exit(0);
        }
        wait_for(pid);
    }
}

static void *forks_first(void *arg)
{
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    fork_often(2);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    return arg;
}

static void interrupted(void)
{
    sigset_t alarm;
    begin_signals(200);
    fork_often(400);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    for (int i = 0; i < 100; i++) {
        pthread_t id;
        if (pthread_create(&id, NULL, forks_first, NULL) != 0) fail("thread");
        pthread_join(id, NULL);
    }
    end_signals();
}

/* A handler that forks, in the middle of malloc and of the program's own forks. */

#define HANDLED 100

static volatile sig_atomic_t handled;

static void fork_in_handler(int sig)
{
    int saved = errno;
    pid_t pid = fork();
    (void)sig;
    if (pid == 0) _exit(0);
    wait_for(pid);
    handled++;
    errno = saved;
}

static void handlers(void)
{
    struct itimerval every = { { 0, 5000 }, { 0, 5000 } };
    struct sigaction sa = { .sa_handler = fork_in_handler, .sa_flags = SA_RESTART };
    unsigned x = 7;
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    while (handled < HANDLED) swap_blocks(&x, 1000);
    while (handled < 2 * HANDLED) {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        wait_for(pid);
    }
    every = (struct itimerval){ { 0, 0 }, { 0, 0 } };
    setitimer(ITIMER_REAL, &every, NULL);
    swap_blocks(&x, 100000);
}

static int ready[2];

static void *blocker(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    free(malloc(10));
    if (write(ready[1], "", 1) != 1) fail("write");
    for (;;) pause();
    return arg;
}

/* A fork stops the other thread, and so does a report at the end. */
static void blocked(void)
{
    pthread_t id;
    char c;
    if (pipe(ready) != 0 || pthread_create(&id, NULL, blocker, NULL) != 0) fail("thread");
    if (read(ready[0], &c, 1) != 1) fail("read");
    pid_t pid = fork();
    if (pid == 0) {
        free(malloc(10));
        _exit(0);
    }
    wait_for(pid);
}

/* ---- */

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = { { "threads", threads }, { "keys", key_threads },  { "forks", forks },
              { "programs", programs }, { "signals", signals }, { "blocked", blocked },
              { "interrupted", interrupted }, { "handlers", handlers } };

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(argv[1], parts[i].name) == 0) return parts[i].run(), 0;
    return 2;
}

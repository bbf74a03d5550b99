/* limits - programs that limit themselves: limits WHAT. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static __attribute__((noinline)) void lose(void)
{
    char *p = malloc(1000);
    if (p) memset(p, 1, 1000);
}

static int limit(int what, rlim_t n)
{
    struct rlimit r = { n, n };
    return setrlimit(what, &r);
}

static int no_files(void)
{
    lose();
    return limit(RLIMIT_FSIZE, 0);
}

/* What the program blocks, and what waits already, stays. */
static int signal_waits(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    lose();
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return 3;
    raise(SIGXFSZ);
    if (limit(RLIMIT_FSIZE, 0) != 0) return 3;
    kill(getpid(), SIGUSR2); /* a report now, where it asks for one */
    return sigpending(&set) != 0 || sigismember(&set, SIGXFSZ) != 1;
}

static void *make_blocks(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        char *p = malloc(100 + i % 1000);
        if (!p) return arg;
        memset(p, 1, 100);
        free(p);
    }
    return NULL;
}

/* A daemon that keeps all that it maps from now on in memory, as an ordinary user: what it can't
 * have is NULL. */
static int locked(void)
{
    if (limit(RLIMIT_MEMLOCK, 8 << 20) != 0) return 3;
    if (getuid() == 0 && setuid(65534) != 0) return 3;
    if (mlockall(MCL_FUTURE) != 0) return 3;
    if (make_blocks("") != NULL) return 1;
    char *p = malloc(100 << 20);
    if (!p && errno != ENOMEM) return 1;
    if (p) memset(p, 1, 100 << 20);
    free(p);
    return make_blocks("") != NULL;
}

/* As many mappings as there may be. What is freed then goes back to the system, or waits. */
static int mappings(void)
{
    enum { MOST = 200000 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    void *block[64];
    for (int i = 0; i < 64; i++) block[i] = malloc((size_t)200 << 10);
    char *all =
        mmap(NULL, MOST * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return 3;
    while (n < MOST && mprotect(all + n * page, page, PROT_READ) == 0) n += 2;
    if (n >= MOST) return 77;
    for (int i = 0; i < 64; i += 2) free(block[i]);
    for (int i = 0; i < 64; i += 2) block[i] = malloc((size_t)300 << 10); /* NULL will do */
    if (make_blocks("") != NULL) return 1;
    munmap(all, MOST * page);
    for (int i = 0; i < 64; i++) free(block[i]);
    return make_blocks("") != NULL;
}

/* The work of `oakum run`'s programs elsewhere, where /proc is not there. */
static int elsewhere(const char *root)
{
    pthread_t id;
    void *bad;
    lose();
    if (chroot(root) != 0 || chdir("/") != 0) return 3;
    if (pthread_create(&id, NULL, make_blocks, "") != 0) return 3;
    pthread_join(id, &bad);
    return bad != NULL;
}

/* What errno is after each call: as it was, or ENOMEM if there is no memory. */
static void *called(void *p)
{
    if (errno != (p ? E2BIG : ENOMEM)) {
        printf("%s, and errno is %d\n", p ? "a block" : "no block", errno);
        exit(1);
    }
    errno = E2BIG;
    return p;
}

static void *aligned(size_t align, size_t n)
{
    void *p = NULL;
    int e = posix_memalign(&p, align, n);
    if (errno != E2BIG || e != (p ? 0 : ENOMEM)) exit(1);
    return p;
}

static void release(void *p)
{
    free(p);
    if (errno != E2BIG) exit(1);
}

/* Each size to each other one: it may have to be moved, without room for both. */
static void resize(const size_t *size, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            char *p = called(malloc(size[i])), *q;
            if (!p) continue;
            p[0] = 1;
            q = called(k % 2 ? realloc(p, size[k]) : reallocarray(p, size[k], 1));
            if (q && q[0] != 1) exit(1);
            release(q ? q : p);
        }
}

static void round_of_errors(const size_t *size, size_t sizes)
{
    void **all = NULL, **p;
    for (size_t i = 0; i < sizes; i++) {
        size_t n = size[i];
        release(called(malloc(n)));
        release(called(calloc(n, 3)));
        release(called(memalign(64, n)));
        release(called(memalign(1 << 16, n)));
        release(called(aligned_alloc(1 << 28, n)));
        release(called(valloc(n)));
        release(called(pvalloc(n)));
        release(aligned(64, n));
        release(aligned(1 << 20, n));
    }
    resize(size, sizes);
    while ((p = called(malloc(50000)))) {
        *p = all;
        all = p;
    }
    if ((p = called(realloc(all, 100000)))) all = p;
    for (; all; all = p) {
        p = *all;
        release(all);
    }
}

/* The second round finds memory that was free when none was left. */
static int errors(int resource, size_t megabytes)
{
    static const size_t size[] = { 1,           1000,      3000,      40000,
                                   100000,      1 << 20,   10 << 20,  60 << 20,
                                   120 << 20,   150 << 20, 300 << 20, (size_t)1 << 40,
                                   PTRDIFF_MAX, SIZE_MAX };
    if (limit(resource, (rlim_t)megabytes << 20) != 0) return 3;
    errno = E2BIG;
    for (int round = 0; round < 2; round++) round_of_errors(size, sizeof size / sizeof *size);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "no-files") == 0) return no_files();
    if (strcmp(what, "signal-waits") == 0) return signal_waits();
    if (strcmp(what, "locked") == 0) return locked();
    if (strcmp(what, "mappings") == 0) return mappings();
    if (argc > 2 && (strcmp(what, "space") == 0 || strcmp(what, "data") == 0))
        return errors(what[0] == 's' ? RLIMIT_AS : RLIMIT_DATA, (size_t)atoi(argv[2]));
    if (strcmp(what, "elsewhere") == 0 && argc > 2) return elsewhere(argv[2]);
    return 2;
}

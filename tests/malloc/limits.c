/* limits - programs that limit themselves: limits WHAT. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
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

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "no-files") == 0) return no_files();
    if (strcmp(what, "signal-waits") == 0) return signal_waits();
    if (strcmp(what, "locked") == 0) return locked();
    if (strcmp(what, "mappings") == 0) return mappings();
    if (strcmp(what, "elsewhere") == 0 && argc > 2) return elsewhere(argv[2]);
    return 2;
}

/* metadata.c - what do the two back ends of the metadata cost Oakum?
 *
 * usage: metadata WORK [N]: N weak references (weak), N objects in a heap profile of rate 1 from
 * 4096 sites (profile), 16 threads that come and go and have labels of their own (threads), a
 * snapshot of N objects of 64 bytes (snapshot). It is linked with one back end or the other.
 * Answer: processor and wall time of the work, page faults in it, and resident memory before, with
 * all of it, and after what the work made has been let go. make bench-metadata runs them in turn
 * and prints the least of some rounds. */
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/bench.h"
#include "common/counts.h"

#define THREADS 16
#define SITE_BITS 12

typedef struct item {
    struct item *next;
    void *other;
} item;

static item *list; /* a root */

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long faults(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_minflt;
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void need(bool done, const char *what)
{
    if (done) return;
    fprintf(stderr, "metadata: %s failed\n", what);
    exit(1);
}

static void push(void *other)
{
    item *l = oak_alloc(sizeof *l);
    need(l, "allocation");
    *l = (item){ list, other };
    list = l;
}

/* ---- the work ---- */

static void weak(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        push(NULL);
        list->other = oak_weak_new(list);
        need(list->other, "a weak reference");
    }
    oak_collect();
}

/* Each bit of `path` is a call from another place: as many stacks as there are paths. */
static __attribute__((noinline)) void descend(unsigned path, unsigned bits)
{
    if (bits == 0)
        push(NULL);
    else if (path & 1)
        descend(path >> 1, bits - 1);
    else
        descend(path >> 1, bits - 1);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

static void profile(uint64_t n)
{
    need(oak_profile_set_rate(1) == 0, "the profile");
    for (uint64_t i = 0; i < n; i++) descend((unsigned)i, SITE_BITS);
    oak_profile_set_rate(0);
    oak_collect();
}

static void *come_and_go(void *arg)
{
    uint64_t n = *(uint64_t *)arg / THREADS / 16;
    char value[32];
    for (uint64_t i = 0; i < n; i++) {
        snprintf(value, sizeof value, "%d", (int)(i % 64));
        need(oak_thread_attach() == 0, "attaching");
        for (int j = 0; j < 16; j++)
            OAK_WITH_LABEL("work", value) need(oak_alloc(64), "allocation");
        oak_thread_detach();
    }
    return NULL;
}

static void threads(uint64_t n)
{
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        need(pthread_create(&t[i], NULL, come_and_go, &n) == 0, "a thread");
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
}

static void snapshot(uint64_t n)
{
    char path[] = "/tmp/oakum-metadata.XXXXXX";
    int fd = mkstemp(path);
    for (uint64_t i = 0; i < n; i += 2) push(oak_alloc(112)); /* 16 and 112 */
    need(fd >= 0 && oak_snapshot_save(path) == 0, "the snapshot");
    close(fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(uint64_t n);
        uint64_t n;
    } works[] = {
        { "weak", weak, 1000000 },
        { "profile", profile, 1000000 },
        { "threads", threads, 1000000 },
        { "snapshot", snapshot, 16 << 20 },
    };
    uint64_t n = bench_arg(argc, argv, 2, 0);
    size_t w = 0;
    while (w < sizeof works / sizeof works[0] && strcmp(argc > 1 ? argv[1] : "", works[w].name))
        w++;
    need(w < sizeof works / sizeof works[0], "naming weak, profile, threads or snapshot");
    need(oak_init(NULL) == 0, "the start");
    oak_collect();
    long before = resident_kib(), f = faults();
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    works[w].run(n ? n : works[w].n);
    printf("cpu_ms %.0f\nwall_ms %.0f\n", (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e3,
           (seconds(CLOCK_MONOTONIC) - wall) * 1e3);
    printf("faults %ld\nbefore_kib %ld\nwith_kib %ld\n", faults() - f, before, resident_kib());
    list = NULL;
    for (int i = 0; i < 4; i++) oak_collect();
    oak_scavenge();
    printf("after_kib %ld\n", resident_kib());
    counts_show();
    return 0;
}

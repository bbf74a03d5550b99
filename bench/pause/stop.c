/* stop.c - how long until all threads stand?
 *
 * usage: stop THREADS KIND STOPS. Threads beside the one that stops them: `compute` in user code;
 * `runtime`, in and out of the allocator; `blocked`, in a read of a pipe that the memory manager
 * was told of (oak_blocking_call, GC_do_blocking); `syscall`, in the same read, but not told;
 * `mixed`, a quarter of each. A stop comes a millisecond after the one before.
 * Answer: `until` and `until_worst`, us from the wish to stop to when all stand, median and
 * longest; `whole` and `whole_worst`, the same for a reading of the statistics, for which the world
 * is stopped and started again (Oakum and Go). -DINTERNALS: linked with Oakum's static library,
 * whose own stop it calls. The Go twin is stop.go. */
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "heap/mem.h"
#ifdef INTERNALS
#include "runtime/collector.h"
#endif

enum { MAX_THREADS = 256, MAX_STOPS = 100000, KINDS = 4, STACK = 256 * 1024 };

static int pipe_ends[2];
static pthread_barrier_t barrier;
static double until[MAX_STOPS], whole[MAX_STOPS];

/* ---- the threads that are stopped ---- */

static void *wait_for_byte(void *unused)
{
    char byte;
    while (read(pipe_ends[0], &byte, 1) <= 0) {}
    return unused;
}

static void *compute(void *unused)
{
    MEM_ATTACH();
    pthread_barrier_wait(&barrier);
    for (uint64_t state = 1;;) {
        uint64_t n = bench_random(&state);
        __asm__ volatile("" : : "r"(n));
    }
    return unused;
}

static void *in_and_out(void *unused)
{
    MEM_ATTACH();
    pthread_barrier_wait(&barrier);
    for (;;) {
        void *p = MEM_ALLOC(64);
        if (!p) mem_out();
#ifdef MEM_OAKUM
        oak_free(p);
#else
        GC_FREE(p);
#endif
    }
    return unused;
}

static void *block(void *unused)
{
    MEM_ATTACH();
    pthread_barrier_wait(&barrier);
#ifdef MEM_OAKUM
    return oak_blocking_call(wait_for_byte, unused);
#else
    return GC_do_blocking(wait_for_byte, unused);
#endif
}

static void *call_system(void *unused)
{
    MEM_ATTACH();
    pthread_barrier_wait(&barrier);
    return wait_for_byte(unused);
}

/* ---- the thread that stops them ---- */

static const struct {
    const char *name;
    void *(*fn)(void *);
} kinds[KINDS] = {
    { "compute", compute },
    { "runtime", in_and_out },
    { "blocked", block },
    { "syscall", call_system },
};

static void start(unsigned threads, const char *kind)
{
    pthread_attr_t attr;
    unsigned k = 0;
    pthread_t id;
    while (k < KINDS && strcmp(kinds[k].name, kind) != 0) k++;
    if (k == KINDS && strcmp(kind, "mixed") != 0) exit(2);
    pthread_barrier_init(&barrier, NULL, threads + 1);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&id, &attr, kinds[k < KINDS ? k : i % KINDS].fn, NULL)) mem_out();
    }
    pthread_barrier_wait(&barrier);
}

static void nap(void)
{
    struct timespec ms = { 0, 1000000 };
    nanosleep(&ms, NULL);
}

/* false when there is no way to stop the world and do nothing else. */
static bool stop_once(double *us)
{
#ifdef INTERNALS
    uint64_t begin = bench_now_ns();
    oaki_thread *t = oaki_gc_stop_begin();
    *us = (double)(bench_now_ns() - begin) / 1e3;
    oaki_gc_stop_end(t);
    return true;
#elif defined(MEM_BOEHM)
    uint64_t begin = bench_now_ns();
    GC_stop_world_external();
    *us = (double)(bench_now_ns() - begin) / 1e3;
    GC_start_world_external();
    return true;
#else
    (void)us;
    return false;
#endif
}

static bool read_once(double *us)
{
#ifdef MEM_OAKUM
    static oak_memstats s;
    uint64_t begin = bench_now_ns();
    oak_memstats_read(&s);
    *us = (double)(bench_now_ns() - begin) / 1e3;
    return true;
#else
    (void)us;
    return false;
#endif
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show(const char *what, double *us, unsigned n)
{
    qsort(us, n, sizeof *us, by_value);
    printf("%s %.3f\n%s_worst %.3f\n", what, us[n / 2], what, us[n - 1]);
}

int main(int argc, char **argv)
{
    unsigned threads = (unsigned)bench_arg(argc, argv, 1, 16);
    unsigned stops = (unsigned)bench_arg(argc, argv, 3, 300);
    if (argc < 3 || threads > MAX_THREADS || stops == 0 || stops > MAX_STOPS) return 2;
    MEM_INIT();
    if (pipe(pipe_ends)) mem_out();
    start(threads, argv[2]);
    bool stood = true, was_read = true;
    for (unsigned i = 0; i < stops; i++) {
        nap();
        stood = stop_once(&until[i]);
        nap();
        was_read = read_once(&whole[i]);
    }
    if (stood) show("until", until, stops);
    if (was_read) show("whole", whole, stops);
    counts_show();
    fflush(stdout);
    _exit(0);
}

/* discard.c - what does a program wait for when it lets go of a whole part of its heap at once?
 *
 * A list of objects of `bytes` each, as many as fit in `total`, all written and all live, is made
 * in a zone and the zone discarded; with malloc there are no zones, and the list is walked and
 * freed. Answer: `worst` wall time of that, of RUNS, and `cpu`, the thread's processor time in that
 * run, both in ms. Each run begins when the memory of the one before it is back. */
#include "mem.h"

#include <string.h>
#include <unistd.h>

enum { RUNS = 5, PATIENCE_MS = 10000 };

typedef struct item {
    struct item *next;
} item;

static item *make(MEM_ZONE *z, uint64_t n, size_t bytes)
{
    item *all = NULL;
    for (uint64_t i = 0; i < n; i++) {
        item *o = MEM_ZONE_ALLOC(z, bytes);
        if (!o) mem_out();
        memset(o, (int)(i & 0xff), bytes);
        o->next = all;
        all = o;
    }
    return all;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void let_go(MEM_ZONE *z, item *all)
{
    (void)all;
#if !MEM_COLLECTS
    for (item *next; all; all = next) {
        next = all->next;
        MEM_FREE(all);
    }
#endif
    MEM_ZONE_DISCARD(z);
}

int main(int argc, char **argv)
{
    size_t bytes = bench_arg(argc, argv, 1, 64), total = bench_arg(argc, argv, 2, 1 << 30);
    if (bytes < sizeof(item) || bytes > total) return 2;
    uint64_t n = total / bytes, worst = 0, cpu = 0, check = 0;
    MEM_INIT();
    for (int run = 0; run < RUNS; run++) {
        MEM_ZONE *z = MEM_ZONE_NEW();
        item *all = make(z, n, bytes);
        for (const item *o = all; o; o = o->next) check++;
        uint64_t cpu0 = cpu_ns(), from = bench_now_ns();
        let_go(z, all);
        uint64_t took = bench_now_ns() - from;
        if (took > worst) {
            worst = took;
            cpu = cpu_ns() - cpu0;
        }
        for (int ms = 0; mem_held() > total / 2 && ms < PATIENCE_MS; ms++) usleep(1000);
    }
    printf("check %llu\nworst %.4f\ncpu %.4f\n", (unsigned long long)check, (double)worst / 1e6,
           (double)cpu / 1e6);
    counts_show();
    return 0;
}

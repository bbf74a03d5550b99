/* lines.c - do threads get blocks on one cache line? After Berger's cache-scratch: lines THREADS N
 * WRITES.
 *
 * Each thread frees a block that another one made. Then it takes a block of that size again and
 * again, and writes to it. Where blocks of two threads share a line, the writes are slow. */
#include "work.h"

#include <atomic_ops.h>

enum { SIZE = 8, MOST = 64 };

static uint64_t steps, writes;
static void *given[MOST];

static void *scratch(void *arg)
{
    uint64_t check = 0;
    free(*(void **)arg);
    for (uint64_t i = 0; i < steps; i++) {
        unsigned char *p = work_alloc(SIZE);
        memset(p, 0, SIZE);
        for (uint64_t j = 0; j < writes; j++) {
            p[j % SIZE]++;
            AO_compiler_barrier(); /* each write is made */
        }
        check += p[0];
        free(p);
    }
    return (void *)(uintptr_t)check;
}

int main(int argc, char **argv)
{
    uint64_t threads = bench_arg(argc, argv, 1, 2), check = 0;
    steps = bench_arg(argc, argv, 2, 1000);
    writes = bench_arg(argc, argv, 3, 1000);
    pthread_t id[MOST];
    if (threads < 1 || threads > MOST || writes == 0) return 2;
    for (uint64_t t = 0; t < threads; t++) given[t] = work_alloc(SIZE);
    uint64_t start = bench_now_ns();
    for (uint64_t t = 0; t < threads; t++) id[t] = work_thread(scratch, &given[t]);
    for (uint64_t t = 0; t < threads; t++) check += work_join(id[t]);
    return work_print(check, start, steps * writes);
}

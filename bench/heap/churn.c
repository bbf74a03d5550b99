/* churn.c - what does an allocation cost when nothing lives?
 *
 * Each of `threads` threads makes `count` scanned objects of `size` bytes and drops each for the
 * next: its first word is written and a slot of its own, on a cache line of its own, holds the
 * last one, so that no compiler can leave the object out. Answer: `ns`, wall time divided by the
 * allocations of one thread. Its Go twin is churn.go. With malloc the object that leaves the slot
 * is freed. */
#include "mem.h"

enum { MAX_THREADS = 64, LINE = 128 };

static struct {
    uint64_t *last;
    char pad[LINE - sizeof(uint64_t *)];
} slots[MAX_THREADS];

static size_t size;
static uint64_t count;

static void *churn(void *arg)
{
    uint64_t **slot = arg;
    size_t n = size;
    MEM_ATTACH();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *p = MEM_ALLOC(n);
        if (!p) mem_out();
        *p = i;
        MEM_FREE(*slot);
        *slot = p;
    }
    MEM_DETACH();
    return NULL;
}

int main(int argc, char **argv)
{
    size = (size_t)bench_arg(argc, argv, 1, 64);
    unsigned threads = (unsigned)bench_arg(argc, argv, 2, 1);
    count = bench_arg(argc, argv, 3, 10000000);
    if (threads < 1 || threads > MAX_THREADS || count == 0) return 2;
    MEM_INIT();

    uint64_t start = bench_now_ns();
    pthread_t thread[MAX_THREADS];
    for (unsigned t = 1; t < threads; t++) {
        if (pthread_create(&thread[t], NULL, churn, &slots[t].last)) mem_out();
    }
    churn(&slots[0].last);
    for (unsigned t = 1; t < threads; t++) pthread_join(thread[t], NULL);
    uint64_t ns = bench_now_ns() - start;

    uint64_t check = 0;
    for (unsigned t = 0; t < threads; t++) check += *slots[t].last;
    printf("check %llu\nns %.3f\n", (unsigned long long)check, (double)ns / (double)count);
    counts_show();
    return 0;
}

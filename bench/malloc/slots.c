/* slots.c - many live blocks of many sizes, replaced at random; after OLogN's alloc-test:
 * slots THREADS SLOTS N MOST. */
#include "work.h"

typedef struct block {
    size_t size;
    unsigned char byte[];
} block;

static size_t slots, most;
static uint64_t steps;

static uint64_t take_out(block *b)
{
    uint64_t sum = b->byte[0] + b->byte[b->size - 1];
    free(b);
    return sum;
}

static void *replace(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg, check = 0;
    block **slot = calloc(slots, sizeof *slot);
    if (!slot) work_end("out of memory");
    for (uint64_t i = 0; i < steps; i++) {
        block **at = &slot[bench_random(&random) % slots];
        if (*at) {
            check += take_out(*at);
            *at = NULL;
            continue;
        }
        size_t size = work_size(&random, most);
        *at = work_alloc(sizeof **at + size);
        (*at)->size = size;
        memset((*at)->byte, (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < slots; i++)
        if (slot[i]) check += take_out(slot[i]);
    free(slot);
    return (void *)(uintptr_t)check;
}

int main(int argc, char **argv)
{
    uint64_t threads = bench_arg(argc, argv, 1, 1), check = 0;
    slots = (size_t)bench_arg(argc, argv, 2, 10000);
    steps = bench_arg(argc, argv, 3, 1000000);
    most = (size_t)bench_arg(argc, argv, 4, 4096);
    pthread_t id[64];
    if (threads < 1 || threads > 64 || slots == 0) return 2;
    uint64_t start = bench_now_ns();
    for (uint64_t t = 0; t < threads; t++) id[t] = work_thread(replace, (void *)(uintptr_t)(t + 1));
    for (uint64_t t = 0; t < threads; t++) check += work_join(id[t]);
    return work_print(check, start, steps);
}

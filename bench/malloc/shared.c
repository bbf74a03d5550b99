/* shared.c - threads that keep some blocks, drop some, and leave some where another thread finds
 * them: shared THREADS ROUNDS BLOCKS.
 *
 * Sizes are skewed: most are small, a few have hundreds of pages. */
#include "work.h"

#include <atomic_ops.h>

enum { PLACES = 1024, MOST = 64 };

typedef struct block {
    struct block *next;
    uint64_t value;
} block;

static AO_t place[PLACES];
static uint64_t rounds, blocks;
static uint64_t made_sum[MOST], freed_sum[MOST];

static void drop(block *b, uint64_t *sum)
{
    *sum += b->value;
    free(b);
}

static block *exchange(AO_t *at, block *b)
{
    AO_t old = AO_load(at);
    for (AO_t seen; (seen = AO_fetch_compare_and_swap_full(at, old, (AO_t)b)) != old;) old = seen;
    return (block *)old;
}

static void *work(void *arg)
{
    uint64_t t = (uint64_t)(uintptr_t)arg, random = t + 1;
    for (uint64_t r = 0; r < rounds; r++) {
        block *kept = NULL;
        for (uint64_t i = 0; i < blocks; i++) {
            block *b = work_alloc(sizeof *b + work_size(&random, 1 << 20));
            uint64_t fate = bench_random(&random);
            b->value = fate & 0xff;
            made_sum[t] += b->value;
            b->next = kept;
            kept = b;
            if (fate >> 8 & 1) continue;
            kept = b->next;
            block *found = exchange(&place[(fate >> 16) % PLACES], b);
            if (found) drop(found, &freed_sum[t]);
        }
        for (block *next; kept; kept = next) {
            next = kept->next;
            drop(kept, &freed_sum[t]);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t threads = bench_arg(argc, argv, 1, 2), made = 0, freed = 0;
    rounds = bench_arg(argc, argv, 2, 10);
    blocks = bench_arg(argc, argv, 3, 10000);
    pthread_t id[MOST];
    if (threads < 1 || threads > MOST) return 2;
    uint64_t start = bench_now_ns();
    for (uint64_t t = 0; t < threads; t++) id[t] = work_thread(work, (void *)(uintptr_t)t);
    for (uint64_t t = 0; t < threads; t++) pthread_join(id[t], NULL);
    for (unsigned i = 0; i < PLACES; i++)
        if (place[i]) drop((block *)place[i], &freed);
    for (uint64_t t = 0; t < threads; t++) {
        made += made_sum[t];
        freed += freed_sum[t];
    }
    if (made != freed) work_end("blocks were lost");
    return work_print(freed, start, rounds * blocks);
}

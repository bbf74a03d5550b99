/* larson.c - a server whose threads come and go, after Larson and Krishnan, Memory Allocation for
 * Long-Running Server Applications (1998): larson CHAINS BLOCKS LIVES OPERATIONS.
 *
 * Each thread replaces blocks at random, then hands its blocks to a new thread and ends. So most
 * blocks are freed by another thread than the one that made them. */
#include "work.h"

enum { LEAST = 8, MOST = 500 };

typedef struct chain {
    uint64_t random, check;
    uint64_t lives;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned char **block;
} chain;

static size_t blocks;
static uint64_t operations;

static void *one_block(chain *c)
{
    uint64_t r = bench_random(&c->random);
    unsigned char *p = work_alloc(LEAST + (size_t)(r % (MOST - LEAST)));
    p[0] = (unsigned char)(r >> 32);
    return p;
}

static void *live(void *arg)
{
    chain *c = arg;
    for (uint64_t i = 0; i < operations; i++) {
        unsigned char **at = &c->block[bench_random(&c->random) % blocks];
        c->check += **at;
        free(*at);
        *at = one_block(c);
    }
    pthread_mutex_lock(&c->lock);
    bool last = --c->lives == 0;
    if (last) pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
    if (!last) pthread_detach(work_thread(live, c));
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t chains = bench_arg(argc, argv, 1, 2), check = 0;
    blocks = (size_t)bench_arg(argc, argv, 2, 1000);
    uint64_t lives = bench_arg(argc, argv, 3, 10);
    operations = bench_arg(argc, argv, 4, 10000);
    if (chains == 0 || blocks == 0 || lives == 0) return 2;
    chain *all = calloc((size_t)chains, sizeof *all);
    if (!all) work_end("out of memory");
    uint64_t start = bench_now_ns();
    for (chain *c = all; c < all + chains; c++) {
        c->random = (uint64_t)(c - all) + 1;
        c->lives = lives;
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->ended, NULL);
        c->block = work_alloc(blocks * sizeof *c->block);
        for (size_t i = 0; i < blocks; i++) c->block[i] = one_block(c);
        pthread_detach(work_thread(live, c));
    }
    for (chain *c = all; c < all + chains; c++) {
        pthread_mutex_lock(&c->lock);
        while (c->lives > 0) pthread_cond_wait(&c->ended, &c->lock);
        pthread_mutex_unlock(&c->lock);
        check += c->check;
    }
    return work_print(check, start, lives * operations);
}

/* pairs.c - malloc and free in a few patterns, for counts of instructions: pairs PATTERN N [K].
 * bench/malloc/count runs it. Compile it without builtins. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOX 10000
#define BATCH 1000 /* blocks that one thread hands to another at a time */

static void *box[BOX];
static long n, k;
static pthread_barrier_t barrier;

static unsigned random_number(void)
{
    static unsigned x = 1;
    x = x * 1664525u + 1013904223u;
    return x >> 8;
}

static void same(void)
{
    for (long i = 0; i < n; i++) {
        box[0] = malloc(64);
        free(box[0]);
    }
}

static void fill(long many)
{
    for (long j = 0; j < many; j++) box[j] = malloc(64);
}

static void lifo(void)
{
    for (long i = 0; i < n; i += k) {
        fill(k);
        for (long j = k; j-- > 0;) free(box[j]);
    }
}

static void fifo(void)
{
    for (long i = 0; i < n; i += k) {
        fill(k);
        for (long j = 0; j < k; j++) free(box[j]);
    }
}

/* One of k blocks of 16 to 271 bytes is freed, and another made. */
static void anyhow(void)
{
    for (long i = 0; i < n; i++) {
        unsigned j = random_number() % (unsigned)k;
        free(box[j]);
        box[j] = malloc(16 + random_number() % 256);
    }
    for (long j = 0; j < k; j++) free(box[j]);
}

static void *consume(void *unused)
{
    for (long i = 0; i < n; i += BATCH) {
        pthread_barrier_wait(&barrier);
        for (long j = 0; j < BATCH; j++) free(box[j]);
        pthread_barrier_wait(&barrier);
    }
    return unused;
}

static void handed(void)
{
    pthread_t id;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&id, NULL, consume, NULL) != 0) exit(1);
    for (long i = 0; i < n; i += BATCH) {
        fill(BATCH);
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
    }
    pthread_join(id, NULL);
}

/* A block that grows by 16 bytes, up to 256. */
static void growth(void)
{
    for (long i = 0; i < n; i += 16) {
        char *p = NULL;
        for (size_t j = 1; j <= 16; j++) p = realloc(p, 16 * j);
        free(p);
    }
}

static const struct {
    const char *name;
    void (*fn)(void);
} patterns[] = { { "same", same },     { "lifo", lifo },     { "fifo", fifo },
                 { "random", anyhow }, { "handed", handed }, { "growth", growth } };

int main(int argc, char **argv)
{
    n = argc > 2 ? atol(argv[2]) : 100000;
    k = argc > 3 ? atol(argv[3]) : 100;
    if (n < 1 || k < 1 || k > BOX) return 2;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (argc > 1 && strcmp(argv[1], patterns[i].name) == 0) return patterns[i].fn(), 0;
    fprintf(stderr, "pairs: same, lifo, fifo, random, handed or growth\n");
    return 2;
}

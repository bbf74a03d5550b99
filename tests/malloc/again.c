/* again.c - blocks that are freed, and come again: again WHAT.
 *
 * random    threads free what others have allocated, while memory goes back and a large block
 *           finds no room; who has a block finds in it what it wrote
 * fork      what another thread has freed before a fork is used again in the child
 * now, later, drained, overwritten, thread
 *           a second free; the program is to end with a line */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 60000
#define PLACES 256
#define MB ((size_t)1 << 20)

static void fail(const char *what, size_t n)
{
    fprintf(stderr, "again: %s: %zu\n", what, n);
    exit(3);
}

/* ---- at random ---- */

typedef struct block {
    size_t size; /* of the whole block */
    uint64_t tag;
    unsigned char bytes[];
} block;

static struct place {
    pthread_mutex_t lock;
    block *b;
} place[PLACES];

static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned running;

static unsigned still_running(unsigned ended)
{
    pthread_mutex_lock(&running_lock);
    unsigned n = running -= ended;
    pthread_mutex_unlock(&running_lock);
    return n;
}

static unsigned below(uint64_t *random, unsigned n)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*random >> 33) % n;
}

static void fill(block *b, size_t size, uint64_t tag)
{
    b->size = size;
    b->tag = tag;
    memset(b->bytes, (int)(tag & 255), size - sizeof *b);
}

static void look(const block *b, size_t upto)
{
    for (size_t i = 0; i + sizeof *b < upto; i++)
        if (b->bytes[i] != (b->tag & 255)) fail("a block has two owners, of bytes", b->size);
}

static block *make(uint64_t *random)
{
    size_t size = sizeof(block) + below(random, below(random, 8) ? 300 : 3000);
    bool zero = below(random, 4) == 0;
    block *b = zero ? calloc(1, size) : below(random, 16) ? malloc(size) : memalign(64, size);
    if (!b) return NULL;
    for (size_t i = 0; zero && i < size; i++)
        if (((unsigned char *)b)[i] != 0) fail("calloc's block isn't zero at", i);
    fill(b, size, *random);
    return b;
}

static block *change(block *b, uint64_t *random)
{
    size_t size = sizeof(block) + below(random, 600), was = b->size;
    block *q = realloc(b, size);
    if (!q) return b;
    look(q, size < was ? size : was);
    fill(q, size, *random);
    return q;
}

static void *work(void *arg)
{
    uint64_t random = (uintptr_t)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct place *at = &place[below(&random, PLACES)];
        bool changes = below(&random, 6) == 0;
        block *mine = changes ? NULL : make(&random), *other;
        pthread_mutex_lock(&at->lock);
        other = at->b;
        at->b = mine;
        pthread_mutex_unlock(&at->lock);
        if (!other) continue;
        look(other, other->size);
        if (changes) other = change(other, &random);
        look(other, other->size);
        free(other);
    }
    (void)still_running(1);
    return NULL;
}

/* Below a limit of the heap, the large block makes the threads' caches go back to the heap. */
static void in_random_order(void)
{
    pthread_t id[THREADS];
    for (size_t i = 0; i < PLACES; i++) pthread_mutex_init(&place[i].lock, NULL);
    running = THREADS;
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&id[i], NULL, work, (void *)(i + 1)) != 0) fail("thread", i);
    while (still_running(0) > 0) {
        void *p = malloc(14 * MB);
        free(p);
        malloc_trim(0);
    }
    for (size_t i = 0; i < THREADS; i++) pthread_join(id[i], NULL);
    for (size_t i = 0; i < PLACES; i++) free(place[i].b);
}

/* ---- twice ---- */

static void *box[4000];

static void fill_box(void)
{
    for (size_t i = 0; i < 4000; i++)
        if (!(box[i] = malloc(64))) fail("malloc", i);
}

static void *free_it(void *p)
{
    free(p);
    return NULL;
}

static void twice(const char *what)
{
    fill_box();
    free(box[2000]);
    if (strcmp(what, "later") == 0) free(box[7]);
    if (strcmp(what, "drained") == 0)
        for (size_t i = 0; i < 1000; i++) free(box[i]);
    if (strcmp(what, "overwritten") == 0) {
        memset(box[2000], 1, 64);
        free(box[2000]);
        for (size_t i = 0; i < 1000; i++) free(box[i]);
        fail("a second free was not noticed", 0);
    }
    if (strcmp(what, "thread") == 0) {
        pthread_t id;
        if (pthread_create(&id, NULL, free_it, box[2000]) != 0) fail("thread", 0);
        pthread_join(id, NULL);
    } else free(box[2000]);
    fail("a second free was not noticed", 0);
}

/* ---- in a child ---- */

#define FEW 100 /* blocks that a thread's cache has room for */

static pthread_barrier_t freed;

static void *free_few(void *unused)
{
    for (size_t i = 0; i < FEW; i++) free(box[i]);
    pthread_barrier_wait(&freed);
    pause();
    return unused;
}

/* A few of the child's own blocks, more than a cache takes, are freed first. */
static size_t few_come_again(void)
{
    size_t n = 0;
    for (size_t i = FEW; i < 1000; i++) free(box[i]);
    for (size_t k = 0; k < 2000; k++) {
        void *p = malloc(64);
        for (size_t i = 0; i < FEW; i++) n += (uintptr_t)p == (uintptr_t)box[i];
    }
    return n;
}

static void after_fork(void)
{
    pthread_t id;
    int status = 0;
    fill_box();
    pthread_barrier_init(&freed, NULL, 2);
    if (pthread_create(&id, NULL, free_few, NULL) != 0) fail("thread", 0);
    pthread_barrier_wait(&freed);
    pid_t child = fork();
    if (child == 0) _exit(few_come_again() == FEW ? 0 : 4);
    if (child < 0 || waitpid(child, &status, 0) != child) fail("fork", 0);
    if (status) fail("freed blocks stay away in a child, status", (size_t)status);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "random") == 0) in_random_order();
    else if (strcmp(what, "fork") == 0) after_fork();
    else twice(what);
    return 0;
}

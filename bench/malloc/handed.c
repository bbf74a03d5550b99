/* handed.c - what one thread makes another frees, in batches; after Lever and Boreham, malloc()
 * Performance in a Multithreaded Linux Environment (2000): handed BATCHES SIZE. */
#include "work.h"

enum { BATCH = 256, QUEUE = 16 };

typedef struct batch {
    uint64_t *block[BATCH];
} batch;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    batch *waiting[QUEUE];
    unsigned first, n;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void push(batch *b)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.n == QUEUE) pthread_cond_wait(&queue.changed, &queue.lock);
    queue.waiting[(queue.first + queue.n++) % QUEUE] = b;
    pthread_cond_signal(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
}

static batch *pop(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.n == 0) pthread_cond_wait(&queue.changed, &queue.lock);
    batch *b = queue.waiting[queue.first];
    queue.first = (queue.first + 1) % QUEUE;
    queue.n--;
    pthread_cond_signal(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
    return b;
}

static void *consume(void *arg)
{
    uint64_t check = 0;
    (void)arg;
    for (batch *b; (b = pop()) != NULL; free(b))
        for (unsigned i = 0; i < BATCH; i++) {
            check += *b->block[i];
            free(b->block[i]);
        }
    return (void *)(uintptr_t)check;
}

int main(int argc, char **argv)
{
    uint64_t batches = bench_arg(argc, argv, 1, 1000);
    size_t size = (size_t)bench_arg(argc, argv, 2, 64);
    uint64_t start = bench_now_ns();
    if (size < sizeof(uint64_t)) return 2;
    pthread_t id = work_thread(consume, NULL);
    for (uint64_t k = 0; k < batches; k++) {
        batch *b = work_alloc(sizeof *b);
        for (unsigned i = 0; i < BATCH; i++) {
            b->block[i] = work_alloc(size);
            *b->block[i] = k + i;
        }
        push(b);
    }
    push(NULL);
    return work_print(work_join(id), start, batches * BATCH);
}

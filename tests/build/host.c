/* host.c - a host's program that is C11 and C++17 alike: it allocates, collects, has a map and
 * threads, and prints one line. tests/build/hosts builds it in many ways. */
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 3
#define NODES 20000
#define DROPPED 200000

typedef struct node {
    struct node *next;
    size_t number;
} node;

static node *kept; /* a root: it lies in the program's data */

static void need(int fine, const char *what)
{
    if (fine) return;
    fprintf(stderr, "host: %s\n", what);
    exit(1);
}

static node *make(node *next, size_t number)
{
    node *n = (node *)oak_alloc(sizeof *n);
    need(n != NULL, "no memory");
    n->next = next;
    n->number = number;
    return n;
}

static size_t sum(const node *list)
{
    size_t all = 0;
    for (; list; list = list->next) all += list->number;
    return all;
}

/* Only this frame has the list, while other threads collect. */
static void *work(void *arg)
{
    node *list = NULL;
    for (size_t i = 0; i < NODES; i++) {
        list = make(list, i);
        (void)make(list, i);
        if (i % (NODES / 4) == 0) oak_collect();
    }
    need(sum(list) == (size_t)NODES * (NODES - 1) / 2, "a list of a thread is damaged");
    return arg;
}

static void fill_map(oak_map *m)
{
    for (uint64_t k = 0; k < NODES; k++) {
        uint64_t *v = (uint64_t *)oak_map_put(m, &k);
        need(v != NULL, "no memory for the map");
        *v = k * 3;
    }
    oak_collect();
    for (uint64_t k = 0; k < NODES; k++) {
        const uint64_t *v = (const uint64_t *)oak_map_get(m, &k);
        need(v && *v == k * 3, "an entry of the map is damaged");
    }
}

int main(void)
{
    pthread_t id[THREADS];
    oak_memstats stats;
    for (size_t i = 0; i < NODES; i++) kept = make(kept, i);
    for (int i = 0; i < THREADS; i++)
        need(pthread_create(&id[i], NULL, work, NULL) == 0, "no thread");
    fill_map(oak_map_new(&oak_map_u64_u64, 0));
    for (size_t i = 0; i < DROPPED; i++) (void)make(NULL, i);
    for (int i = 0; i < THREADS; i++) need(pthread_join(id[i], NULL) == 0, "no join");
    oak_collect();
    oak_memstats_read(&stats);
    need(stats.num_gc > 0, "nothing was collected");
    need(stats.heap_objects < DROPPED / 2, "what was dropped was not freed");
    need(sum(kept) == (size_t)NODES * (NODES - 1) / 2, "the list in the data is damaged");
    printf("host: fine\n");
    return 0;
}

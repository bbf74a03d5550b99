/* snapshot.c - what does it cost to save 1 GiB of 64-byte objects while the program runs?
 *
 * usage: snapshot FILE [NODES [WRITER]]
 *
 * The heap of graph.c: nodes of 64 bytes with four edges each to nodes at random, and a table of
 * all of them. Answer: seconds for a snapshot, how long the program stood, how much memory the
 * child had for itself at most, as part of the heap; and seconds for a path and for false
 * retention. The bars, of 16777216 nodes without a writer: less than 10 s, and at most 0.3 of the
 * nodes in extra memory. With WRITER 1 another thread writes random nodes all the while, which is
 * the worst that can happen to the child's memory: each page that is written is copied.
 * make bench-snapshot runs both. */
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "common/counts.h"

enum { EDGES = 4, RUNS = 3 };

typedef struct node {
    struct node *out[EDGES];
    uint64_t payload[4];
} node;

static node **table;
static uint64_t nodes;
static int quit;
static double worst;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* CPU seconds of children that are gone. */
static double children(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *write_on(void *arg)
{
    uint64_t state = 7;
    double last = now(), t;
    for (; !*(int *)arg; last = t) {
        for (int i = 0; i < 100; i++) table[draw(&state) % nodes]->payload[1]++;
        t = now();
        if (t - last > worst) worst = t - last;
        __asm__ __volatile__("" ::: "memory");
    }
    return arg;
}

static void print_cost(const oak_snapshot_cost *c, double cpu, bool bars)
{
    double extra = (double)c->extra_memory / (double)(nodes * sizeof(node));
    printf("snapshot: %.2f s, %.2f s of CPU, pause %.2f ms, ", (double)c->total_ns / 1e9, cpu,
           (double)c->pause_ns / 1e6);
    printf("file %.0f MB, extra memory %.1f MB, %.3f of the nodes", (double)c->bytes / 1e6,
           (double)c->extra_memory / 1e6, extra);
    if (bars)
        printf(" (< 10 s %s, <= 0.3 %s)", c->total_ns < 10000000000u ? "met" : "missed",
               extra <= 0.3 ? "met" : "missed");
    putchar('\n');
}

int main(int argc, char **argv)
{
    uint64_t state = 1;
    pthread_t writer;
    if (argc < 2) return 2;
    nodes = argc > 2 ? strtoull(argv[2], NULL, 0) : 16777216;
    int writes = argc > 3 && atoi(argv[3]);
    if (!(table = oak_alloc(nodes * sizeof *table))) return 1;
    for (uint64_t i = 0; i < nodes; i++)
        if (!(table[i] = oak_alloc(sizeof(node)))) return 1;
    for (uint64_t i = 0; i < nodes; i++)
        for (int e = 0; e < EDGES; e++) table[i]->out[e] = table[draw(&state) % nodes];
    oak_collect();
    if (writes) pthread_create(&writer, NULL, write_on, &quit);
    for (int r = 0; r < RUNS; r++) {
        oak_snapshot_cost c;
        double cpu = children();
        if (oak_snapshot_save_with(argv[1], NULL, &c) != 0) {
            perror(argv[1]);
            return 1;
        }
        print_cost(&c, children() - cpu, !writes);
    }
    if (writes) {
        quit = 1;
        pthread_join(writer, NULL);
        printf("the writer's worst hundred writes: %.2f ms\n", worst * 1e3);
    }
    double from = now();
    oak_path *p = oak_why_alive(table[nodes / 2]->out[1]);
    printf("path: %.2f s, %zu long\n", now() - from, p ? p->length : 0);
    oak_path_free(p);
    oak_suspect s;
    from = now();
    int n = oak_false_retention(&s, 1);
    printf("false retention: %.2f s, %d word keeps %.0f MB\n", now() - from, n,
           n > 0 ? (double)s.bytes / 1e6 : 0);
    counts_show();
    return 0;
}

/* graph.c - how long is a full collection when every pointer misses the cache?
 *
 * `nodes` nodes of 64 bytes, made one after the other, then four edges each to nodes at random. A
 * table of all nodes stays live, so that every one of them is. Answer: `best` and `median` of
 * three forced full collections, in milliseconds. Its Go twin is graph.go. malloc has nothing to
 * measure here. */
#include "mem.h"

enum { EDGES = 4, RUNS = 3 };

typedef struct node {
    struct node *out[EDGES];
    uint64_t payload[4];
} node;

static node **table;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    uint64_t nodes = bench_arg(argc, argv, 1, 16777216);
    if (nodes == 0) return 2;
    MEM_INIT();

    if (!(table = MEM_ALLOC(nodes * sizeof *table))) mem_out();
    for (uint64_t i = 0; i < nodes; i++) {
        node *n = MEM_ALLOC(sizeof *n);
        if (!n) mem_out();
        n->payload[0] = i;
        table[i] = n;
    }
    uint64_t state = 1;
    for (uint64_t i = 0; i < nodes; i++) {
        for (int e = 0; e < EDGES; e++) table[i]->out[e] = table[bench_random(&state) % nodes];
    }

    double ms[RUNS];
    for (int r = 0; r < RUNS; r++) {
        uint64_t start = bench_now_ns();
        MEM_COLLECT();
        ms[r] = (double)(bench_now_ns() - start) / 1e6;
    }
    qsort(ms, RUNS, sizeof ms[0], by_value);

    uint64_t check = 0;
    for (uint64_t i = 0; i < nodes; i++) check += table[i]->out[i % EDGES]->payload[0] ^ i;
    printf("check %llu\nbest %.3f\nmedian %.3f\n", (unsigned long long)check, ms[0], ms[RUNS / 2]);
    counts_show();
    return 0;
}

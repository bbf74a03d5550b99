/* graph.c - a live random graph, mutated: what does an operation wait for the collector?
 *
 * usage: graph NODES OPERATIONS [THREADS [WRITES]]
 * `nodes` nodes of 64 bytes in a table, each with four edges to nodes at random. An operation makes
 * a node with four random edges and puts it into the table in place of a random one; then it
 * redirects WRITES random edges of random nodes. Edges lead to nodes at even places, and those at
 * odd ones are replaced: a node that others point to would outlive its replacement, and with four
 * edges each nearly every node ever made would stay reachable. So what lives is the same from
 * beginning to end, and a replaced node dies at once. Each thread has a share of the table to
 * itself, and as large a share of the operations.
 * Answer: what pauses_show and stops_show tell of the operations; `build`, the longest time that
 * making a node took while the graph grew, in us; `total`, seconds for growing and operations. The
 * Go twin is graph.go. */
#include "pause.h"

enum { EDGES = 4, MAX_THREADS = 64 };

typedef struct node {
    struct node *out[EDGES];
    uint64_t payload[4];
} node;

typedef struct share {
    uint64_t from, pairs; /* the places from .. from + 2 * pairs */
    uint64_t operations, writes, state;
    pauses *build, *p;
    uint64_t check;
} __attribute__((aligned(128))) share; /* no two in one cache line */

static node **table;
static share shares[MAX_THREADS];
static unsigned threads;
static pthread_barrier_t barrier;

static inline uint64_t stable(share *s)
{
    return s->from + bench_random(&s->state) % s->pairs * 2;
}

static inline node *make_node(uint64_t i)
{
    node *n = MEM_ALLOC(sizeof *n);
    if (!n) mem_out();
    n->payload[0] = i;
    return n;
}

static inline void link_node(share *s, node *n)
{
    for (int e = 0; e < EDGES; e++) n->out[e] = table[stable(s)];
}

static void build(share *s)
{
    uint64_t end = s->from + 2 * s->pairs, last = pauses_begin(s->build);
    for (uint64_t i = s->from; i < end; i++) {
        table[i] = make_node(i);
        last = pauses_add(s->build, last);
    }
    for (uint64_t i = s->from; i < end; i++) link_node(s, table[i]);
}

static void mutate(share *s)
{
    uint64_t last = pauses_begin(s->p);
    for (uint64_t i = 0; i < s->operations; i++) {
        uint64_t place = stable(s) + 1;
        node *n = make_node(i);
        link_node(s, n);
        MEM_FREE(table[place]);
        table[place] = n;
        for (uint64_t w = 0; w < s->writes; w++) {
            node *from = table[stable(s)];
            from->out[w % EDGES] = table[stable(s)];
        }
        last = pauses_add(s->p, last);
    }
    pauses_end(s->p);
}

static void look(share *s)
{
    for (uint64_t i = s->from; i < s->from + 2 * s->pairs; i++)
        s->check += table[i]->payload[0] * i ^ table[i]->out[i % EDGES]->payload[0];
}

static void *run(void *arg)
{
    share *s = arg;
    build(s);
    pthread_barrier_wait(&barrier);
    if (s == shares) stops_begin();
    pthread_barrier_wait(&barrier);
    mutate(s);
    pthread_barrier_wait(&barrier);
    if (s == shares) stops_end();
    look(s);
    return NULL;
}

static void *run_attached(void *arg)
{
    MEM_ATTACH();
    run(arg);
    MEM_DETACH();
    return NULL;
}

static void prepare(uint64_t nodes, uint64_t operations, uint64_t writes)
{
    if (!(table = MEM_ALLOC(nodes * sizeof *table))) mem_out();
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        share *s = &shares[i];
        s->pairs = nodes / threads / 2;
        s->from = i * s->pairs * 2;
        s->operations = operations / threads;
        s->writes = writes;
        s->state = i + 1;
        s->build = pauses_new();
        s->p = pauses_new();
    }
}

int main(int argc, char **argv)
{
    uint64_t nodes = bench_arg(argc, argv, 1, 8388608), most = 0, check = 0;
    pthread_t id[MAX_THREADS];
    pauses *all[MAX_THREADS];
    threads = (unsigned)bench_arg(argc, argv, 3, 1);
    if (threads == 0 || threads > MAX_THREADS || nodes < 2 * threads) return 2;
    pause_init();
    prepare(nodes, bench_arg(argc, argv, 2, 8388608), bench_arg(argc, argv, 4, 0));

    for (unsigned i = 1; i < threads; i++) {
        if (pthread_create(&id[i], NULL, run_attached, &shares[i])) return 1;
    }
    run(&shares[0]);
    uint64_t end = 0;
    for (unsigned i = 0; i < threads; i++) {
        if (i) pthread_join(id[i], NULL);
        all[i] = shares[i].p;
        if (shares[i].build->most > most) most = shares[i].build->most;
        if (all[i]->end > end) end = all[i]->end;
        check += shares[i].check;
    }
    printf("check %llu\nbuild %.3f\ntotal %.6f\n", (unsigned long long)check, (double)most / 1e3,
           (double)(end - shares[0].build->begin) / 1e9);
    stops_show();
    pauses_show(all, threads);
    counts_show();
    return 0;
}

/* finalizer-cycle.c - objects with finalizers that refer to each other.
 *
 * What leaks: pairs of objects that point at each other, each with a finalizer.
 * Why:        an ordered finalizer waits until its object is reachable from no other object that
 *             has one; in a cycle that never happens, in Go as here. A cleanup, which does not
 *             get the object, doesn't have to wait: use it.
 * Seen by:    memstats: finalizer_cycles counts objects whose finalizer can't run;
 *             finalizers_ready is the queue behind a finalizer that is stuck, and
 *             oak_finalizer_running_ns says for how long it has been. */
#include "scenario.h"

#include <pthread.h>

#define PAIRS 1000
#define CHAIN 10
#define NODE 1024

typedef struct node {
    struct node *next;
    char body[NODE - sizeof(struct node *)];
} node;

static size_t finalized;

static void on_finalize(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    scn_count_up(&finalized);
}

static void on_cleanup(void *ctx)
{
    (void)ctx;
    scn_count_up(&finalized);
}

static uintptr_t some_node; /* hidden: a weak reference to what waits is cleared */

static __attribute__((noinline)) node *node_new(bool finalizer)
{
    node *n = scn_must(oak_alloc(sizeof(*n)));

    some_node = ~(uintptr_t)n;

    if (finalizer && oak_finalizer_set(n, on_finalize, NULL) != 0)
        scn_die("no room for a finalizer");
    return n;
}

/* ---- pairs ---- */

typedef struct pair_kind {
    bool cycle, finalizers, cleanups;
} pair_kind;

static void make_pairs(void *arg)
{
    const pair_kind *k = arg;

    for (int i = 0; i < PAIRS; i++) {
        node *a = node_new(k->finalizers), *b = node_new(k->finalizers && k->cycle);

        a->next = b;
        if (k->cycle) b->next = a;
        if (k->cleanups && (oak_cleanup_add(a, on_cleanup, NULL) != 0))
            scn_die("no room for a cleanup");
    }
}

/* The collector stays off while objects are made: the next collection is the first that sees any
 * of them. */
static void make(void (*fn)(void *), void *arg)
{
    finalized = 0;
    oak_gc_disable();
    scn_on_thread(fn, arg);
    oak_gc_enable();
}

/* One collection, and what it made ready run. */
static double collect_once(size_t want)
{
    static oak_memstats st;

    oak_collect();
    scn_settle(&finalized, want);
    oak_memstats_read(&st);
    return (double)st.heap_alloc;
}

static void cycles_without(scn *s)
{
    pair_kind none = { true, false, false };
    static oak_memstats before, after;
    double kept;

    scn_row(s, "1,000 cycles of two 1 KiB nodes, no finalizers");
    scn_live_stats(&before);
    make(make_pairs, &none);
    scn_live_stats(&after);
    kept = (double)after.heap_alloc - (double)before.heap_alloc;
    scn_retained(s, kept, SCN_BYTES);
    scn_go(s, "0");
    scn_pointed(s, "memstats: %s objects freed",
                scn_thousands((double)(after.frees - before.frees)));
    scn_expect_none(s, "retained", kept);
}

static void cycles_with_cleanups(scn *s)
{
    pair_kind cleanup = { true, false, true };
    double start = scn_live(), kept;

    scn_row(s, "the same, a cleanup on each cycle");
    make(make_pairs, &cleanup);
    kept = scn_live() - start;
    scn_settle(&finalized, PAIRS);
    scn_retained(s, kept, SCN_BYTES);
    scn_go(s, "0 (Go 1.27)");
    scn_pointed(s, "%s cleanups ran", scn_thousands((double)scn_count(&finalized)));
    scn_expect(s, "cleanups that ran", (double)scn_count(&finalized), PAIRS, PAIRS);
    scn_expect_none(s, "retained", scn_live() - start);
}

SCN_FIND(find_some_node, ~some_node)

static void cycles_with_finalizers(scn *s)
{
    pair_kind both = { true, true, false };
    double start = scn_live(), kept;
    static oak_memstats st;

    scn_row(s, "the same, finalizers on both nodes");
    make(make_pairs, &both);
    scn_live();
    scn_settle(&finalized, 0);
    scn_live_stats(&st);
    kept = (double)st.heap_alloc - start;
    scn_retained(s, kept, SCN_BYTES);
    scn_go(s, "2,048,088");
    scn_pointed(s, "memstats: finalizer_cycles %s of %s B, finalizers %s",
                scn_thousands((double)st.finalizer_cycles),
                scn_thousands((double)st.finalizer_cycle_bytes),
                scn_thousands((double)st.finalizers));
    scn_expect(s, "finalized", (double)scn_count(&finalized), 0, 0);
    scn_expect_bytes(s, "retained after four collections", kept, 2.0 * PAIRS * NODE, 5);
    scn_expect(s, "finalizer_cycles", (double)st.finalizer_cycles, 2 * PAIRS, 2 * PAIRS);
    scn_expect(s, "finalizer_cycle_bytes", (double)st.finalizer_cycle_bytes, 2 * PAIRS * NODE,
               2 * PAIRS * NODE);
    scn_detector_begin(NULL);
    for (int i = 0; i < 4; i++) scn_detector_look();
    scn_expect_found(s, OAK_FINDING_FINALIZER_CYCLE, NULL);
    scn_expect_site(s, "node_new");
    scn_expect_path(s, find_some_node, OAK_ROOT_WAITING, "", NULL);
}

/* ---- what does run, and when ---- */

static void acyclic(scn *s)
{
    pair_kind plain = { false, true, false };
    double start = scn_live(), first, second;
    size_t ran;

    scn_row(s, "1,000 acyclic pairs with a finalizer on the first node");
    make(make_pairs, &plain);
    first = collect_once(PAIRS) - start;
    ran = scn_count(&finalized);
    second = collect_once(PAIRS) - start;
    scn_retained(s, second, SCN_BYTES);
    scn_go(s, "16");
    scn_figure(s, "retained after collection 1 (Go: 2,048,016)", first, SCN_BYTES);
    scn_pointed(s, "%s finalized after collection 1; heap_alloc %+.0f B in collection 2",
                scn_thousands((double)ran), second - first);
    scn_expect(s, "finalized in collection 1", (double)ran, PAIRS, PAIRS);
    scn_expect_bytes(s, "retained after collection 1", first, 2.0 * PAIRS * NODE, 5);
    scn_expect_none(s, "retained after collection 2", second);
}

static void make_chain(void *arg)
{
    node *last = NULL;

    (void)arg;
    for (int i = 0; i < CHAIN; i++) {
        node *n = node_new(true);

        n->next = last;
        last = n;
    }
}

static void chain(scn *s)
{
    double start = scn_live();
    bool one_each = true;
    size_t rounds = 0, ran = 0;

    scn_row(s, "a chain of 10 with finalizers: collections until all ran");
    make(make_chain, NULL);
    while (ran < CHAIN && rounds < 2 * CHAIN) {
        collect_once(++rounds);
        ran = scn_count(&finalized);
        one_each = one_each && ran == rounds;
    }
    scn_retained(s, (double)rounds, SCN_COUNT);
    scn_go(s, "10");
    scn_pointed(s, "%zu finalized in %zu collections", ran, rounds);
    scn_expect_true(s, "one in each collection", one_each);
    scn_expect(s, "finalized", (double)ran, CHAIN, CHAIN);
    scn_expect_none(s, "retained at the end", scn_live() - start);
}

/* ---- one that never returns, and those behind it ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *pass_gate(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return NULL;
}

static void wait_at_gate(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    oak_blocking_call(pass_gate, NULL);
}

static void make_stuck(void *arg)
{
    node *n = node_new(false);

    (void)arg;
    if (oak_finalizer_set(n, wait_at_gate, NULL) != 0) scn_die("no room for a finalizer");
}

static void make_waiting(void *arg)
{
    (void)arg;
    for (int i = 0; i < PAIRS; i++) node_new(true);
}

/* A finalizer that runs for a millisecond is stuck: it is not waited for longer here. */
static void expect_stuck(scn *s)
{
    oak_detector_config cfg;

    oak_detector_config_default(&cfg);
    cfg.finalizer_ms = 1;
    while (oak_finalizer_running_ns() < 1000000) sched_yield();
    scn_detector_begin(&cfg);
    for (int i = 0; i < 4; i++) scn_detector_look();
    scn_expect_found(s, OAK_FINDING_FINALIZER_STUCK, NULL);
}

static void stuck(scn *s)
{
    double start = scn_live(), held;
    uint64_t running;
    static oak_memstats st;

    scn_row(s, "one blocked finalizer before 1,000 others");
    pthread_mutex_lock(&gate);
    make(make_stuck, NULL);
    oak_collect();
    while (oak_finalizer_running_ns() == 0) sched_yield();
    make(make_waiting, NULL);
    scn_live_stats(&st);
    held = (double)st.heap_alloc - start;
    running = oak_finalizer_running_ns();
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "1,025,232");
    scn_pointed(s, "memstats: finalizers_ready %s; the one that runs has for %.1f ms",
                scn_thousands((double)st.finalizers_ready), (double)running / 1e6);
    scn_expect(s, "finalized while blocked", (double)scn_count(&finalized), 0, 0);
    scn_expect_bytes(s, "held while blocked", held, 1001.0 * NODE, 5);
    scn_expect(s, "finalizers_ready", (double)st.finalizers_ready, PAIRS, PAIRS);
    scn_expect_true(s, "a finalizer is known to be running", running != 0);
    expect_stuck(s);
    pthread_mutex_unlock(&gate);
    scn_settle(&finalized, PAIRS);
    scn_expect(s, "finalized once unblocked", (double)scn_count(&finalized), PAIRS, PAIRS);
    scn_expect_none(s, "retained once unblocked", scn_live() - start);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    acyclic(s);
    chain(s);
    scn_expect_quiet(s);
    stuck(s);
    scn_detector_begin(NULL);
    cycles_without(s);
    cycles_with_cleanups(s);
    scn_expect_quiet(s);
    cycles_with_finalizers(s);
}

const scn_scenario scn_finalizer_cycle = {
    .id = "finalizer-cycle",
    .class = 'G',
    .source = "A2 2.3",
    .leak = "a cycle of objects with ordered finalizers is never freed",
    .maps = false,
    .run = run,
};

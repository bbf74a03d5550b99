/* ephemeron.c - tests of gc/refs/ephemeron.c: the fixpoint against a plain one on random graphs,
 * and what it costs on chains. */
#include "gc/refs/finalizer.h"

#include "away.h"
#include "tests/capture.h"
#include "tests/heap.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

Suite *suite_gc_ephemeron(void);

#define LUCK 4

static void *root, *other_root;
static oak_ephemeron *pair;
static oak_weak *weak_value;

/* ---- one pair ---- */

static void make_pair(void *arg)
{
    (void)arg;
    root = oak_alloc(32);
    void **value = oak_alloc(16);
    value[0] = root; /* the value holds the key, which must not keep the pair */
    pair = oak_ephemeron_new(root, value);
    weak_value = oak_weak_new(value);
}

START_TEST(a_value_lives_with_its_key)
{
    void *value;
    test_build(make_pair, NULL);
    oak_collect();
    ck_assert_ptr_eq(oak_ephemeron_get(pair, &value), root);
    ck_assert_ptr_eq(value, oak_weak_get(weak_value));
    ck_assert_ptr_nonnull(value);
    ck_assert_ptr_eq(*(void **)value, root);
}
END_TEST

START_TEST(a_pair_goes_when_its_key_goes)
{
    void *value = &value;
    test_build(make_pair, NULL);
    root = NULL;
    oak_collect();
    ck_assert_ptr_null(oak_ephemeron_get(pair, &value));
    ck_assert_ptr_null(value);
    ck_assert_ptr_null(oak_weak_get(weak_value));
    oak_ephemeron_set(pair, &value);
    ck_assert_ptr_null(oak_ephemeron_get(pair, &value));
    ck_assert_ptr_null(value);
}
END_TEST

START_TEST(a_value_goes_when_the_pair_goes)
{
    test_build(make_pair, NULL);
    pair = NULL;
    oak_collect();
    ck_assert_ptr_nonnull(root);
    ck_assert_ptr_null(oak_weak_get(weak_value));
}
END_TEST

static void set_value(void *arg)
{
    oak_ephemeron_set(pair, oak_alloc(*(size_t *)arg));
}

START_TEST(a_value_can_be_replaced)
{
    size_t size = 4000;
    void *value;
    test_build(make_pair, NULL);
    test_build(set_value, &size);
    oak_collect();
    ck_assert_ptr_null(oak_weak_get(weak_value));
    oak_ephemeron_get(pair, &value);
    ck_assert_uint_ge(oak_usable_size(value), size);
    oak_ephemeron_set(pair, NULL);
    ck_assert_ptr_eq(oak_ephemeron_get(pair, &value), root);
    ck_assert_ptr_null(value);
}
END_TEST

START_TEST(keys_may_be_interior_and_values_anything)
{
    static int foreign;
    char *key = oak_alloc(100);
    void *value;
    pair = oak_ephemeron_new(key + 50, &foreign);
    oak_collect();
    ck_assert_ptr_eq(oak_ephemeron_get(pair, &value), key + 50);
    ck_assert_ptr_eq(value, &foreign);
    oak_ephemeron_set(pair, (void *)1);
    oak_collect();
    ck_assert_ptr_eq(oak_ephemeron_get(pair, NULL), key + 50);
}
END_TEST

START_TEST(oak_free_of_key_or_pair_is_noticed)
{
    void *value, *key = oak_alloc(32), *other = oak_alloc(32);
    oak_ephemeron *a = oak_ephemeron_new(key, other), *b = oak_ephemeron_new(key, NULL);
    oak_ephemeron *c = oak_ephemeron_new(other, key);
    oak_free(b);
    oak_free(key);
    ck_assert_ptr_null(oak_ephemeron_get(a, &value));
    ck_assert_ptr_null(value);
    oak_ephemeron_set(c, NULL);
    for (int i = 0; i < 100; i++) {
        oak_ephemeron *first = oak_ephemeron_new(other, NULL);
        oak_free(oak_ephemeron_new(other, NULL));
        oak_free(first);
    }
    size_t before = oaki_ephemerons_visits();
    oak_collect();
    ck_assert_ptr_eq(oak_ephemeron_get(c, NULL), other);
    ck_assert_msg(oaki_ephemerons_visits() - before < 10, "freed pairs are looked at");
}
END_TEST

static void refer_to_foreign(void *arg)
{
    oak_ephemeron_new(arg, NULL);
}

START_TEST(a_foreign_key_is_fatal)
{
    char out[256];
    int status = test_capture(refer_to_foreign, &root, out, sizeof out);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_nonnull(strstr(out, "oak_ephemeron_new: "));
}
END_TEST

/* ---- finalizers ---- */

static void keep_nothing(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void make_ordered(void *arg)
{
    (void)arg;
    /* a reaches b only through a pair that it holds itself, with its key */
    void **a = oak_alloc(32), *b = oak_alloc(16);
    a[0] = oak_alloc(16);
    a[1] = oak_ephemeron_new(a[0], b);
    oak_finalizer_set(b, keep_nothing, NULL);
    oak_finalizer_set(a, keep_nothing, NULL);
}

START_TEST(a_finalizer_waits_for_an_object_that_reaches_its_own_through_a_pair)
{
    test_build(make_ordered, NULL);
    for (int i = 0; i < 2; i++) {
        oak_collect();
        ck_assert_uint_eq(test_run_finalizers(), 1);
    }
    oak_collect();
    ck_assert_uint_eq(test_run_finalizers(), 0);
}
END_TEST

static void finalize_key(void *arg)
{
    (void)arg;
    oak_finalizer_set(root, keep_nothing, NULL);
}

START_TEST(a_pair_stays_until_its_keys_finalizer_has_run)
{
    void *value;
    test_build(make_pair, NULL);
    test_build(finalize_key, NULL);
    root = NULL;
    oak_collect();
    ck_assert_ptr_nonnull(oak_ephemeron_get(pair, &value));
    ck_assert_ptr_nonnull(value);
    value = NULL;
    ck_assert_uint_eq(test_run_finalizers(), 1);
    test_build(set_value, &(size_t){ 16 }); /* and so this frame holds neither */
    oak_collect();
    ck_assert_ptr_null(oak_ephemeron_get(pair, NULL));
}
END_TEST

/* ---- chains: each value leads to the next pair's key, or to the next pair ---- */

#define CHAIN 20000

typedef struct chain {
    enum { DIRECT, BOXED, HELD } link; /* the value is the key; refers to it; refers to the pair */
    enum { FORWARDS, BACKWARDS, SHUFFLED } order;
} chain;

static void fill_order(int *order, const chain *c)
{
    for (int i = 0; i < CHAIN; i++) order[i] = c->order == BACKWARDS ? CHAIN - 1 - i : i;
    for (int i = CHAIN - 1; i > 0 && c->order == SHUFFLED; i--) {
        int k = rand() % (i + 1), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
}

/* root holds all pairs and other_root the first key, or root all keys and other_root the first
 * pair. */
static void make_chain(void *arg)
{
    const chain *c = arg;
    static int order[CHAIN];
    void **keys = oak_alloc((CHAIN + 1) * sizeof *keys);
    void **pairs = oak_alloc(CHAIN * sizeof *pairs), **boxes = oak_alloc(CHAIN * sizeof *boxes);
    fill_order(order, c);
    for (int i = 0; i <= CHAIN; i++) keys[i] = oak_alloc(16);
    for (int i = 0; i < CHAIN; i++) boxes[i] = c->link == DIRECT ? keys[i + 1] : oak_alloc(16);
    for (int i = 0; i < CHAIN; i++)
        pairs[order[i]] = oak_ephemeron_new(keys[order[i]], boxes[order[i]]);
    for (int i = 0; i + 1 < CHAIN && c->link != DIRECT; i++)
        ((void **)boxes[i])[1] = c->link == HELD ? pairs[i + 1] : keys[i + 1];
    root = c->link == HELD ? keys : pairs;
    other_root = c->link == HELD ? pairs[0] : keys[0];
}

static size_t objects(void)
{
    static oak_memstats s;
    oak_memstats_read(&s);
    return s.heap_objects;
}

static const chain chains[] = { { DIRECT, FORWARDS }, { DIRECT, BACKWARDS }, { DIRECT, SHUFFLED },
                                { BOXED, FORWARDS },  { BOXED, BACKWARDS },  { BOXED, SHUFFLED },
                                { HELD, FORWARDS },   { HELD, BACKWARDS },   { HELD, SHUFFLED } };

START_TEST(a_long_chain_lives_by_its_first_link_and_costs_a_few_looks_a_link)
{
    chain c = chains[_i];
    size_t alive = c.link == DIRECT ? (size_t)2 * CHAIN : (size_t)3 * CHAIN;
    test_once();
    test_build(make_chain, &c);
    size_t before = oaki_ephemerons_visits();
    oak_collect();
    ck_assert_ptr_nonnull(root);
    ck_assert_ptr_nonnull(other_root);
    ck_assert_uint_ge(objects(), alive);
    ck_assert_uint_le(objects(), alive + 2 + LUCK);
    ck_assert_uint_ge(AO_load(&oaki_the_heap.live), alive * 16);
    ck_assert_uint_le(oaki_ephemerons_visits() - before, (size_t)8 * CHAIN);
    other_root = NULL;
    oak_collect();
    ck_assert_uint_le(objects(), CHAIN + 2 + LUCK); /* what root holds */
}
END_TEST

/* ---- chains through objects that take more than a scan of a small slot ---- */

#define LINKS 300
#define WIDE 4096 /* words: with those below the last, more than gc/debug/edges.c has room for */

static const oak_type *odd_type;

static void mark_second(oak_marker *m, void *obj, size_t size)
{
    (void)size;
    oak_mark_ptr(m, ((void **)obj)[1]);
}

static void *box_for(int i, void *key)
{
    void **box = i % 3 == 0 ? oak_alloc(65536) : i % 3 == 1 ? oak_alloc_typed(odd_type, 1) : NULL;
    if (!box) {
        box = oak_alloc(WIDE * sizeof *box);
        for (int k = 2; k < WIDE; k++) box[k] = oak_alloc(64);
        void **last = box[WIDE - 1];
        for (int k = 0; k < 8; k++) last[k] = oak_alloc(16);
        last = last[3];
        *last = key;
    } else {
        box[1] = key;
    }
    return box;
}

static void make_odd_chain(void *arg)
{
    void **keys = oak_alloc((LINKS + 1) * sizeof *keys);
    oak_ephemeron **pairs = oak_alloc(LINKS * sizeof(oak_ephemeron *));
    (void)arg;
    for (int i = 0; i <= LINKS; i++) keys[i] = oak_alloc(16);
    for (int i = LINKS - 1; i >= 0; i--)
        pairs[i] = oak_ephemeron_new(keys[i], box_for(i, keys[i + 1]));
    root = pairs;
    other_root = keys[0];
}

START_TEST(a_chain_through_large_typed_and_wide_objects_lives)
{
    odd_type = oak_type_function("odd", 64, mark_second);
    test_build(make_odd_chain, NULL);
    for (int turn = 0; turn < 2; turn++) {
        int n = 0;
        oak_collect();
        for (int i = 0; i < LINKS; i++)
            n += oak_ephemeron_get(((oak_ephemeron **)root)[i], NULL) != NULL;
        if (turn == 0)
            ck_assert_int_eq(n, LINKS);
        else
            ck_assert_int_le(n, LUCK);
        ck_assert(turn == 1 || other_root);
        other_root = NULL;
    }
}
END_TEST

/* ---- random graphs ---- */

#define NODES 600
#define PAIRS 900
#define EDGES 2
#define ROOTS 12

typedef struct model {
    int edge[NODES][EDGES];                      /* -1: none */
    int key[PAIRS], value[PAIRS], holder[PAIRS]; /* nodes; the pair is held by a node */
    bool node[NODES], pair_alive[PAIRS];
} model;

typedef struct graph_node {
    struct graph_node *edge[EDGES];
    oak_ephemeron *pair[8]; /* that it holds */
    unsigned npairs;
} graph_node;

static graph_node *graph_root[ROOTS];
static int root_node[ROOTS];
static oak_weak *weak_node[NODES];

static void plan(model *m)
{
    unsigned held[NODES] = { 0 };
    for (int i = 0; i < NODES; i++)
        for (int e = 0; e < EDGES; e++) m->edge[i][e] = rand() % 5 == 0 ? rand() % NODES : -1;
    for (int p = 0; p < PAIRS; p++) {
        m->key[p] = rand() % NODES;
        m->value[p] = rand() % NODES;
        do m->holder[p] = rand() % NODES;
        while (held[m->holder[p]] == 8);
        held[m->holder[p]]++;
    }
    for (int r = 0; r < ROOTS; r++) root_node[r] = rand() % NODES;
}

static void reach(model *m, int node)
{
    if (node < 0 || m->node[node]) return;
    m->node[node] = true;
    for (int e = 0; e < EDGES; e++) reach(m, m->edge[node][e]);
}

/* What has to live, in the plainest way. */
static void solve(model *m)
{
    memset(m->node, 0, sizeof m->node);
    for (int r = 0; r < ROOTS; r++)
        if (graph_root[r]) reach(m, root_node[r]);
    for (bool changed = true; changed;) {
        changed = false;
        for (int p = 0; p < PAIRS; p++) {
            m->pair_alive[p] = m->node[m->holder[p]];
            if (!m->pair_alive[p] || !m->node[m->key[p]] || m->node[m->value[p]]) continue;
            reach(m, m->value[p]);
            changed = true;
        }
    }
}

static void build(void *arg)
{
    model *m = arg;
    graph_node **nodes = oak_alloc(NODES * sizeof *nodes);
    for (int i = 0; i < NODES; i++) {
        nodes[i] = oak_alloc(sizeof *nodes[i]);
        weak_node[i] = oak_weak_new(nodes[i]);
    }
    for (int i = 0; i < NODES; i++)
        for (int e = 0; e < EDGES; e++)
            nodes[i]->edge[e] = m->edge[i][e] < 0 ? NULL : nodes[m->edge[i][e]];
    for (int p = 0; p < PAIRS; p++) {
        graph_node *h = nodes[m->holder[p]];
        h->pair[h->npairs++] = oak_ephemeron_new(nodes[m->key[p]], nodes[m->value[p]]);
    }
    for (int r = 0; r < ROOTS; r++) graph_root[r] = nodes[root_node[r]];
}

START_TEST(random_graphs_agree_with_a_plain_fixpoint)
{
    static model m;
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)_i << 20;
    printf("gc/ephemeron seed %u\n", seed);
    srand(seed);
    plan(&m);
    test_build(build, &m);
    int stray = 0;
    for (int r = 0; r <= ROOTS; r++) {
        oak_collect();
        solve(&m);
        for (int i = 0; i < NODES; i++) {
            bool lives = oak_weak_get(weak_node[i]) != NULL;
            ck_assert_msg(lives || !m.node[i], "node %d was lost with %d roots", i, ROOTS - r);
            stray += lives && !m.node[i];
        }
        if (r < ROOTS) graph_root[r] = NULL;
    }
    ck_assert_int_eq(stray, 0);
}
END_TEST

static void start(void)
{
    test_start(0);
}

Suite *suite_gc_ephemeron(void)
{
    Suite *s = suite_create("gc/ephemeron");
    TCase *c = tcase_create("ephemeron");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_value_lives_with_its_key);
    tcase_add_test(c, a_pair_goes_when_its_key_goes);
    tcase_add_test(c, a_value_goes_when_the_pair_goes);
    tcase_add_test(c, a_value_can_be_replaced);
    tcase_add_test(c, keys_may_be_interior_and_values_anything);
    tcase_add_test(c, oak_free_of_key_or_pair_is_noticed);
    tcase_add_test(c, a_foreign_key_is_fatal);
    tcase_add_test(c, a_finalizer_waits_for_an_object_that_reaches_its_own_through_a_pair);
    tcase_add_test(c, a_pair_stays_until_its_keys_finalizer_has_run);
    tcase_add_loop_test(c, a_long_chain_lives_by_its_first_link_and_costs_a_few_looks_a_link, 0,
                        sizeof chains / sizeof chains[0]);
    tcase_add_test(c, a_chain_through_large_typed_and_wide_objects_lives);
    tcase_add_loop_test(c, random_graphs_agree_with_a_plain_fixpoint, 0, 8);
    suite_add_tcase(s, c);
    return s;
}

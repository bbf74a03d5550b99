/* ephemeron.c - tests of gc/ephemeron.c: the fixpoint against a plain one on random graphs, and
 * what it costs on chains. */
#include "gc/finalizer.h"

#include "tests/capture.h"
#include "tests/gc/away.h"

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
    size_t before = oaki_ephemerons_looks();
    oak_collect();
    ck_assert_ptr_eq(oak_ephemeron_get(c, NULL), other);
    ck_assert_msg(oaki_ephemerons_looks() - before < 10, "freed pairs are looked at");
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

/* ---- chains: each value leads to the next pair's key ---- */

#define CHAIN 20000

typedef struct chain {
    bool boxed; /* through an object of its own */
    enum { FORWARDS, BACKWARDS, SHUFFLED } order;
} chain;

static void make_chain(void *arg)
{
    const chain *c = arg;
    static int order[CHAIN];
    void **keys = oak_alloc((CHAIN + 1) * sizeof *keys);
    oak_ephemeron **pairs = oak_alloc(CHAIN * sizeof(oak_ephemeron *));
    for (int i = 0; i <= CHAIN; i++) keys[i] = oak_alloc(16);
    for (int i = 0; i < CHAIN; i++) order[i] = c->order == BACKWARDS ? CHAIN - 1 - i : i;
    for (int i = CHAIN - 1; i > 0 && c->order == SHUFFLED; i--) {
        int k = rand() % (i + 1), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    for (int i = 0; i < CHAIN; i++) {
        int k = order[i];
        void *value = keys[k + 1];
        if (c->boxed) {
            void **box = oak_alloc(16);
            box[1] = value;
            value = box;
        }
        pairs[k] = oak_ephemeron_new(keys[k], value);
    }
    root = pairs;
    other_root = keys[0];
}

static int alive(void *pairs)
{
    int n = 0;
    for (int i = 0; i < CHAIN; i++)
        n += oak_ephemeron_get(((oak_ephemeron **)pairs)[i], NULL) != NULL;
    return n;
}

static const chain chains[] = { { false, FORWARDS },
                                { false, BACKWARDS },
                                { false, SHUFFLED },
                                { true, FORWARDS },
                                { true, BACKWARDS } };

START_TEST(a_long_chain_lives_by_its_first_key_and_costs_a_few_looks_a_link)
{
    chain c = chains[_i];
    test_build(make_chain, &c);
    size_t before = oaki_ephemerons_looks();
    oak_collect();
    ck_assert_ptr_nonnull(other_root);
    ck_assert_int_eq(alive(root), CHAIN);
    ck_assert_uint_le(oaki_ephemerons_looks() - before, (size_t)8 * CHAIN);
    other_root = NULL;
    oak_collect();
    ck_assert_int_le(alive(root), LUCK);
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
    tcase_add_loop_test(c, a_long_chain_lives_by_its_first_key_and_costs_a_few_looks_a_link, 0,
                        sizeof chains / sizeof chains[0]);
    tcase_add_loop_test(c, random_graphs_agree_with_a_plain_fixpoint, 0, 8);
    suite_add_tcase(s, c);
    return s;
}

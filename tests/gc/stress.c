/* stress.c - a collection at every allocation, or nearly, of programs that hold what they use in
 * one place only: what is freed too early shows as a changed value, or in the poison. */
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <string.h>

Suite *suite_gc_stress(void);

static void start(int every, int markers)
{
    oak_config c = test_config();
    c.gc_threads = markers;
    c.background_sweep = 1;
    test_heap_start(c);
    oaki_debug_switches.stress = every;
    oaki_debug_switches.poison = 1;
    oaki_debug_switches.verify = 1;
}

/* ---- a tree whose nodes are only on the stack while it is made ---- */

typedef struct node {
    struct node *left, *right;
    size_t key;
} node;

static node *build(size_t from, size_t to)
{
    if (from >= to) return NULL;
    size_t middle = from + (to - from) / 2;
    node *left = build(from, middle), *right = build(middle + 1, to), *n = oak_alloc(sizeof *n);
    *n = (node){ left, right, middle };
    return n;
}

static size_t check_tree(const node *n, size_t from, size_t to)
{
    if (from >= to) return n == NULL ? 0 : 1;
    size_t middle = from + (to - from) / 2;
    if (!n || n->key != middle) return 1;
    return check_tree(n->left, from, middle) + check_tree(n->right, middle + 1, to);
}

static void *build_trees(void *arg)
{
    size_t wrong = 0;
    for (size_t i = 0, n = test_scale(8); i < n; i++) {
        node *t = build(i, i + 100);
        wrong += check_tree(t, i, i + 100);
    }
    *(size_t *)arg = wrong;
    return arg;
}

START_TEST(trees_on_the_stack)
{
    size_t wrong;
    start(1 + _i, 1 + _i % 2);
    build_trees(&wrong);
    ck_assert_uint_eq(wrong, 0);
    if (!oaki_debug_switches.beside) /* then one may go on through several calls for it */
        ck_assert_uint_ge(test_stats().num_gc, 100 / (size_t)(1 + _i));
}
END_TEST

START_TEST(trees_on_several_stacks)
{
    size_t wrong[3];
    pthread_t ids[3];
    start(7, 2);
    for (int i = 0; i < 3; i++) ids[i] = test_start(build_trees, &wrong[i]);
    for (int i = 0; i < 3; i++) test_join(ids[i]);
    for (int i = 0; i < 3; i++) ck_assert_uint_eq(wrong[i], 0);
}
END_TEST

/* ---- every call that allocates, with its argument nowhere else ---- */

static void check_bytes(const unsigned char *p, size_t n, unsigned char value)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != value) ck_abort_msg("byte %zu of %zu is %02x, not %02x", i, n, p[i], value);
}

START_TEST(buffers_that_grow)
{
    test_seed("gc/stress");
    start(1, 1);
    for (size_t i = 0, rounds = test_scale(15); i < rounds; i++) {
        size_t n = 1 + test_below(50);
        unsigned char *p = i % 2 ? oak_alloc(n) : oak_alloc_noscan(n);
        memset(p, 0x31, n);
        for (int k = 0; k < 12; k++) {
            size_t to = test_size(k == 11 ? 100000 : 4000);
            p = oak_realloc(p, to);
            check_bytes(p, n < to ? n : to, 0x31);
            if (to > n && !test_is_zero(p + n, to - n)) ck_abort_msg("what is new is not zero");
            memset(p, 0x31, to);
            n = to;
        }
    }
}
END_TEST

START_TEST(chains_of_every_kind)
{
    static const uint64_t bits[] = { 1 };
    start(1, 2);
    const oak_type *pair = oak_type_bitmap("pair", 16, bits);
    void **chain = NULL;
    size_t n = test_scale(200), found = 0;
    for (size_t i = 0; i < n; i++) {
        void **p = i % 5 == 0   ? oak_alloc_typed(pair, 1 + i % 40)
                   : i % 5 == 1 ? oak_alloc_aligned((size_t)16 << i % 10, 40)
                   : i % 5 == 2 ? oak_alloc(i % 50 == 2 ? 70000 : 24)
                   : i % 5 == 3 ? oak_alloc_pinned(100)
                                : oak_alloc(16 + i * 3);
        if (!test_is_zero(p, 16)) ck_abort_msg("object %zu is not zero", i);
        p[0] = chain;
        p[1] = (void *)~i;
        chain = p;
    }
    for (void **p = chain; p; p = *p) {
        found++;
        if (p[1] != (void *)~(n - found)) ck_abort_msg("object %zu was changed", n - found);
    }
    ck_assert_uint_eq(found, n);
}
END_TEST

/* ---- random mutators over shared roots ---- */

#define SHARED 256
static node *shared[SHARED];
static AO_t wrong_nodes;

static void *swap_lists(void *arg)
{
    uint64_t x = (uintptr_t)arg;
    for (size_t i = 0, n = test_scale(400); i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t own = (uintptr_t)arg * 64 + (x >> 33) % 64; /* its own quarter: no two write there */
        node *fresh = oak_alloc(sizeof *fresh);
        fresh->key = own;
        fresh->left = (x >> 60) ? shared[own] : NULL;
        fresh->right = fresh;
        shared[own] = fresh;
        for (node *v = shared[own]; v; v = v->left)
            if (v->key != own || v->right != v) AO_store(&wrong_nodes, 1);
    }
    return NULL;
}

START_TEST(mutators_under_constant_collection)
{
    pthread_t ids[4];
    start(11, 2);
    for (size_t i = 0; i < 4; i++) ids[i] = test_start(swap_lists, (void *)i);
    for (size_t i = 0; i < 4; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&wrong_nodes), 0);
    test_assert_sound();
}
END_TEST

START_TEST(every_nth_allocation_collects)
{
    start(10, 1);
    test_no_beside();
    oaki_debug_switches.verify = 0;
    size_t before = test_stats().num_gc;
    for (int i = 0; i < 1000; i++) (void)!oak_alloc(5000);
    ck_assert_uint_eq(test_stats().num_gc - before, 100);
    for (int i = 0; i < 1000; i++) (void)!oak_alloc(16); /* a run is one slot, so each one counts */
    ck_assert_uint_eq(test_stats().num_gc - before, 200);
    for (int i = 0; i < 100; i++) (void)!oak_alloc_noscan(50000);
    ck_assert_uint_eq(test_stats().num_gc - before, 210);
}
END_TEST

Suite *suite_gc_stress(void)
{
    Suite *s = suite_create("gc/stress");
    TCase *c = tcase_create("stress");
    tcase_add_loop_test(c, trees_on_the_stack, 0, 4);
    tcase_add_test(c, trees_on_several_stacks);
    tcase_add_test(c, buffers_that_grow);
    tcase_add_test(c, chains_of_every_kind);
    tcase_add_test(c, mutators_under_constant_collection);
    tcase_add_test(c, every_nth_allocation_collects);
    suite_add_tcase(s, c);
    return s;
}

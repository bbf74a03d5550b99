/* dominators.c - tests of dominators and retained sizes against what they mean: d dominates v when
 * v can't be reached without d. */
#include "observe/dominators.h"

#include "tests/heap.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_dominators(void);

#define MOST 24

static struct graph {
    uint32_t n;
    uint32_t count[MOST], to[MOST][MOST];
    uint32_t root[MOST];
    size_t nroots;
} g;

static uint32_t edge_of(const void *ctx, uint32_t v, uint64_t i)
{
    const struct graph *graph = ctx;
    return i < graph->count[v] ? graph->to[v][i] : OAKI_DOM_NONE;
}

/* What is reached when `without` is not there, as bits. */
static uint32_t reach(uint32_t without)
{
    uint32_t found = 0, stack[MOST], depth = 0;
    for (size_t i = 0; i < g.nroots; i++)
        if (g.root[i] != without && !(found >> g.root[i] & 1)) {
            found |= 1u << g.root[i];
            stack[depth++] = g.root[i];
        }
    while (depth > 0) {
        uint32_t v = stack[--depth];
        for (uint32_t i = 0; i < g.count[v]; i++) {
            uint32_t w = g.to[v][i];
            if (w == without || found >> w & 1) continue;
            found |= 1u << w;
            stack[depth++] = w;
        }
    }
    return found;
}

static void make_graph(void)
{
    memset(&g, 0, sizeof g);
    g.n = 1 + (uint32_t)test_below(MOST);
    size_t density = 1 + test_below(3);
    for (uint32_t v = 0; v < g.n; v++)
        for (size_t i = test_below(density + 1); i > 0 && g.count[v] < MOST; i--)
            g.to[v][g.count[v]++] = (uint32_t)test_below(g.n);
    for (g.nroots = 0; g.nroots < 1 + test_below(2); g.nroots++)
        g.root[g.nroots] = (uint32_t)test_below(g.n);
}

static void compare(void)
{
    oaki_dom_graph d = { g.n, edge_of, &g, g.root, g.nroots };
    uint32_t idom[MOST], all = reach(MOST), without[MOST];
    uint64_t retained[MOST], size[MOST];
    for (uint32_t v = 0; v < g.n; v++) {
        without[v] = reach(v);
        retained[v] = size[v] = 1 + test_below(100);
    }
    ck_assert_int_eq(oaki_dominators(&d, idom), 0);
    ck_assert_int_eq(oaki_retained(&d, idom, retained), 0);
    for (uint32_t v = 0; v < g.n; v++) {
        if (!(all >> v & 1)) {
            ck_assert_uint_eq(idom[v], OAKI_DOM_NONE);
            continue;
        }
        uint64_t sum = 0;
        uint32_t next = OAKI_DOM_NONE;
        for (uint32_t w = 0; w < g.n; w++) {
            bool lost = (all & ~without[v]) >> w & 1;
            if (lost) sum += size[w];
            /* the nearest dominator is dominated by all others */
            bool dominates = w != v && (all & ~without[w]) >> v & 1;
            if (dominates && (next == OAKI_DOM_NONE || (all & ~without[next]) >> w & 1)) next = w;
        }
        ck_assert_uint_eq(idom[v], next);
        ck_assert_uint_eq(retained[v], sum);
    }
}

START_TEST(random_graphs_agree_with_removal)
{
    test_seed("observe_dominators");
    for (size_t i = 0; i < test_scale(20000); i++) {
        make_graph();
        compare();
    }
}
END_TEST

/* ---- long and wide ones ---- */

static uint32_t next_of(const void *ctx, uint32_t v, uint64_t i)
{
    uint32_t n = *(const uint32_t *)ctx;
    return i == 0 && v + 1 < n ? v + 1 : OAKI_DOM_NONE;
}

static uint32_t child_of(const void *ctx, uint32_t v, uint64_t i)
{
    uint32_t n = *(const uint32_t *)ctx;
    return v == 0 && i + 1 < n ? (uint32_t)i + 1 : OAKI_DOM_NONE;
}

START_TEST(a_chain_and_a_star_take_no_stack)
{
    uint32_t n = 1000000, root = 0, *idom = malloc(n * sizeof *idom);
    uint64_t *retained = malloc(n * sizeof *retained);
    oaki_dom_graph d = { n, _i ? child_of : next_of, &n, &root, 1 };
    for (uint32_t v = 0; v < n; v++) retained[v] = 1;
    ck_assert_int_eq(oaki_dominators(&d, idom), 0);
    ck_assert_int_eq(oaki_retained(&d, idom, retained), 0);
    ck_assert_uint_eq(retained[0], n);
    ck_assert_uint_eq(retained[1], _i ? 1 : n - 1);
    ck_assert_uint_eq(idom[n - 1], _i ? 0 : n - 2);
    free(idom);
    free(retained);
}
END_TEST

START_TEST(without_roots_or_nodes_there_is_nothing)
{
    uint32_t n = 3, idom[3];
    oaki_dom_graph d = { 3, next_of, &n, NULL, 0 };
    ck_assert_int_eq(oaki_dominators(&d, idom), 0);
    ck_assert_uint_eq(idom[2], OAKI_DOM_NONE);
    d.n = 0;
    ck_assert_int_eq(oaki_dominators(&d, idom), 0);
}
END_TEST

Suite *suite_observe_dominators(void)
{
    Suite *s = suite_create("observe_dominators");
    TCase *t = tcase_create("dominators");
    tcase_add_test(t, random_graphs_agree_with_removal);
    tcase_add_loop_test(t, a_chain_and_a_star_take_no_stack, 0, 2);
    tcase_add_test(t, without_roots_or_nodes_there_is_nothing);
    suite_add_tcase(s, t);
    return s;
}

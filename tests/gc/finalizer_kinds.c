/* finalizer_kinds.c - tests of the kinds of finalizers beside ordered and unordered, and of the
 * order of Boehm's collector: who runs in which collection, for small graphs, against a plain
 * model of the rules for random ones. */
#include "gc/host.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <string.h>

Suite *suite_gc_finalizer_kinds(void);

#define NODES 24
#define EDGES 4

enum {
    ORDERED = OAK_FINALIZER_ORDERED,
    NO_ORDER = OAK_FINALIZER_NO_ORDER,
    IGNORE_SELF = OAK_FINALIZER_IGNORE_SELF,
    UNREACHABLE = OAK_FINALIZER_UNREACHABLE,
    PLAIN = -1 /* no finalizer */
};

enum { OF_WORDS, OF_BITMAP, OF_FUNCTION, OF_LARGE, SHAPES, OF_NOTHING };

/* What a test wants: kinds, and the edges between its nodes. */
typedef struct plan {
    size_t n;
    int kind[NODES];
    int to[NODES][EDGES]; /* node, or -1 */
    int shape;
} plan;

static plan want;
static int run_in[NODES]; /* the collection after which it ran, from 1; 0: it has not */
static int turns;
static size_t graphs; /* built */

/* Who is still waiting when a graph's turns are over may run in those of the next. */
static void note(void *obj, void *ctx)
{
    size_t i = (uintptr_t)ctx;
    (void)obj;
    if (i / NODES == graphs) run_in[i % NODES] = turns;
}

static void mark_edges(oak_marker *m, void *obj, size_t size)
{
    (void)size;
    for (size_t e = 0; e < EDGES; e++) oak_mark_ptr(m, ((void **)obj)[e]);
}

static void *new_node(void)
{
    static const uint64_t bits = (1 << EDGES) - 1;
    static oak_type *by_bitmap, *by_function;
    if (!by_bitmap) by_bitmap = oak_type_bitmap("node", 64, &bits);
    if (!by_function) by_function = oak_type_function("node", 64, mark_edges);
    switch (want.shape) {
    case OF_BITMAP: return oak_alloc_typed(by_bitmap, 1);
    case OF_FUNCTION: return oak_alloc_typed(by_function, 1);
    case OF_LARGE: return oak_alloc(100000);
    case OF_NOTHING: return oak_alloc_noscan(64);
    }
    return oak_alloc(64);
}

static void build(void *arg)
{
    void **node[NODES] = { NULL };
    (void)arg;
    for (size_t i = 0; i < want.n; i++) node[i] = new_node();
    for (size_t i = 0; i < want.n; i++) {
        for (size_t e = 0; e < EDGES; e++)
            if (want.to[i][e] >= 0) node[i][e] = (char *)node[want.to[i][e]] + e;
        if (want.kind[i] == PLAIN) continue;
        void *ctx = (void *)(graphs * NODES + i);
        ck_assert_int_eq(oak_finalizer_set_ex(node[i], note, ctx, want.kind[i], NULL, NULL), 0);
    }
}

static void clear_plan(size_t n, int shape)
{
    memset(&want, 0xff, sizeof want);
    want.n = n;
    want.shape = shape;
    for (size_t i = 0; i < n; i++) want.kind[i] = PLAIN;
}

static void edge(int from, int to)
{
    for (size_t e = 0; e < EDGES; e++)
        if (want.to[from][e] < 0) {
            want.to[from][e] = to;
            return;
        }
    ck_abort_msg("more edges than places");
}

static void run_turns(int n)
{
    memset(run_in, 0, sizeof run_in);
    graphs++;
    test_build(build, NULL);
    for (turns = 1; turns <= n; turns++) {
        oak_collect();
        (void)test_run_finalizers();
    }
}

/* ---- small graphs ---- */

/* One of this kind that refers to itself. */
static int alone_with_itself(int kind, int shape)
{
    clear_plan(1, shape);
    want.kind[0] = kind;
    edge(0, 0);
    run_turns(3);
    return run_in[0];
}

START_TEST(only_pointers_to_itself_are_ignored)
{
    ck_assert_int_eq(alone_with_itself(ORDERED, _i), 0);
    ck_assert_int_eq(alone_with_itself(UNREACHABLE, _i), 0);
    ck_assert_int_eq(alone_with_itself(IGNORE_SELF, _i), 1);
    ck_assert_int_eq(alone_with_itself(NO_ORDER, _i), 1);
    /* to itself by way of another object */
    clear_plan(2, _i);
    want.kind[0] = IGNORE_SELF;
    edge(0, 0);
    edge(0, 1);
    edge(1, 0);
    run_turns(3);
    ck_assert_int_eq(run_in[0], 0);
    /* and a chain of them */
    clear_plan(3, _i);
    for (int i = 0; i < 3; i++) {
        want.kind[i] = IGNORE_SELF;
        edge(i, i);
        if (i < 2) edge(i, i + 1);
    }
    run_turns(4);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(run_in[i], i + 1);
}
END_TEST

START_TEST(what_is_not_scanned_refers_to_nothing)
{
    clear_plan(3, OF_NOTHING);
    for (int i = 0; i < 3; i++) {
        want.kind[i] = i < 2 ? IGNORE_SELF : ORDERED;
        edge(i, i);
        edge(i, (i + 1) % 3);
    }
    run_turns(2);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(run_in[i], 1);
}
END_TEST

/* `above` refers to `below`: when each has run, as two digits. */
static int pair(int above, int below)
{
    clear_plan(2, OF_WORDS);
    want.kind[0] = above;
    want.kind[1] = below;
    edge(0, 1);
    run_turns(3);
    return run_in[0] * 10 + run_in[1];
}

START_TEST(pairs_in_oakums_order)
{
    static const int ordered[] = { ORDERED, IGNORE_SELF, UNREACHABLE };
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(pair(NO_ORDER, ordered[i]), 12);
        ck_assert_int_eq(pair(ordered[i], NO_ORDER), 11);
        for (size_t j = 0; j < 3; j++) ck_assert_int_eq(pair(ordered[i], ordered[j]), 12);
    }
    ck_assert_int_eq(pair(NO_ORDER, NO_ORDER), 11);
}
END_TEST

START_TEST(pairs_in_boehms_order)
{
    static const int ordered[] = { ORDERED, IGNORE_SELF, UNREACHABLE };
    ck_assert_int_eq(oaki_finalizers_order(OAKI_ORDERED_FIRST), 0);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(pair(NO_ORDER, ordered[i]), ordered[i] == UNREACHABLE ? 12 : 11);
        ck_assert_int_eq(pair(ordered[i], NO_ORDER), 12);
        for (size_t j = 0; j < 3; j++) ck_assert_int_eq(pair(ordered[i], ordered[j]), 12);
    }
    ck_assert_int_eq(pair(NO_ORDER, NO_ORDER), 11);
}
END_TEST

/* ---- random graphs against the rules, said as plainly as can be ---- */

typedef struct set {
    bool has[NODES];
} set;

static void add_reachable(set *s, size_t from)
{
    for (size_t e = 0; e < EDGES; e++) {
        int to = want.to[from][e];
        if (to < 0 || s->has[to]) continue;
        s->has[to] = true;
        add_reachable(s, (size_t)to);
    }
}

/* From its contents, without itself. */
static void add_contents(set *s, size_t from)
{
    for (size_t e = 0; e < EDGES; e++) {
        int to = want.to[from][e];
        if (to < 0 || (want.kind[from] == IGNORE_SELF && to == (int)from) || s->has[to]) continue;
        s->has[to] = true;
        add_reachable(s, (size_t)to);
    }
}

static bool is_ordered(size_t i)
{
    return want.kind[i] == ORDERED || want.kind[i] == IGNORE_SELF || want.kind[i] == UNREACHABLE;
}

/* Who runs among those that have not. */
static set ready_now(const set *done, bool ordered_first)
{
    set ready = { { false } }, below = { { false } };
    bool waits[NODES];
    for (size_t i = 0; i < want.n; i++) waits[i] = want.kind[i] != PLAIN && !done->has[i];
    if (!ordered_first) {
        for (size_t i = 0; i < want.n; i++) {
            if (!waits[i] || want.kind[i] != NO_ORDER) continue;
            ready.has[i] = true;
            below.has[i] = true;
            add_reachable(&below, i);
        }
        set first = below;
        for (size_t i = 0; i < want.n; i++)
            if (waits[i] && is_ordered(i) && !first.has[i]) add_contents(&below, i);
        for (size_t i = 0; i < want.n; i++)
            if (waits[i] && is_ordered(i) && !below.has[i]) ready.has[i] = true;
        return ready;
    }
    for (size_t i = 0; i < want.n; i++)
        if (waits[i] && is_ordered(i)) add_contents(&below, i);
    for (size_t i = 0; i < want.n; i++)
        if (waits[i] && !below.has[i]) ready.has[i] = true;
    for (size_t i = 0; i < want.n; i++)
        if (ready.has[i] && want.kind[i] == NO_ORDER) add_contents(&below, i);
    for (size_t i = 0; i < want.n; i++)
        if (want.kind[i] == UNREACHABLE && below.has[i]) ready.has[i] = false;
    return ready;
}

static void random_plan(void)
{
    clear_plan(2 + test_below(NODES - 2), (int)test_below(SHAPES));
    for (size_t i = 0; i < want.n; i++) {
        want.kind[i] = (int)test_below(5) - 1;
        for (size_t e = 0; e < EDGES; e++)
            if (test_below(4) == 0) want.to[i][e] = (int)test_below(want.n);
    }
}

#define TURNS 8

/* An object stays for as long as a finalizer that has yet to run may see it, so the graph of each
 * turn is the whole one. */
START_TEST(random_graphs_agree_with_the_rules)
{
    test_seed("gc/finalizer_kinds");
    if (_i) ck_assert_int_eq(oaki_finalizers_order(OAKI_ORDERED_FIRST), 0);
    for (size_t n = test_scale(20); n > 0; n--) {
        set done = { { false } };
        random_plan();
        run_turns(TURNS);
        for (int turn = 1; turn < TURNS; turn++) {
            set ready = ready_now(&done, _i);
            for (size_t i = 0; i < want.n; i++) {
                ck_assert_msg((run_in[i] == turn) == ready.has[i],
                              "node %zu of kind %d ran in %d: %d", i, want.kind[i], run_in[i],
                              turn);
                done.has[i] |= ready.has[i];
            }
        }
    }
}
END_TEST

START_TEST(other_flags_are_refused)
{
    void *p = oak_alloc(16);
    errno = 0;
    ck_assert_int_eq(oak_finalizer_set_ex(p, note, NULL, UNREACHABLE + 1, NULL, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(oak_finalizer_set_ex(p, note, NULL, -1, NULL, NULL), -1);
}
END_TEST

static void set_up(void)
{
    test_heap_start(test_config());
    oaki_debug_switches.verify = 1;
}

Suite *suite_gc_finalizer_kinds(void)
{
    Suite *s = suite_create("gc/finalizer_kinds");
    TCase *t = tcase_create("kinds");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_loop_test(t, only_pointers_to_itself_are_ignored, 0, SHAPES);
    tcase_add_test(t, what_is_not_scanned_refers_to_nothing);
    tcase_add_test(t, pairs_in_oakums_order);
    tcase_add_test(t, pairs_in_boehms_order);
    tcase_add_loop_test(t, random_graphs_agree_with_the_rules, 0, 2);
    tcase_add_test(t, other_flags_are_refused);
    suite_add_tcase(s, t);
    return s;
}

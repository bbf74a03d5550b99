/* finalizer_model.c - finalizers of both kinds and cleanups on random graphs, against the rules of
 * gc/refs/decide.c written down plainly: who runs in each collection, what is freed, what is stuck.
 * Some finalizers bring their object back, some arm it again. */
#include "away.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

Suite *suite_gc_finalizer_model(void);

#define NODES 400
#define EDGES 3
#define ROOTS 8

typedef enum kind { NONE, ORDERED, NO_ORDER } kind;

/* What the program does. */
typedef struct node {
    struct node *edge[EDGES];
    int id;
} node;

static node *root[ROOTS];   /* dropped one by one */
static node *reborn[NODES]; /* brought back by their finalizers */
static unsigned ran[NODES], cleaned[NODES];

/* What ought to happen. */
static struct {
    int edge[NODES][EDGES]; /* -1: none */
    int root[ROOTS];        /* -1: dropped */
    kind armed[NODES];
    unsigned cleanups[NODES]; /* registered */
    bool exists[NODES], marked[NODES];
    unsigned ran[NODES], cleaned[NODES];
} model;

static bool comes_back(int id)
{
    return id % 5 == 0;
}

static bool arms_again(int id)
{
    return id % 10 == 0;
}

/* ---- the program ---- */

static void finalize(void *obj, void *ctx)
{
    node *n = obj;
    bool first = ran[n->id]++ == 0;
    (void)ctx;
    if (first && comes_back(n->id)) reborn[n->id] = n;
    if (first && arms_again(n->id)) oak_finalizer_set(n, finalize, NULL);
}

static void clean(void *ctx)
{
    cleaned[(intptr_t)ctx]++;
}

static void arm(node *n)
{
    int flags = model.armed[n->id] == ORDERED ? OAK_FINALIZER_ORDERED : OAK_FINALIZER_NO_ORDER;
    if (model.armed[n->id] != NONE)
        ck_assert_int_eq(oak_finalizer_set_ex(n, finalize, NULL, flags, NULL, NULL), 0);
    for (unsigned i = 0; i < model.cleanups[n->id]; i++)
        ck_assert_int_eq(oak_cleanup_add(n, clean, (void *)(intptr_t)n->id), 0);
}

static void build(void *arg)
{
    node **nodes = oak_alloc(NODES * sizeof *nodes);
    (void)arg;
    for (int i = 0; i < NODES; i++) {
        nodes[i] = oak_alloc(sizeof *nodes[i]);
        nodes[i]->id = i;
    }
    for (int i = 0; i < NODES; i++)
        for (int e = 0; e < EDGES; e++)
            if (model.edge[i][e] >= 0) nodes[i]->edge[e] = nodes[model.edge[i][e]];
    for (int i = 0; i < NODES; i++) arm(nodes[i]);
    for (int r = 0; r < ROOTS; r++) root[r] = nodes[model.root[r]];
}

static void drop_reborn(void *arg)
{
    (void)arg;
    for (int i = 0; i < NODES; i++)
        if (rand() % 2) reborn[i] = NULL;
}

/* ---- the model ---- */

static void plan(int density)
{
    memset(&model, 0, sizeof model);
    for (int i = 0; i < NODES; i++) {
        model.exists[i] = true;
        model.armed[i] = rand() % 10 < 6 ? ORDERED : rand() % 3 == 0 ? NO_ORDER : NONE;
        model.cleanups[i] = rand() % 3 == 0 ? (unsigned)rand() % 4 : 0;
        for (int e = 0; e < EDGES; e++)
            model.edge[i][e] = rand() % 100 < density ? rand() % NODES : -1;
    }
    for (int r = 0; r < ROOTS; r++) model.root[r] = rand() % NODES;
}

static void reach(int n, bool *seen)
{
    if (n < 0 || seen[n]) return;
    ck_assert(model.exists[n]);
    seen[n] = true;
    for (int e = 0; e < EDGES; e++) reach(model.edge[n][e], seen);
}

static void run_finalizer(int n)
{
    bool first = model.ran[n]++ == 0;
    model.armed[n] = first && arms_again(n) ? ORDERED : NONE;
}

/* Those that are ready are marked, with what they reach, and run. */
static void run_ready(const bool *ready)
{
    for (int i = 0; i < NODES; i++)
        if (ready[i]) reach(i, model.marked);
    for (int i = 0; i < NODES; i++)
        if (ready[i]) run_finalizer(i);
}

/* Ordered ones that can't run while nothing changes: in reach of one that reaches itself. */
static size_t count_stuck(const bool *candidate)
{
    bool stuck[NODES] = { false };
    size_t n = 0;
    for (int i = 0; i < NODES; i++) {
        bool below[NODES] = { false };
        if (!candidate[i]) continue;
        for (int e = 0; e < EDGES; e++) reach(model.edge[i][e], below);
        for (int k = 0; k < NODES && below[i]; k++) stuck[k] |= below[k];
    }
    for (int i = 0; i < NODES; i++) n += stuck[i] && candidate[i];
    return n;
}

/* A collection, and all that it made ready run. Returns how many are stuck. */
static size_t step(void)
{
    bool ready[NODES] = { false }, candidate[NODES] = { false };
    memset(model.marked, 0, sizeof model.marked);
    for (int r = 0; r < ROOTS; r++) reach(model.root[r], model.marked);
    for (int i = 0; i < NODES; i++)
        if (reborn[i]) reach(i, model.marked);
    for (int i = 0; i < NODES; i++) ready[i] = model.armed[i] == NO_ORDER && !model.marked[i];
    run_ready(ready);
    for (int i = 0; i < NODES; i++)
        candidate[i] = model.armed[i] == ORDERED && !model.marked[i] && !ready[i];
    size_t stuck = count_stuck(candidate);
    for (int i = 0; i < NODES; i++)
        for (int e = 0; e < EDGES && candidate[i]; e++) reach(model.edge[i][e], model.marked);
    for (int i = 0; i < NODES; i++) ready[i] = candidate[i] && !model.marked[i];
    run_ready(ready);
    for (int i = 0; i < NODES; i++) {
        if (!model.exists[i] || model.marked[i]) continue;
        model.exists[i] = false;
        model.cleaned[i] += model.cleanups[i];
    }
    return stuck;
}

/* ---- both ---- */

static oak_memstats stats(void)
{
    static oak_memstats s;
    oak_memstats_read(&s);
    return s;
}

/* One collection; the real one last, as its finalizers change `reborn`. Returns how many ran. */
static size_t compare_step(bool quiet)
{
    size_t stuck = step(), alive = 0;
    oak_collect();
    ck_assert_uint_le(stats().finalizer_cycles, stuck);
    if (quiet) ck_assert_uint_eq(stats().finalizer_cycles, stuck);
    size_t n = test_run_finalizers();
    for (int i = 0; i < NODES; i++) {
        ck_assert_msg(ran[i] == model.ran[i], "node %d ran %u times, not %u", i, ran[i],
                      model.ran[i]);
        ck_assert_msg(cleaned[i] == model.cleaned[i], "node %d was cleaned %u times, not %u", i,
                      cleaned[i], model.cleaned[i]);
        alive += model.exists[i];
    }
    ck_assert_uint_eq(stats().heap_objects, alive);
    return n;
}

START_TEST(random_graphs_agree_with_the_rules)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)_i << 20;
    printf("gc/finalizer_model seed %u\n", seed);
    srand(seed);
    plan(3 + _i * 3);
    test_build(build, NULL);
    for (int r = 0; r <= ROOTS; r++) {
        compare_step(false);
        test_away(drop_reborn, NULL);
        compare_step(false);
        if (r == ROOTS) break;
        ck_assert_ptr_nonnull(root[r]);
        model.root[r] = -1;
        root[r] = NULL;
    }
    for (int quiet = 0; quiet < 9; quiet++) {
        memset(reborn, 0, sizeof reborn);
        if (compare_step(false) > 0) quiet = -1; /* a chain drains still */
    }
    compare_step(true);
}
END_TEST

static void start(void)
{
    test_start(0);
}

Suite *suite_gc_finalizer_model(void)
{
    Suite *s = suite_create("gc/finalizer_model");
    TCase *c = tcase_create("model");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_loop_test(c, random_graphs_agree_with_the_rules, 0, 12);
    suite_add_tcase(s, c);
    return s;
}

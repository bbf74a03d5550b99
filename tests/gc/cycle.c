/* cycle.c - tests of gc/cycle.c: collections from end to end, by everybody and of everything. */
#include "gc/cycle.h"
#include "gc/host.h"
#include "runtime/lock.h"
#include "runtime/os.h"
#include "runtime/roots.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_cycle(void);

static void start(void)
{
    test_heap_start(test_config());
}

/* ---- pinned objects ---- */

#define PINNED 3000
static uintptr_t hidden[PINNED];

static void make_pinned(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < PINNED; i++) {
        void **p = oak_alloc_pinned(i % 100 ? 16 + i % 2000 : 60000);
        p[0] = oak_alloc(32); /* a pinned object is scanned, too */
        hidden[i] = ~(uintptr_t)p;
    }
}

START_TEST(pinned_objects_live_until_they_are_freed)
{
    test_away(make_pinned, NULL);
    for (int i = 0; i < 3; i++) {
        oak_collect();
        ck_assert_uint_eq(test_objects(), 2 * PINNED);
    }
    for (size_t i = 0; i < PINNED; i += 2) oak_free((void *)~hidden[i]);
    oak_collect();
    ck_assert_uint_ge(test_objects(), PINNED);
    ck_assert_uint_le(test_objects(), PINNED + 4);
    for (size_t i = 1; i < PINNED; i += 2)
        if (!oak_base((void *)~hidden[i])) ck_abort_msg("object %zu is gone", i);
    test_assert_sound();
}
END_TEST

/* ---- the model: a random graph that changes, against plain memory ---- */

#define ROOTS 50
#define EDGES 6

typedef struct vertex {
    struct vertex *edge[EDGES];
    size_t id;
} vertex;

static vertex *roots[ROOTS];
static oak_type *vertex_type;
/* The host's memory, which is no root and so doesn't count in the pacing of other tests. */
#define VERTICES 200000
static size_t (*shadow)[EDGES], shadow_root[ROOTS], nvertices; /* ids, from 1 */
static unsigned char *seen;

static size_t reach(size_t id)
{
    size_t *stack = malloc(sizeof *stack * (nvertices + 2) * EDGES), n = 0, total = 0;
    stack[n++] = id;
    while (n > 0) {
        size_t v = stack[--n];
        if (v == 0 || seen[v]) continue;
        seen[v] = 1;
        total++;
        for (int e = 0; e < EDGES; e++) stack[n++] = shadow[v][e];
    }
    free(stack);
    return total;
}

static size_t reachable(void)
{
    size_t total = 0;
    memset(seen, 0, VERTICES);
    for (size_t r = 0; r < ROOTS; r++) total += reach(shadow_root[r]);
    return total;
}

/* A vertex found by walking from a root. */
static vertex *walk(void)
{
    vertex *v = roots[test_below(ROOTS)];
    for (size_t steps = test_below(30); v && steps > 0; steps--) {
        vertex *next = v->edge[test_below(EDGES)];
        if (next) v = next;
    }
    return v;
}

static void change(void)
{
    size_t r = test_below(ROOTS), e = test_below(EDGES);
    vertex *v = walk(), *to = test_below(10) ? NULL : walk();
    if (test_below(40) == 0) {
        roots[r] = NULL;
        shadow_root[r] = 0;
    } else if (!v || test_below(3)) {
        vertex *x = test_below(2) ? oak_alloc(sizeof *x) : oak_alloc_typed(vertex_type, 1);
        x->id = ++nvertices;
        x->edge[0] = roots[r];
        shadow[x->id][0] = shadow_root[r];
        roots[r] = x;
        shadow_root[r] = x->id;
    } else {
        v->edge[e] = to;
        shadow[v->id][e] = to ? to->id : 0;
    }
}

static void change_often(void *n)
{
    for (size_t i = *(size_t *)n; i > 0 && nvertices + 1 < VERTICES; i--) change();
}

static void compare(void *arg)
{
    (void)arg;
    for (size_t r = 0; r < ROOTS; r++) {
        vertex *v = roots[r];
        size_t id = shadow_root[r];
        for (size_t steps = 0; v && steps < 1000; steps++) {
            size_t e = steps * 7 % EDGES;
            if (v->id != id || oak_base(v) != v) ck_abort_msg("vertex %zu is %zu", id, v->id);
            id = shadow[id][e];
            v = v->edge[e];
        }
    }
}

START_TEST(a_changing_graph_is_as_its_shadow)
{
    uint64_t bits[] = { (1 << EDGES) - 1 };
    size_t n = 1000;
    test_seed("gc/cycle");
    shadow = calloc(VERTICES, sizeof *shadow);
    seen = calloc(VERTICES, 1);
    vertex_type = oak_type_bitmap("vertex", sizeof(vertex), bits);
    ck_assert_uint_eq(test_objects(), 0);
    for (size_t i = 0, rounds = test_scale(60); i < rounds; i++) {
        test_away(change_often, &n);
        oak_collect();
        size_t want = reachable();
        ck_assert_msg(test_objects() == want, "%zu objects, %zu are reachable", test_objects(),
                      want);
        test_away(compare, NULL);
    }
    test_assert_sound();
}
END_TEST

/* ---- collections by many ---- */

static AO_t wrong;

static void *collect_and_build(void *arg)
{
    vertex *mine = NULL;
    for (size_t i = 0, n = test_scale(300); i < n; i++) {
        for (size_t k = 0; k < 50; k++) {
            vertex *x = oak_alloc(sizeof *x);
            x->id = i * 50 + k + (size_t)arg;
            x->edge[0] = k ? mine : NULL; /* the list of the last round goes */
            mine = x;
        }
        if (i % 4 == (size_t)arg % 4) oak_collect();
        vertex *v = mine;
        for (size_t k = 50; k-- > 0; v = v->edge[0])
            if (!v || v->id != i * 50 + k + (size_t)arg) AO_store(&wrong, 1);
    }
    return NULL;
}

START_TEST(threads_collect_at_the_same_time)
{
    pthread_t ids[4];
    test_once();
    size_t before = test_stats().num_gc;
    for (size_t i = 0; i < 4; i++) ids[i] = test_start(collect_and_build, (void *)(i * 1000000));
    for (size_t i = 0; i < 4; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    /* Each collects by itself, even when it had to wait for another's. */
    ck_assert_uint_eq(test_stats().num_gc - before, 4 * ((test_scale(300) + 3) / 4));
    ck_assert_uint_eq(test_stats().num_forced_gc, test_stats().num_gc);
    oak_collect();
    ck_assert_uint_le(test_objects(), 4);
    test_assert_sound();
}
END_TEST

static void *collect_due(void *arg)
{
    oaki_thread *t = oaki_enter();
    test_expect(oaki_gc_collect(t, *(oaki_gc_why *)arg), __LINE__);
    oaki_leave(t);
    return NULL;
}

/* Two threads are in it at the same time, in this order. */
static size_t cycles_of_two(oaki_gc_why second)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_enter();
    size_t before = AO_load(&h->cycle);
    ck_assert(oaki_roots_refresh(t));
    oaki_lock_acquire_parked(t, &h->gc_lock);
    pthread_t id = test_start(collect_due, &second);
    while (!oaki_lock_is_awaited(&h->gc_lock)) oaki_os_yield();
    oaki_thread_save_context(t);
    ck_assert(oaki_pause_to_end(t, OAKI_GC_DUE));
    oaki_lock_release(&h->gc_lock);
    oaki_leave(t);
    test_join(id);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    return AO_load(&h->cycle) - before;
}

/* A thread whose allocations made a collection due finds one done by another, and is content. */
START_TEST(a_due_collection_is_done_once)
{
    ck_assert_uint_eq(cycles_of_two(OAKI_GC_DUE), 1);
    ck_assert_uint_eq(cycles_of_two(OAKI_GC_ASKED), 2);
}
END_TEST

START_TEST(where_collections_are_off_none_is_done)
{
    oaki_thread *t = oaki_enter();
    size_t cycle = AO_load(&oaki_the_heap.cycle);
    ck_assert(oaki_gc_collect(t, OAKI_GC_DUE));
    ck_assert_uint_eq(AO_load(&oaki_the_heap.cycle), cycle + 1);
    oak_gc_disable();
    ck_assert(!oaki_gc_collect(t, OAKI_GC_NEEDED));
    oak_gc_enable();
    oaki_leave(t);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.cycle), cycle + 1);
}
END_TEST

/* ---- threads that end in the middle of it ---- */

static void *short_life(void *arg)
{
    void *p = oak_alloc(1 + (size_t)arg % 3000);
    if (!p || (size_t)arg % 5 == 0) oak_collect();
    return NULL;
}

START_TEST(threads_may_end_while_the_world_stops)
{
    pthread_t ids[8];
    for (size_t i = 0, n = test_scale(400); i < n; i++) {
        for (size_t k = 0; k < 8; k++) ids[k] = test_start(short_life, (void *)(i * 8 + k));
        oak_collect();
        for (size_t k = 0; k < 8; k++) test_join(ids[k]);
    }
    oak_collect();
    ck_assert_uint_le(test_objects(), 8);
    ck_assert_uint_eq(test_stats().threads, 1);
    test_assert_sound();
}
END_TEST

/* ---- the phase ---- */

typedef struct leap {
    oaki_phase from, to;
} leap;

static void enter(void *arg)
{
    const leap *l = arg;
    if (oaki_gc_exclude() != 0) return;
    AO_store(&oaki_the_heap.phase, l->from);
    oaki_cycle_enter(l->to);
    oaki_gc_release();
}

START_TEST(a_phase_follows_only_where_it_may)
{
    static const leap never[] = { { OAKI_PHASE_IDLE, OAKI_PHASE_IDLE },
                                  { OAKI_PHASE_IDLE, OAKI_PHASE_PREPARE },
                                  { OAKI_PHASE_IDLE, OAKI_PHASE_MARK },
                                  { OAKI_PHASE_IDLE, OAKI_PHASE_PRECLEAN },
                                  { OAKI_PHASE_IDLE, OAKI_PHASE_FINAL_PAUSE },
                                  { OAKI_PHASE_IDLE, OAKI_PHASE_RECLAIM },
                                  { OAKI_PHASE_IDLE, OAKI_PHASE_SWEEP },
                                  { OAKI_PHASE_PROTECT, OAKI_PHASE_PREPARE },
                                  { OAKI_PHASE_PROTECT, OAKI_PHASE_MARK },
                                  { OAKI_PHASE_INIT_PAUSE, OAKI_PHASE_MARK },
                                  { OAKI_PHASE_PREPARE, OAKI_PHASE_INIT_PAUSE },
                                  { OAKI_PHASE_PREPARE, OAKI_PHASE_FINAL_PAUSE },
                                  { OAKI_PHASE_MARK, OAKI_PHASE_INIT_PAUSE },
                                  { OAKI_PHASE_MARK, OAKI_PHASE_RECLAIM },
                                  { OAKI_PHASE_PRECLEAN, OAKI_PHASE_INIT_PAUSE },
                                  { OAKI_PHASE_PRECLEAN, OAKI_PHASE_MARK },
                                  { OAKI_PHASE_FINAL_PAUSE, OAKI_PHASE_SWEEP },
                                  { OAKI_PHASE_RECLAIM, OAKI_PHASE_PROTECT },
                                  { OAKI_PHASE_SWEEP, OAKI_PHASE_MARK } };
    oak_collect();
    ck_assert_uint_eq(oaki_phase_now(), OAKI_PHASE_IDLE);
    for (size_t i = 0; i < OAKI_COUNT(never); i++) {
        leap l = never[i];
        test_dies(enter, &l, "a phase follows one that it may not follow");
    }
}
END_TEST

START_TEST(each_phase_of_a_cycle_has_its_time)
{
    oak_collect();
    uint64_t begun = oaki_os_now_ns();
    oak_collect();
    static const oaki_phase order[] = { OAKI_PHASE_INIT_PAUSE,  OAKI_PHASE_PREPARE,
                                        OAKI_PHASE_MARK,        OAKI_PHASE_FINAL_PAUSE,
                                        OAKI_PHASE_RECLAIM,     OAKI_PHASE_SWEEP,
                                        OAKI_PHASE_IDLE };
    for (size_t i = 0; i < OAKI_COUNT(order); i++) {
        uint64_t at = AO_load(&oaki_gc.entered_ns[order[i]]);
        ck_assert_uint_ge(at, begun);
        begun = at;
    }
}
END_TEST

Suite *suite_gc_cycle(void)
{
    Suite *s = suite_create("gc/cycle");
    TCase *c = tcase_create("cycle");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, pinned_objects_live_until_they_are_freed);
    tcase_add_test(c, a_changing_graph_is_as_its_shadow);
    tcase_add_test(c, threads_collect_at_the_same_time);
    tcase_add_test(c, a_due_collection_is_done_once);
    tcase_add_test(c, where_collections_are_off_none_is_done);
    tcase_add_test(c, threads_may_end_while_the_world_stops);
    tcase_add_test(c, a_phase_follows_only_where_it_may);
    tcase_add_test(c, each_phase_of_a_cycle_has_its_time);
    suite_add_tcase(s, c);
    return s;
}

/* assist.c - who else works on a mark beside the program: markers that help, then and in the last
 * stop, and threads that allocate faster than it gets on. */
#include "gc/concurrent/concurrent.h"

#include "gc/event.h"
#include "gc/pace.h"
#include "gc/settings.h"
#include "gc/trace/trace.h"
#include "runtime/cost.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"
#include <check.h>
#include <string.h>

Suite *suite_gc_assist(void);

#define SEAL 0x5ea1ed00c0ffee11u
#define BOX ((uintptr_t)0xfffc << 48)
#define THINGS 300000u /* so many that markers are called for in the stop that ends the mark */

typedef struct thing {
    uint64_t seal, id;
    struct thing *more[2];
} thing;

static const oak_type *by_bitmap; /* or NULL: they are scanned */

static thing *new_thing(uint64_t id)
{
    thing *x = by_bitmap ? oak_alloc_typed(by_bitmap, 1) : oak_alloc(sizeof *x);
    *x = (thing){ .seal = SEAL, .id = id };
    return x;
}

/* Each hangs on the table alone, or on one that does. */
static thing **new_table(void)
{
    thing **table = oak_alloc(THINGS * sizeof *table);
    for (size_t i = 0; i < THINGS; i++) {
        table[i] = new_thing(i);
        table[i]->more[0] = new_thing(i + 1);
    }
    return table;
}

static size_t lost(thing **table)
{
    size_t n = 0;
    for (size_t i = 0; i < THINGS; i++)
        n += table[i]->seal != SEAL || table[i]->id != i || table[i]->more[0]->seal != SEAL ||
             table[i]->more[0]->id != i + 1;
    return n;
}

/* false: this system can't. */
static bool start_tagged(int markers, bool tagged)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_threads = markers;
    if (tagged) c.pointer_tags[0] = OAK_TAG_NAN_FFFC;
    bool can = test_heap_tracked(c, 0);
    oaki_debug_switches.beside = 1;
    return can;
}

static bool start(int markers)
{
    return start_tagged(markers, false);
}

static void wait_for_mark(void)
{
    while (oaki_is_marking_concurrently()) oaki_os_yield();
    test_await_mark();
}

/* The number of processors that the process may use may change, what is wanted of them too, and a
 * thread that could not be had when the mark began may be had when it ends. */
START_TEST(markers_that_come_and_go_in_the_middle)
{
    static const unsigned wanted[] = { 2, 3, 1, 4, 2, 5, 1, 2 };
    if (!start(1)) return;
    thing **table = new_table();
    for (size_t round = 0; round < OAKI_COUNT(wanted); round++) {
        wait_for_mark();
        oaki_gc_set_markers(wanted[round]);
        oak_collect();
        ck_assert_uint_eq(lost(table), 0);
        oak_collect(); /* no mark was under way when it began, or that has ended by now */
        ck_assert_uint_eq(lost(table), 0);
    }
    oaki_debug_switches.beside = 0;
    oak_collect();
    oak_collect();
    ck_assert_uint_eq(oaki_workers_count(), 2);
}
END_TEST

/* What is built during the mark is in memory that the heap did not have when it began. */
START_TEST(markers_know_what_the_heap_has_grown_by)
{
    if (!start(4)) return;
    for (int round = 0; round < 3; round++) {
        wait_for_mark();
        thing **table = new_table();
        oak_collect();
        ck_assert_uint_eq(lost(table), 0);
    }
}
END_TEST

/* ---- beside the program ---- */

/* A tree whose nodes lie in no order: what markers have at hand when a piece is over is words,
 * marked objects that wait to be scanned, and segments. */
static thing *new_tree(void)
{
    uint64_t draw = 1;
    thing **node = oak_alloc(THINGS * sizeof *node);
    for (size_t i = 0; i < THINGS; i++) {
        size_t at = test_draw(&draw) % (i + 1);
        node[i] = node[at];
        node[at] = new_thing(0);
    }
    for (size_t i = 0; i < THINGS; i++) {
        node[i]->id = i;
        for (size_t k = 0; k < 2 && 2 * i + 1 + k < THINGS; k++)
            node[i]->more[k] = node[2 * i + 1 + k];
    }
    thing *root = node[0];
    oak_free(node);
    return root;
}

/* As NaN boxes, which only a tag tells from numbers. */
static void box_tree(thing *x)
{
    for (int k = 0; k < 2; k++) {
        if (!x->more[k]) continue;
        box_tree(x->more[k]);
        x->more[k] = (thing *)((uintptr_t)x->more[k] | BOX);
    }
}

static size_t count_tree(const thing *x, size_t id)
{
    x = (const thing *)((uintptr_t)x & ~BOX);
    if (!x || x->seal != SEAL || x->id != id) return 0;
    return 1 + count_tree(x->more[0], 2 * id + 1) + count_tree(x->more[1], 2 * id + 2);
}

static bool is_at_rest(const oak_marker *m)
{
    return !m->top && !m->full && m->head == m->tail && m->first == m->last &&
           m->range_lo == m->range_hi;
}

/* In a stop, a mark is between two pieces. Returns how long the others have helped in this one. */
static uint64_t look_at_helpers(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    bool marks = oaki_is_marking_concurrently(), rest = true;
    uint64_t helped = marks ? AO_load(&oaki_gc.worktime.helped) : 0;
    for (unsigned i = 1; marks && i < oaki_workers_count(); i++)
        rest = rest && is_at_rest(oaki_worker(i));
    oaki_gc_stop_end(t);
    ck_assert(rest);
    return helped;
}

/* With one segment of mark stack for each, they also donate what there is no room for. The third
 * time they meet tagged words in typed objects. */
START_TEST(markers_help_while_the_program_runs)
{
    static const uint64_t bits[] = { 0xc };
    if (!start_tagged(4, _i == 2)) return;
    oaki_debug_switches.markstack = _i == 1;
    if (_i == 2) by_bitmap = oak_type_bitmap("thing", sizeof(thing), bits);
    thing *root = new_tree();
    if (_i == 2) box_tree(root);
    uint32_t before = test_stats().num_gc;
    for (unsigned helped = 0; helped < 20 || test_stats().num_gc < before + 3;) {
        (void)test_ask_beside();
        helped += look_at_helpers() > 0;
        oaki_os_sleep_ns(200000);
    }
    ck_assert_uint_eq(count_tree(root, 0), THINGS);
}
END_TEST

/* ---- outrunning it ---- */

#define LIVE ((size_t)72 << 20)
#define PIECE ((size_t)1 << 20)
#define GLOBALS ((size_t)16 << 20) /* of this program, and its stacks, at most */
#define PIECES 600 /* by each of the threads */
#define THREADS 4
#define MANY 64
#define CHEAP_NS 500
#define MANY_ALLOCATE 300000u /* each of them: nine times what lives, in all */

static AO_t most, most_of_goal; /* bytes; a hundredth */

static void raise_to(AO_t *x, AO_t now)
{
    for (AO_t seen = AO_load(x); now > seen; seen = AO_load(x))
        if (AO_compare_and_swap_full(x, seen, now)) break;
}

/* The goal is that of the same cycle: both change in the stop that ends one. */
static void note_most(void)
{
    AO_t cycle = AO_load_acquire(&oaki_the_heap.cycle), live = AO_load(&oaki_the_heap.live);
    size_t goal = oaki_pace_goal();
    raise_to(&most, live);
    if (AO_load(&oaki_the_heap.cycle) == cycle) raise_to(&most_of_goal, live * 100 / goal);
}

/* Nobody touches them, so that this is much faster than any marker. */
static void *allocate(void *arg)
{
    for (size_t i = 0; i < test_scale(PIECES); i++) {
        (void)!oak_alloc_noscan(PIECE);
        note_most();
    }
    return arg;
}

/* NULL: this system can't. */
static thing *start_paced(bool verify)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_percent = 100;
    test_heap_start(c);
    if (verify) oaki_debug_switches.verify = 1;
    thing *first = NULL;
    if (test_skip_untracked()) return NULL;
    for (size_t i = 0; i < LIVE / sizeof(thing); i++) {
        thing *x = new_thing(i);
        x->more[0] = first;
        first = x;
    }
    oak_collect();
    return first;
}

static void check_chain(const thing *first)
{
    size_t wrong = 0;
    for (size_t i = LIVE / sizeof(thing); i-- > 0; first = first->more[0]) wrong += first->id != i;
    ck_assert_uint_eq(wrong, 0);
}

START_TEST(a_heap_that_grows_is_collected_beside_the_program)
{
    thing *first = start_paced(true);
    if (!first) return;
    uint32_t before = test_stats().num_gc;
    for (size_t i = 0; i < 10 * LIVE / sizeof(thing); i++) {
        (void)!new_thing(i);
        if (i % 1000 == 0) raise_to(&most, AO_load(&oaki_the_heap.live));
    }
    ck_assert_uint_ge(test_stats().num_gc, before + 4);
    ck_assert_uint_le(AO_load(&most), 3 * LIVE);
    check_chain(first);
}
END_TEST

static AO_t in_one_stop; /* cycles */

static void count_stops(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    if (!c->first_begin) AO_fetch_and_add1(&in_one_stop);
}

/* Decided by the plan, on a host that tracks cheaply. */
static bool start_planned(void)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_percent = 100;
    test_heap_start(c);
    oaki_cost_force(OAKI_COST_write, CHEAP_NS);
    return test_written_start();
}

/* Nothing is known of what lives then. */
START_TEST(a_small_heap_that_gets_a_large_table_is_collected_beside_the_program)
{
    if (!start_planned()) return;
    ck_assert_int_eq(oaki_gc_on_cycle(count_stops, NULL), 0);
    thing **large = oak_alloc(LIVE);
    for (size_t i = 0; test_stats().num_gc == 0; i++) large[i % 1000] = new_thing(i);
    oaki_gc_flush_events();
    ck_assert_uint_eq(AO_load(&in_one_stop), 0);
}
END_TEST

/* Large, but marked in no time. */
START_TEST(where_stops_are_preferred_a_short_one_is_had)
{
    if (!start_planned()) return;
    oaki_debug_switches.beside = oaki_debug_switches.twice = 0;
    if (_i) oaki_gc_set_prefer_stops(true);
    void **large = oak_alloc(LIVE / PIECE * 2 * sizeof *large);
    for (size_t i = 0; i < LIVE / PIECE * 2; i++) large[i] = oak_alloc_noscan(PIECE);
    oak_collect();
    ck_assert_int_eq(oaki_gc_on_cycle(count_stops, NULL), 0);
    uint32_t before = test_stats().num_gc, n = 0;
    /* A thread that waits for a processor makes a short stop a long one, now and then. */
    for (size_t i = 0; n < 3 || (_i && n < 50 && AO_load(&in_one_stop) < 3); i++) {
        large[i % (LIVE / PIECE)] = oak_alloc_noscan(PIECE);
        n = test_stats().num_gc - before;
    }
    oaki_gc_flush_events();
    if (_i) ck_assert_uint_ge(AO_load(&in_one_stop), 3);
    else ck_assert_uint_lt(AO_load(&in_one_stop), n);
}
END_TEST

START_TEST(threads_that_outrun_it_wait)
{
    pthread_t id[THREADS];
    thing *first = start_paced(false);
    if (!first) return;
    oaki_the_heap.config.thrift = 0; /* it changes the goal with the world running */
    for (int i = 0; i < THREADS; i++) id[i] = test_start(allocate, NULL);
    for (int i = 0; i < THREADS; i++) test_join(id[i]);
    ck_assert_uint_gt(AO_load(&most), LIVE);
    ck_assert_uint_le(AO_load(&most_of_goal), 125);
    ck_assert_uint_le(AO_load(&most), 4 * LIVE);
    check_chain(first);
}
END_TEST

/* A few are as much as there is room for, and one comes past the goal. That a stack still holds
 * some of the last ones makes it a larger one. No wait is for ever: a mark that takes too long, or
 * gets no processor, is outrun. */
START_TEST(large_objects_that_outrun_it_wait)
{
    static const size_t pieces[] = { LIVE / 4, LIVE, 4 * LIVE };
    thing *first = start_paced(false);
    size_t piece = pieces[_i], held = LIVE + GLOBALS + 5 * piece, checked = 0;
    AO_t before = AO_load(&oaki_gc.background.given_up), outrun = SIZE_MAX;
    if (!first) return;
    oaki_the_heap.config.thrift = 0;
    for (size_t i = 0; i < test_scale(40); i++) {
        void **p = oak_alloc(piece);
        ck_assert_ptr_nonnull(p);
        p[i] = first;
        AO_t cycle = AO_load_acquire(&oaki_the_heap.cycle), live = AO_load(&oaki_the_heap.live);
        size_t goal = oaki_pace_goal();
        bool same = AO_load(&oaki_the_heap.cycle) == cycle;
        AO_t given_up = AO_load(&oaki_gc.background.given_up);
        if (given_up != before) outrun = cycle;
        before = given_up;
        if (outrun == cycle) continue; /* until that cycle is over */
        checked++;
        if (same) ck_assert_uint_le(live, goal / 8 * 9 + piece);
        ck_assert_uint_le(live, 2 * held);
    }
    ck_assert_uint_gt(checked, 0);
    check_chain(first);
}
END_TEST

/* Each that runs takes the processor that the marker needs. */
static void *allocate_little(void *arg)
{
    for (size_t i = 0; i < test_scale(MANY_ALLOCATE); i++) {
        (void)!new_thing(i);
        if (i % 1000 == 0) note_most();
    }
    return arg;
}

/* A chain whose next is far away takes long to mark. */
static thing *scatter(thing *first)
{
    size_t n = LIVE / sizeof(thing);
    uint64_t draw = test_random() | 1;
    thing **all = oak_alloc(n * sizeof *all);
    for (size_t i = 0; i < n; i++, first = first->more[0]) {
        size_t at = test_draw(&draw) % (i + 1);
        all[i] = all[at];
        all[at] = first;
    }
    for (size_t i = 0; i < n; i++) {
        all[i]->id = n - 1 - i;
        all[i]->more[0] = i + 1 < n ? all[i + 1] : NULL;
    }
    first = all[0];
    oak_free(all);
    return first;
}

START_TEST(many_threads_for_few_processors_wait)
{
    pthread_t id[MANY];
    test_seed("gc/assist");
    thing *first = start_paced(false);
    if (!first) return;
    first = scatter(first);
    oak_collect();
    for (int i = 0; i < MANY; i++) id[i] = test_start(allocate_little, NULL);
    for (int i = 0; i < MANY; i++) test_join(id[i]);
    ck_assert_uint_gt(AO_load(&most), LIVE);
    ck_assert_uint_le(AO_load(&most), 3 * LIVE);
    check_chain(first);
}
END_TEST

START_TEST(who_waits_counts_the_time_that_the_marker_had)
{
    static const struct {
        uint64_t clock, marking, most;
        bool waits;
    } golden[] = {
        { 900, 900, 1000, true },
        { 1000, 1000, 1000, false },
        { 5000, 2500, 3000, true },
        { 5000, 3000, 3000, false },
        { 2000, 4000, 3000, true }, /* of several markers: no more than the clock's */
        { 3100, 4000, 3000, false },
        { 300, 10, 100, true },     /* of a machine that is busy with other things */
        { 400, 10, 100, false },
        { 1900, 10, 3000, true },   /* for much, where nobody marks */
        { 2000, 10, 3000, false },
        { 3900, 1000, 3000, true }, /* and where somebody did */
        { 4000, 1000, 3000, false },
        { 0, 5, 100, true },
    };
    for (size_t i = 0; i < OAKI_COUNT(golden); i++)
        ck_assert(oaki_pace_waits(golden[i].clock, golden[i].marking, golden[i].most, 500) ==
                  golden[i].waits);
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, markers_that_come_and_go_in_the_middle);
    tcase_add_test(t, markers_know_what_the_heap_has_grown_by);
    tcase_add_loop_test(t, markers_help_while_the_program_runs, 0, 3);
    tcase_add_test(t, a_heap_that_grows_is_collected_beside_the_program);
    tcase_add_test(t, a_small_heap_that_gets_a_large_table_is_collected_beside_the_program);
    tcase_add_loop_test(t, where_stops_are_preferred_a_short_one_is_had, 0, 2);
    tcase_add_test(t, threads_that_outrun_it_wait);
    tcase_add_loop_test(t, large_objects_that_outrun_it_wait, 0, 3);
    tcase_add_test(t, many_threads_for_few_processors_wait);
    tcase_add_test(t, who_waits_counts_the_time_that_the_marker_had);
    return t;
}

Suite *suite_gc_assist(void)
{
    Suite *s = suite_create("gc_assist");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}

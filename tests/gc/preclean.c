/* preclean - looking at written pages in short stops: a program that writes all over a table of
 * references while it is being marked. */
#include "gc/concurrent/concurrent.h"

#include "gc/concurrent/protect.h"
#include "gc/concurrent/quantum.h"
#include "gc/event.h"
#include "gc/pace.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/roots.h"
#include "runtime/type.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"
#include <check.h>
#include <string.h>

Suite *suite_gc_preclean(void);

#define SLOTS ((size_t)1 << 18) /* 2 MiB, or 512 pages */
#define CYCLES 8

typedef struct thing {
    uint64_t id, seal;
} thing;

static struct {
    AO_t cycles, in_stops, wrong;
} seen;

static void look(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    if (!c->first_begin) return;
    AO_fetch_and_add1(&seen.cycles);
    if (c->stopped > 0) AO_fetch_and_add1(&seen.in_stops);
    bool stood = c->between > 0 || c->stopped == 0;
    if (!stood || c->longest_between > c->between || c->between > c->first ||
        oaki_cycle_longest(c) < OAKI_MAX(c->longest_between, oaki_cycle_pause(c)))
        AO_fetch_and_add1(&seen.wrong);
}

static thing *new_thing(uint64_t id)
{
    thing *t = oak_alloc(sizeof *t);
    ck_assert_ptr_nonnull(t);
    *t = (thing){ id, ~id };
    return t;
}

static thing **table;

static void check(size_t from)
{
    for (size_t i = from; i < SLOTS; i += 97)
        if (table[i]) ck_assert_uint_eq(table[i]->id, ~table[i]->seal);
}

/* One write a page, on all pages in turn, so that each is written again soon; until there have been
 * rounds in stops, if they are wanted: on a busy machine a mark may be through before one write. */
static void write_all_over(bool stops)
{
    uint64_t draw = 88172645463325252u;
    size_t i = 0;
    for (; AO_load(&seen.cycles) < CYCLES || (stops && AO_load(&seen.in_stops) == 0); i++) {
        size_t at = (i * 512 + test_draw(&draw) % 512) % SLOTS, to = test_draw(&draw) % SLOTS;
        table[at] = new_thing(i);
        table[to] = table[at]; /* then its only reference may be one that moved */
        table[at] = NULL;
        if (i % 50000 == 0) {
            test_ask_or_collect();
            check(i / 50000 % 97);
        }
    }
}

/* false: this system can't. */
static bool start(unsigned beside, int markers)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_threads = markers;
    if (!test_heap_tracked(c, 0)) return false;
    oaki_debug_switches.beside = beside;
    return true;
}

static void run(unsigned beside, int markers)
{
    if (!start(beside, markers)) return;
    ck_assert_int_eq(oaki_gc_on_cycle(look, NULL), 0);
    table = oak_alloc(SLOTS * sizeof *table);
    write_all_over(beside == 2);
    check(0);
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
}

START_TEST(a_table_that_is_written_all_over)
{
    run(1, 1);
}
END_TEST

START_TEST(in_stops_by_one_marker)
{
    run(2, 1);
}
END_TEST

START_TEST(in_stops_by_several_markers)
{
    run(2, 3);
}
END_TEST

/* ---- a part of a round ---- */

#define SYSTEM_PAGE ((size_t)4096)

static void count_pages(size_t from, size_t to, void *ctx)
{
    *(size_t *)ctx += (to - from) / SYSTEM_PAGE;
}

/* The calling thread drives a mark. A table's pages come a few at a time: none is left out, and
 * each is protected. */
START_TEST(all_that_was_written_is_taken_in_parts)
{
    enum { MOST = 100 };
    size_t pages = SLOTS * sizeof *table / SYSTEM_PAGE;
    if (!start(0, 1) || !test_written_start()) return;
    table = oak_alloc(SLOTS * sizeof *table);
    size_t from = oaki_heap_offset(table), to = from + pages * SYSTEM_PAGE, at = from, all = 0;
    memset(table, 0, pages * SYSTEM_PAGE);
    oaki_thread *t = oaki_enter();
    oaki_lock_acquire(&oaki_gc.concurrent.driver);
    oaki_protect_scanned(from, to);
    AO_store(&oaki_the_heap.phase, OAKI_PHASE_PRECLEAN);
    for (size_t i = 0; i < pages; i++) table[i * (SYSTEM_PAGE / sizeof *table)] = NULL;
    for (size_t n = MOST; at < to; all += n) {
        size_t told = 0;
        ck_assert_uint_eq(n, MOST);
        n = oaki_protect_again(&at, to, MOST, count_pages, &told);
        ck_assert_uint_eq(n, told);
        ck_assert_uint_le(n, MOST);
    }
    ck_assert_uint_eq(all, pages);
    ck_assert_uint_eq(oaki_protect_again(&from, to, MOST, count_pages, &all), 0);
    ck_assert_uint_eq(from, to);
    AO_store(&oaki_the_heap.phase, OAKI_PHASE_IDLE);
    oaki_lock_release(&oaki_gc.concurrent.driver);
    oaki_leave(t);
}
END_TEST

/* ---- a marker that gets no processor ---- */

#define MB ((size_t)1 << 20)

static AO_t waits, go_on;

/* It leads to nothing; the marker stays in it, and uses no processor. */
static void wait_in_mark(oak_marker *m, void *obj, size_t size)
{
    (void)m, (void)obj, (void)size;
    AO_store(&waits, 1);
    while (!AO_load(&go_on) && !oaki_world_stopped()) oaki_os_sleep_ns(1000000);
}

static void **chain(size_t bytes)
{
    void **first = NULL;
    for (size_t n = 0; n < bytes; n += 1024) {
        void **next = first;
        first = oak_alloc(1024);
        *first = next;
    }
    return first;
}

/* A request is dropped where no page can be protected, as while libc has a new thread block all
 * signals. false: this system can't mark so. */
static bool ask_until_it_waits(void)
{
    AO_t cycle = AO_load(&oaki_the_heap.cycle);
    bool can = true;
    oaki_debug_switches.beside = 1;
    while (can && !AO_load(&waits) && AO_load(&oaki_the_heap.cycle) == cycle) {
        if (!oaki_concurrent_requested()) can = test_ask_beside() || oaki_dirty_denies();
        oaki_os_yield();
    }
    oaki_debug_switches.beside = 0;
    ck_assert_uint_eq(AO_load(&waits), can);
    return can;
}

/* It lives when it is found, but may be gone soon: the next goal is that of what was before it. */
START_TEST(what_comes_while_the_marker_waits_leaves_the_goal_alone)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_percent = 100;
    c.min_heap = 4 * MB;
    c.generations = 0;
    test_heap_start(c);
    test_once();
    test_only_root(&table, sizeof table);
    if (test_skip_untracked()) return;
    oaki_debug_switches.beside = 0;
    oaki_debug_switches.verify = 0; /* it would call the function */
    const oak_type *waiter = oak_type_function("waiter", 16, wait_in_mark);
    oaki_type_anytime(waiter);
    table = oak_alloc(64 * sizeof *table);
    table[1] = (thing *)chain(16 * MB);
    oak_collect();
    table[63] = oak_alloc_typed(waiter, 1);
    uint32_t before = test_stats().num_gc;
    if (!ask_until_it_waits()) return;
    table[0] = (thing *)chain(8 * MB);
    oaki_os_sleep_ns(300000000 + 10 * oaki_quanta_worked());
    AO_store(&go_on, 1);
    while (test_stats().num_gc == before) oaki_os_yield();
    ck_assert_uint_ge(oaki_pace_live(), 24 * MB);
    ck_assert_uint_le(oaki_pace_goal(), 40 * MB);
}
END_TEST

/* ---- what its thread holds ---- */

static size_t of_collector, of_program;

static void count_frames(const oaki_root *r, void *ctx)
{
    (void)ctx;
    if (r->kind != OAKI_ROOT_STACK && r->kind != OAKI_ROOT_REGS) return;
    if (r->thread && r->thread->own) of_collector++;
    else of_program++;
}

static void look_at_frames(bool marks)
{
    oaki_thread *t = oaki_gc_stop_begin();
    bool marking = oaki_is_marking_concurrently();
    if (marking == marks) oaki_roots_visit(count_frames, NULL);
    oaki_gc_stop_end(t);
}

/* What it has marked is in its frames, and must not live for that. */
START_TEST(the_frames_of_the_collector_are_no_roots)
{
    if (!start(1, 1)) return;
    table = oak_alloc(SLOTS * sizeof *table);
    for (size_t i = 0; i < SLOTS; i++) table[i] = new_thing(i);
    for (int marks = 0; marks < 2; marks++)
        for (of_program = 0; of_program < 10; look_at_frames(marks))
            if (marks) test_ask_or_collect();
    ck_assert_uint_eq(of_collector, 0);
}
END_TEST

START_TEST(what_is_late_goes_with_the_time_that_the_marker_had)
{
    static const struct {
        uint64_t clock, marking;
        size_t late;
    } golden[] = {
        { 100, 0, 1000 },   { 100, 10, 800 }, { 100, 49, 20 }, { 100, 50, 0 },
        { 100, 100, 0 },    { 100, 300, 0 }, /* of several */
        { 0, 0, 0 },
    };
    for (size_t i = 0; i < OAKI_COUNT(golden); i++)
        ck_assert_uint_eq(oaki_pace_floating(1000, golden[i].clock, golden[i].marking),
                          golden[i].late);
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, a_table_that_is_written_all_over);
    tcase_add_test(c, in_stops_by_one_marker);
    tcase_add_test(c, in_stops_by_several_markers);
    tcase_add_test(c, all_that_was_written_is_taken_in_parts);
    tcase_add_test(c, what_comes_while_the_marker_waits_leaves_the_goal_alone);
    tcase_add_test(c, the_frames_of_the_collector_are_no_roots);
    return c;
}

Suite *suite_gc_preclean(void)
{
    Suite *s = suite_create("gc_preclean");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    TCase *c = tcase_create("late");
    tcase_add_test(c, what_is_late_goes_with_the_time_that_the_marker_had);
    suite_add_tcase(s, c);
    return s;
}

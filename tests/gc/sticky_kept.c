/* sticky_kept - what no minor collection may rely on: marks that were given up, or from before
 * pages were protected anew, or any while a zone is being destroyed. Each test first sees that
 * marks are kept where none of this has happened. */
#include "gc/concurrent/concurrent.h"
#include "gc/event.h"
#include "gc/gc.h"
#include "gc/host.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/oakum.h>

Suite *suite_gc_sticky_kept(void);

#define OLD 30000
#define ROUNDS 20

typedef struct node {
    struct node *next;
    uint64_t id;
} node;

static node *old;

/* Of the cycles that are over; beside: how many were beside the program. */
static struct {
    AO_t beside, last_was_minor;
} seen;

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    AO_store(&seen.last_was_minor, c->minor);
    if (c->first_begin) AO_fetch_and_add1_full(&seen.beside);
}

static bool start(void)
{
    oak_config c = test_config();
    c.concurrent = c.generations = 1;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    oaki_debug_switches.beside = 1;
    bool can = test_heap_tracked(c, 1000);
    oaki_debug_switches.beside = 1;
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    for (uint64_t i = 0; i < OLD; i++) {
        node *x = oak_alloc(sizeof *x);
        *x = (node){ old, i };
        old = x;
    }
    return can;
}

/* In a stop. Was it a minor one? */
static bool collect(oaki_gc_why why)
{
    oaki_thread *t = oaki_enter();
    test_expect(oaki_gc_collect(t, why), __LINE__);
    oaki_leave(t);
    return AO_load(&seen.last_was_minor) != 0;
}

/* One beside the program, and no other: it is told of before another may be asked for. Was it a
 * minor one? */
static bool collect_beside(void)
{
    test_await_idle();
    AO_t before = AO_load(&seen.beside);
    for (;;) {
        bool asked = oaki_concurrent_requested();
        if (AO_load(&seen.beside) != before) break;
        if (!asked) (void)test_ask_beside();
        oaki_os_yield();
    }
    test_await_idle();
    return AO_load(&seen.last_was_minor) != 0;
}

static bool keeps(void)
{
    return AO_load(&oaki_the_heap.sticky) != 0;
}

static void check_old(void)
{
    uint64_t n = OLD;
    for (const node *x = old; x; x = x->next) ck_assert_uint_eq(x->id, --n);
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}

START_TEST(none_follows_marks_that_were_given_up)
{
    if (!start()) return;
    for (int round = 0; round < ROUNDS; round++) {
        (void)collect(OAKI_GC_DUE);
        ck_assert(keeps());
        ck_assert(collect(OAKI_GC_DUE));
        ck_assert(keeps());
        ck_assert_int_eq(oaki_mark_displacements(NULL, 0), 0);
        ck_assert(!keeps());
        ck_assert(round % 2 ? !collect(OAKI_GC_DUE) : !collect_beside());
        check_old();
        test_await_idle();
    }
}
END_TEST

/* What a full one beside the program protects has forgotten what was written before: whoever
 * collects in a stop while it is at it must keep nothing. */
START_TEST(none_is_kept_while_pages_are_protected)
{
    if (!start()) return;
    for (int hits = 0; hits < ROUNDS;) {
        test_await_idle();
        (void)collect(OAKI_GC_DUE);
        ck_assert(keeps());
        (void)collect(OAKI_GC_ASKED);
        ck_assert(!keeps());
        if (!test_ask_beside()) continue;
        while (!oaki_concurrent_protecting() && oaki_concurrent_requested()) continue;
        oaki_thread *t = oaki_enter();
        AO_t before = AO_load(&seen.beside);
        bool in_it = oaki_concurrent_protecting();
        test_expect(oaki_gc_collect(t, OAKI_GC_DUE), __LINE__);
        in_it = in_it && oaki_concurrent_protecting() && AO_load(&seen.beside) == before;
        if (in_it) ck_assert(!keeps());
        hits += in_it;
        oaki_leave(t);
    }
    test_await_idle();
    check_old();
}
END_TEST

/* ---- zones ---- */

static AO_t minors_in_it, called;

static void in_destroy(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    for (int i = 0; i < 3; i++) {
        AO_fetch_and_add(&minors_in_it, collect(OAKI_GC_DUE));
        test_expect(keeps(), __LINE__);
        AO_fetch_and_add(&minors_in_it, collect_beside());
    }
    AO_store(&called, 1);
}

static void fill(void *zone)
{
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    ck_assert_int_eq(oak_finalizer_set(oak_alloc(64), in_destroy, NULL), 0);
    oak_zone_leave(zone);
}

START_TEST(none_while_a_zone_is_being_destroyed)
{
    if (!start()) return;
    (void)collect(OAKI_GC_DUE);
    ck_assert(collect(OAKI_GC_DUE));
    ck_assert(collect_beside());
    oak_zone *zone = oak_zone_new(NULL);
    test_away(fill, zone);
    ck_assert_int_eq(oak_zone_destroy(zone, NULL), 0);
    ck_assert_uint_eq(AO_load(&called), 1);
    ck_assert_uint_eq(AO_load(&minors_in_it), 0);
    check_old();
}
END_TEST

/* A zone begins to close when the driver has decided on a minor cycle, before the pause. */
static AO_t closes_one, pauses_begun;
static oaki_phase last_begun_in;

static void close_before_the_pause(void *ctx)
{
    (void)ctx;
    AO_fetch_and_add1(&pauses_begun);
    last_begun_in = oaki_phase_now();
    if (AO_compare_and_swap_full(&closes_one, 1, 0))
        (void)AO_fetch_and_add1_full(&oaki_gc.closing.zones);
}

START_TEST(none_when_a_zone_closes_right_before_the_pause)
{
    if (!start()) return;
    ck_assert_int_eq(oaki_gc_before_pause(close_before_the_pause, NULL), 0);
    for (int round = 0; round < ROUNDS; round++) {
        (void)collect(OAKI_GC_DUE);
        ck_assert(collect(OAKI_GC_DUE));
        ck_assert(collect_beside()); /* one would be minor */
        test_await_idle();
        AO_store_full(&pauses_begun, 0);
        AO_store_full(&closes_one, 1);
        ck_assert(!collect_beside());
        (void)AO_fetch_and_add_full(&oaki_gc.closing.zones, (AO_t)-1);
        ck_assert_uint_eq(AO_load(&closes_one), 0);
        ck_assert_uint_ge(AO_load(&pauses_begun), 2);
        ck_assert_int_ne(last_begun_in, OAKI_PHASE_IDLE); /* pages were protected first */
        ck_assert_int_ne(last_begun_in, OAKI_PHASE_SWEEP);
        check_old();
    }
}
END_TEST

/* ---- counts ---- */

#define FEW_BYTES 20000 /* registers, stacks, spans that are being allocated from */

/* A minor cycle marks few bytes, and rescans what was written since the cycle before. */
START_TEST(the_work_of_a_minor_cycle_is_counted)
{
    if (!start()) return;
    node *middle = old;
    for (size_t i = 0; i < OLD / 2; i++) middle = middle->next;
    (void)collect(OAKI_GC_DUE);
    ck_assert(collect_beside());
    oak_memstats before = test_stats();
    middle->id = OLD - 1 - OLD / 2;
    ck_assert(collect_beside());
    oak_memstats after = test_stats();
    uint64_t cycles = after.num_gc - before.num_gc;
    ck_assert_uint_ge(cycles, 1);
    ck_assert_uint_eq(after.num_concurrent_gc - before.num_concurrent_gc, cycles);
    ck_assert_uint_eq(after.num_minor_gc - before.num_minor_gc, cycles);
    ck_assert_uint_ge(before.marked_bytes, OLD * sizeof *old);
    ck_assert_uint_le(after.marked_bytes - before.marked_bytes, cycles * FEW_BYTES);
    ck_assert_uint_gt(after.rescanned_bytes, before.rescanned_bytes);
    ck_assert_uint_gt(after.pages_asked, before.pages_asked);
    ck_assert_uint_gt(after.pages_dirty, before.pages_dirty);
    ck_assert_uint_gt(after.tracking_faults, before.tracking_faults);
    check_old();
}
END_TEST

Suite *suite_gc_sticky_kept(void)
{
    Suite *s = suite_create("gc_sticky_kept");
    TCase *t = tcase_create("young_kept");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, none_follows_marks_that_were_given_up);
    tcase_add_test(t, none_is_kept_while_pages_are_protected);
    tcase_add_test(t, none_while_a_zone_is_being_destroyed);
    tcase_add_test(t, none_when_a_zone_closes_right_before_the_pause);
    tcase_add_test(t, the_work_of_a_minor_cycle_is_counted);
    suite_add_tcase(s, t);
    return s;
}

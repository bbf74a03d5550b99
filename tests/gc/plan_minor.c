/* plan_minor.c - tests of gc/plan.c: what minor cycles cost, and what is decided by it. */
#include "plan_support.h"

#include "gc/settings.h"

Suite *suite_gc_plan_minor(void);

static void minor_of(double word_ns)
{
    uint64_t ns = (uint64_t)(word_ns * (double)WORDS);
    IN_A_PAUSE(oaki_plan_note_minor(WORDS, 80 * MB, ns, 0));
}

/* Minor marks have a rate of their own: dirty pages cost other words than full marks. */
START_TEST(a_slow_minor_mark_ends_tracking)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    minor_of(140);
    minor_of(140);
    IN_A_PAUSE(oaki_plan_note_minor(1000, MB, 1000000000, 0)); /* too few words */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    mark_of(true, 20);
    minor_of(600);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
    minor_of(600);
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.rest), OAKI_TUNE_REST);
}
END_TEST

static oaki_plan_reason after_minor(uint64_t cpu_us, uint64_t pause_us)
{
    IN_A_PAUSE(oaki_plan_note_minor(WORDS, MB, cpu_us * 1000, pause_us * 1000));
    return oaki_plan_reason_now();
}

/* 10 MB of room, which take 20 ms: 3 ms of them may go. A full pause would take 16 ms. */
START_TEST(a_minor_cycle_is_one_pause_where_that_costs_less)
{
    start(true, OAK_PAUSE_GOAL_US);
    oaki_cost_force(OAKI_COST_write, 1000);
    if (test_skip_untracked()) return;
    oaki_cost_probe();
    marked(10 << 10, 10 << 10);
    stopped(8000, 500);
    AO_store(&oaki_the_heap.sticky, 1);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LONG); /* of minor ones nothing is known */
    ck_assert_int_eq(after_minor(2800, 0), OAKI_PLAN_LONG);
    ck_assert_int_eq(after_minor(3300, 0), OAKI_PLAN_MINOR);
    ck_assert_int_eq(after_minor(100, 4900), OAKI_PLAN_MINOR);
    ck_assert_int_eq(after_minor(100, 5100), OAKI_PLAN_LONG);
    ck_assert_int_eq(after_minor(3300, 0), OAKI_PLAN_MINOR);  /* another try */
    ck_assert_int_eq(after_minor(400, 1000), OAKI_PLAN_LONG); /* which costs too little less */
    ck_assert_int_eq(after_minor(3400, 0), OAKI_PLAN_MINOR);
    ck_assert_int_eq(after_minor(11000, 0), OAKI_PLAN_LONG);
    ck_assert_int_eq(after_minor(1000, 0), OAKI_PLAN_LONG);
    IN_A_PAUSE(oaki_plan_note_dirty(2500));
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_MINOR);
    AO_store(&oaki_the_heap.sticky, 0); /* a full one is next */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LONG);
    AO_store(&oaki_the_heap.sticky, 1);
    stopped(39000, 500);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_MINOR);
    stopped(41000, 500); /* 41 ms, if all that is new were alive */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LONG);
    AO_store(&oaki_the_heap.sticky, 0);
}
END_TEST

Suite *suite_gc_plan_minor(void)
{
    Suite *s = suite_create("gc/plan_minor");
    TCase *c = tcase_create("plan");
    tcase_add_test(c, a_slow_minor_mark_ends_tracking);
    tcase_add_test(c, a_minor_cycle_is_one_pause_where_that_costs_less);
    suite_add_tcase(s, c);
    return s;
}

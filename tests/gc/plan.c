/* plan.c - tests of gc/plan.c: what is decided by each figure of the host and of marks. The
 * variable OAKUM_HOST, or oaki_cost_force, sets what the probe would find. */
#include "plan_support.h"

#include "gc/settings.h"
#include "gc/trace/trace.h"
#include "runtime/dirty.h"

Suite *suite_gc_plan(void);

/* Writes are seen by page faults, if at all. */
static bool by_faults(void)
{
    return oaki_the_heap.config.tracking == OAK_TRACKING_FAULTS || oaki_dirty_denies();
}

/* As the last one tells, for the part of the goal that will live. */
START_TEST(a_stop_that_would_be_long_is_none)
{
    start(_i, OAK_PAUSE_GOAL_US);
    marked(9 << 10, 9 << 10);
    stopped(1, MUCH);
    ck_assert(!oaki_plan_is_concurrent());
    stopped(4500, MUCH); /* 9 ms at the goal, if as much lives */
    ck_assert(!oaki_plan_is_concurrent());
    stopped(8000, MUCH); /* 16 */
    ck_assert_int_eq(oaki_plan_is_concurrent(), _i);
    marked(9 << 10, 15 << 10); /* three fifths live: 9.6 */
    stopped(8000, MUCH);
    ck_assert(!oaki_plan_is_concurrent());
    marked(2 << 10, 2 << 10); /* too small a heap */
    stopped(400000, MUCH);
    ck_assert(!oaki_plan_is_concurrent());
    stopped(1, MUCH);
    marked(512, 512); /* too little to tell anything by */
    stopped(4000000, MUCH);
    ck_assert(!oaki_plan_is_concurrent());
}
END_TEST

/* 20 MB at the goal. */
START_TEST(a_stop_is_none_where_a_mark_beside_is_cheap)
{
    start(_i, OAK_PAUSE_GOAL_US);
    bool may = _i && oaki_os_cpus() > 1 && !by_faults();
    marked(10 << 10, 10 << 10);
    stopped(400, 1);
    ck_assert(!oaki_plan_is_concurrent()); /* nobody would notice */
    stopped(700, 1);
    ck_assert_int_eq(oaki_plan_is_concurrent(), may);
    IN_A_PAUSE(oaki_plan_processors(1)); /* which the marker would take from the program */
    ck_assert(!oaki_plan_is_concurrent());
    IN_A_PAUSE(oaki_plan_processors(oaki_os_cpus()));
    stopped(700, 1600); /* 2.3 MB in the time of the stop */
    ck_assert_int_eq(oaki_plan_is_concurrent(), may);
    stopped(700, 2000);
    ck_assert(!oaki_plan_is_concurrent());
    stopped(700, 0); /* not known */
    ck_assert(!oaki_plan_is_concurrent());
    stopped(2500, 1); /* 5 ms */
    ck_assert(!oaki_plan_is_concurrent());
    marked(7600, 7600);
    stopped(700, 1); /* too small a heap */
    ck_assert(!oaki_plan_is_concurrent());
}
END_TEST

static void mark_of_bytes(bool concurrent, uint64_t cpu_ns)
{
    IN_A_PAUSE(oaki_plan_note_mark(concurrent, WORDS, 10 * MB, cpu_ns));
}

/* 10 MB of room take 10 ms: 1.5 ms of them may go. */
START_TEST(a_mark_beside_is_cheap_where_it_adds_little)
{
    start(true, OAK_PAUSE_GOAL_US);
    if (test_skip(oaki_os_cpus() == 1 || by_faults(), "one processor, or faults")) return;
    oaki_cost_force(OAKI_COST_write, 1000);
    marked(10 << 10, 10 << 10);
    stopped(700, 1000);
    mark_of_bytes(false, 1000000);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_CHEAP); /* not known yet */
    mark_of_bytes(true, 2000000); /* a ms more */
    IN_A_PAUSE(oaki_plan_note_dirty(400));
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_CHEAP);
    IN_A_PAUSE(oaki_plan_note_dirty(600));
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_SHORT);
    IN_A_PAUSE(oaki_plan_note_dirty(0));
    mark_of_bytes(true, 2600000);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_SHORT);
    stopped(700, 900); /* a slower program */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_CHEAP);
    mark_of_bytes(true, 500000); /* less than a pause */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_CHEAP);
}
END_TEST

/* What marks cost tells of no stop, unless much more; nor does when one is asked for. */
START_TEST(a_mark_beside_that_is_cheap_stays_so)
{
    start(true, OAK_PAUSE_GOAL_US);
    if (test_skip(oaki_os_cpus() == 1 || by_faults(), "one processor, or faults")) return;
    marked(10 << 10, 10 << 10);
    stopped(700, 1000);
    uint64_t now = oaki_os_now_ns();
    for (uint64_t cpu = 1000; cpu < 4000000; cpu *= 2) {
        IN_A_PAUSE(oaki_pace_cycle(now, 0, 0, 0, 0, false));
        IN_A_PAUSE(oaki_pace_concurrent(false, MB, now + 1000000000, MB, now + 1004000000, cpu));
        ck_assert(oaki_plan_is_concurrent());
    }
    IN_A_PAUSE(oaki_pace_stopped(false, true, 10000 * MB, now + 1000000000, 700000));
    ck_assert(oaki_plan_is_concurrent());
    IN_A_PAUSE(oaki_pace_concurrent(false, MB, now + 1000000000, MB, now + 1004000000,
                                    oaki_workers_count() * UINT64_C(5000000)));
    ck_assert(!oaki_plan_is_concurrent());
}
END_TEST

/* ---- a clock that jumps ---- */

#define HOUR INT64_C(3600000000000)

/* A cycle of 0.7 ms, a second after the last one; 4 ms with a concurrent mark. */
static uint64_t cycle_at(uint64_t begin, uint64_t end, bool concurrent)
{
    if (concurrent) IN_A_PAUSE(oaki_pace_concurrent(false, MB, begin, MB, end, 700000));
    else IN_A_PAUSE(oaki_pace_stopped(false, false, MB, begin, oaki_os_since(begin, end)));
    IN_A_PAUSE(oaki_pace_cycle(end, 700000, 0, 0, 0, false));
    return end + 1000000000;
}

/* Before a cycle, or in its midst; two cycles later all is as it was. */
START_TEST(a_clock_that_jumps_is_forgotten)
{
    static const int64_t by[] = { -HOUR, -1000000001, HOUR };
    bool concurrent = _i & 1, midway = _i & 2;
    uint64_t lasts = concurrent ? 4000000 : 700000;
    start(true, OAK_PAUSE_GOAL_US);
    marked(10 << 10, 10 << 10);
    uint64_t at = cycle_at(UINT64_C(36000000000000), UINT64_C(36000000700000), false);
    at = cycle_at(at, at + lasts, concurrent);
    oaki_plan_reason before = oaki_plan_reason_now();
    size_t trigger = AO_load(&oaki_the_heap.trigger);
    uint64_t jumped = at + (uint64_t)by[_i >> 2];
    cycle_at(midway ? at : jumped, jumped + lasts, concurrent);
    ck_assert_uint_le(oaki_gc.pace.took[0], 2 * (uint64_t)HOUR);
    at = jumped + lasts + 1000000000;
    for (int i = 0; i < 2; i++) at = cycle_at(at, at + lasts, concurrent);
    if (concurrent) { /* a stop tells of stops */
        at = cycle_at(at, at + 700000, false);
        cycle_at(at, at + lasts, true);
    }
    ck_assert_int_eq(oaki_plan_reason_now(), before);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.trigger), trigger);
}
END_TEST

/* ---- the pause goal ---- */

static oaki_plan_reason after_pause_of(uint64_t us)
{
    marked(20 << 10, 20 << 10);
    stopped(us, MUCH);
    return oaki_plan_reason_now();
}

/* 16 ms at the goal. */
START_TEST(a_pause_is_avoided_by_the_goal)
{
    static const struct {
        int goal_us;
        oaki_plan_reason why;
    } row[] = { { 100, OAKI_PLAN_LONG },   { 10000, OAKI_PLAN_LONG },
                { 15000, OAKI_PLAN_LONG }, { 17000, OAKI_PLAN_SHORT },
                { 0, OAKI_PLAN_THROUGHPUT } };
    start(true, row[_i].goal_us);
    ck_assert_int_eq(after_pause_of(8000), row[_i].why);
    ck_assert_int_eq(oaki_plan_is_concurrent(), row[_i].why == OAKI_PLAN_LONG);
}
END_TEST

START_TEST(a_library_that_prefers_stops_has_long_ones)
{
    start(true, OAK_PAUSE_GOAL_US);
    oaki_gc_set_prefer_stops(true);
    ck_assert_int_eq(after_pause_of(18000), OAKI_PLAN_SHORT); /* 36 ms at the goal */
    ck_assert_int_eq(after_pause_of(22000), OAKI_PLAN_LONG);
}
END_TEST

START_TEST(throughput_alone_takes_no_concurrent_mark_of_a_large_heap)
{
    start(true, 0);
    marked(200 << 10, 200 << 10);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_THROUGHPUT);
    size_t trigger = AO_load(&oaki_the_heap.trigger);
    ck_assert_uint_eq(trigger, 400 * MB); /* it begins at the goal */
}
END_TEST

/* ---- what the host costs ---- */

/* Whether pages are tracked, by the cost of a first write, the pause goal, and huge pages. */
START_TEST(dear_first_writes_end_tracking)
{
    static const struct {
        size_t write;
        int goal_us, huge;
        oaki_plan_reason why;
        bool tracks;
    } row[] = {
        { CHEAP, 10000, 1, OAKI_PLAN_LARGE, true },
        { 3000, 10000, 1, OAKI_PLAN_LARGE, true },
        { 3001, 10000, 1, OAKI_PLAN_DEAR, false },
        { DEAR, 10000, 1, OAKI_PLAN_DEAR, false },
        { DEAR, 50000, 1, OAKI_PLAN_DEAR, false },
        { DEAR, 9999, 1, OAKI_PLAN_LARGE, true }, /* the program keeps its goal */
        { DEAR, 100, 0, OAKI_PLAN_LARGE, true },
        { 1000000, 100, 1, OAKI_PLAN_LARGE, true },
        { 1, 10000, 1, OAKI_PLAN_LARGE, true },
    };
    oak_config c = test_config();
    c.concurrent = true;
    c.pause_goal_us = row[_i].goal_us;
    c.huge_pages = row[_i].huge;
    start_at(c);
    oaki_cost_force(OAKI_COST_write, row[_i].write);
    oaki_cost_probe();
    marked(200 << 10, 200 << 10);
    ck_assert_int_eq(oaki_plan_reason_now(), row[_i].why);
    bool forced = oaki_debug_switches.beside || oaki_debug_switches.minor;
    ck_assert_int_eq(oaki_plan_may_track(), row[_i].tracks || forced);
}
END_TEST

/* With small pages, dear writes are worth it where they are few: by what the last mark found. */
START_TEST(few_dear_writes_are_affordable)
{
    oak_config c = test_config();
    c.concurrent = true;
    c.huge_pages = 0;
    start_at(c);
    oaki_cost_force(OAKI_COST_write, DEAR);
    oaki_cost_force(OAKI_COST_protect, 10);
    oaki_cost_force(OAKI_COST_ask, 10);
    oaki_cost_probe();
    marked(200 << 10, 200 << 10);
    stopped(100000, 1000); /* 200 MB of room take 0.2 s; 30 ms of it are 2,500 writes */
    IN_A_PAUSE(oaki_plan_note_dirty(2000));
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    IN_A_PAUSE(oaki_plan_note_dirty(3000));
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_DEAR);
    stopped(100000, 100); /* a slower program */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
}
END_TEST

/* Asking for written pages, and protecting them, count for each page that there is. */
START_TEST(pages_that_are_dear_to_ask_about_are_not_tracked)
{
    static const struct {
        size_t ask, protect;
        oaki_plan_reason why;
    } row[] = { { 1, 1, OAKI_PLAN_LARGE },
                { 1000000000, 1, OAKI_PLAN_DEAR },
                { 1, 1000000000, OAKI_PLAN_DEAR } };
    oak_config c = test_config();
    c.concurrent = true;
    c.huge_pages = 0;
    start_at(c);
    oaki_cost_force(OAKI_COST_write, DEAR);
    oaki_cost_force(OAKI_COST_protect, row[_i].protect);
    oaki_cost_force(OAKI_COST_ask, row[_i].ask);
    oaki_cost_probe();
    live = oak_alloc(MB / 2);
    ck_assert_ptr_nonnull(live);
    marked(200 << 10, 200 << 10);
    stopped(100000, 1000);
    IN_A_PAUSE(oaki_plan_note_dirty(1)); /* nothing was written */
    ck_assert_int_eq(oaki_plan_reason_now(), row[_i].why);
}
END_TEST

/* The time of a page, in words of a mark of 10 ns each; helpers wake for four times their cost. */
START_TEST(prices_follow_the_costs)
{
    static const struct {
        size_t write, protect, wake, page_words, wake_words;
    } row[] = { { 600, 40, 1000, 64, 4096 },
                { 12000, 500, 50000, 1250, 20000 },
                { 1, 1, 1, 16, 4096 },
                { 10000000, 1, 100000000, 4096, 65536 },
                { 0, 0, 0, 128, 4096 } };
    start(true, OAK_PAUSE_GOAL_US);
    oaki_cost_force(OAKI_COST_write, row[_i].write);
    oaki_cost_force(OAKI_COST_protect, row[_i].protect);
    oaki_cost_force(OAKI_COST_wake, row[_i].wake);
    ck_assert_uint_eq(oaki_plan_page_words(), OAKI_TUNE_PAGE_WORDS); /* a word's is not known */
    IN_A_PAUSE(oaki_plan_note_mark(false, 10000000, 100 * MB, 100000000));
    ck_assert_uint_eq(oaki_plan_page_words(), row[_i].page_words);
    ck_assert_uint_eq(oaki_plan_wake_words(), row[_i].wake_words);
}
END_TEST

/* ---- what marks cost ---- */

/* Left by the next cycle; the state is mended; and each time it is for twice as long. */
START_TEST(a_slow_mark_ends_tracking_for_some_cycles)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    for (size_t rest = OAKI_TUNE_REST; rest <= OAKI_TUNE_REST * 8; rest *= 2) {
        mark_of(true, 500);
        ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
        ck_assert(!oaki_plan_is_concurrent());
        ck_assert(AO_load(&oaki_gc.plan.wants) & OAKI_PLAN_REPAIR);
        ck_assert_uint_eq(AO_load(&oaki_the_heap.sticky), 0);
        attend();
        for (size_t i = 0; i < rest; i++) {
            ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
            mark_of(false, 20); /* mended */
        }
        ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
        ck_assert(oaki_cost_is_stale()); /* and the host is measured anew */
        oaki_cost_probe();
    }
}
END_TEST

/* A mark of little is one of these cycles, too. */
START_TEST(a_rest_ends_whatever_is_marked)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    mark_of(true, 500);
    attend();
    for (size_t i = 0; i < OAKI_TUNE_REST; i++) {
        ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
        IN_A_PAUSE(oaki_plan_note_mark(false, 10, 1000, 1000));
    }
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
}
END_TEST

static size_t rest_after_a_slow_mark(void)
{
    size_t n = 0;
    mark_of(true, 500);
    attend();
    for (; oaki_plan_reason_now() == OAKI_PLAN_HURT; n++) mark_of(false, 20);
    return n;
}

/* Ten slow marks in a year leave no process without tracking. */
START_TEST(slow_marks_are_forgotten)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    ck_assert_uint_eq(rest_after_a_slow_mark(), OAKI_TUNE_REST);
    ck_assert_uint_eq(rest_after_a_slow_mark(), OAKI_TUNE_REST * 2);
    ck_assert_uint_eq(rest_after_a_slow_mark(), OAKI_TUNE_REST * 4);
    for (size_t i = 0; i < OAKI_TUNE_REST * (8 + 4 + 2); i++) mark_of(true, 20);
    ck_assert_uint_eq(rest_after_a_slow_mark(), OAKI_TUNE_REST);
}
END_TEST

/* A larger goal is kept by pauses, where it is known how long they take. */
START_TEST(a_large_heap_has_pauses_within_a_large_goal)
{
    start(true, 1000000);
    marked(200 << 10, 200 << 10);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    stopped(100000, MUCH);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_SHORT);
    stopped(600000, MUCH);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LONG);
}
END_TEST

/* A control group's limit is obeyed beside the program's; alone it starts no collections that the
 * program has switched off. */
START_TEST(a_groups_limit_is_one_of_the_heaps)
{
    start(true, OAK_PAUSE_GOAL_US);
    marked(20 << 10, 20 << 10);
    size_t goal = oaki_pace_goal();
    AO_store(&oaki_the_heap.group_limit, 30 * MB);
    IN_A_PAUSE(oaki_pace_refresh());
    ck_assert_uint_lt(oaki_pace_goal(), 30 * MB);
    ck_assert_uint_lt(oaki_pace_goal(), goal);
    ck_assert_uint_eq(oaki_heap_soft_limit(), 30 * MB);
    oak_set_memory_limit(25 * MB);
    ck_assert_uint_eq(oaki_heap_soft_limit(), 25 * MB);
    oak_set_memory_limit(50 * MB);
    ck_assert_uint_eq(oaki_heap_soft_limit(), 30 * MB);
    oak_set_memory_limit(0);
    oak_set_gc_percent(-1);
    ck_assert_uint_eq(oaki_pace_goal(), SIZE_MAX);
}
END_TEST

START_TEST(dear_hosts_that_keep_their_goal_have_small_pages)
{
    oak_config c = test_config();
    c.concurrent = c.huge_pages = true;
    c.pause_goal_us = _i ? 1000 : OAK_PAUSE_GOAL_US;
    start_at(c);
    oaki_cost_force(OAKI_COST_write, DEAR);
    oaki_plan_probe();
    ck_assert_uint_eq(AO_load(&oaki_the_heap.small_pages), _i);
    oaki_cost_force(OAKI_COST_write, CHEAP); /* it has moved */
    oaki_plan_probe();
    ck_assert_uint_eq(AO_load(&oaki_the_heap.small_pages), 0);
}
END_TEST

/* A word costs as much without tracking: then that is what it costs. */
START_TEST(a_heap_that_is_slow_itself_is_tracked_again)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    mark_of(true, 300);
    attend();
    for (size_t i = 0; i < OAKI_TUNE_REST; i++) mark_of(false, 280);
    for (int i = 0; i < 20; i++) {
        mark_of(true, 300);
        ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    }
    mark_of(false, 20); /* it changes, */
    mark_of(true, 90);  /* by more than four times; that is seen once */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
}
END_TEST

/* A heap that is still split is not what is to be expected. */
START_TEST(marks_before_the_heap_is_mended_tell_nothing)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    mark_of(true, 500);
    for (size_t i = 0; i < OAKI_TUNE_REST * 2; i++) {
        mark_of(false, 280);
        ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
    }
    attend();
    mark_of(false, 280); /* it began before */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
    IN_A_PAUSE(oaki_plan_note_mark(false, 10, 1000, 1000)); /* too little to tell */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    mark_of(true, 280);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
}
END_TEST

START_TEST(a_heap_whose_pages_do_not_join_is_tracked_no_more)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    mark_of(true, 500);
    attend();
    AO_store(&oaki_gc.plan.repaired, 60 * MB);
    AO_store(&oaki_gc.plan.unjoined, 10 * MB);
    for (size_t i = 0; i < OAKI_TUNE_REST; i++) mark_of(false, 280);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
    ck_assert(AO_load(&oaki_gc.plan.wants) & OAKI_PLAN_REPAIR); /* it is tried again */
    attend();
    for (size_t i = 0; i < OAKI_TUNE_REST * 2; i++) {
        ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_HURT);
        mark_of(false, 20);
    }
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
}
END_TEST

START_TEST(a_first_mark_is_slow_beyond_what_lists_cost)
{
    if (!start_tracked()) return;
    mark_of(_i & 1, _i < 2 ? 140 : 160);
    ck_assert_int_eq(oaki_plan_reason_now(), _i < 2 ? OAKI_PLAN_LARGE : OAKI_PLAN_HURT);
}
END_TEST

static void share_of(unsigned workers, uint64_t per_mille)
{
    uint64_t present = UINT64_C(10000000) * workers;
    IN_A_PAUSE(oaki_plan_note_share(present, present * per_mille / 1000, workers));
}

static unsigned workers_of(unsigned want)
{
    unsigned n = 0;
    IN_A_PAUSE(n = oaki_plan_workers(want));
    return n;
}

/* Beside a neighbour, or at a limit on processor time. */
START_TEST(workers_without_processors_are_fewer)
{
    start(true, OAK_PAUSE_GOAL_US);
    share_of(8, 200);
    share_of(8, 300); /* an accident */
    share_of(8, 200);
    ck_assert_uint_eq(workers_of(8), 8);
    share_of(8, 200);
    ck_assert_uint_eq(workers_of(8), 4);
    IN_A_PAUSE(oaki_plan_note_share(3900000, 0, 4)); /* too short to tell */
    IN_A_PAUSE(oaki_plan_note_share(3900000, 0, 4));
    ck_assert_uint_eq(workers_of(8), 4);
    for (int i = 0; i < 4; i++) share_of(4 >> i / 2, 100);
    ck_assert_uint_eq(workers_of(8), 1);
    ck_assert_uint_eq(workers_of(1), 1);
    for (unsigned i = 0; i < OAKI_TUNE_FED; i++) share_of(1, 100); /* it is there still */
    ck_assert_uint_eq(workers_of(8), 1);
    for (unsigned n = 2; n <= 8; n *= 2) { /* the neighbour has gone */
        for (unsigned i = 0; i < OAKI_TUNE_FED; i++) share_of(1, 900);
        ck_assert_uint_eq(workers_of(8), n);
    }
    ck_assert_uint_eq(oaki_gc.plan.workers_most, 0);
}
END_TEST

START_TEST(marks_that_tell_nothing_change_nothing)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    IN_A_PAUSE(oaki_plan_note_mark(true, 1000, MB, 1000000000)); /* too few words */
    mark_of(true, 59);                                           /* dear, and usual for lists */
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    IN_A_PAUSE(oaki_plan_note_mark(true, WORDS, MB, 0));
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
}
END_TEST

Suite *suite_gc_plan(void)
{
    Suite *s = suite_create("gc/plan");
    TCase *c = tcase_create("plan");
    tcase_add_loop_test(c, a_stop_that_would_be_long_is_none, 0, 2);
    tcase_add_loop_test(c, a_stop_is_none_where_a_mark_beside_is_cheap, 0, 2);
    tcase_add_test(c, a_mark_beside_that_is_cheap_stays_so);
    tcase_add_test(c, a_mark_beside_is_cheap_where_it_adds_little);
    tcase_add_loop_test(c, a_clock_that_jumps_is_forgotten, 0, 12);
    tcase_add_loop_test(c, a_pause_is_avoided_by_the_goal, 0, 5);
    tcase_add_test(c, a_library_that_prefers_stops_has_long_ones);
    tcase_add_test(c, throughput_alone_takes_no_concurrent_mark_of_a_large_heap);
    tcase_add_loop_test(c, dear_first_writes_end_tracking, 0, 9);
    tcase_add_test(c, few_dear_writes_are_affordable);
    tcase_add_loop_test(c, pages_that_are_dear_to_ask_about_are_not_tracked, 0, 3);
    tcase_add_loop_test(c, prices_follow_the_costs, 0, 5);
    tcase_add_test(c, a_slow_mark_ends_tracking_for_some_cycles);
    tcase_add_test(c, a_rest_ends_whatever_is_marked);
    tcase_add_test(c, slow_marks_are_forgotten);
    tcase_add_test(c, a_large_heap_has_pauses_within_a_large_goal);
    tcase_add_test(c, a_groups_limit_is_one_of_the_heaps);
    tcase_add_loop_test(c, dear_hosts_that_keep_their_goal_have_small_pages, 0, 2);
    tcase_add_test(c, a_heap_that_is_slow_itself_is_tracked_again);
    tcase_add_test(c, marks_before_the_heap_is_mended_tell_nothing);
    tcase_add_test(c, a_heap_whose_pages_do_not_join_is_tracked_no_more);
    tcase_add_loop_test(c, a_first_mark_is_slow_beyond_what_lists_cost, 0, 4);
    tcase_add_test(c, workers_without_processors_are_fewer);
    tcase_add_test(c, marks_that_tell_nothing_change_nothing);
    suite_add_tcase(s, c);
    return s;
}

/* plan.c - tests of gc/plan.c: what is decided by each figure of the host and of marks. The
 * variable OAKUM_HOST, or oaki_cost_force, sets what the probe would find. */
#include "gc/plan.h"

#include "gc/collector.h"
#include "gc/pace.h"
#include "gc/settings.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "runtime/cgroup.h"
#include "runtime/collector.h"
#include "runtime/cost.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_gc_plan(void);

#define MB ((size_t)1 << 20)
#define DEAR 12000  /* ns of a first write */
#define CHEAP 700

static void **live;

static void start_at(oak_config c)
{
    c.gc_percent = 100;
    c.min_heap = MB;
    test_heap_start(c);
    test_only_root(&live, sizeof live);
}

static void start(bool concurrent, int goal_us)
{
    oak_config c = test_config();
    c.concurrent = concurrent;
    c.pause_goal_us = goal_us;
    start_at(c);
}

#define IN_A_PAUSE(call) \
    for (oaki_thread *t = oaki_gc_stop_begin(); t; oaki_gc_stop_end(t), t = NULL) call

/* What a mark finds of so much; nothing is allocated, so that no other one comes between. */
static void marked(size_t live_kb, size_t of_kb)
{
    AO_store(&oaki_the_heap.live, of_kb << 10);
    IN_A_PAUSE(oaki_pace_marked(live_kb << 10, 0, 0, false));
}

/* A full one in a stop, after a second in which so much was allocated. */
static void stopped(uint64_t us, size_t mb)
{
    uint64_t now = oaki_os_now_ns();
    IN_A_PAUSE(oaki_pace_cycle(now, 0, 0, 0, 0, false));
    IN_A_PAUSE(oaki_pace_stopped(false, false, mb * MB, now + UINT64_C(1000000000), us * 1000));
}

#define MUCH 100000 /* MB */

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

/* What marks cost tells of no stop, unless much more; nor does when one is asked for. */
START_TEST(a_mark_beside_that_is_cheap_stays_so)
{
    start(true, OAK_PAUSE_GOAL_US);
    if (oaki_os_cpus() == 1 || by_faults()) return;
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

/* ---- control groups ---- */

static char group_folder[64];

static void put_group(const char *name, const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", group_folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

/* From here on the process is in such a group. */
static void play_group(const char *memory, const char *cpu)
{
    static char list[96];
    if (!group_folder[0]) {
        snprintf(group_folder, sizeof group_folder, "/tmp/oakum-plan.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(group_folder));
    }
    put_group("list", "0::/\n");
    put_group("memory.max", memory);
    put_group("cpu.max", cpu);
    snprintf(list, sizeof list, "%s/list", group_folder);
    oaki_cgroup_list = list;
    oaki_cgroup_mount = group_folder;
}

static void forget_group(void)
{
    static const char *const names[] = { "list", "memory.max", "cpu.max" };
    char path[96];
    if (!group_folder[0]) return;
    for (size_t i = 0; i < OAKI_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", group_folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(group_folder);
}

/* Before any cycle, and anew each time. */
START_TEST(the_program_reads_limits)
{
    oak_host h;
    play_group("83886080\n", "100000 100000\n");
    start(true, OAK_PAUSE_GOAL_US);
    oak_host_read(&h);
    ck_assert_uint_eq(h.memory_limit, 70 * MB);
    ck_assert_uint_eq(h.processors, 1);
    marked(60 << 10, 60 << 10);
    ck_assert_uint_lt(oaki_pace_goal(), 70 * MB);
    play_group("max\n", "max 100000\n");
    oak_host_read(&h);
    ck_assert_uint_eq(h.memory_limit, 0);
    ck_assert_uint_eq(h.processors, oaki_os_cpus());
    ck_assert_uint_eq(oaki_pace_goal(), 120 * MB);
}
END_TEST

/* ---- what marks cost ---- */

#define WORDS ((size_t)10000000)

static void mark_of(bool concurrent, double word_ns)
{
    uint64_t ns = (uint64_t)(word_ns * (double)WORDS);
    IN_A_PAUSE(oaki_plan_note_mark(concurrent, WORDS, 80 * MB, ns));
}

static bool start_tracked(void)
{
    start(true, OAK_PAUSE_GOAL_US);
    oaki_cost_force(OAKI_COST_write, CHEAP);
    if (test_skip_untracked()) return false;
    oaki_cost_probe();
    marked(200 << 10, 200 << 10);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    return true;
}

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

/* A word costs as much without tracking: then that is what it costs. */
/* A mark of little is one of these cycles, too. */
START_TEST(a_rest_ends_whatever_is_marked)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    mark_of(true, 500);
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

/* The thread that reads limits sets the goal anew where they have changed. */
START_TEST(a_limit_that_has_gone_is_forgotten)
{
    start(true, OAK_PAUSE_GOAL_US);
    marked(20 << 10, 20 << 10);
    AO_store(&oaki_the_heap.group_limit, 0);
    oaki_plan_attend();
    while (AO_load(&oaki_gc.plan.host) || !oaki_cost_known()) oaki_os_sleep_ns(100000);
    size_t real = AO_load(&oaki_the_heap.group_limit), goal = oaki_pace_goal();
    AO_store(&oaki_the_heap.group_limit, 30 * MB);
    IN_A_PAUSE(oaki_pace_refresh());
    ck_assert_uint_lt(oaki_pace_goal(), goal);
    AO_or(&oaki_gc.plan.wants, OAKI_PLAN_PROBE);
    oaki_plan_attend();
    while (AO_load(&oaki_gc.plan.host)) oaki_os_sleep_ns(100000);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.group_limit), real);
    ck_assert_uint_eq(oaki_pace_goal(), goal);
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

START_TEST(a_heap_that_is_slow_itself_is_tracked_again)
{
    if (!start_tracked()) return;
    mark_of(true, 20);
    mark_of(true, 300);
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

START_TEST(a_first_mark_is_slow_beyond_what_lists_cost)
{
    if (!start_tracked()) return;
    mark_of(_i & 1, _i < 2 ? 140 : 160);
    ck_assert_int_eq(oaki_plan_reason_now(), _i < 2 ? OAKI_PLAN_LARGE : OAKI_PLAN_HURT);
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

static bool can_join(void)
{
    enum { HUGE = 2 << 20 };
    char *p = oaki_os_map(2 * HUGE), *at = (char *)OAKI_ALIGN_UP((uintptr_t)p, HUGE);
    memset(p, 1, 2 * HUGE);
    bool can = oaki_os_join(at, HUGE);
    oaki_os_release(p, 2 * HUGE);
    return can;
}

/* The thread that mends takes protection and joins pages; objects keep their contents. */
START_TEST(a_repair_keeps_the_heap_as_it_is)
{
    oak_config c = test_config();
    c.concurrent = c.huge_pages = true;
    start_at(c);
    oaki_cost_force(OAKI_COST_write, CHEAP);
    if (test_skip_untracked()) return;
    test_host_is_known();
    size_t n = 64 * MB / 4096;
    live = oak_alloc(n * sizeof *live);
    for (size_t i = 0; i < n; i++) {
        live[i] = oak_alloc(4096);
        memset((char *)live[i] + 8, (int)i, 4088);
    }
    oak_collect();
    mark_of(true, 20);
    mark_of(true, 500);
    oaki_plan_attend();
    while (AO_load(&oaki_gc.plan.host)) oaki_os_sleep_ns(1000000);
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.wants) & OAKI_PLAN_REPAIR, 0);
    if (can_join()) ck_assert_uint_ge(AO_load(&oaki_gc.plan.repaired), 32 * MB);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 8; k < 4096; k += 511)
            ck_assert_int_eq(((unsigned char *)live[i])[k], (unsigned char)i);
    oak_collect();
}
END_TEST

/* ---- for the program ---- */

START_TEST(the_program_reads_costs_and_decisions)
{
    start(true, 2500);
    oaki_cost_force(OAKI_COST_write, 123);
    oak_host h;
    oak_host_read(NULL);
    oak_host_read(&h);
    ck_assert(oaki_cost_known());
    ck_assert_uint_eq(h.write, 123);
    ck_assert_uint_eq(h.pause_goal_us, 2500);
    ck_assert_uint_gt(h.fresh, 0);
    ck_assert_uint_gt(h.processors, 0);
    ck_assert_ptr_nonnull(h.why);
    ck_assert(!h.concurrent);
}
END_TEST

/* Before there is something to decide nothing is measured; and then by a thread. */
START_TEST(a_small_heap_measures_nothing)
{
    start(true, OAK_PAUSE_GOAL_US);
    live = oak_alloc(4 * MB);
    oak_collect();
    ck_assert(!oaki_cost_known());
    live = oak_alloc(16 * MB);
    oak_collect();
    while (!oaki_cost_known()) oaki_os_sleep_ns(100000);
    ck_assert_uint_gt(oaki_cost_of(OAKI_COST_fresh), 0);
    while (AO_load(&oaki_gc.plan.host)) oaki_os_sleep_ns(100000);
}
END_TEST

Suite *suite_gc_plan(void)
{
    Suite *s = suite_create("gc/plan");
    TCase *c = tcase_create("plan");
    tcase_add_checked_fixture(c, NULL, forget_group);
    tcase_add_loop_test(c, a_stop_that_would_be_long_is_none, 0, 2);
    tcase_add_loop_test(c, a_stop_is_none_where_a_mark_beside_is_cheap, 0, 2);
    tcase_add_test(c, a_mark_beside_that_is_cheap_stays_so);
    tcase_add_loop_test(c, a_pause_is_avoided_by_the_goal, 0, 5);
    tcase_add_test(c, a_library_that_prefers_stops_has_long_ones);
    tcase_add_test(c, throughput_alone_takes_no_concurrent_mark_of_a_large_heap);
    tcase_add_loop_test(c, dear_first_writes_end_tracking, 0, 9);
    tcase_add_test(c, few_dear_writes_are_affordable);
    tcase_add_loop_test(c, prices_follow_the_costs, 0, 5);
    tcase_add_test(c, a_slow_mark_ends_tracking_for_some_cycles);
    tcase_add_test(c, a_rest_ends_whatever_is_marked);
    tcase_add_test(c, slow_marks_are_forgotten);
    tcase_add_test(c, a_large_heap_has_pauses_within_a_large_goal);
    tcase_add_test(c, the_program_reads_limits);
    tcase_add_test(c, a_groups_limit_is_one_of_the_heaps);
    tcase_add_test(c, a_limit_that_has_gone_is_forgotten);
    tcase_add_loop_test(c, dear_hosts_that_keep_their_goal_have_small_pages, 0, 2);
    tcase_add_test(c, a_heap_that_is_slow_itself_is_tracked_again);
    tcase_add_loop_test(c, a_first_mark_is_slow_beyond_what_lists_cost, 0, 4);
    tcase_add_test(c, marks_that_tell_nothing_change_nothing);
    tcase_add_test(c, a_repair_keeps_the_heap_as_it_is);
    tcase_add_test(c, the_program_reads_costs_and_decisions);
    tcase_add_test(c, a_small_heap_measures_nothing);
    suite_add_tcase(s, c);
    return s;
}

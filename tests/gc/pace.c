/* pace.c - tests of gc/pace.c: how often is collected for what is allocated, at each setting. */
#include "gc/pace.h"

#include "gc/event.h"
#include "gc/gctrace.h"
#include "gc/trace/trace.h"
#include "runtime/collector.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

Suite *suite_gc_pace(void);

#define MB ((size_t)1 << 20)

static void **live;

/* Roots count for the goal, and the libraries of a sanitizer have as much data as these tests
 * allocate: so of all data, only `live` is a root. */
static void start_with(oak_config c, int percent, size_t min_heap)
{
    c.gc_percent = percent;
    c.min_heap = min_heap;
    test_heap_start(c);
    test_only_root(&live, sizeof live);
}

static void start(int percent, size_t min_heap)
{
    start_with(test_config(), percent, min_heap);
}

static size_t cycles(void)
{
    return test_stats().num_gc;
}

static void drop(size_t bytes)
{
    for (size_t n = 0; n < bytes; n += 1024) (void)!oak_alloc_noscan(1024);
}

/* bytes of objects that stay, and a collection that knows it */
static void hold(size_t bytes)
{
    size_t n = bytes / 1024;
    live = oak_alloc(n * sizeof *live);
    for (size_t i = 0; i < n; i++) live[i] = oak_alloc_noscan(1024);
    oak_collect();
}

/* ---- percent ---- */

START_TEST(cycles_for_a_volume_at_each_percentage)
{
    static const struct {
        int percent;
        size_t cycles; /* for 200 MB dropped beside 20 MB that live: 200 / (20 * percent / 100) */
    } golden[] = { { 100, 10 }, { 50, 20 }, { 25, 40 }, { 200, 5 }, { 1000, 1 }, { -1, 0 } };
    start(golden[_i].percent, 4 * MB);
    hold(20 * MB);
    size_t before = cycles();
    drop(200 * MB);
    size_t n = cycles() - before, want = golden[_i].cycles;
    ck_assert_msg(n >= want * 8 / 10 && n <= want * 11 / 10 + 1, "%zu cycles at %d %%", n,
                  golden[_i].percent);
}
END_TEST

START_TEST(a_small_percentage_is_bounded)
{
    start(0, 4 * MB);
    hold(20 * MB);
    size_t before = cycles();
    drop(20 * MB);
    ck_assert_uint_le(cycles() - before, 40); /* a step is at least 1/32 of what lives */
    ck_assert_uint_ge(cycles() - before, 10);
}
END_TEST

START_TEST(a_small_heap_is_not_collected)
{
    start(100, 10 * MB);
    test_no_beside();
    drop(9 * MB);
    ck_assert_uint_eq(cycles(), 0);
    drop(2 * MB);
    ck_assert_uint_eq(cycles(), 1);
    drop(91 * MB);
    ck_assert_uint_ge(cycles(), 9);
    ck_assert_uint_le(cycles(), 11);
}
END_TEST

START_TEST(the_setting_can_be_changed_while_running)
{
    start(100, 4 * MB);
    hold(20 * MB);
    ck_assert_int_eq(oak_set_gc_percent(-1), 100);
    size_t before = cycles();
    drop(100 * MB);
    ck_assert_uint_eq(cycles(), before);
    ck_assert_int_eq(oak_set_gc_percent(-2), -1); /* changes nothing */
    drop(10 * MB);
    ck_assert_uint_eq(cycles(), before);
    ck_assert_int_eq(oak_set_gc_percent(100), -1);
    drop(1 * MB);
    ck_assert_uint_eq(cycles(), before + 1); /* long due */
    ck_assert_int_eq(oak_set_gc_percent(25), 100);
    before = cycles();
    drop(50 * MB);
    ck_assert_uint_ge(cycles() - before, 8);
    ck_assert_int_eq(oak_set_gc_percent(25), 25);
}
END_TEST

START_TEST(next_gc_is_where_the_next_one_starts)
{
    start(100, 4 * MB);
    test_no_beside();
    hold(30 * MB);
    for (int i = 0; i < 5; i++) {
        oak_memstats s = test_stats();
        ck_assert_uint_ge(s.next_gc, 59 * MB);
        ck_assert_uint_le(s.next_gc, 64 * MB);
        drop(s.next_gc - s.heap_alloc - MB);
        ck_assert_uint_eq(cycles(), s.num_gc);
        drop(2 * MB);
        ck_assert_uint_eq(cycles(), s.num_gc + 1);
        oak_collect();
    }
}
END_TEST

/* ---- roots ---- */

static size_t next_gc(void)
{
    oak_collect();
    return test_stats().next_gc;
}

static OAKI_NOINLINE size_t next_gc_below(char *frame)
{
    frame[0] = 1;
    size_t n = next_gc();
    frame[0]++;
    return n;
}

static void *ask_deep(void *out)
{
    char frame[4 * MB];
    ck_assert_int_eq(oak_thread_attach(), 0);
    *(size_t *)out = next_gc_below(frame);
    return NULL;
}

/* on a stack of 4 MB and more */
static size_t next_gc_deep(void)
{
    pthread_attr_t attr;
    pthread_t id;
    size_t n;
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstacksize(&attr, 5 * MB), 0);
    ck_assert_int_eq(pthread_create(&id, &attr, ask_deep, &n), 0);
    ck_assert_int_eq(pthread_join(id, NULL), 0);
    return n;
}

static void assert_near(size_t got, size_t want)
{
    ck_assert_msg(got + MB >= want && got <= want + MB, "%zu KB, not %zu KB", got >> 10,
                  want >> 10);
}

/* As in Go: what it takes to scan them is made up for by as much allocation. */
START_TEST(roots_count_as_what_lives_does)
{
    static const int percents[] = { 100, 50, 300 };
    size_t percent = (size_t)percents[_i];
    char *area = calloc(1, 16 * MB);
    oak_config c = test_config();
    c.concurrent = false; /* a concurrent mark would begin before the goal */
    start_with(c, percents[_i], MB);
    hold(8 * MB);
    size_t plain = next_gc();
    ck_assert_uint_ge(plain + MB, 8 * MB + 8 * MB * percent / 100); /* a sanitizer has more roots */
    ck_assert_int_eq(oak_root_add(area, 16 * MB), 0);
    assert_near(next_gc(), plain + 16 * MB * percent / 100);
    oak_root_remove(area, 16 * MB);
    assert_near(next_gc(), plain);
    size_t deep = next_gc_deep(); /* and a sanitizer's variables of that thread */
    ck_assert_uint_ge(deep + MB, plain + 4 * MB * percent / 100);
    ck_assert_uint_le(deep, plain + 5 * MB * percent / 100 + MB);
    free(area);
}
END_TEST

#define TOOK 50000000u /* ns */

#define IN_A_PAUSE(call) \
    for (oaki_thread *t = oaki_gc_stop_begin(); t; oaki_gc_stop_end(t), t = NULL) call

/* A mark in which the program allocated 100 MB, and that took so much of processors. */
static void large_one_beside(size_t live_mb, uint64_t cpu)
{
    oaki_thread *t = oaki_gc_stop_begin();
    uint64_t end = oaki_os_now_ns() + 20 * TOOK;
    oaki_pace_marked(live_mb * MB, 0, 0, false);
    oaki_pace_concurrent(false, 100 * MB, end - TOOK, 100 * MB, end, cpu);
    oaki_gc_stop_end(t);
}

/* What is allocated during a mark counts only where there is a way to mark beside the program. */
START_TEST(a_cycle_in_a_stop_begins_at_the_goal)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    c.concurrent = true;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    test_heap_start(c);
    large_one_beside(200, TOOK);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.trigger), 400 * MB);
    if (test_skip_untracked()) return;
    large_one_beside(200, TOOK);
    ck_assert_uint_lt(AO_load(&oaki_the_heap.trigger), 304 * MB); /* half of the way */
    ck_assert_uint_eq(oaki_pace_goal(), 400 * MB);
}
END_TEST

/* While it allocates the room that there is, a mark may cost a quarter of a processor. */
START_TEST(a_large_heap_that_is_cheap_to_mark_has_less_room)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    c.concurrent = true;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    test_heap_start(c);
    large_one_beside(200, TOOK / 10); /* there is no mark beside the program yet */
    assert_near(oaki_pace_goal(), 400 * MB);
    if (test_skip_untracked()) return;
    large_one_beside(200, TOOK * 2 / 5); /* pays for itself in 160 MB, */
    large_one_beside(200, TOOK * 2 / 5); /* and the one before it, too */
    assert_near(oaki_pace_goal(), 360 * MB);
    large_one_beside(400, TOOK * 4 / 5); /* it grows: as cheap as the two before */
    assert_near(oaki_pace_goal(), 720 * MB);
    large_one_beside(200, TOOK); /* the only dear one of the two */
    assert_near(oaki_pace_goal(), 360 * MB);
    large_one_beside(200, TOOK);
    assert_near(oaki_pace_goal(), 400 * MB);
    large_one_beside(200, TOOK / 10); /* would be 40: at least half */
    assert_near(oaki_pace_goal(), 300 * MB);
    large_one_beside(100, TOOK / 10); /* not worth it */
    assert_near(oaki_pace_goal(), 200 * MB);
    oaki_the_heap.config.thrift = 0;
    large_one_beside(200, TOOK / 10);
    assert_near(oaki_pace_goal(), 400 * MB);
}
END_TEST

START_TEST(disable_nests)
{
    start(100, MB);
    oak_gc_disable();
    oak_gc_disable();
    drop(20 * MB);
    oak_collect();
    ck_assert_uint_eq(cycles(), 0);
    oak_gc_enable();
    drop(20 * MB);
    ck_assert_uint_eq(cycles(), 0);
    oak_gc_enable();
    drop(MB);
    ck_assert_uint_ge(cycles(), 1);
    test_once();
    size_t before = cycles();
    oak_collect();
    ck_assert_uint_eq(cycles(), before + 1);
}
END_TEST

static void enable_once_more(void *arg)
{
    (void)arg;
    oak_gc_disable();
    oak_gc_enable();
    oak_gc_enable();
}

START_TEST(enable_without_disable_is_fatal)
{
    start(100, MB);
    test_dies(enable_once_more, NULL, "oakum: oak_gc_enable: without oak_gc_disable");
}
END_TEST

/* ---- the soft limit ---- */

START_TEST(under_a_limit_the_heap_stays_near_it)
{
    start(1000, 4 * MB);
    hold(20 * MB);
    ck_assert_uint_eq(oak_set_memory_limit(60 * MB), 0);
    ck_assert_uint_eq(oak_set_memory_limit(SIZE_MAX), 60 * MB); /* asks */
    size_t before = cycles(), peak = 0;
    for (int i = 0; i < 100; i++) {
        drop(4 * MB);
        oak_memstats s = test_stats();
        size_t held = s.sys - s.heap_released;
        peak = held > peak ? held : peak;
    }
    ck_assert_uint_gt(cycles() - before, 8); /* the percentage alone asks for one or two */
    ck_assert_uint_lt(cycles() - before, 60);
    ck_assert_uint_le(peak, (test_slow() ? 75 : 66) * MB);
    ck_assert_uint_eq(oak_set_memory_limit(0), 60 * MB);
    before = cycles();
    drop(100 * MB);
    ck_assert_uint_le(cycles() - before, 1);
}
END_TEST

START_TEST(the_limit_counts_with_the_percentage_off)
{
    start(-1, 4 * MB);
    oak_set_memory_limit(50 * MB);
    drop(500 * MB);
    ck_assert_uint_gt(cycles(), oaki_debug_switches.beside ? 5 : 8); /* it allocates meanwhile */
    ck_assert_uint_le(test_stats().heap_sys, 60 * MB);
}
END_TEST

/* The program's own work. */
static void compute(uint64_t ns)
{
    uint64_t end = oaki_os_cpu_ns() + ns;
    while (oaki_os_cpu_ns() < end) {}
}

static bool skip_beside(void)
{
    return test_skip(oaki_debug_switches.beside, "marks beside the program have another share");
}

/* With the credit that the program had, and without: then it is put off. What it has worked before
 * the limit is none. */
START_TEST(one_cycle_that_costs_much_does_not_take_the_heap_past_the_limit)
{
    if (test_skip_slow() || skip_beside()) return;
    start(-1, 4 * MB);
    oak_set_memory_limit(50 * MB);
    drop(500 * MB);
    compute(100000000);
    IN_A_PAUSE(oaki_pace_cycle(oaki_os_now_ns(), 20000000, oaki_os_cpu_ns(), 20000000, 0, false));
    drop(200 * MB);
    ck_assert_uint_le(test_stats().heap_sys, 60 * MB);
    compute(900000000);
    oak_set_memory_limit(49 * MB);
    size_t before = cycles();
    IN_A_PAUSE(oaki_pace_cycle(oaki_os_now_ns(), 400000000, oaki_os_cpu_ns(), 400000000, 0, false));
    drop(100 * MB);
    ck_assert_uint_eq(cycles(), before);
}
END_TEST

static void drop_and_count(void *arg)
{
    (void)arg;
    size_t before = cycles();
    drop(200 * MB);
    ck_assert_uint_ge(cycles(), before + 2);
}

/* Its clock of processor time begins anew: the parent's says nothing of it. */
START_TEST(a_child_has_no_debt_of_its_parents_time)
{
    if (test_skip_slow() || skip_beside()) return;
    start(-1, 4 * MB);
    drop(500 * MB);
    oak_set_memory_limit(50 * MB);
    IN_A_PAUSE(oaki_pace_cycle(oaki_os_now_ns(), 10000000000u, oaki_os_cpu_ns(), 0, 0, false));
    oak_set_memory_limit(49 * MB); /* and no credit */
    test_child(drop_and_count, NULL);
}
END_TEST

/* Of 64 objects 8 stay, each in other pages' midst: the rest of those pages is held and no use. */
START_TEST(what_spans_waste_is_left_out_of_what_the_limit_leaves)
{
    start(-1, 4 * MB);
    hold(64 * MB);
    oak_set_memory_limit(300 * MB);
    size_t full = next_gc(), waste = 56 * MB;
    for (size_t i = 0; i < 64 * MB / 1024; i++)
        if (i % 8) live[i] = NULL;
    oak_collect();
    size_t sparse = next_gc();
    ck_assert_uint_ge(test_stats().heap_inuse, 64 * MB);
    ck_assert_uint_le(AO_load(&oaki_the_heap.live), 10 * MB);
    ck_assert_msg(sparse + waste / 16 <= full && sparse + waste / 4 >= full,
                  "%zu KB, when it wastes nothing %zu KB", sparse >> 10, full >> 10);
}
END_TEST

static uint64_t worked, longest; /* ns of processors, in cycles */

static void add_work(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    worked += c->cpu + c->concurrent_cpu;
    longest = OAKI_MAX(longest, c->cpu + c->concurrent_cpu);
}

/* What can't be met must not stop the program: at most half of the processor time is the
 * collector's, and a cycle for which the program has yet to run. */
START_TEST(an_impossible_limit_takes_half_the_time_at_most)
{
    if (test_skip_slow()) return; /* the pauses hold the tool's own time, too */
    start(100, 4 * MB);
    oaki_debug_switches.verify = 0; /* hundreds of cycles, and no part of their time */
    for (void **p = NULL; AO_load(&oaki_the_heap.live) < 40 * MB; live = p) {
        p = oak_alloc(16); /* a list, which is slow to mark */
        *p = live;
    }
    oak_collect();
    oak_set_memory_limit(5 * MB);
    ck_assert_int_eq(oaki_gc_on_cycle(add_work, NULL), 0);
    uint64_t cpu = oaki_os_cpu_ns();
    drop(2000 * MB);
    cpu = oaki_os_cpu_ns() - cpu;
    ck_assert_uint_gt(worked, 0);
    ck_assert_msg(worked - longest <= cpu * 55 / 100, "%llu less %llu of %llu us in the collector",
                  (unsigned long long)worked / 1000, (unsigned long long)longest / 1000,
                  (unsigned long long)cpu / 1000);
}
END_TEST

/* ---- the trace ---- */

static void collect_twice(void *arg)
{
    (void)arg;
    ck_assert_int_eq(oaki_gctrace_start(), 0);
    hold(5 * MB);
    oak_set_gc_percent(10);
    drop(6 * MB);
    oaki_debug_switches.stress = 1; /* not asked for by the program: not "forced" */
    (void)!oak_alloc_noscan(MB);
}

START_TEST(each_cycle_prints_its_line)
{
    char text[8192];
    start(-1, MB);
    ck_assert_int_eq(test_capture(collect_twice, NULL, text, sizeof text), 0);
    unsigned n = 0, forced = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned cycle, heap0, heap1, heap2, goal;
        if (strncmp(line, "oakum: ", 7) == 0) continue; /* the plan */
        ck_assert_int_eq(sscanf(line, "gc %u @", &cycle), 1);
        const char *heap = strstr(line, " ms cpu, ");
        ck_assert_ptr_nonnull(heap);
        ck_assert_int_eq(sscanf(heap, " ms cpu, %u->%u->%u MB, %u MB goal,", &heap0, &heap1, &heap2,
                                &goal), 4);
        ck_assert_uint_eq(cycle, ++n);
        ck_assert(heap2 <= heap1 && heap2 >= 5 && heap2 <= 7);
        forced += strstr(line, " P (forced)") != NULL;
    }
    ck_assert_uint_eq(forced, 1);
    ck_assert_uint_ge(n, 4);
}
END_TEST

Suite *suite_gc_pace(void)
{
    Suite *s = suite_create("gc/pace");
    TCase *c = tcase_create("pace");
    tcase_add_loop_test(c, cycles_for_a_volume_at_each_percentage, 0, 6);
    tcase_add_test(c, a_small_percentage_is_bounded);
    tcase_add_test(c, a_small_heap_is_not_collected);
    tcase_add_test(c, the_setting_can_be_changed_while_running);
    tcase_add_test(c, next_gc_is_where_the_next_one_starts);
    tcase_add_loop_test(c, roots_count_as_what_lives_does, 0, 3);
    tcase_add_test(c, a_cycle_in_a_stop_begins_at_the_goal);
    tcase_add_test(c, a_large_heap_that_is_cheap_to_mark_has_less_room);
    tcase_add_test(c, disable_nests);
    tcase_add_test(c, enable_without_disable_is_fatal);
    tcase_add_test(c, under_a_limit_the_heap_stays_near_it);
    tcase_add_test(c, the_limit_counts_with_the_percentage_off);
    tcase_add_test(c, one_cycle_that_costs_much_does_not_take_the_heap_past_the_limit);
    tcase_add_test(c, a_child_has_no_debt_of_its_parents_time);
    tcase_add_test(c, what_spans_waste_is_left_out_of_what_the_limit_leaves);
    tcase_add_test(c, an_impossible_limit_takes_half_the_time_at_most);
    tcase_add_test(c, each_cycle_prints_its_line);
    suite_add_tcase(s, c);
    return s;
}

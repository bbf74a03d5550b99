/* pace_small.c - tests of gc/pace.c: the least goal where the program sets none. It keeps the share
 * of collections: by goals for given costs, and by counts of collections of forced costs. */
#include "gc/pace.h"

#include "gc/collector.h"
#include "gc/settings.h"
#include "runtime/collector.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/skip.h"

#include <check.h>

Suite *suite_gc_pace_small(void);

#define MB ((size_t)1 << 20)
#define KB ((size_t)1 << 10)

#define IN_A_PAUSE(call) \
    for (oaki_thread *t = oaki_gc_stop_begin(); t; oaki_gc_stop_end(t), t = NULL) call

static void *only;

static void start(size_t min_heap)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    c.min_heap = min_heap;
    c.concurrent = 0; /* long pauses would make marks concurrent, on a host where that is cheap */
    test_heap_start(c);
    test_no_beside(); /* marks would begin before the goal */
    test_only_root(&only, sizeof only); /* others' data would raise the goal */
}

static size_t cycles(void)
{
    return test_stats().num_gc;
}

static void drop(size_t bytes)
{
    for (size_t n = 0; n < bytes; n += 1024) (void)!oak_alloc_noscan(1024);
}

/* The program's own work, or the collector's. */
static void compute(uint64_t ns)
{
    uint64_t end = oaki_os_cpu_ns() + ns;
    while (oaki_os_cpu_ns() < end) {}
}

/* The program took 100 ms of processors to allocate `bytes`, and a collection took so many. */
static size_t goal_after(size_t bytes, uint64_t us, bool asked)
{
    uint64_t took = us * 1000;
    uint64_t end = AO_load(&oaki_gc.pace.cpu_end) + UINT64_C(100000000) + took;
    IN_A_PAUSE(oaki_pace_cycle(oaki_os_now_ns(), 0, end, took, bytes, asked));
    return oaki_pace_goal();
}

/* Of 100 ms, a collection may take 1/15: then its share of all is 1/16. */
START_TEST(the_least_goal_keeps_the_share_of_collections)
{
    start(0);
    ck_assert_uint_eq(oaki_pace_goal(), 512 * KB);
    for (int i = 0; i < 4; i++) ck_assert_uint_eq(goal_after(512 * KB, 1000, false), 512 * KB);
    ck_assert_uint_eq(goal_after(512 * KB, 20000, false), 512 * KB); /* one may be dear by chance */
    ck_assert_uint_eq(goal_after(512 * KB, 20000, false), 1536 * KB);
    ck_assert_uint_eq(goal_after(512 * KB, 1000, true), 1536 * KB); /* asked for */
    ck_assert_uint_eq(goal_after(512 * KB, 0, false), 1536 * KB);   /* not measured */
    (void)goal_after(1536 * KB, 100000, false);
    ck_assert_uint_eq(goal_after(1536 * KB, 100000, false), 4 * MB);
    ck_assert_uint_eq(goal_after(4 * MB, 1000, false), 614 * KB + 409); /* 4 MB x 15 / 100 */
    ck_assert_uint_eq(oak_set_gc_percent(10), 100);
    ck_assert_uint_eq(oaki_pace_goal(), 4 * MB / 10);
    ck_assert_uint_eq(goal_after(4 * KB, 1000, false), 512 * KB / 10);
}
END_TEST

/* It shows 4 ms or nothing: of ten cycles, one. Each of them took a tenth of that. */
START_TEST(a_coarse_clock_tells_by_sums)
{
    start(0);
    for (int i = 0; i < 30; i++) (void)goal_after(512 * KB, i % 10 ? 0 : 4000, false);
    ck_assert_uint_eq(oaki_pace_goal(), 512 * KB); /* 0.4 of 100 ms */
    for (int i = 0; i < 40; i++) (void)goal_after(512 * KB, i % 10 ? 0 : 200000, false);
    ck_assert_uint_eq(oaki_pace_goal(), 1536 * KB); /* 20 of 100 ms */
}
END_TEST

START_TEST(a_least_goal_that_is_set_is_kept_at_any_cost)
{
    start(MB);
    for (int i = 0; i < 4; i++) ck_assert_uint_eq(goal_after(512 * KB, 100000, false), MB);
    oaki_gc_set_min_heap(2 * MB);
    for (int i = 0; i < 4; i++) ck_assert_uint_eq(goal_after(512 * KB, 1, false), 2 * MB);
    oaki_gc_set_min_heap(1);
    ck_assert_uint_eq(oaki_pace_goal(), 64 * KB);
}
END_TEST

/* By the clock on the wall: where processors' clocks count ticks, work must not end with one. */
static void spend(uint64_t ns)
{
    uint64_t begin = oaki_os_now_ns();
    while (oaki_os_since(begin, oaki_os_now_ns()) < ns) {}
}

static void work_in_the_pause(void *ctx)
{
    (void)ctx;
    spend(20000000);
}

START_TEST(a_program_whose_collections_cost_much_has_fewer)
{
    start(0);
    ck_assert_int_eq(oaki_gc_at_cycle(work_in_the_pause, NULL), 0);
    for (int i = 0; i < 80; i++) {
        drop(512 * KB);
        spend(2000000);
    }
    ck_assert_uint_ge(cycles(), 9);
    ck_assert_uint_le(cycles(), 40); /* 80 with the first goal */
}
END_TEST

START_TEST(a_program_that_allocates_little_stays_small)
{
    if (test_skip(test_slow(), "a heap that stays small: collections are dear")) return;
    start(0);
    size_t most = 0;
    for (int i = 0; i < 16; i++) {
        drop(128 * KB);
        compute(20000000);
        most = OAKI_MAX(most, test_stats().heap_alloc);
    }
    ck_assert_uint_ge(cycles(), 3);
    ck_assert_uint_le(most, MB);
}
END_TEST

Suite *suite_gc_pace_small(void)
{
    Suite *s = suite_create("gc/pace_small");
    TCase *c = tcase_create("pace_small");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, the_least_goal_keeps_the_share_of_collections);
    tcase_add_test(c, a_coarse_clock_tells_by_sums);
    tcase_add_test(c, a_least_goal_that_is_set_is_kept_at_any_cost);
    tcase_add_test(c, a_program_whose_collections_cost_much_has_fewer);
    tcase_add_test(c, a_program_that_allocates_little_stays_small);
    suite_add_tcase(s, c);
    return s;
}

/* pace_finalizers.c - tests of gc/pace.c: finalizers that make collections due, where a host asks
 * for it; by counts of collections. */
#include "gc/pace.h"
#include "gc/refs/finalizer.h"
#include "gc/settings.h"
#include "gc/tuning.h"
#include "runtime/collector.h"
#include "tests/heap.h"

#include <check.h>
#include <oakum/gc.h>

Suite *suite_gc_pace_finalizers(void);

#define MB ((size_t)1 << 20)
#define LEAST (4 * MB)                            /* the goal of an empty heap */
#define FILLS (LEAST / OAKI_TUNE_FINALIZER_BYTES) /* finalizers that count as much */
#define SIZE ((size_t)64)
#define SMALL ((size_t)16)

static size_t ran;
static void **held;

static void finalize(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    ran++;
}

static void start(bool counted)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    c.min_heap = LEAST;
    test_heap_start(c);
    test_no_beside();
    test_only_root(&held, sizeof held); /* others' data would raise the goal */
    if (counted) oaki_gc_set_pace_by_finalizers(true);
}

static size_t cycles(void)
{
    return test_stats().num_gc;
}

static OAKI_NOINLINE void *make(size_t size)
{
    void *p = oak_alloc(size);
    ck_assert_int_eq(oak_finalizer_set_ex(p, finalize, NULL, OAK_FINALIZER_NO_ORDER, NULL, NULL),
                     0);
    return p;
}

/* Collections while so many objects with finalizers are made and dropped; or with `hold`, kept. */
static size_t cycles_for(size_t n, size_t size, bool hold)
{
    size_t before = cycles();
    for (size_t i = 0; i < n; i++) {
        void *p = make(size);
        if (hold) held[i] = p;
        if (oaki_finalizers_ready() > 0) (void)oak_finalizers_run();
    }
    return cycles() - before;
}

START_TEST(objects_alone_make_few_collections)
{
    size_t n = 40 * FILLS;
    start(false);
    ck_assert_uint_le(cycles_for(n, SIZE, false), n * SIZE * 2 / LEAST + 1);
}
END_TEST

START_TEST(dropped_ones_count_as_their_bytes)
{
    start(true);
    size_t n = cycles_for(40 * FILLS, SIZE, false);
    ck_assert_uint_ge(n, 40 / 2);
    ck_assert_uint_le(n, 44);
    ck_assert_uint_ge(ran, 37 * FILLS);
}
END_TEST

/* Twice as many each time, and not one for each FILLS. */
START_TEST(those_that_live_are_collected_in_proportion)
{
    start(true);
    held = oak_alloc_pinned(256 * FILLS * sizeof *held);
    ck_assert_uint_le(cycles_for(256 * FILLS, SIZE, true), 12);
    ck_assert_uint_le(cycles_for(512 * FILLS, SIZE, false), 6);
    ck_assert_uint_ge(ran, 1);
}
END_TEST

static void take_away(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 10 * FILLS; i++) {
        void *p = make(SIZE);
        ck_assert_int_eq(oak_finalizer_set_ex(p, NULL, NULL, OAK_FINALIZER_NO_ORDER, NULL, NULL),
                         0);
    }
}

START_TEST(one_that_is_taken_away_no_longer_counts)
{
    start(true);
    size_t before = cycles();
    test_away(take_away, NULL);
    ck_assert_uint_le(cycles() - before, 10 * FILLS * SIZE / LEAST + 1);
}
END_TEST

/* Small objects beside 32 MB: no collection before 1/32 of that is allocated. */
START_TEST(a_part_of_a_large_heap_is_allocated_first)
{
    start(true);
    held = oak_alloc_pinned(32 * sizeof *held);
    for (size_t i = 0; i < 32; i++) held[i] = oak_alloc_noscan(MB);
    oak_collect();
    size_t n = 80 * FILLS; /* count for 320 MB, and are 5 */
    size_t least = 32 * MB / OAKI_TUNE_FINALIZER_LEAST, most = n * SMALL / least + 1;
    size_t seen = cycles_for(n, SMALL, false);
    ck_assert_uint_ge(seen, 3);
    ck_assert_uint_le(seen, most);
}
END_TEST

START_TEST(nothing_is_due_where_collections_are_off)
{
    start(true);
    (void)oak_set_gc_percent(-1);
    ck_assert_uint_eq(cycles_for(8 * FILLS, SIZE, false), 0);
}
END_TEST

/* A mark that is slower than the program makes them is helped, and the program waits. */
START_TEST(they_count_towards_the_goal_during_a_mark)
{
    start(_i != 0);
    oak_gc_disable();
    ck_assert(!oaki_pace_is_past(0) && !oaki_pace_outran(0, 0, 1));
    for (size_t i = 0; i < 2 * FILLS; i++) (void)make(SIZE);
    ck_assert_int_eq(oaki_pace_is_past(0), _i != 0);
    ck_assert_int_eq(oaki_pace_outran(0, 0, 1), _i != 0);
}
END_TEST

Suite *suite_gc_pace_finalizers(void)
{
    Suite *s = suite_create("gc/pace_finalizers");
    TCase *t = tcase_create("finalizers");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, objects_alone_make_few_collections);
    tcase_add_test(t, dropped_ones_count_as_their_bytes);
    tcase_add_test(t, those_that_live_are_collected_in_proportion);
    tcase_add_test(t, one_that_is_taken_away_no_longer_counts);
    tcase_add_test(t, a_part_of_a_large_heap_is_allocated_first);
    tcase_add_test(t, nothing_is_due_where_collections_are_off);
    tcase_add_loop_test(t, they_count_towards_the_goal_during_a_mark, 0, 2);
    suite_add_tcase(s, t);
    return s;
}

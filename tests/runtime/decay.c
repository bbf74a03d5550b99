/* decay.c - tests of the rules by which runtime/scavenge.c lets free memory go: how old it is, how
 * much goes in one tick, what is kept, and what is not near a limit. The test moves the time. */
#include "runtime/meta.h"
#include "tests/heap.h"

#include <check.h>
#include <string.h>

Suite *suite_runtime_decay(void);

#define MB ((size_t)1 << 20)

static void start(bool huge)
{
    oak_config c = test_config();
    c.huge_pages = huge;
    test_heap_start(c);
}

static size_t retained(void)
{
    return test_stats().heap_retained;
}

static size_t pass(unsigned ticks)
{
    size_t released = 0;
    while (ticks-- > 0) released += oaki_scavenge_tick();
    return released;
}

static void *used_and_freed(size_t bytes)
{
    void *p = oak_alloc_noscan(bytes);
    if (!p) ck_abort_msg("out of memory");
    memset(p, 1, bytes);
    oak_free(p);
    return p;
}

/* What was taken long ago keeps nothing by that: only the time that it has been free counts. */
static void *hold_long(size_t bytes)
{
    void *p = oak_alloc_noscan(bytes);
    ck_assert_ptr_nonnull(p);
    (void)pass(2 * OAKI_DECAY_TICKS + 2);
    return p;
}

START_TEST(what_was_taken_long_ago_stays_for_the_decay_time)
{
    start(false);
    (void)!oak_alloc_pinned(100);
    oak_free(hold_long(40 * MB));
    ck_assert_uint_eq(pass(OAKI_DECAY_TICKS), 0);
    ck_assert_uint_ge(retained(), 40 * MB);
    (void)pass(2);
    ck_assert_uint_lt(retained(), MB);
}
END_TEST

START_TEST(without_a_decay_time_it_goes_at_once)
{
    oak_config c = test_config();
    c.decay_ms = 0;
    test_heap_start(c);
    (void)!oak_alloc_pinned(100);
    used_and_freed(40 * MB);
    (void)pass(1);
    ck_assert_uint_lt(retained(), MB);
}
END_TEST

/* A quarter, and at least 64 MB. */
START_TEST(one_tick_releases_a_part)
{
    start(false);
    (void)!oak_alloc_pinned(100);
    oak_free(hold_long(400 * MB));
    size_t first = pass(OAKI_DECAY_TICKS + 1);
    ck_assert_uint_ge(first, 95 * MB);
    ck_assert_uint_le(first, 104 * MB);
    while (retained() > 200 * MB) (void)pass(1);
    ck_assert_uint_ge(pass(1), 62 * MB);
    (void)pass(OAKI_DECAY_TICKS);
    ck_assert_uint_lt(retained(), MB);
}
END_TEST

START_TEST(short_runs_are_left_to_be_used_again)
{
    enum { N = 200, BYTES = 40000 }; /* 5 pages */
    void *held[N];
    start(false);
    for (int i = 0; i < N; i++) ck_assert_ptr_nonnull(held[i] = oak_alloc_noscan(BYTES));
    (void)pass(2 * OAKI_DECAY_TICKS + 2);
    for (int i = 0; i < N - 1; i += 2) oak_free(held[i]);
    (void)pass(3 * OAKI_DECAY_TICKS);
    ck_assert_uint_ge(retained(), N / 2 * 5 * OAKI_PAGE);
    (void)oak_scavenge();
    ck_assert_uint_eq(retained(), 0);
    ck_assert_ptr_nonnull(held[1]);
}
END_TEST

/* However much is taken and freed: only the way to the goal is kept. */
START_TEST(beyond_the_goal_nothing_is_kept)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    c.min_heap = 4 * MB;
    test_heap_start(c);
    test_no_beside();
    test_only_root(&c, sizeof c); /* data would raise the goal */
    char *small = oak_alloc_noscan(MB), *wall = oak_alloc_noscan(40000);
    char *large = oak_alloc_noscan(60 * MB), *end = oak_alloc_noscan(40000);
    oak_free(large);
    oak_free(small);
    oak_collect();
    for (unsigned i = 0; i < OAKI_DECAY_TICKS + 2; i++) {
        for (int k = 0; k < 8; k++) used_and_freed(MB);
        (void)pass(1);
    }
    size_t goal = test_stats().next_gc;
    ck_assert_uint_lt(goal, 16 * MB);
    ck_assert_uint_lt(retained(), goal + goal / 10 + 2 * MB);
    OAKI_HOLD(wall);
    OAKI_HOLD(end);
}
END_TEST

/* A thirty-second of the limit stays free of unused memory, however young that is. */
START_TEST(a_tick_near_the_memory_limit_spares_nothing)
{
    enum { LIMIT = 128 };
    void *held[LIMIT];
    size_t n = 0;
    start(false);
    (void)!oak_alloc_pinned(100);
    oak_set_memory_limit(LIMIT * MB);
    while (oaki_heap_over(2 * MB / OAKI_PAGE) == 0 && n < LIMIT) {
        ck_assert_ptr_nonnull(held[n] = oak_alloc_noscan(MB));
        memset(held[n++], 1, MB);
    }
    ck_assert_uint_ge(n, LIMIT / 2);
    for (int i = 0; i < 3; i++) ck_assert_ptr_nonnull(held[n++] = oak_alloc_noscan(MB));
    for (size_t i = n - 1; i > n - 16; i -= 2) oak_free(held[i]);
    size_t over = oaki_heap_over(0);
    ck_assert_uint_ge(retained(), over);
    ck_assert_uint_ge(pass(1), over);
    const oaki_heap *h = &oaki_the_heap;
    size_t pages = AO_load(&h->pages_inuse) + AO_load(&h->pages_free) - AO_load(&h->pages_released);
    size_t used = AO_load(&h->used), tables = used / 64 + oaki_meta_mapped();
    tables += used / OAKI_PAGE * (sizeof(oaki_pte) + sizeof(oaki_span));
    ck_assert_uint_le(pages * OAKI_PAGE + tables, LIMIT * MB - LIMIT * MB / 32);
    ck_assert_uint_ge(retained(), MB); /* the rest is young */
}
END_TEST

Suite *suite_runtime_decay(void)
{
    Suite *s = suite_create("runtime/decay");
    TCase *t = tcase_create("decay");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, what_was_taken_long_ago_stays_for_the_decay_time);
    tcase_add_test(t, without_a_decay_time_it_goes_at_once);
    tcase_add_test(t, one_tick_releases_a_part);
    tcase_add_test(t, short_runs_are_left_to_be_used_again);
    tcase_add_test(t, beyond_the_goal_nothing_is_kept);
    tcase_add_test(t, a_tick_near_the_memory_limit_spares_nothing);
    suite_add_tcase(s, t);
    return s;
}

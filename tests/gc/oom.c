/* oom.c - tests of running out of memory: NULL and ENOMEM after a collection, and the heap goes
 * on. */
#include "runtime/collector.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

Suite *suite_gc_oom(void);

#define MB ((size_t)1 << 20)

static void start(void)
{
    test_heap_start(test_config());
}

static void **list; /* what is held, each by its first word */

static size_t filled; /* objects, by the last fill */

static void fill_list(void *arg)
{
    size_t size = *(size_t *)arg, n = 0;
    errno = 0;
    for (void **p; (p = oak_alloc(size)) != NULL; list = p, n++) *p = list;
    ck_assert_int_eq(errno, ENOMEM);
    filled = n;
}

/* On a stack of its own: the list's head, left anywhere on this one, would hold all of it. */
static size_t fill(size_t size)
{
    test_away(fill_list, &size);
    return filled;
}

/* Not as one chain, which a single word that looks like an address would hold: half of an old one,
 * as it may lie in a hole of a struct, is one where the system has put the heap so. */
static void drop(void)
{
    for (void **next; list; list = next) {
        next = *list;
        *list = NULL;
    }
}

/* ---- heap_max ---- */

START_TEST(at_the_limit_there_is_a_collection_and_then_null)
{
    oak_set_heap_max(20 * MB);
    const size_t sizes[] = { 16, 500, 9000, 40000, 3000000 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        size_t n = fill(sizes[i]), cycles = test_stats().num_gc;
        ck_assert_uint_gt(cycles, 0);
        ck_assert_uint_ge(n * sizes[i], 14 * MB);
        ck_assert_uint_le(test_stats().heap_inuse, 20 * MB);
        ck_assert_ptr_null(oak_alloc(sizes[i]));
        ck_assert_uint_eq(test_stats().num_gc, cycles + 1);
        ck_assert_uint_ge(test_objects(), n);
        drop(); /* the next size finds nothing but garbage of another class */
    }
    ck_assert_ptr_nonnull(oak_alloc(19 * MB));
    test_assert_sound();
}
END_TEST

START_TEST(garbage_of_any_size_makes_room_for_any_other)
{
    test_seed("gc/oom");
    oak_set_heap_max(20 * MB);
    for (size_t i = 0, rounds = test_scale(40); i < rounds; i++) {
        size_t size = test_size(2 * MB) | 8, n = fill(size);
        if (n * size < 10 * MB) ck_abort_msg("%zu objects of %zu", n, size);
        drop();
    }
    test_assert_sound();
}
END_TEST

START_TEST(without_collections_it_is_null_at_once)
{
    oak_set_heap_max(10 * MB);
    oak_gc_disable();
    while (oak_alloc(1000)) {}
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_eq(test_stats().num_gc, 0);
    oak_gc_enable();
    for (int i = 0; i < 100000; i++)
        if (!oak_alloc(1000)) ck_abort_msg("out of memory for all the garbage");
}
END_TEST

START_TEST(raising_the_limit_helps_at_once)
{
    ck_assert_uint_eq(oak_set_heap_max(8 * MB), 0);
    fill(5000);
    ck_assert_ptr_null(oak_alloc(MB));
    ck_assert_uint_eq(oak_set_heap_max(16 * MB), 8 * MB);
    ck_assert_ptr_nonnull(oak_alloc(MB));
    oak_set_heap_max(MB); /* below what is in use: nothing more, and nothing lost */
    ck_assert_ptr_null(oak_alloc(100000));
    size_t n = 0;
    for (void **p = list; p; p = *p) n++;
    ck_assert_uint_ge(n, 1000);
    oak_set_heap_max(0);
    ck_assert_ptr_nonnull(oak_alloc(50 * MB));
    test_assert_sound();
}
END_TEST

/* ---- with several threads ---- */

static AO_t nulls, wrong;
static pthread_barrier_t all_hold; /* what is more than there is, once */

static void *fill_and_drop(void *arg)
{
    for (size_t i = 0, n = test_scale(40); i < n; i++) {
        void **mine = NULL, **p;
        size_t made = 0, found = 0;
        for (; made < 6000 && (p = oak_alloc(16 + ((size_t)arg + made) % 3000)); made++) {
            *p = mine;
            mine = p;
        }
        if (made < 6000) AO_fetch_and_add_full(&nulls, 1);
        if (i == 0) pthread_barrier_wait(&all_hold);
        for (p = mine; p; p = *p) found++;
        if (found != made) AO_store(&wrong, 1);
    }
    return NULL;
}

START_TEST(threads_run_out_together_and_go_on)
{
    pthread_t ids[4];
    pthread_barrier_init(&all_hold, NULL, 4);
    oak_set_heap_max(24 * MB);
    for (size_t i = 0; i < 4; i++) ids[i] = test_start(fill_and_drop, (void *)(i * 700));
    for (size_t i = 0; i < 4; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    ck_assert_uint_gt(AO_load(&nulls), 0);
    ck_assert_uint_gt(fill(1000), 15000);
    test_assert_sound();
}
END_TEST

/* ---- every request of the page heap may fail ---- */

static void *held[300];

static void try_everything(void)
{
    static const uint64_t bits[] = { 1 };
    static oak_type *pair;
    size_t k = 1 + test_below(299), size = test_size(test_below(20) ? 3000 : MB);
    if (!pair) pair = oak_type_bitmap("pair", 16, bits);
    switch (test_below(8)) {
    case 0: held[k] = oak_alloc(size); break;
    case 1: held[k] = oak_alloc_noscan(size); break;
    case 2: held[k] = oak_alloc_typed(pair, size / 16); break;
    case 3: held[k] = oak_alloc_aligned((size_t)1 << test_below(20), size); break;
    case 4: (void)oak_weak_new(held[0]); break;
    case 5: {
        void *p = held[k] && oak_type_of(held[k]) == NULL ? oak_realloc(held[k], size) : NULL;
        if (p) held[k] = p;
        break;
    }
    case 6:
        if (held[k]) oak_free(held[k]);
        held[k] = NULL;
        break;
    default: if (test_below(200) == 0) oak_collect();
    }
}

START_TEST(random_failures_neither_crash_nor_leak)
{
    test_seed("gc/oom");
    oak_set_gc_percent(100);
    for (int every = 1; every < 40; every = every * 2 + 1) {
        held[0] = oak_alloc(16);
        for (size_t i = 0, n = test_scale(4000); i < n; i++) {
            oaki_debug_switches.failalloc = i % 50 < 25 ? every : 0;
            if (!held[0]) held[0] = oak_alloc(16);
            if (held[0]) try_everything();
        }
        test_assert_sound();
    }
    oaki_debug_switches.failalloc = 0;
    memset(held, 0, sizeof held);
    oak_collect();
    oak_collect();
    ck_assert_uint_le(test_objects(), 6);
    test_assert_sound();
}
END_TEST

/* ---- little address space ---- */

static void under_ulimit(void *arg)
{
    struct rlimit rl = { 300 * MB, 300 * MB };
    (void)arg;
    if (setrlimit(RLIMIT_AS, &rl) != 0) return;
    test_heap_start(test_config());
    oak_set_gc_percent(100);
    for (int round = 0; round < 4; round++) {
        const size_t size = (size_t[]){ 64, 5000, 300000, 200 }[round];
        size_t n = fill(size);
        if (n * size < 40 * MB) ck_abort_msg("%zu objects of %zu", n, size);
        drop();
        for (int i = 0; i < 100000; i++)
            if (!oak_alloc(16 + (size_t)i % 2000)) ck_abort_msg("no memory after round %d", round);
    }
    test_assert_sound();
}

START_TEST(under_ulimit_v_it_runs_out_and_goes_on)
{
    if (test_skip_slow()) return; /* tools need address space themselves */
    test_child(under_ulimit, NULL);
}
END_TEST

Suite *suite_gc_oom(void)
{
    Suite *s = suite_create("gc/oom");
    TCase *c = tcase_create("oom");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, at_the_limit_there_is_a_collection_and_then_null);
    tcase_add_test(c, garbage_of_any_size_makes_room_for_any_other);
    tcase_add_test(c, without_collections_it_is_null_at_once);
    tcase_add_test(c, raising_the_limit_helps_at_once);
    tcase_add_test(c, threads_run_out_together_and_go_on);
    tcase_add_test(c, random_failures_neither_crash_nor_leak);
    suite_add_tcase(s, c);
    c = tcase_create("ulimit");
    tcase_add_test(c, under_ulimit_v_it_runs_out_and_goes_on);
    suite_add_tcase(s, c);
    return s;
}

/* external.c - tests of gc/refs/external.c: external bytes count as their object's, in the pacing,
 * in a zone's limit, in the heap profile, and are gone with it. */
#include "gc/gc.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

Suite *suite_gc_external(void);

#define MB ((ptrdiff_t)1 << 20)

static size_t external(void)
{
    return test_stats().external;
}

static void start(int percent)
{
    oak_config c = test_config();
    c.gc_percent = percent;
    test_heap_start(c);
}

/* ---- counting ---- */

START_TEST(bytes_are_those_of_the_object)
{
    start(-1);
    char *p = oak_alloc(100), *q = oak_alloc(100000);
    ck_assert_uint_eq(oak_external_bytes(p), 0);
    ck_assert_int_eq(oak_external_add(p, 5), 0);
    ck_assert_int_eq(oak_external_add(p + 50, 2), 0); /* an interior pointer will do */
    ck_assert_int_eq(oak_external_add(q, 1000), 0);
    ck_assert_uint_eq(oak_external_bytes(p + 99), 7);
    ck_assert_int_eq(oak_external_add(p, -3), 0);
    ck_assert_int_eq(oak_external_add(p, 0), 0);
    ck_assert_uint_eq(oak_external_bytes(p), 4);
    ck_assert_uint_eq(external(), 1004);
    ck_assert_int_eq(oak_external_add(p, -4), 0);
    ck_assert_uint_eq(oak_external_bytes(p), 0);
    ck_assert_uint_eq(external(), 1000);
    ck_assert_uint_eq(oak_external_bytes(&p), 0);
    ck_assert_uint_eq(oak_external_bytes(NULL), 0);
    OAKI_HOLD(p);
    OAKI_HOLD(q);
}
END_TEST

static void refused(void *p, ptrdiff_t bytes, int error)
{
    size_t had = oak_external_bytes(p), all = external();
    errno = 0;
    ck_assert_int_eq(oak_external_add(p, bytes), -1);
    ck_assert_int_eq(errno, error);
    ck_assert_uint_eq(oak_external_bytes(p), had);
    ck_assert_uint_eq(external(), all);
}

START_TEST(bad_numbers_change_nothing)
{
    start(-1);
    void *p = oak_alloc(100), *q = oak_alloc(100);
    refused(p, -1, EINVAL);
    refused(p, PTRDIFF_MIN, EINVAL);
    refused(p, PTRDIFF_MAX, EOVERFLOW);
    ck_assert_int_eq(oak_external_add(p, 10), 0);
    refused(p, -11, EINVAL);
    refused(q, -1, EINVAL);
    ck_assert_int_eq(oak_external_add(q, PTRDIFF_MAX / 2 - 11), 0);
    refused(p, 2, EOVERFLOW); /* the sum of both */
    ck_assert_int_eq(oak_external_add(p, 1), 0);
    ck_assert_int_eq(oak_external_add(q, -(PTRDIFF_MAX / 2 - 11)), 0);
    ck_assert_uint_eq(external(), 11);
    OAKI_HOLD(p);
    OAKI_HOLD(q);
}
END_TEST

static void add_to_nothing(void *p)
{
    (void)oak_external_add(p, 1);
}

START_TEST(what_is_no_object_is_fatal)
{
    static int outside;
    start(-1);
    (void)!oak_alloc(1);
    test_dies(add_to_nothing, NULL, "oak_external_add: 0x0 is not in a live object");
    test_dies(add_to_nothing, &outside, "is not in a live object");
}
END_TEST

/* ---- gone with the object ---- */

enum { OBJECTS = 1000 };
static void *held[OBJECTS]; /* a root */

static void make(void *bytes)
{
    for (int i = 0; i < OBJECTS; i++) {
        held[i] = oak_alloc(i % 100 ? 32 : 40000);
        ck_assert_int_eq(oak_external_add(held[i], (ptrdiff_t)(size_t)bytes), 0);
    }
}

START_TEST(they_are_gone_with_the_object)
{
    start(-1);
    test_away(make, (void *)1000);
    ck_assert_uint_eq(external(), OBJECTS * 1000);
    for (int i = 0; i < OBJECTS / 2; i++) {
        oak_free(held[i]);
        held[i] = NULL;
    }
    ck_assert_uint_eq(external(), OBJECTS / 2 * 1000);
    oak_collect();
    ck_assert_uint_eq(external(), OBJECTS / 2 * 1000);
    memset(held, 0, sizeof held);
    oak_collect();
    ck_assert_uint_le(external(), 10 * 1000); /* a stale word may hold some */
    test_assert_sound();
    test_away(make, (void *)1); /* in the same places */
    ck_assert_uint_ge(external(), OBJECTS);
    oak_collect();
    ck_assert_uint_ge(external(), OBJECTS);
    test_assert_sound();
}
END_TEST

static unsigned finalized;

static void on_end(void *obj, void *ctx)
{
    (void)ctx;
    finalized += oak_external_bytes(obj) == MB;
}

static void make_finalized(void *arg)
{
    (void)arg;
    void *p = oak_alloc(32);
    ck_assert_int_eq(oak_finalizer_set(p, on_end, NULL), 0);
    ck_assert_int_eq(oak_external_add(p, MB), 0);
}

START_TEST(a_finalizer_sees_them)
{
    start(-1);
    for (int i = 0; i < 10; i++) test_away(make_finalized, NULL);
    oak_collect();
    ck_assert_uint_eq(external(), 10 * MB);
    size_t ran = test_run_finalizers();
    ck_assert_uint_ge(ran, 9);
    ck_assert_uint_eq(finalized, ran);
    oak_collect();
    ck_assert_uint_le(external(), (10 - ran) * MB);
}
END_TEST

START_TEST(they_are_gone_with_the_zone)
{
    start(-1);
    oak_zone *z = oak_zone_new(NULL);
    void *mine = oak_alloc(32);
    ck_assert_int_eq(oak_external_add(mine, 77), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(oak_external_add(oak_zone_alloc(z, 32), 1000), 0);
    oak_zone_stats s;
    oak_zone_stats_read(z, &s);
    ck_assert_uint_eq(s.external, 100000);
    ck_assert_uint_eq(external(), 100077);
    test_assert_sound();
    ck_assert_int_eq(oak_zone_discard(z), 0);
    ck_assert_uint_eq(external(), 77);
    oak_collect(); /* buries it, whose account of pages is empty */
    test_assert_sound();
    ck_assert_uint_eq(test_stats().zones_inuse, 0);
    OAKI_HOLD(mine);
}
END_TEST

START_TEST(they_end_where_the_object_is_moved)
{
    start(-1);
    void *p = oak_alloc(32);
    ck_assert_int_eq(oak_external_add(p, MB), 0);
    p = oak_realloc(p, 30); /* stays */
    ck_assert_uint_eq(oak_external_bytes(p), (size_t)MB);
    void *moved = oak_realloc(p, 100000);
    ck_assert_uint_eq(oak_external_bytes(moved), 0);
    ck_assert_uint_eq(external(), 0);
    test_assert_sound();
}
END_TEST

/* ---- pacing ---- */

START_TEST(they_make_collections_due)
{
    start(100);
    oak_collect();
    unsigned before = test_stats().num_gc;
    for (int i = 0; i < 1000; i++) {
        void *p = oak_alloc(32);
        ck_assert_int_eq(oak_external_add(p, MB), 0);
    }
    unsigned cycles = test_stats().num_gc - before;
    ck_assert_uint_ge(cycles, 10); /* a GB, and a goal of some tens of MB */
    ck_assert_uint_lt(external(), 500 * MB);
}
END_TEST

/* What is added during a concurrent mark does not raise the goal. */
START_TEST(what_lives_raises_the_goal)
{
    start(100);
    test_no_beside();
    void *p = oak_alloc(32);
    oak_collect();
    uint64_t goal = test_stats().next_gc;
    ck_assert_int_eq(oak_external_add(p, 200 * MB), 0);
    oak_collect();
    ck_assert_uint_ge(test_stats().next_gc, 400 * MB);
    ck_assert_int_eq(oak_external_add(p, -200 * MB), 0);
    oak_collect();
    ck_assert_uint_le(test_stats().next_gc, goal + MB);
    OAKI_HOLD(p);
}
END_TEST

/* ---- limits ---- */

START_TEST(they_count_in_the_limit_of_the_zone)
{
    start(100);
    oak_zone_options c = { .limit = (size_t)(4 * MB) };
    oak_zone *z = oak_zone_new(&c);
    void *p = oak_zone_alloc(z, 32);
    errno = 0;
    ck_assert_int_eq(oak_external_add(p, 5 * MB), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(oak_external_add(p, 3 * MB), 0);
    ck_assert_int_eq(oak_external_add(p, 2 * MB), -1);
    ck_assert_ptr_null(oak_zone_alloc(z, (size_t)(2 * MB))); /* an object has no room either */
    ck_assert_int_eq(oak_external_add(p, -2 * MB), 0);
    ck_assert_ptr_nonnull(oak_zone_alloc(z, (size_t)(2 * MB)));
    ck_assert_uint_eq(oak_external_bytes(p), (size_t)MB);
    test_assert_sound();
    OAKI_HOLD(p);
}
END_TEST

/* Garbage makes room, as for an object. */
START_TEST(a_full_zone_is_collected_for_them)
{
    start(-1);
    oak_zone_options c = { .limit = (size_t)(4 * MB) };
    oak_zone *z = oak_zone_new(&c);
    oak_set_gc_percent(100);
    for (int i = 0; i < 100; i++) ck_assert_int_eq(oak_external_add(oak_zone_alloc(z, 32), MB), 0);
    ck_assert_uint_le(external(), (size_t)(4 * MB));
}
END_TEST

/* ---- the heap profile ---- */

static int64_t inuse;

static bool add_up(const oak_profile_site *site, void *ctx)
{
    (void)ctx;
    inuse += site->inuse_bytes;
    return true;
}

static int64_t profiled(void)
{
    oak_profile *p = oak_profile_read(OAK_PROFILE_NOW);
    inuse = 0;
    ck_assert_int_eq(oak_profile_each(p, OAK_PROFILE_INUSE_BYTES, add_up, NULL), 0);
    oak_profile_free(p);
    return inuse;
}

START_TEST(the_profile_shows_them)
{
    start(-1);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    void *p = oak_alloc(32);
    int64_t before = profiled();
    ck_assert_int_eq(oak_external_add(p, 3 * MB), 0);
    ck_assert_int_eq(profiled(), before + 3 * MB);
    oak_free(p);
    ck_assert_int_eq(profiled(), before - 32);
}
END_TEST

START_TEST(the_profile_shows_how_many_there_are)
{
    start(-1);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    char *p = oak_alloc(100000);
    int64_t before = profiled();
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(oak_external_add(p, 3 * MB), 0);
        ck_assert_int_eq(oak_external_add(p, -MB), 0);
        ck_assert_int_eq(profiled(), before + 2 * MB);
        ck_assert_int_eq(oak_external_add(p, -2 * MB), 0);
        ck_assert_int_eq(profiled(), before);
    }
    for (int i = 0; i < 100; i++) ck_assert_int_eq(oak_external_add(p, MB), 0);
    ck_assert_int_eq(profiled(), before + 100 * MB);
    ck_assert(oak_try_resize(p, 50000)); /* the object's size is another sample */
    ck_assert_int_lt(profiled(), before + 100 * MB);
    ck_assert_int_gt(profiled(), before + 100 * MB - 60000);
    test_assert_sound();
    oak_free(p);
    ck_assert_int_lt(profiled(), before);
}
END_TEST

/* With a rate, what is shown is close on average, however it came about. */
START_TEST(the_profile_estimates_how_many_there_are)
{
    enum { OBJECTS = 400 };
    static void *p[OBJECTS];
    start(-1);
    ck_assert_int_eq(oak_profile_set_rate((size_t)1 << 20), 0);
    for (int i = 0; i < OBJECTS; i++) {
        p[i] = oak_alloc(32);
        for (int k = 0; k < 64; k++) ck_assert_int_eq(oak_external_add(p[i], MB / 16), 0);
    }
    ck_assert_int_gt(profiled(), OBJECTS * 4 * MB / 10 * 8);
    ck_assert_int_lt(profiled(), OBJECTS * 4 * MB / 10 * 12);
    for (int i = 0; i < OBJECTS; i++) ck_assert_int_eq(oak_external_add(p[i], -4 * MB), 0);
    ck_assert_int_lt(profiled(), MB * 8);
}
END_TEST

Suite *suite_gc_external(void)
{
    Suite *s = suite_create("gc/external");
    TCase *c = tcase_create("external");
    tcase_add_test(c, bytes_are_those_of_the_object);
    tcase_add_test(c, bad_numbers_change_nothing);
    tcase_add_test(c, what_is_no_object_is_fatal);
    tcase_add_test(c, they_are_gone_with_the_object);
    tcase_add_test(c, a_finalizer_sees_them);
    tcase_add_test(c, they_are_gone_with_the_zone);
    tcase_add_test(c, they_end_where_the_object_is_moved);
    tcase_add_test(c, they_make_collections_due);
    tcase_add_test(c, what_lives_raises_the_goal);
    tcase_add_test(c, they_count_in_the_limit_of_the_zone);
    tcase_add_test(c, a_full_zone_is_collected_for_them);
    tcase_add_test(c, the_profile_shows_them);
    tcase_add_test(c, the_profile_shows_how_many_there_are);
    tcase_add_test(c, the_profile_estimates_how_many_there_are);
    suite_add_tcase(s, c);
    return s;
}

/* held_done.c - a put that is done isn't done again because on_full says that there is room now:
 * other threads, and the handler itself, have seen it. And what waits while a callback runs under a
 * lock. */
#include "tests/heap.h"

#include <check.h>
#include <math.h>
#include <oakum/oakum.h>

Suite *suite_maps_held_done(void);

enum { LIMIT = 1 << 20, MANY = LIMIT / 17 /* entries take more than the limit */ };

static oak_zone *zone;
static size_t calls;

static void start(oak_zone_full on_full)
{
    oak_zone_options o = { .limit = LIMIT, .on_full = on_full };
    oak_config c = test_config();
    c.finalizer_thread = c.concurrent = 0;
    test_heap_start(c);
    ck_assert_ptr_nonnull(zone = oak_zone_new(&o));
    ck_assert_int_eq(oak_zone_enter(zone), 0);
}

/* ---- a cache that is cleared ---- */

static oak_cache *cache;
static unsigned char told[MANY]; /* how often, for each key */

static void note_told(oak_cache *c, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    (void)c, (void)value, (void)why, (void)ctx;
    told[*(const uint64_t *)key]++;
}

static bool clears(oak_zone *z, size_t bytes, void *ctx)
{
    (void)z, (void)bytes, (void)ctx;
    oak_cache_clear(cache);
    calls++;
    return true;
}

/* Its owner may free what it is told of. */
START_TEST(what_the_handler_evicts_does_not_come_back)
{
    oak_cache_config c = { .keys = &oak_map_u64_u64, .max_entries = SIZE_MAX,
                           .flags = _i ? OAK_CACHE_LOCKED : 0, .evicted = note_told };
    start(clears);
    ck_assert_ptr_nonnull(cache = oak_cache_new(&c));
    oak_zone_leave(zone);
    for (uint64_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(oak_cache_put_ex(cache, &i, told, 1, 0), 0);
        ck_assert((oak_cache_get(cache, &i) != NULL) == !told[i]);
        ck_assert_uint_le(told[i], 1);
    }
    ck_assert_uint_gt(calls, 0);
}
END_TEST

/* ---- what can't be found again ---- */

static bool raises(oak_zone *z, size_t bytes, void *ctx)
{
    (void)bytes, (void)ctx;
    (void)oak_zone_set_limit(z, oak_zone_set_limit(z, SIZE_MAX) + (64 << 10));
    calls++;
    return true;
}

START_TEST(a_nan_is_put_once_in_a_part)
{
    static const oak_map_type t = { .key = OAK_KEY_DOUBLE, .value_size = 8 };
    start(raises);
    oak_shardmap *d = oak_shardmap_new(&t, 4, 0);
    oak_zone_leave(zone);
    for (uint64_t i = 0; i < MANY; i++) {
        double key = NAN;
        ck_assert_int_eq(oak_shardmap_put(d, &key, &i), 0);
    }
    ck_assert_uint_gt(calls, 0);
    ck_assert_uint_eq(oak_shardmap_len(d), MANY);
}
END_TEST

/* ---- under a structure's lock ---- */

static oak_shardmap *sharded;
static size_t finalized, finalized_inside;
static bool inside;

/* Uses the structure, which would be the end of the program under its lock. */
static void use_it(void *obj, void *ctx)
{
    uint64_t key = 1;
    (void)obj, (void)ctx;
    finalized++;
    finalized_inside += inside;
    ck_assert_int_eq(oak_shardmap_put(sharded, &key, &key), 0);
}

static void notify(void)
{
    (void)oak_finalizers_run();
}

static void drop_objects(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(oak_finalizer_set(oak_alloc(64), use_it, NULL), 0);
}

/* Finalizers are due inside, and another map is written there. */
static bool collects(void *v, bool there, void *ctx)
{
    oak_map *other = ctx;
    (void)there;
    inside = true;
    oak_collect();
    for (uint64_t i = 0; i < 1000; i++) ck_assert_ptr_nonnull(oak_map_put(other, &i));
    inside = false;
    *(uint64_t *)v = 7;
    return true;
}

START_TEST(finalizers_wait_until_a_callback_under_a_lock_is_over)
{
    uint64_t key = 3;
    oak_config c = test_config();
    c.finalizer_thread = c.concurrent = 0;
    test_heap_start(c);
    sharded = oak_shardmap_new(&oak_map_u64_u64, 1, 0);
    oak_map *other = oak_map_new(&oak_map_u64_u64, 0);
    (void)oak_finalizer_notify(notify);
    test_away(drop_objects, NULL);
    ck_assert_int_eq(oak_shardmap_update(sharded, &key, collects, other), 0);
    ck_assert_uint_gt(finalized, 90);
    ck_assert_uint_eq(finalized_inside, 0);
    ck_assert_uint_eq(oak_map_len(other), 1000);
    ck_assert(oak_shardmap_get(sharded, &key, &key) && key == 7);
}
END_TEST

/* The callback's own allocations are its own to fail, so the handler is asked at once. */
static bool fills(void *v, bool there, void *ctx)
{
    oak_map *other = ctx;
    (void)v, (void)there;
    for (uint64_t i = 0; i < MANY; i++) ck_assert_ptr_nonnull(oak_map_put(other, &i));
    return true;
}

START_TEST(a_callback_under_a_lock_asks_for_room)
{
    uint64_t key = 3;
    start(raises);
    sharded = oak_shardmap_new(&oak_map_u64_u64, 1, 0);
    oak_map *other = oak_map_new(&oak_map_u64_u64, 0);
    ck_assert_int_eq(oak_shardmap_update(sharded, &key, fills, other), 0);
    oak_zone_leave(zone);
    ck_assert_uint_gt(calls, 0);
    ck_assert_uint_eq(oak_map_len(other), MANY);
}
END_TEST

Suite *suite_maps_held_done(void)
{
    Suite *s = suite_create("maps_held_done");
    TCase *t = tcase_create("done");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, what_the_handler_evicts_does_not_come_back, 0, 2);
    tcase_add_test(t, a_nan_is_put_once_in_a_part);
    tcase_add_test(t, finalizers_wait_until_a_callback_under_a_lock_is_over);
    tcase_add_test(t, a_callback_under_a_lock_asks_for_room);
    suite_add_tcase(s, t);
    return s;
}

/* held_done.c - a put that is done isn't done again because on_full says that there is room now:
 * other threads, and the handler itself, have seen it. */
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

Suite *suite_maps_held_done(void)
{
    Suite *s = suite_create("maps_held_done");
    TCase *t = tcase_create("done");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, what_the_handler_evicts_does_not_come_back, 0, 2);
    tcase_add_test(t, a_nan_is_put_once_in_a_part);
    suite_add_tcase(s, t);
    return s;
}

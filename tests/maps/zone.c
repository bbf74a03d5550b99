/* zone.c - maps and zones: a map grows in its own zone, whatever zone its user is in. */
#include "runtime/heap.h"
#include "tests/heap.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <string.h>

Suite *suite_maps_zone(void);

#define N 20000

static oak_zone *home, *away;

static void start(void)
{
    test_heap_start(test_config());
    home = oak_zone_new(NULL);
    away = oak_zone_new(NULL);
}

static uint64_t objects_in(const oak_zone *z)
{
    oak_zone_stats s;
    oak_zone_stats_read(z, &s);
    return s.mallocs;
}

/* What was written from inside `away` is there when that zone has gone. */
static void assert_nothing_away(void)
{
    ck_assert_uint_eq(objects_in(away), 0);
    ck_assert_int_eq(oak_zone_discard(away), 0);
    oak_collect();
    test_assert_sound();
}

/* Keys and values that are large, so that they lie in objects of their own. */
typedef struct wide {
    uint64_t word[40];
} wide;

static const oak_map_type plain = { .key_size = 8, .value_size = 8, .key = OAK_KEY_U64 };
static const oak_map_type cells = { .key_size = sizeof(wide),
                                    .value_size = sizeof(wide),
                                    .key = OAK_KEY_BYTES,
                                    .flags = OAK_MAP_SCAN_KEY | OAK_MAP_SCAN_VALUE };

static void fill_from_away(oak_map *m, size_t n)
{
    ck_assert_int_eq(oak_zone_enter(away), 0);
    for (uint64_t i = 0; i < n; i++) {
        wide key = { .word = { i } };
        uint64_t *v = oak_map_put(m, &key);
        ck_assert_ptr_nonnull(v);
        *v = i;
    }
    for (uint64_t i = 0; i < n; i += 3) {
        wide key = { .word = { i } };
        ck_assert(oak_map_delete(m, &key));
    }
    oak_zone_leave(away);
}

static void assert_filled(const oak_map *m, size_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        wide key = { .word = { i } };
        const uint64_t *v = oak_map_get(m, &key);
        if (i % 3 == 0) ck_assert_ptr_null(v);
        else ck_assert_uint_eq(*v, i);
    }
}

START_TEST(a_map_grows_at_home)
{
    static oak_map *m[2];
    (void)oak_zone_enter(home);
    m[0] = oak_map_new(&plain, 0);
    m[1] = oak_map_new(&cells, 0);
    oak_zone_leave(home);
    fill_from_away(m[0], N);
    fill_from_away(m[1], N / 10);
    assert_nothing_away();
    assert_filled(m[0], N);
    assert_filled(m[1], N / 10);
    ck_assert_int_eq(oak_zone_discard(home), 0);
    oak_collect();
    ck_assert_ptr_null(oak_base(m[0]));
    test_assert_sound();
}
END_TEST

/* What one notes of a crowded group is the map's neighbour, not of the zone that a step is in. */
static uint64_t one_hash(const void *key, uint64_t seed, size_t size)
{
    (void)key;
    (void)size;
    return seed;
}

START_TEST(an_iterator_notes_at_home)
{
    enum { SAME = 500 };
    static const oak_map_type type = { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = one_hash };
    static oak_map_iter it;
    static bool given[SAME];
    oak_map *m = oak_map_new(&type, 0);
    for (uint64_t k = 0; k < SAME; k++) ck_assert_ptr_nonnull(oak_map_put(m, &k));
    oak_map_iter_init(&it, m);
    (void)oak_zone_enter(away);
    for (size_t i = 0; i < SAME / 2; i++) {
        ck_assert(oak_map_iter_next(&it));
        given[*(const uint64_t *)it.key] = true;
    }
    oak_zone_leave(away);
    assert_nothing_away();
    ck_assert_ptr_nonnull(oak_map_put(m, &(uint64_t){ SAME }));
    while (oak_map_iter_next(&it))
        if (*(const uint64_t *)it.key < SAME) given[*(const uint64_t *)it.key] = true;
    for (size_t k = 0; k < SAME; k++) ck_assert_msg(given[k], "%zu was left out", k);
}
END_TEST

START_TEST(a_map_of_the_default_zone_stays_there)
{
    static oak_map *m;
    m = oak_map_new(&plain, 0);
    fill_from_away(m, N);
    assert_nothing_away();
    assert_filled(m, N);
}
END_TEST

START_TEST(the_classic_map_grows_at_home)
{
    static oak_classic_map *m;
    (void)oak_zone_enter(home);
    m = oak_classic_new(&oak_classic_int_int, 0);
    oak_zone_leave(home);
    (void)oak_zone_enter(away);
    for (uint64_t i = 0; i < N; i++) *(uint64_t *)oak_classic_put(m, &i) = i;
    oak_zone_leave(away);
    assert_nothing_away();
    for (uint64_t i = 0; i < N; i++) ck_assert_uint_eq(*(uint64_t *)oak_classic_get(m, &i), i);
}
END_TEST

START_TEST(what_is_built_on_maps_grows_at_home)
{
    static oak_syncmap *sync;
    static oak_shardmap *shards;
    static oak_weakvalue *weak;
    static oak_weakkey *by_key;
    static void *obj[N];
    (void)oak_zone_enter(home);
    sync = oak_syncmap_new(&oak_map_u64_ptr);
    shards = oak_shardmap_new(&plain, 4, 0);
    weak = oak_weakvalue_new(&oak_map_u64_ptr, 0, 0);
    by_key = oak_weakkey_new(0, 0);
    oak_zone_leave(home);
    for (uint64_t i = 0; i < N; i++) obj[i] = oak_alloc(16);
    (void)oak_zone_enter(away);
    for (uint64_t i = 0; i < N; i++) {
        ck_assert_int_eq(oak_syncmap_store(sync, &i, obj[i]), 0);
        ck_assert_int_eq(oak_shardmap_put(shards, &i, &i), 0);
        ck_assert_int_eq(oak_weakvalue_put(weak, &i, obj[i]), 0);
        ck_assert_int_eq(oak_weakkey_put(by_key, obj[i], obj[i]), 0);
    }
    oak_zone_leave(away);
    assert_nothing_away();
    for (uint64_t i = 0; i < N; i++) {
        void *v = NULL;
        uint64_t n = 0;
        ck_assert(oak_syncmap_load(sync, &i, &v));
        ck_assert_ptr_eq(v, obj[i]);
        ck_assert(oak_shardmap_get(shards, &i, &n));
        ck_assert_uint_eq(n, i);
        ck_assert_ptr_eq(oak_weakvalue_get(weak, &i), obj[i]);
        ck_assert_ptr_eq(oak_weakkey_get(by_key, obj[i]), obj[i]);
    }
}
END_TEST

/* A pool outlives the zone that it was made in, and those that use it. */
START_TEST(a_pool_is_in_no_zone)
{
    static oak_pool *p;
    static void *obj[200];
    test_once();
    (void)oak_zone_enter(home);
    p = oak_pool_new(NULL, NULL, NULL);
    oak_zone_leave(home);
    for (int i = 0; i < 200; i++) obj[i] = oak_alloc(32);
    (void)oak_zone_enter(away);
    for (int i = 0; i < 200; i++) oak_pool_put(p, obj[i]);
    oak_zone_leave(away);
    ck_assert_int_eq(oak_zone_discard(home), 0);
    assert_nothing_away();
    int n = 0;
    while (oak_pool_get(p)) n++;
    ck_assert_int_eq(n, 200);
    oak_collect();
    test_assert_sound();
}
END_TEST

Suite *suite_maps_zone(void)
{
    Suite *s = suite_create("maps/zone");
    TCase *c = tcase_create("zone");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_map_grows_at_home);
    tcase_add_test(c, an_iterator_notes_at_home);
    tcase_add_test(c, a_map_of_the_default_zone_stays_there);
    tcase_add_test(c, the_classic_map_grows_at_home);
    tcase_add_test(c, what_is_built_on_maps_grows_at_home);
    tcase_add_test(c, a_pool_is_in_no_zone);
    suite_add_tcase(s, c);
    return s;
}

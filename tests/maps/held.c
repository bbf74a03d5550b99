/* held.c - functions of the program that an allocation calls run while no map is halfway through a
 * write, and no structure's lock is held: on_full of a zone, the notifier. */
#include "runtime/options.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <oakum/oakum.h>
#include <string.h>

Suite *suite_maps_held(void);

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)

/* ---- the kinds ---- */

typedef struct wide {
    uint64_t word[20]; /* too large for a slot */
} wide;

typedef struct kind {
    const char *name;
    void *(*new)(void);
    bool (*put)(void *m, uint64_t i);
    bool (*has)(void *m, uint64_t i);
    void (*delete)(void *m, uint64_t i);
    void (*clear)(void *m);
    size_t (*len)(void *m);
} kind;

enum { KINDS = 8, PLACES = 3 /* the puts of the first ones return a place */ };

static void *new_map(void)
{
    return oak_map_new(&oak_map_u64_u64, 0);
}

static bool put_map(void *m, uint64_t i)
{
    uint64_t *v = oak_map_put(m, &i);
    if (v) *v = i;
    return v;
}

static bool has_map(void *m, uint64_t i)
{
    const uint64_t *v = oak_map_get(m, &i);
    return v && *v == i;
}

static void delete_map(void *m, uint64_t i)
{
    (void)oak_map_delete(m, &i);
}

static void clear_map(void *m)
{
    oak_map_clear(m);
}

static size_t len_map(void *m)
{
    return oak_map_len(m);
}

static void *new_wide(void)
{
    static const oak_map_type t = { .key_size = sizeof(wide),
                                    .value_size = sizeof(wide),
                                    .key = OAK_KEY_BYTES };
    return oak_map_new(&t, 0);
}

static bool put_wide(void *m, uint64_t i)
{
    wide key = { .word = { i } }, *v = oak_map_put(m, &key);
    if (v) v->word[19] = i;
    return v;
}

static bool has_wide(void *m, uint64_t i)
{
    wide key = { .word = { i } };
    const wide *v = oak_map_get(m, &key);
    return v && v->word[19] == i;
}

static void delete_wide(void *m, uint64_t i)
{
    wide key = { .word = { i } };
    (void)oak_map_delete(m, &key);
}

static void *new_classic(void)
{
    return oak_classic_new(&oak_classic_int_int, 0);
}

static bool put_classic(void *m, uint64_t i)
{
    uint64_t *v = oak_classic_put(m, &i);
    if (v) *v = i;
    return v;
}

static bool has_classic(void *m, uint64_t i)
{
    const uint64_t *v = oak_classic_get(m, &i);
    return v && *v == i;
}

static void delete_classic(void *m, uint64_t i)
{
    (void)oak_classic_delete(m, &i);
}

static void clear_classic(void *m)
{
    oak_classic_clear(m);
}

static size_t len_classic(void *m)
{
    return oak_classic_len(m);
}

static uint64_t value; /* of caches, which want a pointer */

static void *new_cache_with(unsigned flags)
{
    oak_cache_config c = { .keys = &oak_map_u64_u64, .max_entries = SIZE_MAX, .flags = flags };
    return oak_cache_new(&c);
}

static void *new_cache(void)
{
    return new_cache_with(0);
}

static void *new_locked(void)
{
    return new_cache_with(OAK_CACHE_LOCKED);
}

static bool put_cache(void *m, uint64_t i)
{
    return oak_cache_put_ex(m, &i, &value, 1, 0) == 0;
}

static bool has_cache(void *m, uint64_t i)
{
    return oak_cache_get(m, &i) == &value;
}

static void delete_cache(void *m, uint64_t i)
{
    (void)oak_cache_delete(m, &i);
}

static void clear_cache(void *m)
{
    oak_cache_clear(m);
}

static size_t len_cache(void *m)
{
    oak_cache_stats s;
    oak_cache_stats_read(m, &s);
    return s.entries;
}

static void *new_shards(void)
{
    return oak_shardmap_new(&oak_map_u64_u64, 4, 0);
}

static bool put_shards(void *m, uint64_t i)
{
    return oak_shardmap_put(m, &i, &i) == 0;
}

static bool update(void *v, bool there, void *ctx)
{
    (void)there;
    memcpy(v, ctx, 8);
    return true;
}

static bool update_shards(void *m, uint64_t i)
{
    return oak_shardmap_update(m, &i, update, &i) >= 0;
}

static bool has_shards(void *m, uint64_t i)
{
    uint64_t v;
    return oak_shardmap_get(m, &i, &v) && v == i;
}

static void delete_shards(void *m, uint64_t i)
{
    (void)oak_shardmap_delete(m, &i);
}

static void clear_shards(void *m)
{
    oak_shardmap_clear(m);
}

static size_t len_shards(void *m)
{
    return oak_shardmap_len(m);
}

static void *new_sync(void)
{
    return oak_syncmap_new(&oak_map_u64_u64);
}

static bool put_sync(void *m, uint64_t i)
{
    return oak_syncmap_store(m, &i, &value) == 0;
}

static bool has_sync(void *m, uint64_t i)
{
    void *v;
    return oak_syncmap_load(m, &i, &v) && v == &value;
}

static void delete_sync(void *m, uint64_t i)
{
    (void)oak_syncmap_delete(m, &i);
}

static void clear_sync(void *m)
{
    oak_syncmap_clear(m);
}

static size_t len_sync(void *m)
{
    return oak_syncmap_len(m);
}

static const kind kinds[KINDS] = {
    { "map", new_map, put_map, has_map, delete_map, clear_map, len_map },
    { "wide", new_wide, put_wide, has_wide, delete_wide, clear_map, len_map },
    { "classic", new_classic, put_classic, has_classic, delete_classic, clear_classic,
      len_classic },
    { "cache", new_cache, put_cache, has_cache, delete_cache, clear_cache, len_cache },
    { "locked cache", new_locked, put_cache, has_cache, delete_cache, clear_cache, len_cache },
    { "shards", new_shards, put_shards, has_shards, delete_shards, clear_shards, len_shards },
    { "updated shards", new_shards, update_shards, has_shards, delete_shards, clear_shards,
      len_shards },
    { "syncmap", new_sync, put_sync, has_sync, delete_sync, clear_sync, len_sync },
};

static const kind *now;
static void *m;
static oak_zone *zone;
static size_t calls;

static void start(int i, size_t limit, oak_zone_full on_full)
{
    oak_zone_options o = { .limit = limit, .on_full = on_full };
    oak_config c = test_config();
    c.finalizer_thread = c.concurrent = 0; /* or the notifier would run on the collector's thread */
    test_heap_start(c);
    now = &kinds[i];
    zone = oak_zone_new(&o);
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    m = now->new();
    oak_zone_leave(zone);
    ck_assert_ptr_nonnull(m);
}

/* ---- on_full ---- */

/* So many entries take more than the limit, in each structure. */
static size_t limit(void)
{
    return test_slow() ? MB / 4 : MB;
}

static size_t many(void)
{
    return limit() / 17;
}

static bool clears(oak_zone *z, size_t bytes, void *ctx)
{
    (void)ctx;
    ck_assert_uint_gt(bytes, 0);
    ck_assert_ptr_eq(z, zone);
    ck_assert_uint_eq(now->has(m, UINT64_MAX), false); /* the structure may be used */
    now->clear(m);
    calls++;
    return true;
}

/* A put that returns a place is done again. Another one is over before the handler runs. */
START_TEST(the_handler_may_clear_the_map_that_asks)
{
    start(_i, limit(), clears);
    for (uint64_t i = 0; i < many(); i++) {
        size_t before = calls;
        ck_assert_msg(now->put(m, i), "%s: put %llu", now->name, (unsigned long long)i);
        ck_assert_msg(now->has(m, i) || (_i >= PLACES && calls > before), "%s: get %llu", now->name,
                      (unsigned long long)i);
    }
    ck_assert_uint_gt(calls, 0);
    ck_assert_uint_gt(now->len(m), 0);
    test_assert_sound();
}
END_TEST

static bool raises(oak_zone *z, size_t bytes, void *ctx)
{
    (void)bytes;
    (void)ctx;
    calls++;
    (void)oak_zone_set_limit(z, oak_zone_set_limit(z, SIZE_MAX) + 64 * KB);
    return true;
}

START_TEST(the_handler_may_raise_the_limit)
{
    start(_i, limit(), raises);
    size_t n = many();
    for (uint64_t i = 0; i < n; i++)
        ck_assert_msg(now->put(m, i), "%s: put %llu", now->name, (unsigned long long)i);
    ck_assert_uint_gt(calls, 2);
    ck_assert_uint_eq(now->len(m), n);
    for (uint64_t i = 0; i < n; i++) ck_assert(now->has(m, i));
    test_assert_sound();
}
END_TEST

static bool refuses(oak_zone *z, size_t bytes, void *ctx)
{
    (void)z;
    (void)bytes;
    (void)ctx;
    calls++;
    (void)now->len(m);
    now->delete(m, 0);
    return false;
}

START_TEST(a_put_that_is_refused_changes_nothing)
{
    start(_i, MB, refuses);
    uint64_t n = 0;
    errno = 0;
    while (now->put(m, n)) n++;
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_gt(n, 500);
    ck_assert_uint_gt(calls, 0);
    ck_assert(!now->has(m, 0) && !now->has(m, n)); /* the handler's delete, and what failed */
    for (uint64_t i = 1; i < n; i++) ck_assert(now->has(m, i));
    (void)oak_zone_set_limit(zone, 0);
    ck_assert(now->put(m, n) && now->has(m, n));
    ck_assert_uint_eq(now->len(m), n);
    test_assert_sound();
}
END_TEST

/* Keys below 64 have their home in the last bucket of an array of any size, others elsewhere. */
static uint64_t hash_heavily(const void *key, uint64_t seed, size_t size)
{
    uint64_t k;
    (void)seed;
    memcpy(&k, key, size);
    return k << 56 | (k < 64 ? 0xffff : (k * 2) & 0xffff);
}

static bool deletes_in_vain(oak_zone *z, size_t bytes, void *ctx)
{
    uint64_t k = 1;
    (void)z;
    (void)bytes;
    if (!AO_load((AO_t *)ctx)) return false;
    ck_assert_uint_eq(++calls, 1);
    ck_assert(oak_classic_delete(m, &k));
    return false;
}

/* The step of a growth finds no room, neither in the put nor in the handler's delete. The handler
 * is called once, as its own writes ask for no room. */
START_TEST(a_write_in_the_handler_that_finds_no_room_asks_for_none)
{
    static const oak_classic_type heavy = { 8, 8, hash_heavily, oak_classic_equal_bytes, 0 };
    static AO_t deletes;
    oak_zone_options o = { .limit = MB / 4, .on_full = deletes_in_vain, .ctx = &deletes };
    oak_classic_stats s = { .growing = false };
    uint64_t known = 5, n = 0;
    size_t used = 0;
    test_heap_start(test_config());
    void **filled = oak_alloc(MB / 2);
    zone = oak_zone_new(&o);
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    m = oak_classic_new(&heavy, 0);
    for (; n < 39; n++) ck_assert_ptr_nonnull(oak_classic_put(m, &n));
    for (n = 65; !s.growing; n++, oak_classic_stats_read(m, &s))
        ck_assert_ptr_nonnull(oak_classic_put(m, &n));
    for (size_t size = 16384; size >= 16; size = size > 1024 ? size / 2 : size - 16)
        for (void *p; (p = oak_alloc(size)) || (p = oak_alloc_noscan(size));) filled[used++] = p;
    oak_zone_leave(zone);
    AO_store(&deletes, 1);
    ck_assert_ptr_nonnull(oak_classic_put(m, &known));
    ck_assert_uint_eq(calls, 1);
    oak_free(filled);
}
END_TEST

/* A thread in the handler wants a mutex whose holder wants the structure. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static AO_t taken, asked;

static bool waits(oak_zone *z, size_t bytes, void *ctx)
{
    AO_store_release(&asked, 1);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return raises(z, bytes, ctx);
}

static void *looks(void *arg)
{
    pthread_mutex_lock(&mutex);
    AO_store_release(&taken, 1);
    test_wait(&asked, 1);
    ck_assert(!now->has(m, UINT64_MAX));
    pthread_mutex_unlock(&mutex);
    return arg;
}

START_TEST(no_lock_is_held_in_the_handler)
{
    start(_i, MB, waits);
    pthread_t id = test_start(looks, NULL);
    test_wait(&taken, 1);
    for (uint64_t i = 0; !AO_load(&asked); i++) ck_assert(now->put(m, i));
    test_join(id);
}
END_TEST

/* ---- the notifier ---- */

static size_t deleted;

static void finalize(void *obj, void *ctx)
{
    (void)ctx;
    uint64_t i = *(uint64_t *)obj;
    deleted += now->has(m, i);
    now->delete(m, i);
}

static void notify(void)
{
    calls++;
    (void)oak_finalizers_run();
}

/* Each key has an object, whose finalizer deletes the key. Two of three are dropped at once. */
START_TEST(finalizers_may_delete_from_the_map_that_is_written)
{
    static uint64_t *kept[1000];
    start(_i, 0, NULL);
    (void)oak_finalizer_notify(notify);
    size_t n = test_scale(900);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t *obj = oak_alloc(8 + i % 2 * 600);
        *obj = i;
        ck_assert_int_eq(oak_finalizer_set(obj, finalize, NULL), 0);
        if (i % 3 == 0) kept[i / 3] = obj;
        obj = NULL;
        oaki_debug_switches.stress = i % 2 + 1; /* most allocations of the put */
        ck_assert_msg(now->put(m, i), "%s: put %llu", now->name, (unsigned long long)i);
        oaki_debug_switches.stress = 0;
    }
    ck_assert_uint_gt(calls, 0);
    for (int i = 0; i < 3; i++) oak_collect();
    ck_assert_uint_gt(deleted, n / 2);
    ck_assert_uint_eq(now->len(m), n - deleted);
    for (uint64_t i = 0; i < n; i += 3) ck_assert(now->has(m, i) && *kept[i / 3] == i);
    test_assert_sound();
}
END_TEST

static void count(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    calls++;
}

/* Garbage whose finalizers are to run first fills the heap; each put needs room of it. */
START_TEST(finalizers_make_room_for_a_write)
{
    enum { LIMIT = 8 << 20, REST = 300 << 10 };
    oak_config c = test_config();
    c.concurrent = 0;
    c.finalizer_thread = _i % 2;
    test_heap_start(c);
    if (!c.finalizer_thread) (void)oak_finalizer_notify(notify);
    now = &kinds[_i / 2];
    m = now->new();
    ck_assert_uint_eq(oak_set_heap_max(LIMIT), 0);
    for (oak_memstats s = test_stats(); s.heap_inuse + REST < LIMIT; s = test_stats())
        ck_assert_int_eq(oak_finalizer_set(oak_alloc(4096), count, NULL), 0);
    for (uint64_t i = 0, n = now->new == new_wide ? 3000 : 40000; i < n; i++)
        ck_assert_msg(now->put(m, i), "%s: put %llu", now->name, (unsigned long long)i);
    (void)oak_set_heap_max(0);
}
END_TEST

/* Keys that can't be found again are added once each, whatever runs. */
START_TEST(a_nan_is_added_once)
{
    static const oak_map_type t = { .key = OAK_KEY_DOUBLE, .value_size = 8 };
    start(0, 0, NULL);
    oak_map *d = oak_map_new(&t, 0);
    (void)oak_finalizer_notify(notify);
    for (uint64_t i = 0; i < 500; i++) {
        uint64_t *obj = oak_alloc(8);
        *obj = UINT64_MAX;
        ck_assert_int_eq(oak_finalizer_set(obj, finalize, NULL), 0);
        obj = NULL;
        double key = NAN;
        oaki_debug_switches.stress = 1;
        uint64_t *v = oak_map_put(d, &key);
        oaki_debug_switches.stress = 0;
        *v = i;
        ck_assert_uint_eq(oak_map_len(d), i + 1);
    }
    uint64_t sum = 0;
    oak_map_iter it;
    oak_map_iter_init(&it, d);
    while (oak_map_iter_next(&it)) sum += *(uint64_t *)it.value;
    ck_assert_uint_eq(sum, 500 * 499 / 2);
    ck_assert_uint_gt(calls, 0);
}
END_TEST

/* ---- other calls that allocate ---- */

START_TEST(room_is_reserved_when_the_handler_has_made_it)
{
    start(0, 100 * KB, raises);
    ck_assert_int_eq(oak_map_reserve(m, 200000), 0); /* of the tags */
    ck_assert_uint_gt(calls, 2);
    for (uint64_t i = 0; i < 200000; i++) ck_assert(now->put(m, i));
    calls = 0;
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    oak_map *c = oak_map_copy(m);
    oak_zone_leave(zone);
    ck_assert_ptr_nonnull(c);
    ck_assert_uint_gt(calls, 2);
    for (uint64_t i = 0; i < 200000; i++) ck_assert(has_map(c, i));
}
END_TEST

Suite *suite_maps_held(void)
{
    Suite *s = suite_create("maps_held");
    TCase *t = tcase_create("held");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, the_handler_may_clear_the_map_that_asks, 0, KINDS);
    tcase_add_loop_test(t, the_handler_may_raise_the_limit, 0, KINDS);
    tcase_add_loop_test(t, a_put_that_is_refused_changes_nothing, 0, KINDS);
    tcase_add_test(t, a_write_in_the_handler_that_finds_no_room_asks_for_none);
    tcase_add_loop_test(t, no_lock_is_held_in_the_handler, 0, KINDS);
    tcase_add_loop_test(t, finalizers_may_delete_from_the_map_that_is_written, 0, KINDS);
    tcase_add_loop_test(t, finalizers_make_room_for_a_write, 0, 2 * KINDS);
    tcase_add_test(t, a_nan_is_added_once);
    tcase_add_test(t, room_is_reserved_when_the_handler_has_made_it);
    suite_add_tcase(s, t);
    return s;
}

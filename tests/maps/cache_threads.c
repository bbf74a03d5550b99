/* cache_threads.c - tests of a cache with a lock: threads put, get, delete, clear, walk and expire
 * at once, callbacks use the cache, collections come in between; nothing is lost or told of twice.
 * */
#include "maps/cache.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

Suite *suite_maps_cache_threads(void);

enum { THREADS = 4, KEYS = 500 };

static oak_cache *c;
static AO_t time_ns, put_count, told_count, wrong;

typedef struct item {
    uint64_t key;
    AO_t told;
} item;

static uint64_t fake_clock(void *ctx)
{
    (void)ctx;
    return (uint64_t)AO_load(&time_ns) + 1;
}

static void told(oak_cache *of, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    item *it = value;
    (void)ctx;
    (void)why;
    if (it->key != *(const uint64_t *)key || AO_fetch_and_add_full(&it->told, 1) != 0)
        AO_store(&wrong, 1);
    AO_fetch_and_add(&told_count, 1);
    (void)oak_cache_get(of, &(uint64_t){ it->key + 1 });
}

static bool walk(const void *key, void *value, void *ctx)
{
    size_t *n = ctx;
    if (((item *)value)->key != *(const uint64_t *)key) AO_store(&wrong, 1);
    return ++*n < KEYS * 10;
}

static void operate(size_t r)
{
    uint64_t key = r >> 20 & 511;
    size_t n = 0;
    item *it;
    if (key >= KEYS) key -= KEYS;
    switch (r >> 40 & 15) {
    case 0:
        oak_cache_delete(c, &key);
        break;
    case 1:
        AO_fetch_and_add(&time_ns, r >> 44 & 0xfffff);
        break;
    case 2:
        if ((r >> 50 & 255) == 0) oak_cache_clear(c);
        if ((r >> 50 & 255) == 1) oak_cache_each(c, walk, &n);
        if ((r >> 50 & 255) == 2) oak_collect();
        if ((r >> 50 & 255) == 3) oak_cache_set_limit(c, 50 + (r >> 30 & 255), 0);
        break;
    case 3:
        (void)oak_cache_purge_expired(c, 5);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        it = oak_cache_get(c, &key);
        if (it && it->key != key) AO_store(&wrong, 1);
        break;
    default:
        it = oak_alloc(sizeof *it);
        it->key = key;
        if (oak_cache_put(c, &key, it) == 0)
            AO_fetch_and_add(&put_count, 1);
        else
            AO_store(&wrong, 2);
    }
}

static void *work(void *arg)
{
    size_t x = (size_t)arg + 1;
    for (size_t i = 0, n = test_scale(100000); i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        operate(x * 0x2545f4914f6cdd1d);
    }
    return NULL;
}

START_TEST(threads_share_a_cache)
{
    pthread_t t[THREADS];
    oak_cache_stats s;
    oak_cache_config f = { .keys = &oak_map_u64_ptr,
                           .max_entries = 200,
                           .ttl = 40000000,
                           .flags = OAK_CACHE_LOCKED,
                           .evicted = told,
                           .clock = fake_clock };
    c = oak_cache_new(&f);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, work, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    const char *broken = oaki_cache_check(c);
    ck_assert_msg(!broken, "%s", broken);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    oak_cache_stats_read(c, &s);
    ck_assert_uint_eq(AO_load(&put_count), AO_load(&told_count) + s.entries);
    ck_assert(s.evictions > 0 && s.expirations > 0 && s.hits > 0);
    oak_cache_clear(c);
    ck_assert_uint_eq(AO_load(&put_count), AO_load(&told_count));
}
END_TEST

/* ---- callbacks at once ---- */

enum { AT_ONCE = 1005 }; /* more than may be in each other */

static void stay(oak_cache *of, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    (void)of, (void)key, (void)value, (void)why, (void)ctx;
    AO_fetch_and_add_full(&test_standing, 1);
    while (!AO_load_acquire(&test_go)) oaki_os_sleep_ns(5000000);
}

static void *put_one(void *arg)
{
    uint64_t key = (uint64_t)(uintptr_t)arg;
    if (oak_cache_put(c, &key, &c) != 0) AO_store(&wrong, 1);
    return NULL;
}

START_TEST(callbacks_of_many_threads_are_not_in_each_other)
{
    static pthread_t id[AT_ONCE];
    pthread_attr_t small;
    if (test_skip_slow()) return; /* fewer threads are to be had */
    test_heap_start(test_config());
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = 1, .flags = OAK_CACHE_LOCKED,
                           .evicted = stay };
    c = oak_cache_new(&f);
    put_one(NULL);
    ck_assert_int_eq(pthread_attr_init(&small), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN + (128 << 10)), 0);
    size_t n = 0;
    while (n < AT_ONCE && pthread_create(&id[n], &small, put_one, (void *)(n + 1)) == 0) n++;
    if (n < AT_ONCE) printf("this system has %zu threads at most: too few\n", n);
    test_wait(&test_standing, n);
    AO_store_release(&test_go, 1);
    while (n > 0) test_join(id[--n]);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    ck_assert_ptr_null(oaki_cache_check(c));
}
END_TEST

Suite *suite_maps_cache_threads(void)
{
    Suite *s = suite_create("maps_cache_threads");
    TCase *tc = tcase_create("threads");
    tcase_add_test(tc, threads_share_a_cache);
    tcase_add_test(tc, callbacks_of_many_threads_are_not_in_each_other);
    suite_add_tcase(s, tc);
    return s;
}

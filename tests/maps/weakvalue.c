/* weakvalue.c - tests of maps/weakvalue.c, and of what it shares with weak keys (maps/weakmap.c):
 * what lives, what dies, and how the dead leave.
 *
 * Entries are made on threads that end, so that no stack keeps anything. */
#include "weak.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

Suite *suite_maps_weakvalue(void);

enum { N = 400 };
/* A stack or a register may hold a stray word. */
enum { LUCK = 4 };

static oak_weakvalue *m;
static void *held[N]; /* a root */

static void make(const oak_map_type *keys, unsigned flags)
{
    m = oak_weakvalue_new(keys, flags, 0);
    ck_assert_ptr_nonnull(m);
}

static void *get(uint64_t key)
{
    return oak_weakvalue_get(m, &key);
}

static void fill(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t *value = oak_alloc(32);
        *value = i;
        if (i % 2) held[i] = value;
        if (oak_weakvalue_put(m, &i, value) != 0) ck_abort_msg("put %d", (int)i);
        if (get(i) != value) ck_abort_msg("get %d", (int)i);
    }
}

static void count_alive(void *arg)
{
    size_t *n = arg;
    *n = 0;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t *value = get(i);
        if (value && *value != i) ck_abort_msg("value %d", (int)i);
        if (held[i] && value != held[i]) ck_abort_msg("%d is held, and not there", (int)i);
        *n += value != NULL;
    }
}

static void expect_alive(size_t expected)
{
    size_t n;
    test_build(count_alive, &n);
    ck_assert_uint_ge(n, expected);
    ck_assert_uint_le(n, expected + LUCK);
}

/* ---- what lives ---- */

START_TEST(a_value_that_only_the_map_knows_dies)
{
    make(&oak_map_u64_ptr, 0);
    test_build(fill, NULL);
    expect_alive(N);
    ck_assert_uint_eq(oak_weakvalue_len(m), N);
    oak_collect();
    expect_alive(N / 2);
    ck_assert_uint_le(oak_weakvalue_len(m), N / 2 + LUCK);
    memset(held, 0, sizeof held);
    oak_collect();
    expect_alive(0);
    ck_assert_uint_le(oak_weakvalue_len(m), LUCK);
}
END_TEST

/* As short weak references: gone before the finalizer runs, and for good. */
static void bring_back(void *obj, void *ctx)
{
    (void)ctx;
    held[1] = obj;
}

static void put_finalizable(void *arg)
{
    (void)arg;
    uint64_t key = 7;
    void *value = oak_alloc(32);
    oak_finalizer_set(value, bring_back, NULL);
    oak_weakvalue_put(m, &key, value);
}

START_TEST(a_value_is_gone_before_its_finalizer_runs)
{
    test_start(0);
    make(&oak_map_u64_ptr, 0);
    test_build(put_finalizable, NULL);
    ck_assert_ptr_nonnull(get(7));
    oak_collect();
    ck_assert_ptr_null(get(7));
    ck_assert_uint_eq(test_run_finalizers(), 1);
    ck_assert_ptr_nonnull(held[1]);
    ck_assert_ptr_null(get(7));
    uint64_t key = 7; /* what came back may be put again */
    ck_assert_int_eq(oak_weakvalue_put(m, &key, held[1]), 0);
    ck_assert_ptr_eq(get(7), held[1]);
}
END_TEST

START_TEST(a_put_replaces_and_a_delete_says_what_was)
{
    make(&oak_map_u64_ptr, 0);
    uint64_t key = 1;
    char *a = held[0] = oak_alloc(100), *b = held[1] = oak_alloc(100);
    ck_assert_int_eq(oak_weakvalue_put(m, &key, a), 0);
    ck_assert_ptr_eq(oak_weakvalue_intern(m, &key, b), a);
    ck_assert_int_eq(oak_weakvalue_put(m, &key, b + 50), 0); /* into an object */
    ck_assert_ptr_eq(get(1), b + 50);
    ck_assert_uint_eq(oak_weakvalue_len(m), 1);
    ck_assert(oak_weakvalue_delete(m, &key));
    ck_assert(!oak_weakvalue_delete(m, &key));
    ck_assert_ptr_eq(oak_weakvalue_intern(m, &key, a), a);
    held[0] = NULL;
    oak_free(a); /* counts as gone at once */
    ck_assert_ptr_null(get(1));
    ck_assert(!oak_weakvalue_delete(m, &key));
    ck_assert_ptr_eq(oak_weakvalue_intern(m, &key, b), b);
    oak_weakvalue_clear(m);
    ck_assert_uint_eq(oak_weakvalue_len(m), 0);
    ck_assert_ptr_null(get(1));
}
END_TEST

/* The map keeps its keys, until their entry is removed. */
static oak_weak *text[N];

static void fill_texts(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N; i++) {
        char *key = oak_alloc_noscan(16);
        snprintf(key, 16, "key%zu", i);
        text[i] = oak_weak_new(key);
        void *value = oak_alloc(16);
        if (i % 2) held[i] = value;
        oak_weakvalue_put(m, &key, value);
    }
}

static size_t texts_alive(void)
{
    size_t n = 0;
    for (size_t i = 0; i < N; i++) n += oak_weak_get(text[i]) != NULL;
    return n;
}

START_TEST(keys_live_as_long_as_their_entries)
{
    make(&oak_map_cstring_ptr, 0);
    test_build(fill_texts, NULL);
    oak_collect();
    ck_assert_uint_eq(texts_alive(), N);
    while (oak_weakvalue_purge(m, 100)) {
    }
    ck_assert(test_is_zero(m->w.key, sizeof(void *)));
    oak_collect();
    ck_assert_uint_le(texts_alive(), N / 2 + LUCK);
    for (size_t i = 1; i < N; i += 2) {
        char room[16], *key = room;
        snprintf(room, 16, "key%zu", i);
        ck_assert_ptr_eq(oak_weakvalue_get(m, &key), held[i]);
    }
}
END_TEST

/* ---- how the dead leave ---- */

static void fill_many(void *n)
{
    for (uint64_t i = 0; i < (uint64_t)(uintptr_t)n; i++)
        if (oak_weakvalue_put(m, &i, oak_alloc_noscan(16)) != 0) ck_abort_msg("put");
}

static void *look_for_none(void)
{
    return get(UINT64_MAX);
}

START_TEST(many_dead_values_leave_in_small_steps)
{
    test_heap_start(test_config());
    make(&oak_map_u64_ptr, 0);
    test_many_dead(&m->w, fill_many, look_for_none, LUCK);
}
END_TEST

/* A pool whose objects are dropped at once stays small by puts alone. */
static void churn(void *n)
{
    for (uint64_t i = 0; i < (uint64_t)(uintptr_t)n; i++) {
        void *value = oak_alloc(200);
        held[i % N] = value;
        if (oak_weakvalue_put(m, &i, value) != 0) ck_abort_msg("put");
    }
}

START_TEST(puts_alone_keep_a_pool_small)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    c.min_heap = 1 << 20;
    test_heap_start(c);
    make(&oak_map_u64_ptr, 0);
    oak_collect();
    size_t empty = test_stats().next_gc; /* more than min_heap where the globals are large */
    size_t n = test_slow() ? 250000 : 1000000;
    test_away(churn, (void *)n);
    printf("maps/weakvalue: %zu of %zu entries after %d collections\n", m->w.in.map->len, n,
           (int)test_stats().num_gc);
    /* What dies is known at the next collection, and looked at before the one after that. */
    ck_assert_uint_ge(test_stats().num_gc, 2);
    ck_assert_uint_le(m->w.in.map->len, 2 * n / test_stats().num_gc + N);
    ck_assert_uint_le(test_stats().heap_sys, ((size_t)32 << 20) + empty);
}
END_TEST

/* ---- no memory to look at them ---- */

static uint64_t one_hash(const void *key, uint64_t seed, size_t size)
{
    (void)key;
    (void)size;
    return seed;
}

/* So many entries share a home that to walk over them takes memory. Where there is none the look at
 * the dead begins again, and not with the next collection: there may be none. */
START_TEST(a_look_that_finds_no_memory_begins_again)
{
    static const oak_map_type crowded = { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = one_hash };
    test_heap_start(test_config());
    make(&crowded, 0);
    test_build(fill_many, (void *)N);
    oak_collect();
    oak_gc_disable();
    uint32_t cycles = test_stats().num_gc;
    oaki_debug_switches.failalloc = 1;
    for (size_t size = 16; size <= 32768; size *= 2)
        while (oak_alloc_noscan(size)) {
        }
    for (int i = 0; i < 3; i++) ck_assert(oak_weakvalue_purge(m, SIZE_MAX));
    ck_assert_uint_eq(m->w.in.map->len, N);
    oaki_debug_switches.failalloc = 0;
    while (oak_weakvalue_purge(m, SIZE_MAX)) {
    }
    ck_assert_uint_le(m->w.in.map->len, LUCK);
    ck_assert_uint_eq(test_stats().num_gc, cycles);
}
END_TEST

/* ---- walks ---- */

static size_t seen[N];

static bool walk(const void *key, void *value, void *ctx)
{
    uint64_t k = *(const uint64_t *)key;
    ck_assert_uint_eq(*(uint64_t *)value, k);
    seen[k]++;
    if (ctx) {
        uint64_t other = (k + 1) % N;
        if (!seen[other] && oak_weakvalue_delete(m, &other)) seen[other] = 1;
        (void)oak_weakvalue_get(m, key);
        if (k % 7 == 0) oak_collect();
    }
    return k != N;
}

START_TEST(a_walk_gives_the_living_once)
{
    make(&oak_map_u64_ptr, _i ? OAK_WEAK_LOCKED : 0);
    oak_gc_disable();
    test_build(fill, NULL);
    ck_assert_int_eq(oak_weakvalue_each(m, walk, NULL), 0);
    oak_gc_enable();
    for (size_t i = 0; i < N; i++) ck_assert_uint_eq(seen[i], 1);
    memset(seen, 0, sizeof seen);
    oak_collect();
    ck_assert_int_eq(oak_weakvalue_each(m, walk, m), 0);
    for (size_t i = 1; i < N; i += 2) ck_assert_uint_eq(seen[i], 1);
}
END_TEST

/* ---- bad input and misuse ---- */

static uint64_t hash_that_gets(const void *key, uint64_t seed, size_t size)
{
    if (held[0]) (void)oak_weakvalue_len(m);
    return oak_hash_bytes(key, size, seed);
}

static bool equal_words(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

static const oak_map_type with_hash = {
    .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = hash_that_gets, .equal = equal_words
};

static void hash_uses_the_map(void *flags)
{
    make(&with_hash, (unsigned)(uintptr_t)flags);
    uint64_t key = 1;
    oak_weakvalue_put(m, &key, oak_alloc(1));
    held[0] = m;
    (void)get(1);
}

static void put_none(void *arg)
{
    oak_weakvalue_put(NULL, arg, arg);
}

START_TEST(bad_input)
{
    uint64_t key = 1;
    double nan = NAN;
    static int not_ours;
    errno = 0;
    ck_assert_ptr_null(oak_weakvalue_new(NULL, 0, 0));
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_ptr_null(oak_weakvalue_new(&oak_map_u64_ptr, 2, 0));
    ck_assert_int_eq(errno, EINVAL);
    make(&oak_map_u64_ptr, 0);
    void *const bad[] = { NULL, &not_ours, (void *)1, &key };
    for (size_t i = 0; i < OAKI_COUNT(bad); i++) {
        errno = 0;
        ck_assert_int_eq(oak_weakvalue_put(m, &key, bad[i]), -1);
        ck_assert_int_eq(errno, EINVAL);
        ck_assert_ptr_null(oak_weakvalue_intern(m, &key, bad[i]));
    }
    held[0] = oak_alloc(1);
    ck_assert_int_eq(oak_weakvalue_put(m, NULL, held[0]), -1);
    ck_assert_uint_eq(oak_weakvalue_len(m), 0);
    ck_assert_ptr_null(oak_weakvalue_get(m, NULL));
    ck_assert(!oak_weakvalue_delete(m, NULL));
    oak_weakvalue *d = oak_weakvalue_new(&oak_map_double_ptr, 0, 0);
    errno = 0;
    ck_assert_int_eq(oak_weakvalue_put(d, &nan, held[0]), -1);
    ck_assert_int_eq(errno, EINVAL);
    m = NULL;
    ck_assert_ptr_null(get(1));
    ck_assert_uint_eq(oak_weakvalue_len(NULL), 0);
    ck_assert(!oak_weakvalue_purge(NULL, 1));
    ck_assert_int_eq(oak_weakvalue_each(NULL, walk, NULL), 0);
    oak_weakvalue_clear(NULL);
    test_dies(put_none, held[0], "oak_weakvalue_put: NULL");
    held[0] = NULL;
    test_dies(hash_uses_the_map, NULL, "oak_weakvalue: used from inside of itself");
    test_dies(hash_uses_the_map, (void *)OAK_WEAK_LOCKED, "used from inside of itself");
}
END_TEST

/* ---- threads intern the same texts ---- */

enum { TEXTS = 64 };
static AO_t wrong;

static void *intern(void *arg)
{
    size_t x = (size_t)arg;
    for (size_t i = 0, n = test_scale(30000); i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t key = x >> 40 & (TEXTS - 1), *mine = oak_alloc(16);
        *mine = key;
        uint64_t *a = oak_weakvalue_intern(m, &key, mine), *b = oak_weakvalue_get(m, &key);
        if (!a || a != b || *a != key) AO_store(&wrong, 1);
        if (x >> 33 & 1) held[key] = a;
        if (i % 1000 == 0) oak_collect();
    }
    return NULL;
}

START_TEST(threads_share_one_of_each)
{
    pthread_t t[4];
    make(&oak_map_u64_ptr, OAK_WEAK_LOCKED);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, intern, (void *)i), 0);
    for (size_t i = 0; i < 4; i++) pthread_join(t[i], NULL);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    ck_assert_uint_le(oak_weakvalue_len(m), TEXTS);
}
END_TEST

Suite *suite_maps_weakvalue(void)
{
    Suite *s = suite_create("maps_weakvalue");
    TCase *tc = tcase_create("weak values");
    tcase_add_test(tc, a_value_that_only_the_map_knows_dies);
    tcase_add_test(tc, a_value_is_gone_before_its_finalizer_runs);
    tcase_add_test(tc, a_put_replaces_and_a_delete_says_what_was);
    tcase_add_test(tc, keys_live_as_long_as_their_entries);
    tcase_add_test(tc, many_dead_values_leave_in_small_steps);
    tcase_add_test(tc, puts_alone_keep_a_pool_small);
    tcase_add_test(tc, a_look_that_finds_no_memory_begins_again);
    tcase_add_loop_test(tc, a_walk_gives_the_living_once, 0, 2);
    tcase_add_test(tc, bad_input);
    tcase_add_test(tc, threads_share_one_of_each);
    suite_add_tcase(s, tc);
    return s;
}

/* cache_memory.c - tests of what a cache holds: nothing that is out, no more than its limits, and
 * little when they are lowered; and of a cache that runs out of memory.
 *
 * What is put is made on threads that end, so that no stack keeps anything; whether a value lives
 * is asked of a weak reference. */
#include "maps/cache.h"
#include "tests/gc/away.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>

Suite *suite_maps_cache_memory(void);

#define MS UINT64_C(1000000)

enum { N = 500 };
/* A stack or a register may hold a stray word. */
enum { LUCK = 4 };

static oak_cache *c;
static uint64_t now = 1000 * MS;
static oak_weak *value[N], *text[N];
static size_t told;

static uint64_t fake_clock(void *ctx)
{
    (void)ctx;
    return now;
}

static void note(oak_cache *of, const void *key, void *v, oak_cache_reason why, void *ctx)
{
    (void)of;
    (void)v;
    (void)why;
    (void)ctx;
    told += **(const char *const *)key == 'k'; /* what the key refers to is there still */
}

static void make(size_t max_entries, uint64_t ttl)
{
    oak_cache_config f = { .keys = &oak_map_cstring_ptr,
                           .max_entries = max_entries,
                           .ttl = ttl,
                           .evicted = note,
                           .clock = fake_clock };
    c = oak_cache_new(&f);
    ck_assert_ptr_nonnull(c);
}

static char *make_text(size_t i)
{
    char *s = oak_alloc_noscan(16);
    snprintf(s, 16, "key%zu", i);
    return s;
}

static void fill(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N; i++) {
        char *key = make_text(i);
        void *v = oak_alloc(40);
        text[i] = oak_weak_new(key);
        value[i] = oak_weak_new(v);
        if (oak_cache_put(c, &key, v) != 0) ck_abort_msg("put %zu", i);
    }
}

static int alive(oak_weak *const *of, int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++) n += oak_weak_get(of[i]) != NULL;
    return n;
}

/* Of keys and values, [from, to) live and no others. */
static void expect_alive(int from, int to)
{
    const char *broken = oaki_cache_check(c);
    ck_assert_msg(!broken, "%s", broken);
    oak_collect();
    ck_assert_int_eq(alive(value, from, to), to - from);
    ck_assert_int_eq(alive(text, from, to), to - from);
    ck_assert_int_le(alive(value, 0, N) - (to - from), LUCK);
    ck_assert_int_le(alive(text, 0, N) - (to - from), LUCK);
}

/* ---- what is out is collectable at once ---- */

START_TEST(evicted)
{
    make(N / 5, 0);
    test_build(fill, NULL);
    expect_alive(N - N / 5, N);
    ck_assert_uint_eq(told, N - N / 5);
}
END_TEST

static void delete_half(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N / 2; i++) {
        char room[16], *key = room;
        snprintf(room, sizeof room, "key%zu", i);
        if (!oak_cache_delete(c, &key)) ck_abort_msg("delete %zu", i);
    }
}

START_TEST(deleted)
{
    make(N, 0);
    test_build(fill, NULL);
    expect_alive(0, N);
    test_build(delete_half, NULL);
    expect_alive(N / 2, N);
}
END_TEST

static void clear(void *arg)
{
    (void)arg;
    oak_cache_clear(c);
}

START_TEST(cleared)
{
    make(N, 5 * MS);
    test_build(fill, NULL);
    test_build(clear, NULL);
    expect_alive(0, 0);
    ck_assert_uint_eq(told, N);
}
END_TEST

static void purge(void *arg)
{
    (void)arg;
    while (oak_cache_purge_expired(c, 64)) {
    }
}

START_TEST(expired)
{
    make(0, 5 * MS);
    test_build(fill, NULL);
    now += 7 * MS;
    test_build(purge, NULL);
    expect_alive(0, 0);
}
END_TEST

static void replace(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N / 2; i++) {
        char *key = make_text(i);
        if (oak_cache_put(c, &key, oak_alloc(16)) != 0) ck_abort_msg("put %zu", i);
    }
}

START_TEST(replaced)
{
    make(N, 0);
    test_build(fill, NULL);
    test_build(replace, NULL);
    oak_collect();
    ck_assert_int_eq(alive(value, N / 2, N), N / 2);
    ck_assert_int_le(alive(value, 0, N / 2), LUCK);
    ck_assert_int_eq(alive(text, 0, N), N); /* the first key stays */
}
END_TEST

START_TEST(dropped_whole)
{
    make(N, 5 * MS);
    test_build(fill, NULL);
    c = NULL;
    oak_collect();
    ck_assert_int_le(alive(value, 0, N), LUCK);
    ck_assert_int_le(alive(text, 0, N), LUCK);
}
END_TEST

/* The callback has the key, and what that points to, whoever collects. */
static void collect_and_look(oak_cache *of, const void *key, void *v, oak_cache_reason why,
                             void *ctx)
{
    note(of, key, v, why, ctx);
    if (told % 50 != 0) return;
    oak_collect();
    if (oak_weak_get(text[told - 1]) != *(char *const *)key) ck_abort_msg("text %zu", told - 1);
}

START_TEST(a_callback_keeps_the_key)
{
    make(N, 0);
    test_build(fill, NULL);
    c->config.evicted = collect_and_look;
    oak_cache_set_limit(c, 1, 0);
    ck_assert_uint_eq(told, N - 1);
}
END_TEST

/* A pointer to an entry's node keeps nothing but that, in the cache or out. */
static void *stray;

static void take_stray(void *arg)
{
    (void)arg;
    stray = c->newest->older;
}

START_TEST(a_stray_pointer_to_a_node_keeps_nothing)
{
    make(N, 0);
    test_build(fill, NULL);
    test_build(take_stray, NULL);
    c = NULL;
    oak_collect();
    ck_assert_ptr_nonnull(stray);
    ck_assert_int_le(alive(value, 0, N), LUCK);
    ck_assert_int_le(alive(text, 0, N), LUCK);
}
END_TEST

/* ---- limits bound memory ---- */

static size_t live(void)
{
    oak_collect();
    oak_collect();
    return test_stats().heap_alloc;
}

static size_t array_bytes(void)
{
    oak_map_stats s;
    oak_map_stats_read(c->in.map, &s);
    return s.array_bytes + s.old_array_bytes;
}

static void put_random(void *n)
{
    for (size_t i = 0; i < (size_t)(uintptr_t)n; i++) {
        uint64_t key = test_random() >> 20;
        void *v = oak_alloc(16 + test_below(200));
        if (!v || oak_cache_put(c, &key, v) != 0) ck_abort_msg("put %zu", i);
    }
}

static void make_words(size_t max_entries, size_t max_bytes, uint64_t ttl)
{
    oak_cache_config f = {
        .keys = &oak_map_u64_ptr, .max_entries = max_entries, .max_bytes = max_bytes, .ttl = ttl
    };
    c = oak_cache_new(&f);
    ck_assert_ptr_nonnull(c);
}

/* The collector works by itself here; the heap stays near twice what the cache may hold. */
START_TEST(a_million_random_puts_stay_within_the_limits)
{
    oak_config f = test_config();
    f.gc_percent = 100;
    f.min_heap = 1 << 20;
    test_heap_start(f);
    test_seed("maps/cache_memory");
    size_t before = live(), n = test_scale(1000000);
    if (_i == 0)
        make_words(10000, 0, 0);
    else
        make_words(0, 1000000, 0);
    test_away(put_random, (void *)(uintptr_t)(n / 10));
    size_t first = live() - before;
    test_away(put_random, (void *)(uintptr_t)(n - n / 10));
    size_t last = live() - before;
    printf("maps/cache_memory: %zu bytes after %zu puts, %zu after %zu, heap_sys %zu\n", first,
           n / 10, last, n, (size_t)test_stats().heap_sys);
    ck_assert_uint_le(last, first + first / 10);
    ck_assert_uint_le(last, 10000 * 400);
    ck_assert_uint_le(test_stats().heap_sys, (size_t)32 << 20);
    ck_assert_uint_eq(c->stats.entries + c->stats.evictions, n); /* keys are all different */
}
END_TEST

START_TEST(lower_limits_give_memory_back)
{
    test_heap_start(test_config());
    make_words(100000, 0, 0);
    test_seed("maps/cache_memory");
    size_t empty = live();
    test_away(put_random, (void *)100000);
    size_t array = array_bytes(), full = live() - empty;
    ck_assert_uint_gt(array, 100000 * 24);
    oak_cache_set_limit(c, 1000, 0);
    size_t small = live() - empty;
    printf("maps/cache_memory: array %zu -> %zu, live %zu -> %zu\n", array, array_bytes(), full,
           small);
    ck_assert_uint_le(array_bytes(), array / 20);
    ck_assert_uint_le(small, full / 20);
    oak_cache_clear(c);
    ck_assert_uint_eq(array_bytes(), 0);
    ck_assert_uint_le(live(), empty + 4096);
}
END_TEST

/* ---- out of memory ---- */

/* Every put either works or leaves all as it was, whichever allocation fails. */
START_TEST(no_memory_in_the_middle)
{
    size_t failed = 0;
    oak_cache_config f = { .keys = _i ? &oak_map_cstring_ptr : &oak_map_u64_ptr,
                           .max_entries = 3000,
                           .clock = fake_clock };
    test_heap_start(test_config());
    test_seed("maps/cache_memory");
    c = oak_cache_new(&f);
    for (size_t i = 0; i < test_scale(60000); i++, now += MS / 50) {
        char room[24], *keep = NULL, *s = room;
        uint64_t number = test_below(4000);
        snprintf(room, sizeof room, "%zu", (size_t)number);
        void *key = _i ? (void *)&s : &number, *v = (void *)(uintptr_t)(i + 1);
        if (_i && (s = keep = oak_alloc_noscan(24)) != NULL)
            snprintf(keep, 24, "%zu", (size_t)number);
        size_t entries = c->stats.entries;
        void *old = oak_cache_peek(c, key);
        oaki_debug_switches.failalloc = test_below(3) ? 1 : 0;
        errno = 0;
        int r = s ? oak_cache_put_ex(c, key, v, 1, test_below(2) ? 0 : 1000 * MS) : 0;
        oaki_debug_switches.failalloc = 0;
        if (!s) continue;
        if (r == 0) {
            if (oak_cache_peek(c, key) != v) ck_abort_msg("put %zu", i);
        } else {
            failed++;
            if (errno != ENOMEM || oak_cache_peek(c, key) != old || c->stats.entries > entries)
                ck_abort_msg("failed put %zu", i);
        }
        if (i % 256 == 0) {
            const char *broken = oaki_cache_check(c);
            if (broken) ck_abort_msg("%s", broken);
        }
        if (i % 16384 == 0) oak_cache_clear(c);
        if (i % 4096 == 0) oak_collect();
    }
    ck_assert_uint_gt(failed, 10);
}
END_TEST

START_TEST(no_memory_for_a_cache)
{
    oak_cache_config f = { .keys = &oak_map_u64_ptr, .max_entries = 1 };
    test_heap_start(test_config());
    oak_gc_disable();
    oak_set_heap_max(1 << 20);
    while (oak_alloc(16)) {
    }
    while (oak_alloc_noscan(16)) {
    }
    errno = 0;
    oak_cache *d = NULL;
    while ((d = oak_cache_new(&f)) != NULL) {
    }
    ck_assert_int_eq(errno, ENOMEM);
    oak_set_heap_max(0);
    ck_assert_ptr_nonnull(oak_cache_new(&f));
}
END_TEST

Suite *suite_maps_cache_memory(void)
{
    Suite *s = suite_create("maps_cache_memory");
    TCase *tc = tcase_create("collectable at once");
    tcase_add_test(tc, evicted);
    tcase_add_test(tc, deleted);
    tcase_add_test(tc, cleared);
    tcase_add_test(tc, expired);
    tcase_add_test(tc, replaced);
    tcase_add_test(tc, dropped_whole);
    tcase_add_test(tc, a_callback_keeps_the_key);
    tcase_add_test(tc, a_stray_pointer_to_a_node_keeps_nothing);
    suite_add_tcase(s, tc);
    tc = tcase_create("bounded");
    tcase_add_loop_test(tc, a_million_random_puts_stay_within_the_limits, 0, 2);
    tcase_add_test(tc, lower_limits_give_memory_back);
    suite_add_tcase(s, tc);
    tc = tcase_create("out of memory");
    tcase_add_loop_test(tc, no_memory_in_the_middle, 0, 2);
    tcase_add_test(tc, no_memory_for_a_cache);
    suite_add_tcase(s, tc);
    return s;
}

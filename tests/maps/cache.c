/* cache.c - tests of maps/cache.c: order, limits, times to live, reasons, what callbacks may do,
 * bad input. */
#include "maps/cache.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

Suite *suite_maps_cache(void);

#define MS UINT64_C(1000000)

static oak_cache *c;
static uint64_t now = 1000 * MS;

static struct {
    uint64_t key;
    void *value;
    oak_cache_reason why;
} told[1000];
static size_t ntold;

static void sound(void)
{
    const char *broken = oaki_cache_check(c);
    ck_assert_msg(!broken, "%s", broken);
}

static uint64_t fake_clock(void *ctx)
{
    (void)ctx;
    return now;
}

static void note(oak_cache *of, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    (void)of;
    (void)ctx;
    told[ntold].key = *(const uint64_t *)key;
    told[ntold].value = value;
    told[ntold++].why = why;
}

static oak_cache_config config(size_t max_entries, size_t max_bytes, uint64_t ttl)
{
    return (oak_cache_config){ .keys = &oak_map_u64_ptr,
                               .max_entries = max_entries,
                               .max_bytes = max_bytes,
                               .ttl = ttl,
                               .evicted = note,
                               .clock = fake_clock };
}

static void make(size_t max_entries, size_t max_bytes, uint64_t ttl)
{
    oak_cache_config f = config(max_entries, max_bytes, ttl);
    c = oak_cache_new(&f);
    ck_assert_ptr_nonnull(c);
}

/* Values that aren't objects are allowed. */
static void *value_of(uint64_t key)
{
    return (void *)(uintptr_t)(key + 1);
}

static int put(uint64_t key)
{
    return oak_cache_put(c, &key, value_of(key));
}

static int put_ex(uint64_t key, size_t bytes, uint64_t ttl)
{
    return oak_cache_put_ex(c, &key, value_of(key), bytes, ttl);
}

static bool get(uint64_t key)
{
    void *v = oak_cache_get(c, &key);
    ck_assert(!v || v == value_of(key));
    return v != NULL;
}

static bool peek(uint64_t key)
{
    void *v = oak_cache_peek(c, &key);
    ck_assert(!v || v == value_of(key));
    return v != NULL;
}

static bool collect_keys(const void *key, void *value, void *ctx)
{
    char **text = ctx;
    ck_assert_ptr_eq(value, value_of(*(const uint64_t *)key));
    *(*text)++ = (char)('0' + *(const uint64_t *)key);
    return true;
}

/* The keys, single digits, from most to least recently used. */
static void expect_order(const char *keys)
{
    char text[100] = "", *end = text;
    oak_cache_each(c, collect_keys, &end);
    *end = 0;
    ck_assert_str_eq(text, keys);
    sound();
}

static void expect_told(size_t i, uint64_t key, oak_cache_reason why)
{
    ck_assert_uint_lt(i, ntold);
    ck_assert_uint_eq(told[i].key, key);
    ck_assert_int_eq(told[i].why, why);
}

static oak_cache_stats stats(void)
{
    oak_cache_stats s;
    oak_cache_stats_read(c, &s);
    return s;
}

/* ---- order and limits ---- */

START_TEST(the_least_recently_used_goes)
{
    make(4, 0, 0);
    for (uint64_t k = 1; k <= 4; k++) put(k);
    expect_order("4321");
    ck_assert(get(2));
    ck_assert(peek(1));
    ck_assert(!get(9));
    expect_order("2431");
    put(5);
    expect_order("5243");
    expect_told(0, 1, OAK_CACHE_CAPACITY);
    ck_assert_ptr_eq(told[0].value, value_of(1));
    put(3); /* the same value: only used */
    put(6);
    expect_order("6352");
    expect_told(1, 4, OAK_CACHE_CAPACITY);
    ck_assert_uint_eq(ntold, 2);
    oak_cache_stats s = stats();
    ck_assert_uint_eq(s.entries, 4);
    ck_assert_uint_eq(s.hits, 1);
    ck_assert_uint_eq(s.misses, 1);
    ck_assert_uint_eq(s.evictions, 2);
    ck_assert_uint_eq(s.expirations, 0);
}
END_TEST

START_TEST(bytes_are_given_or_the_size_of_the_value)
{
    make(0, 1000, 0);
    put_ex(1, 400, 0);
    put_ex(2, 400, 0);
    put_ex(3, 0, 0);
    ck_assert_uint_eq(stats().bytes, 800);
    put_ex(4, 201, 0);
    expect_order("432");
    put_ex(4, 600, 0);
    expect_order("432");
    put_ex(3, 1, 0);
    expect_order("34");
    ck_assert_uint_eq(stats().bytes, 601);
    uint64_t key = 5;
    void *object = oak_alloc(300);
    ck_assert_int_eq(oak_cache_put(c, &key, object), 0);
    ck_assert_uint_eq(stats().bytes, 601 + oak_usable_size(object));
}
END_TEST

static size_t size_is_key(const void *key, const void *value, void *ctx)
{
    ck_assert_ptr_eq(ctx, &ntold);
    ck_assert_ptr_eq(value, value_of(*(const uint64_t *)key));
    return *(const uint64_t *)key;
}

START_TEST(a_size_function_is_asked)
{
    oak_cache_config f = config(0, 10, 0);
    f.size = size_is_key;
    f.ctx = &ntold;
    c = oak_cache_new(&f);
    for (uint64_t k = 1; k <= 5; k++) put(k);
    expect_order("54");
    ck_assert_uint_eq(stats().bytes, 9);
}
END_TEST

START_TEST(what_is_larger_than_the_cache_is_refused)
{
    make(0, 1000, 0);
    for (uint64_t k = 1; k <= 4; k++) put_ex(k, 250, 0);
    errno = 0;
    ck_assert_int_eq(put_ex(5, 1001, 0), -1);
    ck_assert_int_eq(errno, E2BIG);
    ck_assert_int_eq(put_ex(4, 1001, 0), -1);
    ck_assert_int_eq(put_ex(4, SIZE_MAX, 0), -1);
    ck_assert_uint_eq(ntold, 0);
    expect_order("4321");
    ck_assert_uint_eq(stats().bytes, 1000);
    ck_assert_int_eq(put_ex(5, 1000, 0), 0);
    expect_order("5");
    make(10, 0, 0); /* no limit to overflow */
    ck_assert_int_eq(put_ex(1, SIZE_MAX - 5, 0), 0);
    ck_assert_int_eq(put_ex(1, SIZE_MAX - 4, 0), 0);
    ck_assert_int_eq(put_ex(2, 5, 0), -1);
    ck_assert_int_eq(put_ex(2, 4, 0), 0);
    expect_order("21");
}
END_TEST

START_TEST(limits_can_be_changed)
{
    make(9, 0, 0);
    for (uint64_t k = 1; k <= 9; k++) put_ex(k, 10, 0);
    ck_assert_int_eq(oak_cache_set_limit(c, 5, 0), 0);
    expect_order("98765");
    ck_assert_int_eq(oak_cache_set_limit(c, 0, 25), 0);
    expect_order("98");
    ck_assert_uint_eq(ntold, 7);
    errno = 0;
    ck_assert_int_eq(oak_cache_set_limit(c, 0, 0), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(oak_cache_set_limit(c, 0, 5), 0);
    expect_order("");
}
END_TEST

/* ---- times to live ---- */

START_TEST(entries_expire_to_the_nanosecond)
{
    make(0, 0, 10 * MS);
    put(1);
    put_ex(2, 0, 20 * MS);
    put_ex(3, 0, OAK_CACHE_FOREVER);
    put_ex(4, 0, UINT64_MAX - 1);
    now += 10 * MS - 1;
    ck_assert(get(1) && peek(1));
    now++;
    ck_assert(!peek(1));
    expect_order("432"); /* each doesn't give it either; it's there still */
    ck_assert_uint_eq(stats().entries, 4);
    ck_assert(!get(1));
    expect_told(0, 1, OAK_CACHE_EXPIRED);
    ck_assert_uint_eq(stats().entries, 3);
    put(2); /* a put renews */
    now += 10 * MS - 1;
    ck_assert(get(2));
    now++;
    uint64_t key = 2;
    ck_assert(!oak_cache_delete(c, &key));
    expect_told(1, 2, OAK_CACHE_EXPIRED);
    now += (uint64_t)1 << 60;
    ck_assert(get(3) && get(4));
    ck_assert_uint_eq(stats().expirations, 2);
    ck_assert_uint_eq(stats().evictions, 0);
    sound();
}
END_TEST

START_TEST(a_put_over_an_expired_entry_expires_it)
{
    make(0, 0, 10 * MS);
    put(1);
    now += 10 * MS;
    put(1);
    ck_assert_uint_eq(ntold, 1);
    expect_told(0, 1, OAK_CACHE_EXPIRED);
    ck_assert(get(1));
    sound();
}
END_TEST

START_TEST(purging_is_bounded_and_says_whether_there_is_more)
{
    make(0, 0, OAK_CACHE_FOREVER);
    for (uint64_t k = 0; k < 500; k++) put_ex(k, 0, 5 * MS);
    put_ex(500, 0, 50 * MS);
    ck_assert(!oak_cache_purge_expired(c, 1000));
    ck_assert(!oak_cache_purge_expired(c, 0));
    ck_assert_uint_eq(stats().entries, 501);
    now += 7 * MS;
    ck_assert(oak_cache_purge_expired(c, 0));
    ck_assert(oak_cache_purge_expired(c, 100));
    ck_assert_uint_ge(stats().entries, 401);
    ck_assert_uint_lt(stats().entries, 501);
    while (oak_cache_purge_expired(c, 100)) continue;
    ck_assert(!oak_cache_purge_expired(c, 0));
    ck_assert_uint_eq(stats().entries, 1);
    ck_assert(get(500));
    ck_assert_uint_eq(stats().expirations, 500);
    sound();
}
END_TEST

/* Puts alone keep up with what expires, but for an eighth: what is moved within the wheel, eight at
 * a time. */
START_TEST(puts_expire_what_is_due)
{
    oak_cache_config f = config(0, 0, 60000 * MS);
    test_heap_start(test_config());
    f.evicted = NULL;
    c = oak_cache_new(&f);
    size_t most = 0;
    for (uint64_t k = 0; k < 300000; k++, now += MS) { /* 60,000 live at a time */
        if (put(k) != 0) ck_abort_msg("put");
        if (stats().entries > most) most = stats().entries;
    }
    ck_assert_uint_ge(most, 60000);
    ck_assert_uint_le(most, 60000 / 8 * 9 + 10);
    now += 100000 * MS; /* all are due; each put takes some of them */
    for (uint64_t k = 0; k < 60000; k++) put_ex(k % 100, 0, OAK_CACHE_FOREVER);
    ck_assert_uint_eq(stats().entries, 100);
    sound();
}
END_TEST

/* ---- reasons and callbacks ---- */

START_TEST(each_way_out_has_its_reason)
{
    uint64_t key = 1;
    make(100, 0, 0);
    put(1);
    oak_cache_put(c, &key, &key);
    expect_told(0, 1, OAK_CACHE_REPLACED);
    ck_assert_ptr_eq(told[0].value, value_of(1));
    ck_assert_ptr_eq(oak_cache_get(c, &key), &key);
    ck_assert(oak_cache_delete(c, &key));
    ck_assert(!oak_cache_delete(c, &key));
    expect_told(1, 1, OAK_CACHE_DELETED);
    put(2);
    put(3);
    oak_cache_clear(c);
    expect_told(2, 2, OAK_CACHE_CLEARED);
    expect_told(3, 3, OAK_CACHE_CLEARED);
    ck_assert_uint_eq(ntold, 4);
    ck_assert_uint_eq(stats().entries, 0);
    expect_order("");
}
END_TEST

/* Second chance: everything evicted is put into another cache, which tells of it too; and what was
 * cleared is looked for, and put again. */
static oak_cache *second;

static void second_chance(oak_cache *of, const void *key, void *value, oak_cache_reason why,
                          void *ctx)
{
    note(of, key, value, why, ctx);
    ck_assert_ptr_null(oak_cache_get(of, key));
    ck_assert(!oak_cache_delete(of, key));
    if (of == second) return;
    oak_cache_put(second, key, value);
    uint64_t k = *(const uint64_t *)key;
    if (why == OAK_CACHE_CLEARED && k <= 4) {
        for (uint64_t other = 1; other <= 4; other++)
            ck_assert(other < k ? peek(other) : !get(other));
        put(k);
    }
}

START_TEST(callbacks_may_use_the_cache)
{
    oak_cache_config f = config(4, 0, 0);
    f.evicted = second_chance;
    f.flags = OAK_CACHE_LOCKED;
    c = oak_cache_new(&f);
    f.max_entries = 2;
    second = oak_cache_new(&f);
    for (uint64_t k = 1; k <= 8; k++) put(k);
    expect_order("8765");
    ck_assert_uint_eq(ntold, 6);
    oak_cache_clear(second);
    oak_cache_clear(c);
    ntold = 0;
    for (uint64_t k = 1; k <= 4; k++) oak_cache_delete(c, &k);
    oak_cache_clear(c);
    for (uint64_t k = 1; k <= 4; k++) put(k);
    oak_cache_clear(c);
    expect_order("4321");
}
END_TEST

static void clear_again(oak_cache *of, const void *key, void *value, oak_cache_reason why,
                        void *ctx)
{
    note(of, key, value, why, ctx);
    oak_cache_clear(of);
}

START_TEST(clears_nest)
{
    oak_cache_config f = config(10, 0, 0);
    f.evicted = clear_again;
    c = oak_cache_new(&f);
    for (uint64_t k = 1; k <= 9; k++) put(k);
    oak_cache_clear(c);
    ck_assert_uint_eq(ntold, 9);
    sound();
}
END_TEST

static void put_the_last(oak_cache *of, const void *key, void *v, oak_cache_reason why, void *ctx)
{
    note(of, key, v, why, ctx);
    if (*(const uint64_t *)key == 1) put(3);
}

START_TEST(a_put_over_what_a_clear_has_yet_to_tell_of)
{
    oak_cache_config f = config(10, 0, 0);
    f.evicted = put_the_last;
    c = oak_cache_new(&f);
    for (uint64_t k = 1; k <= 3; k++) put(k);
    oak_cache_clear(c);
    expect_told(0, 1, OAK_CACHE_CLEARED);
    expect_told(1, 3, OAK_CACHE_CLEARED);
    expect_told(2, 2, OAK_CACHE_CLEARED);
    expect_order("3");
    ck_assert_uint_eq(stats().expirations, 0);
}
END_TEST

/* ---- walks ---- */

static bool busy_walk(const void *key, void *value, void *ctx)
{
    uint64_t k = *(const uint64_t *)key, other;
    collect_keys(key, value, ctx);
    switch (k) {
    case 9:
        other = 8;
        oak_cache_delete(c, &other);
        break; /* the next */
    case 7:
        oak_cache_delete(c, &k);
        get(6);
        break; /* this one; the next moves to the front */
    case 5:
        put(1);
        get(9);
        break;
    case 3:
        return false;
    }
    return true;
}

START_TEST(a_walk_survives_what_its_function_does)
{
    make(20, 0, 0);
    for (uint64_t k = 0; k <= 9; k++) put(k);
    char text[100] = "", *end = text;
    oak_cache_each(c, busy_walk, &end);
    *end = 0;
    ck_assert_str_eq(text, "97543");
    ck_assert_ptr_null(c->walks);
    expect_order("91654320");
}
END_TEST

static bool walk_in_walk(const void *key, void *value, void *ctx)
{
    (void)value;
    (void)ctx;
    expect_order(*(const uint64_t *)key == 3 ? "321" : "21");
    oak_cache_delete(c, &(uint64_t){ 3 });
    if (*(const uint64_t *)key == 2) oak_cache_clear(c);
    return *(const uint64_t *)key != 1;
}

START_TEST(walks_nest_and_end_with_a_clear)
{
    make(20, 0, 0);
    for (uint64_t k = 1; k <= 3; k++) put(k);
    oak_cache_each(c, walk_in_walk, NULL);
    expect_order("");
}
END_TEST

Suite *suite_maps_cache(void)
{
    Suite *s = suite_create("maps_cache");
    TCase *tc = tcase_create("order and limits");
    tcase_add_test(tc, the_least_recently_used_goes);
    tcase_add_test(tc, bytes_are_given_or_the_size_of_the_value);
    tcase_add_test(tc, a_size_function_is_asked);
    tcase_add_test(tc, what_is_larger_than_the_cache_is_refused);
    tcase_add_test(tc, limits_can_be_changed);
    suite_add_tcase(s, tc);
    tc = tcase_create("times to live");
    tcase_add_test(tc, entries_expire_to_the_nanosecond);
    tcase_add_test(tc, a_put_over_an_expired_entry_expires_it);
    tcase_add_test(tc, purging_is_bounded_and_says_whether_there_is_more);
    tcase_add_test(tc, puts_expire_what_is_due);
    suite_add_tcase(s, tc);
    tc = tcase_create("callbacks and walks");
    tcase_add_test(tc, each_way_out_has_its_reason);
    tcase_add_test(tc, callbacks_may_use_the_cache);
    tcase_add_test(tc, clears_nest);
    tcase_add_test(tc, a_put_over_what_a_clear_has_yet_to_tell_of);
    tcase_add_test(tc, a_walk_survives_what_its_function_does);
    tcase_add_test(tc, walks_nest_and_end_with_a_clear);
    suite_add_tcase(s, tc);
    return s;
}

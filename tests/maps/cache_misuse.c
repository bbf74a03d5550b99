/* cache_misuse.c - tests of maps/cache.c: bad input is refused, misuse is fatal. */
#include "maps/cache.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

Suite *suite_maps_cache_misuse(void);

static oak_cache *c;
static bool armed;

static oak_cache_config config(size_t max_entries)
{
    return (oak_cache_config){ .keys = &oak_map_u64_ptr, .max_entries = max_entries };
}

static void make(size_t max_entries)
{
    oak_cache_config f = config(max_entries);
    c = oak_cache_new(&f);
    ck_assert_ptr_nonnull(c);
}

static int put(uint64_t key)
{
    return oak_cache_put(c, &key, &c);
}

/* ---- bad input ---- */

static void refused(const oak_cache_config *f)
{
    errno = 0;
    ck_assert_ptr_null(oak_cache_new(f));
    ck_assert_int_eq(errno, EINVAL);
}

START_TEST(what_makes_no_sense_is_refused)
{
    oak_cache_config f = config(0);
    refused(NULL);
    refused(&f);
    f.max_entries = 1;
    f.flags = 2;
    refused(&f);
    f.flags = 0;
    f.keys = NULL;
    refused(&f);
    static const oak_map_type custom = { .key = OAK_KEY_CUSTOM, .key_size = 8 };
    f.keys = &custom;
    refused(&f);
    make(5);
    uint64_t key = 1;
    errno = 0;
    ck_assert_int_eq(oak_cache_put(c, &key, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(oak_cache_put_ex(c, NULL, &key, 0, 0), -1);
    ck_assert_ptr_null(oak_cache_get(c, NULL));
    ck_assert_ptr_null(oak_cache_peek(c, NULL));
    ck_assert(!oak_cache_delete(c, NULL));
    f = config(2);
    f.keys = &oak_map_double_ptr;
    oak_cache *d = oak_cache_new(&f);
    double nan = NAN, zero = 0.0, minus = -0.0;
    errno = 0;
    ck_assert_int_eq(oak_cache_put(d, &nan, &nan), -1);
    ck_assert_int_eq(errno, EINVAL);
    oak_cache_put(d, &zero, &zero);
    ck_assert_ptr_eq(oak_cache_get(d, &minus), &zero);
}
END_TEST

START_TEST(no_cache_reads_as_empty)
{
    c = NULL;
    uint64_t key = 1;
    oak_cache_stats s;
    ck_assert_ptr_null(oak_cache_get(c, &key));
    ck_assert_ptr_null(oak_cache_peek(c, &key));
    ck_assert(!oak_cache_delete(c, &key));
    ck_assert(!oak_cache_purge_expired(c, 10));
    oak_cache_clear(c);
    oak_cache_each(c, NULL, NULL);
    oak_cache_stats_read(c, &s);
    ck_assert_uint_eq(s.misses, 0);
}
END_TEST

/* ---- misuse ---- */

static void put_again(oak_cache *of, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    (void)why;
    (void)ctx;
    oak_cache_put(of, key, value);
}

static void never_ends(void *arg)
{
    oak_cache_config f = config(2);
    (void)arg;
    f.evicted = put_again;
    c = oak_cache_new(&f);
    for (uint64_t k = 1; k <= 3; k++) put(k);
}

static void put_none(void *arg)
{
    (void)arg;
    c = NULL;
    put(1);
}

static void limit_none(void *arg)
{
    (void)arg;
    oak_cache_set_limit(NULL, 1, 1);
}

static uint64_t hash_that_gets(const void *key, uint64_t seed, size_t size)
{
    if (armed) (void)oak_cache_peek(c, key);
    return oak_hash_bytes(key, size, seed);
}

static bool equal_words(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

static const oak_map_type with_hash = {
    .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = hash_that_gets, .equal = equal_words
};

static void hash_uses_the_cache(void *flags)
{
    oak_cache_config f = config(2);
    f.keys = &with_hash;
    f.flags = (unsigned)(uintptr_t)flags;
    c = oak_cache_new(&f);
    put(1);
    armed = true;
    put(2);
}

/* One in 255 has the tag of what it was, and is found still. */
static void a_key_changes(void *arg)
{
    char text[] = "key";
    const char *key = text, *other = "other";
    oak_cache_config f = config(1);
    (void)arg;
    f.keys = &oak_map_cstring_ptr;
    c = oak_cache_new(&f);
    oak_cache_put(c, &key, &f);
    do text[0]++;
    while (oak_cache_peek(c, &key));
    oak_cache_put(c, &other, &f);
}

static void another_thread_is_in(void *arg)
{
    (void)arg;
    make(1);
    AO_store(&c->in.owner, 4711);
    put(1);
}

START_TEST(misuse_is_fatal)
{
    test_dies(put_none, NULL, "oak_cache_put: NULL");
    test_dies(limit_none, NULL, "oak_cache_set_limit: NULL");
    test_dies(never_ends, NULL, "oak_cache: 1000 evicted callbacks in each other");
    test_dies(hash_uses_the_cache, NULL, "oak_cache: used from inside of itself");
    test_dies(hash_uses_the_cache, (void *)OAK_CACHE_LOCKED,
              "oak_cache: used from inside of itself");
    test_dies(a_key_changes, NULL, "oak_cache: a key can't be found any more");
    test_dies(another_thread_is_in, NULL, "oak_cache: used by two threads at once");
}
END_TEST

Suite *suite_maps_cache_misuse(void)
{
    Suite *s = suite_create("maps_cache_misuse");
    TCase *tc = tcase_create("misuse");
    tcase_add_test(tc, what_makes_no_sense_is_refused);
    tcase_add_test(tc, no_cache_reads_as_empty);
    tcase_add_test(tc, misuse_is_fatal);
    suite_add_tcase(s, tc);
    return s;
}

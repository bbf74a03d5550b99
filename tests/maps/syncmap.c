/* syncmap.c - tests of maps/syncmap*.c by one thread: what operations return, what stays in memory,
 * and a model beside random operations. */
#include "maps/syncmap.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <string.h>

Suite *suite_maps_syncmap(void);

static oak_syncmap *map;

static void start(void)
{
    test_heap_start(test_config());
}

static oak_syncmap_stats stats(void)
{
    oak_syncmap_stats s;
    const char *broken = map ? oaki_sync_check(map) : NULL;
    ck_assert_msg(!broken, "%s", broken);
    oak_syncmap_stats_read(map, &s);
    return s;
}

static void *get(uint64_t key)
{
    void *v;
    return oak_syncmap_load(map, &key, &v) ? v : NULL;
}

static void put(uint64_t key, void *value)
{
    ck_assert_int_eq(oak_syncmap_store(map, &key, value), 0);
}

static bool del(uint64_t key)
{
    return oak_syncmap_delete(map, &key);
}

/* ---- operations ---- */

START_TEST(each_operation_says_what_was_there)
{
    int a, b;
    uint64_t k = 7;
    void *v = &v;
    map = oak_syncmap_new(&oak_map_u64_ptr);
    ck_assert(!oak_syncmap_load(map, &k, &v));
    ck_assert_ptr_null(v);
    ck_assert(!oak_syncmap_load_and_delete(map, &k, &v));
    ck_assert(!oak_syncmap_compare_and_swap(map, &k, NULL, &a));
    ck_assert(!oak_syncmap_compare_and_delete(map, &k, NULL));
    ck_assert_int_eq(oak_syncmap_load_or_store(map, &k, &a, &v), 0);
    ck_assert_ptr_eq(v, &a);
    ck_assert_int_eq(oak_syncmap_load_or_store(map, &k, &b, &v), 1);
    ck_assert_ptr_eq(v, &a);
    ck_assert_int_eq(oak_syncmap_swap(map, &k, &b, &v), 1);
    ck_assert_ptr_eq(v, &a);
    ck_assert(!oak_syncmap_compare_and_swap(map, &k, &a, NULL));
    ck_assert(oak_syncmap_compare_and_swap(map, &k, &b, NULL));
    ck_assert(oak_syncmap_load(map, &k, &v)); /* NULL is a value like others */
    ck_assert_ptr_null(v);
    ck_assert(oak_syncmap_load(map, &k, NULL));
    ck_assert_int_eq(oak_syncmap_store(map, &k, &a), 0);
    ck_assert(!oak_syncmap_compare_and_delete(map, &k, &b));
    ck_assert_uint_eq(oak_syncmap_len(map), 1);
    ck_assert(oak_syncmap_compare_and_delete(map, &k, &a));
    ck_assert_uint_eq(oak_syncmap_len(map), 0);
    ck_assert_int_eq(oak_syncmap_swap(map, &k, &a, &v), 0);
    ck_assert_ptr_null(v);
    ck_assert(oak_syncmap_load_and_delete(map, &k, &v));
    ck_assert_ptr_eq(v, &a);
    ck_assert(!oak_syncmap_delete(map, &k));
    ck_assert_uint_eq(oak_syncmap_len(map), 0);
}
END_TEST

START_TEST(an_unmade_map_reads_as_empty)
{
    uint64_t k = 7;
    void *v = &v;
    ck_assert(!oak_syncmap_load(NULL, &k, &v));
    ck_assert_ptr_null(v);
    ck_assert(!oak_syncmap_delete(NULL, &k));
    ck_assert(!oak_syncmap_compare_and_swap(NULL, &k, NULL, NULL));
    ck_assert_uint_eq(oak_syncmap_len(NULL), 0);
    oak_syncmap_clear(NULL);
    oak_syncmap_range(NULL, NULL, NULL);
    map = NULL;
    ck_assert_uint_eq(stats().bytes, 0);
    errno = 0;
    ck_assert_ptr_null(oak_syncmap_new(NULL));
    ck_assert_int_eq(errno, EINVAL);
    oak_map_type wrong = { .key = OAK_KEY_CUSTOM, .key_size = 8 };
    ck_assert_ptr_null(oak_syncmap_new(&wrong));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

static void store_in_nil(void *arg)
{
    oak_syncmap_store(NULL, arg, NULL);
}

START_TEST(a_store_in_a_nil_map_is_fatal)
{
    test_dies(store_in_nil, &map, "oakum: write to a nil sync map");
}
END_TEST

typedef struct big {
    uint64_t word[40]; /* kept apart */
} big;

START_TEST(keys_of_any_kind)
{
    oak_map_type bytes = { .key = OAK_KEY_BYTES, .key_size = 5 },
                 large = { .key = OAK_KEY_BYTES, .key_size = sizeof(big) };
    int a;
    map = oak_syncmap_new(&oak_map_cstring_ptr);
    char text[] = "one";
    const char *s = text, *same = memcpy(oak_alloc_noscan(4), "one", 4);
    oak_syncmap_store(map, &s, &a);
    ck_assert(oak_syncmap_load(map, &same, NULL));
    same = "two";
    ck_assert(!oak_syncmap_load(map, &same, NULL));
    map = oak_syncmap_new(&oak_map_slice_ptr);
    oak_slice x = { "abc", 2 }, y = { "abd", 2 }, z = { "abc", 3 };
    oak_syncmap_store(map, &x, &a);
    ck_assert(oak_syncmap_load(map, &y, NULL));
    ck_assert(!oak_syncmap_load(map, &z, NULL));
    map = oak_syncmap_new(&bytes);
    oak_syncmap_store(map, "12345", &a);
    ck_assert(oak_syncmap_load(map, "12345", NULL));
    ck_assert(!oak_syncmap_load(map, "12346", NULL));
    map = oak_syncmap_new(&large);
    big key = { { 1, 2, 3 } };
    oak_syncmap_store(map, &key, &a);
    ck_assert(oak_syncmap_load(map, &key, NULL));
    key.word[39] = 1;
    ck_assert(!oak_syncmap_load(map, &key, NULL));
    map = oak_syncmap_new(&oak_map_u32_ptr);
    uint32_t n = 1;
    oak_syncmap_store(map, &n, &a);
    ck_assert(oak_syncmap_load(map, &n, NULL));
}
END_TEST

START_TEST(zeroes_are_one_key_and_nans_are_many)
{
    double plus = 0.0, minus = -0.0, nan = NAN;
    int a;
    map = oak_syncmap_new(&oak_map_double_ptr);
    oak_syncmap_store(map, &plus, NULL);
    oak_syncmap_store(map, &minus, &a);
    ck_assert_uint_eq(oak_syncmap_len(map), 1);
    for (int i = 0; i < 1000; i++) oak_syncmap_store(map, &nan, &a);
    ck_assert(!oak_syncmap_load(map, &nan, NULL));
    ck_assert(!oak_syncmap_delete(map, &nan));
    ck_assert_uint_eq(oak_syncmap_len(map), 1001);
    ck_assert_uint_le(stats().same_hash, 2);
    oak_syncmap_clear(map);
    ck_assert_uint_eq(oak_syncmap_len(map), 0);
}
END_TEST

/* ---- what stays ---- */

enum { KEYS = 100000 };
static oak_weak *weak_key[KEYS], *weak_value[KEYS];
TEST_LARGE(maps_syncmap, weak_key)
TEST_LARGE(maps_syncmap, weak_value)

static const char *key_text(size_t i, char *to)
{
    snprintf(to, 16, "key%07zu", i);
    return to;
}

static void fill(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < KEYS; i++) {
        const char *key = key_text(i, oak_alloc_noscan(16));
        void *value = oak_alloc_noscan(1024);
        weak_key[i] = oak_weak_new((void *)(uintptr_t)key);
        weak_value[i] = oak_weak_new(value);
        ck_assert_int_eq(oak_syncmap_store(map, &key, value), 0);
    }
}

static void delete_all(void *arg)
{
    char text[16];
    (void)arg;
    for (size_t i = 0; i < KEYS; i++) {
        const char *key = key_text(i, text);
        ck_assert(oak_syncmap_delete(map, &key));
    }
}

static size_t alive(oak_weak **weak)
{
    size_t n = 0;
    for (size_t i = 0; i < KEYS; i++) n += weak[i] && oak_weak_get(weak[i]) != NULL;
    return n;
}

static void drop_weak(void *arg)
{
    (void)arg;
    memset(weak_key, 0, sizeof weak_key);
    memset(weak_value, 0, sizeof weak_value);
}

/* Go 1.19's sync.Map keeps 79.6 bytes for each deleted key, and copies them on the next store. */
START_TEST(deleted_entries_are_gone_with_the_next_collection)
{
    map = oak_syncmap_new(&oak_map_cstring_ptr);
    oak_collect();
    uint64_t before = test_stats().heap_alloc;
    test_away(fill, NULL);
    oak_collect();
    ck_assert_uint_eq(alive(weak_value), KEYS);
    ck_assert_uint_eq(alive(weak_key), KEYS);
    oak_syncmap_stats full = stats();
    ck_assert_uint_eq(full.entries, KEYS);
    ck_assert_uint_le(full.bytes, 96 * KEYS);
    ck_assert_uint_le(full.deepest, 14); /* two hashes share 56 bits in 1 of 10^7 such maps */
    ck_assert_uint_eq(full.same_hash, 1);
    test_away(delete_all, NULL);
    ck_assert_uint_eq(stats().entries, 0);
    ck_assert_uint_eq(stats().nodes, 1);
    oak_collect();
    ck_assert_uint_eq(alive(weak_value), 0);
    ck_assert_uint_eq(alive(weak_key), 0);
    drop_weak(NULL);
    oak_collect();
    ck_assert_uint_le(test_stats().heap_alloc, before + 2048);
}
END_TEST

static void delete_most(void *arg)
{
    char text[16];
    (void)arg;
    for (size_t i = 0; i < KEYS; i++) {
        const char *key = key_text(i, text);
        if (i % 100) ck_assert(oak_syncmap_delete(map, &key));
    }
}

START_TEST(bytes_follow_the_entries_that_are_left)
{
    map = oak_syncmap_new(&oak_map_cstring_ptr);
    test_away(fill, NULL);
    size_t full = stats().bytes;
    test_away(delete_most, NULL);
    ck_assert_uint_eq(stats().entries, KEYS / 100);
    ck_assert_uint_le(stats().bytes, full / 50);
    oak_collect();
    ck_assert_uint_eq(alive(weak_value), KEYS / 100);
    char text[16];
    for (size_t i = 0; i < KEYS; i++) {
        const char *key = key_text(i, text);
        ck_assert(oak_syncmap_load(map, &key, NULL) == (i % 100 == 0));
    }
}
END_TEST

static void replace_values(void *arg)
{
    char text[16];
    (void)arg;
    for (size_t i = 0; i < KEYS; i++) {
        const char *key = key_text(i, text);
        ck_assert_int_eq(oak_syncmap_store(map, &key, NULL), 0);
    }
}

START_TEST(replaced_and_cleared_values_go_at_once)
{
    map = oak_syncmap_new(&oak_map_cstring_ptr);
    test_away(fill, NULL);
    size_t bytes = stats().bytes;
    test_away(replace_values, NULL);
    ck_assert_uint_eq(stats().bytes, bytes);
    oak_collect();
    ck_assert_uint_eq(alive(weak_value), 0);
    ck_assert_uint_eq(alive(weak_key), KEYS);
    oak_syncmap_clear(map);
    ck_assert_uint_eq(oak_syncmap_len(map), 0);
    oak_collect();
    ck_assert_uint_eq(alive(weak_key), 0);
}
END_TEST

static void store_addresses(void *arg)
{
    for (size_t i = 0; i < 100; i++) {
        uint64_t *p = oak_alloc(32), key = (uintptr_t)p;
        weak_key[i] = oak_weak_new(p);
        oak_syncmap_store(map, &key, arg);
    }
}

START_TEST(keys_that_are_numbers_keep_nothing)
{
    for (int i = 0; i < 2; i++) {
        map = oak_syncmap_new(i ? &oak_map_ptr_ptr : &oak_map_u64_ptr);
        test_away(store_addresses, NULL);
        oak_collect();
        ck_assert_uint_eq(alive(weak_key), i ? 100 : 0);
        ck_assert_uint_eq(oak_syncmap_len(map), 100);
    }
}
END_TEST

/* ---- range ---- */

static bool count(const void *key, void *value, void *ctx)
{
    size_t *n = ctx;
    (void)key;
    (void)value;
    return ++*n != 50;
}

static size_t given[1000];

static bool change(const void *key, void *value, void *ctx)
{
    uint64_t k = *(const uint64_t *)key, odd = k ^ 1;
    (void)value;
    (void)ctx;
    given[k]++;
    if (k < 600 && odd < 600) del(odd); /* one of each pair */
    if (k % 7 == 0) put(600 + k / 7, map);
    return true;
}

START_TEST(range_gives_what_stays_once_and_nothing_twice)
{
    size_t n = 0;
    map = oak_syncmap_new(&oak_map_u64_ptr);
    oak_syncmap_range(map, count, &n);
    ck_assert_uint_eq(n, 0);
    for (uint64_t k = 0; k < 600; k++) put(k, map);
    oak_syncmap_range(map, count, &n);
    ck_assert_uint_eq(n, 50);
    oak_syncmap_range(map, change, NULL);
    for (size_t k = 0; k < 600; k += 2) ck_assert_uint_eq(given[k] + given[k + 1], 1);
    for (size_t k = 600; k < 1000; k++) ck_assert_uint_le(given[k], 1);
}
END_TEST

static bool clear_and_look(const void *key, void *value, void *ctx)
{
    size_t *calls = ctx;
    (void)key;
    (void)value;
    ++*calls;
    oak_syncmap_clear(map);
    oak_collect();
    ck_assert_uint_le(alive(weak_value), 4); /* this one, and what a stack holds by chance */
    return true;
}

START_TEST(a_range_holds_nothing_but_its_entry)
{
    size_t calls = 0;
    map = oak_syncmap_new(&oak_map_cstring_ptr);
    test_away(fill, NULL);
    oak_syncmap_range(map, clear_and_look, &calls);
    ck_assert_uint_eq(calls, 1);
}
END_TEST

/* ---- bad hashes, hostile functions ---- */

static uint64_t same_hash(const void *key, uint64_t seed, size_t size)
{
    (void)key;
    (void)size;
    return seed;
}

static uint64_t few_hashes(const void *key, uint64_t seed, size_t size)
{
    (void)size;
    if (test_below(200) == 0) oak_collect();
    return (*(const uint64_t *)key % 5) ^ seed;
}

static bool same_word(const void *a, const void *b, size_t size)
{
    void *waste = oak_alloc(16);
    (void)size;
    return waste && *(const uint64_t *)a == *(const uint64_t *)b;
}

static const oak_map_type
    constant = { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = same_hash, .equal = same_word },
    few = { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = few_hashes, .equal = same_word };

START_TEST(a_constant_hash_is_correct_and_told)
{
    map = oak_syncmap_new(&constant);
    for (uint64_t k = 0; k < 100; k++) put(k, &given[k]);
    ck_assert_uint_eq(stats().same_hash, 100);
    for (uint64_t k = 0; k < 100; k++) ck_assert_ptr_eq(get(k), &given[k]);
    for (uint64_t k = 0; k < 99; k++) ck_assert(del(k) && !get(k));
    ck_assert_uint_eq(stats().entries, 1);
    ck_assert_uint_eq(stats().same_hash, 1);
    ck_assert_ptr_eq(get(99), &given[99]);
}
END_TEST

static bool store_another(const void *a, const void *b, size_t size)
{
    uint64_t k = 1000;
    if (*(const uint64_t *)a != k && *(const uint64_t *)b != k) put(k, NULL);
    return same_word(a, b, size);
}

START_TEST(a_function_of_the_keys_may_use_the_map)
{
    oak_map_type type = constant;
    type.equal = store_another;
    map = oak_syncmap_new(&type);
    for (uint64_t k = 0; k < 10; k++) put(k, &given[k]);
    for (uint64_t k = 0; k < 10; k++) ck_assert_ptr_eq(get(k), &given[k]);
    ck_assert_uint_eq(oak_syncmap_len(map), 11);
}
END_TEST

/* ---- the model ---- */

enum { SPACE = 700, SMALL = 64 };

static void *model[SPACE];
static bool present[SPACE];

static bool compare(const void *key, void *value, void *ctx)
{
    uint64_t k = *(const uint64_t *)key;
    ck_assert(k < SPACE && present[k]);
    ck_assert_ptr_eq(value, model[k]);
    ++*(size_t *)ctx;
    return true;
}

static void check_all(size_t len)
{
    size_t n = 0;
    oak_syncmap_range(map, compare, &n);
    ck_assert_uint_eq(n, len);
    ck_assert_uint_eq(oak_syncmap_len(map), len);
    ck_assert_uint_eq(stats().entries, len);
    if (len < 2) ck_assert_uint_le(stats().nodes, 1);
}

static size_t step(uint64_t k, void *value, size_t len)
{
    void *v = &v, *old = present[k] ? model[k] : NULL, *guess = test_below(2) ? old : value;
    int was = present[k];
    switch (test_below(8)) {
    case 0:
        put(k, value);
        present[k] = true;
        break;
    case 1:
        ck_assert_int_eq(oak_syncmap_swap(map, &k, value, &v), was);
        ck_assert_ptr_eq(v, old);
        present[k] = true;
        break;
    case 2:
        ck_assert_int_eq(oak_syncmap_load_or_store(map, &k, value, &v), was);
        ck_assert_ptr_eq(v, was ? old : value);
        if (was) value = old;
        present[k] = true;
        break;
    case 3:
        if (oak_syncmap_compare_and_swap(map, &k, guess, value))
            ck_assert(was && guess == old);
        else {
            ck_assert(!was || guess != old);
            value = old;
        }
        break;
    case 4:
        present[k] = was && guess != old;
        ck_assert(oak_syncmap_compare_and_delete(map, &k, guess) == (was && guess == old));
        value = old;
        break;
    default:
        ck_assert(oak_syncmap_load(map, &k, &v) == was);
        ck_assert_ptr_eq(v, old);
        ck_assert(oak_syncmap_load_and_delete(map, &k, &v) == was);
        ck_assert_ptr_eq(v, old);
        present[k] = false;
    }
    model[k] = value;
    return len + present[k] - (size_t)was;
}

START_TEST(random_operations_beside_a_model)
{
    static const oak_map_type *const types[] = { &oak_map_u64_ptr, &few, &constant };
    size_t len = 0, space = _i == 2 ? 60 : SPACE;
    test_seed("maps/syncmap");
    map = oak_syncmap_new(types[_i]);
    for (size_t i = 0, n = test_scale(_i ? 20000 : 200000); i < n; i++) {
        /* a few keys for a while, so that nodes come and go */
        size_t k = i / 1000 % 2 ? test_below(space) : test_below(space / 20);
        len = step(k, test_below(5) ? oak_alloc_noscan(16) : NULL, len);
        if (len <= SMALL) ck_assert_ptr_null(oaki_sync_check(map));
        if (i % 1000 == 0) check_all(len);
        if (test_below(1000) == 0) oak_collect();
        if (test_below(5000) == 0) {
            oak_syncmap_clear(map);
            memset(present, 0, sizeof present);
            len = 0;
        }
    }
    check_all(len);
    for (uint64_t k = 0; k < SPACE; k++) (void)del(k);
    memset(present, 0, sizeof present);
    check_all(0);
}
END_TEST

/* ---- no memory ---- */

START_TEST(without_memory_the_map_stays_whole)
{
    size_t stored = 0, failed = 0;
    map = oak_syncmap_new(&oak_map_u64_ptr);
    for (uint64_t k = 0; k < 5000; k++) put(k, map);
    oak_set_heap_max(test_stats().heap_inuse + ((size_t)64 << 10));
    for (uint64_t k = 5000; failed < 50; k++) {
        errno = 0;
        if (oak_syncmap_store(map, &k, map) == 0) {
            ck_assert_ptr_eq(get(k), map);
            stored++;
        } else {
            ck_assert_int_eq(errno, ENOMEM);
            ck_assert_ptr_null(get(k));
            failed++;
        }
    }
    ck_assert_uint_gt(stored, 0);
    ck_assert_uint_eq(oak_syncmap_len(map), 5000 + stored);
    for (uint64_t k = 0; k < 5000; k++) put(k, &map); /* needs none */
    for (uint64_t k = 0; k < 5000 + stored + failed; k++) {
        void *v = get(k);
        ck_assert(del(k) == (v != NULL));
    }
    ck_assert_uint_eq(oak_syncmap_len(map), 0);
    ck_assert_uint_eq(stats().entries, 0);
    oak_set_heap_max(0);
    for (uint64_t k = 0; k < 10000; k++) put(k, map);
    ck_assert_uint_eq(oak_syncmap_len(map), 10000);
}
END_TEST

Suite *suite_maps_syncmap(void)
{
    Suite *s = suite_create("maps/syncmap");
    TCase *c = tcase_create("syncmap");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, each_operation_says_what_was_there);
    tcase_add_test(c, an_unmade_map_reads_as_empty);
    tcase_add_test(c, a_store_in_a_nil_map_is_fatal);
    tcase_add_test(c, keys_of_any_kind);
    tcase_add_test(c, zeroes_are_one_key_and_nans_are_many);
    tcase_add_test(c, deleted_entries_are_gone_with_the_next_collection);
    tcase_add_test(c, bytes_follow_the_entries_that_are_left);
    tcase_add_test(c, replaced_and_cleared_values_go_at_once);
    tcase_add_test(c, keys_that_are_numbers_keep_nothing);
    tcase_add_test(c, range_gives_what_stays_once_and_nothing_twice);
    tcase_add_test(c, a_range_holds_nothing_but_its_entry);
    tcase_add_test(c, a_constant_hash_is_correct_and_told);
    tcase_add_test(c, a_function_of_the_keys_may_use_the_map);
    tcase_add_loop_test(c, random_operations_beside_a_model, 0, 3);
    tcase_add_test(c, without_memory_the_map_stays_whole);
    suite_add_tcase(s, c);
    return s;
}

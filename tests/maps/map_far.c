/* map_far.c - tests of lookups far past their home: entries of one hash. */
#include "tests/heap.h"
#include <check.h>
#include <oakum/map.h>

Suite *suite_maps_map_far(void);

#define KEYS UINT64_C(3000)

static uint64_t one_hash(const void *key, uint64_t seed, size_t size)
{
    (void)key;
    (void)size;
    return seed;
}

static size_t compared;

static bool counted_equal(const void *a, const void *b, size_t size)
{
    compared++;
    return memcmp(a, b, size) == 0;
}

/* Keys of these bytes, the number in the first, and, of odd ones, in the last too. */
static const void *key_of(uint64_t n, size_t size)
{
    static unsigned char key[24];
    memset(key, 0, sizeof key);
    memcpy(key, &n, size < sizeof n ? size : sizeof n);
    if (size > sizeof n && n % 2) key[size - 1] = (unsigned char)n;
    return key;
}

static void each_is_found(const oak_map_type *t, uint64_t from)
{
    oak_map *m = oak_map_new(t, 0);
    size_t size = t->key_size;
    for (uint64_t k = from; k < from + KEYS; k++) *(uint64_t *)oak_map_put(m, key_of(k, size)) = k;
    ck_assert_uint_eq(oak_map_len(m), KEYS);
    for (uint64_t k = from; k < from + KEYS; k++)
        ck_assert_uint_eq(*(uint64_t *)oak_map_get(m, key_of(k, size)), k);
    ck_assert_ptr_null(oak_map_get(m, key_of(from + KEYS, size)));
    for (uint64_t k = from; k < from + KEYS; k += 3)
        ck_assert(oak_map_delete(m, key_of(k, size)));
    for (uint64_t k = from; k < from + KEYS; k++)
        ck_assert(!oak_map_get(m, key_of(k, size)) == ((k - from) % 3 == 0));
    /* what is there is put over, not again */
    for (uint64_t k = from; k < from + KEYS; k++) *(uint64_t *)oak_map_put(m, key_of(k, size)) = ~k;
    ck_assert_uint_eq(oak_map_len(m), KEYS);
    for (uint64_t k = from; k < from + KEYS; k++)
        ck_assert_uint_eq(*(uint64_t *)oak_map_get(m, key_of(k, size)), ~k);
}

START_TEST(keys_without_an_equal_are_compared_by_their_bytes)
{
    static const size_t sizes[] = { 8, 4, 2, 16, 24 };
    test_heap_start(test_config());
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        oak_map_type t = { .key = OAK_KEY_CUSTOM, .key_size = sizes[i], .value_size = 8,
                           .hash = one_hash };
        each_is_found(&t, 1);
        each_is_found(&t, 0); /* a key of zeros is like an empty slot's */
    }
}
END_TEST

START_TEST(a_custom_equal_is_asked)
{
    oak_map_type t = { .key = OAK_KEY_CUSTOM, .key_size = 8, .value_size = 8, .hash = one_hash,
                       .equal = counted_equal };
    test_heap_start(test_config());
    each_is_found(&t, 0);
    ck_assert_uint_gt(compared, KEYS * KEYS);
}
END_TEST

Suite *suite_maps_map_far(void)
{
    Suite *s = suite_create("maps_map_far");
    TCase *t = tcase_create("all");
    tcase_add_test(t, keys_without_an_equal_are_compared_by_their_bytes);
    tcase_add_test(t, a_custom_equal_is_asked);
    suite_add_tcase(s, t);
    return s;
}

/* map_attack.c - byte strings that share a full hash under a seed that is known: under the next one
 * they don't, so they are no bad hash function. */
#include "tests/heap.h"

#include <check.h>
#include <oakum/map.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

Suite *suite_maps_map_attack(void);

typedef struct pair {
    uint64_t lo, hi; /* as XXH3 reads them from 16 bytes */
} pair;

static uint64_t secret_at(size_t i)
{
    return oak_map_load8_((const char *)XXH3_kSecret + i);
}

/* XXH3 of 16 bytes is a bijection of 16 + swap(lo) + hi + fold(lo * hi), of lo and hi after their
 * bits were flipped: for an even lo there is about one hi for each sum. */
static bool solve(uint64_t lo, uint64_t sum, uint64_t *hi)
{
    uint64_t inverse = 1, rest = sum - 16 - __builtin_bswap64(lo);
    for (int i = 0; i < 6; i++) inverse *= 2 - (lo + 1) * inverse; /* Newton's, modulo 2^64 */
    for (uint64_t high = 0; high <= lo; high++)
        for (int sign = 0; sign < 2; sign++) {
            *hi = (sign ? rest - high : rest + high) * inverse;
            __uint128_t product = (__uint128_t)lo * *hi;
            if (*hi + ((uint64_t)product ^ (uint64_t)(product >> 64)) == rest) return true;
        }
    return false;
}

/* Of the sum that all of them have; where there is no such hi, it has another. */
static pair crafted(uint64_t lo, uint64_t seed)
{
    pair k = { .lo = lo ^ ((secret_at(24) ^ secret_at(32)) + seed) };
    (void)solve(lo, UINT64_C(0x123456789abcdef0), &k.hi);
    k.hi ^= (secret_at(40) ^ secret_at(48)) - seed;
    return k;
}

START_TEST(keys_that_share_a_hash_under_one_seed_only)
{
    enum { N = 4000 };
    static const oak_map_type bytes = {
        .key = OAK_KEY_BYTES, .key_size = sizeof(pair), .value_size = 8, .name = "bytes"
    };
    test_seed("maps_map_attack");
    test_heap_start_stressed(test_config());
    oak_map *m = oak_map_new(&bytes, 0);
    oak_map_set_seed(m, test_random());
    uint64_t seed = m->seed;
    pair first = crafted(0, seed);
    for (uint64_t n = 0, lo = 0; n < N; lo += 2) {
        pair k = crafted(lo, seed);
        if (XXH3_64bits_withSeed(&k, sizeof k, seed) !=
            XXH3_64bits_withSeed(&first, sizeof first, seed))
            continue;
        *(uint64_t *)oak_map_put(m, &k) = n++;
    }
    ck_assert_int_eq(oak_map_settle(m), 0);
    oak_map_stats s;
    oak_map_stats_read(m, &s);
    ck_assert_uint_eq(s.len, N);
    ck_assert_uint_eq(s.reseeds, 1);
    ck_assert(!s.bad_hash);
    ck_assert(s.mean_probe < s.expected_probe * 1.1 + 0.05);
}
END_TEST

/* Iterators tell keys of 16 bytes by a hash of them, which the map's seed has no part in. */
START_TEST(keys_that_no_seed_of_ours_leaves_out)
{
    enum { N = 13, MORE = 100 };
    const oak_map_type bytes = { .key = OAK_KEY_BYTES, .key_size = sizeof(pair), .value_size = 8,
                                 .flags = _i ? OAK_MAP_KEY_UPDATE : 0 };
    test_heap_start_stressed(test_config());
    oak_map *m = oak_map_new(&bytes, 0);
    oak_map_iter it;
    size_t given[N + 1] = { 0 };
    uint64_t n = 0, sum = 0;
    for (uint64_t lo = 0; n < N; lo += 2) {
        pair k = crafted(lo, (uint64_t)_i);
        uint64_t hash = XXH3_64bits_withSeed(&k, sizeof k, (uint64_t)_i);
        if (lo == 0) sum = hash;
        if (hash == sum) *(uint64_t *)oak_map_put(m, &k) = n++;
    }
    oak_map_iter_init(&it, m);
    for (size_t at = 0; oak_map_iter_next(&it); at++) {
        given[*(uint64_t *)it.value]++;
        for (uint64_t i = 0; at == 3 && i < MORE; i++)
            *(uint64_t *)oak_map_put(m, &(pair){ i, i }) = N;
    }
    for (size_t i = 0; i < N; i++) ck_assert_uint_eq(given[i], 1);
}
END_TEST

Suite *suite_maps_map_attack(void)
{
    Suite *s = suite_create("maps_map_attack");
    TCase *tc = tcase_create("attack");
    tcase_add_test(tc, keys_that_share_a_hash_under_one_seed_only);
    tcase_add_loop_test(tc, keys_that_no_seed_of_ours_leaves_out, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

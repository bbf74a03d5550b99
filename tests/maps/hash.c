/* hash.c - hashes: seeded, well mixed at both ends, golden values, NaN and -0. */
#include "maps/hash.h"
#include <check.h>
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

/* Pinned, as stored hashes and recorded runs depend on them. */
START_TEST(golden_values)
{
    ck_assert_uint_eq(oaki_hash_u64(0, 0), 0);
    ck_assert_uint_eq(oaki_hash_u64(1, 0), UINT64_C(0x5692161d100b05e5));
    ck_assert_uint_eq(oaki_hash_u64(1, 1), UINT64_C(0xe4d971771b652c20));
    ck_assert_uint_eq(oaki_hash_bytes("oakum", 5, 0), UINT64_C(0x6115e413af05a73e));
    ck_assert_uint_eq(oaki_hash_bytes("oakum", 5, 9), UINT64_C(0x3c9c642041b7039a));
}
END_TEST

START_TEST(integers_of_either_size_take_the_mixer)
{
    uint64_t x = 77;
    uint32_t y = 77;
    ck_assert_uint_eq(oaki_hash_bytes(&x, 8, 5), oaki_hash_u64(77, 5));
    ck_assert_uint_eq(oaki_hash_bytes(&y, 4, 5), oaki_hash_u64(77, 5));
}
END_TEST

/* Each input bit flips each output bit in about half of 4096 trials: within 6 standard
 * deviations. */
START_TEST(every_bit_counts)
{
    unsigned flips[64][64] = { { 0 } };
    for (uint64_t x = 0; x < 4096; x++)
        for (unsigned in = 0; in < 64; in++) {
            uint64_t changed = oaki_hash_u64(x, 3) ^ oaki_hash_u64(x ^ (UINT64_C(1) << in), 3);
            for (unsigned out = 0; out < 64; out++) flips[in][out] += (changed >> out) & 1;
        }
    for (unsigned in = 0; in < 64; in++)
        for (unsigned out = 0; out < 64; out++)
            if (flips[in][out] < 2048 - 192 || flips[in][out] > 2048 + 192)
                ck_abort_msg("bit %u flips bit %u in %u of 4096", in, out, flips[in][out]);
}
END_TEST

/* Consecutive integers in 1024 buckets by the low bits, and by the high ones: chi-squared. */
START_TEST(consecutive_keys_spread)
{
    enum { N = 1 << 18, BUCKETS = 1024 };
    static unsigned low[BUCKETS], high[BUCKETS];
    for (uint64_t x = 0; x < N; x++) {
        uint64_t h = oaki_hash_u64(x, 12345);
        low[h % BUCKETS]++;
        high[h >> 54]++;
    }
    double chi_low = 0, chi_high = 0, mean = (double)N / BUCKETS;
    for (unsigned i = 0; i < BUCKETS; i++) {
        chi_low += (low[i] - mean) * (low[i] - mean) / mean;
        chi_high += (high[i] - mean) * (high[i] - mean) / mean;
    }
    double limit = BUCKETS + 6 * sqrt(2.0 * BUCKETS);
    ck_assert_msg(chi_low < limit && chi_high < limit, "chi-squared %f, %f", chi_low, chi_high);
}
END_TEST

START_TEST(the_seed_matters)
{
    for (uint64_t seed = 1; seed < 100; seed++) {
        if (oaki_hash_u64(42, seed) == oaki_hash_u64(42, seed - 1)) ck_abort_msg("u64");
        if (oaki_hash_bytes("abc", 3, seed) == oaki_hash_bytes("abc", 3, seed - 1))
            ck_abort_msg("bytes");
        if (oaki_hash_double(1.5, seed) == oaki_hash_double(1.5, seed - 1)) ck_abort_msg("double");
    }
}
END_TEST

START_TEST(doubles)
{
    ck_assert_uint_eq(oaki_hash_double(0.0, 4), oaki_hash_double(-0.0, 4));
    ck_assert_uint_eq(oaki_hash_double(2.5, 4), oaki_hash_double(2.5, 4));
    ck_assert_uint_ne(oaki_hash_double(2.5, 4), oaki_hash_double(-2.5, 4));
    ck_assert_uint_ne(oaki_hash_double(NAN, 4), oaki_hash_double(NAN, 4));
}
END_TEST

START_TEST(random_numbers_differ)
{
    uint64_t seen[1000];
    for (unsigned i = 0; i < 1000; i++) {
        seen[i] = oaki_hash_random();
        for (unsigned j = 0; j < i; j++)
            if (seen[j] == seen[i]) ck_abort_msg("%u and %u are the same", i, j);
    }
}
END_TEST

/* The value that its authors publish for the bytes 0 to 7 under the key of the bytes 0 to 15. */
START_TEST(siphash_is_siphash)
{
    const uint64_t key[2] = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
    ck_assert_uint_eq(oaki_hash_secret(key[0], key), UINT64_C(0x93f5f5799a932462));
}
END_TEST

START_TEST(a_forks_child_has_its_own)
{
    uint64_t mine, its;
    int pipes[2], status;
    (void)oaki_hash_random();
    ck_assert_int_eq(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        its = oaki_hash_random();
        _exit(write(pipes[1], &its, sizeof its) != sizeof its);
    }
    mine = oaki_hash_random();
    ck_assert_int_eq(read(pipes[0], &its, sizeof its), sizeof its);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_ne(its, mine);
}
END_TEST

Suite *suite_maps_hash(void)
{
    Suite *s = suite_create("maps_hash");
    TCase *tc = tcase_create("hash");
    tcase_add_test(tc, golden_values);
    tcase_add_test(tc, integers_of_either_size_take_the_mixer);
    tcase_add_test(tc, every_bit_counts);
    tcase_add_test(tc, consecutive_keys_spread);
    tcase_add_test(tc, the_seed_matters);
    tcase_add_test(tc, doubles);
    tcase_add_test(tc, random_numbers_differ);
    tcase_add_test(tc, siphash_is_siphash);
    tcase_add_test(tc, a_forks_child_has_its_own);
    suite_add_tcase(s, tc);
    return s;
}

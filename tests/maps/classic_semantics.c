/* classic_semantics.c - what a program may rely on: absent and nil, zeroed values, NaN and -0, key
 * updates, odd sizes, large keys and values, hints, seeds, clear. Small maps, public functions. */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <oakum/oakum.h>
#include <string.h>

static void put_int(oak_classic_map *m, int64_t k, int64_t v)
{
    *(int64_t *)oak_classic_put(m, &k) = v;
}

/* -1 when absent */
static int64_t get_int(const oak_classic_map *m, int64_t k)
{
    int64_t *v = oak_classic_get(m, &k);
    return v ? *v : -1;
}

static bool delete_int(oak_classic_map *m, int64_t k)
{
    return oak_classic_delete(m, &k);
}

static size_t count_by_range(const oak_classic_map *m)
{
    oak_classic_iter it;
    size_t n = 0;
    for (oak_classic_iter_init(&it, m); oak_classic_iter_next(&it);) n++;
    return n;
}

START_TEST(a_nil_map_is_empty)
{
    oak_classic_iter it;
    oak_classic_stats s;
    int64_t k = 1;
    ck_assert_ptr_null(oak_classic_get(NULL, &k));
    ck_assert(!oak_classic_delete(NULL, &k));
    ck_assert_uint_eq(oak_classic_len(NULL), 0);
    oak_classic_clear(NULL);
    oak_classic_iter_init(&it, NULL);
    ck_assert(!oak_classic_iter_next(&it));
    ck_assert(!oak_classic_iter_next(&it));
    ck_assert_ptr_null(it.key);
    memset(&s, 1, sizeof s);
    oak_classic_stats_read(NULL, &s);
    ck_assert_uint_eq(s.count + s.array_bytes + s.longest_chain, 0);
}
END_TEST

START_TEST(an_empty_map_has_nothing)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, _i ? 100 : 0);
    ck_assert_uint_eq(oak_classic_len(m), 0);
    ck_assert_int_eq(get_int(m, 0), -1);
    ck_assert(!delete_int(m, 0));
    ck_assert_uint_eq(count_by_range(m), 0);
    oak_classic_clear(m);
    put_int(m, 0, 5);
    ck_assert_int_eq(get_int(m, 0), 5);
    ck_assert_int_eq(get_int(m, 1), -1);
}
END_TEST

START_TEST(put_get_delete)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 0);
    for (int64_t k = 0; k < 5000; k++) put_int(m, k, 3 * k);
    ck_assert_uint_eq(oak_classic_len(m), 5000);
    for (int64_t k = 0; k < 5000; k += 2)
        if (!delete_int(m, k)) ck_abort_msg("%d was not there", (int)k);
    ck_assert(!delete_int(m, 0));
    ck_assert_uint_eq(oak_classic_len(m), 2500);
    for (int64_t k = 0; k < 5000; k++)
        if (get_int(m, k) != (k % 2 ? 3 * k : -1)) ck_abort_msg("%d is wrong", (int)k);
    ck_assert_uint_eq(count_by_range(m), 2500);
}
END_TEST

START_TEST(an_overwrite_keeps_the_slot_and_the_length)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 0);
    int64_t k = 9;
    void *slot = oak_classic_put(m, &k);
    ck_assert_ptr_eq(oak_classic_put(m, &k), slot);
    ck_assert_ptr_eq(oak_classic_get(m, &k), slot);
    ck_assert_uint_eq(oak_classic_len(m), 1);
}
END_TEST

START_TEST(a_new_value_is_zero_even_in_a_used_slot)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 0);
    for (int64_t k = 0; k < 300; k++) put_int(m, k, -7);
    for (int64_t k = 0; k < 300; k++) delete_int(m, k);
    for (int64_t k = 0; k < 300; k++)
        if (*(int64_t *)oak_classic_put(m, &k) != 0) ck_abort_msg("a stale value");
}
END_TEST

static oak_classic_string string(const char *s)
{
    return (oak_classic_string){ s, strlen(s) };
}

START_TEST(strings_are_equal_by_content_and_the_newer_key_is_kept)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_string_int, 0);
    char text[] = "planks";
    oak_classic_string a = string("planks"), b = string(text), other = string("plank");
    *(int64_t *)oak_classic_put(m, &a) = 1;
    ck_assert_int_eq(*(int64_t *)oak_classic_get(m, &b), 1);
    ck_assert_ptr_null(oak_classic_get(m, &other));
    *(int64_t *)oak_classic_put(m, &b) = 2;
    oak_classic_iter it;
    oak_classic_iter_init(&it, m);
    ck_assert(oak_classic_iter_next(&it));
    ck_assert_ptr_eq(((const oak_classic_string *)it.key)->data, text);
    ck_assert_int_eq(*(int64_t *)it.value, 2);
    ck_assert(!oak_classic_iter_next(&it));
}
END_TEST

START_TEST(an_empty_string_is_a_key)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_string_any, 0);
    oak_classic_string empty = { NULL, 0 }, also = { "x", 0 };
    ck_assert_ptr_nonnull(oak_classic_put(m, &empty));
    ck_assert_ptr_nonnull(oak_classic_get(m, &also));
    ck_assert_uint_eq(oak_classic_len(m), 1);
}
END_TEST

START_TEST(zeros_of_both_signs_are_one_key)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_double_int, 0);
    double plus = 0.0, minus = -0.0;
    oak_classic_iter it;
    *(int64_t *)oak_classic_put(m, &plus) = 1;
    *(int64_t *)oak_classic_put(m, &minus) = 2;
    ck_assert_uint_eq(oak_classic_len(m), 1);
    ck_assert_int_eq(*(int64_t *)oak_classic_get(m, &plus), 2);
    oak_classic_iter_init(&it, m);
    ck_assert(oak_classic_iter_next(&it));
    ck_assert(signbit(*(const double *)it.key));
    ck_assert(oak_classic_delete(m, &plus));
    ck_assert_uint_eq(oak_classic_len(m), 0);
}
END_TEST

START_TEST(a_key_that_changes_sign_in_growth_is_given_once_as_it_is_now)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_double_int, 0);
    double zero = 0.0, minus = -0.0;
    oak_classic_put(m, &zero);
    for (int i = 1; i < 4; i++) {
        double d = i;
        oak_classic_put(m, &d);
    }
    oak_classic_iter it;
    int zeros = 0;
    oak_classic_iter_init(&it, m);
    for (int step = 0; oak_classic_iter_next(&it); step++) {
        double d = *(const double *)it.key;
        if (d == 0) {
            zeros++;
            ck_assert(signbit(d) != 0 || step == 0);
        }
        if (step == 0) {
            oak_classic_put(m, &minus);
            for (int i = 100; i < 500; i++) {
                double more = i;
                oak_classic_put(m, &more);
            }
        }
    }
    ck_assert_int_eq(zeros, 1);
}
END_TEST

START_TEST(each_nan_is_a_new_key_and_is_never_found)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_double_int, 0);
    double nan_key = NAN;
    for (int64_t i = 0; i < 1000; i++) *(int64_t *)oak_classic_put(m, &nan_key) = i;
    *(int64_t *)oak_classic_put(m, &(double){ 0 }) = 0;
    ck_assert_uint_eq(oak_classic_len(m), 1001);
    oak_classic_stats s;
    oak_classic_stats_read(m, &s);
    ck_assert_uint_eq(s.unfindable, 1000);
    ck_assert(oak_classic_delete(m, &(double){ 0 }));
    ck_assert_ptr_null(oak_classic_get(m, &nan_key));
    ck_assert(!oak_classic_delete(m, &nan_key));
    bool seen[1000] = { false };
    oak_classic_iter it;
    for (oak_classic_iter_init(&it, m); oak_classic_iter_next(&it);) {
        int64_t v = *(int64_t *)it.value;
        if (seen[v]) ck_abort_msg("%d twice", (int)v);
        seen[v] = true;
        oak_classic_delete(m, it.key);
    }
    for (int i = 0; i < 1000; i++)
        if (!seen[i]) ck_abort_msg("%d is missing", i);
    ck_assert_uint_eq(oak_classic_len(m), 1000);
    oak_classic_clear(m);
    ck_assert_uint_eq(oak_classic_len(m), 0);
    ck_assert_uint_eq(count_by_range(m), 0);
}
END_TEST

/* NaNs hash differently each time, so evacuation and iterators have to agree by other means. */
START_TEST(nans_are_given_once_when_the_map_grows_meanwhile)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_double_int, 0);
    double nan_key = NAN;
    oak_classic_set_seed(m, (uint32_t)_i);
    for (int64_t i = 0; i < 60 + _i; i++) *(int64_t *)oak_classic_put(m, &nan_key) = i;
    oak_classic_iter it;
    int given[200] = { 0 }, step = 0;
    for (oak_classic_iter_init(&it, m); oak_classic_iter_next(&it); step++) {
        int64_t v = *(int64_t *)it.value;
        if (v >= 0) given[v]++;
        if (step < 300) {
            double more = step;
            *(int64_t *)oak_classic_put(m, &more) = -1;
        }
    }
    for (int i = 0; i < 60 + _i; i++)
        if (given[i] != 1) ck_abort_msg("seed %d: %d given %d times", _i, i, given[i]);
}
END_TEST

START_TEST(values_and_keys_may_have_no_size)
{
    static const oak_classic_type set = { 8, 0, oak_classic_hash_bytes, oak_classic_equal_bytes,
                                          0 };
    static const oak_classic_type unit = { 0, 0, oak_classic_hash_bytes, oak_classic_equal_bytes,
                                           0 };
    oak_classic_map *s = oak_classic_new(&set, 0), *u = oak_classic_new(&unit, 0);
    for (int64_t k = 0; k < 1000; k++)
        if (!oak_classic_put(s, &k)) ck_abort_msg("no slot");
    ck_assert_uint_eq(count_by_range(s), 1000);
    ck_assert_ptr_nonnull(oak_classic_put(u, ""));
    ck_assert_ptr_nonnull(oak_classic_put(u, ""));
    ck_assert_uint_eq(oak_classic_len(u), 1);
    ck_assert(oak_classic_delete(u, ""));
}
END_TEST

/* Sizes around what is stored in place (128), in words and not. */
static const size_t sizes[] = { 1, 3, 8, 12, 127, 128, 129, 136, 1000 };
enum { SIZES = sizeof sizes / sizeof sizes[0] };

START_TEST(any_size_of_key_and_value)
{
    oak_classic_type t = { sizes[_i / SIZES], sizes[_i % SIZES], oak_classic_hash_bytes,
                           oak_classic_equal_bytes, 0 };
    oak_classic_map *m = oak_classic_new(&t, 0);
    unsigned char key[1000], want[1000];
    int n = t.key_size == 1 ? 256 : 700;
    for (int k = 0; k < n; k++) {
        memset(key, k, sizeof key);
        key[t.key_size / 2] = (unsigned char)(t.key_size == 1 ? k : k >> 8);
        memset(oak_classic_put(m, key), k + 1, t.value_size);
    }
    ck_assert_uint_eq(oak_classic_len(m), (size_t)n);
    for (int k = 0; k < n; k++) {
        memset(key, k, sizeof key);
        memset(want, k + 1, sizeof want);
        key[t.key_size / 2] = (unsigned char)(t.key_size == 1 ? k : k >> 8);
        void *v = oak_classic_get(m, key);
        if (!v || memcmp(v, want, t.value_size) != 0) ck_abort_msg("key %d", k);
        if (k % 3 == 0 && !oak_classic_delete(m, key)) ck_abort_msg("delete %d", k);
    }
    ck_assert_uint_eq(oak_classic_len(m), (size_t)(n - (n + 2) / 3));
    ck_assert_uint_eq(count_by_range(m), oak_classic_len(m));
}
END_TEST

START_TEST(large_values_stay_where_they_are_when_the_map_grows)
{
    oak_classic_type t = { 200, 129, oak_classic_hash_bytes, oak_classic_equal_bytes, 0 };
    oak_classic_map *m = oak_classic_new(&t, 0);
    char key[200] = { 1 };
    void *slot = oak_classic_put(m, key);
    for (int k = 2; k < 100; k++) {
        key[0] = (char)k;
        oak_classic_put(m, key);
    }
    key[0] = 1;
    ck_assert_ptr_eq(oak_classic_get(m, key), slot);
}
END_TEST

START_TEST(bad_types_are_refused)
{
    oak_classic_type t = { 8, 8, NULL, oak_classic_equal_bytes, 0 };
    errno = 0;
    ck_assert_ptr_null(oak_classic_new(&t, 0));
    ck_assert_int_eq(errno, EINVAL);
    t.hash = oak_classic_hash_bytes;
    t.equal = NULL;
    errno = 0;
    ck_assert_ptr_null(oak_classic_new(&t, 0));
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_ptr_null(oak_classic_new(NULL, 0));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* Beyond all addresses, beyond the range, beyond a limit. */
START_TEST(a_hint_that_no_memory_is_for_is_none)
{
    static const size_t hints[] = { SIZE_MAX, (size_t)1 << 45, (size_t)1 << 40, (size_t)1 << 22 };
    oak_classic_stats s;
    oak_set_heap_max((size_t)16 << 20);
    errno = 0;
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, hints[_i]);
    oak_set_heap_max(0);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(errno, 0);
    oak_classic_stats_read(m, &s);
    ck_assert_uint_eq(s.B, 0);
    put_int(m, 1, 1);
    ck_assert_int_eq(get_int(m, 1), 1);
}
END_TEST

START_TEST(a_hint_saves_the_growth)
{
    oak_classic_stats s;
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 10000);
    for (int64_t k = 0; k < 10000; k++) put_int(m, k, k);
    oak_classic_stats_read(m, &s);
    ck_assert_uint_eq(s.growths, 0);
    ck_assert_uint_eq(s.B, 11);
}
END_TEST

START_TEST(clear_empties_and_keeps_the_array)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 0);
    oak_classic_stats before, after;
    for (int64_t k = 0; k < 3000; k++) put_int(m, k, k);
    oak_classic_stats_read(m, &before);
    oak_classic_clear(m);
    oak_classic_stats_read(m, &after);
    ck_assert_uint_eq(after.count, 0);
    ck_assert_uint_eq(after.B, before.B);
    ck_assert_uint_eq(after.array_bytes, before.array_bytes);
    ck_assert_uint_eq(after.overflow_buckets, 0);
    ck_assert(!after.growing);
    ck_assert_int_eq(get_int(m, 5), -1);
    for (int64_t k = 0; k < 3000; k++) put_int(m, k, -k);
    ck_assert_int_eq(get_int(m, 5), -5);
    ck_assert_uint_eq(count_by_range(m), 3000);
}
END_TEST

static void grow_twice(oak_classic_map *m, void *value)
{
    oak_classic_stats s;
    uint64_t growths;
    oak_classic_stats_read(m, &s);
    growths = s.growths + 2;
    for (int64_t k = 1000000; s.growths < growths; k++) {
        *(void **)oak_classic_put(m, &k) = value;
        oak_classic_stats_read(m, &s);
    }
}

/* Writes evacuate before they look, and evacuation clears what it leaves behind: also the bytes of
 * the key that the write was given, when those are the map's own. */
START_TEST(an_iterators_key_may_be_put_and_deleted)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_ptr, 0);
    oak_classic_iter it;
    for (int64_t k = 1; k <= 400; k++) *(void **)oak_classic_put(m, &k) = m;
    oak_classic_iter_init(&it, m);
    oak_classic_iter_next(&it);
    grow_twice(m, m); /* now the growth under way clears, and the iterator's keys are in it */
    size_t len = oak_classic_len(m), n = 0;
    for (; oak_classic_iter_next(&it); n++) {
        if (_i == 0) {
            void *slot = oak_classic_put(m, it.key);
            if (*(void **)slot != m || oak_classic_len(m) != len) ck_abort_msg("put %zu", n);
        } else {
            if (!oak_classic_delete(m, it.key)) ck_abort_msg("delete %zu", n);
        }
    }
    ck_assert_uint_eq(oak_classic_len(m), _i == 0 ? len : len - n);
    ck_assert_uint_ge(n, 399);
}
END_TEST

static uint64_t run_with_seed(uint32_t seed)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 0);
    oak_classic_iter it;
    uint64_t sum = 0;
    oak_classic_set_seed(m, seed);
    for (int round = 0; round < 3; round++) {
        for (int64_t k = 0; k < 900; k++) put_int(m, k, k);
        for (oak_classic_iter_init(&it, m); oak_classic_iter_next(&it);)
            sum = sum * 31 + *(const uint64_t *)it.key;
        for (int64_t k = 0; k < 900; k++) delete_int(m, k); /* takes a new seed at the end */
    }
    return sum;
}

START_TEST(a_seed_makes_runs_repeat)
{
    ck_assert_uint_eq(run_with_seed(7), run_with_seed(7));
    ck_assert_uint_ne(run_with_seed(7), run_with_seed(8));
}
END_TEST

START_TEST(without_a_seed_maps_and_ranges_differ)
{
    oak_classic_map *m[2];
    int64_t first[16];
    bool differ = false;
    oak_classic_iter it;
    for (int i = 0; i < 2; i++) m[i] = oak_classic_new(&oak_classic_int_int, 0);
    for (int64_t k = 0; k < 1000; k++) put_int(m[0], k, k);
    for (int i = 0; i < 16; i++) {
        oak_classic_iter_init(&it, m[0]);
        oak_classic_iter_next(&it);
        first[i] = *(const int64_t *)it.key;
        differ = differ || first[i] != first[0];
    }
    ck_assert(differ); /* equal by chance: 2^-105 */
}
END_TEST

Suite *suite_maps_classic_semantics(void)
{
    Suite *s = suite_create("maps_classic_semantics");
    TCase *tc = tcase_create("basics");
    tcase_add_test(tc, a_nil_map_is_empty);
    tcase_add_loop_test(tc, an_empty_map_has_nothing, 0, 2);
    tcase_add_test(tc, put_get_delete);
    tcase_add_test(tc, an_overwrite_keeps_the_slot_and_the_length);
    tcase_add_test(tc, a_new_value_is_zero_even_in_a_used_slot);
    tcase_add_test(tc, clear_empties_and_keeps_the_array);
    suite_add_tcase(s, tc);
    tc = tcase_create("keys");
    tcase_add_test(tc, strings_are_equal_by_content_and_the_newer_key_is_kept);
    tcase_add_test(tc, an_empty_string_is_a_key);
    tcase_add_test(tc, zeros_of_both_signs_are_one_key);
    tcase_add_test(tc, a_key_that_changes_sign_in_growth_is_given_once_as_it_is_now);
    tcase_add_test(tc, each_nan_is_a_new_key_and_is_never_found);
    tcase_add_loop_test(tc, an_iterators_key_may_be_put_and_deleted, 0, 2);
    tcase_add_loop_test(tc, nans_are_given_once_when_the_map_grows_meanwhile, 0, 60);
    suite_add_tcase(s, tc);
    tc = tcase_create("sizes");
    tcase_add_test(tc, values_and_keys_may_have_no_size);
    tcase_add_loop_test(tc, any_size_of_key_and_value, 0, SIZES * SIZES);
    tcase_add_test(tc, large_values_stay_where_they_are_when_the_map_grows);
    suite_add_tcase(s, tc);
    tc = tcase_create("making");
    tcase_add_test(tc, bad_types_are_refused);
    tcase_add_loop_test(tc, a_hint_that_no_memory_is_for_is_none, 0, 4);
    tcase_add_test(tc, a_hint_saves_the_growth);
    tcase_add_test(tc, a_seed_makes_runs_repeat);
    tcase_add_test(tc, without_a_seed_maps_and_ranges_differ);
    suite_add_tcase(s, tc);
    return s;
}

/* map_semantics.c - what Go's own tests of its map check, each with a test of this map: NaN keys,
 * zeros of both signs, which key stays, iteration while entries are deleted, added or cleared and
 * while the map grows or shrinks, the order of iteration. (A hash that leaves: map_misuse.c.) */
#include "maps/map.h"
#include "tests/heap.h"

#include <check.h>
#include <math.h>
#include <oakum/map.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_maps_map_semantics(void);

static void start(void)
{
    test_heap_start_stressed(test_config());
}

static oak_map *numbers(uint64_t n)
{
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t k = 0; k < n; k++) *(uint64_t *)oak_map_put(m, &k) = k;
    return m;
}

/* ---- NaN ---- */

static double nan_of(uint64_t payload)
{
    uint64_t bits = UINT64_C(0x7ff8000000000000) | payload;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

START_TEST(each_put_of_a_nan_adds_an_entry)
{
    enum { N = 3000 };
    static bool seen[N];
    start();
    oak_map *m = oak_map_new(&oak_map_double_u64, 0);
    for (uint64_t i = 0; i < N; i++) {
        double d = nan_of(i % 3);
        uint64_t *v = oak_map_put(m, &d);
        if (!v || *v != 0) ck_abort_msg("NaN %lu", (unsigned long)i);
        *v = i;
        if (oak_map_len(m) != i + 1) ck_abort_msg("len %zu", oak_map_len(m));
        if (oak_map_get(m, &d) || oak_map_delete(m, &d)) ck_abort_msg("found one");
    }
    ck_assert_int_eq(oak_map_settle(m), 0);
    oak_map_iter it;
    size_t given = 0;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it); given++) {
        uint64_t v = *(uint64_t *)it.value;
        ck_assert(isnan(*(const double *)it.key));
        if (v >= N || seen[v]) ck_abort_msg("value %lu", (unsigned long)v);
        seen[v] = true;
        if (oak_map_get(m, it.key) || oak_map_delete(m, it.key)) ck_abort_msg("found one");
    }
    ck_assert_uint_eq(given, N);
    oak_map_clear(m);
    ck_assert_uint_eq(oak_map_len(m), 0);
    oak_map_iter_init(&it, m);
    ck_assert(!oak_map_iter_next(&it));
}
END_TEST

/* They all have the same bits, but must not lie in one place: growth would take a time that is the
 * square of their number. */
START_TEST(many_nans_lie_as_far_apart_as_other_keys)
{
    size_t n = test_scale(300000);
    oak_map_stats s;
    start();
    oak_map *m = oak_map_new(&oak_map_double_u64, 0);
    for (size_t i = 0; i < n; i++) oak_map_put(m, &(double){ NAN });
    oak_map_stats_read(m, &s);
    ck_assert_uint_eq(s.len, n);
    ck_assert_uint_eq(s.unfindable, n);
    ck_assert_uint_le(s.same_hash, 3);
    ck_assert_uint_le(s.longest_probe, 12);
    ck_assert_uint_eq(s.reseeds, 0);
    ck_assert(!s.bad_hash && s.mean_probe < 1.5);
}
END_TEST

/* Iterators tell keys by their bytes. Of a float's four million payloads, chance would give some to
 * two of so many NaNs. */
START_TEST(no_two_nans_have_the_same_bytes)
{
    enum { N = 20000, PAYLOADS = 1 << 22 };
    bool *seen = calloc(PAYLOADS, sizeof *seen);
    const oak_map_type t = { .key = OAK_KEY_DOUBLE, .key_size = sizeof(float), .value_size = 8 };
    start();
    oak_map *m = oak_map_new(&t, 0);
    for (int i = 0; i < N; i++) oak_map_put(m, &(float){ NAN });
    oak_map_iter it;
    size_t given = 0;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it); given++) {
        uint32_t bits;
        memcpy(&bits, it.key, sizeof bits);
        if (seen[bits % PAYLOADS]) ck_abort_msg("%x twice", bits);
        seen[bits % PAYLOADS] = true;
    }
    ck_assert_uint_eq(given, N);
    free(seen);
}
END_TEST

/* ---- keys that lie in the map ---- */

/* Of the entries that the next write moves, whose segment it may free; or of any. */
static uint64_t *value_that_moves(oak_map *m, uint64_t any)
{
    const struct oak_map_array_ *a = &m->array[1];
    if (!m->resizing) return oak_map_get(m, &any);
    for (size_t h = oaki_map_home(a, m->last + 1), n = 0; n < 2; n++, h++) {
        unsigned used = h < oaki_map_homes(a) ? oaki_map_used(oaki_map_tags(a, h)) : 0;
        if (used) return (uint64_t *)(void *)(oaki_map_entry(m, a, h, oaki_ctz(used)) + 8);
    }
    return oak_map_get(m, &any);
}

/* A value is the next key: what a put reads as its key moves, and its memory goes, in that put. */
START_TEST(a_value_as_the_next_key)
{
    enum { N = 30000, LEFT = 100 };
    start();
    oaki_debug_switches.poison = 1;
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    oak_map_put(m, &(uint64_t){ 0 });
    for (uint64_t i = 1; i < N; i++) {
        uint64_t *v = value_that_moves(m, i - 1);
        *v = i;
        if (*(uint64_t *)oak_map_put(m, v) != 0) ck_abort_msg("%lu: not new", (unsigned long)i);
        if (!oak_map_get(m, &i)) ck_abort_msg("%lu: another key", (unsigned long)i);
    }
    for (uint64_t i = LEFT, key; i < N; i++) {
        if (!oak_map_delete(m, &i)) ck_abort_msg("%lu", (unsigned long)i);
        uint64_t *v = value_that_moves(m, i % LEFT);
        *v = key = N + i;
        *(uint64_t *)oak_map_put(m, v) = i;
        if (!oak_map_delete(m, &key)) ck_abort_msg("%lu: another key", (unsigned long)i);
    }
    ck_assert_uint_eq(oak_map_len(m), LEFT);
}
END_TEST

/* The only keys that an iterator gives and a put adds again. */
START_TEST(a_nan_that_an_iterator_gave)
{
    enum { N = 20000 };
    start();
    oak_map *m = oak_map_new(&oak_map_double_u64, 0);
    oak_map_iter it;
    *(uint64_t *)oak_map_put(m, &(double){ NAN }) = 1;
    while (oak_map_len(m) < N) {
        oak_map_iter_init(&it, m);
        for (size_t n = 0; n < 100 && oak_map_iter_next(&it); n++) {
            uint64_t *v = oak_map_put(m, it.key);
            if (*v != 0) ck_abort_msg("not new");
            *v = 1;
        }
    }
    size_t given = 0;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it); given++)
        if (!isnan(*(const double *)it.key) || *(uint64_t *)it.value != 1) ck_abort_msg("given");
    ck_assert_uint_eq(given, oak_map_len(m));
}
END_TEST

/* ---- which key stays ---- */

START_TEST(a_put_of_the_other_zero_changes_the_key)
{
    start();
    oak_map *m = oak_map_new(&oak_map_double_u64, 0);
    for (int i = 0; i < 100; i++) oak_map_put(m, &(double){ i + 1 });
    *(uint64_t *)oak_map_put(m, &(double){ +0.0 }) = 1;
    for (int i = 0; i < 6; i++) {
        double zero = i % 2 ? +0.0 : -0.0;
        uint64_t *v = oak_map_put(m, &zero);
        ck_assert_uint_eq(*v, 1);
        ck_assert_uint_eq(oak_map_len(m), 101);
        oak_map_iter it;
        oak_map_iter_init(&it, m);
        while (oak_map_iter_next(&it) && *(const double *)it.key != 0) {}
        ck_assert(signbit(*(const double *)it.key) == signbit(zero));
        ck_assert_ptr_nonnull(oak_map_get(m, &(double){ 0.0 }));
        ck_assert_ptr_nonnull(oak_map_get(m, &(double){ -0.0 }));
    }
    ck_assert(oak_map_delete(m, &(double){ -0.0 }));
    ck_assert_uint_eq(oak_map_len(m), 100);
}
END_TEST

/* Equal strings at different addresses: which address stays. Keys of 200 bytes are apart. */
START_TEST(an_equal_key_stays_or_is_replaced_as_the_type_says)
{
    start();
    const oak_map_type t = { .key = OAK_KEY_CSTRING,
                             .flags = OAK_MAP_SCAN_KEY | (_i ? OAK_MAP_KEY_UPDATE : 0),
                             .value_size = 8 };
    static char first[] = "strake", second[] = "strake";
    const char *a = first, *b = second;
    oak_map *m = oak_map_new(&t, 0);
    *(uint64_t *)oak_map_put(m, &a) = 5;
    ck_assert_uint_eq(*(uint64_t *)oak_map_put(m, &b), 5);
    ck_assert_uint_eq(oak_map_len(m), 1);
    oak_map_iter it;
    oak_map_iter_init(&it, m);
    ck_assert(oak_map_iter_next(&it));
    ck_assert_ptr_eq(*(char *const *)it.key, _i ? second : first);
}
END_TEST

static uint64_t hash_of_start(const void *key, uint64_t seed, size_t size)
{
    (void)size;
    return oak_hash_bytes(key, 8, seed);
}

static bool equal_starts(const void *a, const void *b, size_t size)
{
    (void)size;
    return memcmp(a, b, 8) == 0;
}

START_TEST(the_same_with_keys_of_their_own_object)
{
    enum { N = 100 };
    static char key[200];
    start();
    const oak_map_type t = { .key = OAK_KEY_CUSTOM, .flags = _i ? OAK_MAP_KEY_UPDATE : 0,
                             .key_size = 200, .value_size = 1, .hash = hash_of_start,
                             .equal = equal_starts };
    oak_map *m = oak_map_new(&t, 0);
    for (int round = 1; round < 4; round++)
        for (char i = 0; i < N; i++) {
            key[0] = i;
            key[199] = (char)round;
            oak_map_put(m, key);
        }
    ck_assert_uint_eq(oak_map_len(m), N);
    oak_map_iter it;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it);)
        ck_assert_int_eq(((const char *)it.key)[199], _i ? 3 : 1);
}
END_TEST

/* ---- changes under an iterator ---- */

START_TEST(entries_deleted_before_they_are_reached_are_not_given)
{
    enum { N = 2000 };
    static bool gone[N];
    start();
    oak_map *m = numbers(N);
    oak_map_iter it;
    uint64_t given = 0, deleted = 0;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it); given++) {
        uint64_t k = *(const uint64_t *)it.key, other = (k * 7 + 13) % N;
        if (gone[k]) ck_abort_msg("%lu was deleted", (unsigned long)k);
        deleted += gone[k] = oak_map_delete(m, &k);
        if (!gone[other]) deleted += gone[other] = oak_map_delete(m, &other);
    }
    ck_assert_uint_eq(deleted, N);
    ck_assert_uint_le(given, N);
    ck_assert_uint_eq(oak_map_len(m), 0);
}
END_TEST

/* The current entry is deleted by the key that the iterator shows. */
START_TEST(deleting_each_entry_as_it_is_given)
{
    enum { N = 20000 };
    start();
    size_t n = test_scale(N), given = 0;
    oak_map *m = numbers(n);
    oak_map_iter it;
    for (oak_map_iter_init_random(&it, m); oak_map_iter_next(&it); given++)
        if (!oak_map_delete(m, it.key)) ck_abort_msg("entry %zu", given);
    ck_assert_uint_eq(given, n);
    ck_assert_uint_eq(oak_map_len(m), 0);
}
END_TEST

/* Go's TestGrowWithNaN and TestIterGrowAndDelete: the map grows many times under one iterator, and
 * half of what was there goes. */
START_TEST(growing_under_an_iterator)
{
    enum { N = 1000, MORE = 50000 };
    static unsigned char given[N + MORE];
    start();
    uint64_t next = N, count = 0, more = test_scale(MORE);
    oak_map *m = numbers(N);
    oak_map_iter it;
    if (_i) oak_map_iter_init_random(&it, m);
    else oak_map_iter_init(&it, m);
    while (oak_map_iter_next(&it)) {
        uint64_t k = *(const uint64_t *)it.key;
        if (*(uint64_t *)it.value != k || given[k]++) ck_abort_msg("%lu", (unsigned long)k);
        if (++count != 100) continue;
        for (; next < N + more; next++) *(uint64_t *)oak_map_put(m, &next) = next;
        for (uint64_t odd = 1; odd < N; odd += 2) oak_map_delete(m, &odd);
    }
    for (uint64_t k = 0; k < N; k += 2)
        if (!given[k]) ck_abort_msg("%lu was there all the time", (unsigned long)k);
}
END_TEST

/* Each step adds an entry: an iterator that gave new ones without end would not end. */
START_TEST(an_iterator_ends_though_each_step_adds_an_entry)
{
    start();
    uint64_t next = 100, steps = 0;
    oak_map *m = numbers(next);
    oak_map_iter it;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it) && next < 3000000; next++, steps++)
        *(uint64_t *)oak_map_put(m, &next) = next;
    ck_assert_uint_lt(next, 3000000);
    ck_assert_uint_ge(steps, 100);
}
END_TEST

START_TEST(shrinking_under_an_iterator)
{
    enum { N = 30000, KEPT = 300 };
    static unsigned char given[N];
    start();
    uint64_t n = OAKI_MAX(test_scale(N), 3 * KEPT);
    oak_map *m = numbers(n);
    oak_map_iter it;
    oak_map_iter_init(&it, m);
    for (uint64_t i = 0; i < n / 3; i++) {
        ck_assert(oak_map_iter_next(&it));
        given[*(const uint64_t *)it.key]++;
    }
    for (uint64_t k = KEPT; k < n; k++) oak_map_delete(m, &k);
    while (oak_map_iter_next(&it)) given[*(const uint64_t *)it.key]++;
    for (uint64_t k = 0; k < KEPT; k++)
        if (given[k] != 1) ck_abort_msg("%lu was given %d times", (unsigned long)k, given[k]);
    for (uint64_t k = KEPT; k < n; k++)
        if (given[k] > 1) ck_abort_msg("%lu was given %d times", (unsigned long)k, given[k]);
}
END_TEST

START_TEST(a_clear_ends_an_iteration)
{
    start();
    oak_map *m = numbers(1000);
    oak_map_iter it;
    oak_map_iter_init(&it, m);
    for (int i = 0; i < 500; i++) ck_assert(oak_map_iter_next(&it));
    oak_map_clear(m);
    ck_assert(!oak_map_iter_next(&it));
    ck_assert(!oak_map_iter_next(&it));
    ck_assert_ptr_null(it.key);
    /* And one that began before a refill gives only what is there, each entry once at most. */
    static bool seen[3000];
    for (uint64_t k = 0; k < 1000; k++) *(uint64_t *)oak_map_put(m, &k) = k;
    oak_map_iter_init(&it, m);
    for (int i = 0; i < 500; i++) ck_assert(oak_map_iter_next(&it));
    oak_map_clear(m);
    for (uint64_t k = 2000; k < 3000; k++) *(uint64_t *)oak_map_put(m, &k) = k;
    while (oak_map_iter_next(&it)) {
        uint64_t k = *(const uint64_t *)it.key;
        if (k < 2000 || k >= 3000 || seen[k]) ck_abort_msg("%lu", (unsigned long)k);
        seen[k] = true;
    }
}
END_TEST

/* ---- order ---- */

static uint64_t first_of(oak_map *m, bool random)
{
    oak_map_iter it;
    if (random) oak_map_iter_init_random(&it, m);
    else oak_map_iter_init(&it, m);
    ck_assert(oak_map_iter_next(&it));
    return *(const uint64_t *)it.key;
}

START_TEST(the_order_is_the_maps_own_or_another_each_time)
{
    enum { N = 1000, TRIES = 100 };
    start();
    oak_map *m = numbers(N), *other = numbers(N);
    oak_map_iter a, b;
    size_t same = 0, starts = 0;
    oak_map_iter_init(&a, m);
    oak_map_iter_init(&b, m);
    while (oak_map_iter_next(&a)) {
        ck_assert(oak_map_iter_next(&b));
        ck_assert_ptr_eq(a.key, b.key);
    }
    oak_map_iter_init(&a, m);
    oak_map_iter_init(&b, other);
    while (oak_map_iter_next(&a) && oak_map_iter_next(&b))
        same += *(const uint64_t *)a.key == *(const uint64_t *)b.key;
    ck_assert_uint_lt(same, 20);
    for (int i = 0; i < TRIES; i++) starts += first_of(m, true) != first_of(m, false);
    ck_assert_uint_gt(starts, TRIES * 3 / 4);
}
END_TEST

Suite *suite_maps_map_semantics(void)
{
    Suite *s = suite_create("maps_map_semantics");
    TCase *tc = tcase_create("semantics");
    tcase_add_test(tc, each_put_of_a_nan_adds_an_entry);
    tcase_add_test(tc, no_two_nans_have_the_same_bytes);
    tcase_add_test(tc, many_nans_lie_as_far_apart_as_other_keys);
    tcase_add_test(tc, a_value_as_the_next_key);
    tcase_add_test(tc, a_nan_that_an_iterator_gave);
    tcase_add_test(tc, a_put_of_the_other_zero_changes_the_key);
    tcase_add_loop_test(tc, an_equal_key_stays_or_is_replaced_as_the_type_says, 0, 2);
    tcase_add_loop_test(tc, the_same_with_keys_of_their_own_object, 0, 2);
    tcase_add_test(tc, entries_deleted_before_they_are_reached_are_not_given);
    tcase_add_test(tc, deleting_each_entry_as_it_is_given);
    tcase_add_loop_test(tc, growing_under_an_iterator, 0, 2);
    tcase_add_test(tc, an_iterator_ends_though_each_step_adds_an_entry);
    tcase_add_test(tc, shrinking_under_an_iterator);
    tcase_add_test(tc, a_clear_ends_an_iteration);
    tcase_add_test(tc, the_order_is_the_maps_own_or_another_each_time);
    suite_add_tcase(s, tc);
    return s;
}

/* weakkey.c - tests of maps/weakkey.c: entries live with their keys, whatever values refer to; an
 * address that is used again finds nothing.
 *
 * Entries are made on threads that end, so that no stack keeps anything. */
#include "weak.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

Suite *suite_maps_weakkey(void);

enum { N = 400, LUCK = 4 };

static oak_weakkey *m, *other;
static void *held[N];    /* a root */
static oak_weak *key[N]; /* to ask after */
static oak_weak *value[N];

static void setup(void)
{
    m = oak_weakkey_new(0, 0);
    other = oak_weakkey_new(OAK_WEAK_LOCKED, 100);
    ck_assert(m && other);
}

static int alive(oak_weak *const *of, size_t n)
{
    int alive = 0;
    for (size_t i = 0; i < n; i++) alive += oak_weak_get(of[i]) != NULL;
    return alive;
}

static void expect_dead(size_t n)
{
    oak_collect();
    ck_assert_int_le(alive(key, n), LUCK);
    ck_assert_int_le(alive(value, n), LUCK);
}

/* ---- one map ---- */

static void fill(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N; i++) {
        void *k = oak_alloc(32), **v = oak_alloc(48);
        key[i] = oak_weak_new(k);
        value[i] = oak_weak_new(v);
        v[2] = k; /* each value refers to its own key */
        if (i % 2) held[i] = k;
        if (oak_weakkey_put(m, k, v) != 0) ck_abort_msg("put %zu", i);
        if (oak_weakkey_get(m, k) != v) ck_abort_msg("get %zu", i);
    }
}

static void check_held(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N; i++) {
        void **v = held[i] ? oak_weakkey_get(m, held[i]) : NULL;
        if (held[i] && (!v || v != oak_weak_get(value[i]) || v[2] != held[i]))
            ck_abort_msg("value %zu", i);
    }
}

START_TEST(a_value_that_refers_to_its_key_does_not_keep_it)
{
    test_build(fill, NULL);
    ck_assert_uint_eq(oak_weakkey_len(m), N);
    oak_collect();
    test_build(check_held, NULL);
    ck_assert_int_le(alive(key, N), N / 2 + LUCK);
    ck_assert_int_le(alive(value, N), N / 2 + LUCK);
    ck_assert_uint_le(oak_weakkey_len(m), N / 2 + LUCK);
    memset(held, 0, sizeof held);
    expect_dead(N);
    while (oak_weakkey_purge(m, 10)) {
    }
    ck_assert_uint_le(oak_weakkey_len(m), LUCK);
}
END_TEST

START_TEST(entries_go_with_the_map)
{
    test_build(fill, NULL);
    m = NULL;
    oak_collect();
    ck_assert_int_le(alive(value, N), LUCK);
    ck_assert_int_ge(alive(key, N), N / 2);
}
END_TEST

START_TEST(a_put_replaces_and_a_delete_says_what_was)
{
    static int anything;
    void *k = held[0] = oak_alloc(32), *v = oak_alloc(16);
    ck_assert_int_eq(oak_weakkey_put(m, k, v), 0);
    ck_assert_int_eq(oak_weakkey_put(m, k, &anything), 0);
    ck_assert_ptr_eq(oak_weakkey_get(m, k), &anything);
    ck_assert_uint_eq(oak_weakkey_len(m), 1);
    ck_assert(oak_weakkey_delete(m, k));
    ck_assert(!oak_weakkey_delete(m, k));
    ck_assert_ptr_null(oak_weakkey_get(m, k));
    ck_assert_int_eq(oak_weakkey_put(m, k, k), 0); /* a set */
    oak_free(k);
    ck_assert_ptr_null(oak_weakkey_get(m, k));
    ck_assert(!oak_weakkey_delete(m, k));
    held[0] = oak_alloc(16);
    oak_weakkey_put(m, held[0], k = oak_alloc(16));
    oak_weakkey_clear(m);
    ck_assert_ptr_null(oak_weakkey_get(m, held[0]));
    ck_assert_uint_eq(oak_weakkey_len(m), 0);
}
END_TEST

/* ---- chains and circles ---- */

/* Each key's value is the next key, in one map and the other by turns; put in a random order. */
static void chain(void *arg)
{
    bool circle = arg != NULL;
    void *k[N], *first = NULL;
    for (size_t i = 0; i < N; i++) {
        k[i] = oak_alloc(32);
        key[i] = value[i] = oak_weak_new(k[i]);
    }
    first = k[0];
    size_t order[N];
    for (size_t i = 0; i < N; i++) order[i] = i;
    for (size_t i = N; i-- > 1;) {
        size_t j = test_below(i + 1), o = order[i];
        order[i] = order[j];
        order[j] = o;
    }
    for (size_t n = 0; n < N; n++) {
        size_t i = order[n];
        if (i < N - 1 || circle) oak_weakkey_put(i % 2 ? m : other, k[i], k[(i + 1) % N]);
    }
    held[0] = first;
}

START_TEST(chains_through_two_maps)
{
    test_seed("maps/weakkey");
    test_build(chain, _i ? m : NULL);
    oak_collect();
    ck_assert_int_eq(alive(key, N), N);
    void *k = held[0];
    for (size_t i = 0; i < N - 1; i++) k = oak_weakkey_get(i % 2 ? m : other, k);
    ck_assert_ptr_eq(k, oak_weak_get(key[N - 1]));
    ck_assert_ptr_eq(oak_weakkey_get(m, k), _i ? held[0] : NULL);
    held[0] = k = NULL;
}
END_TEST

START_TEST(chains_and_circles_die_together)
{
    test_seed("maps/weakkey");
    test_build(chain, _i ? m : NULL);
    oak_collect();
    ck_assert_int_eq(alive(key, N), N);
    held[0] = NULL;
    expect_dead(N);
}
END_TEST

/* A map that is a value in another, and keys the maps themselves. */
static void nest(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N; i++) {
        oak_weakkey *inner = oak_weakkey_new(0, 0);
        void *k = oak_alloc(32);
        oak_weakkey_put(inner, k, inner);
        oak_weakkey_put(inner, inner, k);
        oak_weakkey_put(m, k, inner);
        oak_weakkey_put(m, inner, k);
        key[i] = oak_weak_new(k);
        value[i] = oak_weak_new(inner);
        if (i % 2) held[i] = k;
    }
}

START_TEST(maps_in_maps)
{
    test_build(nest, NULL);
    oak_collect();
    ck_assert_int_ge(alive(value, N), N / 2);
    ck_assert_int_le(alive(value, N), N / 2 + LUCK);
    for (size_t i = 1; i < N; i += 2)
        if (oak_weakkey_get(oak_weakkey_get(m, held[i]), held[i]) != oak_weak_get(value[i]))
            ck_abort_msg("map %zu", i);
    memset(held, 0, sizeof held);
    expect_dead(N);
}
END_TEST

/* ---- finalizers ---- */

static void *last_value;

static void look_up(void *obj, void *ctx)
{
    last_value = oak_weakkey_get(ctx, obj);
}

static void put_finalizable(void *arg)
{
    void *k = oak_alloc(32);
    (void)arg;
    oak_finalizer_set(k, look_up, m);
    oak_weakkey_put(m, k, oak_alloc(16));
    key[0] = oak_weak_new(k);
    value[0] = oak_weak_new(oak_weakkey_get(m, k));
}

START_TEST(a_finalizer_still_finds_its_object_s_entry)
{
    test_start(0);
    setup();
    test_build(put_finalizable, NULL);
    oak_collect();
    ck_assert_ptr_null(oak_weak_get(key[0]));
    ck_assert_uint_eq(oak_weakkey_len(m), 1);
    ck_assert_uint_eq(test_run_finalizers(), 1);
    ck_assert_ptr_nonnull(last_value);
    last_value = NULL;
    oak_collect();
    while (oak_weakkey_purge(m, 10)) {
    }
    ck_assert_uint_eq(oak_weakkey_len(m), 0);
}
END_TEST

/* ---- addresses that are used again ---- */

enum { ROUND = 2000 };
static uintptr_t was[ROUND]; /* inverted addresses of keys that are gone */
static size_t reused;

static int by_number(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

static void make_keys(void *free_them)
{
    for (size_t i = 0; i < ROUND; i++) {
        void *k = oak_alloc(48);
        was[i] = ~(uintptr_t)k;
        if (oak_weakkey_put(m, k, oak_alloc(16)) != 0) ck_abort_msg("put");
        if (free_them) oak_free(k);
    }
    qsort(was, ROUND, sizeof *was, by_number);
}

static void look_for_keys(void *arg)
{
    void **list = NULL;
    (void)arg;
    for (size_t i = 0; i < ROUND; i++) {
        void **k = oak_alloc(48);
        uintptr_t hidden = ~(uintptr_t)k;
        *k = list;
        list = k; /* none of them goes before all are asked for */
        reused += bsearch(&hidden, was, ROUND, sizeof *was, by_number) != NULL;
        if (i % 3 == 0 && oak_weakkey_get(m, k)) ck_abort_msg("an old entry");
        if (i % 3 == 1 && oak_weakkey_delete(m, k)) ck_abort_msg("an old entry is deleted");
        if (i % 3 != 2) continue;
        if (oak_weakkey_put(m, k, &reused) != 0) ck_abort_msg("put");
        if (oak_weakkey_get(m, k) != &reused) ck_abort_msg("not what was put");
    }
}

static bool is_new(void *k, void *v, void *ctx)
{
    (void)k;
    (void)ctx;
    return v == &reused;
}

START_TEST(a_new_object_finds_no_old_entry)
{
    for (size_t i = 0, n = test_scale(200); i < n; i++) {
        bool free_them = test_below(2);
        test_away(make_keys, free_them ? m : NULL);
        if (!free_them) oak_collect();
        test_away(look_for_keys, NULL);
        if (i % 10 == 0) oak_weakkey_each(m, is_new, NULL);
    }
    printf("maps/weakkey: %zu addresses were used again\n", reused);
    ck_assert_uint_gt(reused, test_slow() ? 0 : ROUND);
}
END_TEST

/* ---- how the dead leave ---- */

static void fill_many(void *n)
{
    for (size_t i = 0; i < (size_t)n; i++) {
        void **k = oak_alloc(16);
        *k = k;
        if (oak_weakkey_put(m, k, k) != 0) ck_abort_msg("put");
    }
}

static void *look_for_none(void)
{
    return oak_weakkey_get(m, m);
}

START_TEST(many_dead_keys_leave_in_small_steps)
{
    test_heap_start(test_config());
    setup();
    test_many_dead(&m->w, fill_many, look_for_none, LUCK);
}
END_TEST

/* ---- bad input ---- */

static void put_none(void *arg)
{
    oak_weakkey_put(NULL, arg, arg);
}

static void refuse(void *k, void *v)
{
    errno = 0;
    ck_assert_int_eq(oak_weakkey_put(m, k, v), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(oak_weakkey_get(m, k));
    ck_assert(!oak_weakkey_delete(m, k));
}

START_TEST(bad_input)
{
    static int not_ours;
    char *k = held[0] = oak_alloc(64);
    errno = 0;
    ck_assert_ptr_null(oak_weakkey_new(2, 0));
    ck_assert_int_eq(errno, EINVAL);
    refuse(NULL, k);
    refuse(&not_ours, k);
    refuse((void *)1, k);
    refuse(k + 8, k); /* an object's key is its start */
    refuse(k, NULL);
    ck_assert_uint_eq(oak_weakkey_len(m), 0);
    ck_assert_ptr_null(oak_weakkey_get(NULL, k));
    ck_assert(!oak_weakkey_delete(NULL, k));
    ck_assert(!oak_weakkey_purge(NULL, 1));
    ck_assert_uint_eq(oak_weakkey_len(NULL), 0);
    ck_assert_int_eq(oak_weakkey_each(NULL, is_new, NULL), 0);
    oak_weakkey_clear(NULL);
    test_dies(put_none, k, "oak_weakkey_put: NULL");
}
END_TEST

Suite *suite_maps_weakkey(void)
{
    Suite *s = suite_create("maps_weakkey");
    TCase *tc = tcase_create("weak keys");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_value_that_refers_to_its_key_does_not_keep_it);
    tcase_add_test(tc, entries_go_with_the_map);
    tcase_add_test(tc, a_put_replaces_and_a_delete_says_what_was);
    tcase_add_loop_test(tc, chains_through_two_maps, 0, 2);
    tcase_add_loop_test(tc, chains_and_circles_die_together, 0, 2);
    tcase_add_test(tc, maps_in_maps);
    tcase_add_test(tc, a_new_object_finds_no_old_entry);
    tcase_add_test(tc, bad_input);
    suite_add_tcase(s, tc);
    tc = tcase_create("with a heap of its own");
    tcase_add_test(tc, a_finalizer_still_finds_its_object_s_entry);
    tcase_add_test(tc, many_dead_keys_leave_in_small_steps);
    suite_add_tcase(s, tc);
    return s;
}

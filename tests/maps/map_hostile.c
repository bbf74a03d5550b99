/* map_hostile.c - keys that were chosen to collide, and hashes that are bad: who doesn't know the
 * seed gets nothing, who does is noticed; and what the statistics say of good hashes. */
#include "maps/map.h"
#include "model.h"
#include "tests/heap.h"

#include <check.h>
#include <oakum/map.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_maps_map_hostile(void);

enum { ATTACK = 5000 };

static void start(void)
{
    test_seed("maps_map_hostile");
    test_heap_start_stressed(test_config());
}

static oak_map_stats stats_of(const oak_map *m)
{
    oak_map_stats s;
    oak_map_stats_read(m, &s);
    return s;
}

/* A key whose hash in m has these top bits, another one for each i. */
static uint64_t crafted(const oak_map *m, uint64_t top, unsigned bits, uint64_t i)
{
    uint64_t hash = top << (64 - bits) | (i * UINT64_C(0x9e3779b97f4a7c15)) >> bits;
    uint64_t k = model_unmix(hash, m->seed, m->mult);
    ck_assert_uint_eq(oak_map_mix_(k, m->seed, m->mult), hash);
    return k;
}

static void assert_spread(const oak_map *m)
{
    oak_map_stats s = stats_of(m);
    ck_assert_msg(s.mean_probe <= s.expected_probe * 1.1 + 0.05, "%f groups to find one, not %f",
                  s.mean_probe, s.expected_probe);
    ck_assert_uint_le(s.same_hash, 1 + (s.len == 0));
    ck_assert(!s.bad_hash);
}

static void assert_whole(oak_map *m, const uint64_t *keys, size_t n)
{
    oak_map_iter it;
    size_t given = 0;
    ck_assert_uint_eq(oak_map_len(m), n);
    for (size_t i = 0; i < n; i++) {
        uint64_t *v = oak_map_get(m, &keys[i]);
        if (!v || *v != i) ck_abort_msg("key %zu", i);
    }
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it); given++)
        if (keys[*(uint64_t *)it.value] != *(const uint64_t *)it.key) ck_abort_msg("given");
    ck_assert_uint_eq(given, n);
}

static uint64_t keys[ATTACK];

/* All in one home, however many groups there are: the first, the last before the tail, another. */
static const uint64_t tops[] = { 0, 0xffffff, 0x5a5a5a };

static void craft(const oak_map *m, uint64_t top)
{
    for (uint64_t i = 0; i < ATTACK; i++) keys[i] = crafted(m, top, 24, i);
}

static void put_all(oak_map *m)
{
    for (size_t i = 0; i < ATTACK; i++) {
        uint64_t *v = oak_map_put(m, &keys[i]);
        if (!v || *v != 0) ck_abort_msg("key %zu", i);
        *v = i;
    }
}

START_TEST(an_attacker_with_the_seed_is_noticed)
{
    start();
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    oak_map_set_seed(m, test_random());
    uint64_t seed = m->seed;
    craft(m, tops[_i]);
    put_all(m);
    oak_map_stats s = stats_of(m);
    ck_assert_uint_ge(s.reseeds, 1);
    ck_assert_uint_le(s.reseeds, 3);
    ck_assert_uint_ne(m->seed, seed);
    ck_assert_int_eq(oak_map_settle(m), 0);
    assert_spread(m);
    assert_whole(m, keys, ATTACK);
}
END_TEST

START_TEST(an_attacker_without_the_seed_gets_nothing)
{
    start();
    oak_map *known = oak_map_new(&oak_map_u64_u64, 0), *m = oak_map_new(&oak_map_u64_u64, 0);
    oak_map_set_seed(known, 12345);
    if (_i) oak_map_set_seed(m, 54321);
    craft(known, 0);
    put_all(m);
    ck_assert_uint_eq(stats_of(m).reseeds, 0);
    assert_spread(m);
    assert_whole(m, keys, ATTACK);
}
END_TEST

/* Who sees each new seed and goes on: the map reseeds only so often, and stays right. */
START_TEST(an_attacker_who_sees_each_seed)
{
    enum { ROUNDS = 8, EACH = 4000 };
    static uint64_t all[ROUNDS * EACH];
    start();
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    size_t n = 0, each = OAKI_MAX(test_scale(EACH), 2000);
    for (int round = 0; round < ROUNDS; round++)
        for (uint64_t i = 0, end = n + each; n < end; i++) {
            all[n] = crafted(m, 7, 20, i);
            if (oak_map_get(m, &all[n])) continue;
            *(uint64_t *)oak_map_put(m, &all[n]) = n;
            n++;
        }
    oak_map_stats s = stats_of(m);
    ck_assert_uint_ge(s.reseeds, 1);
    ck_assert_uint_le(s.reseeds, 16);
    assert_whole(m, all, n);
}
END_TEST

/* It takes few entries to crowd a piece of a large map, and a new seed takes them all. */
START_TEST(a_new_seed_comes_when_its_cost_was_paid)
{
    enum { N = 180000, FROM = 100, ROW = 230, EACH = 8, ROUNDS = 10 };
    start();
    oak_map *m = oak_map_new(&oak_map_u64_u64, N);
    for (uint64_t i = 0; i < N; i++) {
        uint64_t k = oak_map_mix_(i, 0, 1);
        oak_map_put(m, &k);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (uint64_t i = EACH * (uint64_t)round; i < EACH * ((uint64_t)round + 1); i++)
            for (uint64_t h = FROM; h < FROM + ROW; h++) {
                uint64_t hash = h << (64 - m->bits) | UINT64_C(1) << 24 | (i + 1);
                uint64_t k = model_unmix(hash, m->seed, m->mult);
                oak_map_put(m, &k);
            }
    ck_assert_uint_ge(stats_of(m).reseeds, 1);
    ck_assert_uint_le(stats_of(m).reseeds, 2);
}
END_TEST

/* One full home after the other, each of which pushes one entry into the next: no entry is far from
 * its home, but a lookup goes through all of them. */
START_TEST(an_attacker_who_builds_a_row)
{
    enum { BITS = 12, ROW = 1500 };
    start();
    oak_map *m = oak_map_new(&oak_map_u64_u64, (size_t)12 << BITS);
    oak_map_set_seed(m, test_random());
    uint64_t seed = m->seed, mult = m->mult, from = 100;
    size_t bits = m->bits, n = 0;
    for (uint64_t h = from; h < from + ROW; h++)
        for (uint64_t i = 0; i < OAK_MAP_SLOTS_ + (h == from); i++) {
            uint64_t hash = h << (64 - bits) | (i << 3 | 1) << 24 | i;
            uint64_t k = model_unmix(hash, seed, mult);
            *(uint64_t *)oak_map_put(m, &k) = n++;
        }
    oak_map_stats s = stats_of(m);
    ck_assert_uint_eq(bits, BITS);
    ck_assert_uint_ge(s.reseeds, 1);
    assert_spread(m);
}
END_TEST

static void assert_apart(const oak_map *a, const oak_map *b)
{
    ck_assert_uint_ne(a->seed, b->seed);
    ck_assert_uint_ne(a->mult, b->mult);
    ck_assert(a->mult % 2 == 1 && b->mult % 2 == 1); /* a bijection */
}

/* When it is made, when somebody knew them, and when a test says which. */
START_TEST(seeds_and_multipliers_are_each_maps_own)
{
    oak_map *m[4], before;
    start();
    for (size_t i = 0; i < 4; i++) m[i] = oak_map_new(&oak_map_u64_u64, 0);
    assert_apart(m[0], m[1]);
    for (size_t i = 0; i < 2; i++) {
        before = *m[i];
        for (uint64_t n = 0; m[i]->seed == before.seed; n++) {
            uint64_t k = crafted(m[i], 5, 30, n);
            oak_map_put(m[i], &k);
        }
        assert_apart(m[i], &before);
        oak_map_set_seed(m[i + 2], 1 + i);
    }
    assert_apart(m[0], m[1]);
    assert_apart(m[2], m[3]);
}
END_TEST

/* Iterators on their way while the map takes new seeds: the model holds them to their rule. Here,
 * that many reseeds between two steps are survived. */
START_TEST(iterators_that_reseeds_pass)
{
    enum { OLD = 3000, WALKS = 6 };
    static oak_map_iter it[WALKS];
    static unsigned char given[WALKS][OLD];
    start();
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t k = 0; k < OLD; k++) *(uint64_t *)oak_map_put(m, &k) = k + 1;
    for (int w = 0; w < WALKS; w++) {
        if (w % 2) oak_map_iter_init_random(&it[w], m);
        else oak_map_iter_init(&it[w], m);
    }
    uint64_t reseeds = 0;
    for (int round = 0; round < 5; round++) {
        for (int w = 0; w < WALKS; w++)
            for (size_t n = test_below(OLD / 5); n > 0 && oak_map_iter_next(&it[w]); n--) {
                uint64_t v = *(uint64_t *)it[w].value;
                if (v && given[w][v - 1]++) ck_abort_msg("%d: %lu twice", w, (unsigned long)v);
            }
        uint64_t was = stats_of(m).reseeds;
        for (uint64_t i = 0; i < 6 * ATTACK && stats_of(m).reseeds == was; i += 100)
            for (uint64_t j = 0; j < 100; j++) {
                uint64_t k = crafted(m, 3, 30, i + j);
                if (k >= OLD) oak_map_put(m, &k);
            }
        reseeds = stats_of(m).reseeds;
    }
    ck_assert_uint_ge(reseeds, 2);
    for (int w = 0; w < WALKS; w++) {
        while (oak_map_iter_next(&it[w])) {
            uint64_t v = *(uint64_t *)it[w].value;
            if (v && given[w][v - 1]++) ck_abort_msg("%d: %lu twice", w, (unsigned long)v);
        }
        for (int k = 0; k < OLD; k++)
            if (!given[w][k]) ck_abort_msg("%d: %d left out", w, k);
    }
}
END_TEST

/* Groups that overflow into the next one, which has entries of the same kind of tag itself: what an
 * iterator has left of its unit when the order ends is given then, and what it has not come to in
 * the next order, not in both. */
START_TEST(a_reseed_while_an_iterator_is_among_overflow)
{
    enum { BITS = 6, FULL = OAK_MAP_SLOTS_ + 2, HALF = 6, N = (FULL + HALF) << 5 };
    start();
    size_t stops = test_scale(40);
    for (size_t stop = 0; stop < stops; stop++) {
        unsigned char given[FULL << BITS] = { 0 };
        oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
        oak_map_iter it;
        oak_map_set_seed(m, stop + 1);
        uint64_t seed = m->seed;
        for (uint64_t i = 0; i < FULL; i++)
            for (uint64_t h = 0; h < 1 << BITS; h++) {
                uint64_t hash = h << (64 - BITS) | (i + 1) << 24 | i;
                uint64_t k = model_unmix(hash, m->seed, m->mult);
                if (h % 2 == 0 || i < HALF) *(uint64_t *)oak_map_put(m, &k) = i << BITS | h;
            }
        ck_assert_int_eq(oak_map_settle(m), 0);
        ck_assert_uint_eq(m->bits, BITS);
        oak_map_iter_init(&it, m);
        for (size_t n = N * stop / stops; n > 0 && oak_map_iter_next(&it); n--)
            given[*(uint64_t *)it.value]++;
        for (uint64_t i = 0; m->seed == seed; i++) {
            uint64_t k = crafted(m, 5, 30, i);
            *(uint64_t *)oak_map_put(m, &k) = UINT64_MAX;
        }
        while (oak_map_iter_next(&it))
            if (*(uint64_t *)it.value < sizeof given) given[*(uint64_t *)it.value]++;
        for (size_t i = 0; i < FULL; i++)
            for (size_t h = 0; h < 1 << BITS; h++)
                if (given[i << BITS | h] != (h % 2 == 0 || i < HALF))
                    ck_abort_msg("stop %zu: key %zu of home %zu was given %d times", stop, i, h,
                                 given[i << BITS | h]);
    }
}
END_TEST

/* ---- keys that equal nothing ---- */

static uint64_t crowds_once(const void *key, uint64_t seed, size_t size)
{
    uint64_t k = oak_map_load8_(key);
    (void)size;
    return seed == 1 ? k : oak_map_mix_(k, seed, seed | 1);
}

static bool never(const void *a, const void *b, size_t size)
{
    (void)a, (void)b, (void)size;
    return false;
}

/* The value that a put returns is the new entry's, though none can be looked up. */
START_TEST(a_new_seed_for_keys_that_equal_nothing)
{
    static const oak_map_type t = { .key = OAK_KEY_CUSTOM, .key_size = 8, .value_size = 8,
                                    .hash = crowds_once, .equal = never };
    static bool given[ATTACK];
    start();
    oak_map *m = oak_map_new(&t, 0);
    oak_map_iter it;
    oak_map_set_seed(m, 1);
    craft(m, 7);
    put_all(m);
    ck_assert_uint_ge(stats_of(m).reseeds, 1);
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it);) {
        uint64_t i = *(uint64_t *)it.value;
        if (i >= ATTACK || keys[i] != *(const uint64_t *)it.key || given[i]) ck_abort_msg("given");
        given[i] = true;
    }
    ck_assert_uint_eq(oak_map_len(m), ATTACK);
}
END_TEST

/* ---- bad hashes ---- */

static uint64_t (*spread)(uint64_t k);

static uint64_t to_one(uint64_t k)
{
    return k * 0 + 42;
}

static uint64_t to_few(uint64_t k)
{
    return k % 10;
}

static uint64_t hash(const void *key, uint64_t seed OAKI_UNUSED, size_t size)
{
    uint64_t k;
    memcpy(&k, key, size);
    return spread(k);
}

static bool equal(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

static const oak_map_type custom = { .key = OAK_KEY_CUSTOM, .key_size = 8, .value_size = 8,
                                     .hash = hash, .equal = equal };

static const oak_map_type told = { .key = OAK_KEY_CUSTOM, .flags = OAK_MAP_AVALANCHING,
                                   .key_size = 8, .value_size = 8, .hash = hash,
                                   .equal = equal };

/* Keys 0 to n - 1. */
static oak_map *filled(const oak_map_type *t, size_t n)
{
    oak_map *m = oak_map_new(t, 0);
    for (uint64_t k = 0; k < n; k++) {
        keys[k] = k;
        *(uint64_t *)oak_map_put(m, &k) = k;
    }
    assert_whole(m, keys, n);
    return m;
}

static void thin_out(oak_map *m, size_t n)
{
    for (uint64_t k = 0; k < n; k++)
        if (k % 3 && !oak_map_delete(m, &k)) ck_abort_msg("key %lu", (unsigned long)k);
    for (uint64_t k = 0; k < n; k++)
        if ((oak_map_get(m, &k) != NULL) != (k % 3 == 0)) ck_abort_msg("key %lu", (unsigned long)k);
}

START_TEST(a_bad_hash_is_right_and_reported)
{
    start();
    size_t n = OAKI_MAX(test_scale(ATTACK), 2000), per = _i ? n / 10 : n;
    spread = _i ? to_few : to_one;
    oak_map *m = filled(&custom, n);
    oak_map_stats s = stats_of(m);
    ck_assert(s.bad_hash || _i > 0);
    ck_assert_uint_eq(s.same_hash, per);
    ck_assert(s.mean_probe > 4 * s.expected_probe);
    thin_out(m, n);
}
END_TEST

/* A hash that is told to be avalanching, but leaves all keys in the first home, or the last. */
static uint64_t to_first(uint64_t k)
{
    return k;
}

static uint64_t to_last(uint64_t k)
{
    return ~k;
}

START_TEST(a_hash_that_is_not_avalanching_is_right_and_reported)
{
    start();
    size_t n = ATTACK; /* with 3,000 in a row it is noticed */
    spread = _i ? to_last : to_first;
    oak_map *m = filled(&told, n);
    oak_map_stats s = stats_of(m);
    ck_assert(s.bad_hash);
    ck_assert_uint_eq(s.same_hash, 1);
    ck_assert_uint_eq(s.reseeds, 1); /* as bad under the second seed */
    thin_out(m, n);
}
END_TEST

static uint64_t to_any(uint64_t k)
{
    return oak_map_mix_(k, 1, 3);
}

/* As spread as those that the map mixes, and as they are: the first home is that of the hash. */
START_TEST(an_avalanching_hash_is_used_as_it_is)
{
    start();
    size_t n = test_scale(ATTACK);
    spread = to_any;
    oak_map *m = filled(&told, n);
    assert_spread(m);
    for (uint64_t k = 0; k < n; k++)
        ck_assert_uint_eq(oak_map_hash_under_(m, &told, &k, m->seed, m->mult), to_any(k));
}
END_TEST

/* Though few of its entries are left: no new seed will be tried. */
START_TEST(a_bad_hash_stays_known)
{
    enum { LEFT = 8 };
    start();
    spread = to_one;
    oak_map *m = oak_map_new(&custom, 0);
    for (uint64_t k = 0; k < ATTACK; k++) oak_map_put(m, &k);
    for (uint64_t k = LEFT; k < ATTACK; k++) oak_map_delete(m, &k);
    oak_map_stats s = stats_of(m);
    ck_assert_uint_eq(s.same_hash, LEFT);
    ck_assert(s.bad_hash);
    ck_assert_uint_eq(s.reseeds, 0);
}
END_TEST

START_TEST(a_bad_hash_is_forgotten_with_the_last_entry)
{
    enum { N = 4000 };
    start();
    spread = to_one;
    oak_map *m = oak_map_new(&custom, 0);
    for (uint64_t k = 0; k < N; k++) oak_map_put(m, &k);
    ck_assert_int_eq(oak_map_settle(m), 0);
    ck_assert(m->more->bad_hash);
    for (uint64_t k = 0; k < N; k++) ck_assert(oak_map_delete(m, &k));
    oak_map_stats s = stats_of(m);
    ck_assert_uint_eq(s.len, 0);
    ck_assert(!s.bad_hash);
    ck_assert_uint_eq(m->more->crowding + m->more->reseeded, 0);
}
END_TEST

/* ---- good hashes ---- */

static uint64_t counted(uint64_t k)
{
    return k;
}

static uint64_t multiplied(uint64_t k)
{
    return k * 4096;
}

static uint64_t strided(uint64_t k)
{
    return k << 32;
}

static uint64_t scattered(uint64_t k)
{
    (void)k;
    return test_random();
}

static uint64_t addresses(uint64_t k)
{
    return UINT64_C(0x7f5c00000000) + k * 48;
}

static uint64_t reals(uint64_t k)
{
    double d = (double)k;
    memcpy(&k, &d, sizeof k);
    return k;
}

static uint64_t (*const sequences[])(uint64_t) = { counted, multiplied, strided,
                                                   scattered, addresses, reals };

/* No map of them is called bad or takes a new seed; overflow and probes are as they say they are
 * to be expected, all maps taken together. */
START_TEST(good_hashes_are_as_expected)
{
    static const size_t sizes[] = { 100, 106496, 1000, 12900, 212990, 30000, 1660, 3300, 425000 };
    double seen = 0, expected = 0, probes = 0, expected_probes = 0;
    start();
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        size_t n = sizes[i] > 1000 ? test_scale(sizes[i]) : sizes[i];
        for (size_t again = n < 5000 ? 20 : 2; again > 0; again--) {
            oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
            for (uint64_t k = 0; k < n; k++) {
                uint64_t key = sequences[_i](k);
                oak_map_put(m, &key);
            }
            ck_assert_int_eq(oak_map_settle(m), 0);
            oak_map_stats s = stats_of(m);
            if (s.bad_hash || s.reseeds > 0) ck_abort_msg("%zu good keys called bad", s.len);
            ck_assert_uint_eq(s.same_hash, 1);
            if (s.mean_probe > s.expected_probe * (n < 5000 ? 3 : 1.4))
                ck_abort_msg("%zu keys: %f groups to find one", n, s.mean_probe);
            seen += (double)s.overflowed;
            expected += s.expected_overflowed;
            probes += s.mean_probe;
            expected_probes += s.expected_probe;
        }
    }
    /* Steps of one size are spread more evenly than by chance, or less, as the seed will; doubles
     * most of all. What counts is what it costs, below. */
    if (sequences[_i] == scattered)
        ck_assert_msg(seen > expected * 0.5 && seen < expected * 2, "%f, not %f", seen, expected);
    ck_assert_msg(probes < expected_probes * 1.03 && probes > expected_probes * 0.95, "%f, not %f",
                  probes, expected_probes);
}
END_TEST

Suite *suite_maps_map_hostile(void)
{
    Suite *s = suite_create("maps_map_hostile");
    TCase *tc = tcase_create("hostile");
    tcase_add_loop_test(tc, an_attacker_with_the_seed_is_noticed, 0, OAKI_COUNT(tops));
    tcase_add_loop_test(tc, an_attacker_without_the_seed_gets_nothing, 0, 2);
    tcase_add_test(tc, an_attacker_who_sees_each_seed);
    tcase_add_test(tc, a_new_seed_comes_when_its_cost_was_paid);
    tcase_add_test(tc, an_attacker_who_builds_a_row);
    tcase_add_test(tc, a_new_seed_for_keys_that_equal_nothing);
    tcase_add_test(tc, seeds_and_multipliers_are_each_maps_own);
    tcase_add_test(tc, iterators_that_reseeds_pass);
    tcase_add_test(tc, a_reseed_while_an_iterator_is_among_overflow);
    tcase_add_loop_test(tc, a_bad_hash_is_right_and_reported, 0, 2);
    tcase_add_loop_test(tc, a_hash_that_is_not_avalanching_is_right_and_reported, 0, 2);
    tcase_add_test(tc, an_avalanching_hash_is_used_as_it_is);
    tcase_add_test(tc, a_bad_hash_stays_known);
    tcase_add_test(tc, a_bad_hash_is_forgotten_with_the_last_entry);
    tcase_add_loop_test(tc, good_hashes_are_as_expected, 0, OAKI_COUNT(sequences));
    suite_add_tcase(s, tc);
    return s;
}

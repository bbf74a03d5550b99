/* map_bulk.c - calls on many of the default map's entries: lookups, room, deletes by a predicate,
 * copies; typed and untyped, and where they meet what they must not. The model (map_model.c) holds
 * the same calls against a reference. */
#include "maps/map.h"
#include "model.h"
#include "tests/heap.h"
#include "tests/tracked.h"
#include "tests/witness.h"

#include <check.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

Suite *suite_maps_map_bulk(void);

OAK_MAP_DEFINE(number_map, uint64_t, uint64_t);
OAK_MAP_DEFINE(text_map, const char *, uint32_t);

enum { MANY = 20000 }; /* more than a map that lies in the caches has */

static oak_map *map;

static void fill(const oak_map_type *t, uint64_t n)
{
    map = oak_map_new(t, 0);
    for (uint64_t k = 0; k < n; k++) *(uint64_t *)oak_map_put(map, &k) = k * 3;
}

static void begin(uint64_t n)
{
    test_heap_start_stressed(test_config());
    fill(&oak_map_u64_u64, n);
}

static void expect(const oak_map *m, uint64_t n, uint64_t part)
{
    const char *broken = oaki_map_check(m);
    size_t len = 0;
    if (broken) ck_abort_msg("not so: %s", broken);
    for (uint64_t k = 0; k < n; k++) {
        const uint64_t *v = oak_map_get(m, &k);
        if ((v != NULL) != (k % part == 0) || (v && *v != k * 3))
            ck_abort_msg("key %lu", (unsigned long)k);
        len += v != NULL;
    }
    ck_assert_uint_eq(oak_map_len(m), len);
}

/* In every state: at rest, growing, shrinking. */
static void disturb(uint64_t *n, int how)
{
    if (how == 0) ck_assert_int_eq(oak_map_settle(map), 0);
    else oaki_map_whole_bits = 0;
    for (; how == 1 && !map->resizing; (*n)++) *(uint64_t *)oak_map_put(map, n) = *n * 3;
    while (how == 2 && (!map->resizing || map->array[0].shift < map->array[1].shift))
        if (!oak_map_delete(map, &(uint64_t){ --*n })) ck_abort_msg("a key is missing");
    ck_assert(how == 0 || map->resizing);
}

/* ---- lookups ---- */

static void look_up(uint64_t n, const uint64_t *keys, size_t count, bool typed)
{
    uint64_t *values[200];
    size_t found = typed ? number_map_get_many((number_map *)map, keys, count, values)
                         : oak_map_get_many(map, keys, count, (void **)values);
    for (size_t i = 0; i < count; i++) {
        ck_assert_ptr_eq(values[i], oak_map_get(map, &keys[i]));
        ck_assert_int_eq(values[i] != NULL, keys[i] < n);
        found -= values[i] != NULL;
    }
    ck_assert_uint_eq(found, 0);
}

START_TEST(many_lookups_in_every_state)
{
    static const size_t counts[] = { 0, 1, 2, 31, 32, 33, 64, 200 };
    uint64_t keys[200], n = _i < 3 ? 500 : MANY;
    begin(n);
    disturb(&n, _i % 3);
    for (size_t round = 0; round < 100; round++) {
        for (size_t i = 0; i < 200; i++) keys[i] = test_below(n + n / 4);
        keys[7] = keys[8] = keys[40] = keys[0]; /* more than once, in one batch and in two */
        for (size_t i = 0; i < OAKI_COUNT(counts); i++) look_up(n, keys, counts[i], round % 2);
    }
}
END_TEST

START_TEST(many_lookups_of_nothing)
{
    uint64_t keys[3] = { 1, 2, 1 };
    void *values[3] = { keys, keys, keys };
    begin(10);
    ck_assert_uint_eq(oak_map_get_many(NULL, keys, 3, values), 0);
    for (int i = 0; i < 3; i++) ck_assert_ptr_null(values[i]);
    values[0] = values[2] = keys;
    ck_assert_uint_eq(oak_map_get_many(map, NULL, 2, values), 0);
    ck_assert_ptr_null(values[0]);
    ck_assert_ptr_eq(values[2], keys);
    ck_assert_uint_eq(oak_map_get_many(map, keys, 3, NULL), 3);
    ck_assert_uint_eq(oak_map_get_many(map, keys, 0, NULL), 0);
    ck_assert_uint_eq(number_map_get_many(NULL, keys, 3, (uint64_t **)values), 0);
    oak_map_clear(map);
    ck_assert_uint_eq(oak_map_get_many(map, keys, 3, values), 0);
}
END_TEST

/* Keys that lie elsewhere than in the entry. */
START_TEST(many_texts)
{
    enum { TEXTS = 8000, EACH = 50 };
    static char text[TEXTS][12];
    test_heap_start_stressed(test_config());
    text_map *m = text_map_new(0);
    for (uint32_t i = 0; i < TEXTS; i++) {
        snprintf(text[i], sizeof text[i], "text %u", i);
        if (i % 3) *text_map_put(m, text[i]) = i;
    }
    for (uint32_t i = 0; i + EACH <= TEXTS; i += EACH) {
        const char *keys[EACH];
        uint32_t *values[EACH];
        for (uint32_t j = 0; j < EACH; j++) keys[j] = text[(i * 7 + j * 13) % TEXTS];
        text_map_get_many(m, keys, EACH, values);
        for (uint32_t j = 0; j < EACH; j++) {
            uint32_t k = (i * 7 + j * 13) % TEXTS;
            ck_assert_int_eq(values[j] != NULL, k % 3 != 0);
            if (values[j]) ck_assert_uint_eq(*values[j], k);
        }
    }
}
END_TEST

/* ---- room ---- */

static uint64_t growths(void)
{
    oak_map_stats s;
    oak_map_stats_read(map, &s);
    return s.growths;
}

START_TEST(what_is_reserved_fits)
{
    static const uint64_t had[] = { 0, 1, 5, 15, 100, 3000 }, more[] = { 0, 2, 9, 14, 1000, 20000 };
    uint64_t n = had[_i / 6], room = n + more[_i % 6];
    begin(n);
    oak_map_iter it;
    size_t given = 0;
    oak_map_iter_init(&it, map);
    if (n) ck_assert(oak_map_iter_next(&it));
    ck_assert_int_eq(oak_map_reserve(map, room), 0);
    ck_assert(!map->resizing || room <= n);
    expect(map, n, 1);
    for (given = n > 0; oak_map_iter_next(&it); given++) {
    }
    ck_assert_uint_eq(given, n);
    uint64_t before = growths(), arrays = map->moves;
    for (uint64_t k = n; k < room; k++) *(uint64_t *)oak_map_put(map, &k) = k * 3;
    ck_assert_uint_eq(growths(), before);
    /* adds, and the last segment's tail once, where entries of the last homes lie */
    if (room > n) ck_assert_uint_le(map->moves, arrays + room - n + 1);
    ck_assert_int_eq(oak_map_reserve(map, 1), 0);
    expect(map, room, 1);
}
END_TEST

START_TEST(room_in_the_middle_of_a_resize)
{
    uint64_t n = MANY;
    begin(n);
    disturb(&n, _i);
    ck_assert_int_eq(number_map_reserve((number_map *)map, 3 * n), 0);
    ck_assert(!map->resizing);
    expect(map, n, 1);
    uint64_t before = growths();
    for (uint64_t k = n; k < 3 * n; k++) *(uint64_t *)oak_map_put(map, &k) = k * 3;
    ck_assert_uint_eq(growths(), before);
    expect(map, 3 * n, 1);
}
END_TEST

START_TEST(more_room_than_there_is)
{
    static const size_t much[] = { SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 48 };
    begin(100);
    for (size_t i = 0; i < OAKI_COUNT(much); i++) {
        errno = 0;
        ck_assert_int_eq(oak_map_reserve(map, much[i]), -1);
        ck_assert_int_eq(errno, ENOMEM);
        expect(map, 100, 1);
    }
    ck_assert_int_eq(oak_map_reserve(NULL, 1), -1);
    ck_assert_int_eq(errno, EINVAL);
    size_t now = test_stats().heap_inuse;
    oak_set_heap_max(now + (1 << 20));
    ck_assert_int_eq(oak_map_reserve(map, 1000000), -1);
    ck_assert_int_eq(errno, ENOMEM);
    oak_set_heap_max(0);
    expect(map, 100, 1);
    ck_assert_int_eq(oak_map_reserve(map, 100000), 0);
    expect(map, 100, 1);
}
END_TEST

/* It isn't kept for ever: deletes end it, as they end a hint. */
START_TEST(room_is_given_back)
{
    begin(100);
    oak_map_stats s;
    ck_assert_int_eq(oak_map_reserve(map, 100000), 0);
    for (uint64_t k = 0; k < 10000; k++) {
        oak_map_put(map, &k);
        oak_map_delete(map, &k);
    }
    ck_assert_int_eq(oak_map_settle(map), 0);
    oak_map_stats_read(map, &s);
    ck_assert_uint_le(s.array_bytes, OAKI_MAP_KEPT);
}
END_TEST

/* ---- deletes by a predicate ---- */

static bool keep_part(const void *key, void *value, void *arg)
{
    uint64_t k = *(const uint64_t *)key;
    ck_assert_uint_eq(*(uint64_t *)value, k * 3);
    return k % *(uint64_t *)arg == 0;
}

static bool keep_number(const uint64_t *key, uint64_t *value, void *arg)
{
    return keep_part(key, value, arg);
}

START_TEST(one_of_so_many_is_kept)
{
    static uint64_t parts[] = { 1, 2, 3, 10, 100, 1000000 };
    uint64_t n = _i / 6 < 3 ? 3000 : 3, *part = &parts[_i % 6];
    begin(n);
    if (_i / 6 < 3) disturb(&n, _i / 6);
    size_t left = (n + *part - 1) / *part;
    size_t deleted = _i % 2 ? oak_map_retain(map, keep_part, part)
                            : number_map_retain((number_map *)map, keep_number, part);
    ck_assert_uint_eq(deleted, n - left);
    expect(map, n, *part);
    oak_map_stats s;
    oak_map_stats_read(map, &s);
    if (n > 100) ck_assert_uint_le(s.array_bytes + s.old_array_bytes, left * 16 * 12 + 8192);
}
END_TEST

static bool keep_none(const void *key, void *value, void *arg)
{
    (void)key, (void)value, (void)arg;
    return false;
}

START_TEST(nothing_is_kept)
{
    uint64_t n = MANY;
    begin(n);
    disturb(&n, _i);
    ck_assert_uint_eq(oak_map_retain(NULL, keep_none, NULL), 0);
    errno = 0;
    ck_assert_uint_eq(oak_map_retain(map, NULL, NULL), 0);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(number_map_retain((number_map *)map, NULL, NULL), 0);
    ck_assert_uint_eq(oak_map_len(map), n);
    ck_assert_uint_eq(oak_map_retain(map, keep_none, NULL), n);
    ck_assert_uint_eq(oak_map_len(map), 0);
    ck_assert_uint_eq(oaki_map_array_bytes(map, 0) + oaki_map_array_bytes(map, 1), 0);
    ck_assert_uint_eq(oak_map_retain(map, keep_none, NULL), 0);
    for (uint64_t k = 0; k < 100; k++) *(uint64_t *)oak_map_put(map, &k) = k * 3;
    expect(map, 100, 1);
}
END_TEST

static jmp_buf away;

static bool keep_until_it_leaves(const void *key, void *value, void *arg)
{
    size_t *calls = arg;
    (void)key, (void)value;
    if (++*calls == 1000) longjmp(away, 1);
    return *calls % 2;
}

START_TEST(a_predicate_that_leaves)
{
    static size_t calls;
    begin(3000);
    if (setjmp(away) == 0) {
        oak_map_retain(map, keep_until_it_leaves, &calls);
        ck_abort_msg("it didn't leave");
    }
    ck_assert_uint_eq(oak_map_len(map), 3000 - 499);
    ck_assert_ptr_null(oaki_map_check(map));
    for (uint64_t k = 0; k < 4000; k++) ck_assert_ptr_nonnull(oak_map_put(map, &k));
    ck_assert_uint_eq(oak_map_len(map), 4000);
}
END_TEST

static const uint64_t absent = UINT64_MAX, present = 5;
static int what;

static bool keep_and_write(const void *key, void *value, void *arg)
{
    bool keeps = *(bool *)arg;
    if (*(const uint64_t *)key == present) return true; /* so that it is there to be deleted */
    (void)value;
    if (what == 0) oak_map_put(map, &absent);
    if (what == 1) oak_map_delete(map, &present);
    if (what == 2) oak_map_clear(map);
    if (what == 3) oak_map_reserve(map, 100000);
    if (what == 4) oak_map_retain(map, keep_none, NULL);
    return keeps;
}

static void write_in_a_predicate(void *arg)
{
    begin(1000);
    oak_map_retain(map, keep_and_write, arg);
}

START_TEST(a_predicate_that_writes)
{
    bool keeps = _i % 2;
    what = _i / 2;
    test_dies(write_in_a_predicate, &keeps, "a write by a retain's own predicate");
}
END_TEST

static bool keep_and_read(const void *key, void *value, void *arg)
{
    oak_map_iter it;
    uint64_t k = *(const uint64_t *)key, keys[2] = { k, absent };
    void *values[2];
    (void)arg;
    ck_assert_ptr_eq(oak_map_get(map, key), value);
    ck_assert_uint_eq(oak_map_get_many(map, keys, 2, values), 1);
    *(uint64_t *)oak_map_put(map, key) = k * 3; /* over it: nothing moves */
    oak_map_iter_init(&it, map);
    ck_assert(oak_map_iter_next(&it));
    if (k % 64 == 0) ck_assert_uint_eq(oak_map_len(oak_map_copy(map)), oak_map_len(map));
    if (k % 64 == 0) oak_collect();
    return k % 2 == 0;
}

START_TEST(a_predicate_that_reads_and_collects)
{
    begin(1000);
    ck_assert_uint_eq(oak_map_retain(map, keep_and_read, NULL), 500);
    expect(map, 1000, 2);
}
END_TEST

/* ---- copies ---- */

START_TEST(a_copy_is_another_map)
{
    static const uint64_t sizes[] = { 0, 1, 3, 4, 7, 8, 15, 16, 100, MANY };
    uint64_t n = sizes[_i / 3], three = 3;
    begin(n);
    if (n == MANY) disturb(&n, _i % 3);
    number_map *c = number_map_copy((number_map *)map);
    oak_map *copy = number_map_map(c);
    expect(copy, n, 1);
    ck_assert_int_eq(copy->resizing, map->resizing);
    ck_assert_uint_eq(oaki_map_array_bytes(copy, 0), oaki_map_array_bytes(map, 0));
    oak_map_retain(copy, keep_part, &three);
    expect(copy, n, 3);
    expect(map, n, 1);
    for (uint64_t k = n; k < n + 500; k++) *(uint64_t *)oak_map_put(map, &k) = k * 3;
    expect(map, n + 500, 1);
    oak_map_clear(map);
    expect(copy, n, 3);
    for (uint64_t k = 0; k < n; k++) *(uint64_t *)oak_map_put(copy, &k) = k * 3;
    expect(copy, n, 1);
    errno = 0;
    ck_assert_ptr_null(oak_map_copy(NULL));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* Tags that have given their memory back, and a tail. */
START_TEST(a_copy_of_what_was_swept)
{
    uint64_t n = test_slow() ? 60000 : 120000, left = 0;
    oak_map_iter it;
    begin(n);
    oak_map_iter_init(&it, map);
    while (oak_map_len(map) > n / 8 && oak_map_iter_next(&it)) oak_map_delete(map, it.key);
    ck_assert(map->resizing);
    oak_map *copy = oak_map_copy(map);
    ck_assert_ptr_null(oaki_map_check(copy));
    for (oak_map_iter_init(&it, copy); oak_map_iter_next(&it); left++)
        ck_assert_ptr_nonnull(oak_map_get(map, it.key));
    ck_assert_uint_eq(left, oak_map_len(map));
    ck_assert_int_eq(oak_map_settle(copy), 0);
    ck_assert_ptr_null(oaki_map_check(copy));
}
END_TEST

/* The objects of large keys and values are the map's own. */
START_TEST(a_copy_of_large_values_shares_nothing)
{
    static const oak_map_type t = { .key = OAK_KEY_U64, .value_size = 200 };
    test_heap_start_stressed(test_config());
    map = oak_map_new(&t, 0);
    for (uint64_t k = 0; k < 300; k++) memset(oak_map_put(map, &k), (int)k, 200);
    oak_map *copy = oak_map_copy(map);
    for (uint64_t k = 0; k < 300; k++) memset(oak_map_get(map, &k), 0xff, 200);
    oak_map_clear(map);
    oak_collect();
    for (uint64_t k = 0; k < 300; k++) {
        const unsigned char *v = oak_map_get(copy, &k);
        ck_assert_uint_eq(v[0], k & 0xff);
        ck_assert_uint_eq(v[199], k & 0xff);
    }
}
END_TEST

/* ---- no memory ---- */

START_TEST(no_memory_in_the_middle)
{
    static const char *const kinds[] = { "u64_u64", "dense_box", "bytes200_box136", "text_u64" };
    unsigned kind = 0, failed = 0;
    while (strcmp(model_kinds[kind].name, kinds[_i]) != 0) kind++;
    test_heap_start(test_config());
    model_who = "maps_map_bulk";
    model_seed(3);
    model_begin(&model_kinds[kind], 6000, 0);
    for (unsigned k = 0; k < 5000; k++) ck_assert(model_put(k));
    model_may_fail(true);
    for (int each = 1; each < 40; each++) {
        oak_collect();
        oak_gc_disable();
        oak_set_heap_max(test_stats().heap_inuse + (size_t)each * 8192);
        failed += !model_copy();
        failed += !model_reserve(model_len() + 4000 + (size_t)each * 500);
        oak_set_heap_max(0);
        oaki_debug_switches.failalloc = 1; /* none at all, for what a retain shrinks to */
        if (each % 8 == 0) model_retain(2);
        oaki_debug_switches.failalloc = 0;
        oak_gc_enable();
        model_hold();
        model_check();
        for (unsigned k = 0; k < 5000; k += 1 + (unsigned)each) ck_assert(model_put(k));
    }
    ck_assert_uint_gt(failed, 5);
    ck_assert_uint_lt(failed, 2 * 39);
    model_end();
}
END_TEST

/* ---- a mark meanwhile ---- */

/* Nothing but the map leads to them; each copy takes the place of the original. */
START_TEST(calls_while_a_mark_goes_on)
{
    enum { N = 5000 };
    static oak_map *m;
    oak_config c = test_config_beside(test_tracking);
    c.gc_threads = 1;
    if (!test_heap_tracked(c, 0)) return;
    oaki_debug_switches.beside = 1;
    test_witness_start();
    m = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t k = 0; k < N; k++) *(void **)oak_map_put(m, &k) = test_witness_new(NULL, k);
    for (size_t round = 0; round < 40; round++) {
        test_ask_or_collect();
        oak_map *copy = oak_map_copy(m);
        oak_map_clear(m);
        m = copy;
        if (round % 4 == 0) ck_assert_int_eq(oak_map_reserve(m, N << round % 16 / 4), 0);
    }
    uint32_t before = test_stats().num_gc;
    while (test_stats().num_gc < before + 2) test_ask_or_collect();
    for (uint64_t k = 0; k < N; k++)
        ck_assert_uint_eq((*(test_witness **)oak_map_get(m, &k))->number, k);
}
END_TEST

static void add_beside(Suite *s, const char *name, void (*setup)(void))
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, calls_while_a_mark_goes_on);
    suite_add_tcase(s, tc);
}

Suite *suite_maps_map_bulk(void)
{
    Suite *s = suite_create("maps_map_bulk");
    TCase *tc = tcase_create("bulk");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, many_lookups_in_every_state, 0, 6);
    tcase_add_test(tc, many_lookups_of_nothing);
    tcase_add_test(tc, many_texts);
    tcase_add_loop_test(tc, what_is_reserved_fits, 0, 36);
    tcase_add_loop_test(tc, room_in_the_middle_of_a_resize, 0, 3);
    tcase_add_test(tc, more_room_than_there_is);
    tcase_add_test(tc, room_is_given_back);
    tcase_add_loop_test(tc, one_of_so_many_is_kept, 0, 24);
    tcase_add_loop_test(tc, nothing_is_kept, 0, 3);
    tcase_add_test(tc, a_predicate_that_leaves);
    tcase_add_loop_test(tc, a_predicate_that_writes, 0, 10);
    tcase_add_test(tc, a_predicate_that_reads_and_collects);
    tcase_add_loop_test(tc, a_copy_is_another_map, 0, 30);
    tcase_add_test(tc, a_copy_of_what_was_swept);
    tcase_add_test(tc, a_copy_of_large_values_shares_nothing);
    tcase_add_loop_test(tc, no_memory_in_the_middle, 0, 4);
    suite_add_tcase(s, tc);
    add_beside(s, "userfaultfd", test_by_userfaultfd);
    add_beside(s, "faults", test_by_faults);
    return s;
}

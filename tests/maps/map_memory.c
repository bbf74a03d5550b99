/* map_memory.c - what the default map holds: while it grows and shrinks, when it is cleared or left
 * idle in mid-growth, and under iterators that stand still.
 *
 * Figures are heap_inuse after a collection, whose sweep gives all free spans back. Pieces that
 * handle pointers run on a thread that ends; whether an object lives is asked of a weak
 * reference. */
#include "tests/gc/away.h"
#include "tests/heap.h"

#include <check.h>
#include <oakum/map.h>
#include <stdlib.h>
#include <string.h>

/* Bytes; of the maps of a slow run each segment is a part that counts. */
#define SEGMENTS ((size_t)384 << 10)

Suite *suite_maps_map_memory(void);

/* Bytes of an array that an emptied map may keep. */
#define KEPT ((size_t)4 << 10)
#define KEPT_SPAN ((size_t)8 << 10) /* that its segment, or its tags, lie in */

enum { MILLION = 1000000, OBJECTS = 600, LUCK = 4 /* what a stray word may keep */ };

static struct {
    oak_map *m;
    oak_map_iter it;
    oak_weak *value[OBJECTS];
    uint64_t next; /* key */
} w;

static void begin(const oak_map_type *t)
{
    test_heap_start(test_config());
    w.m = oak_map_new(t, 0);
}

static size_t held(void)
{
    oak_collect();
    return test_stats().heap_inuse;
}

static void put(uint64_t k)
{
    uint64_t *v = oak_map_put(w.m, &k);
    if (!v) ck_abort_msg("no memory for key %lu", (unsigned long)k);
    *v = k;
}

static void grow_to(uint64_t n)
{
    while (w.next < n) put(w.next++);
}

/* Stops when that part of the old array has been left. */
static void reach_mid_growth(double part)
{
    while (!w.m->resizing) put(w.next++);
    while (w.m->resizing && (double)(w.m->last + 1) < part * 0x1p63) put(w.next++);
    ck_assert(w.m->resizing);
}

static void delete_from(uint64_t first)
{
    while (w.next > first)
        if (!oak_map_delete(w.m, &(uint64_t){ --w.next })) ck_abort_msg("a key is missing");
}

static size_t array_bytes(void)
{
    oak_map_stats s;
    oak_map_stats_read(w.m, &s);
    return s.array_bytes + s.old_array_bytes;
}

/* ---- giving back ---- */

/* In which order entries are deleted. */
typedef enum order {
    ONE_ITERATOR,   /* what it gives, until so many are left: these lie side by side in the end */
    FIRST_GIVEN,    /* by a new iterator each time */
    REVERSE,        /* what one iterator gives, from its end on */
    TWO_PLACES,     /* what two of them give, by turns */
    FEW_KEPT,       /* what one gives, but every so many: these lie all over */
    ORDERS
} order;

static uint64_t *given;

/* The keys, in the order in which they will be deleted. */
static void sort_keys(size_t n, order how)
{
    oak_map_iter it;
    size_t len = 0;
    given = realloc(given, n * sizeof *given);
    for (oak_map_iter_init(&it, w.m); oak_map_iter_next(&it); len++)
        given[len] = *(const uint64_t *)it.key;
    ck_assert_uint_eq(len, n);
    uint64_t *sorted = malloc(n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = how == REVERSE      ? given[n - 1 - i]
                    : how == TWO_PLACES ? given[i % 2 ? n / 2 + i / 2 : i / 2]
                                        : given[i];
    free(given);
    given = sorted;
}

static void delete_key(uint64_t key)
{
    if (!oak_map_delete(w.m, &key)) ck_abort_msg("a key is missing");
}

static void delete_first_given(void)
{
    oak_map_iter it;
    oak_map_iter_init(&it, w.m);
    if (!oak_map_iter_next(&it)) ck_abort_msg("there is none");
    delete_key(*(const uint64_t *)it.key);
}

/* Of n entries the keys of which are sorted, so many are left. */
static void delete_as(order how, size_t n, size_t left)
{
    size_t each = n / left;
    for (size_t i = 0, kept = 0; oak_map_len(w.m) > left; i++) {
        if (how == FIRST_GIVEN) delete_first_given();
        else if (how == FEW_KEPT && i % each == 0 && kept < left) kept++;
        else delete_key(given[i]);
    }
    size_t len = 0;
    oak_map_iter it;
    for (oak_map_iter_init(&it, w.m); oak_map_iter_next(&it); len++) {}
    ck_assert_uint_eq(len, left);
}

/* However many are left, in whatever order: what is held is in proportion, nearly. */
START_TEST(deletes_in_any_order_give_it_back)
{
    static const struct {
        size_t part, most; /* one entry of so many is left; thousandths of the array */
    } steps[] = { { 1000, 50 }, { 300, 90 }, { 50, 110 } };
    order how = (order)(_i % ORDERS);
    begin(_i / ORDERS % 2 ? &oak_map_u64_ptr : &oak_map_u64_u64);
    size_t before = held(), n = test_scale(MILLION), part = steps[_i / ORDERS / 2].part;
    grow_to(n);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    size_t full = held() - before, array = array_bytes(), most = steps[_i / ORDERS / 2].most;
    sort_keys(n, how);
    delete_as(how, n, n / part);
    size_t now = array_bytes(), all = held() - before;
    ck_assert_msg(now <= OAKI_MAX(array / 1000 * most, SEGMENTS), "%zu of %zu", now, array);
    ck_assert_msg(all <= OAKI_MAX(full / 1000 * most, SEGMENTS), "%zu of %zu", all, full);
}
END_TEST

/* What one iterator gives, until so many are left: they lie side by side in the end. Each entry is
 * given once, whatever becomes of the order. */
static void delete_in_order(size_t left)
{
    oak_map_iter it;
    oak_map_iter_init(&it, w.m);
    while (oak_map_len(w.m) > left) {
        if (!oak_map_iter_next(&it)) ck_abort_msg("%zu are left out", oak_map_len(w.m));
        uint64_t key = *(const uint64_t *)it.key;
        if (!oak_map_delete(w.m, &key)) ck_abort_msg("a key is missing");
    }
    size_t n = 0;
    while (oak_map_iter_next(&it)) n++;
    ck_assert_uint_eq(n, left);
}

START_TEST(deletes_in_order_give_it_back_too)
{
    static const size_t left[] = { 2000, 1000, 100, 12, 1 };
    begin(_i % 2 ? &oak_map_u64_ptr : &oak_map_u64_u64);
    size_t before = held(), n = test_scale(MILLION);
    grow_to(n);
    size_t full = held() - before, array = array_bytes();
    for (size_t i = 0; i < OAKI_COUNT(left); i++) {
        delete_in_order(left[i]);
        ck_assert_uint_le(array_bytes(), array / 20);
        ck_assert_uint_le(held() - before, OAKI_MAX(full / 20, SEGMENTS)); /* one piece */
    }
    delete_in_order(0);
    ck_assert_uint_le(array_bytes(), KEPT);
    w.next = 0;
    grow_to(test_scale(1000));
    ck_assert_uint_eq(oak_map_len(w.m), w.next);
}
END_TEST

START_TEST(deletes_give_the_array_back)
{
    begin(_i ? &oak_map_u64_ptr : &oak_map_u64_u64);
    size_t before = held(), n = test_scale(MILLION), kept = n / 1000;
    grow_to(n);
    size_t full = held() - before, array = array_bytes();
    ck_assert_uint_ge(full, n * 16);
    delete_from(kept);
    ck_assert_uint_eq(oak_map_len(w.m), kept);
    ck_assert_uint_le(array_bytes(), array / 20);
    ck_assert_uint_le(held() - before, full / 20);
    for (uint64_t k = 0; k < kept; k++) ck_assert_uint_eq(*(uint64_t *)oak_map_get(w.m, &k), k);
    /* And down to nothing. */
    delete_from(0);
    ck_assert_uint_le(array_bytes(), KEPT);
    ck_assert_uint_le(held(), before + 16384 + 2 * KEPT_SPAN);
}
END_TEST

/* In any order of deletes, and when puts and gets come between. */
START_TEST(shrinking_follows_the_entries_there_are)
{
    begin(&oak_map_u64_u64);
    size_t before = held(), n = test_scale(200000);
    grow_to(n);
    size_t each = (held() - before) / n;
    for (uint64_t k = 0, left = n; k < n; k++, left--) {
        uint64_t other = k * 7919 % n;
        oak_map_delete(w.m, &other);
        if (k % (n / 20)) continue;
        size_t now = held() - before;
        if (now > left * each * 8 + 65536) ck_abort_msg("%zu bytes for %zu entries", now, left);
    }
}
END_TEST

/* What a hint reserved is no reason to keep what deletes emptied. */
START_TEST(a_hinted_map_shrinks_too)
{
    begin(&oak_map_u64_u64);
    size_t before = held(), n = test_scale(MILLION);
    w.m = oak_map_new(&oak_map_u64_u64, n);
    grow_to(_i ? n : n / 8);
    size_t full = held() - before;
    delete_from(10);
    ck_assert_uint_le(held() - before, full / 20 + 65536);
}
END_TEST

/* Also of a map that is resized as a whole. */
START_TEST(a_hint_of_a_small_map_lasts_until_a_fifth_is_full)
{
    begin(&oak_map_u64_u64);
    w.m = oak_map_new(&oak_map_u64_u64, 1600);
    grow_to(250);
    for (uint64_t k = 0; k < 10; k++) ck_assert(oak_map_delete(w.m, &k));
    oak_map_stats s;
    oak_map_stats_read(w.m, &s);
    ck_assert_uint_ge(s.groups, 128);
    ck_assert_uint_eq(s.shrinks, 0);
}
END_TEST

START_TEST(a_hint_outlives_a_few_deletes)
{
    begin(&oak_map_u64_u64);
    size_t n = test_scale(100000);
    w.m = oak_map_new(&oak_map_u64_u64, n);
    for (uint64_t k = 0; k < 60; k++) {
        put(k);
        ck_assert(oak_map_delete(w.m, &k));
    }
    grow_to(n);
    oak_map_stats s;
    oak_map_stats_read(w.m, &s);
    ck_assert_uint_eq(s.growths, 0);
}
END_TEST

START_TEST(a_clear_releases_everything)
{
    begin(&oak_map_u64_u64);
    size_t before = held();
    for (int round = 0; round < 3; round++) {
        grow_to(test_scale(300000));
        if (round == 1) reach_mid_growth(0.5);
        size_t full = test_stats().heap_inuse - before;
        oak_map_clear(w.m);
        w.next = 0;
        ck_assert_uint_eq(array_bytes(), 0);
        /* At once, but for small spans, which a sweep finds; they are most of a map that is scaled
         * down. */
        if (test_scale(300000) == 300000)
            ck_assert_uint_le(test_stats().heap_inuse, before + full / 4 + 65536);
        ck_assert_uint_le(held(), before + 32768);
    }
}
END_TEST

START_TEST(empty_and_small_maps)
{
    enum { MAPS = 1000 };
    static oak_map *maps[MAPS];
    begin(&oak_map_u64_u64);
    ck_assert_uint_eq(array_bytes(), 0);
    size_t before = held();
    for (int i = 0; i < MAPS; i++) maps[i] = oak_map_new(&oak_map_u64_u64, 0);
    ck_assert_uint_le(held() - before, MAPS * 320 + 16384);
    for (uint64_t k = 0; k < 8; k++)
        for (int i = 0; i < MAPS; i++) oak_map_put(maps[i], &k);
    oak_map_stats s;
    oak_map_stats_read(maps[5], &s);
    ck_assert_uint_eq(s.groups, 1);
    ck_assert_uint_le(s.array_bytes, 16 + 15 * 16);
    ck_assert_uint_le(held() - before, MAPS * (320 + 288) + 65536);
}
END_TEST

/* ---- growing ---- */

static void idle_in_mid_growth(uint64_t n)
{
    begin(&oak_map_u64_u64);
    size_t before = held();
    grow_to(n);
    size_t idle = 0, arrays = 0;
    for (double part = 0; part < 0.95; part += 0.1) {
        reach_mid_growth(part);
        idle = OAKI_MAX(idle, held() - before);
        arrays = OAKI_MAX(arrays, array_bytes());
    }
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    size_t settled = held() - before;
    ck_assert_uint_eq(oak_map_len(w.m), w.next);
    ck_assert_msg(idle <= settled * 11 / 10, "idle %zu, settled %zu", idle, settled);
    ck_assert_msg(arrays <= array_bytes() * 11 / 10, "arrays %zu, %zu", arrays, array_bytes());
}

START_TEST(idle_in_mid_growth_costs_a_tenth_at_most)
{
    static const uint64_t sizes[] = { 20000, 60000, 300000, MILLION };
    idle_in_mid_growth(test_slow() && _i > 1 ? sizes[1] : sizes[_i]);
}
END_TEST

/* OAKUM_TEST_LONG=1 makes it 20 million. */
START_TEST(the_peak_while_growing_is_near_what_is_held_at_the_end)
{
    begin(&oak_map_u64_u64);
    size_t before = held(), peak = 0, n = test_scale(2000000), peak_rss = 0, rss = test_rss();
    for (size_t i = 0; i < n; i++) {
        put(w.next++);
        if (i % 4096) continue;
        peak = OAKI_MAX(peak, test_stats().heap_inuse - before);
        peak_rss = OAKI_MAX(peak_rss, test_rss() - rss);
    }
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    size_t end = test_stats().heap_inuse - before, end_rss = test_rss() - rss;
    ck_assert_msg(peak <= end * 115 / 100, "peak %zu, end %zu", peak, end);
    if (test_skip_slow()) return;
    ck_assert_msg(peak_rss <= end_rss * 115 / 100, "RSS: peak %zu, end %zu", peak_rss, end_rss);
}
END_TEST

/* ---- what is alive ---- */

static void fill_with_objects(void *arg OAKI_UNUSED)
{
    for (; w.next < OBJECTS; w.next++) {
        uint64_t *p = oak_alloc_noscan(64);
        *p = w.next;
        w.value[w.next] = oak_weak_new(p);
        *(void **)oak_map_put(w.m, &w.next) = p;
    }
}

static int alive(int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++) n += oak_weak_get(w.value[i]) != NULL;
    return n;
}

static void collect(void)
{
    oak_collect();
    oak_collect();
}

START_TEST(integers_keep_nothing_alive)
{
    begin(&oak_map_u64_u64);
    test_away(fill_with_objects, NULL);
    collect();
    ck_assert_uint_eq(oak_map_len(w.m), OBJECTS);
    ck_assert_int_le(alive(0, OBJECTS), LUCK);
}
END_TEST

static void fill_with_keys(void *arg OAKI_UNUSED)
{
    for (int i = 0; i < OBJECTS; i++) {
        void *p = oak_alloc_noscan(64);
        w.value[i] = oak_weak_new(p);
        oak_map_put(w.m, &p);
    }
}

START_TEST(pointer_keys_keep_their_objects_alive)
{
    begin(&oak_map_ptr_u64);
    test_away(fill_with_keys, NULL);
    collect();
    ck_assert_int_eq(alive(0, OBJECTS), OBJECTS);
    oak_map_clear(w.m);
    collect();
    ck_assert_int_le(alive(0, OBJECTS), LUCK);
}
END_TEST

static void delete_half(void *arg OAKI_UNUSED)
{
    for (uint64_t k = 0; k < OBJECTS / 2; k++) oak_map_delete(w.m, &k);
}

static void forget_half(void *arg OAKI_UNUSED)
{
    for (uint64_t k = 0; k < OBJECTS / 2; k++) *(void **)oak_map_get(w.m, &k) = NULL;
}

/* Steps of a resize, without new entries in the end. */
static void touch(void *n)
{
    uint64_t k = UINT64_MAX;
    for (uintptr_t i = 0; i < (uintptr_t)n; i++) {
        *(void **)oak_map_put(w.m, &k) = NULL;
        oak_map_delete(w.m, &k);
    }
}

/* More entries, without objects, until the map grows. */
static void push_into_growth(void *arg OAKI_UNUSED)
{
    for (uint64_t k = OBJECTS; !w.m->resizing; k++) *(void **)oak_map_put(w.m, &k) = NULL;
}

/* At rest; in mid-growth; and moved since, so that old copies might be left. */
START_TEST(what_was_deleted_or_overwritten_is_not_kept)
{
    begin(&oak_map_u64_ptr);
    test_away(fill_with_objects, NULL);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    if (_i / 2 > 0) test_away(push_into_growth, NULL);
    if (_i / 2 > 1) test_away(touch, (void *)20);
    test_away(_i % 2 ? forget_half : delete_half, NULL);
    if (_i / 2 > 2) test_away(touch, (void *)20);
    collect();
    ck_assert_int_eq(alive(OBJECTS / 2, OBJECTS), OBJECTS / 2);
    ck_assert_int_le(alive(0, OBJECTS / 2), LUCK);
    w.m = NULL;
    collect();
    ck_assert_int_le(alive(0, OBJECTS), LUCK);
}
END_TEST

static struct {
    uint64_t *slot; /* a value, all that is left of its map */
    oak_weak *tags;
} left;

static void leave_a_value(void *key)
{
    fill_with_objects(NULL);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    left.slot = oak_map_get(w.m, key);
    left.tags = oak_weak_new(w.m->array[0].tags);
    w.m = NULL;
}

/* Its segment lives, and so what tells the collector which of its entries are there. */
START_TEST(a_value_outlives_its_map)
{
    uint64_t key = OBJECTS / 2;
    begin(&oak_map_u64_ptr);
    test_away(leave_a_value, &key);
    collect();
    ck_assert_ptr_nonnull(oak_weak_get(left.tags));
    ck_assert_ptr_nonnull(oak_weak_get(w.value[key]));
    ck_assert_uint_eq(**(uint64_t **)left.slot, key);
    left.slot = NULL;
    collect();
    ck_assert_int_le(alive(0, OBJECTS), LUCK);
}
END_TEST

/* ---- iterators ---- */

static void walk_some(void *n)
{
    oak_map_iter_init(&w.it, w.m);
    for (uintptr_t i = 0; i < (uintptr_t)n; i++) ck_assert(oak_map_iter_next(&w.it));
}

START_TEST(an_iterator_that_stands_still_keeps_no_object)
{
    begin(&oak_map_u64_ptr);
    test_away(fill_with_objects, NULL);
    if (_i == 2) test_away(push_into_growth, NULL);
    test_away(walk_some, (void *)(OBJECTS / 2));
    if (_i == 1) oak_map_clear(w.m);
    else test_away(delete_half, NULL);
    collect();
    /* The current entry may be among them: key and value are the caller's to look at. */
    ck_assert_int_le(alive(0, OBJECTS / 2), LUCK + 1);
    if (_i == 1) ck_assert_int_le(alive(0, OBJECTS), LUCK + 1);
    else ck_assert_int_eq(alive(OBJECTS / 2, OBJECTS), OBJECTS / 2);
}
END_TEST

START_TEST(an_iterator_that_stands_still_keeps_no_array)
{
    begin(&oak_map_u64_u64);
    size_t before = held(), n = test_scale(300000);
    grow_to(n);
    size_t full = held() - before;
    walk_some((void *)(n / 2));
    if (_i == 0) delete_from(0);
    if (_i == 1) oak_map_clear(w.m);
    if (_i == 2) {
        grow_to(4 * n);
        ck_assert_int_eq(oak_map_settle(w.m), 0);
        size_t array = array_bytes();
        ck_assert_uint_le(held() - before, array + full / 10);
        return;
    }
    /* A segment that a stale pointer of the iterator's leads to is one of dozens. */
    ck_assert_uint_le(held() - before, full / 20);
    ck_assert(!oak_map_iter_next(&w.it));
}
END_TEST

Suite *suite_maps_map_memory(void)
{
    Suite *s = suite_create("maps_map_memory");
    TCase *tc = tcase_create("memory");
    tcase_add_loop_test(tc, deletes_in_any_order_give_it_back, 0, ORDERS * 2 * 3);
    tcase_add_loop_test(tc, deletes_in_order_give_it_back_too, 0, 2);
    tcase_add_loop_test(tc, deletes_give_the_array_back, 0, 2);
    tcase_add_test(tc, shrinking_follows_the_entries_there_are);
    tcase_add_loop_test(tc, a_hinted_map_shrinks_too, 0, 2);
    tcase_add_test(tc, a_hint_outlives_a_few_deletes);
    tcase_add_test(tc, a_hint_of_a_small_map_lasts_until_a_fifth_is_full);
    tcase_add_test(tc, a_clear_releases_everything);
    tcase_add_test(tc, empty_and_small_maps);
    tcase_add_loop_test(tc, idle_in_mid_growth_costs_a_tenth_at_most, 0, 4);
    tcase_add_test(tc, the_peak_while_growing_is_near_what_is_held_at_the_end);
    tcase_add_test(tc, integers_keep_nothing_alive);
    tcase_add_test(tc, pointer_keys_keep_their_objects_alive);
    tcase_add_loop_test(tc, what_was_deleted_or_overwritten_is_not_kept, 0, 8);
    tcase_add_test(tc, a_value_outlives_its_map);
    tcase_add_loop_test(tc, an_iterator_that_stands_still_keeps_no_object, 0, 3);
    tcase_add_loop_test(tc, an_iterator_that_stands_still_keeps_no_array, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}

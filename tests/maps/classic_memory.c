/* classic_memory.c - what the classic map keeps alive, and how large its arrays are: Go's sizes,
 * unscanned arrays, old arrays in mid-growth, what iterators hold, what deleting lets go.
 *
 * Each step runs on a thread that ends, so that no stack keeps anything; whether an object lives is
 * asked of a weak reference. */
#include "maps/classic.h"
#include "maps/resizehook.h"
#include "tests/gc/away.h"
#include <check.h>
#include <oakum/oakum.h>
#include <stdlib.h>

enum { VALUES = 500 };

/* 90 % of what 256 buckets hold, and 4,096. */
enum { WINDOW = 1500, LARGE_WINDOW = 23961 };

/* A stack or a register may hold a stray word: so many of VALUES objects may stay by chance. */
enum { LUCK = 4 };

static struct {
    const oak_classic_type *type;
    oak_classic_map *m;
    oak_classic_iter it;
    oak_weak *array; /* the map's array when it was last asked */
    oak_weak *value[VALUES];
    int64_t next; /* key */
} w;

static void put(int64_t k)
{
    *(int64_t *)oak_classic_put(w.m, &k) = 0;
}

static void fill(void *limit)
{
    if (!w.m) w.m = oak_classic_new(w.type, 0);
    for (; w.next < (int64_t)(uintptr_t)limit; w.next++) put(w.next);
}

static void fill_to(int64_t limit)
{
    test_away(fill, (void *)(uintptr_t)limit);
}

static void watch_array(void *arg OAKI_UNUSED)
{
    w.array = oak_weak_new(w.m->buckets);
}

static void finish_growth(void *arg OAKI_UNUSED)
{
    for (int64_t k = 0; w.m->oldbuckets; k = (k + 1) % w.next) put(k);
}

static void begin_iterator(void *arg OAKI_UNUSED)
{
    oak_classic_iter_init(&w.it, w.m);
    oak_classic_iter_next(&w.it);
}

static void collect(void)
{
    oak_collect();
    oak_collect();
}

static bool array_lives(void)
{
    return oak_weak_get(w.array) != NULL;
}

/* ---- sizes ---- */

/* Go's A(B), of 2^B and 2^(B-4) buckets, rounded up to pages of 8 KiB. */
START_TEST(arrays_have_the_sizes_of_go)
{
    static const struct {
        const oak_classic_type *type;
        unsigned B;
        size_t bytes;
    } arrays[] = {
        { &oak_classic_int_int, 8, 40960 },     { &oak_classic_int_int, 12, 630784 },
        { &oak_classic_int_int, 16, 10027008 }, { &oak_classic_int_int, 17, 20054016 },
        { &oak_classic_int_int, 18, 40108032 }, { &oak_classic_int_ptr, 12, 630784 },
        { &oak_classic_string_int, 8, 57344 },  { &oak_classic_string_any, 8, 81920 },
    };
    test_start(0);
    for (unsigned i = 0; i < OAKI_COUNT(arrays); i++) {
        oak_classic_stats s;
        oak_classic_map *m = oak_classic_new(arrays[i].type, (size_t)13 << (arrays[i].B - 1));
        oak_classic_stats_read(m, &s);
        ck_assert_uint_eq(s.B, arrays[i].B);
        ck_assert_uint_eq(s.array_bytes, arrays[i].bytes);
    }
}
END_TEST

/* ---- scanned or not ---- */

static void fill_with_values(void *arg OAKI_UNUSED)
{
    w.m = oak_classic_new(w.type, 0);
    for (int64_t k = 0; k < VALUES; k++) {
        void *p = oak_alloc_noscan(64);
        w.value[k] = oak_weak_new(p);
        *(void **)oak_classic_put(w.m, &k) = p;
    }
}

static int values_alive(int from)
{
    int n = 0;
    for (int i = from; i < VALUES; i++) n += oak_weak_get(w.value[i]) != NULL;
    return n;
}

static void delete_some(void *n)
{
    for (int64_t k = 0; k < (int64_t)(uintptr_t)n; k++) oak_classic_delete(w.m, &k);
}

START_TEST(a_type_without_pointers_is_not_scanned)
{
    test_start(0);
    w.type = &oak_classic_int_int;
    test_away(fill_with_values, NULL);
    collect();
    ck_assert_int_le(values_alive(0), LUCK);
}
END_TEST

START_TEST(values_live_until_they_are_deleted_or_the_map_goes)
{
    test_start(0);
    w.type = &oak_classic_int_ptr;
    test_away(fill_with_values, NULL);
    collect();
    ck_assert_int_eq(values_alive(0), VALUES);
    test_away(delete_some, (void *)(uintptr_t)(VALUES / 2));
    collect();
    ck_assert_int_eq(values_alive(VALUES / 2), VALUES / 2);
    ck_assert_int_le(values_alive(0) - VALUES / 2, LUCK);
    w.m = NULL;
    collect();
    ck_assert_int_le(values_alive(0), LUCK);
}
END_TEST

/* Large keys and values are objects of their own, which hold pointers if the type says so. */
static void fill_wide(void *arg)
{
    w.m = oak_classic_new(arg, 0);
    for (int64_t k = 0; k < VALUES; k++) {
        int64_t key[20] = { k };
        void *p = oak_alloc_noscan(64);
        w.value[k] = oak_weak_new(p);
        ((void **)oak_classic_put(w.m, key))[16] = p;
    }
}

START_TEST(large_values_are_scanned_as_the_type_says)
{
    static oak_classic_type t = { 160, 136, oak_classic_hash_bytes, oak_classic_equal_bytes, 0 };
    t.flags = _i ? OAK_CLASSIC_VALUE_POINTERS : 0;
    test_start(0);
    test_away(fill_wide, &t);
    collect();
    ck_assert_uint_eq(oak_classic_len(w.m), VALUES);
    if (_i)
        ck_assert_int_eq(values_alive(0), VALUES);
    else
        ck_assert_int_le(values_alive(0), LUCK);
}
END_TEST

/* ---- overflow buckets of unscanned arrays ---- */

static uint64_t one_hash(const void *key OAKI_UNUSED, uint64_t seed, size_t size OAKI_UNUSED)
{
    return oaki_hash_u64(1, seed);
}

static const oak_classic_type one_chain = { 8, 8, one_hash, oak_classic_equal_bytes, 0 };

static void fill_one_chain(void *arg OAKI_UNUSED)
{
    w.m = oak_classic_new(&one_chain, 0);
    for (int64_t k = 0; k < VALUES; k++) *(int64_t *)oak_classic_put(w.m, &k) = k;
}

/* Allocate over whatever was freed. */
static void litter(void *arg OAKI_UNUSED)
{
    for (int i = 0; i < 20000; i++) memset(oak_alloc_noscan(144), 0xEE, 144);
}

START_TEST(overflow_buckets_stay_though_nothing_scanned_points_to_them)
{
    test_start(0);
    test_away(fill_one_chain, NULL);
    collect();
    test_away(litter, NULL);
    ck_assert_ptr_null(oaki_classic_check(w.m));
    for (int64_t k = 0; k < VALUES; k++) {
        int64_t *v = oak_classic_get(w.m, &k);
        if (!v || *v != k) ck_abort_msg("key %d", (int)k);
    }
}
END_TEST

static void drop_map(void *arg OAKI_UNUSED)
{
    oak_classic_clear(w.m);
}

/* Cleared behind an iterator's back, the overflow bucket that it stands in must not be reused
 * under it. */
START_TEST(an_iterator_keeps_overflow_buckets_that_the_map_dropped)
{
    test_start(0);
    test_away(fill_one_chain, NULL);
    oak_classic_iter_init(&w.it, w.m);
    /* Past the overflow buckets that are part of the array: those were zeroed in place. */
    for (int i = 0; i < 250; i++) oak_classic_iter_next(&w.it);
    test_away(drop_map, NULL);
    collect();
    test_away(litter, NULL);
    for (int i = 250; oak_classic_iter_next(&w.it); i++) {
        int64_t k = *(const int64_t *)w.it.key;
        if (k < 0 || k >= VALUES) ck_abort_msg("a key out of reused memory");
        ck_assert_int_lt(i, VALUES);
    }
}
END_TEST

/* Keys below VALUES in one chain, the others in another. */
static uint64_t two_hashes(const void *key, uint64_t seed OAKI_UNUSED, size_t size OAKI_UNUSED)
{
    int64_t k;
    memcpy(&k, key, 8);
    return k < VALUES ? 40 : 5;
}

static const oak_classic_type two_chains = { 8, 8, two_hashes, oak_classic_equal_bytes, 0 };

static void fill_until_growing(void *arg OAKI_UNUSED)
{
    w.m = oak_classic_new(&two_chains, 0);
    for (int64_t k = 0; k < VALUES; k++) put(k);
    for (w.next = VALUES; w.m->oldbuckets || w.m->B < 7; w.next++) put(w.next);
    while (!w.m->oldbuckets) put(w.next++);
}

static void finish_by_other_chain(void *arg OAKI_UNUSED)
{
    while (w.m->oldbuckets) put(VALUES);
}

START_TEST(an_iterator_keeps_overflow_buckets_of_an_old_array)
{
    test_start(0);
    test_away(fill_until_growing, NULL);
    oak_classic_iter_init(&w.it, w.m);
    w.it.start_bucket = w.it.bucket = 40;
    for (int i = 0; i < 250; i++) oak_classic_iter_next(&w.it);
    ck_assert(w.it.check_bucket == 40);
    test_away(finish_by_other_chain, NULL);
    collect();
    test_away(litter, NULL);
    size_t n = 250;
    for (; oak_classic_iter_next(&w.it); n++) {
        int64_t k = *(const int64_t *)w.it.key;
        if (k < 0 || k >= w.next) ck_abort_msg("a key out of reused memory");
    }
    ck_assert_uint_eq(n, oak_classic_len(w.m));
}
END_TEST

/* Insert one, delete the oldest. */
static void slide(int64_t window)
{
    int64_t oldest = w.next - window;
    put(w.next++);
    oak_classic_delete(w.m, &oldest);
}

static void fill_window(int64_t window)
{
    w.m = oak_classic_new(&oak_classic_int_int, 0);
    for (w.next = 0; w.next < window; w.next++) put(w.next);
    while (oaki_classic_growing(w.m)) slide(window);
}

static void slide_until_growing(void *arg OAKI_UNUSED)
{
    fill_window(WINDOW);
    while (!oaki_classic_same_size(w.m)) slide(WINDOW);
}

/* A census may come at any instruction of a clear: as long as there is an old array, the map says
 * how large it is. */
static size_t old_buckets;

static void note_old_buckets(const oaki_resize *r)
{
    if (!r->begins) old_buckets = oaki_classic_noldbuckets(r->map);
}

START_TEST(a_clear_in_a_same_size_growth_ends_it_whole)
{
    test_start(0);
    test_away(slide_until_growing, NULL);
    size_t buckets = oaki_classic_nbuckets(w.m->B);
    oaki_maps_on_resize(note_old_buckets);
    oak_classic_clear(w.m);
    oaki_maps_on_resize(NULL);
    ck_assert_uint_eq(old_buckets, buckets);
    ck_assert(!oaki_classic_growing(w.m) && !oaki_classic_same_size(w.m));
    ck_assert_ptr_null(oaki_classic_check(w.m));
}
END_TEST

/* Of a list's buckets those that aren't part of an array, and the list. */
static size_t list_bytes(const oaki_classic_list *l)
{
    size_t n = oak_usable_size(l);
    if (l->data) n += oak_usable_size(l->data);
    for (size_t i = 0; i < l->len; i++)
        if (oak_base(l->data[i]) == l->data[i]) n += oak_usable_size(l->data[i]);
    return n;
}

static void slide_and_weigh(void *arg OAKI_UNUSED)
{
    fill_window(LARGE_WINDOW);
    size_t array = oak_usable_size(w.m->buckets);
    while (w.m->same_size_growths < 8 || oaki_classic_growing(w.m)) {
        slide(LARGE_WINDOW);
        if (!oaki_classic_growing(w.m) || w.next % 16) continue;
        size_t held = list_bytes(w.m->extra->overflow) + list_bytes(w.m->extra->oldoverflow);
        ck_assert_uint_le(2 * array + held, 3 * array);
    }
}

START_TEST(a_sliding_window_never_holds_more_than_three_arrays)
{
    test_start(0);
    test_away(slide_and_weigh, NULL);
}
END_TEST

static size_t old_list(void)
{
    return w.m->extra->oldoverflow->len;
}

/* What in it isn't part of the old array. */
static void watch_old_list(void *watched)
{
    size_t *n = watched;
    for (size_t i = 0; i < old_list(); i++) {
        oaki_bmap *b = w.m->extra->oldoverflow->data[i];
        if (oak_base(b) == b) w.value[(*n)++] = oak_weak_new(b);
    }
}

/* Writes that evacuate only, until `limit` old buckets are evacuated. */
static void evacuate_to(void *limit)
{
    int64_t gone = -1;
    while (w.m->nevacuate < (uintptr_t)limit) oak_classic_delete(w.m, &gone);
}

START_TEST(the_old_list_loses_what_is_evacuated)
{
    test_start(0);
    test_away(slide_until_growing, NULL);
    size_t nold = oaki_classic_noldbuckets(w.m), first = old_list(), watched = 0;
    ck_assert_uint_gt(first, nold / 2);
    ck_assert_uint_le(first, VALUES);
    test_away(watch_old_list, &watched);
    for (unsigned i = 1; i < 8; i++) {
        test_away(evacuate_to, (void *)(nold * i / 8));
        ck_assert_ptr_null(oaki_classic_check(w.m));
    }
    ck_assert_uint_le(old_list(), first / 2);
    collect();
    size_t alive = 0;
    for (size_t i = 0; i < watched; i++) alive += oak_weak_get(w.value[i]) != NULL;
    ck_assert_uint_le(alive, old_list() + LUCK);
    test_away(litter, NULL);
    for (int64_t k = w.next - WINDOW; k < w.next; k++)
        if (!oak_classic_get(w.m, &k)) ck_abort_msg("key %d", (int)k);
}
END_TEST

/* ---- growth ---- */

static const oak_classic_type *const growing_types[] = { &oak_classic_int_int,
                                                         &oak_classic_int_ptr };

/* The next entry begins to grow it. */
static void watch_before_growth(int type)
{
    test_start(0);
    w.type = growing_types[type];
    fill_to(13 << 9);
    test_away(watch_array, NULL);
}

static void grow(void)
{
    fill_to((13 << 9) + 1);
    test_away(finish_growth, NULL);
    collect();
}

START_TEST(the_old_array_lives_until_growth_ends)
{
    watch_before_growth(_i);
    fill_to((13 << 9) + 1);
    ck_assert(w.m->oldbuckets != NULL);
    collect();
    ck_assert(array_lives());
    test_away(finish_growth, NULL);
    collect();
    ck_assert(!array_lives());
}
END_TEST

START_TEST(an_iterator_holds_the_array_that_it_began_with)
{
    watch_before_growth(_i);
    test_away(begin_iterator, NULL);
    grow();
    ck_assert_ptr_null(w.m->oldbuckets);
    ck_assert(array_lives());
    memset(&w.it, 0, sizeof w.it);
    collect();
    ck_assert(!array_lives());
}
END_TEST

static void range_over_all(void *arg OAKI_UNUSED)
{
    oak_classic_iter_init(&w.it, w.m);
    while (oak_classic_iter_next(&w.it)) {
    }
}

START_TEST(an_iterator_at_its_end_holds_nothing)
{
    watch_before_growth(_i);
    test_away(range_over_all, NULL);
    grow();
    ck_assert(!array_lives());
}
END_TEST

static void grow_by_half(void *arg OAKI_UNUSED)
{
    int64_t k = 100000;
    while (!w.m->oldbuckets) put(k++);
    for (k = 0; w.m->nevacuate < oaki_classic_noldbuckets(w.m) / 2; k = (k + 1) % VALUES) {
        void **v = oak_classic_get(w.m, &k), *old = *v;
        *(void **)oak_classic_put(w.m, &k) = old;
    }
}

static void *evacuated_value(int64_t k)
{
    uint64_t hash = oaki_classic_hash(w.m, &k);
    size_t old = (size_t)hash & (oaki_classic_noldbuckets(w.m) - 1);
    return oaki_classic_evacuated(oaki_classic_bucket(w.m->type, w.m->oldbuckets, old))
               ? oak_classic_get(w.m, &k)
               : NULL;
}

static bool dropped[VALUES], in_head[VALUES];

/* Which entries are not in overflow buckets: of those that are part of the array, evacuation clears
 * nothing, in Go too. */
static void find_heads(void *arg OAKI_UNUSED)
{
    size_t heads = oaki_classic_nbuckets(w.m->B) * oaki_classic_bucket_size(w.m->type);
    for (int64_t k = 0; k < VALUES; k++)
        in_head[k] = (size_t)((char *)oak_classic_get(w.m, &k) - w.m->buckets) < heads;
}

static void drop_evacuated_values(void *arg OAKI_UNUSED)
{
    for (int64_t k = 0; k < VALUES; k++) {
        void **v = evacuated_value(k);
        if (v) *v = NULL;
        dropped[k] = v != NULL;
    }
}

/* A range that has long ended keeps the flag until the next growth begins: evacuated copies aren't
 * cleared, and hold what the map has let go of. */
START_TEST(a_range_before_growth_keeps_evacuated_values)
{
    int gone = 0, kept = 0;
    test_start(0);
    w.type = &oak_classic_int_ptr;
    test_away(fill_with_values, NULL);
    w.next = VALUES;
    test_away(finish_growth, NULL);
    test_away(find_heads, NULL);
    if (_i) test_away(range_over_all, NULL);
    test_away(grow_by_half, NULL);
    test_away(drop_evacuated_values, NULL);
    collect();
    for (int i = 0; i < VALUES; i++) {
        if (!dropped[i])
            ck_assert_ptr_nonnull(oak_weak_get(w.value[i]));
        else if (!oak_weak_get(w.value[i]))
            gone++;
        else if (in_head[i])
            kept++;
    }
    if (_i) {
        ck_assert_int_eq(gone, 0);
        ck_assert_int_gt(kept, VALUES / 3);
    } else {
        ck_assert_int_gt(gone, VALUES / 3);
        ck_assert_int_le(kept, LUCK);
    }
}
END_TEST

Suite *suite_maps_classic_memory(void)
{
    Suite *s = suite_create("maps_classic_memory");
    TCase *tc = tcase_create("memory");
    tcase_add_test(tc, arrays_have_the_sizes_of_go);
    tcase_add_test(tc, a_type_without_pointers_is_not_scanned);
    tcase_add_test(tc, values_live_until_they_are_deleted_or_the_map_goes);
    tcase_add_loop_test(tc, large_values_are_scanned_as_the_type_says, 0, 2);
    tcase_add_test(tc, overflow_buckets_stay_though_nothing_scanned_points_to_them);
    tcase_add_test(tc, an_iterator_keeps_overflow_buckets_that_the_map_dropped);
    tcase_add_test(tc, an_iterator_keeps_overflow_buckets_of_an_old_array);
    tcase_add_test(tc, the_old_list_loses_what_is_evacuated);
    tcase_add_test(tc, a_sliding_window_never_holds_more_than_three_arrays);
    tcase_add_test(tc, a_clear_in_a_same_size_growth_ends_it_whole);
    tcase_add_loop_test(tc, the_old_array_lives_until_growth_ends, 0, 2);
    tcase_add_loop_test(tc, an_iterator_holds_the_array_that_it_began_with, 0, 2);
    tcase_add_loop_test(tc, an_iterator_at_its_end_holds_nothing, 0, 2);
    tcase_add_loop_test(tc, a_range_before_growth_keeps_evacuated_values, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

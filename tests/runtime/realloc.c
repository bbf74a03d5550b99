/* realloc.c - tests of oak_realloc: contents, zeroes, kinds, places, and failure. */
#include "runtime/collector.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_realloc(void);

static oak_type *triple;

static void start(void)
{
    static const uint64_t bits[] = { 4 };
    test_heap_start_stressed(test_config());
    ck_assert_ptr_nonnull(triple = oak_type_bitmap("triple", 24, bits));
}

static void fill(char *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) p[i] = (char)(i % 251 + 1);
}

static void assert_filled(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (char)(i % 251 + 1)) ck_abort_msg("byte %zu of %zu", i, n);
}

static oaki_kind kind_of(const void *p)
{
    return (oaki_kind)oaki_span_of_offset(oaki_heap_offset(p))->kind;
}

/* ---- the ends ---- */

START_TEST(null_allocates_and_zero_frees)
{
    char *p = oak_realloc(NULL, 100);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(kind_of(p), OAKI_SCAN);
    ck_assert(test_is_zero(p, 100));
    ck_assert_uint_eq(test_objects(), 1);
    ck_assert_ptr_null(oak_realloc(p, 0));
    ck_assert_uint_eq(test_objects(), 0);
    ck_assert_ptr_nonnull(oak_realloc(NULL, 0)); /* as oak_alloc */
    ck_assert_uint_eq(test_objects(), 1);
}
END_TEST

/* ---- random sizes ---- */

static char *make(oaki_kind kind, size_t n)
{
    switch (kind) {
    case OAKI_NOSCAN: return oak_alloc_noscan(n);
    case OAKI_TYPED: return oak_alloc_typed(triple, n / 24);
    case OAKI_PINNED: return oak_alloc_pinned(n);
    default: return oak_alloc(n);
    }
}

static size_t next_size(size_t n, oaki_kind kind)
{
    size_t to;
    switch (test_below(4)) {
    case 0: to = n + 1 + test_below(40); break;
    case 1: to = n - test_below(n < 12 ? n : 12); break;
    case 2: to = test_size(300000); break;
    default: to = test_size(4000);
    }
    if (to == 0) to = 1;
    return kind == OAKI_TYPED ? (to / 24 + 1) * 24 : to;
}

/* Old contents up to the smaller size, zeroes behind, kind and type as before; nothing leaks. */
static void resize_at_random(oaki_kind kind)
{
    size_t n = kind == OAKI_TYPED ? 48 : 40;
    char *p = make(kind, n);
    fill(p, 0, n);
    for (size_t i = 0, rounds = test_scale(1500); i < rounds; i++) {
        size_t to = next_size(n, kind);
        char *q = oak_realloc(p, to);
        ck_assert_ptr_nonnull(q);
        ck_assert_ptr_eq(oak_base(q), q);
        ck_assert_uint_ge(oak_usable_size(q), to);
        ck_assert_int_eq(kind_of(q), kind);
        if (kind == OAKI_TYPED) ck_assert_ptr_eq(oak_type_of(q), triple);
        assert_filled(q, OAKI_MIN(n, to));
        if (to > n) ck_assert(test_is_zero(q + n, to - n));
        if (q != p) ck_assert_ptr_ne(oak_base(p), p);
        fill(q, 0, to);
        p = q;
        n = to;
        ck_assert_uint_eq(test_objects(), 1);
        ck_assert_uint_eq(test_stats().heap_alloc, oak_usable_size(p));
    }
    test_assert_sound();
}

START_TEST(contents_zeroes_and_kind_are_kept)
{
    test_seed("runtime/realloc");
    resize_at_random((oaki_kind)_i);
}
END_TEST

START_TEST(collections_in_between_change_nothing)
{
    static char *p[200];
    static size_t n[200];
    test_seed("runtime/realloc");
    oak_set_gc_percent(10);
    for (size_t i = 0, rounds = test_scale(20000); i < rounds; i++) {
        size_t k = test_below(200), to = test_size(test_below(20) ? 3000 : 200000);
        char *q = oak_realloc(p[k], to);
        assert_filled(q, OAKI_MIN(n[k], to));
        if (to > n[k]) ck_assert(test_is_zero(q + n[k], to - n[k]));
        fill(q, 0, to);
        p[k] = q;
        n[k] = to;
        if (test_below(200) == 0) oak_collect();
    }
    size_t held = 0;
    for (size_t k = 0; k < 200; k++) held += p[k] != NULL;
    oak_collect();
    oak_collect();
    ck_assert_uint_ge(test_objects(), held);
    ck_assert_uint_le(test_objects(), held + 4);
}
END_TEST

/* ---- in place ---- */

START_TEST(what_fits_stays)
{
    for (unsigned cls = 3; cls < oaki_nclasses; cls++) {
        size_t size = oaki_classes[cls].size, least = oaki_classes[cls - 1].size + 1;
        char *p = oak_alloc(size);
        fill(p, 0, size);
        for (size_t n = size; n >= least; n -= (size - least) / 5 + 1) {
            ck_assert_ptr_eq(oak_realloc(p, n), p);
            assert_filled(p, n);
            ck_assert(test_is_zero(p + n, size - n)); /* as it may grow again */
        }
        ck_assert_ptr_eq(oak_realloc(p, size), p);
        ck_assert_ptr_ne(oak_realloc(p, size + 1), p);
    }
}
END_TEST

START_TEST(much_smaller_moves_so_that_memory_comes_back)
{
    for (size_t n = 64; n <= OAKI_SMALL_MAX; n *= 2) {
        char *p = oak_alloc(n);
        fill(p, 0, n);
        char *q = oak_realloc(p, n / 4);
        ck_assert_uint_lt(oak_usable_size(q), n);
        assert_filled(q, n / 4);
    }
}
END_TEST

START_TEST(a_large_object_shrinks_in_place_and_gives_its_pages_back)
{
    size_t n = (size_t)16 << 20, other = (size_t)1 << 16;
    char *p = oak_alloc(n);
    fill(p, 0, n);
    size_t inuse = test_stats().heap_inuse;
    ck_assert_ptr_eq(oak_realloc(p, n - other), p);
    ck_assert_uint_eq(test_stats().heap_inuse, inuse - other);
    ck_assert_uint_eq(oak_usable_size(p), n - other);
    ck_assert_uint_eq(test_stats().heap_alloc, n - other);
    ck_assert_ptr_eq(oak_realloc(p, n / 2 + 5), p);
    ck_assert_uint_eq(test_stats().heap_inuse, inuse - n / 2 + OAKI_PAGE);
    ck_assert(test_is_zero(p + n / 2 + 5, OAKI_PAGE - 5));
    assert_filled(p, n / 2 + 5);
    ck_assert_ptr_null(oak_base(p + n - other));
    ck_assert_uint_eq(test_objects(), 1);
    char *q = oak_realloc(p, 100);
    ck_assert_ptr_ne(q, p);
    assert_filled(q, 100);
    ck_assert_uint_eq(test_objects(), 1);
    test_assert_sound();
}
END_TEST

START_TEST(shrinking_below_a_head_that_was_given_back_keeps_the_accounts)
{
    size_t n = (size_t)4 << 20;
    char *p = oak_alloc(n);
    memset(p, 1, n);
    oaki_large_give_back(p, n / 2, n);
    p = oak_realloc(p, n / 4);
    ck_assert_uint_ge(oak_usable_size(p), n / 4);
    ck_assert(test_is_zero(p, n / 4));
    test_assert_sound();
    oak_free(p);
    ck_assert_uint_eq(test_stats().heap_alloc, 0);
    test_assert_sound();
}
END_TEST

START_TEST(a_try_moves_nothing_and_changes_nothing_where_it_fails)
{
    const size_t sizes[] = { 16, 100, 2896, 32768, 40000, 300000, 5000000 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++)
        for (oaki_kind kind = OAKI_SCAN; kind < OAKI_KINDS; kind++) {
            char *p = make(kind, sizes[i]);
            size_t had = oak_usable_size(p), step = had / 9 + 1;
            fill(p, 0, had);
            ck_assert(!oak_try_resize(p, had + 1));
            ck_assert(!oak_try_resize(p, SIZE_MAX));
            assert_filled(p, had);
            ck_assert_uint_eq(oak_usable_size(p), had);
            for (size_t n = had; n > step; n -= step) {
                ck_assert(oak_try_resize(p, n));
                size_t now = oak_usable_size(p);
                ck_assert_uint_ge(now, n);
                ck_assert_uint_lt(now - n, had <= OAKI_SMALL_MAX ? had : OAKI_PAGE);
                assert_filled(p, n);
                ck_assert(test_is_zero(p + n, now - n));
                ck_assert(oak_try_resize(p, now)); /* up again, as far as it goes */
                assert_filled(p, n);
                ck_assert(test_is_zero(p + n, now - n));
                fill(p, n, now);
            }
            ck_assert(oak_try_resize(p, 0));
            ck_assert(test_is_zero(p, oak_usable_size(p)));
            ck_assert_int_eq(kind_of(p), kind);
            ck_assert_ptr_eq(oak_base(p), p);
            oak_free(p);
        }
    ck_assert(!oak_try_resize(NULL, 0));
    test_assert_sound();
}
END_TEST

/* ---- what goes with an object ---- */

START_TEST(a_pinned_object_stays_pinned)
{
    uintptr_t hidden = 0;
    char *p = oak_alloc_pinned(24);
    for (size_t n = 30; n < 200000; n = n * 2 + 7) {
        p = oak_realloc(p, n);
        fill(p, 0, n);
        hidden = ~(uintptr_t)p;
        p = NULL;
        oak_collect();
        p = (char *)~hidden;
        ck_assert_ptr_eq(oak_base(p), p);
        assert_filled(p, n);
    }
    oak_free(p);
}
END_TEST

static void ignore(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

START_TEST(finalizers_and_weak_references_stay_with_the_old_place)
{
    char *p = oak_alloc(100);
    oak_weak *w = oak_weak_new(p);
    oak_finalizer_set(p, ignore, NULL);
    ck_assert_ptr_eq(oak_realloc(p, 110), p);
    ck_assert_ptr_eq(oak_weak_get(w), p);
    ck_assert_uint_eq(test_stats().finalizers, 1);
    char *q = oak_realloc(p, 10000);
    ck_assert_ptr_ne(q, p);
    ck_assert_ptr_null(oak_weak_get(w));
    ck_assert_uint_eq(test_stats().finalizers, 0);
}
END_TEST

/* ---- failure ---- */

START_TEST(a_failure_leaves_the_object_as_it_was)
{
    const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 100, SIZE_MAX / 2, (size_t)1 << 50 };
    for (size_t old = 16; old < 2000000; old *= 5) {
        char *p = oak_alloc(old);
        fill(p, 0, old);
        size_t usable = oak_usable_size(p), objects = test_objects();
        for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
            errno = 0;
            ck_assert_ptr_null(oak_realloc(p, sizes[i]));
            ck_assert_int_eq(errno, ENOMEM);
            assert_filled(p, old);
            ck_assert_ptr_eq(oak_base(p), p);
            ck_assert_uint_eq(oak_usable_size(p), usable);
            ck_assert_uint_eq(test_objects(), objects);
        }
    }
}
END_TEST

START_TEST(a_full_heap_leaves_the_object_as_it_was)
{
    char *p = oak_alloc(20000);
    fill(p, 0, 20000);
    oak_set_heap_max(test_stats().heap_inuse);
    errno = 0;
    ck_assert_ptr_null(oak_realloc(p, 100000));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(oak_realloc(p, 30000));
    ck_assert_ptr_null(oak_realloc(p, 100)); /* would move */
    ck_assert_ptr_eq(oak_realloc(p, 19000), p);
    assert_filled(p, 19000);
    oak_set_heap_max(0);
    p = oak_realloc(p, 100000);
    assert_filled(p, 19000);
    ck_assert(test_is_zero(p + 19000, 81000));
}
END_TEST

/* ---- misuse; foreign pointers are in free.c ---- */

static void resize_inside(void *arg)
{
    char *p = oak_alloc((size_t)arg);
    (void)!oak_realloc(p + 16, 10);
}

static void resize_freed(void *arg)
{
    char *p = oak_alloc((size_t)arg);
    oak_free(p);
    (void)!oak_realloc(p, 10);
}

static void try_inside(void *arg)
{
    char *p = oak_alloc((size_t)arg);
    (void)oak_try_resize(p + 16, 10);
}

START_TEST(interior_and_freed_pointers_are_fatal)
{
    const size_t sizes[] = { 48, 2896, 5000000 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        test_dies(resize_inside, (void *)sizes[i], "oakum: oak_realloc: ");
        test_dies(resize_inside, (void *)sizes[i],
                  "points into an object, 16 bytes past its start");
        test_dies(resize_freed, (void *)sizes[i], "oakum: oak_realloc: ");
        test_dies(try_inside, (void *)sizes[i], "oakum: oak_try_resize: ");
    }
}
END_TEST

Suite *suite_runtime_realloc(void)
{
    Suite *s = suite_create("runtime/realloc");
    TCase *c = tcase_create("realloc");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, null_allocates_and_zero_frees);
    tcase_add_loop_test(c, contents_zeroes_and_kind_are_kept, 0, OAKI_KINDS);
    tcase_add_test(c, collections_in_between_change_nothing);
    tcase_add_test(c, what_fits_stays);
    tcase_add_test(c, much_smaller_moves_so_that_memory_comes_back);
    tcase_add_test(c, a_large_object_shrinks_in_place_and_gives_its_pages_back);
    tcase_add_test(c, shrinking_below_a_head_that_was_given_back_keeps_the_accounts);
    tcase_add_test(c, a_try_moves_nothing_and_changes_nothing_where_it_fails);
    tcase_add_test(c, a_pinned_object_stays_pinned);
    tcase_add_test(c, finalizers_and_weak_references_stay_with_the_old_place);
    tcase_add_test(c, a_failure_leaves_the_object_as_it_was);
    tcase_add_test(c, a_full_heap_leaves_the_object_as_it_was);
    tcase_add_test(c, interior_and_freed_pointers_are_fatal);
    suite_add_tcase(s, c);
    return s;
}

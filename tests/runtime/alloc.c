/* alloc.c - tests of runtime/alloc.c: zeroed, aligned, distinct, for every size there is. */
#include "runtime/collector.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <string.h>

Suite *suite_runtime_alloc(void);

static oak_type *pair;

static void start(void)
{
    static const uint64_t bits[] = { 1 };
    test_heap_start_stressed(test_config());
    ck_assert_ptr_nonnull(pair = oak_type_bitmap("pair", 16, bits));
}

static void *typed(size_t n)
{
    return oak_alloc_typed(pair, n / 16 + 1);
}

static void *aligned_16(size_t n)
{
    return oak_alloc_aligned(16, n);
}

static void *(*const functions[])(size_t n) = { oak_alloc, oak_alloc_noscan, oak_alloc_pinned,
                                                typed, aligned_16 };

/* ---- sizes ---- */

static void assert_good(char *p, size_t n)
{
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % 16, 0);
    ck_assert_uint_ge(oak_usable_size(p), n);
    ck_assert_ptr_eq(oak_base(p), p);
    ck_assert(test_is_zero(p, oak_usable_size(p)));
}

static void check_size(size_t n)
{
    for (size_t f = 0; f < OAKI_COUNT(functions); f++) {
        char *p = functions[f](n), *q = functions[f](n);
        assert_good(p, n);
        assert_good(q, n);
        ck_assert_ptr_ne(p, q);
        memset(p, 0xff, oak_usable_size(p));
        ck_assert(test_is_zero(q, oak_usable_size(q)));
        memset(q, 0xff, oak_usable_size(q));
    }
}

START_TEST(every_border_of_a_class)
{
    check_size(0);
    check_size(1);
    for (unsigned cls = 1; cls < oaki_nclasses; cls++)
        for (size_t n = oaki_classes[cls].size - 1; n <= oaki_classes[cls].size + 1; n++)
            check_size(n);
    for (size_t n = 32700; n < 33000; n += 17) check_size(n);
    for (size_t n = (size_t)64 << 10; n <= (size_t)(test_slow() ? 1 : 16) << 20; n *= 2) {
        check_size(n - 1);
        check_size(n);
        check_size(n + 1);
    }
}
END_TEST

START_TEST(no_more_than_an_eighth_is_wasted)
{
    for (size_t n = 129; n <= OAKI_SMALL_MAX; n += 13) {
        size_t usable = oak_usable_size(oak_alloc_noscan(n));
        ck_assert_msg((usable - n) * 8 <= usable, "%zu bytes in a slot of %zu", n, usable);
    }
}
END_TEST

START_TEST(empty_objects_are_distinct)
{
    char *p[1000];
    for (size_t i = 0; i < OAKI_COUNT(p); i++) p[i] = functions[i % 3](0);
    for (size_t i = 0; i < OAKI_COUNT(p); i++)
        for (size_t k = 0; k < i; k++)
            if (p[i] == p[k]) ck_abort_msg("%zu and %zu are one", i, k);
    ck_assert_uint_eq(oak_usable_size(p[0]), 16);
}
END_TEST

START_TEST(impossible_sizes_are_out_of_memory)
{
    check_size(50000);
    size_t all = oaki_the_heap.reserved;
    const size_t sizes[] = { SIZE_MAX,      SIZE_MAX - 1,    SIZE_MAX - 15,   SIZE_MAX - 8191,
                             SIZE_MAX - 8192, SIZE_MAX / 2,  SIZE_MAX / 2 + 1, PTRDIFF_MAX,
                             all,           all + 1,         all - 8192,      (size_t)1 << 48 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++)
        for (size_t f = 0; f < OAKI_COUNT(functions); f++) {
            if (functions[f] == typed && sizes[i] > SIZE_MAX - 16) continue;
            errno = 0;
            ck_assert_ptr_null(functions[f](sizes[i]));
            ck_assert_int_eq(errno, ENOMEM);
        }
    check_size(100);
    test_assert_sound();
}
END_TEST

START_TEST(counts_that_overflow_are_out_of_memory)
{
    const size_t counts[] = { SIZE_MAX, SIZE_MAX / 16, SIZE_MAX / 16 + 1, SIZE_MAX / 16 + 2,
                              SIZE_MAX / 2, (size_t)1 << 60, ((size_t)1 << 60) + 1 };
    for (size_t i = 0; i < OAKI_COUNT(counts); i++) {
        errno = 0;
        ck_assert_ptr_null(oak_alloc_typed(pair, counts[i]));
        ck_assert_int_eq(errno, ENOMEM);
    }
    char *none = oak_alloc_typed(pair, 0);
    assert_good(none, 0);
    ck_assert_ptr_eq(oak_type_of(none), pair);
}
END_TEST

/* ---- kinds ---- */

static oaki_kind kind_of(const void *p)
{
    return (oaki_kind)oaki_span_of_offset(oaki_heap_offset(p))->kind;
}

START_TEST(each_function_has_its_kind)
{
    for (size_t n = 1; n < 200000; n = n * 3 + 1) {
        ck_assert_int_eq(kind_of(oak_alloc(n)), OAKI_SCAN);
        ck_assert_int_eq(kind_of(oak_alloc_noscan(n)), OAKI_NOSCAN);
        ck_assert_int_eq(kind_of(oak_alloc_pinned(n)), OAKI_PINNED);
        ck_assert_int_eq(kind_of(typed(n)), OAKI_TYPED);
        ck_assert_int_eq(kind_of(oak_alloc_aligned(64, n)), OAKI_SCAN);
        ck_assert_int_eq(kind_of(oak_alloc_aligned_noscan(64, n)), OAKI_NOSCAN);
        ck_assert_ptr_eq(oak_type_of((char *)typed(n) + n / 2), pair);
        ck_assert_ptr_null(oak_type_of(oak_alloc(n)));
    }
}
END_TEST

/* ---- alignment ---- */

START_TEST(every_power_of_two_aligns)
{
    char *kept[64];
    size_t n = 0, most = (size_t)1 << (test_slow() ? 24 : 30); /* tools pay for gaps */
    for (size_t align = 1; align <= most; align *= 2)
        for (size_t size = 0; size < 3; size++) {
            size_t want = (size_t[]){ 1, 3000, 40000 }[size];
            char *p =
                size & 1 ? oak_alloc_aligned_noscan(align, want) : oak_alloc_aligned(align, want);
            assert_good(p, want);
            ck_assert_uint_eq((uintptr_t)p % align, 0);
            memset(p, 0xff, want);
            for (size_t i = 0; i < n; i++) ck_assert_ptr_ne(kept[i], p);
            if (n < OAKI_COUNT(kept)) kept[n++] = p;
        }
    test_assert_sound();
}
END_TEST

START_TEST(other_alignments_are_invalid)
{
    const size_t aligns[] = { 0, 3, 5, 6, 7, 12, 24, 100, 4097, ((size_t)1 << 30) + 1,
                              (size_t)1 << 31, (size_t)1 << 63, SIZE_MAX };
    for (size_t i = 0; i < OAKI_COUNT(aligns); i++) {
        errno = 0;
        ck_assert_ptr_null(oak_alloc_aligned(aligns[i], 10));
        ck_assert_int_eq(errno, EINVAL);
        errno = 0;
        ck_assert_ptr_null(oak_alloc_aligned_noscan(aligns[i], SIZE_MAX));
        ck_assert_int_eq(errno, EINVAL);
    }
    errno = 0;
    ck_assert_ptr_null(oak_alloc_aligned((size_t)1 << 30, SIZE_MAX - 5));
    ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

/* ---- zero, whatever the memory was before ---- */

#define DIRTY 300
static unsigned char *dirty[DIRTY];
static size_t dirty_size[DIRTY];

static void soil(size_t i)
{
    size_t n = test_size(test_below(8) ? 3000 : 300000), f = test_below(OAKI_COUNT(functions));
    if (f == 2) f = 0; /* pinned ones would stay */
    unsigned char *p = test_below(20) ? functions[f](n) : oak_alloc_aligned(256, n);
    assert_good((char *)p, n);
    dirty[i] = p;
    dirty_size[i] = oak_usable_size(p);
    memset(p, 0x80 | (int)test_below(128), dirty_size[i]);
}

static void soil_and_drop(void *arg)
{
    (void)arg;
    for (size_t i = 0, n = test_scale(30000); i < n; i++) {
        size_t k = test_below(DIRTY);
        if (dirty[k] && test_below(3) == 0) oak_free(dirty[k]);
        soil(k);
        if (test_below(500) == 0) oak_collect();
        if (test_below(2000) == 0) oak_scavenge();
    }
}

START_TEST(memory_is_zero_again_after_every_kind_of_use)
{
    test_seed("runtime/alloc");
    oak_set_gc_percent(50);
    for (int i = 0; i < 4; i++) {
        test_away(soil_and_drop, NULL);
        memset(dirty, 0, sizeof dirty);
    }
    test_assert_sound();
}
END_TEST

START_TEST(poison_is_gone_from_what_is_handed_out)
{
    test_seed("runtime/alloc");
    oaki_debug_switches.poison = 1;
    oak_set_gc_percent(50);
    test_away(soil_and_drop, NULL);
    for (size_t i = 0; i < DIRTY; i++)
        ck_assert(!dirty[i] || dirty[i][0] == dirty[i][dirty_size[i] - 1]);
}
END_TEST

Suite *suite_runtime_alloc(void)
{
    Suite *s = suite_create("runtime/alloc");
    TCase *c = tcase_create("alloc");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, every_border_of_a_class);
    tcase_add_test(c, no_more_than_an_eighth_is_wasted);
    tcase_add_test(c, empty_objects_are_distinct);
    tcase_add_test(c, impossible_sizes_are_out_of_memory);
    tcase_add_test(c, counts_that_overflow_are_out_of_memory);
    tcase_add_test(c, each_function_has_its_kind);
    tcase_add_test(c, every_power_of_two_aligns);
    tcase_add_test(c, other_alignments_are_invalid);
    tcase_add_test(c, memory_is_zero_again_after_every_kind_of_use);
    tcase_add_test(c, poison_is_gone_from_what_is_handed_out);
    suite_add_tcase(s, c);
    return s;
}

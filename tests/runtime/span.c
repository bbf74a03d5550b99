/* span.c - tests of runtime/span.c: the bitmaps' ranges, and from any address to its object. */
#include "runtime/collector.h"
#include "runtime/markbits.h"
#include "runtime/type.h"
#include "tests/heap.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_span(void);

static void start(void)
{
    test_heap_start(test_config());
}

/* ---- bitmaps ---- */

#define GRANULES 1000

START_TEST(ranges_of_bits_are_set_and_cleared_as_in_an_array)
{
    static uint64_t map[GRANULES / 64 + 2];
    static bool model[GRANULES + 128];
    test_seed("runtime/span");
    for (int round = 0; round < 20000; round++) {
        size_t from = test_below(GRANULES), n = test_below(GRANULES - from + 1);
        size_t few = test_size(130);
        if (test_below(2)) n = OAKI_MIN(n, few);
        bool set = test_below(2);
        if (set) oaki_bits_set(map, from * OAKI_GRANULE, n * OAKI_GRANULE);
        else oaki_bits_clear(map, from * OAKI_GRANULE, n * OAKI_GRANULE);
        memset(model + from, set, n);
        for (size_t g = 0; g < OAKI_COUNT(map) * 64 && g < OAKI_COUNT(model); g++)
            if (oaki_bit_get(map, g * OAKI_GRANULE) != model[g])
                ck_abort_msg("granule %zu after [%zu, %zu)", g, from, from + n);
    }
}
END_TEST

/* Above what is in use, in the tables' first step: nobody looks there. */
#define SPARE ((size_t)32 << 20)
#define SPARE_WORDS 64

static void assert_marks(const uint64_t *want)
{
    for (size_t w = 0; w < SPARE_WORDS; w++) {
        ck_assert_uint_eq(oaki_mark_gather(SPARE / 1024 + w), want[w]);
        for (size_t g = 0; g < 64; g++)
            ck_assert_int_eq(oaki_mark_get(SPARE + (w * 64 + g) * OAKI_GRANULE + g % 16),
                             want[w] >> g & 1);
    }
}

START_TEST(mark_bits_are_in_planes_as_in_an_array)
{
    uint64_t want[SPARE_WORDS];
    test_seed("runtime/span");
    start();
    uint64_t *a = oaki_the_heap.alloc + SPARE / 1024;
    ck_assert_ptr_nonnull(oak_alloc(16)); /* now there are tables */
    ck_assert_uint_le(AO_load(&oaki_the_heap.used), SPARE);
    for (int round = 0; round < 100; round++) {
        for (size_t w = 0; w < SPARE_WORDS; w++) {
            a[w] = test_below(4) ? test_random() : test_below(2) ? ~(uint64_t)0 : 0;
            want[w] = ~a[w];
        }
        oaki_mark_prepare(SPARE / 1024, SPARE_WORDS, false);
        assert_marks(want);
        for (int i = 0; i < 100; i++) {
            size_t g = test_below(SPARE_WORDS * 64), off = SPARE + g * OAKI_GRANULE;
            if (test_below(2)) {
                oaki_mark_set(off + test_below(16));
                want[g / 64] |= (uint64_t)1 << g % 64;
            } else {
                oaki_mark_clear(off + test_below(16));
                want[g / 64] &= ~((uint64_t)1 << g % 64);
            }
        }
        assert_marks(want);
    }
    memset(a, 0, SPARE_WORDS * sizeof *a);
}
END_TEST

/* ---- small objects ---- */

static void assert_inside(char *p, size_t usable)
{
    for (size_t i = 0; i < usable; i++) {
        if (oak_base(p + i) != p) ck_abort_msg("byte %zu of a slot of %zu", i, usable);
        if (i % 97 == 0) ck_assert_uint_eq(oak_usable_size(p + i), usable);
    }
}

START_TEST(every_byte_leads_to_its_object)
{
    static const oaki_kind kinds[] = { OAKI_SCAN, OAKI_NOSCAN, OAKI_PINNED };
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        size_t size = oaki_classes[cls].size;
        for (size_t k = 0; k < OAKI_COUNT(kinds); k++) {
            char *p[12];
            for (size_t i = 0; i < OAKI_COUNT(p); i++)
                ck_assert_ptr_nonnull(p[i] = oaki_alloc_kind(size, 1, kinds[k], 0));
            for (size_t i = 0; i < OAKI_COUNT(p); i++) assert_inside(p[i], size);
            oaki_span *s = oaki_span_of_offset(oaki_heap_offset(p[0]));
            ck_assert_uint_eq(s->cls, cls);
            ck_assert_uint_eq(s->kind, kinds[k]);
            ck_assert_uint_eq(s->size, size);
        }
    }
}
END_TEST

START_TEST(a_spans_tail_is_no_object)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        char *p = oak_alloc_noscan(c->size);
        char *first = oaki_span_start(oaki_span_of_offset(oaki_heap_offset(p)));
        char *tail = first + (size_t)c->nslots * c->size,
             *end = first + (size_t)c->npages * OAKI_PAGE;
        for (; tail < end; tail++) {
            ck_assert_ptr_null(oak_base(tail));
            ck_assert_uint_eq(oak_usable_size(tail), 0);
        }
    }
}
END_TEST

START_TEST(a_slot_that_was_never_handed_out_is_no_object)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        char *p = oak_alloc_noscan(c->size), *next = p + c->size;
        char *first = oaki_span_start(oaki_span_of_offset(oaki_heap_offset(p)));
        char *end = first + (size_t)c->nslots * c->size;
        ck_assert_ptr_eq(oak_base(p), p);
        for (; next < end; next += c->size) {
            ck_assert_msg(!oak_base(next), "slot of %u, %zu behind the last", c->size,
                          (size_t)(next - p) / c->size);
            ck_assert_uint_eq(oak_usable_size(next + c->size - 1), 0);
            ck_assert_ptr_null(oak_type_of(next));
        }
    }
}
END_TEST

START_TEST(a_freed_slot_is_no_object)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        size_t size = oaki_classes[cls].size;
        char *a = oak_alloc(size), *p = oak_alloc(size), *b = oak_alloc(size);
        oak_free(p);
        for (size_t i = 0; i < size; i += 1 + size / 64) ck_assert_ptr_null(oak_base(p + i));
        ck_assert_ptr_eq(oak_base(a), a);
        ck_assert_ptr_eq(oak_base(b), b);
    }
}
END_TEST

static char *dead[3000];

static void make_dead(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < OAKI_COUNT(dead); i++)
        dead[i] = (char *)~(uintptr_t)oak_alloc(16 + i % 3000);
}

START_TEST(what_a_collection_found_dead_is_no_object_even_before_its_sweep)
{
    test_away(make_dead, NULL);
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    size_t alive = 0;
    for (size_t i = 0; i < OAKI_COUNT(dead); i++)
        alive += oak_base((void *)~(uintptr_t)dead[i]) != NULL;
    ck_assert_uint_le(alive, 4);
    test_sweep_all();
    for (size_t i = 0; i < OAKI_COUNT(dead); i++)
        alive += oak_base((void *)~(uintptr_t)dead[i]) != NULL;
    ck_assert_uint_le(alive, 8);
    oaki_leave(t);
}
END_TEST

/* ---- large objects ---- */

START_TEST(every_page_of_a_large_object_leads_to_it)
{
    for (size_t n = OAKI_SMALL_MAX + 1; n < (size_t)8 << 20; n = n * 3 + 1) {
        char *p = oak_alloc_noscan(n);
        size_t usable = oak_usable_size(p);
        ck_assert_uint_eq(usable, OAKI_ALIGN_UP(n, OAKI_PAGE));
        for (size_t i = 0; i < usable; i += OAKI_PAGE) {
            ck_assert_ptr_eq(oak_base(p + i), p);
            ck_assert_ptr_eq(oak_base(p + i + OAKI_PAGE - 1), p);
            ck_assert_uint_eq(oak_usable_size(p + i + 1), usable);
        }
        ck_assert_ptr_ne(oak_base(p + usable), p);
        ck_assert_ptr_ne(oak_base(p - 1), p);
        oak_free(p);
        ck_assert_ptr_null(oak_base(p));
        ck_assert_ptr_null(oak_base(p + usable - 1));
    }
}
END_TEST

/* Page numbers in the page table's entries saturate at 64 GiB. Nothing of it is touched. */
START_TEST(an_object_of_more_than_64_gib_is_found_from_its_last_byte)
{
    size_t n = ((size_t)OAKI_PTE_FAR + 3) << OAKI_PAGE_SHIFT;
    if (test_skip_slow() || test_skip(oaki_the_heap.reserved < 2 * n, "little is reserved")) return;
    char *p = oak_alloc_noscan(n);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(oak_usable_size(p), n);
    for (size_t i = 0; i < 8; i++) {
        size_t at = ((size_t)OAKI_PTE_FAR - 4 + i) << OAKI_PAGE_SHIFT;
        if (at < n) ck_assert_ptr_eq(oak_base(p + at + 5), p);
    }
    ck_assert_ptr_eq(oak_base(p + n - 1), p);
    ck_assert_ptr_ne(oak_base(p + n), p);
    oak_free(p);
    ck_assert_ptr_null(oak_base(p + n - 1));
}
END_TEST

START_TEST(what_is_not_in_the_heap_has_no_base)
{
    char local = 0;
    static char global;
    char *heap = malloc(100), *base = (char *)oaki_the_heap.base;
    const void *foreign[] = { NULL,         &local,
                              &global,      heap,
                              (void *)16,   (void *)UINTPTR_MAX,
                              base - 1,     base + AO_load(&oaki_the_heap.used),
                              (void *)&malloc, base + oaki_the_heap.reserved };
    for (size_t i = 0; i < OAKI_COUNT(foreign); i++) {
        ck_assert_ptr_null(oak_base(foreign[i]));
        ck_assert_uint_eq(oak_usable_size(foreign[i]), 0);
        ck_assert_ptr_null(oak_type_of(foreign[i]));
    }
    free(heap);
}
END_TEST

Suite *suite_runtime_span(void)
{
    Suite *s = suite_create("runtime/span");
    TCase *c = tcase_create("bitmaps");
    tcase_add_test(c, ranges_of_bits_are_set_and_cleared_as_in_an_array);
    tcase_add_test(c, mark_bits_are_in_planes_as_in_an_array);
    suite_add_tcase(s, c);
    c = tcase_create("objects");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, every_byte_leads_to_its_object);
    tcase_add_test(c, a_spans_tail_is_no_object);
    tcase_add_test(c, a_slot_that_was_never_handed_out_is_no_object);
    tcase_add_test(c, a_freed_slot_is_no_object);
    tcase_add_test(c, what_a_collection_found_dead_is_no_object_even_before_its_sweep);
    tcase_add_test(c, every_page_of_a_large_object_leads_to_it);
    tcase_add_test(c, an_object_of_more_than_64_gib_is_found_from_its_last_byte);
    tcase_add_test(c, what_is_not_in_the_heap_has_no_base);
    suite_add_tcase(s, c);
    return s;
}

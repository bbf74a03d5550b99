/* large.c - tests of runtime/large.c: objects with a span each, and giving parts of them back. */
#include "gc/sweep.h"
#include "runtime/collector.h"
#include "runtime/os.h"
#include "runtime/type.h"
#include "tests/heap.h"

#include <check.h>
#include <string.h>

Suite *suite_runtime_large(void);

#define MB ((size_t)1 << 20)

static void start(void)
{
    test_heap_start_stressed(test_config());
}

static size_t inuse(void)
{
    return test_stats().heap_inuse;
}

/* ---- the tail ---- */

START_TEST(the_tail_comes_back_at_once)
{
    char *p = oak_alloc_noscan(10 * MB);
    memset(p, 7, 10 * MB);
    size_t before = inuse(), idle = test_stats().heap_idle;
    oaki_large_give_back(p, 0, 4 * MB + 1);
    size_t keep = 4 * MB + OAKI_PAGE;
    ck_assert_uint_eq(inuse(), before - 10 * MB + keep);
    ck_assert_uint_eq(test_stats().heap_idle, idle + 10 * MB - keep);
    ck_assert_uint_eq(oak_usable_size(p), keep);
    ck_assert_uint_eq(test_stats().heap_alloc, keep);
    ck_assert_ptr_null(oak_base(p + keep));
    ck_assert_ptr_eq(oak_base(p + keep - 1), p);
    char *q = oak_alloc_noscan(5 * MB); /* fits where the tail was */
    ck_assert_ptr_eq(q, p + keep);
    ck_assert(test_is_zero(q, 5 * MB));
    ck_assert(p[0] == 7 && p[keep - 1] == 7);
    test_assert_sound();
    oak_free(p);
    oak_free(q);
    ck_assert_uint_eq(test_stats().heap_alloc, 0);
    ck_assert_uint_eq(test_objects(), 0);
    test_assert_sound();
}
END_TEST

/* ---- the head ---- */

START_TEST(the_head_loses_its_memory_and_keeps_its_address)
{
    char *p = oak_alloc_noscan(10 * MB);
    memset(p, 7, 10 * MB);
    size_t before = inuse(), sys = test_stats().heap_sys;
    bool reads = test_reads_are_free(); /* else what is read below would be resident */
    for (size_t from = MB; from < 9 * MB; from += MB) {
        oaki_large_give_back(p, from + 100, 10 * MB);
        oak_memstats s = test_stats();
        ck_assert_uint_eq(s.heap_inuse, before - from);
        ck_assert_uint_eq(s.heap_alloc, 10 * MB - from);
        ck_assert_uint_eq(s.heap_sys, sys);
        ck_assert_uint_eq(s.heap_inuse + s.heap_idle, s.heap_sys);
        ck_assert_uint_ge(s.heap_released, from);
        ck_assert_uint_eq(s.heap_objects, 1);
        ck_assert(!reads || test_is_zero(p, from));
        ck_assert(p[from] == 7 && p[10 * MB - 1] == 7);
        ck_assert_ptr_eq(oak_base(p + 5), p);
        ck_assert_ptr_eq(oak_base(p + 10 * MB - 1), p);
        test_assert_sound();
    }
    if (oaki_os_resident(p, 10 * MB) != SIZE_MAX) {
        oaki_large_give_back(p, 9 * MB, 10 * MB);
        ck_assert_uint_eq(oaki_os_resident(p, 9 * MB), 0);
        ck_assert_uint_eq(oaki_os_resident(p, 10 * MB), MB);
        ck_assert(test_is_zero(p, 9 * MB));
    }
    ck_assert(test_is_zero(p, 8 * MB));
    oak_free(p);
    ck_assert_uint_eq(test_stats().heap_alloc, 0);
    test_assert_sound();
    ck_assert(test_is_zero(oak_alloc_noscan(10 * MB), 10 * MB));
}
END_TEST

START_TEST(it_is_only_ever_given_back_once)
{
    char *p = oak_alloc_noscan(8 * MB);
    oaki_large_give_back(p, 3 * MB, 8 * MB);
    size_t after = inuse();
    oaki_large_give_back(p, 3 * MB, 8 * MB);
    oaki_large_give_back(p, 0, 9 * MB);
    oaki_large_give_back(p, 2 * MB, 8 * MB);
    ck_assert_uint_eq(inuse(), after);
    ck_assert_uint_eq(test_stats().heap_alloc, 5 * MB);
    oaki_large_give_back(p, 3 * MB, 3 * MB); /* a page stays */
    ck_assert_uint_eq(test_stats().heap_alloc, OAKI_PAGE);
    test_assert_sound();
    oaki_large_give_back(p, 0, 0);
    test_assert_sound();
    oak_free(p);
    ck_assert_uint_eq(test_stats().heap_alloc, 0);
    test_assert_sound();
}
END_TEST

START_TEST(parts_at_random_keep_the_accounts)
{
    static char *p[40];
    static size_t from[40], to[40];
    size_t held = 0;
    test_no_beside();
    test_seed("runtime/large");
    for (size_t i = 0, n = test_scale(4000); i < n; i++) {
        size_t k = test_below(40);
        if (!p[k]) {
            to[k] = OAKI_ALIGN_UP(OAKI_SMALL_MAX + test_size(2 * MB), OAKI_PAGE);
            from[k] = 0;
            p[k] = test_below(2) ? oak_alloc(to[k]) : oak_alloc_noscan(to[k]);
            ck_assert(test_is_zero(p[k], to[k]));
            memset(p[k], 0x55, to[k]);
            held += to[k];
        } else if (test_below(3) == 0) {
            ck_assert(test_is_zero(p[k], from[k]));
            ck_assert(p[k][from[k]] == 0x55 && p[k][to[k] - 1] == 0x55);
            held -= to[k] - from[k];
            oak_free(p[k]);
            p[k] = NULL;
        } else {
            size_t pages = (to[k] - from[k]) >> OAKI_PAGE_SHIFT, keep = 1 + test_below(pages);
            size_t head = test_below(keep);
            oaki_large_give_back(p[k], from[k] + (head << OAKI_PAGE_SHIFT),
                                 from[k] + (keep << OAKI_PAGE_SHIFT));
            held -= (pages - keep + head) << OAKI_PAGE_SHIFT;
            to[k] = from[k] + (keep << OAKI_PAGE_SHIFT);
            from[k] += head << OAKI_PAGE_SHIFT;
        }
        if (i % 200 == 0) {
            oak_collect();
            test_assert_sound();
        }
        ck_assert_uint_eq(test_stats().heap_alloc, held);
    }
}
END_TEST

/* ---- the collector ---- */

static char *object;

static void make_object(void *arg)
{
    void **p = oak_alloc(2 * MB);
    (void)arg;
    p[0] = oak_alloc_noscan(40);              /* kept by the head alone */
    p[MB / sizeof *p + 10] = oak_alloc_noscan(56); /* by the rest */
    object = (char *)p;
}

static void write_head(void *arg)
{
    (void)arg;
    *(void **)object = oak_alloc_noscan(72);
}

START_TEST(the_head_is_not_scanned_and_the_rest_is)
{
    test_away(make_object, NULL);
    oak_collect();
    ck_assert_uint_eq(test_objects(), 3);
    oaki_large_give_back(object, MB, 2 * MB);
    oak_collect();
    ck_assert_uint_eq(test_objects(), 2);
    test_away(write_head, NULL); /* whatever is written there now is nobody's */
    oak_collect();
    ck_assert_uint_eq(test_objects(), 2);
    oaki_large_give_back(object, MB + OAKI_PAGE, 2 * MB);
    oak_collect();
    ck_assert_uint_eq(test_objects(), 1);
    object = NULL;
    oak_collect();
    ck_assert_uint_eq(test_objects(), 0);
    ck_assert_uint_eq(test_stats().heap_alloc, 0);
    test_assert_sound();
}
END_TEST

START_TEST(what_was_given_back_is_not_live)
{
    test_away(make_object, NULL);
    oaki_large_give_back(object, MB + MB / 2, 2 * MB);
    oak_collect();
    ck_assert_uint_le(AO_load(&oaki_the_heap.live), MB / 2 + 100);
    ck_assert_uint_ge(AO_load(&oaki_the_heap.live), MB / 2);
}
END_TEST

static void make_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        void **p = oak_alloc(100000);
        p[0] = oak_alloc(16);
    }
}

/* A collection tells what it has found alive, when its sweep is over: whole, whatever was given
 * back in between. */
START_TEST(what_is_given_back_before_its_sweep_was_found_alive)
{
    size_t kept[OAKI_KINDS];
    test_no_stress();
    object = oak_alloc_noscan(10 * MB);
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    const oaki_span *s = oaki_span_of_offset(oaki_heap_offset(object));
    ck_assert_uint_ne(s->swept, AO_load(&oaki_the_heap.cycle));
    oaki_large_give_back(object, MB, 4 * MB);
    ck_assert_uint_eq(test_stats().heap_alloc, 3 * MB);
    test_sweep_all();
    oaki_sweep_kept(kept);
    ck_assert_uint_eq(kept[OAKI_NOSCAN], 10 * MB);
    ck_assert_uint_eq(test_stats().heap_alloc, 3 * MB);
    test_assert_sound();
}
END_TEST

START_TEST(garbage_goes_and_its_pages_are_reused)
{
    test_no_stress();
    oak_collect();
    size_t objects = test_objects();
    for (int i = 0; i < 10; i++) {
        test_away(make_many, NULL);
        ck_assert_uint_eq(test_objects(), objects + 600);
        oak_collect();
        ck_assert_uint_le(test_objects(), objects + 2);
    }
    ck_assert_uint_le(test_stats().heap_sys, 40 * MB);
    test_assert_sound();
}
END_TEST

/* Allocating sweeps what waits before it takes more from the system. */
START_TEST(waiting_garbage_is_swept_before_the_heap_grows)
{
    test_no_stress();
    test_away(make_many, NULL);
    size_t sys = test_stats().heap_sys;
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    object = oak_alloc_noscan(20 * MB);
    ck_assert_uint_le(test_stats().heap_sys, sys);
}
END_TEST

/* A mark function may look at a typed object's beginning as soon as it is handed out. */
static void mark_nothing(oak_marker *m, void *obj, size_t size)
{
    (void)m;
    (void)obj;
    (void)size;
}

START_TEST(what_is_typed_begins_with_zeros)
{
    enum { BYTES = 256 << 10 };
    oak_type *t = oak_type_function("large", 8, mark_nothing);
    for (int i = 0; i < 20; i++) {
        char *dirty = oak_alloc_noscan(BYTES);
        memset(dirty, 0x41, BYTES);
        oak_free(dirty);
        char *p = oaki_large_alloc(BYTES, 1, OAKI_TYPED, t->id, 0);
        ck_assert(test_is_zero(p, 64));
        if (i == 0) ck_assert_int_eq(p[4096], 0x41); /* it was that memory */
        oak_free(p);
    }
}
END_TEST

Suite *suite_runtime_large(void)
{
    Suite *s = suite_create("runtime/large");
    TCase *c = tcase_create("large");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, what_is_typed_begins_with_zeros);
    tcase_add_test(c, the_tail_comes_back_at_once);
    tcase_add_test(c, the_head_loses_its_memory_and_keeps_its_address);
    tcase_add_test(c, it_is_only_ever_given_back_once);
    tcase_add_test(c, parts_at_random_keep_the_accounts);
    tcase_add_test(c, the_head_is_not_scanned_and_the_rest_is);
    tcase_add_test(c, what_was_given_back_is_not_live);
    tcase_add_test(c, what_is_given_back_before_its_sweep_was_found_alive);
    tcase_add_test(c, garbage_goes_and_its_pages_are_reused);
    tcase_add_test(c, waiting_garbage_is_swept_before_the_heap_grows);
    suite_add_tcase(s, c);
    return s;
}

/* deferred_free - tests of gc/refs/deferred_free.c, and of what else a program gives up in the
 * midst of a mark beside it: objects and parts of objects that the mark may be looking at. */
#include "gc/concurrent/concurrent.h"

#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"
#include "tests/tracked.h"
#include <check.h>
#include <oakum/gc.h>
#include <oakum/zone.h>
#include <string.h>

Suite *suite_gc_deferred_free(void);

#define NODES 30000 /* so that a mark takes a while */
#define BIG ((size_t)4 << 20)

static void **nodes;

static bool start_with(oak_config c)
{
    if (!test_heap_tracked(c, 0)) return false;
    oaki_debug_switches.beside = 1;
    nodes = oak_alloc(NODES * sizeof *nodes);
    for (size_t i = 0; i < NODES; i++) nodes[i] = oak_alloc(64);
    return true;
}

static bool start(void)
{
    return start_with(test_config_beside(test_tracking));
}

static bool marks(void)
{
    return oaki_is_marking_concurrently();
}

static void wait_for_mark(void)
{
    while (!marks()) {
        test_ask_or_collect();
        oaki_os_yield();
    }
}

/* One mark was under way from here to there. */
static bool still_marks(AO_t cycle)
{
    return marks() && AO_load(&oaki_the_heap.cycle) == cycle;
}

/* ---- objects ---- */

START_TEST(what_is_kept_is_live_until_the_mark_is_over)
{
    if (!start()) return;
    for (int seen = 0; seen < 10;) {
        void *p = oak_alloc_noscan(BIG);
        wait_for_mark();
        AO_t cycle = AO_load(&oaki_the_heap.cycle);
        size_t before = AO_load(&oaki_the_heap.live);
        oak_free(p);
        size_t after = AO_load(&oaki_the_heap.live);
        if (!still_marks(cycle)) continue;
        ck_assert_uint_ge(after, before);
        seen++;
    }
    oak_collect();
    ck_assert_uint_eq(AO_load(&oaki_the_heap.ndeferred), 0);
    ck_assert_uint_lt(AO_load(&oaki_the_heap.live), BIG);
    test_assert_sound();
}
END_TEST

/* The program frees what the function follows, and then the object. */
typedef struct holder {
    void **held;
    size_t number;
} holder;

static AO_t gone[20000]; /* by number: it has been freed */
TEST_LARGE(gc_deferred_free, gone)
static size_t numbers;   /* the last */
static AO_t looked_at, looked_at_freed;

static holder *numbered(holder *h)
{
    h->held = nodes;
    h->number = ++numbers;
    ck_assert_uint_lt(numbers, OAKI_COUNT(gone));
    return h;
}

static void mark_holder(oak_marker *m, void *obj, size_t size)
{
    const holder *h = obj;
    (void)size;
    AO_fetch_and_add1(&looked_at);
    if (h->number < OAKI_COUNT(gone) && AO_load(&gone[h->number]))
        AO_fetch_and_add1(&looked_at_freed);
    else if (h->held)
        oak_mark_ptr(m, h->held[0]);
}

START_TEST(no_function_is_called_for_what_is_freed)
{
    enum { HOLDERS = 500 };
    if (!start()) return;
    const oak_type *t = oak_type_function("holder", sizeof(holder), mark_holder);
    holder **all = oak_alloc(HOLDERS * sizeof *all);
    size_t kept = 0;
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < HOLDERS; i++) {
            if (!all[i]) all[i] = numbered(oak_alloc_typed(t, 1));
        }
        wait_for_mark();
        for (int i = round % 2; i < HOLDERS; i += 2) {
            holder *h = all[i];
            size_t number = h->number;
            all[i] = NULL;
            oak_free(h);
            AO_store(&gone[number], 1);
        }
        kept += AO_load(&oaki_the_heap.ndeferred);
        if (round % 3 == 0) oak_collect();
    }
    ck_assert_uint_gt(kept, 0);
    ck_assert_uint_gt(AO_load(&looked_at), 0);
    ck_assert_uint_eq(AO_load(&looked_at_freed), 0);
    test_assert_sound();
}
END_TEST

/* In mid mark, which can't end. */
static void disable_in_mark(void)
{
    for (;;) {
        wait_for_mark();
        oak_gc_disable();
        if (marks()) return;
        oak_gc_enable();
    }
}

START_TEST(what_is_kept_is_freed_when_the_mark_is_given_up)
{
    if (!start()) return;
    for (int round = 0; round < 5; round++) {
        void *p = oak_alloc_noscan(BIG);
        disable_in_mark();
        AO_t cycle = AO_load(&oaki_the_heap.cycle), live = AO_load(&oaki_the_heap.live);
        oak_free(p);
        while (marks() || AO_load(&oaki_the_heap.ndeferred) > 0) oaki_os_yield();
        while (AO_load(&oaki_the_heap.live) + BIG > live) oaki_os_yield(); /* or for ever */
        ck_assert_uint_eq(AO_load(&oaki_the_heap.cycle), cycle);
        oak_gc_enable();
        oak_collect();
        test_assert_sound();
    }
}
END_TEST

/* What comes to the place of a zone's objects is another's. */
START_TEST(what_is_kept_goes_with_its_zone)
{
    size_t with_zone = 0;
    if (!start()) return;
    for (int round = 0; round < 10; round++) {
        oak_zone *z = oak_zone_new(NULL);
        void *mine = oak_alloc_noscan(BIG), *p = oak_zone_alloc_noscan(z, BIG);
        disable_in_mark();
        oak_free(mine);
        oak_free(p);
        with_zone += AO_load(&oaki_the_heap.ndeferred) == 2;
        ck_assert_int_eq(oak_zone_discard(z), 0);
        ck_assert_uint_le(AO_load(&oaki_the_heap.ndeferred), 1);
        oak_gc_enable();
        oak_collect();
        ck_assert_uint_eq(AO_load(&oaki_the_heap.ndeferred), 0);
    }
    ck_assert_uint_gt(with_zone, 0);
    test_assert_sound();
}
END_TEST

START_TEST(no_function_is_called_for_a_zone_that_is_discarded)
{
    enum { HOLDERS = 500 };
    if (!start()) return;
    const oak_type *t = oak_type_function("holder", sizeof(holder), mark_holder);
    holder **all = oak_alloc(HOLDERS * sizeof *all);
    for (int round = 0; round < 20; round++) {
        oak_zone *z = oak_zone_new(NULL);
        size_t first = numbers + 1;
        for (int i = 0; i < HOLDERS; i++) all[i] = numbered(oak_zone_alloc_typed(z, t, 1));
        wait_for_mark();
        ck_assert_int_eq(oak_zone_discard(z), 0);
        for (; first <= numbers; first++) AO_store(&gone[first], 1);
        oak_collect();
    }
    ck_assert_uint_eq(AO_load(&looked_at_freed), 0);
    test_assert_sound();
}
END_TEST

static void free_once_more(void *arg)
{
    (void)arg;
    void *p = oak_alloc_noscan(BIG);
    disable_in_mark();
    oak_free(p);
    oak_free(p);
}

START_TEST(what_waits_for_the_mark_is_not_freed_twice)
{
    if (!start()) return;
    test_dies(free_once_more, NULL, "was it freed already?");
}
END_TEST

/* ---- parts of objects ---- */

static char *filled(char *p, size_t n)
{
    for (size_t i = 0; i < n; i += 512) memset(p + i, (int)(i / 512 % 120 + 1), 512);
    return p;
}

static bool is_filled(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (char)(i / 512 % 120 + 1)) return false;
    return true;
}

/* The marker may have its end in its hands; the memory behind must be what it was. */
START_TEST(what_may_be_read_does_not_lose_its_tail)
{
    if (!start()) return;
    for (int seen = 0; seen < 10;) {
        char *p = filled(oak_alloc(BIG), BIG), *q = filled(oak_alloc(BIG), BIG);
        wait_for_mark();
        AO_t cycle = AO_load(&oaki_the_heap.cycle);
        char *less = oak_realloc(p, BIG / 4), *most = oak_realloc(q, BIG / 4 * 3);
        size_t usable = oak_usable_size(most);
        bool tail = oaki_slot_offset(oaki_heap_offset(p) + BIG / 2) == oaki_heap_offset(p);
        if (still_marks(cycle)) {
            ck_assert_ptr_ne(less, p);
            ck_assert(tail);
            ck_assert_ptr_eq(most, q);
            ck_assert_uint_eq(usable, BIG);
            ck_assert(test_is_zero(most + BIG / 4 * 3, BIG / 4));
            seen++;
        }
        ck_assert(is_filled(less, BIG / 4));
        ck_assert(is_filled(most, BIG / 4 * 3));
    }
    oak_collect();
    char *p = filled(oak_alloc(BIG), BIG);
    ck_assert_ptr_eq(oak_realloc(p, BIG / 4), p);
    ck_assert_uint_eq(oak_usable_size(p), BIG / 4);
    test_assert_sound();
}
END_TEST

START_TEST(what_may_be_read_becomes_less_though_there_is_no_more)
{
    oak_config c = test_config_beside(test_tracking);
    c.heap_max = 6 * BIG;
    if (!start_with(c)) return;
    for (int round = 0; round < 10; round++) {
        char *p = filled(oak_alloc(3 * BIG), 3 * BIG), *rest = oak_alloc_noscan(BIG);
        ck_assert(p && rest);
        wait_for_mark();
        char *less = oak_realloc(p, 3 * BIG / 2 - OAKI_PAGE);
        ck_assert_ptr_nonnull(less);
        ck_assert(is_filled(less, 3 * BIG / 2 - OAKI_PAGE));
        ck_assert(rest != less);
        oak_free(less);
        oak_free(rest);
        oak_collect();
    }
    test_assert_sound();
}
END_TEST

/* No marker reads it. */
START_TEST(what_nobody_reads_loses_it_at_once)
{
    if (!start()) return;
    for (int i = 0; i < 10; i++) {
        char *p = oak_alloc_noscan(BIG);
        wait_for_mark();
        ck_assert_ptr_eq(oak_realloc(p, BIG / 4), p);
        ck_assert_uint_eq(oak_usable_size(p), BIG / 4);
    }
    test_assert_sound();
}
END_TEST

static void *others[8];

static void mark_range(oak_marker *m, void *obj, size_t size)
{
    oak_mark_range(m, obj, size);
}

/* A table with a bitmap is marked a piece at a time, between its lists; freed meanwhile, it may be
 * an object by then that a function marks. */
START_TEST(a_slot_may_change_its_type)
{
    enum { LISTS = 2000, LENGTH = 100 };
    static const uint64_t one[] = { 1 };
    if (!start()) return;
    const oak_type *words = oak_type_bitmap("words", sizeof(void *), one);
    const oak_type *called = oak_type_function("called", sizeof(void *), mark_range);
    void **table = oak_alloc_typed(words, LISTS);
    for (size_t i = 0; i < LISTS; i++)
        for (size_t k = 0; k < LENGTH; k++) {
            void **x = oak_alloc(64);
            x[0] = table[i];
            table[i] = x;
        }
    for (size_t k = 0, n = test_scale(20000); k < n; k++) {
        void **copy = oak_alloc_typed(words, LISTS);
        memcpy(copy, table, LISTS * sizeof *table);
        oak_free(table);
        table = copy;
        others[k % 8] = oak_alloc_typed(called, LISTS);
        if (k % 20 == 0) test_ask_or_collect();
    }
    for (size_t i = 0; i < LISTS; i++) {
        size_t length = 0;
        for (void **x = table[i]; x; x = x[0]) length++;
        ck_assert_uint_eq(length, LENGTH);
    }
    test_assert_sound();
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, what_is_kept_is_live_until_the_mark_is_over);
    tcase_add_test(c, no_function_is_called_for_what_is_freed);
    tcase_add_test(c, what_is_kept_is_freed_when_the_mark_is_given_up);
    tcase_add_test(c, what_is_kept_goes_with_its_zone);
    tcase_add_test(c, no_function_is_called_for_a_zone_that_is_discarded);
    tcase_add_test(c, what_waits_for_the_mark_is_not_freed_twice);
    tcase_add_test(c, what_may_be_read_does_not_lose_its_tail);
    tcase_add_test(c, what_may_be_read_becomes_less_though_there_is_no_more);
    tcase_add_test(c, what_nobody_reads_loses_it_at_once);
    tcase_add_test(c, a_slot_may_change_its_type);
    return c;
}

Suite *suite_gc_deferred_free(void)
{
    Suite *s = suite_create("gc_deferred_free");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}

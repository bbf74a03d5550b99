/* guard.c - tests of runtime/guard.c with a collector: what dies is looked at, what was freed waits
 * across collections, records go with their objects, and right programs are told nothing.
 * tests/malloc/misuse has the misuses one by one. */
#include "gc/refs/finalizer.h"
#include "guard_support.h"
#include "observe/guard.h"
#include "runtime/collector.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/probe.h"

#include <check.h>
#include <oakum/zone.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

Suite *suite_runtime_guard(void);

/* An object that nothing refers to any more, written outside of in the caller's way. */
static OAKI_NOINLINE void spoil(size_t size, ptrdiff_t at, bool noscan)
{
    for (int i = 0; i < 200; i++) {
        char *p = noscan ? oak_alloc_noscan(size) : oak_alloc(size);
        memset(p, 0, size);
        if (i == 100) p[at] = 1;
    }
}

START_TEST(what_a_collection_finds_dead_is_looked_at)
{
    static const size_t sizes[] = { 1, 16, 100, 2048, 20000, 40000, 300000 };
    size_t n = sizes[_i % 7];
    spoil(n, _i < 7 ? (ptrdiff_t)n : -1, _i % 2);
    oak_collect();
    oaki_guard_report();
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, _i < 7 ? OAKI_GUARD_END : OAKI_GUARD_START);
    ck_assert_int_eq(last.at, _i < 7 ? (ptrdiff_t)n : -1);
    ck_assert_uint_eq(last.size, n);
    test_assert_sound();
}
END_TEST

/* Its address, so that no collector knows it. */
static OAKI_NOINLINE uintptr_t freed_object(void)
{
    for (int i = 0; i < 100; i++) ck_assert_ptr_nonnull(oak_alloc(100));
    char *p = oak_alloc(100);
    oak_free(p);
    ck_assert_ptr_null(oak_base(p + 50));
    return ~(uintptr_t)p;
}

START_TEST(what_was_freed_waits_across_collections)
{
    uintptr_t hidden = freed_object();
    for (int i = 0; i < 3; i++) oak_collect();
    for (int i = 0; i < 1000; i++) ck_assert_uint_ne((uintptr_t)oak_alloc(100), ~hidden);
    ck_assert_uint_eq(told, 0);
    ((char *)~hidden)[99] = 0;
    oak_collect();
    oaki_guard_report();
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, OAKI_GUARD_WRITTEN);
    ck_assert_int_eq(last.at, 99);
    ck_assert_int_ne(last.freed_tid, 0);
    test_assert_sound();
}
END_TEST

START_TEST(the_queue_is_bounded)
{
    size_t n = 4 * OAKI_GUARD_QUEUE / 1000;
    char *first = oak_alloc(1000);
    oak_free(first);
    for (size_t i = 0; i < n; i++) oak_free(oak_alloc(1000));
    size_t size;
    oak_collect();
    ck_assert_uint_le(test_stats().heap_alloc, 2 * OAKI_GUARD_QUEUE);
    ck_assert(!oaki_guard_size(first, &size) || size == 1000);
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

START_TEST(large_objects_make_many_small_ones_leave_the_queue)
{
    for (size_t i = 0; i < OAKI_GUARD_QUEUE / 32; i++) oak_free(oak_alloc(16));
    for (size_t i = 0; i < 12; i++) oak_free(oak_alloc_noscan(OAKI_GUARD_QUEUE / 4 - (64 << 10)));
    oak_collect();
    ck_assert_uint_le(test_stats().heap_alloc, OAKI_GUARD_QUEUE + OAKI_GUARD_QUEUE / 4);
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

START_TEST(the_queue_gives_way_below_a_limit)
{
    static const size_t sizes[] = { 24, 1000, 40000, 600000 };
    size_t n = sizes[_i % 4], most = OAKI_GUARD_QUEUE / 8;
    (void)oak_set_heap_max(most);
    for (size_t all = 0; all < 2 * most; all += n) {
        char *p = _i < 4 ? oak_alloc(n) : oak_alloc_noscan(n);
        ck_assert_ptr_nonnull(p);
        memset(p, 1, n);
        oak_free(p);
    }
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

/* Both threads have looked before either of them has freed it. */
START_TEST(a_second_free_at_the_same_time_is_named)
{
    char *p = oak_alloc(100);
    oak_free(p);
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_guard_freed(p, false, 0));
    oaki_leave(t);
    oaki_guard_report();
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, OAKI_GUARD_FREED);
    test_assert_sound();
}
END_TEST

START_TEST(sizes_are_those_that_were_asked_for)
{
    for (size_t n = 1; n < 200000; n = n * 3 / 2 + 1) {
        char *p = oak_alloc(n);
        for (size_t i = 0; i < n; i++) ck_assert_int_eq(p[i], 0);
        ck_assert_uint_eq(oak_usable_size(p), n);
        ck_assert_ptr_eq(oak_base(p + n - 1), p);
        memset(p, 7, n);
        char *q = oak_realloc(p, n + 10);
        ck_assert_ptr_ne(p, q);
        ck_assert_int_eq(q[n - 1], 7);
        ck_assert_int_eq(q[n], 0);
        oak_free(q);
    }
    for (size_t align = 16; align <= 65536; align *= 2) {
        char *p = oak_alloc_aligned(align, 100);
        ck_assert_uint_eq((uintptr_t)p % align, 0);
        oak_free(p);
    }
    oaki_guard_check("a test");
    ck_assert_uint_eq(told, 0);
}
END_TEST

static void *churn(void *arg)
{
    static __thread char *live[64];
    unsigned x = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < 20000; i++) {
        x = x * 1103515245 + 12345;
        unsigned at = x >> 8 & 63;
        size_t n = 1 + (x >> 16) % 500 + (i % 512 ? 0 : 60000);
        if (x & 64) oak_free(live[at]);
        live[at] = x & 32 ? oak_alloc_noscan(n) : oak_alloc(n);
        memset(live[at], x & 1 ? 1 : 0, n);
    }
    memset(live, 0, sizeof live);
    return NULL;
}

START_TEST(right_threads_are_told_nothing)
{
    pthread_t t[4];
    for (uintptr_t i = 0; i < 4; i++)
        ck_assert_int_eq(oak_thread_create(&t[i], NULL, churn, (void *)(i + 1)), 0);
    for (int i = 0; i < 20; i++) oak_collect();
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    oak_collect();
    oaki_guard_check("a test");
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

START_TEST(a_zone_takes_its_records_with_it)
{
    for (int i = 0; i < 50; i++) {
        oak_zone *z = oak_zone_new(NULL);
        for (int k = 0; k < 100; k++) {
            char *p = oak_zone_alloc(z, 100 + (size_t)k);
            if (k % 2) oak_free(p);
        }
        ck_assert_int_eq(oak_zone_discard(z), 0);
        oak_collect();
    }
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

typedef struct leaving {
    oak_zone *zone;
    AO_t done;
} leaving;

/* The queue is full: each of these makes another one leave it. */
static void *make_leave(void *arg)
{
    leaving *l = arg;
    while (!AO_load(&l->done)) oak_free(oak_alloc_noscan(OAKI_GUARD_QUEUE / 8));
    return NULL;
}

START_TEST(what_waits_of_a_zone_leaves_or_goes_with_it)
{
    pthread_t t;
    leaving l = { 0 };
    ck_assert_int_eq(oak_thread_create(&t, NULL, make_leave, &l), 0);
    for (int i = 0; i < 300; i++) {
        oak_zone *z = oak_zone_new(NULL);
        for (int k = 0; k < 300; k++) oak_free(oak_zone_alloc(z, k % 10 ? 200 : 50000));
        ck_assert_int_eq(oak_zone_discard(z), 0);
    }
    AO_store(&l.done, 1);
    pthread_join(t, NULL);
    oak_collect();
    oaki_guard_check("a test");
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

/* KiB of this process's memory that is touched meanwhile; -1: this system doesn't tell. Pages that
 * are in the processor's own tables still may be left out. */
static long touched_by_discards(void)
{
    long kib = -1;
    char line[256];
    FILE *clear = fopen("/proc/self/clear_refs", "w");
    if (!clear) return -1;
    bool cleared = fputs("1", clear) >= 0;
    if (fclose(clear) != 0 || !cleared) return -1;
    for (int i = 0; i < 20; i++) {
        oak_zone *z = oak_zone_new(NULL);
        ck_assert_ptr_nonnull(oak_zone_alloc(z, 100));
        ck_assert_int_eq(oak_zone_discard(z), 0);
    }
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && kib < 0 && fgets(line, sizeof line, f)) (void)sscanf(line, "Referenced: %ld", &kib);
    if (f) fclose(f);
    return kib;
}

/* They take 20 MiB, and a look at each would touch all of it. */
START_TEST(a_discard_looks_at_no_record_of_others)
{
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a touch is told by the page */
    (void)touched_by_discards();
    long alone = touched_by_discards();
    for (int i = 0; i < 200000; i++) ck_assert_ptr_nonnull(oak_alloc_pinned(16));
    long among = touched_by_discards();
    if (alone < 0 || among < 0) printf("skipped: this system doesn't tell what is touched\n");
    else ck_assert_int_le(among, alone + 8192);
}
END_TEST

/* As by a signal handler that comes in the middle of the runtime. */
START_TEST(what_is_freed_is_known_from_inside)
{
    char *p = oak_alloc(100), *live = oak_alloc(100);
    oak_free(p);
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_guard_examine(p, SIZE_MAX, "realloc"));
    ck_assert(oaki_guard_examine(p + 16, SIZE_MAX, "free"));
    ck_assert(!oaki_guard_examine(live, SIZE_MAX, "free"));
    ck_assert_uint_eq(told, 0);
    oaki_leave(t);
    oaki_guard_report();
    ck_assert_uint_eq(told, 2);
    ck_assert_int_eq(last.error, OAKI_GUARD_INSIDE);
}
END_TEST

/* ---- with a page behind ---- */

static const size_t aligns[] = { 1, 16, 64, 4096, 8192, 65536 };

/* Where the page is that may not be touched. */
static char *page_behind(const char *p, size_t n)
{
    return (char *)OAKI_ALIGN_UP((uintptr_t)p + n, OAKI_PAGE / 2);
}

START_TEST(a_large_object_ends_at_its_page)
{
    size_t align = aligns[_i / 3];
    for (size_t n = 33000 + (size_t)_i; n < 2000000; n = n * 5 / 4 + 3) {
        char *p = _i % 3 == 0   ? oak_alloc_aligned(align, n)
                  : _i % 3 == 1 ? oak_alloc_aligned_noscan(align, n)
                                : oaki_alloc_kind(n, align, OAKI_PINNED, 0);
        ck_assert_uint_eq((uintptr_t)p % align, 0);
        ck_assert_uint_lt((size_t)(page_behind(p, n) - p) - n, OAKI_MAX(align, (size_t)16));
        ck_assert_uint_eq(oak_usable_size(p), n);
        ck_assert(test_is_zero(p, n));
        ck_assert_ptr_eq(oak_base(p + n - 1), p);
        ck_assert_ptr_null(oak_base(p - 1));
        memset(p, 1, n);
        if (n % 2) oak_free(p);
    }
    oak_collect();
    oak_collect();
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

/* What OAKUM_DEBUG=verify=1 looks at in each stop. */
START_TEST(objects_that_begin_inside_their_page_keep_the_rules)
{
    char *p[OAKI_COUNT(aligns)];
    for (size_t i = 0; i < OAKI_COUNT(aligns); i++) p[i] = oak_alloc_aligned(aligns[i], 100000);
    oak_free(p[0]);
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_heap_check();
    oaki_gc_stop_end(t);
    for (size_t i = 1; i < OAKI_COUNT(aligns); i++) ck_assert_ptr_eq(oak_base(p[i] + 1), p[i]);
}
END_TEST

START_TEST(a_write_in_front_of_its_page_is_found)
{
    for (size_t n = 40001; n < 40016; n++) {
        told = 0;
        char *p = oak_alloc_noscan(n);
        p[_i ? -1 : (ptrdiff_t)n] = 1;
        oak_free(p);
        ck_assert_uint_eq(told, 1);
        ck_assert_int_eq(last.error, _i ? OAKI_GUARD_START : OAKI_GUARD_END);
        ck_assert_int_eq(last.at, _i ? -1 : (ptrdiff_t)n);
    }
}
END_TEST

/* Each refers into the middle of the next; the last one has a small object. */
static OAKI_NOINLINE char *chain_of_large(size_t n)
{
    char **p = NULL;
    for (size_t i = 0; i < 20; i++) {
        char **next = oak_alloc(n + 8 * i);
        next[1] = p ? (char *)p + n / 2 : memset(oak_alloc_noscan(64), 3, 64);
        p = next;
    }
    return (char *)p + n / 2;
}

START_TEST(what_a_large_object_refers_to_lives)
{
    size_t n = 50000;
    static char *head;
    head = chain_of_large(n);
    for (int i = 0; i < 3; i++) oak_collect();
    char *at = head;
    for (size_t i = 0; i < 20; i++) {
        char **p = oak_base(at);
        ck_assert_ptr_nonnull(p);
        at = p[1];
    }
    for (int i = 0; i < 64; i++) ck_assert_int_eq(at[i], 3);
    head = at = NULL;
    ck_assert_uint_eq(told, 0);
    test_assert_sound();
}
END_TEST

static AO_t stop_churning;

static void *churn_until(void *arg)
{
    while (!AO_load(&stop_churning)) (void)churn(arg);
    return NULL;
}

/* The table of records moves meanwhile; whoever has its lock may be kept from running for long. */
START_TEST(a_touch_is_known_while_others_allocate)
{
    pthread_t t[2];
    size_t n = 40000;
    char *p = oak_alloc_pinned(n);
    oaki_guard_finding f;
    for (uintptr_t i = 0; i < 2; i++)
        ck_assert_int_eq(oak_thread_create(&t[i], NULL, churn_until, (void *)(i + 1)), 0);
    for (int i = 0; i < 20000; i++) {
        ck_assert(oaki_guard_touched(p + n, &f));
        ck_assert_ptr_eq(f.object, p);
        ck_assert_uint_eq(f.size, n);
        ck_assert(!oaki_guard_touched(p + n - 1, &f));
    }
    AO_store(&stop_churning, 1);
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
}
END_TEST

/* The same in the middle of the runtime, where the lock may be the thread's own. */
START_TEST(a_touch_inside_is_known)
{
    char *p = oak_alloc_pinned(40000);
    oaki_guard_finding f;
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_guard_touched(p + 40000, &f));
    oaki_leave(t);
    ck_assert_int_eq(f.at, 40000);
}
END_TEST

static bool may_be_read(const char *p)
{
    return oaki_probe(p);
}

/* Pages are protected between the moment that they are taken and the one that the object's
 * neighbours are no longer scanned. */
START_TEST(pages_behind_stay_closed_where_faults_tell_of_writes)
{
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    test_heap_start(c);
    if (test_skip(oaki_os_page_size() > OAKI_PAGE, "pages are not small")) return;
    oaki_guard.page = true;
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_dirty_start());
    size_t n = 6 << OAKI_PAGE_SHIFT;
    oaki_span *s = oaki_pages_alloc(8, 1, OAKI_CLASS_LARGE, OAKI_SCAN);
    s->size = 8 << OAKI_PAGE_SHIFT;
    ck_assert(oaki_dirty_protect(0, AO_load(&oaki_the_heap.used)));
    s = oaki_pages_split(s, 1, 1);
    s->guarded = OAKI_GUARDED | OAKI_GUARDED_HEAD | OAKI_GUARDED_TAIL;
    ck_assert(oaki_guard_fill(s));
    char *p = oaki_span_start(s);
    ck_assert(!may_be_read(p + n));
    p[0] = p[n - 1] = 1;
    oaki_dirty_unprotect(0, AO_load(&oaki_the_heap.used));
    ck_assert(!may_be_read(p + n));
    ck_assert(may_be_read(p + n - 1));
    oaki_pages_free(s);
    ck_assert(may_be_read(p + n));
    oaki_leave(t);
}
END_TEST

static size_t freed;

static void finalize(void *obj, void *ctx)
{
    (void)ctx;
    oak_free(obj);
    freed += oak_base(obj) == NULL;
}

static void other(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

static OAKI_NOINLINE void set_finalizers(int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(oak_finalizer_set(oak_alloc(50), finalize, NULL), 0);
}

START_TEST(a_finalizer_may_free_its_object)
{
    set_finalizers(100);
    oak_collect();
    while (oak_finalizers_run() > 0) oak_collect();
    oak_collect();
    ck_assert_uint_eq(told, 0);
    ck_assert_uint_ge(freed, 95); /* a stray word may keep some */
    test_assert_sound();
}
END_TEST

static void finalize_twice(void *obj, void *ctx)
{
    (void)ctx;
    oak_free(obj);
    oak_free(obj);
}

static void finalize_other(void *obj, void *ctx)
{
    (void)obj;
    oak_free(ctx);
}

static OAKI_NOINLINE void set_finalizers_of(oak_finalizer fn, void *ctx)
{
    for (int i = 0; i < 20; i++) ck_assert_int_eq(oak_finalizer_set(oak_alloc(50), fn, ctx), 0);
}

static void collect_and_finalize(void)
{
    oak_collect();
    while (oak_finalizers_run() > 0) oak_collect();
}

START_TEST(a_finalizer_that_frees_twice_is_named)
{
    set_finalizers_of(finalize_twice, NULL);
    collect_and_finalize();
    ck_assert_uint_ge(told, 15);
    ck_assert_uint_le(told, 20);
    ck_assert_int_eq(last.error, OAKI_GUARD_FREED);
    ck_assert_uint_eq(last.size, 50);
    ck_assert_int_ne(last.freed_tid, 0);
    test_assert_sound();
}
END_TEST

/* Where the other's owner frees it, too. */
START_TEST(a_finalizer_that_frees_another_s_object_is_named)
{
    char *owned = oak_alloc_pinned(70);
    set_finalizers_of(finalize_other, owned);
    collect_and_finalize();
    ck_assert_uint_ge(told, 1); /* the second of them */
    oak_free(owned);
    ck_assert_uint_ge(told, 2);
    ck_assert_int_eq(last.error, OAKI_GUARD_FREED);
    ck_assert_ptr_eq(last.object, owned);
    test_assert_sound();
}
END_TEST

START_TEST(a_second_finalizer_is_named)
{
    void *p = oak_alloc(50);
    oak_finalizer old;
    ck_assert_int_eq(oak_finalizer_set(p, other, NULL), 0);
    ck_assert_int_eq(oak_finalizer_set_ex(p, finalize, NULL, 0, &old, NULL), 0);
    ck_assert(old == other);
    ck_assert_uint_eq(told, 0);
    ck_assert_int_eq(oak_finalizer_set(p, other, NULL), 0);
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, OAKI_GUARD_REPLACED);
    ck_assert_int_eq(oak_finalizer_set(p, NULL, NULL), 0);
    ck_assert_uint_eq(told, 1);
}
END_TEST

Suite *suite_runtime_guard(void)
{
    Suite *s = suite_create("runtime/guard");
    TCase *c = tcase_create("guard");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, what_a_collection_finds_dead_is_looked_at, 0, 14);
    tcase_add_test(c, what_was_freed_waits_across_collections);
    tcase_add_test(c, the_queue_is_bounded);
    tcase_add_test(c, large_objects_make_many_small_ones_leave_the_queue);
    tcase_add_loop_test(c, the_queue_gives_way_below_a_limit, 0, 8);
    tcase_add_test(c, a_second_free_at_the_same_time_is_named);
    tcase_add_test(c, sizes_are_those_that_were_asked_for);
    tcase_add_test(c, right_threads_are_told_nothing);
    tcase_add_test(c, a_zone_takes_its_records_with_it);
    tcase_add_test(c, a_finalizer_may_free_its_object);
    tcase_add_test(c, a_finalizer_that_frees_twice_is_named);
    tcase_add_test(c, a_finalizer_that_frees_another_s_object_is_named);
    tcase_add_test(c, a_second_finalizer_is_named);
    tcase_add_test(c, what_waits_of_a_zone_leaves_or_goes_with_it);
    tcase_add_test(c, a_discard_looks_at_no_record_of_others);
    tcase_add_test(c, what_is_freed_is_known_from_inside);
    suite_add_tcase(s, c);
    c = tcase_create("pages");
    tcase_add_checked_fixture(c, start_pages, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, a_large_object_ends_at_its_page, 0, 18);
    tcase_add_test(c, objects_that_begin_inside_their_page_keep_the_rules);
    tcase_add_loop_test(c, a_write_in_front_of_its_page_is_found, 0, 2);
    tcase_add_test(c, what_a_large_object_refers_to_lives);
    tcase_add_test(c, right_threads_are_told_nothing);
    tcase_add_test(c, sizes_are_those_that_were_asked_for);
    tcase_add_test(c, the_queue_is_bounded);
    tcase_add_test(c, a_touch_is_known_while_others_allocate);
    tcase_add_test(c, a_touch_inside_is_known);
    suite_add_tcase(s, c);
    c = tcase_create("tracked");
    tcase_add_test(c, pages_behind_stay_closed_where_faults_tell_of_writes);
    suite_add_tcase(s, c);
    return s;
}

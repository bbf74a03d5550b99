/* guard_looks.c - tests of runtime/guard.c: each place where an object is looked at finds what is
 * wrong, by itself; and of runtime/guardspan.c: pages behind objects are as many as may be. */
#include "gc/gc.h"
#include "guard_support.h"
#include "runtime/collector.h"
#include "tests/gc/limit_system.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <oakum/zone.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_guard_looks(void);

/* Whatever waits leaves the queue, pushed by large objects and then by small ones. */
static void drain_queue(void)
{
    for (size_t i = 0; i < 5; i++) oak_free(oak_alloc_noscan(OAKI_GUARD_QUEUE / 4 - (64 << 10)));
    for (size_t all = 0; all < OAKI_GUARD_QUEUE + OAKI_GUARD_QUEUE / 8; all += 20000)
        oak_free(oak_alloc_noscan(20000));
}

/* Each is looked at once on its way, and by no check of all. */
START_TEST(what_leaves_the_queue_is_looked_at)
{
    static const size_t sizes[] = { 24, 1000, 50000 };
    size_t n = sizes[_i];
    char *p = oak_alloc_pinned(n);
    oak_free(p);
    p[n - 1] = 1;
    drain_queue();
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, OAKI_GUARD_WRITTEN);
    ck_assert_int_eq(last.at, (ptrdiff_t)n - 1);
    ck_assert_str_eq(last.call, "the end of its quarantine");
}
END_TEST

/* Written after the collection's look at all, when it is dead: the sweep looks, or the zone's
 * end. */
static AO_t to_spoil;

static void spoil_after_mark(void *ctx)
{
    (void)ctx;
    char *p = (char *)~AO_load(&to_spoil);
    if (p != (char *)~(AO_t)0) p[100] = 1;
    AO_store(&to_spoil, 0);
}

static OAKI_NOINLINE void forget_one(void)
{
    for (int i = 0; i < 200; i++) {
        char *p = oak_alloc_noscan(100);
        memset(p, 0, 100);
        if (i == 100) AO_store(&to_spoil, ~(AO_t)p);
    }
}

START_TEST(what_a_sweep_frees_is_looked_at)
{
    ck_assert_int_eq(oaki_gc_after_mark(spoil_after_mark, NULL), 0);
    forget_one();
    oak_collect();
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_gc_sweep_all();
    oaki_gc_stop_end(t);
    oaki_guard_report();
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, OAKI_GUARD_END);
    ck_assert_int_eq(last.at, 100);
}
END_TEST

START_TEST(what_goes_with_its_zone_is_looked_at)
{
    oak_zone *z = oak_zone_new(NULL);
    char *p = oak_zone_alloc(z, 100), *freed = oak_zone_alloc(z, 200);
    oak_free(freed);
    (_i ? freed : p)[_i ? 7 : -1] = 1;
    ck_assert_int_eq(oak_zone_discard(z), 0);
    oak_collect();
    oaki_guard_report();
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, _i ? OAKI_GUARD_WRITTEN : OAKI_GUARD_START);
}
END_TEST

/* More than can wait to be reported: the others are found again. */
START_TEST(all_of_many_are_told)
{
    enum { BROKEN = 3000 };
    static char *p[BROKEN];
    for (int i = 0; i < BROKEN; i++) p[i] = oak_alloc_pinned(40);
    for (int i = 0; i < BROKEN; i++) p[i][40] = 1; /* p is static: that is stored */
    oaki_guard_check("a test");
    ck_assert_uint_eq(told, BROKEN);
    ck_assert_uint_eq(oaki_guard_found(), BROKEN);
    oaki_guard_check("a test");
    ck_assert_uint_eq(told, BROKEN);
}
END_TEST

static AO_t others_object;

/* The report of a collection has no call's stack, and comes at its end. */
START_TEST(a_collection_reports_what_it_finds)
{
    char *p = oak_alloc_pinned(100);
    AO_store(&others_object, (AO_t)p); /* so the compiler can't leave out the write */
    p[100] = 1;
    oak_collect();
    ck_assert_uint_eq(told, 1);
    ck_assert_str_eq(last.call, "a collection");
    ck_assert_int_eq(last.finder, 0);
    ck_assert_int_eq((unsigned char)p[100], OAKI_GUARD_PATTERN);
}
END_TEST

static void *free_the_others(void *arg)
{
    char *p = (char *)AO_load(&others_object);
    (void)arg;
    (void)oaki_guard_examine(p, 99, "free");
    return NULL;
}

/* Each error of a call is reported by its thread. */
START_TEST(a_call_is_reported_by_its_thread)
{
    char *p = oak_alloc_pinned(100);
    pthread_t t;
    AO_store(&others_object, (AO_t)p);
    ck_assert_int_eq(pthread_create(&t, NULL, free_the_others, NULL), 0);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
    ck_assert_uint_eq(told, 1);
    ck_assert_int_ne(last.finder, 0);
    ck_assert_int_ne(last.finder, oaki_thread_self()->tid);
    (void)oaki_guard_examine(p, 99, "free");
    ck_assert_uint_eq(told, 2);
    ck_assert_int_eq(last.finder, oaki_thread_self()->tid);
}
END_TEST

/* The guard is started when runs and spans have free slots without gaps. */
START_TEST(free_slots_from_before_the_start_are_not_used)
{
    char *before[700];
    test_heap_start(test_config());
    for (size_t i = 0; i < 700; i++) before[i] = oak_alloc_pinned(120);
    for (size_t i = 0; i < 700; i += 3) oak_free(before[i]);
    ck_assert(oaki_guard_start(no_site, note));
    told = 0;
    for (size_t i = 0; i < 2000; i++) {
        size_t asked = 0;
        char *p = oak_alloc_pinned(104);
        ck_assert(oaki_guard_size(p, &asked));
        ck_assert_uint_eq(asked, 104);
    }
    for (size_t i = 1; i < 700; i += 3) oak_free(before[i]);
    oak_collect();
    for (size_t i = 2; i < 700; i += 3) oak_free(before[i]);
    for (size_t i = 0; i < 2000; i++) {
        size_t asked;
        ck_assert(oaki_guard_size(oak_alloc_pinned(104), &asked));
    }
    test_assert_sound();
    ck_assert_uint_eq(told, 0);
}
END_TEST

static const char *wild_object(unsigned which)
{
    static char data[16];
    static oak_zone *z;
    if (which == 0) return data;
    if (which == 1) return (const char *)oaki_the_heap.base + 8; /* in front of all */
    z = oak_zone_new(NULL);
    const char *p = oak_zone_alloc(z, 100);
    ck_assert_int_eq(oak_zone_discard(z), 0);
    return p;
}

/* With `continue`, what is no object at all is told, and left alone. */
START_TEST(a_wild_pointer_is_told_and_left)
{
    char *p = (char *)(uintptr_t)wild_object((unsigned)_i);
    oak_free(p);
    ck_assert_uint_eq(told, 1);
    ck_assert_int_eq(last.error, OAKI_GUARD_WILD);
    ck_assert_ptr_eq(last.object, p);
    ck_assert_int_eq(last.finder, oaki_thread_self()->tid);
    errno = 0;
    ck_assert_ptr_null(oak_realloc(p, 10));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert(!oak_try_resize(p, 10));
    ck_assert_uint_eq(told, 3);
    ck_assert_uint_eq(oaki_guard_found(), 3);
}
END_TEST

static uint32_t site_now;

static uint32_t count_site(void)
{
    return ++site_now;
}

START_TEST(sites_are_those_of_the_calls)
{
    oaki_guard.site = count_site;
    char *p = oak_alloc_pinned(100);
    uint32_t made = site_now;
    oak_free(p);
    uint32_t freed = site_now;
    ck_assert_uint_eq(made, 1);
    ck_assert_uint_eq(freed, 2);
    p[5] = 1;
    oaki_guard_check("a test");
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_eq(last.site, made);
    ck_assert_uint_eq(last.freed_site, freed);
    ck_assert_int_ne(last.freed_tid, 0);
    ck_assert_uint_eq(last.nnear, OAKI_GUARD_NEAR);
    ck_assert_int_eq(last.near[0], 1);
    ck_assert_uint_eq(oaki_guard_found(), 1);
}
END_TEST

/* A broken gap, and broken poison, are repaired as they are told. */
START_TEST(what_was_told_is_told_once)
{
    char *p = oak_alloc_pinned(100), *freed = oak_alloc_pinned(100);
    oak_free(freed);
    p[100] = p[-1] = 1;
    freed[3] = 1;
    for (int i = 0; i < 3; i++) {
        oaki_guard_check("a test");
        ck_assert_uint_eq(told, 3);
    }
    (void)oaki_guard_examine(p, 99, "free");
    ck_assert_int_eq(last.error, OAKI_GUARD_SIZED);
    (void)oaki_guard_examine(p, 101, "free");
    (void)oaki_guard_examine(p, 100, "free");
    ck_assert_uint_eq(told, 5);
}
END_TEST

/* ---- pages behind ---- */

/* Those that end at no closed page end in a gap. */
static size_t count_closed(char *const *p, size_t n, size_t each)
{
    size_t closed = 0;
    oaki_guard_finding f;
    for (size_t i = 0; i < n; i++) closed += oaki_guard_touched(p[i] + each, &f);
    return closed;
}

static void write_past(char *const *p, size_t n, size_t each, size_t closed)
{
    oaki_guard_finding f;
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (!oaki_guard_touched(p[i] + each, &f)) p[i][each] = 1;
    for (size_t i = 0; i < n; i++, found += told, told = 0) {
        oak_free(p[i]);
        ck_assert(told == 0 || last.error == OAKI_GUARD_END);
        ck_assert(told == 0 || last.at == (ptrdiff_t)each);
    }
    ck_assert_uint_eq(found, n - closed);
}

enum { MANY = 64, EACH = 40960 }; /* whole pages, so that all end where a page may be */

static void allocate_many(char **p)
{
    for (size_t i = 0; i < MANY; i++) {
        p[i] = oak_alloc_pinned(EACH);
        ck_assert_ptr_nonnull(p[i]);
        ck_assert_uint_eq(oak_usable_size(p[i]), EACH);
        memset(p[i], 1, EACH);
    }
}

START_TEST(more_objects_than_pages_that_may_be_closed_end_in_a_gap)
{
    char *p[MANY];
    oaki_guard.pages_most = MANY / 4;
    for (int i = 0; i < 3; i++) {
        allocate_many(p);
        size_t closed = count_closed(p, MANY, EACH);
        ck_assert_uint_eq(closed, MANY / 4);
        write_past(p, MANY, EACH, closed);
        drain_queue(); /* their pages open */
    }
    test_assert_sound();
}
END_TEST

/* The program itself has used them up. */
START_TEST(without_mappings_objects_end_in_a_gap)
{
    char *p[MANY];
    if (test_skip_asan() || test_skip_valgrind() ||
        test_skip(!test_use_up_mappings(16), "there is no limit on mappings"))
        return;
    allocate_many(p);
    size_t closed = count_closed(p, MANY, EACH);
    ck_assert_uint_lt(closed, MANY);
    write_past(p, MANY, EACH, closed);
    ck_assert_ptr_nonnull(oak_alloc(100000));
    test_assert_sound();
}
END_TEST

Suite *suite_runtime_guard_looks(void)
{
    Suite *s = suite_create("runtime/guard_looks");
    TCase *c = tcase_create("looks");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_loop_test(c, what_leaves_the_queue_is_looked_at, 0, 3);
    tcase_add_test(c, what_a_sweep_frees_is_looked_at);
    tcase_add_loop_test(c, what_goes_with_its_zone_is_looked_at, 0, 2);
    tcase_add_test(c, all_of_many_are_told);
    tcase_add_test(c, a_collection_reports_what_it_finds);
    tcase_add_test(c, a_call_is_reported_by_its_thread);
    tcase_add_loop_test(c, a_wild_pointer_is_told_and_left, 0, 3);
    tcase_add_test(c, sites_are_those_of_the_calls);
    tcase_add_test(c, what_was_told_is_told_once);
    suite_add_tcase(s, c);
    c = tcase_create("start");
    tcase_add_test(c, free_slots_from_before_the_start_are_not_used);
    suite_add_tcase(s, c);
    c = tcase_create("pages");
    tcase_add_checked_fixture(c, start_pages, NULL);
    tcase_add_test(c, more_objects_than_pages_that_may_be_closed_end_in_a_gap);
    tcase_add_test(c, without_mappings_objects_end_in_a_gap);
    suite_add_tcase(s, c);
    return s;
}

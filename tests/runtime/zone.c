/* zone.c - tests of runtime/zone.c and zonecache.c: being in a zone, what lies in it, its limit and
 * its account. */
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/large.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

Suite *suite_runtime_zone(void);

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)

static void **held; /* what is held, each by its first word */

static void start(void)
{
    test_heap_start(test_config());
}

static oak_zone *new_zone(const char *name, size_t limit)
{
    oak_zone_options o = { .name = name, .limit = limit };
    oak_zone *z = oak_zone_new(&o);
    ck_assert_ptr_nonnull(z);
    return z;
}

static oak_zone_stats stats(const oak_zone *z)
{
    oak_zone_stats s;
    oak_zone_stats_read(z, &s);
    return s;
}

/* The accounts of all zones are MemStats'. */
static void assert_adds_up(void)
{
    oak_zone_stats all[64];
    for (size_t i = test_zones_add_up(all, 64); i-- > 0;) {
        ck_assert_uint_eq(all[i].live_bytes, all[i].total_alloc - all[i].total_freed);
        ck_assert_uint_eq(all[i].live_objects, all[i].mallocs - all[i].frees);
    }
    test_assert_sound();
}

/* ---- in a zone ---- */

static void assert_all_kinds_in(oak_zone *z)
{
    const oak_type *t = oak_type_bitmap("pair", 16, (uint64_t[]){ 3 });
    ck_assert_ptr_eq(oak_zone_of(oak_alloc(24)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc_noscan(24)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc(3000)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc(100000)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc_aligned(4096, 5000)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc_typed(t, 1)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc_typed(t, 10000)), z);
    void *pinned = oak_alloc_pinned(40);
    ck_assert_ptr_eq(oak_zone_of(pinned), z);
    oak_free(pinned);
}

START_TEST(what_is_allocated_inside_lies_in_the_zone)
{
    oak_zone *z = new_zone("a", 0);
    ck_assert_ptr_null(oak_zone_current());
    assert_all_kinds_in(NULL);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    ck_assert_ptr_eq(oak_zone_current(), z);
    assert_all_kinds_in(z);
    oak_zone_leave(z);
    ck_assert_ptr_null(oak_zone_current());
    assert_all_kinds_in(NULL);
    ck_assert_ptr_null(oak_zone_of(&z));
    ck_assert_ptr_null(oak_zone_of(NULL));
    assert_adds_up();
}
END_TEST

START_TEST(a_zone_by_name_needs_no_entry)
{
    const oak_type *t = oak_type_bitmap("pair", 16, (uint64_t[]){ 3 });
    oak_zone *z = new_zone(NULL, 0), *y = new_zone("y", 0);
    ck_assert_str_eq(oak_zone_name(z), "zone 1");
    ck_assert_ptr_eq(oak_zone_of(oak_zone_alloc(z, 24)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_zone_alloc_noscan(z, 100000)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_zone_alloc_pinned(z, 24)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_zone_alloc_typed(z, t, 3)), z);
    ck_assert_int_eq(oak_zone_enter(y), 0);
    ck_assert_ptr_eq(oak_zone_of(oak_zone_alloc(z, 24)), z);
    ck_assert_ptr_eq(oak_zone_of(oak_zone_alloc(y, 24)), y);
    ck_assert_ptr_null(oak_zone_of(oak_zone_alloc(NULL, 24)));
    ck_assert_ptr_eq(oak_zone_current(), y);
    oak_zone_leave(y);
    assert_adds_up();
}
END_TEST

START_TEST(entries_nest_and_unwind)
{
    oak_zone *a = new_zone("a", 0), *b = new_zone("b", 0);
    oak_zone *in[] = { a, a, b, NULL, a, b };
    for (size_t i = 0; i < OAKI_COUNT(in); i++) {
        ck_assert_int_eq(oak_zone_enter(in[i]), 0);
        ck_assert_uint_eq(oak_zone_depth(), i + 1);
        ck_assert_ptr_eq(oak_zone_of(oak_alloc(16)), in[i]);
    }
    ck_assert_uint_eq(stats(a).entries, 2);
    ck_assert_uint_eq(stats(b).entries, 2);
    for (size_t i = OAKI_COUNT(in); i-- > 3;) {
        ck_assert_ptr_eq(oak_zone_current(), in[i]);
        oak_zone_leave(in[i]);
    }
    ck_assert_ptr_eq(oak_zone_current(), b);
    oak_zone_unwind(1);
    ck_assert_ptr_eq(oak_zone_current(), a);
    ck_assert_uint_eq(oak_zone_depth(), 1);
    oak_zone_unwind(0);
    oak_zone_unwind(0);
    ck_assert_ptr_null(oak_zone_current());
    ck_assert_uint_eq(stats(a).entries + stats(b).entries, 0);
    assert_adds_up();
}
END_TEST

static void leave_another(void *arg)
{
    oak_zone *a = new_zone("a", 0), *b = new_zone("b", 0);
    (void)arg;
    (void)oak_zone_enter(a);
    oak_zone_leave(b);
}

static void leave_nothing(void *arg)
{
    (void)arg;
    oak_zone_leave(NULL);
}

static void enter_a_dead_one(void *arg)
{
    oak_zone *a = new_zone("a", 0);
    (void)arg;
    ck_assert_ptr_nonnull(oak_alloc(16));
    (void)oak_zone_discard(a);
    (void)oak_zone_enter(a);
}

START_TEST(misuse_is_fatal)
{
    test_dies(leave_another, NULL, "is not the latest entry");
    test_dies(leave_nothing, NULL, "is not the latest entry");
    test_dies(enter_a_dead_one, NULL, "was discarded");
}
END_TEST

START_TEST(references_across_zones_keep_objects)
{
    oak_zone *a = new_zone("a", 0), *b = new_zone("b", 0);
    static void **root;
    for (int i = 0; i < 1000; i++) { /* a list that goes to and fro */
        void **p = oak_zone_alloc(i % 3 == 0 ? a : i % 3 == 1 ? b : NULL, 16 + (size_t)i % 500);
        p[0] = root;
        p[1] = (void *)(uintptr_t)i;
        root = p;
    }
    for (int round = 0; round < 3; round++) {
        oak_collect();
        int i = 1000;
        for (void **p = root; p; p = p[0]) ck_assert_uint_eq((uintptr_t)p[1], (uintptr_t)--i);
        ck_assert_int_eq(i, 0);
    }
    assert_adds_up();
}
END_TEST

START_TEST(realloc_keeps_the_zone)
{
    oak_zone *a = new_zone("a", 0), *b = new_zone("b", 0);
    char *p = oak_zone_alloc(a, 100), *q = oak_alloc(100);
    memset(p, 7, 100);
    ck_assert_int_eq(oak_zone_enter(b), 0);
    for (size_t n = 200; n < 1000000; n *= 3) {
        ck_assert_ptr_nonnull(p = oak_realloc(p, n));
        ck_assert_ptr_nonnull(q = oak_realloc(q, n));
        ck_assert_ptr_eq(oak_zone_of(p), a);
        ck_assert_ptr_null(oak_zone_of(q));
        ck_assert_int_eq(p[99], 7);
    }
    ck_assert_ptr_eq(oak_zone_of(oak_realloc(NULL, 50)), b);
    oak_free(p); /* from outside */
    oak_free(q);
    oak_zone_leave(b);
    ck_assert_uint_eq(stats(a).live_objects, 0);
    ck_assert_uint_eq(stats(a).inuse % 8192, 0);
    assert_adds_up();
}
END_TEST

/* ---- limit ---- */

static size_t fill(size_t size)
{
    size_t n = 0;
    errno = 0;
    for (void **p; (p = oak_alloc(size)) != NULL; held = p, n++) *p = held;
    ck_assert_int_eq(errno, ENOMEM);
    return n;
}

START_TEST(the_limit_holds_for_every_size)
{
    const size_t sizes[] = { 16, 500, 9000, 40000, 700000 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        oak_zone *z = new_zone("small", 4 * MB);
        ck_assert_int_eq(oak_zone_enter(z), 0);
        size_t n = fill(sizes[i]);
        oak_zone_stats s = stats(z);
        ck_assert_uint_le(s.inuse, 4 * MB);
        ck_assert_uint_ge(n * sizes[i], 2 * MB);
        ck_assert_uint_eq(s.live_objects, n);
        ck_assert_uint_eq(s.collections, 1);
        ck_assert_uint_eq(s.failures, 1);
        held = NULL; /* garbage makes room, for any other size */
        ck_assert_ptr_nonnull(oak_alloc(3 * MB));
        ck_assert_uint_eq(stats(z).collections, 2);
        oak_zone_leave(z);
        ck_assert_ptr_nonnull(oak_alloc(8 * MB)); /* of no other zone */
        assert_adds_up();
    }
}
END_TEST

START_TEST(raising_the_limit_helps_at_once)
{
    oak_zone *z = new_zone("small", MB);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    ck_assert_ptr_null(oak_alloc(2 * MB));
    ck_assert_uint_eq(oak_zone_set_limit(z, 3 * MB), MB);
    void *p = oak_alloc(2 * MB);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(oak_zone_set_limit(z, MB), 3 * MB);
    ck_assert_ptr_null(oak_alloc(16));
    ck_assert_uint_eq(oak_zone_set_limit(z, SIZE_MAX), MB);
    ck_assert_uint_eq(oak_zone_set_limit(z, 0), MB);
    ck_assert_ptr_nonnull(oak_alloc(30 * MB));
    ck_assert_ptr_eq(oak_zone_of(p), z);
    oak_zone_leave(z);
    assert_adds_up();
}
END_TEST

static struct {
    int calls, nested;
    size_t bytes;
    oak_zone *zone;
    void *victim;
} full;

static bool on_full(oak_zone *z, size_t bytes, void *ctx)
{
    full.calls++;
    full.bytes = bytes;
    full.zone = z;
    ck_assert_ptr_eq(ctx, &full);
    if (!oak_alloc(bytes)) full.nested++; /* fails without another call */
    ck_assert_ptr_nonnull(oak_zone_alloc(NULL, bytes));
    if (!full.victim) return false;
    oak_free(full.victim);
    full.victim = NULL;
    return true;
}

START_TEST(the_handler_is_asked_and_may_make_room)
{
    oak_zone_options o = { .limit = 2 * MB, .on_full = on_full, .ctx = &full };
    oak_zone *z = oak_zone_new(&o);
    ck_assert_ptr_eq(oak_zone_context(z), &full);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    full.victim = oak_alloc_pinned(MB + MB / 2);
    ck_assert_ptr_nonnull(oak_alloc(MB));
    ck_assert_int_eq(full.calls, 1);
    ck_assert_int_eq(full.nested, 1);
    ck_assert_uint_eq(full.bytes, MB);
    ck_assert_ptr_eq(full.zone, z);
    errno = 0;
    ck_assert_ptr_null(oak_alloc(3 * MB)); /* there is no victim */
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(full.calls, 2);
    full.victim = oak_alloc_pinned(64);
    size_t n = fill(64); /* small objects ask, too */
    ck_assert_uint_gt(n, 1000);
    ck_assert_uint_eq(full.bytes, 64);
    ck_assert_int_eq(full.calls, 4);
    oak_zone_leave(z);
    ck_assert_uint_eq(stats(z).failures, 2 + 4); /* those of the handler's own count, too */
    assert_adds_up();
}
END_TEST

START_TEST(the_heaps_own_limit_is_met_in_a_zone_as_outside)
{
    oak_zone *z = new_zone("large", 0);
    oak_set_heap_max(8 * MB);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    ck_assert_uint_ge(fill(1000) * 1000, 6 * MB);
    ck_assert_uint_le(stats(z).inuse, 8 * MB);
    held = NULL;
    oak_zone_leave(z);
    ck_assert_ptr_nonnull(oak_alloc(6 * MB));
    assert_adds_up();
}
END_TEST

/* ---- account ---- */

START_TEST(the_account_is_exact)
{
    oak_zone *z = new_zone("exact", 0);
    static void *keep[300];
    uint64_t bytes = 0;
    size_t n = OAKI_COUNT(keep);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    for (size_t i = 0; i < n; i++) {
        keep[i] = oak_alloc(16 + i * i);
        bytes += oak_usable_size(keep[i]);
    }
    oak_zone_leave(z);
    oak_zone_stats s = stats(z);
    ck_assert_str_eq(s.name, "exact");
    ck_assert_ptr_eq(s.zone, z);
    ck_assert_uint_eq(s.mallocs, n);
    ck_assert_uint_eq(s.live_objects, n);
    ck_assert_uint_eq(s.total_alloc, bytes);
    ck_assert_uint_eq(s.live_bytes, bytes);
    ck_assert_uint_ge(s.inuse, bytes);
    for (size_t i = 0; i < n; i += 2) {
        bytes -= oak_usable_size(keep[i]);
        oak_free(keep[i]);
    }
    s = stats(z);
    ck_assert_uint_eq(s.frees, n / 2);
    ck_assert_uint_eq(s.live_bytes, bytes);
    memset(keep, 0, sizeof keep);
    oak_collect();
    s = stats(z);
    ck_assert_uint_le(s.live_objects, 4); /* words on the stack */
    ck_assert_uint_eq(s.total_alloc - s.total_freed, s.live_bytes);
    assert_adds_up();
    ck_assert_str_eq(stats(NULL).name, "default");
}
END_TEST

/* What a thousand of them cost while nothing is in them. */
START_TEST(a_thousand_empty_zones_cost_little)
{
    static oak_zone *zone[1000];
    ck_assert_ptr_nonnull(oak_alloc(16));
    oak_memstats before = test_stats();
    for (int i = 0; i < 1000; i++) zone[i] = new_zone("one of many", MB);
    oak_memstats after = test_stats();
    ck_assert_uint_eq(after.heap_inuse, before.heap_inuse);
    size_t cost = (size_t)(after.meta_sys - before.meta_sys);
    printf("1,000 empty zones take %zu bytes of metadata, %zu each\n", cost, sizeof(oak_zone));
    ck_assert_uint_le(cost, MB);
    ck_assert_uint_eq(oak_zones_read(NULL, 0, NULL), 1002);
    for (int i = 0; i < 1000; i++) ck_assert_int_eq(oak_zone_discard(zone[i]), 0);
    ck_assert_ptr_eq(oak_zone_current(), NULL);
    oak_collect();
    ck_assert_uint_eq(oak_zones_read(NULL, 0, NULL), 2);
}
END_TEST

START_TEST(a_thousand_zones_in_use_share_few_caches)
{
    static oak_zone *zone[1000];
    static void *p[1000];
    for (int i = 0; i < 1000; i++) zone[i] = new_zone("one of many", MB);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            void *q = oak_zone_alloc(zone[i], 48);
            ck_assert_ptr_eq(oak_zone_of(q), zone[i]);
            *(void **)q = p[i];
            p[i] = q;
        }
        oak_collect();
    }
    for (int i = 0; i < 1000; i++) {
        ck_assert_uint_eq(stats(zone[i]).live_objects, 3);
        ck_assert_uint_eq(stats(zone[i]).inuse, 8192);
    }
    ck_assert_uint_le(test_stats().mcache_inuse, (OAKI_ZONES_PARKED + 4) * sizeof(oaki_mcache));
    test_assert_sound();
}
END_TEST

static oak_zone *every[OAKI_ZONES_MAX];
TEST_LARGE(runtime_zone, every)

/* Numbers are used again, so that a program may open as many as it likes one after another. */
START_TEST(there_are_no_more_zones_than_numbers)
{
    size_t n = 0;
    while (n < OAKI_ZONES_MAX && (every[n] = oak_zone_new(NULL)) != NULL) n++;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(n, OAKI_ZONES_MAX - 1); /* the main heap has one */
    for (size_t i = 0; i < n; i++) {
        if (i % 100 == 0 || i == n - 1)
            ck_assert_ptr_eq(oak_zone_of(oak_zone_alloc(every[i], 16)), every[i]);
        if (i % 1000 != 0) ck_assert_int_eq(oak_zone_discard(every[i]), 0);
    }
    oak_collect(); /* what is dead goes back before it */
    for (size_t i = 0; i < 1000; i++) ck_assert_ptr_nonnull(oak_zone_new(NULL));
}
END_TEST

Suite *suite_runtime_zone(void)
{
    Suite *s = suite_create("runtime/zone");
    TCase *c = tcase_create("zone");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, what_is_allocated_inside_lies_in_the_zone);
    tcase_add_test(c, a_zone_by_name_needs_no_entry);
    tcase_add_test(c, entries_nest_and_unwind);
    tcase_add_test(c, misuse_is_fatal);
    tcase_add_test(c, references_across_zones_keep_objects);
    tcase_add_test(c, realloc_keeps_the_zone);
    tcase_add_test(c, the_limit_holds_for_every_size);
    tcase_add_test(c, raising_the_limit_helps_at_once);
    tcase_add_test(c, the_handler_is_asked_and_may_make_room);
    tcase_add_test(c, the_heaps_own_limit_is_met_in_a_zone_as_outside);
    tcase_add_test(c, the_account_is_exact);
    tcase_add_test(c, a_thousand_empty_zones_cost_little);
    tcase_add_test(c, there_are_no_more_zones_than_numbers);
    tcase_add_test(c, a_thousand_zones_in_use_share_few_caches);
    suite_add_tcase(s, c);
    return s;
}

/* zone_drop.c - tests of runtime/zonedrop.c and of what gc/zone.c forgets: discarding zones, small
 * and large, while others refer to them. */
#include "gc/host.h"
#include "gc/refs/finalizer.h"
#include "runtime/collector.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <oakum/profile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_zone_drop(void);

#define MB ((size_t)1 << 20)

static void start(void)
{
    test_heap_start(test_config());
}

static oak_zone_stats gone(void)
{
    oak_zone_stats s[2];
    (void)oak_zones_read(s, 2, NULL);
    return s[1];
}

/* Until the background has given back what was discarded. */
static void wait_until_gone(void)
{
    for (int i = 0; i < 20000 && gone().inuse > 0; i++) oaki_os_sleep_ns(1000000);
    ck_assert_uint_eq(gone().inuse, 0);
    ck_assert_uint_eq(gone().live_objects, 0);
    ck_assert_uint_eq(gone().live_bytes, 0);
}

/* A list of n objects in z, each of which the one before refers to. */
static void **list_in(oak_zone *z, size_t n, size_t size)
{
    void **head = NULL;
    ck_assert_int_eq(oak_zone_enter(z), 0);
    for (size_t i = 0; i < n; i++) {
        void **p = oak_alloc(size);
        ck_assert_ptr_nonnull(p);
        *p = head;
        head = p;
    }
    oak_zone_leave(z);
    return head;
}

/* ---- discarding ---- */

START_TEST(a_discarded_zone_gives_all_back)
{
    static const size_t sizes[] = { 16, 200, 5000, 50000 };
    ck_assert_ptr_nonnull(oak_alloc(16)); /* this thread's own span */
    size_t before = test_stats().heap_inuse;
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        oak_zone *z = oak_zone_new(NULL);
        void **head = list_in(z, 4 * MB / sizes[i], sizes[i]);
        ck_assert_ptr_eq(oak_zone_of(head), z);
        ck_assert_uint_ge(test_stats().heap_inuse, before + 4 * MB);
        ck_assert_int_eq(oak_zone_discard(z), 0);
        wait_until_gone();
        ck_assert_uint_eq(test_stats().heap_inuse, before);
        ck_assert_ptr_null(oak_base(head));
        test_assert_sound();
    }
    ck_assert_uint_gt(gone().mallocs, 4 * MB / 16);
}
END_TEST

START_TEST(words_into_a_discarded_zone_mark_nothing)
{
    static void **global, **other;
    oak_zone *z = oak_zone_new(NULL), *y = oak_zone_new(NULL);
    global = list_in(z, 1000, 64);
    other = oak_zone_alloc(y, 64);
    other[0] = global;
    global[1] = other; /* and back */
    ck_assert_int_eq(oak_zone_discard(z), 0);
    for (int i = 0; i < 3; i++) {
        oak_collect();
        ck_assert_ptr_null(oak_base(global));
        ck_assert_ptr_eq(oak_base(other), other);
    }
    ck_assert_uint_eq(gone().inuse, 0); /* the collection saw to it */
    /* what takes the place is others', and kept by the stale word as by any */
    for (int i = 0; i < 10000; i++) {
        void **p = oak_alloc(64);
        ck_assert(test_is_zero(p, 64));
    }
    oak_collect();
    test_assert_sound();
}
END_TEST

START_TEST(a_zone_that_is_used_is_not_discarded)
{
    oak_zone *z = oak_zone_new(NULL);
    ck_assert_int_eq(oak_zone_enter(z), 0);
    ck_assert_int_eq(oak_zone_enter(NULL), 0);
    ck_assert_int_eq(oak_zone_discard(z), -1);
    ck_assert_int_eq(errno, EBUSY);
    oak_zone_leave(NULL);
    ck_assert_int_eq(oak_zone_discard(z), -1);
    ck_assert_ptr_eq(oak_zone_of(oak_alloc(16)), z);
    oak_zone_leave(z);
    ck_assert_int_eq(oak_zone_discard(z), 0);
}
END_TEST

static void discard_twice(void *arg)
{
    (void)arg;
    oak_zone *z = oak_zone_new(NULL);
    (void)oak_zone_discard(z);
    (void)oak_zone_discard(z);
}

START_TEST(discarding_twice_is_fatal)
{
    test_dies(discard_twice, NULL, "was discarded");
}
END_TEST

/* ---- what lay in a zone that is gone ---- */

enum { AT_ONCE, LATER, USED_AGAIN, USED_OTHERWISE, MOMENTS };

#define STALE 1000

static char *stale[STALE];

typedef struct misuse {
    void (*use)(void *p);
    size_t size;
    int moment, which; /* object of STALE */
    bool poison;
} misuse;

static void use_free(void *p)
{
    oak_free(p);
}

static void use_resize(void *p)
{
    (void)oak_realloc(p, 60);
}

static void use_move(void *p)
{
    (void)oak_realloc(p, 100000);
}

static void use_hold(void *p)
{
    (void)oaki_hold(p);
}

static void finalize(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

static void use_finalizer(void *p)
{
    if (oak_finalizer_set(p, finalize, NULL) != 0) abort();
}

static void use_weak(void *p)
{
    (void)oak_weak_new(p);
}

/* One of them, from `which` on, that is in no object of the zone that has the pages now. A weak
 * reference may be to the middle of an object. */
static void *stale_from(int which)
{
    for (int i = which; i < STALE; i++)
        if (!oak_base(stale[i])) return stale[i];
    for (int i = which; i < STALE; i++)
        if (oak_base(stale[i]) != stale[i]) return stale[i];
    abort();
}

/* The pages come to a zone whose cache takes them all for its run, and hands out one slot; or to
 * objects of another size, whose slots begin elsewhere. */
static void misuse_stale(void *arg)
{
    const misuse *m = arg;
    oaki_debug_switches.poison = m->poison;
    oak_zone *z = oak_zone_new(NULL);
    for (int i = 0; i < STALE; i++) stale[i] = oak_zone_alloc(z, m->size);
    if (oak_zone_discard(z) != 0) abort();
    if (m->moment != AT_ONCE) wait_until_gone();
    oak_zone *next = m->moment >= USED_AGAIN ? oak_zone_new(NULL) : NULL;
    for (int i = 0; next && i < 100; i++) {
        size_t other = m->size < 1000 ? 72 : 2 * m->size;
        if (!oak_zone_alloc(next, m->moment == USED_AGAIN ? m->size : other)) abort();
    }
    m->use(stale_from(m->which));
}

/* That the zone's cache has taken for its run is in A, and yet no object. */
static void free_what_is_in_a_run(void *arg)
{
    oak_zone *z = oak_zone_new(NULL);
    (void)arg;
    for (int i = 0; i < STALE; i++) stale[i] = oak_zone_alloc(z, 64);
    if (oak_zone_discard(z) != 0) abort();
    wait_until_gone();
    char *p = oak_zone_alloc(oak_zone_new(NULL), 64);
    for (int i = 0; i < STALE; i++) {
        bool in_a = oaki_bit_get(oaki_the_heap.alloc, oaki_heap_offset(stale[i]));
        if (stale[i] == p || !in_a) continue;
        oak_free(stale[i]);
        return;
    }
}

/* Each use, with no other before it. The line names the call, and says what is known of the place;
 * at once that depends on how far the background is. */
START_TEST(what_lay_in_a_discarded_zone_is_fatal)
{
    static const struct { void (*use)(void *p); const char *says; } uses[] = {
        { use_free, "oakum: oak_free: 0x" },
        { use_resize, "oakum: oak_realloc: 0x" },
        { use_move, "oakum: oak_realloc: 0x" },
        { use_hold, "oakum: hold: 0x" },
        { use_finalizer, "oakum: oak_finalizer_set: 0x" },
        { use_weak, "oakum: oak_weak_new: 0x" },
    };
    misuse m = { uses[_i % 6].use, _i / 6 % 2 ? 40000 : 64, AT_ONCE, 0, _i >= 12 };
    for (m.moment = AT_ONCE; m.moment < MOMENTS; m.moment++)
        for (m.which = 0; m.which < STALE; m.which += 333) {
            test_dies(misuse_stale, &m, uses[_i % 6].says);
            if (_i % 6 >= 3) test_dies(misuse_stale, &m, "a live object");
            else if (m.moment == LATER) test_dies(misuse_stale, &m, "points to free memory");
        }
}
END_TEST

START_TEST(what_a_cache_holds_back_is_no_object)
{
    test_dies(free_what_is_in_a_run, NULL, "was it freed already?");
}
END_TEST

START_TEST(nothing_in_a_discarded_zone_is_an_object)
{
    oak_zone *z = oak_zone_new(NULL);
    char *p = oak_zone_alloc(z, 64);
    ck_assert_ptr_eq(oak_base(p + 5), p);
    oak_gc_disable();
    ck_assert_int_eq(oak_zone_discard(z), 0);
    ck_assert_ptr_null(oak_base(p + 5));
    ck_assert_uint_eq(oak_usable_size(p), 0);
    ck_assert_ptr_null(oak_zone_of(p));
    wait_until_gone();
    test_assert_sound();
}
END_TEST

/* A program that goes on allocating meets the reaper, the sweeper and collections. */
START_TEST(many_zones_come_and_go)
{
    oak_set_gc_percent(100);
    size_t most = 0, rounds = test_scale(2000);
    for (size_t i = 0; i < rounds; i++) {
        oak_zone *z = oak_zone_new(NULL);
        (void)list_in(z, 100 + i % 500, 16 + i % 700);
        if (i % 3) ck_assert_ptr_nonnull(oak_zone_alloc(z, 40000));
        ck_assert_int_eq(oak_zone_discard(z), 0);
        most = OAKI_MAX(most, z->id);
    }
    wait_until_gone();
    printf("%zu zones, at most %zu at a time\n", rounds, most);
    ck_assert_uint_le(test_stats().heap_inuse, 8 * MB);
    test_assert_sound();
}
END_TEST

/* Of the processor, as the caller may have to wait for one; what interrupts it is in one of the
 * three at most. All are made before, as memory that is used again is cleared. */
START_TEST(a_large_zone_takes_the_caller_less_than_5_ms)
{
    enum { ZONES = 3 };
    static const size_t sizes[] = { 64 * MB, MB, MB / 16 };
    size_t size = sizes[_i], rss = test_rss();
    oak_zone *z[ZONES];
    for (size_t i = 0; i < ZONES; i++) {
        z[i] = oak_zone_new(NULL);
        for (size_t n = 0; n < 1024 * MB / size; n++)
            ck_assert_ptr_nonnull(oak_zone_alloc_noscan(z[i], size));
    }
    ck_assert_uint_ge(test_stats().heap_inuse, ZONES * 1024 * MB);
    if (!test_breaks_asan()) /* which keeps a byte of its own for eight */
        ck_assert_uint_le(test_rss(), rss + 100 * MB); /* nobody has touched it */
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < ZONES; i++) {
        uint64_t before = oaki_os_thread_cpu_ns();
        ck_assert_int_eq(oak_zone_discard(z[i]), 0);
        least = OAKI_MIN(least, oaki_os_thread_cpu_ns() - before);
    }
    printf("1 GiB in objects of %zu KiB: %.3f ms\n", size / 1024, (double)least / 1e6);
    ck_assert_uint_lt(least, 5000000);
    wait_until_gone();
    test_assert_sound();
}
END_TEST

/* ---- what others keep of its objects ---- */

static int ran;

static void count_run(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    ran++;
}

static void count_cleanup(void *ctx)
{
    (void)ctx;
    ran++;
}

START_TEST(finalizers_and_cleanups_are_dropped)
{
    oak_zone *z = oak_zone_new(NULL);
    static void *kept[30];
    for (int i = 0; i < 30; i++) {
        kept[i] = i % 3 ? oak_zone_alloc(z, 48) : oak_alloc(48);
        if (i % 2) ck_assert_int_eq(oak_finalizer_set(kept[i], count_run, NULL), 0);
        else ck_assert_int_eq(oak_cleanup_add(kept[i], count_cleanup, NULL), 0);
    }
    /* elsewhere, with a context in it */
    void *ctx = oak_zone_alloc(z, 100), *obj = oak_alloc(100);
    ck_assert_int_eq(oak_finalizer_set(obj, count_run, ctx), 0);
    /* queued already */
    ck_assert_int_eq(oak_finalizer_set(oak_zone_alloc(z, 100), count_run, NULL), 0);
    ck_assert_int_eq(oak_zone_discard(z), 0);
    ck_assert_uint_eq(test_stats().finalizers, 10);
    memset(kept, 0, sizeof kept);
    obj = ctx = NULL;
    oak_collect();
    oak_collect();
    (void)oak_finalizers_run();
    ck_assert_int_le(ran, 10);
    ck_assert_int_ge(ran, 7); /* a stray word may keep some */
    test_assert_sound();
}
END_TEST

/* Nothing of the zone's own is in a table. */
START_TEST(what_others_keep_for_a_zone_goes_with_it)
{
    static void *obj[2], *key;
    static oak_ephemeron *e[2];
    oak_zone *z[3];
    for (int i = 0; i < 3; i++) z[i] = oak_zone_new(NULL);
    obj[0] = oak_alloc(32);
    ck_assert_int_eq(oak_finalizer_set(obj[0], count_run, oak_zone_alloc(z[0], 32)), 0);
    key = oak_alloc(32);
    e[0] = oak_ephemeron_new(key, oak_zone_alloc(z[1], 32));
    e[1] = oak_ephemeron_new(key, NULL);
    oak_ephemeron_set(e[1], oak_zone_alloc(z[2], 32));
    for (int i = 0; i < 3; i++) ck_assert_int_eq(oak_zone_discard(z[i]), 0);
    ck_assert_uint_eq(test_stats().finalizers, 0);
    for (int i = 0; i < 2; i++) {
        void *value = &value;
        ck_assert_ptr_eq(oak_ephemeron_get(e[i], &value), key);
        ck_assert_ptr_null(value);
    }
}
END_TEST

static void drop_with_cleanup(void *z)
{
    for (int i = 0; i < 100; i++)
        (void)!oak_cleanup_add(oak_zone_alloc(z, 32), count_cleanup, NULL);
}

START_TEST(cleanups_that_wait_to_run_are_dropped)
{
    oak_zone *z = oak_zone_new(NULL);
    test_away(drop_with_cleanup, z);
    oak_collect();
    ck_assert_uint_gt(oaki_finalizers_ready(), 0);
    ck_assert_int_eq(oak_zone_discard(z), 0);
    ck_assert_uint_eq(oaki_finalizers_ready(), 0);
    (void)oak_finalizers_run();
    ck_assert_int_eq(ran, 0);
}
END_TEST

START_TEST(weak_references_are_cleared_at_once)
{
    oak_zone *z = oak_zone_new(NULL), *y = oak_zone_new(NULL);
    static oak_weak *w[40];
    static void *obj[40];
    for (int i = 0; i < 40; i++) {
        obj[i] = oak_zone_alloc(i % 4 ? z : NULL, 64);
        (void)oak_zone_enter(i % 2 ? y : z);
        w[i] = oak_weak_new((char *)obj[i] + (i % 5 ? 0 : 8));
        oak_zone_leave(i % 2 ? y : z);
        ck_assert_ptr_null(oak_zone_of(w[i])); /* others may share it */
    }
    ck_assert_int_eq(oak_zone_discard(z), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 40; i++)
            ck_assert_ptr_eq(oak_weak_get(w[i]),
                             i % 4 ? NULL : (char *)obj[i] + (i % 5 ? 0 : 8));
        oak_collect();
    }
    ck_assert_uint_eq(test_stats().weak_refs, 10);
    ck_assert_int_eq(oak_zone_discard(y), 0);
    test_assert_sound();
}
END_TEST

START_TEST(ephemerons_are_cleared_at_once)
{
    oak_zone *z = oak_zone_new(NULL);
    static void *key[3], *value[3];
    static oak_ephemeron *e[3];
    for (int i = 0; i < 3; i++) {
        key[i] = oak_zone_alloc(i == 0 ? z : NULL, 32);
        value[i] = oak_zone_alloc(i == 1 ? z : NULL, 32);
        ck_assert_int_eq(oak_zone_enter(i == 2 ? z : NULL), 0);
        e[i] = oak_ephemeron_new(key[i], value[i]);
        oak_zone_leave(i == 2 ? z : NULL);
    }
    ck_assert_int_eq(oak_zone_discard(z), 0);
    void *v = &v;
    ck_assert_ptr_null(oak_ephemeron_get(e[0], &v));
    ck_assert_ptr_null(v);
    ck_assert_ptr_eq(oak_ephemeron_get(e[1], &v), key[1]);
    ck_assert_ptr_null(v);
    for (int i = 0; i < 3; i++) oak_collect(); /* the third pair is gone */
    ck_assert_ptr_eq(oak_ephemeron_get(e[1], &v), key[1]);
    test_assert_sound();
}
END_TEST

START_TEST(samples_of_the_profile_go_with_it)
{
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    oak_zone *z = oak_zone_new(NULL);
    (void)list_in(z, 1000, 100);
    (void)list_in(z, 3, 100000);
    ck_assert_int_eq(oak_zone_discard(z), 0);
    wait_until_gone();
    for (int i = 0; i < 1000; i++) ck_assert_ptr_nonnull(oak_alloc(100));
    oak_collect();
    test_assert_sound();
}
END_TEST

Suite *suite_runtime_zone_drop(void)
{
    Suite *s = suite_create("runtime/zone_drop");
    TCase *c = tcase_create("zone_drop");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_discarded_zone_gives_all_back);
    tcase_add_test(c, words_into_a_discarded_zone_mark_nothing);
    tcase_add_test(c, a_zone_that_is_used_is_not_discarded);
    tcase_add_test(c, discarding_twice_is_fatal);
    tcase_add_loop_test(c, what_lay_in_a_discarded_zone_is_fatal, 0, 24);
    tcase_add_test(c, what_a_cache_holds_back_is_no_object);
    tcase_add_test(c, nothing_in_a_discarded_zone_is_an_object);
    tcase_add_test(c, many_zones_come_and_go);
    tcase_add_loop_test(c, a_large_zone_takes_the_caller_less_than_5_ms, 0, 3);
    tcase_add_test(c, finalizers_and_cleanups_are_dropped);
    tcase_add_test(c, what_others_keep_for_a_zone_goes_with_it);
    tcase_add_test(c, cleanups_that_wait_to_run_are_dropped);
    tcase_add_test(c, weak_references_are_cleared_at_once);
    tcase_add_test(c, ephemerons_are_cleared_at_once);
    tcase_add_test(c, samples_of_the_profile_go_with_it);
    suite_add_tcase(s, c);
    return s;
}

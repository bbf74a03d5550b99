/* profile.c - tests of observe/profile.c and site.c: figures of sites are what was allocated and
 * what is live. */
#include "observe/profile.h"
#include "find.h"
#include "gc/gc.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *suite_observe_profile(void);

static void start(void)
{
    test_seed("observe/profile");
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
}

static void assert_sound(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    const char *broken = oaki_sites_check();
    oaki_gc_stop_end(t);
    ck_assert_msg(!broken, "%s", broken);
    test_assert_sound();
}

/* ---- scenario 10: short-lived churn ---- */

static void *kept[2000];

static void drop(void *p) { (void)p; }

static OAKI_NOINLINE void churn_round(size_t n)
{
    for (size_t i = 0; i < n; i++) drop(oak_alloc(64));
    __asm__("");
}

static OAKI_NOINLINE void keep_round(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *p = oak_alloc(64);
        if (i % 100 == 0) kept[i / 100] = p;
    }
    __asm__("");
}

static void *churn_away(void *arg)
{
    churn_round((size_t)arg);
    return NULL;
}

static void *keep_away(void *arg)
{
    keep_round((size_t)arg);
    return NULL;
}

START_TEST(churn_has_exactly_the_six_figures)
{
    size_t n = test_slow() ? 20000 : 200000;
    for (int round = 0; round < 4; round++) {
        test_join(test_start(churn_away, (void *)n));
        oak_collect();
        oak_collect();
    }
    test_site s = test_site_of("churn_round");
    ck_assert_int_eq(s.alloc_objects, 4 * (int64_t)n);
    ck_assert_int_eq(s.alloc_bytes, 256 * (int64_t)n);
    ck_assert_int_eq(s.inuse_objects, 0);
    ck_assert_int_eq(s.inuse_bytes, 0);
    test_join(test_start(keep_away, (void *)n));
    oak_collect();
    s = test_site_of("keep_round");
    ck_assert_int_eq(s.alloc_objects, (int64_t)n);
    ck_assert_int_eq(s.inuse_objects, (int64_t)n / 100);
    ck_assert_int_eq(s.inuse_bytes, (int64_t)n / 100 * 64);
    ck_assert_ptr_nonnull(kept[n / 100 - 1]);
    assert_sound();
}
END_TEST

/* ---- every way to allocate ---- */

static const oak_type *pair_type(void)
{
    static const oak_type *t;
    static const uint64_t both = 3;
    if (!t) t = oak_type_bitmap("pair", 16, &both);
    return t;
}

/* Not in tail position, so that there is a frame. */
#define WAY(name, call)                        \
    static OAKI_NOINLINE void *name(size_t n)  \
    {                                          \
        void *p = call;                        \
        __asm__("" : : "r"(p) : "memory");     \
        return p;                              \
    }

WAY(by_alloc, oak_alloc(n))
WAY(by_noscan, oak_alloc_noscan(n))
WAY(by_typed, oak_alloc_typed(pair_type(), n / 16))
WAY(by_pinned, oak_alloc_pinned(n))
WAY(by_aligned, oak_alloc_aligned(4096, n))
WAY(by_realloc, oak_realloc(oak_alloc(16), n))

static void *(*const ways[])(size_t) = { by_alloc,  by_noscan,  by_typed,
                                         by_pinned, by_aligned, by_realloc };

/* The sum over all sites is what the allocator itself counts. */
START_TEST(every_way_to_allocate_is_counted)
{
    oak_memstats before = test_stats();
    for (size_t i = 0; i < test_scale(6000); i++)
        ck_assert_ptr_nonnull(ways[i % OAKI_COUNT(ways)](test_size(i % 100 ? 3000 : 100000)));
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    oak_classic_map *c = oak_classic_new(&oak_classic_int_int, 0);
    for (uint64_t k = 0; k < 20000; k++) {
        *(uint64_t *)oak_map_put(m, &k) = k;
        *(uint64_t *)oak_classic_put(c, &k) = k;
    }
    oak_memstats after = test_stats();
    test_site all = test_sum(NULL, OAK_PROFILE_NOW);
    ck_assert_int_eq(all.alloc_objects, (int64_t)(after.mallocs - before.mallocs));
    ck_assert_int_eq(all.alloc_bytes, (int64_t)(after.total_alloc - before.total_alloc));
    ck_assert_int_eq(all.inuse_bytes, (int64_t)(after.heap_alloc - before.heap_alloc));
    oak_collect();
    after = test_stats();
    all = test_sum(NULL, 0);
    ck_assert_int_eq(all.inuse_objects, (int64_t)(after.heap_objects - before.heap_objects));
    ck_assert_int_eq(all.inuse_bytes, (int64_t)(after.heap_alloc - before.heap_alloc));
    assert_sound();
}
END_TEST

/* ---- objects that go ---- */

START_TEST(what_is_freed_by_hand_is_not_in_use)
{
    void *p[100];
    for (size_t i = 0; i < 100; i++) p[i] = by_alloc(i % 2 ? 50 : 50000);
    for (size_t i = 0; i < 100; i += 2) oak_free(p[i]);
    test_site s = test_sum("by_alloc", OAK_PROFILE_NOW);
    ck_assert_int_eq(s.inuse_objects, 50);
    ck_assert_int_eq(s.inuse_bytes, 50 * 64);
    ck_assert_int_eq(s.alloc_objects, 100);
    for (size_t i = 1; i < 100; i += 2) oak_free(p[i]);
    s = test_sum("by_alloc", OAK_PROFILE_NOW);
    ck_assert_int_eq(s.inuse_objects, 0);
    ck_assert_int_eq(s.inuse_bytes, 0);
    assert_sound();
}
END_TEST

START_TEST(what_a_large_object_gives_back_is_not_in_use)
{
    char *p = by_alloc(1 << 20);
    ck_assert_ptr_eq(oak_realloc(p, 1 << 19), p);
    test_site s = test_sum("by_alloc", OAK_PROFILE_NOW);
    ck_assert_int_eq(s.inuse_objects, 1);
    ck_assert_int_eq(s.inuse_bytes, 1 << 19);
    ck_assert_int_eq(s.alloc_bytes, 1 << 20);
    oak_free(p);
    ck_assert_int_eq(test_sum("by_alloc", OAK_PROFILE_NOW).inuse_bytes, 0);
    assert_sound();
}
END_TEST

/* Also a free of what was not sampled, beside what was. */
START_TEST(random_frees_leave_exact_figures)
{
    enum { N = 500 };
    static void *live[N];
    int64_t objects = 0, bytes = 0;
    bool noted[N] = { false }, on = true;
    for (size_t i = 0; i < test_scale(50000); i++) {
        size_t k = test_below(N);
        if (test_below(500) == 0) ck_assert_int_eq(oak_profile_set_rate(on = !on), 0);
        if (test_below(5000) == 0) oak_collect();
        if (live[k]) {
            objects -= noted[k];
            bytes -= noted[k] ? (int64_t)oak_usable_size(live[k]) : 0;
            oak_free(live[k]);
            live[k] = NULL;
        } else {
            live[k] = by_pinned(test_size(50000));
            noted[k] = on;
            objects += on;
            bytes += on ? (int64_t)oak_usable_size(live[k]) : 0;
        }
    }
    test_site s = test_sum("by_pinned", OAK_PROFILE_NOW);
    ck_assert_int_eq(s.inuse_objects, objects);
    ck_assert_int_eq(s.inuse_bytes, bytes);
    assert_sound();
}
END_TEST

/* ---- of the last collection, or of now ---- */

START_TEST(a_reading_is_of_the_last_collection)
{
    static void *root;
    ck_assert_int_eq(test_sum("by_alloc", 0).inuse_objects, 0);
    root = by_alloc(64);
    ck_assert_int_eq(test_sum("by_alloc", 0).inuse_objects, 1); /* there was none yet */
    oak_collect();
    (void)by_alloc(64);
    void *second = by_alloc(64);
    ck_assert_int_eq(test_sum("by_alloc", 0).alloc_objects, 1);
    ck_assert_int_eq(test_sum("by_alloc", OAK_PROFILE_NOW).alloc_objects, 3);
    ck_assert_int_eq(test_sum("by_alloc", OAK_PROFILE_NOW).inuse_objects, 3);
    oak_free(second);
    ck_assert_int_eq(test_sum("by_alloc", 0).inuse_objects, 1);
    ck_assert_int_eq(test_sum("by_alloc", OAK_PROFILE_NOW).inuse_objects, 2);
    oak_collect();
    ck_assert_int_eq(test_sum("by_alloc", 0).alloc_objects, 3);
    ck_assert_int_ge(test_sum("by_alloc", 0).inuse_objects, 1);
    ck_assert_ptr_nonnull(root);
}
END_TEST

START_TEST(a_difference_is_what_changed)
{
    static void *root[10];
    for (int i = 0; i < 5; i++) root[i] = by_alloc(1024);
    oak_profile *before = oak_profile_read(OAK_PROFILE_NOW);
    for (int i = 5; i < 10; i++) root[i] = by_alloc(1024);
    for (int i = 0; i < 7; i++) oak_free(root[i]);
    void *other = by_noscan(100);
    oak_profile *after = oak_profile_read(OAK_PROFILE_NOW);
    ck_assert_ptr_nonnull(before);
    ck_assert_ptr_nonnull(after);
    oak_profile_subtract(after, before);
    test_site s = test_sum_in(after, "by_alloc");
    ck_assert_int_eq(s.alloc_objects, 5);
    ck_assert_int_eq(s.inuse_objects, -2);
    ck_assert_int_eq(s.inuse_bytes, -2048);
    ck_assert_int_eq(test_sum_in(after, "by_noscan").inuse_objects, 1);
    oak_profile_free(before);
    oak_profile_free(after);
    oak_free(other);
}
END_TEST

/* ---- visits ---- */

typedef struct seen {
    int64_t last;
    size_t n, most;
    bool sorted;
} seen;

static bool look(const oak_profile_site *s, void *ctx)
{
    seen *v = ctx;
    if (v->n > 0 && s->inuse_bytes > v->last) v->sorted = false;
    v->last = s->inuse_bytes;
    return ++v->n < v->most;
}

START_TEST(the_largest_comes_first_and_a_visit_can_end)
{
    static void *root[OAKI_COUNT(ways)];
    for (size_t i = 0; i < OAKI_COUNT(ways); i++) root[i] = ways[i]((i + 1) * 1000);
    seen all = { .most = 100, .sorted = true }, two = { .most = 2, .sorted = true };
    ck_assert_int_eq(oak_profile_each(NULL, OAK_PROFILE_INUSE_BYTES, look, &all), 0);
    ck_assert_uint_ge(all.n, OAKI_COUNT(ways));
    ck_assert(all.sorted);
    ck_assert_int_eq(oak_profile_each(NULL, OAK_PROFILE_INUSE_BYTES, look, &two), 0);
    ck_assert_uint_eq(two.n, 2);
    ck_assert_ptr_nonnull(root[0]);
}
END_TEST

/* ---- where it was allocated ---- */

START_TEST(an_object_knows_its_site)
{
    char name[200];
    void *p = by_noscan(5000), *large = by_typed(100000);
    oaki_thread *t = oaki_enter();
    const oaki_site *s = oaki_site_of(p), *l = oaki_site_of(large);
    oaki_leave(t);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_gt(oaki_site_format(s, 3, name, sizeof name), 0);
    ck_assert_msg(strstr(name, "by_noscan"), "%s", name);
    oaki_site_format(l, 3, name, sizeof name);
    ck_assert_msg(strstr(name, "by_typed"), "%s", name);
    ck_assert_msg(!strstr(name, "oaki_"), "%s", name);
    ck_assert_uint_eq(oaki_site_format(l, 3, name, 5), 4);
}
END_TEST

/* ---- memory ---- */

START_TEST(what_the_profile_takes_is_in_memstats)
{
    enum { N = 20000 };
    static void *root[N];
    uint64_t before = test_stats().buck_hash_sys;
    for (size_t i = 0; i < N; i++) root[i] = by_alloc(16);
    uint64_t full = test_stats().buck_hash_sys;
    ck_assert_uint_ge(full - before, N * 48);
    ck_assert_uint_le(full - before, N * 160);
    memset(root, 0, sizeof root);
    oak_collect();
    oak_collect();
    for (size_t i = 0; i < 40; i++) {
        root[0] = by_alloc(16);
        oak_collect();
    }
    ck_assert_uint_lt(test_stats().buck_hash_sys, before + (full - before) / 4);
}
END_TEST

/* ---- stress ---- */

START_TEST(a_collection_at_each_allocation_loses_nothing)
{
    enum { N = 300 };
    static void *root[N];
    oaki_debug_switches.stress = 1;
    for (size_t i = 0; i < N; i++) root[i] = ways[i % OAKI_COUNT(ways)](test_size(2000));
    oaki_debug_switches.stress = 0;
    oak_collect();
    test_site all = test_sum(NULL, 0);
    ck_assert_int_ge(all.inuse_objects, N);
    ck_assert_int_le(all.inuse_objects, N + N / 10);
    ck_assert_ptr_nonnull(root[N - 1]);
    assert_sound();
}
END_TEST

Suite *suite_observe_profile(void)
{
    Suite *s = suite_create("observe/profile");
    TCase *c = tcase_create("profile");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, churn_has_exactly_the_six_figures);
    tcase_add_test(c, every_way_to_allocate_is_counted);
    tcase_add_test(c, what_is_freed_by_hand_is_not_in_use);
    tcase_add_test(c, what_a_large_object_gives_back_is_not_in_use);
    tcase_add_test(c, random_frees_leave_exact_figures);
    tcase_add_test(c, a_reading_is_of_the_last_collection);
    tcase_add_test(c, a_difference_is_what_changed);
    tcase_add_test(c, the_largest_comes_first_and_a_visit_can_end);
    tcase_add_test(c, an_object_knows_its_site);
    tcase_add_test(c, what_the_profile_takes_is_in_memstats);
    tcase_add_test(c, a_collection_at_each_allocation_loses_nothing);
    suite_add_tcase(s, c);
    return s;
}

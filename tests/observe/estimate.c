/* estimate.c - tests of a profile's figures at rates above 1: each is an estimate of what was
 * allocated, or lives.
 *
 * An object of s bytes is noted with probability p = 1 - exp(-s / rate), and stands for 1 / p
 * objects. What one stands for is exact. A sum has the mean of what was allocated, and the variance
 * of the sum of (1 - p) / p over all objects (times s^2 for bytes). As in sample.c, the tests ask
 * for less than 5 + 10 / sqrt(n) standard deviations, where n are expected to be noted. */
#include "find.h"
#include "observe/site.h"
#include "runtime/sample.h"
#include "tests/heap.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

Suite *suite_observe_estimate(void);

static const size_t rates[] = { 2, 100, 4096, 65536, 524288 };

static void start(size_t rate)
{
    test_seed("observe_estimate");
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(rate), 0);
    ck_assert_int_eq(oaki_sample_set_rate(rate, oaki_sites_hooks(), test_random() | 1), 0);
}

static double chance(size_t bytes, size_t rate)
{
    return -expm1(-(double)bytes / (double)rate);
}

/* ---- one ---- */

typedef struct total {
    uint64_t noted; /* and alive */
    oaki_site_figures f;
} total;

static total read_total(void)
{
    oaki_site_reading *r;
    total t = { .noted = 0 };
    long n = oaki_sites_read(&r);
    ck_assert_int_ge(n, 0);
    for (long i = 0; i < n; i++) {
        t.noted += r[i].live_samples;
        t.f.alloc_objects += r[i].now.alloc_objects;
        t.f.alloc_bytes += r[i].now.alloc_bytes;
        t.f.live_objects += r[i].now.live_objects;
        t.f.live_bytes += r[i].now.live_bytes;
    }
    free(r);
    return t;
}

/* To ten digits of all that was added up. */
static void assert_same(double is, double should, double sum)
{
    ck_assert_msg(fabs(is - should) <= 1e-10 * (fabs(sum) + 1), "%.17g for %.17g", is, should);
}

/* Objects of a size until one is noted; that misses one in e^40. */
static void note_one(size_t size, size_t rate)
{
    void *p = NULL;
    total before = read_total(), after = before;
    size_t bytes = 0, most = 10 + (size_t)(40 / chance(size, rate)), step = most / 40;
    for (size_t i = 0; i < most && after.noted == before.noted; i++) {
        p = oak_alloc_pinned(size);
        ck_assert_ptr_nonnull(p);
        bytes = oak_usable_size(p);
        if (i % step == 0) after = read_total();
    }
    ck_assert_uint_gt(after.noted, before.noted);
    double n = (double)(after.noted - before.noted) / chance(bytes, rate);
    const oaki_site_figures *a = &after.f, *b = &before.f;
    assert_same(a->alloc_objects - b->alloc_objects, n, a->alloc_objects);
    assert_same(a->live_objects - b->live_objects, n, a->live_objects);
    assert_same(a->alloc_bytes - b->alloc_bytes, n * (double)bytes, a->alloc_bytes);
    assert_same(a->live_bytes - b->live_bytes, n * (double)bytes, a->live_bytes);
}

START_TEST(what_is_noted_stands_for_what_is_not)
{
    size_t rate = rates[_i];
    start(rate);
    for (size_t size = 16; size < 12 * rate && size < ((size_t)4 << 20); size += size / 2)
        note_one(size, rate);
}
END_TEST

/* ---- many ---- */

typedef struct truth {
    double objects, bytes, var_objects, var_bytes, noted;
} truth;

static truth made, live;

static void expect(truth *t, size_t bytes, size_t rate)
{
    double s = (double)bytes, p = chance(bytes, rate);
    t->objects++;
    t->bytes += s;
    t->noted += p;
    t->var_objects += (1 - p) / p;
    t->var_bytes += s * s * (1 - p) / p;
}

/* Half of them at most the rate, half more: up to 64 times as much. None is so small that a single
 * one stands for more than the bound allows for all. */
static OAKI_NOINLINE void allocate_mixed(size_t n, size_t rate)
{
    for (size_t i = 0; i < n; i++) {
        size_t least = rate / 16;
        size_t size = i % 2 ? rate + test_size(63 * rate) : least + test_size(rate - least);
        void *p = oak_alloc_pinned(OAKI_MIN(size, (size_t)2 << 20));
        expect(&made, oak_usable_size(p), rate);
        if (i % 16 < 2)
            expect(&live, oak_usable_size(p), rate);
        else
            oak_free(p);
    }
    __asm__("");
}

static void assert_near(const char *what, const truth *t, int64_t objects, int64_t bytes)
{
    double bound = 5 + 10 / sqrt(t->noted);
    double by_count = fabs((double)objects - t->objects) / (sqrt(t->var_objects) + 1);
    double by_bytes = fabs((double)bytes - t->bytes) / (sqrt(t->var_bytes) + 1);
    printf("%s: %.0f should be noted; %.2f and %.2f standard deviations\n", what, t->noted,
           by_count, by_bytes);
    ck_assert_msg(by_count < bound, "%s: %lld objects for %.0f", what, (long long)objects,
                  t->objects);
    ck_assert_msg(by_bytes < bound, "%s: %lld bytes for %.0f", what, (long long)bytes, t->bytes);
}

START_TEST(a_profile_of_mixed_sizes_is_unbiased)
{
    size_t rate = rates[_i];
    start(rate);
    allocate_mixed(test_scale(rate > 10000 ? 4000 : 40000), rate);
    for (int collected = 0; collected < 2; collected++) {
        test_site s = test_sum("allocate_mixed", collected ? 0 : OAK_PROFILE_NOW);
        assert_near("made", &made, s.alloc_objects, s.alloc_bytes);
        assert_near("live", &live, s.inuse_objects, s.inuse_bytes);
        oak_collect();
    }
}
END_TEST

Suite *suite_observe_estimate(void)
{
    Suite *s = suite_create("observe_estimate");
    TCase *t = tcase_create("estimate");
    tcase_add_loop_test(t, what_is_noted_stands_for_what_is_not, 0, (int)OAKI_COUNT(rates));
    tcase_add_loop_test(t, a_profile_of_mixed_sizes_is_unbiased, 0, (int)OAKI_COUNT(rates));
    suite_add_tcase(s, t);
    return s;
}

/* sample.c - tests of runtime/sample.c: which objects are sampled, and that it is fair.
 *
 * An object of s bytes is noted with probability p = 1 - exp(-s / rate), objects independently of
 * each other. So an estimate that counts each noted object 1 / p times has the mean of what was
 * allocated, and its variance is the sum of (1 - p) / p over all objects (times s^2 for bytes). The
 * tests ask for less than 5 + 10 / sqrt(n) standard deviations, where n objects are expected to be
 * noted: 5 of a normal distribution are exceeded once in 1.7 million times, and a count of few has
 * a longer tail. */
#include "runtime/sample.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <math.h>
#include <stdio.h>

Suite *suite_observe_sample(void);

static size_t noted_objects; /* since the test began */
static double objects, bytes;

static void note(void *obj, size_t size, size_t rate)
{
    double p = rate > 1 ? -expm1(-(double)size / (double)rate) : 1;
    ck_assert_ptr_eq(oak_base(obj), obj);
    ck_assert_uint_eq(oak_usable_size(obj), size);
    noted_objects++;
    objects += 1 / p;
    bytes += (double)size / p;
}

static void nothing(void *obj) { (void)obj; }
static void nothing_much(void *obj, size_t size)
{
    (void)obj;
    (void)size;
}

static const oaki_sample_hooks hooks = { note, nothing, nothing_much };

static void set_rate(size_t rate)
{
    ck_assert_int_eq(oaki_sample_set_rate(rate, &hooks, test_random() | 1), 0);
}

static void start(void)
{
    test_seed("observe/sample");
    test_heap_start(test_config());
}

static void drop(void *p) { (void)p; }

/* ---- fairness ---- */

static struct {
    double objects, bytes, var_objects, var_bytes, noted;
} truth;

static void expect(const void *p, size_t rate)
{
    double s = (double)oak_usable_size(p), prob = rate > 1 ? -expm1(-s / (double)rate) : 1;
    truth.objects++;
    truth.bytes += s;
    truth.noted += prob;
    truth.var_objects += (1 - prob) / prob;
    truth.var_bytes += s * s * (1 - prob) / prob;
}

static double deviations(double is, double should, double variance)
{
    return variance > 0 ? fabs(is - should) / sqrt(variance) : is == should ? 0 : INFINITY;
}

static void assert_fair(size_t rate)
{
    double by_count = deviations(objects, truth.objects, truth.var_objects);
    double bound = 5 + 10 / sqrt(truth.noted);
    double by_bytes = deviations(bytes, truth.bytes, truth.var_bytes);
    printf("rate %zu: %zu noted; %.2f and %.2f standard deviations\n", rate, noted_objects,
           by_count, by_bytes);
    ck_assert_msg(by_count < bound, "objects: %.0f for %.0f", objects, truth.objects);
    ck_assert_msg(by_bytes < bound, "bytes: %.0f for %.0f", bytes, truth.bytes);
}

static const size_t rates[] = { 1, 100, 4096, 65536, 524288 };

/* Sizes of all orders up to 200 KB, kinds by turns. */
static void *allocate_any(size_t i)
{
    size_t n = test_size(i % 50 == 0 ? 200000 : 3000);
    void *p = i % 4 == 0   ? oak_alloc_noscan(n)
              : i % 4 == 1 ? oak_alloc_aligned(64, n)
              : i % 4 == 2 ? oak_alloc_pinned(n)
                           : oak_alloc(n);
    ck_assert_ptr_nonnull(p);
    return p;
}

START_TEST(estimates_are_unbiased_at_any_rate)
{
    set_rate(rates[_i]);
    for (size_t i = 0; i < test_scale(200000); i++) {
        void *p = allocate_any(i);
        expect(p, rates[_i]);
        if (i % 4 == 2) oak_free(p);
        if (i % 20000 == 0) oak_collect();
    }
    assert_fair(rates[_i]);
}
END_TEST

/* A run is cut in front of what will be noted, so what a flush gives back is known to be free of
 * it: the next distance must not know. Objects of many sizes make many runs that are flushed. */
START_TEST(flushes_do_not_favour_what_comes_after_them)
{
    size_t rate = rates[_i];
    set_rate(rate);
    for (size_t i = 0; i < test_scale(4000); i++) {
        for (size_t k = test_below(20); k > 0; k--)
            expect(oak_alloc(16 * (1 + test_below(8))), rate);
        oaki_thread *t = oaki_gc_stop_begin();
        oaki_gc_flush_caches();
        oaki_gc_stop_end(t);
    }
    assert_fair(rate);
}
END_TEST

START_TEST(a_rate_of_1_notes_every_object)
{
    set_rate(1);
    oak_memstats before = test_stats();
    for (size_t i = 0; i < test_scale(20000); i++) drop(allocate_any(i));
    oak_memstats after = test_stats();
    ck_assert_uint_eq(noted_objects, after.mallocs - before.mallocs);
    ck_assert(bytes == (double)(after.total_alloc - before.total_alloc));
}
END_TEST

/* ---- the rate ---- */

START_TEST(nothing_is_noted_when_it_is_off)
{
    for (size_t i = 0; i < 20000; i++) drop(oak_alloc(64));
    set_rate(1);
    drop(oak_alloc(64));
    ck_assert_uint_eq(noted_objects, 1);
    set_rate(0);
    for (size_t i = 0; i < 20000; i++) drop(oak_alloc(64));
    ck_assert_uint_eq(noted_objects, 1);
}
END_TEST

/* What a cache still has of a run is handed out under the new rate. */
START_TEST(a_new_rate_holds_from_the_next_object_on)
{
    drop(oak_alloc(64));
    for (size_t i = 0; i < 1000; i++) {
        bool on = test_below(2);
        set_rate(on);
        size_t had = noted_objects;
        for (size_t k = test_below(5); k > 0; k--, had += on) drop(oak_alloc(64));
        ck_assert_uint_eq(noted_objects, had);
    }
    test_assert_sound();
}
END_TEST

/* ---- a change while others allocate ---- */

static AO_t made;

static void note_from_threads(void *obj, size_t size, size_t rate)
{
    (void)obj;
    (void)rate;
    AO_fetch_and_add1(&made);
    ck_assert_uint_eq(size, 48);
}

static void *allocate(void *arg)
{
    size_t n = test_scale(200000);
    uint64_t *last = NULL;
    for (size_t i = 0; i < n; i++) {
        uint64_t *p = oak_alloc(48);
        if (last) test_expect(*last == i - 1, __LINE__);
        test_expect(*p == 0, __LINE__);
        *p = i;
        last = p;
    }
    return arg;
}

START_TEST(rates_change_while_threads_allocate)
{
    static const oaki_sample_hooks counting = { note_from_threads, nothing, nothing_much };
    pthread_t id[3];
    for (int i = 0; i < 3; i++) id[i] = test_start(allocate, NULL);
    for (size_t i = 0; i < 300; i++) {
        static const size_t some[] = { 0, 1, 4096 };
        ck_assert_int_eq(oaki_sample_set_rate(some[i % 3], &counting, 0), 0);
    }
    for (int i = 0; i < 3; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    test_assert_sound();
}
END_TEST

Suite *suite_observe_sample(void)
{
    Suite *s = suite_create("observe/sample");
    TCase *c = tcase_create("sample");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_loop_test(c, estimates_are_unbiased_at_any_rate, 0, (int)OAKI_COUNT(rates));
    tcase_add_loop_test(c, flushes_do_not_favour_what_comes_after_them, 0,
                        (int)OAKI_COUNT(rates) - 1);
    tcase_add_test(c, a_rate_of_1_notes_every_object);
    tcase_add_test(c, nothing_is_noted_when_it_is_off);
    tcase_add_test(c, a_new_rate_holds_from_the_next_object_on);
    tcase_add_test(c, rates_change_while_threads_allocate);
    suite_add_tcase(s, c);
    return s;
}

/* detector_programs.c - tests of the detector as a whole on programs that are healthy, of which it
 * must say nothing, and on twins that leak, which it must find within so many looks.
 *
 * A program does what it does in a second, or a minute, in one step; then it is looked at on
 * demand. So time is what the steps say, and nobody waits. Sequences that look random are the same
 * in each run. */
#include "gc/gc.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <math.h>
#include <oakum/detector.h>
#include <oakum/profile.h>
#include <stdio.h>
#include <string.h>

Suite *suite_observe_detector_programs(void);

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)
#define LOOKS 90

static void start(void)
{
    test_heap_start(test_config());
    test_once();
    oak_profile_set_rate(16 * KB);
}

static uint64_t sequence = 88172645463325252u;

static size_t below(size_t n)
{
    return (size_t)(test_draw(&sequence) % n);
}

/* ---- what programs hold ---- */

static void *slots[16384], *kept[16384];
TEST_LARGE(observe_detector_programs, slots)
TEST_LARGE(observe_detector_programs, kept)
static size_t used, ndeferred;
static oak_map *map;
static oak_classic_map *classic;
static oak_classic_iter iterators[64];

/* ---- running and looking ---- */

static void (*the_step)(size_t i);

static void call_step(void *arg)
{
    the_step((size_t)(uintptr_t)arg);
    /* who only stores to a static variable stores nothing, as far as the compiler knows */
    __asm__ __volatile__("" : : "r"(slots), "r"(kept), "r"(iterators) : "memory");
}

static oak_finding findings[300];
TEST_LARGE(observe_detector_programs, findings)

static const oak_finding *fault(oak_finding_kind kind)
{
    size_t n = oak_detector_findings(findings, OAKI_COUNT(findings));
    for (size_t i = 0; i < n && i < OAKI_COUNT(findings); i++)
        if (findings[i].severity != OAK_SEVERITY_NOTE &&
            (kind == OAK_FINDING_KINDS || (findings[i].active && findings[i].kind == kind)))
            return &findings[i];
    return NULL;
}

static void is_healthy(void (*step)(size_t i))
{
    the_step = step;
    for (size_t i = 0; i < LOOKS; i++) {
        test_away(call_step, (void *)(uintptr_t)i);
        ck_assert_int_ge(oak_detector_scan(), 0);
        const oak_finding *f = fault(OAK_FINDING_KINDS);
        ck_assert_msg(!f, "look %zu: %s: %s: %s", i + 1, f ? oak_finding_name(f->kind) : "",
                      f ? f->subject : "", f ? f->evidence : "");
    }
}

/* Of this kind, after `most` looks at most. */
static void leaks(void (*step)(size_t i), oak_finding_kind kind, size_t most, const char *what)
{
    the_step = step;
    for (size_t i = 0; i < most; i++) {
        test_away(call_step, (void *)(uintptr_t)i);
        ck_assert_int_ge(oak_detector_scan(), 0);
        if (!fault(kind)) continue;
        printf("%s: %s after %zu looks\n", what, oak_finding_name(kind), i + 1);
        return;
    }
    ck_abort_msg("%s: no %s in %zu looks", what, oak_finding_name(kind), most);
}

/* ---- steps ---- */

static void OAKI_NOINLINE keep(size_t bytes)
{
    for (size_t done = 0; done < bytes; done += 8 * KB)
        kept[ndeferred++] = oak_alloc_noscan(8 * KB);
}

/* Slots 0 to n - 1 have something, the others nothing. */
static void OAKI_NOINLINE hold(size_t n, size_t bytes)
{
    for (; used < n; used++) slots[used] = oak_alloc_noscan(bytes);
    while (used > n) slots[--used] = NULL;
}

static void OAKI_NOINLINE replace(size_t n, size_t of, size_t bytes)
{
    for (size_t k = 0; k < n; k++) slots[below(of)] = oak_alloc_noscan(bytes);
}

/* ---- healthy ---- */

static void cache_ramps_up(size_t i)
{
    (void)i;
    replace(1500, 4096, 2000);
}

START_TEST(a_cache_that_ramps_up_is_healthy)
{
    is_healthy(cache_ramps_up);
}
END_TEST

static void batch(size_t i)
{
    hold(500 + i % 6 * 500, 2000);
}

START_TEST(batches_that_come_and_go_are_healthy)
{
    is_healthy(batch);
}
END_TEST

static void slow_start(size_t i)
{
    hold((size_t)(8000 * (1 - exp(-(double)i / 6))), 2000);
}

START_TEST(a_slow_start_that_levels_off_is_healthy)
{
    is_healthy(slow_start);
}
END_TEST

static pthread_t threads[400];
static size_t nthreads;

static void start_threads(size_t n)
{
    while (n-- > 0) threads[nthreads++] = test_start(test_stand, NULL);
    test_wait(&test_standing, nthreads);
}

static void end_threads(void)
{
    AO_store_release(&test_go, 1);
    while (nthreads > 0) test_join(threads[--nthreads]);
}

static void thread_pool(size_t i)
{
    (void)i;
    start_threads(nthreads < 32 ? 4 : 0);
    replace(400, 1000, 2000);
}

START_TEST(a_thread_pool_that_grows_to_its_limit_is_healthy)
{
    is_healthy(thread_pool);
    end_threads();
}
END_TEST

static void queue(size_t i)
{
    size_t arrive = below(5) == 0 ? 4000 : below(400), serves = 2000;
    (void)i;
    hold(OAKI_MIN(used + arrive, OAKI_COUNT(slots)), 1000);
    hold(used > serves ? used - serves : 0, 1000);
}

START_TEST(a_queue_with_bursts_is_healthy)
{
    for (int run = 0; run < 5; run++) {
        ck_assert_int_eq(oak_detector_prepare(NULL), 0);
        is_healthy(queue);
    }
}
END_TEST

/* Appended to, until half of it is dead; then what lives is written anew. */
static void log_structured(size_t i)
{
    (void)i;
    hold(used < 2000 ? 2000 : used + 350, 2000);
    if (used >= 4000) {
        hold(0, 0);
        hold(2000, 2000);
    }
}

START_TEST(a_log_that_is_rewritten_is_healthy)
{
    is_healthy(log_structured);
}
END_TEST

/* What a session has lives for eight steps. */
static void sessions(size_t i)
{
    size_t at = i % 8 * 500;
    for (size_t k = 0; k < 500; k++)
        slots[at + k] = k < 400 + below(100) ? oak_alloc_noscan(2000) : NULL;
}

START_TEST(sessions_with_a_time_to_live_are_healthy)
{
    is_healthy(sessions);
}
END_TEST

static void put_both(uint64_t key)
{
    *(uint64_t *)oak_map_put(map, &key) = key;
    *(uint64_t *)oak_classic_put(classic, &key) = key;
}

static void fill_once_then_use(size_t i)
{
    if (i == 0) {
        map = oak_map_new(&oak_map_u64_u64, 0);
        classic = oak_classic_new(&oak_classic_int_int, 0);
    }
    for (uint64_t k = 0; i < 4 && k < 50000; k++) put_both(i * 50000 + k);
    for (uint64_t k = 0; i >= 4 && k < 5000; k++) {
        uint64_t key = below(200000);
        oak_map_delete(map, &key);
        oak_classic_delete(classic, &key);
        put_both(key);
    }
}

START_TEST(maps_that_are_filled_once_and_then_used_are_healthy)
{
    is_healthy(fill_once_then_use);
}
END_TEST

/* ---- leaks ---- */

/* 32 MiB that are replaced all the time; and what is lost in a minute is a hundredth of them. */
static size_t lost;

static void one_percent(size_t i, size_t a_look)
{
    if (i == 0) hold(16384, 2 * KB);
    replace(500, 16384, 2 * KB);
    for (lost += a_look; lost >= 8 * KB; lost -= 8 * KB) keep(8 * KB);
}

static void one_percent_a_minute(size_t i)
{
    one_percent(i, 32 * MB / 100);
}

START_TEST(one_percent_a_minute_looked_at_each_minute)
{
    leaks(one_percent_a_minute, OAK_FINDING_HEAP_GROWTH, 14, "1 % a minute, a look a minute");
}
END_TEST

static void one_percent_in_seconds(size_t i)
{
    one_percent(i, 32 * MB / 100 / 60);
}

START_TEST(one_percent_a_minute_looked_at_each_second)
{
    leaks(one_percent_in_seconds, OAK_FINDING_HEAP_GROWTH, 480, "1 % a minute, a look a second");
}
END_TEST

static void bursts(size_t i)
{
    replace(4096, 1024, 2 * KB);
    if (i % 7 == 6) keep(3 * MB);
}

START_TEST(a_leak_in_bursts)
{
    leaks(bursts, OAK_FINDING_SITE_GROWTH, 40, "3 MiB every seventh look");
    ck_assert_ptr_nonnull(strstr(fault(OAK_FINDING_SITE_GROWTH)->subject, "keep"));
}
END_TEST

static void leak_beside_batches(size_t i)
{
    batch(i);
    keep(256 * KB);
}

START_TEST(a_leak_beside_batches)
{
    leaks(leak_beside_batches, OAK_FINDING_SITE_GROWTH, 24, "256 KiB a look beside batches");
    ck_assert_ptr_nonnull(strstr(fault(OAK_FINDING_SITE_GROWTH)->subject, "keep"));
}
END_TEST

static void more_keys(size_t i)
{
    if (i == 0) {
        map = oak_map_new(&oak_map_u64_u64, 0);
        classic = oak_classic_new(&oak_classic_int_int, 0);
    }
    for (uint64_t k = 0; k < 10000; k++) put_both(i * 10000 + k);
    for (uint64_t k = 0; k < 2000; k++) {
        uint64_t gone = i * 10000 + k;
        oak_map_delete(map, &gone);
        oak_classic_delete(classic, &gone);
    }
}

START_TEST(a_key_set_that_grows)
{
    leaks(more_keys, OAK_FINDING_MAP_GROWTH, 14, "8,000 keys a look");
    leaks(more_keys, OAK_FINDING_HEAP_GROWTH, 30, "8,000 keys a look, further on");
}
END_TEST

static void more_threads(size_t i)
{
    (void)i;
    start_threads(2);
}

START_TEST(threads_that_are_never_joined)
{
    leaks(more_threads, OAK_FINDING_THREAD_GROWTH, 14, "2 threads a look");
    end_threads();
}
END_TEST

/* A table is made anew each time; one range over the old one stops half-way, and is kept. */
static void stuck_iterator(size_t i)
{
    classic = oak_classic_new(&oak_classic_int_int, 0);
    for (int64_t k = 0; k < 20000; k++) *(int64_t *)oak_classic_put(classic, &k) = k;
    oak_classic_iter_init(&iterators[i], classic);
    ck_assert(oak_classic_iter_next(&iterators[i]));
}

START_TEST(iterators_that_never_end)
{
    leaks(stuck_iterator, OAK_FINDING_HEAP_GROWTH, 14, "an iterator a look, 20,000 entries");
}
END_TEST

/* ---- looks in quick succession ---- */

static void fill_in_a_moment(void *arg)
{
    map = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t k = 0; k < (uintptr_t)arg; k++) *(void **)oak_map_put(map, &k) = oak_alloc(64);
}

static uint64_t told(void)
{
    oak_detector_stats s;
    oak_detector_stats_read(&s);
    return s.raised[OAK_FINDING_MAP_GROWTH] + s.raised[OAK_FINDING_HEAP_GROWTH];
}

/* After each collection, of which there are many while a map is filled: that is no growth, as it
 * takes less than the pace; unless there is none. */
START_TEST(what_takes_a_moment_is_no_growth_however_many_looks_it_has)
{
    for (int pace = 600000; pace >= 0; pace -= 600000) {
        oak_detector_config cfg;
        oak_detector_stats s = { 0 };
        oak_detector_config_default(&cfg);
        cfg.interval_ms = 0;
        cfg.pace_ms = pace;
        ck_assert_int_eq(oak_detector_start(&cfg), 0);
        oak_set_gc_percent(20);
        for (size_t n = 2000; n < 60000; n += n / 8) { /* to a size: a fill may have more looks */
            test_away(fill_in_a_moment, (void *)(uintptr_t)n);
            uint64_t before = s.looks;
            oak_collect();
            for (int wait = 0; s.looks == before && wait < 2000; wait++) {
                oaki_os_sleep_ns(1000000);
                oak_detector_stats_read(&s);
            }
        }
        ck_assert_uint_ge(s.looks, 20);
        ck_assert_msg(pace ? told() == 0 : told() > 0, "pace %d ms: %u looks", pace,
                      (unsigned)s.looks);
        oak_detector_stop();
    }
}
END_TEST

Suite *suite_observe_detector_programs(void)
{
    Suite *s = suite_create("observe/detector_programs");
    TCase *c = tcase_create("healthy");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_cache_that_ramps_up_is_healthy);
    tcase_add_test(c, batches_that_come_and_go_are_healthy);
    tcase_add_test(c, a_slow_start_that_levels_off_is_healthy);
    tcase_add_test(c, a_thread_pool_that_grows_to_its_limit_is_healthy);
    tcase_add_test(c, a_queue_with_bursts_is_healthy);
    tcase_add_test(c, a_log_that_is_rewritten_is_healthy);
    tcase_add_test(c, sessions_with_a_time_to_live_are_healthy);
    tcase_add_test(c, maps_that_are_filled_once_and_then_used_are_healthy);
    tcase_add_test(c, what_takes_a_moment_is_no_growth_however_many_looks_it_has);
    suite_add_tcase(s, c);
    c = tcase_create("leaks");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, one_percent_a_minute_looked_at_each_minute);
    tcase_add_test(c, one_percent_a_minute_looked_at_each_second);
    tcase_add_test(c, a_leak_in_bursts);
    tcase_add_test(c, a_leak_beside_batches);
    tcase_add_test(c, a_key_set_that_grows);
    tcase_add_test(c, threads_that_are_never_joined);
    tcase_add_test(c, iterators_that_never_end);
    suite_add_tcase(s, c);
    return s;
}

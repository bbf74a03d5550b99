/* scavenge.c - tests of runtime/scavenge.c: after a peak, memory goes back to the system.
 *
 * What counts is the memory of the process as the kernel sees it, tables and all: within a tenth of
 * what is live, and 8 MiB. */
#include "runtime/collector.h"
#include "runtime/os.h"
#include "runtime/track.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

Suite *suite_runtime_scavenge(void);

#define MB ((size_t)1 << 20)

/* What the process may have more of: AddressSanitizer has a byte for every eight, Valgrind one for
 * every four, of the 64 MiB that a test then has, and they keep those. */
#ifdef OAKI_ASAN
#define SLACK (24 * MB)
#else
#define SLACK ((getenv("UNDER_VALGRIND") ? 24 : 8) * MB)
#endif

static void **table; /* outside the heap; a root */
static size_t table_n, rss_before, live;

static void start(bool huge)
{
    oak_config c = test_config();
    c.huge_pages = huge;
    test_heap_start(c);
}

static void hold_table(size_t n)
{
    table_n = n;
    table = calloc(n, sizeof *table);
    memset(table, 0, n * sizeof *table);
    for (size_t i = 0; i < n; i++) table[i] = &table;
    ck_assert_int_eq(oak_root_add(table, n * sizeof *table), 0);
    (void)!oak_alloc(1);
    oak_collect();
    rss_before = test_rss();
}

static void fill(size_t bytes, size_t least, size_t most)
{
    size_t total = 0, i = 0;
    for (; total < bytes && i < table_n; i++) {
        size_t n = least + test_below(most - least + 1);
        if (!(table[i] = oak_alloc_noscan(n))) ck_abort_msg("out of memory");
        memset(table[i], 0x11, n);
        total += oak_usable_size(table[i]);
    }
    ck_assert_uint_ge(total, bytes);
    for (; i < table_n; i++) table[i] = NULL;
}

static void assert_returned(void)
{
    size_t now = test_rss(), grown = now > rss_before ? now - rss_before : 0;
    oak_memstats s = test_stats();
    live = s.heap_alloc;
    ck_assert_msg(grown <= live + live / 10 + SLACK, "%zu MB live, %zu MB more than before",
                  live / MB, grown / MB);
    ck_assert_uint_eq(s.heap_released, s.heap_idle);
    test_assert_sound();
}

/* A gibibyte for the first, and for all of them in the long version. */
static size_t peak(bool first)
{
    if (test_slow()) return 64 * MB;
    return first || test_scale(1) > 1 ? (size_t)1 << 30 : (size_t)200 << 20;
}

/* ---- after a collection ---- */

START_TEST(a_gibibyte_of_garbage_goes_back)
{
    static const struct {
        size_t least, most;
        bool huge;
    } shapes[] = { { 16, 2000, true }, { 16, 2000, false }, { 1000, 30000, false },
                   { 100000, 5000000, true } };
    test_seed("runtime/scavenge");
    size_t bytes = peak(_i == 0);
    start(shapes[_i].huge);
    hold_table(bytes / ((shapes[_i].least + shapes[_i].most) / 4));
    fill(bytes, shapes[_i].least, shapes[_i].most);
    ck_assert_uint_ge(test_rss(), rss_before + bytes);
    memset(table, 0, table_n * sizeof *table);
    oak_collect();
    ck_assert_uint_gt(oak_scavenge(), bytes - 4 * MB);
    assert_returned();
    ck_assert_uint_le(live, 100000);
    ck_assert_uint_eq(oak_scavenge(), 0);
    fill(bytes / 16, shapes[_i].least, shapes[_i].most); /* and it can be used again */
}
END_TEST

/* Long stretches, so that few spans hold both. */
START_TEST(what_is_live_stays_and_the_rest_goes)
{
    test_seed("runtime/scavenge");
    start(true);
    hold_table(peak(false) / 250);
    fill(peak(false), 16, 2000);
    for (size_t i = 0; i < table_n; i++)
        if (i * 50 / table_n % 8) table[i] = NULL;
    oak_collect();
    oak_scavenge();
    assert_returned();
    ck_assert_uint_ge(live, peak(false) / 10);
    for (size_t i = 0; i < table_n; i++)
        if (table[i] && *(char *)table[i] != 0x11) ck_abort_msg("object %zu was changed", i);
}
END_TEST

/* ---- without a collection ---- */

START_TEST(what_was_freed_by_hand_goes_back)
{
    test_seed("runtime/scavenge");
    start(true);
    hold_table(peak(false) / 250);
    fill(peak(false), 16, 2000);
    for (size_t i = 0; i < table_n; i++) {
        oak_free(table[i]);
        table[i] = NULL;
    }
    oak_scavenge();
    assert_returned();
    ck_assert_uint_le(live, 100000);
    fill(peak(false) / 16, 16, 2000);
    test_assert_sound();
}
END_TEST

/* ---- beside everything else ---- */

static AO_t stop;

/* As the background scavenger does it: on a thread that no stop halts. */
static void *scavenge_all_the_time(void *arg)
{
    while (!AO_load_acquire(&stop)) {
        oaki_scavenge_step(test_below(4) ? 2 * MB : SIZE_MAX, 1);
        oaki_os_yield();
    }
    return arg;
}

START_TEST(collections_and_scavenging_do_not_meet)
{
    test_seed("runtime/scavenge");
    start(false);
    oaki_debug_switches.verify = 1;
    hold_table(200);
    pthread_t id = test_start(scavenge_all_the_time, NULL);
    for (size_t i = 0, n = test_scale(2000); i < n; i++) {
        size_t k = i * 7919 % 200, size = 1 + i * 104729 % (i % 9 ? 9000 : 1000000);
        table[k] = i % 5 ? oak_alloc(size) : oak_alloc_pinned(size);
        ck_assert(test_is_zero(table[k], size));
        if (i % 5 == 0) oak_free(table[(k + 1) % 200] == &table ? NULL : table[k]), table[k] = NULL;
        if (i % 10 == 0) oak_collect();
        if (i % 100 == 0) test_assert_sound();
    }
    AO_store_release(&stop, 1);
    test_join(id);
}
END_TEST

START_TEST(the_background_returns_what_is_not_used)
{
    oak_config c = test_config();
    test_seed("runtime/scavenge");
    c.scavenge = 1;
    c.decay_ms = _i * 80; /* 0: at once */
    c.gc_percent = 100;
    test_heap_start(c);
    hold_table(2000);
    fill(100 * MB, 50000, 150000);
    memset(table, 0, table_n * sizeof *table);
    oak_collect();
    while (test_stats().heap_retained > MB) oaki_os_sleep_ns(5000000);
    test_assert_sound();
}
END_TEST

/* ---- decay: the test moves the time ---- */

static size_t retained(void)
{
    return test_stats().heap_retained;
}

static size_t pass(unsigned ticks)
{
    size_t released = 0;
    while (ticks-- > 0) released += oaki_scavenge_tick();
    return released;
}

static void *used_and_freed(size_t bytes)
{
    void *p = oak_alloc_noscan(bytes);
    if (!p) ck_abort_msg("out of memory");
    memset(p, 1, bytes);
    oak_free(p);
    return p;
}

START_TEST(what_is_free_for_the_decay_time_goes_back)
{
    start(false);
    (void)!oak_alloc_pinned(100);
    used_and_freed(40 * MB);
    ck_assert_uint_eq(pass(OAKI_DECAY_TICKS), 0);
    ck_assert_uint_ge(retained(), 40 * MB);
    /* what was taken within the decay time is kept, up to the goal; then nothing */
    (void)pass(OAKI_DECAY_TICKS + 1);
    ck_assert_uint_lt(retained(), MB);
    test_assert_sound();
    ck_assert_uint_eq(pass(3 * OAKI_DECAY_TICKS), 0);
}
END_TEST

START_TEST(what_is_used_within_the_decay_time_stays)
{
    start(false);
    (void)!oak_alloc_pinned(100);
    for (int round = 0; round < 10; round++) {
        used_and_freed(40 * MB);
        ck_assert_uint_eq(pass(OAKI_DECAY_TICKS - 1), 0);
    }
    ck_assert_uint_ge(retained(), 40 * MB);
}
END_TEST

/* The run that is used has the most memory; the others are not, and go. */
START_TEST(what_is_used_does_not_keep_the_rest)
{
    enum { N = 32 };
    void *small[2 * N];
    start(false);
    for (int i = 0; i < 2 * N; i++) memset(small[i] = oak_alloc_noscan(MB), 1, MB);
    for (int round = 0; round < 4; round++) {
        used_and_freed(60 * MB);
        if (round == 0)
            for (int i = 0; i < N; i++) oak_free(small[2 * i]);
        (void)pass(OAKI_DECAY_TICKS - 1);
    }
    size_t left = retained();
    ck_assert_uint_ge(left, 60 * MB);
    ck_assert_uint_lt(left, 64 * MB);
    ck_assert_ptr_nonnull(small[1]);
    test_assert_sound();
}
END_TEST

/* No faults but those of the first round: what is counted is pages of memory given back, and the
 * kernel's count of faults. */
static void fill_and_clear(oak_map *m)
{
    enum { N = 200000 };
    for (uint64_t i = 0; i < N; i++) {
        uint64_t key = i * 0x9e3779b97f4a7c15u, *v = oak_map_put(m, &key);
        ck_assert_ptr_nonnull(v);
        *v = i;
    }
    oak_map_clear(m);
}

static long faults(void)
{
    struct rusage u;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_minflt;
}

START_TEST(a_map_that_is_filled_again_and_again_faults_once)
{
    long before = 0;
    size_t released = 0;
    if (test_skip_slow()) return;
    oak_config c = test_config();
    c.gc_percent = 100;
    test_heap_start(c);
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    long first = faults();
    for (int round = 0; round < 10; round++) {
        fill_and_clear(m);
        if (round == 0) first = faults() - first;
        if (round == 1) before = faults();
        released += pass(OAKI_DECAY_TICKS / 2);
    }
    ck_assert_int_ge(first, 500);
    ck_assert_uint_eq(released, 0);
    ck_assert_int_lt(faults() - before, 100);
}
END_TEST

START_TEST(a_heap_keeps_what_its_next_cycle_needs)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    test_heap_start(c);
    hold_table(2000);
    fill(50 * MB, 50000, 150000);
    oak_collect();
    for (int i = 0; i < 60; i++) used_and_freed(MB);
    size_t goal = test_stats().next_gc;
    ck_assert_uint_ge(goal, 90 * MB);
    used_and_freed(45 * MB);
    (void)pass(OAKI_DECAY_TICKS - 1);
    for (int i = 0; i < 60; i++) used_and_freed(MB); /* so much was taken lately */
    (void)pass(2);
    ck_assert_uint_ge(retained(), 40 * MB);
    (void)pass(OAKI_DECAY_TICKS + 1);
    ck_assert_uint_lt(retained(), 2 * MB);
}
END_TEST

/* ---- near the limit ---- */

START_TEST(near_the_memory_limit_it_goes_back_at_once)
{
    enum { LIMIT = 64 };
    void *held[LIMIT];
    start(false);
    (void)!oak_alloc_pinned(100);
    for (int i = 0; i < 40; i++) held[i] = oak_alloc_noscan(MB);
    for (int i = 0; i < 40; i++) memset(held[i], 1, MB);
    for (int i = 0; i < 40; i += 2) oak_free(held[i]);
    size_t free = retained();
    ck_assert_uint_ge(free, 20 * MB);
    oak_set_memory_limit(LIMIT * MB);
    ck_assert_uint_eq(retained(), free); /* there is room for it */
    void *large = oak_alloc_noscan(36 * MB); /* in fresh memory, as no free run is that long */
    ck_assert_uint_lt(retained(), 8 * MB);
    size_t all = test_stats().heap_inuse + retained();
    ck_assert_uint_le(all, LIMIT * MB);
    oak_set_memory_limit(all - MB);
    ck_assert_uint_lt(retained(), MB); /* at once, too */
    ck_assert_ptr_nonnull(large);
    ck_assert_ptr_nonnull(held[1]);
    test_assert_sound();
}
END_TEST

/* ---- its thread ---- */

static bool has_scavenger(void)
{
    return test_threads_named("oakum/scavenge") > 0;
}

/* It gives itself its name, after pthread_create has returned. */
static void wait_for_scavenger(void)
{
    while (!has_scavenger()) oaki_os_yield();
}

/* On a thread of its own, whose stack goes with it. */
static void allocate_and_free(void *by_hand)
{
    void *p = oak_alloc_noscan(256 * MB); /* beyond any goal: all data of the program counts */
    if (!p) ck_abort_msg("out of memory");
    if (by_hand) oak_free(p);
}

static void free_or_collect(void *by_hand)
{
    test_away(allocate_and_free, by_hand);
    if (!by_hand) oak_collect();
}

static void use_in_child(void *by_hand)
{
    if (has_scavenger()) _exit(1);
    free_or_collect(by_hand);
    wait_for_scavenger();
}

/* As little is free as a small program has. */
/* Until its time stands still. */
static void await_sleep(void)
{
    AO_t seen = 0;
    for (AO_t now; (now = AO_load(&oaki_the_heap.decay_tick)) != seen; seen = now)
        oaki_os_sleep_ns(400000000);
}

START_TEST(it_sleeps_for_good_and_is_woken)
{
    oak_config c = test_config();
    c.scavenge = 1;
    c.decay_ms = 80;
    test_heap_start(c);
    for (int round = 0; round < 2; round++) {
        free_or_collect(NULL);
        wait_for_scavenger();
        while (retained() > MB) oaki_os_sleep_ns(5000000);
        await_sleep();
        ck_assert(has_scavenger());
    }
}
END_TEST

START_TEST(no_thread_comes_for_little)
{
    oak_config c = test_config();
    c.scavenge = 1;
    c.decay_ms = 0;
    c.gc_percent = 100;
    test_heap_start(c);
    for (int i = 0; i < 50; i++) {
        used_and_freed(7 * MB);
        oak_collect();
    }
    ck_assert(!has_scavenger());
}
END_TEST

static void exit_beside_it(void *arg)
{
    (void)arg;
    used_and_freed(64 * MB);
    wait_for_scavenger();
    exit(0);
}

START_TEST(it_holds_up_no_exit)
{
    oak_config c = test_config();
    c.scavenge = 1;
    c.decay_ms = _i;
    test_heap_start(c);
    test_child(exit_beside_it, NULL);
}
END_TEST

/* The child has the memory that its parent has freed, and returns it. */
static void decay_in_child(void *arg)
{
    (void)arg;
    ck_assert_uint_ge(retained(), 40 * MB);
    (void)pass(2 * OAKI_DECAY_TICKS + 2);
    ck_assert_uint_lt(retained(), MB);
    test_assert_sound();
}

START_TEST(a_child_returns_what_its_parent_freed)
{
    start(false);
    (void)!oak_alloc_pinned(100);
    used_and_freed(40 * MB);
    (void)pass(1);
    test_child(decay_in_child, NULL);
    ck_assert_uint_ge(retained(), 40 * MB);
}
END_TEST

START_TEST(its_thread_comes_when_there_is_something_to_do)
{
    oak_config c = test_config();
    c.scavenge = 1;
    c.gc_percent = 100;
    test_heap_start(c);
    /* the large object is not to lie where the heap begins, an address that stacks are full of */
    ck_assert_ptr_nonnull(oak_alloc_pinned(100));
    oak_collect();
    ck_assert(!has_scavenger());
    test_child(use_in_child, NULL);
    free_or_collect(_i ? &c : NULL);
    wait_for_scavenger();
    test_child(use_in_child, &c);
}
END_TEST

Suite *suite_runtime_scavenge(void)
{
    Suite *s = suite_create("runtime/scavenge");
    TCase *c = tcase_create("scavenge");
    tcase_add_loop_test(c, a_gibibyte_of_garbage_goes_back, 0, 4);
    tcase_add_test(c, what_is_live_stays_and_the_rest_goes);
    tcase_add_test(c, what_was_freed_by_hand_goes_back);
    tcase_add_test(c, collections_and_scavenging_do_not_meet);
    tcase_add_loop_test(c, the_background_returns_what_is_not_used, 0, 2);
    tcase_add_test(c, what_is_free_for_the_decay_time_goes_back);
    tcase_add_test(c, what_is_used_within_the_decay_time_stays);
    tcase_add_test(c, it_sleeps_for_good_and_is_woken);
    tcase_add_test(c, what_is_used_does_not_keep_the_rest);
    tcase_add_test(c, a_map_that_is_filled_again_and_again_faults_once);
    tcase_add_test(c, a_heap_keeps_what_its_next_cycle_needs);
    tcase_add_test(c, near_the_memory_limit_it_goes_back_at_once);
    tcase_add_test(c, no_thread_comes_for_little);
    tcase_add_loop_test(c, it_holds_up_no_exit, 0, 2);
    tcase_add_test(c, a_child_returns_what_its_parent_freed);
    tcase_add_loop_test(c, its_thread_comes_when_there_is_something_to_do, 0, 2);
    suite_add_tcase(s, c);
    return s;
}

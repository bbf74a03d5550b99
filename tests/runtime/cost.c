/* cost.c - tests of runtime/cost.c and costprobe.c: what is measured, forced, noted, and measured
 * again; and the variable OAKUM_HOST. */
#include "runtime/cost.h"

#include "runtime/costprobe.h"
#include "runtime/dirty.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"

#include <check.h>
#include <oakum/heap.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

Suite *suite_runtime_cost(void);

static void setup(void)
{
    test_heap_start(test_config());
}

/* On a busy machine a probe's time may be over before it has measured all. */
static void probe_until_known(oaki_cost c)
{
    for (int i = 0; i < 1000 && oaki_cost_of(c) == 0; i++) {
        oaki_cost_doubt();
        oaki_cost_probe();
    }
    ck_assert_uint_gt(oaki_cost_of(c), 0);
}

START_TEST(a_probe_measures_each_cost)
{
    setup();
    bool untracked = test_skip_untracked();
    ck_assert(!oaki_cost_known());
    oaki_cost_probe();
    ck_assert(oaki_cost_known());
    ck_assert_uint_gt(oaki_cost_of(OAKI_COST_fresh), 0);
    probe_until_known(OAKI_COST_wake);
    if (untracked || oaki_the_heap.config.tracking == OAK_TRACKING_FAULTS) return;
    probe_until_known(OAKI_COST_write);
    probe_until_known(OAKI_COST_protect);
    probe_until_known(OAKI_COST_ask);
}
END_TEST

static size_t mapped_kb(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert(f && fscanf(f, "%zu", &pages) == 1);
    fclose(f);
    return pages * (oaki_os_page_size() / 1024);
}

/* Its own memory is given back; libc keeps up to 40 MiB of stacks of its threads. */
START_TEST(a_probe_leaves_no_memory)
{
    setup();
    (void)test_written_start();
    oaki_cost_probe();
    size_t before = mapped_kb();
    for (int i = 0; i < 60; i++) {
        oaki_cost_doubt();
        oaki_cost_probe();
    }
    ck_assert_uint_le(mapped_kb(), before + (50 << 10));
}
END_TEST

START_TEST(what_is_forced_stays)
{
    setup();
    oaki_cost_force(OAKI_COST_fresh, 5);
    oaki_cost_force(OAKI_COST_write, 0);
    oaki_cost_probe();
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_fresh), 5);
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_write), 0);
    oaki_cost_note(OAKI_COST_fresh, 77);
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_fresh), 5);
}
END_TEST

/* A stop that was held up changes little; many change what is known. */
START_TEST(stops_are_averaged)
{
    setup();
    oaki_cost_note(OAKI_COST_stop, 8000);
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_stop), 8000);
    oaki_cost_note(OAKI_COST_stop, 80000);
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_stop), 17000);
    for (int i = 0; i < 100; i++) oaki_cost_note(OAKI_COST_stop, 800);
    ck_assert_uint_le(oaki_cost_of(OAKI_COST_stop), 820);
    oaki_cost_note(OAKI_COST_stop, UINT64_C(3600000000000)); /* the clock has jumped */
    ck_assert_uint_le(oaki_cost_of(OAKI_COST_stop), 3000);
    for (int i = 0; i < 20; i++) oaki_cost_note(OAKI_COST_stop, 800);
    ck_assert_uint_le(oaki_cost_of(OAKI_COST_stop), 1000);
}
END_TEST

/* ---- a clock that is played ---- */

#define STEP 11200 /* ns from a reading to the next: 700 an operation in batches of 16 */

static uint64_t played_ns, step_ns = STEP;
static int readings, late_at, held_at;

/* The probe is late from one reading on, and is interrupted at another. */
static uint64_t played_clock(void)
{
    readings++;
    played_ns += step_ns;
    if (readings == late_at) played_ns += 1300000;
    if (readings == held_at) played_ns += 100000;
    return played_ns;
}

static size_t write_by_played_clock(int late, int held)
{
    readings = 0;
    late_at = late;
    held_at = held;
    oaki_cost_doubt();
    oaki_cost_probe();
    return oaki_cost_of(OAKI_COST_write);
}

/* One interruption makes no cheap host dear, though there is little time. */
START_TEST(a_late_probe_that_is_interrupted_measures_again)
{
    setup();
    oaki_cost_force(OAKI_COST_wake, 1000);
    if (test_skip_untracked() || oaki_dirty_denies()) return;
    oaki_cost_clock = played_clock;
    for (int held = 1; held < 40; held++) {
        ck_assert_uint_eq(write_by_played_clock(0, held), STEP / 16);
        ck_assert_uint_eq(write_by_played_clock(3, held), STEP / 16);
    }
}
END_TEST

static size_t most_kb;

static uint64_t watching_clock(void)
{
    most_kb = OAKI_MAX(most_kb, mapped_kb());
    return played_clock();
}

/* However slow the machine is, a debugger say: one batch of each kind is measured. */
START_TEST(a_probe_keeps_to_its_time_and_memory)
{
    static const uint64_t steps[] = { 1000, 11200, 100000, 1000000, 100000000 };
    enum { FEW = 16, MOST_NS = 3000000, MOST_KB = 4 << 10 };
    setup();
    oaki_cost_force(OAKI_COST_wake, 1000); /* no thread, whose stack would count */
    (void)test_written_start();
    oaki_cost_clock = watching_clock;
    for (size_t i = 0; i < OAKI_COUNT(steps); i++) {
        step_ns = steps[i];
        uint64_t begun = played_ns;
        size_t before = most_kb = mapped_kb();
        (void)write_by_played_clock(0, 0);
        ck_assert_uint_le(played_ns - begun, MOST_NS + FEW * step_ns);
        if (i > 0) ck_assert_uint_le(most_kb, before + MOST_KB);
        ck_assert_uint_ge(most_kb, before + MOST_KB / 2);
    }
}
END_TEST

static uint64_t backwards(void)
{
    return played_ns -= 1000;
}

/* No figure is what a difference wraps around to. */
START_TEST(a_clock_that_goes_back_tells_nothing)
{
    setup();
    (void)test_written_start();
    oaki_cost_clock = backwards;
    played_ns = UINT64_C(1) << 62;
    oaki_cost_probe();
    for (oaki_cost c = 0; c < OAKI_COST_ALL; c++) ck_assert_uint_eq(oaki_cost_of(c), 0);
}
END_TEST

/* A thread whose answer comes too late is left, and no other one is asked meanwhile. */
START_TEST(a_thread_that_is_late_is_left)
{
    setup();
    oaki_cost_clock = played_clock;
    for (int i = 0; i < 50; i++) (void)write_by_played_clock(20 + i, 0);
    oaki_cost_clock = oaki_os_now_ns;
    probe_until_known(OAKI_COST_wake);
}
END_TEST

static void *probe(void *arg)
{
    oaki_cost_probe();
    ck_assert(oaki_cost_known());
    return arg;
}

START_TEST(several_threads_probe_once)
{
    setup();
    for (int round = 0; round < 20; round++) {
        pthread_t t[4];
        for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&t[i], NULL, probe, NULL), 0);
        for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
        oaki_cost_doubt();
    }
}
END_TEST

static void *doubt_often(void *arg)
{
    for (int i = 0; i < 20; i++) {
        oaki_cost_doubt();
        oaki_cost_probe();
        ck_assert(oaki_cost_known());
    }
    return arg;
}

/* Two that measured at once would take each other's thread for their own. */
START_TEST(threads_that_doubt_measure_one_at_a_time)
{
    pthread_t t[6];
    setup();
    oaki_cost_probe();
    for (int i = 0; i < 6; i++) ck_assert_int_eq(pthread_create(&t[i], NULL, doubt_often, NULL), 0);
    for (int i = 0; i < 6; i++) pthread_join(t[i], NULL);
    oaki_cost_probe();
    ck_assert(!oaki_cost_is_stale());
}
END_TEST

static unsigned stopping;

static void *doubt_on(void *arg)
{
    while (!AO_int_load(&stopping)) {
        oaki_cost_doubt();
        oaki_cost_probe();
    }
    return arg;
}

static void measures_again(void *arg)
{
    (void)arg;
    ck_assert(oaki_cost_known());
    oaki_cost_doubt();
    oaki_cost_probe();
    ck_assert(!oaki_cost_is_stale());
}

/* Its parent's thread was in the midst of measuring. */
START_TEST(a_child_ends_a_second_probe_of_its_parent)
{
    pthread_t t;
    setup();
    oaki_cost_probe();
    ck_assert_int_eq(pthread_create(&t, NULL, doubt_on, NULL), 0);
    for (int i = 0; i < 20; i++) test_child(measures_again, NULL);
    AO_int_store(&stopping, 1);
    pthread_join(t, NULL);
}
END_TEST

static void probe_without_memory(void *arg)
{
    (void)arg;
    setup();
    (void)test_written_start();
    struct rlimit none = { 0, RLIM_INFINITY };
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &none), 0);
    oaki_cost_probe();
    ck_assert(oaki_cost_known());
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_fresh), 0);
}

/* Where room is limited it takes none, and ends with nothing known. */
START_TEST(without_memory_nothing_is_known)
{
    if (!test_skip_slow()) test_child(probe_without_memory, NULL);
}
END_TEST

static void in_child(void *arg)
{
    (void)arg;
    ck_assert(oaki_cost_known()); /* what was known holds */
    oaki_cost_doubt();
    oaki_cost_probe();
    ck_assert_uint_gt(oaki_cost_of(OAKI_COST_fresh), 0);
}

START_TEST(a_child_knows_and_can_measure)
{
    setup();
    oaki_cost_probe();
    test_child(in_child, NULL);
}
END_TEST

static void read_environment(void)
{
    oak_config c;
    oak_config_default(&c);
}

START_TEST(the_variable_sets_costs)
{
    setenv("OAKUM_HOST", "write_ns=12000,,fresh_huge_ns=7,wake_ns=0", 1);
    read_environment();
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_write), 12000);
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_fresh_huge), 7);
    ck_assert(oaki_cost_is_forced(OAKI_COST_wake));
    ck_assert(!oaki_cost_is_forced(OAKI_COST_write_huge));
}
END_TEST

static void read_bad(void *value)
{
    setenv("OAKUM_HOST", value, 1);
    AO_store(&oaki_options_complained, 0);
    read_environment();
}

START_TEST(a_bad_value_is_told)
{
    static const char *const bad[] = { "write=5", "write_ns", "write_ns=", "write_ns=-1",
                                       "write_ns=9x", "_ns=5", "write_ns=99999999999",
                                       "cpus=", "cpus=x", "memory=-1", "memory" };
    char said[1024];
    test_capture(read_bad, (void *)bad[_i], said, sizeof said);
    ck_assert_msg(strncmp(said, "oakum: OAKUM_HOST: ", 19) == 0, "%s", said);
    ck_assert_ptr_nonnull(strstr(said, " write_ns write_huge_ns "));
    ck_assert(!oaki_cost_is_forced(OAKI_COST_write));
}
END_TEST

Suite *suite_runtime_cost(void)
{
    Suite *s = suite_create("runtime/cost");
    TCase *c = tcase_create("cost");
    tcase_add_test(c, a_probe_measures_each_cost);
    tcase_add_test(c, a_probe_leaves_no_memory);
    tcase_add_test(c, what_is_forced_stays);
    tcase_add_test(c, stops_are_averaged);
    tcase_add_test(c, a_late_probe_that_is_interrupted_measures_again);
    tcase_add_test(c, a_probe_keeps_to_its_time_and_memory);
    tcase_add_test(c, a_clock_that_goes_back_tells_nothing);
    tcase_add_test(c, a_thread_that_is_late_is_left);
    tcase_add_test(c, several_threads_probe_once);
    tcase_add_test(c, without_memory_nothing_is_known);
    tcase_add_test(c, a_child_knows_and_can_measure);
    tcase_add_test(c, threads_that_doubt_measure_one_at_a_time);
    tcase_add_test(c, a_child_ends_a_second_probe_of_its_parent);
    tcase_add_test(c, the_variable_sets_costs);
    tcase_add_loop_test(c, a_bad_value_is_told, 0, 11);
    suite_add_tcase(s, c);
    return s;
}

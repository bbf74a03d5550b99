/* plan_host.c - tests of gc/plan.c and planlog.c: the host thread, limits of control groups, and
 * what the program is told. */
#include "plan_support.h"

#include "gc/gctrace.h"
#include "runtime/cgroup.h"
#include "runtime/costprobe.h"
#include "runtime/dirty.h"
#include "tests/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

Suite *suite_gc_plan_host(void);

/* ---- control groups ---- */

static char group_folder[64];

static void put_group(const char *name, const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", group_folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

/* From here on the process is in such a group. */
static void play_group(const char *memory, const char *cpu)
{
    static char list[96];
    if (!group_folder[0]) {
        snprintf(group_folder, sizeof group_folder, "/tmp/oakum-plan.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(group_folder));
    }
    put_group("list", "0::/\n");
    put_group("memory.max", memory);
    put_group("cpu.max", cpu);
    snprintf(list, sizeof list, "%s/list", group_folder);
    oaki_cgroup_list = list;
    oaki_cgroup_mount = group_folder;
}

static void forget_group(void)
{
    static const char *const names[] = { "list", "memory.max", "cpu.max" };
    char path[96];
    if (!group_folder[0]) return;
    for (size_t i = 0; i < OAKI_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", group_folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(group_folder);
}

/* Before any cycle, and anew each time. */
START_TEST(the_program_reads_limits)
{
    oak_host h;
    play_group("83886080\n", "100000 100000\n");
    start(true, OAK_PAUSE_GOAL_US);
    oak_host_read(&h);
    ck_assert_uint_eq(h.memory_limit, 70 * MB);
    ck_assert_uint_eq(h.processors, 1);
    marked(60 << 10, 60 << 10);
    ck_assert_uint_lt(oaki_pace_goal(), 70 * MB);
    play_group("max\n", "max 100000\n");
    oak_host_read(&h);
    ck_assert_uint_eq(h.memory_limit, 0);
    ck_assert_uint_eq(h.processors, oaki_os_cpus());
    ck_assert_uint_eq(oaki_pace_goal(), 120 * MB);
}
END_TEST

/* In a process whose address space is limited no thread comes for them. */
START_TEST(limits_are_read_without_a_thread)
{
    struct rlimit usual, much;
    play_group("83886080\n", "100000 100000\n");
    start(true, OAK_PAUSE_GOAL_US);
    marked(20 << 10, 20 << 10);
    ck_assert_int_eq(getrlimit(RLIMIT_DATA, &usual), 0);
    much = (struct rlimit){ (rlim_t)1 << 45, usual.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &much), 0);
    oaki_plan_attend();
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.host), 0);
    ck_assert(oaki_cost_known());
    ck_assert_uint_eq(AO_load(&oaki_the_heap.group_limit), 70 * MB);
    play_group("41943040\n", "max 100000\n");
    oaki_plan_attend(); /* too soon */
    ck_assert_uint_eq(AO_load(&oaki_the_heap.group_limit), 70 * MB);
    AO_store(&oaki_gc.plan.limits_ns, (AO_t)(oaki_os_now_ns() - OAKI_TUNE_LIMITS_NS));
    oaki_plan_attend();
    ck_assert_uint_eq(AO_load(&oaki_the_heap.group_limit), 35 * MB);
    AO_or(&oaki_gc.plan.wants, OAKI_PLAN_REPAIR); /* which takes long, */
    attend();
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.wants), 0); /* and is not left out */
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.repairs), 1);
}
END_TEST

/* For want of descriptors nothing is read. */
START_TEST(a_known_limit_stays_while_none_can_be_read)
{
    struct rlimit usual, none;
    play_group("83886080\n", "100000 100000\n");
    start(true, OAK_PAUSE_GOAL_US);
    oaki_plan_limits();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = (struct rlimit){ 0, usual.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    oaki_plan_limits();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.group_limit), 70 * MB);
    ck_assert_uint_eq(oaki_heap_cpus(), 1);
}
END_TEST

/* The thread that reads limits sets the goal anew where they have changed. */
START_TEST(a_limit_that_has_gone_is_forgotten)
{
    start(true, OAK_PAUSE_GOAL_US);
    marked(20 << 10, 20 << 10);
    AO_store(&oaki_the_heap.group_limit, 0);
    oaki_plan_attend();
    while (AO_load(&oaki_gc.plan.host) || !oaki_cost_known()) oaki_os_sleep_ns(100000);
    size_t real = AO_load(&oaki_the_heap.group_limit), goal = oaki_pace_goal();
    AO_store(&oaki_the_heap.group_limit, 30 * MB);
    IN_A_PAUSE(oaki_pace_refresh());
    ck_assert_uint_lt(oaki_pace_goal(), goal);
    AO_or(&oaki_gc.plan.wants, OAKI_PLAN_PROBE);
    attend();
    ck_assert_uint_eq(AO_load(&oaki_the_heap.group_limit), real);
    ck_assert_uint_eq(oaki_pace_goal(), goal);
}
END_TEST

/* As many mark as the group has processors, by default. */
START_TEST(a_group_of_one_processor_has_one_worker)
{
    oak_config c = test_config();
    c.gc_threads = 0;
    play_group("max\n", _i ? "100000 100000\n" : "max 100000\n");
    start_at(c);
    oaki_plan_limits();
    live = oak_alloc(32 * MB);
    oak_collect();
    oak_host h;
    oak_host_read(&h);
    ck_assert_uint_eq(h.workers, _i ? 1 : OAKI_MIN(oaki_os_cpus(), OAKI_TUNE_WORKERS));
    ck_assert_uint_eq(oaki_gc.plan.alone, h.workers == 1);
}
END_TEST

/* ---- mending ---- */

static bool can_join(void)
{
    enum { HUGE = 2 << 20 };
    char *p = oaki_os_map(2 * HUGE), *at = (char *)OAKI_ALIGN_UP((uintptr_t)p, HUGE);
    memset(p, 1, 2 * HUGE);
    bool can = oaki_os_join(at, HUGE);
    oaki_os_release(p, 2 * HUGE);
    return can;
}

/* The thread that mends takes protection and joins pages; objects keep their contents. It goes on
 * where it was when its time was over. */
START_TEST(a_repair_keeps_the_heap_as_it_is)
{
    oak_config c = test_config();
    c.concurrent = c.huge_pages = true;
    start_at(c);
    oaki_cost_force(OAKI_COST_write, CHEAP);
    if (test_skip_untracked()) return;
    test_host_is_known();
    size_t bytes = _i ? 16 * MB : 64 * MB, n = bytes / 4096;
    live = oak_alloc(n * sizeof *live);
    for (size_t i = 0; i < n; i++) {
        live[i] = oak_alloc(4096);
        memset((char *)live[i] + 8, (int)i, 4088);
    }
    oak_collect();
    mark_of(true, 20);
    mark_of(true, 500);
    oaki_gc.plan.repair_ns = _i ? 0 : OAKI_TUNE_REPAIR_NS;
    size_t times = 0;
    for (; AO_load(&oaki_gc.plan.wants) != 0; times++) attend();
    ck_assert_uint_ge(times, _i ? 8 : 1);
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.repairs), 1);
    if (can_join()) ck_assert_uint_ge(AO_load(&oaki_gc.plan.repaired), bytes / 2);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 8; k < 4096; k += 511)
            ck_assert_int_eq(((unsigned char *)live[i])[k], (unsigned char)i);
    oak_collect();
}
END_TEST

static void count_pages(size_t from, size_t to, void *ctx)
{
    *(size_t *)ctx += to - from;
}

/* Pages that count as written: all that aren't protected. */
static size_t unprotected(void)
{
    size_t n = 0;
    oaki_thread *t = oaki_enter();
    (void)oaki_dirty_take(0, AO_load(&oaki_the_heap.used), false, count_pages, &n);
    oaki_leave(t);
    return n;
}

/* As after a migration: minor cycles have left pages protected, and first writes are dear now. */
START_TEST(a_host_that_becomes_dear_has_its_pages_released)
{
    start(true, _i ? 1000 : OAK_PAUSE_GOAL_US);
    oaki_cost_force(OAKI_COST_write, CHEAP);
    if (test_skip_untracked() || oaki_dirty_denies()) return;
    live = oak_alloc(16 * MB);
    memset(live, 0, 16 * MB);
    attend();
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_dirty_protect(0, AO_load(&oaki_the_heap.used)));
    oaki_leave(t);
    ck_assert_uint_lt(unprotected(), MB);
    oaki_plan_probe();
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.wants), 0);
    oaki_cost_force(OAKI_COST_write, DEAR);
    AO_store(&oaki_gc.plan.limits_ns, (AO_t)(oaki_os_now_ns() - OAKI_TUNE_LIMITS_NS));
    attend();
    if (_i) ck_assert_uint_lt(unprotected(), MB); /* the program keeps its goal */
    else ck_assert_uint_ge(unprotected(), 16 * MB);
}
END_TEST

/* ---- probes that err ---- */

/* A clock that goes on by so much with each reading: each of a probe's batches of 16 takes as
 * much. */
static uint64_t played_ns, played_step;

static uint64_t played_clock(void)
{
    return played_ns += played_step;
}

static oaki_plan_reason after_probe_of(size_t write_ns)
{
    oaki_cost_clock = played_clock;
    played_step = 16 * write_ns;
    oaki_cost_doubt();
    oaki_plan_probe();
    ck_assert_uint_eq(oaki_cost_of(OAKI_COST_write), write_ns);
    return oaki_plan_reason_now();
}

static bool start_probes(void)
{
    oak_config c = test_config();
    c.concurrent = c.huge_pages = true;
    start_at(c);
    oaki_cost_force(OAKI_COST_wake, 1000);
    if (test_skip_untracked() || oaki_dirty_denies()) return false;
    marked(200 << 10, 200 << 10);
    return true;
}

START_TEST(two_probes_must_agree)
{
    AO_t *wants = &oaki_gc.plan.wants;
    if (!start_probes()) return;
    ck_assert_int_eq(after_probe_of(CHEAP), OAKI_PLAN_LARGE);
    ck_assert_uint_eq(AO_load(wants), 0);
    ck_assert_int_eq(after_probe_of(DEAR), OAKI_PLAN_LARGE);
    ck_assert_uint_eq(AO_load(wants), OAKI_PLAN_PROBE); /* at once */
    ck_assert(oaki_cost_is_stale());
    ck_assert_int_eq(after_probe_of(CHEAP), OAKI_PLAN_LARGE);
    ck_assert_int_eq(after_probe_of(DEAR), OAKI_PLAN_LARGE);
    ck_assert_int_eq(after_probe_of(DEAR), OAKI_PLAN_DEAR);
    ck_assert_int_eq(after_probe_of(CHEAP), OAKI_PLAN_DEAR);
    ck_assert_int_eq(after_probe_of(CHEAP), OAKI_PLAN_LARGE);
}
END_TEST

/* Until it is known better nothing is protected. */
START_TEST(a_first_probe_that_finds_dear_writes_is_doubted)
{
    if (!start_probes()) return;
    ck_assert_int_eq(after_probe_of(DEAR), OAKI_PLAN_DEAR);
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.wants), OAKI_PLAN_PROBE);
    oaki_cost_probe();
    AO_store(&oaki_gc.plan.wants, 0);
    ck_assert_int_eq(after_probe_of(DEAR), OAKI_PLAN_DEAR);
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.wants), 0);
}
END_TEST

/* A first probe that is interrupted throughout: readings up to this one are of a dear host. */
#define LAST_DEAR 20

static uint64_t clock_of_an_interruption(void)
{
    static int readings;
    return played_ns += readings++ < LAST_DEAR ? 16 * DEAR : 16 * CHEAP;
}

START_TEST(the_program_is_told_what_is_not_doubted)
{
    oak_host h;
    if (!start_probes()) return;
    oaki_cost_clock = clock_of_an_interruption;
    oak_host_read(&h);
    ck_assert_uint_eq(AO_load(&oaki_gc.plan.probes), 3);
    ck_assert_uint_eq(h.write, CHEAP);
    ck_assert(!h.dear);
}
END_TEST

/* ---- for the program ---- */

START_TEST(the_program_reads_costs_and_decisions)
{
    start(true, 2500);
    oaki_cost_force(OAKI_COST_write, 123);
    oak_host h;
    oak_host_read(NULL);
    oak_host_read(&h);
    ck_assert(oaki_cost_known());
    ck_assert_uint_eq(h.write, 123);
    ck_assert_uint_eq(h.pause_goal_us, 2500);
    ck_assert_uint_gt(h.fresh, 0);
    ck_assert_uint_gt(h.processors, 0);
    ck_assert_ptr_nonnull(h.why);
    ck_assert(!h.concurrent);
}
END_TEST

static void trace_three(void *arg)
{
    (void)arg;
    ck_assert_int_eq(oaki_gctrace_start(), 0);
    start(true, OAK_PAUSE_GOAL_US);
    oaki_debug_switches.beside = oaki_debug_switches.twice = 0; /* they decide, in place of costs */
    oak_host_read(NULL);
    live = oak_alloc(4 * MB);
    oak_collect();
    oak_collect(); /* nothing is new */
    oaki_cost_doubt();
    oak_host_read(NULL);
    oak_collect();
    oaki_gc_flush_events();
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)) != NULL; text++) n++;
    return n;
}

/* What each variable forces is in the lines of the trace; costs once more where they are measured
 * once more. Such writes are dear in either way of tracking. */
START_TEST(the_trace_tells_what_is_decided_by)
{
    static char text[16384];
    setenv("OAKUM_HOST", "write_ns=54321,stop_ns=77,cpus=1,memory=800M", 1);
    ck_assert_int_eq(test_capture(trace_three, NULL, text, sizeof text), 0);
    ck_assert_msg(count(text, "oakum: host: ns write 54321 write_huge ") == 2, "%s", text);
    ck_assert_uint_eq(count(text, " stop 77 wake "), 2);
    ck_assert_uint_eq(count(text, "; 1 processors, 716800 kB by control groups; pages are not "
                                  "tracked and small\n"),
                      2);
    ck_assert_uint_eq(count(text, "oakum: plan: after gc 1 the next is one pause: a pause is short "
                                  "enough; 1 of 1 processors mark; "),
                      1);
    ck_assert_uint_eq(count(text, "oakum: plan: "), 1);
}
END_TEST

/* A limit that OAKUM_HOST sets stands for the group's. */
START_TEST(limits_are_forced)
{
    oak_host h;
    play_group("83886080\n", "100000 100000\n");
    setenv("OAKUM_HOST", _i ? "cpus=0,memory=0" : "memory=64M", 1);
    start(true, OAK_PAUSE_GOAL_US);
    oak_host_read(&h);
    ck_assert_uint_eq(h.group_limit, _i ? 0 : 56 * MB);
    ck_assert_uint_eq(h.memory_limit, h.group_limit);
    ck_assert_uint_eq(h.processors, _i ? oaki_os_cpus() : 1);
}
END_TEST

/* Before there is something to decide nothing is measured; and then by a thread. */
START_TEST(a_small_heap_measures_nothing)
{
    start(true, OAK_PAUSE_GOAL_US);
    live = oak_alloc(4 * MB);
    oak_collect();
    ck_assert(!oaki_cost_known());
    live = oak_alloc(16 * MB);
    oak_collect();
    while (!oaki_cost_known()) oaki_os_sleep_ns(100000);
    ck_assert_uint_gt(oaki_cost_of(OAKI_COST_fresh), 0);
    while (AO_load(&oaki_gc.plan.host)) oaki_os_sleep_ns(100000);
}
END_TEST

Suite *suite_gc_plan_host(void)
{
    Suite *s = suite_create("gc/plan_host");
    TCase *c = tcase_create("host");
    tcase_add_checked_fixture(c, NULL, forget_group);
    tcase_add_test(c, the_program_reads_limits);
    tcase_add_test(c, limits_are_read_without_a_thread);
    tcase_add_test(c, a_known_limit_stays_while_none_can_be_read);
    tcase_add_test(c, a_limit_that_has_gone_is_forgotten);
    tcase_add_loop_test(c, a_group_of_one_processor_has_one_worker, 0, 2);
    tcase_add_loop_test(c, a_repair_keeps_the_heap_as_it_is, 0, 2);
    tcase_add_loop_test(c, a_host_that_becomes_dear_has_its_pages_released, 0, 2);
    tcase_add_test(c, two_probes_must_agree);
    tcase_add_test(c, a_first_probe_that_finds_dear_writes_is_doubted);
    tcase_add_test(c, the_program_is_told_what_is_not_doubted);
    tcase_add_test(c, the_program_reads_costs_and_decisions);
    tcase_add_test(c, the_trace_tells_what_is_decided_by);
    tcase_add_loop_test(c, limits_are_forced, 0, 2);
    tcase_add_test(c, a_small_heap_measures_nothing);
    suite_add_tcase(s, c);
    return s;
}

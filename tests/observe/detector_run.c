/* detector_run.c - tests of observe/detector.c: what is found is told once, on the thread of its
 * own too, whatever other threads and forks do meanwhile. */
#include "gc/gc.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <oakum/detector.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_detector_run(void);

static void start(void)
{
    test_heap_start(test_config());
}

static oak_finding findings[300];
TEST_LARGE(observe_detector_run, findings)

typedef struct node {
    struct node *next;
    char rest[1016];
} node;

static node *list;

static OAKI_NOINLINE void leak_nodes(void *arg)
{
    static const uint64_t bits[16] = { 1 };
    static oak_type *type;
    (void)arg;
    if (!type) type = oak_type_bitmap("node", sizeof(node), bits);
    for (size_t k = 0; k < 400; k++) {
        node *n = oak_alloc_typed(type, 1);
        n->next = list;
        list = n;
    }
}

static void leak_and_look(size_t looks)
{
    for (size_t i = 0; i < looks; i++) {
        test_away(leak_nodes, NULL);
        ck_assert_int_ge(oak_detector_scan(), 0);
    }
}

/* ---- telling ---- */

static AO_t told;
static oak_finding last_told;

static void note(const oak_finding *f, void *ctx)
{
    oak_detector_stats s;
    last_told = *f;
    ck_assert_ptr_eq(ctx, &told);
    oak_detector_stats_read(&s); /* may call everything */
    (void)!oak_alloc(100);
    AO_fetch_and_add_full(&told, 1);
}

static void log_a_leak(void *arg)
{
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    cfg.log = 1;
    cfg.sites = 0;
    ck_assert_int_eq(oak_detector_prepare(&cfg), 0);
    leak_and_look(16);
    (void)arg;
}

START_TEST(what_is_found_is_told_once)
{
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    cfg.found = note;
    cfg.ctx = &told;
    cfg.sites = 0;
    ck_assert_int_eq(oak_detector_prepare(&cfg), 0);
    leak_and_look(20);
    ck_assert_uint_eq(AO_load(&told), 2); /* the heap, the type */
    ck_assert(last_told.active);
    static char out[8192];
    list = NULL;
    ck_assert_int_eq(test_capture(log_a_leak, NULL, out, sizeof out), 0);
    ck_assert_msg(strstr(out, "oakum: detector: leak: type-growth: type node: live after") != NULL,
                  "%s", out);
    size_t lines = 0;
    for (const char *p = out; (p = strchr(p, '\n')) != NULL; p++) lines++;
    ck_assert_uint_eq(lines, 2);
}
END_TEST

START_TEST(a_configuration_that_makes_no_sense_is_refused)
{
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    cfg.looks_min = 20;
    cfg.looks_max = 10;
    errno = 0;
    ck_assert_int_eq(oak_detector_prepare(&cfg), -1);
    ck_assert_int_eq(errno, EINVAL);
    oak_detector_config_default(&cfg);
    cfg.thrash_share = 101;
    ck_assert_int_eq(oak_detector_start(&cfg), -1);
    cfg.thrash_share = 0;
    ck_assert_int_eq(oak_detector_start(&cfg), -1);
    ck_assert_uint_eq(oak_detector_findings(findings, 10), 0);
    oak_detector_stop();
    for (unsigned k = 0; k < OAK_FINDING_KINDS; k++)
        ck_assert_uint_gt(strlen(oak_finding_name((oak_finding_kind)k)), 3);
    ck_assert_str_eq(oak_finding_name(OAK_FINDING_KINDS), "unknown");
}
END_TEST

/* ---- in the background ---- */

/* When looks are rare, a step is seen before the growth. */
static void note_leaks(const oak_finding *f, void *ctx)
{
    if (f->severity == OAK_SEVERITY_LEAK) note(f, ctx);
}

static void *leak_for_long(void *arg)
{
    for (size_t i = 0; !AO_load(&told) && i < 400000; i++) {
        node *n = oak_alloc(sizeof *n);
        if (i % 20 == 0) n->next = list, list = n;
    }
    return arg;
}

START_TEST(the_thread_finds_a_leak_by_itself)
{
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    cfg.found = note_leaks;
    cfg.ctx = &told;
    cfg.interval_ms = 0;
    cfg.pace_ms = 0;
    cfg.growth_bytes = 256 << 10;
    oak_set_gc_percent(20);
    ck_assert_int_eq(oak_detector_start(&cfg), 0);
    test_join(test_start(leak_for_long, NULL));
    for (int i = 0; !AO_load(&told) && i < 2000; i++) oaki_os_sleep_ns(1000000);
    oak_detector_stop();
    ck_assert_uint_ge(AO_load(&told), 1);
    ck_assert_int_eq(last_told.severity, OAK_SEVERITY_LEAK);
    AO_t before = AO_load(&told);
    oak_collect();
    ck_assert_uint_eq(AO_load(&told), before);
    ck_assert_uint_eq(test_stats().threads, 1); /* it is no thread of the program's */
}
END_TEST

static void *scan_often(void *arg)
{
    while (!AO_load(&test_quit)) test_expect(oak_detector_scan() >= 0, __LINE__);
    return arg;
}

static void *allocate_maps(void *arg)
{
    uint64_t x = (uintptr_t)arg;
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    while (!AO_load(&test_quit)) {
        uint64_t k = test_draw(&x) % 5000;
        if (test_draw(&x) % 3) *(void **)oak_map_put(m, &k) = oak_alloc(test_draw(&x) % 300);
        else oak_map_delete(m, &k);
    }
    return NULL;
}

START_TEST(starts_stops_and_looks_of_many_threads_go_together)
{
    pthread_t ids[5];
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    cfg.interval_ms = 0;
    oak_set_gc_percent(50);
    for (size_t i = 0; i < 2; i++) ids[i] = test_start(scan_often, NULL);
    for (size_t i = 2; i < 5; i++) ids[i] = test_start(allocate_maps, (void *)(i + 1));
    for (size_t i = 0, n = test_scale(60); i < n; i++) {
        ck_assert_int_eq(i % 3 ? oak_detector_start(&cfg) : oak_detector_prepare(&cfg), 0);
        (void)oak_detector_findings(findings, OAKI_COUNT(findings));
        if (i % 4 == 0) oak_detector_stop();
        if (i % 20) continue;
        pid_t pid = test_breaks_asan() ? 0 : fork();
        if (pid == 0 && !test_breaks_asan()) {
            bool none = oak_detector_findings(findings, 10) == 0;
            oak_collect();
            _exit(none && oak_detector_scan() >= 0 && oak_detector_start(&cfg) == 0 ? 0 : 1);
        }
        if (pid) ck_assert_int_eq(test_wait_child(pid), 0);
    }
    AO_store(&test_quit, 1);
    for (size_t i = 0; i < 5; i++) test_join(ids[i]);
    oak_detector_stop();
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

#define NAME "oakum/detector"

/* A thread names itself; one that has ended is listed until the system has done with it. */
static void assert_threads(size_t n)
{
    for (int i = 0; test_threads_named(NAME) != n && i < 2000; i++) oaki_os_sleep_ns(1000000);
    ck_assert_uint_eq(test_threads_named(NAME), n);
}

#define STARTERS 3

static pthread_barrier_t round_begins, round_ends;

/* One start in each round. A thread that waits for the end of one detector may meet the next one,
 * which no call is about to end. */
static void *start_often(void *arg)
{
    uint64_t x = (uintptr_t)&x;
    for (size_t i = 0, n = test_scale(100); i < n; i++) {
        pthread_barrier_wait(&round_begins);
        oaki_os_sleep_ns(test_draw(&x) % 100000);
        test_expect(oak_detector_start(arg) == 0, __LINE__);
        pthread_barrier_wait(&round_ends);
    }
    return NULL;
}

START_TEST(starts_at_once_leave_one_thread)
{
    pthread_t ids[STARTERS];
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    pthread_barrier_init(&round_begins, NULL, STARTERS);
    pthread_barrier_init(&round_ends, NULL, STARTERS);
    for (size_t i = 0; i < STARTERS; i++) ids[i] = test_start(start_often, &cfg);
    for (size_t i = 0; i < STARTERS; i++) test_join(ids[i]);
    assert_threads(1);
    cfg.looks_max = 1000; /* a refused start leaves it alone */
    ck_assert_int_eq(oak_detector_start(&cfg), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(test_threads_named(NAME), 1);
    oak_detector_stop();
    assert_threads(0);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

/* As the first process of a container has it: its main thread has the id 1. */
static void start_twice_as_the_first(void)
{
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(oak_detector_start(&cfg), 0);
        ck_assert_int_eq(oak_detector_start(&cfg), 0);
        oak_detector_stop();
        assert_threads(0);
    }
}

START_TEST(a_thread_that_starts_is_not_taken_for_the_first)
{
    if (test_skip(test_breaks_asan(), "a child of several threads")) return;
    pid_t between = fork();
    if (between == 0) {
        if (unshare(CLONE_NEWPID) != 0) _exit(77);
        pid_t first = fork();
        if (first == 0) {
            start_twice_as_the_first();
            _exit(0);
        }
        _exit(test_wait_child(first) == 0 ? 0 : 1);
    }
    int status = test_wait_child(between);
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) == 77;
    if (test_skip(refused, "no namespace is allowed")) return;
    ck_assert_int_eq(status, 0);
}
END_TEST

static void start_by_environment(void *arg)
{
    setenv("OAKUM_DETECTOR", arg, 1);
    (void)!oak_alloc(1);
    oak_collect();
    for (int i = 0; i < (*(char *)arg == '1' || strchr(arg, ',') ? 5000 : 50); i++) {
        oak_detector_stats s;
        oak_detector_stats_read(&s);
        if (s.looks > 0) return;
        oaki_os_sleep_ns(1000000);
    }
    _exit(7);
}

START_TEST(the_environment_starts_it)
{
    char out[256];
    ck_assert_int_eq(test_capture(start_by_environment, (char[]){ "1" }, out, sizeof out), 0);
    ck_assert_str_eq(out, "");
    ck_assert_int_eq(test_capture(start_by_environment,
                                  (char[]){ "interval_ms=5,growth_bytes=1M" }, out, sizeof out),
                     0);
    ck_assert_str_eq(out, "");
    static const char *const bad[] = { "yes", "interval_ms", "interval_ms=-1", "looks_min=3",
                                       "looks_min=20,looks_max=10", "nothing=1" };
    for (size_t i = 0; i < OAKI_COUNT(bad); i++) {
        char value[64];
        memcpy(value, bad[i], strlen(bad[i]) + 1);
        ck_assert_int_ne(test_capture(start_by_environment, value, out, sizeof out), 0);
        ck_assert_ptr_nonnull(strstr(out, " is ignored: it must be 1, or options as "));
    }
}
END_TEST

Suite *suite_observe_detector_run(void)
{
    Suite *s = suite_create("observe/detector_run");
    TCase *c = tcase_create("run");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, what_is_found_is_told_once);
    tcase_add_test(c, a_configuration_that_makes_no_sense_is_refused);
    tcase_add_test(c, the_thread_finds_a_leak_by_itself);
    tcase_add_test(c, starts_stops_and_looks_of_many_threads_go_together);
    tcase_add_test(c, starts_at_once_leave_one_thread);
    tcase_add_test(c, a_thread_that_starts_is_not_taken_for_the_first);
    suite_add_tcase(s, c);
    c = tcase_create("environment");
    tcase_add_test(c, the_environment_starts_it);
    suite_add_tcase(s, c);
    return s;
}

/* finalrun.c - tests of gc/refs/finalrun.c: the notifier, and the finalizer thread. */
#include "away.h"
#include "gc/collector.h"
#include "gc/refs/finalizer.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/refuse.h"

#include <check.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_gc_finalrun(void);

#define LUCK 4 /* objects that a stray word may keep, of thousands */
#define MANY 1000
#define NODE 1024

static oak_memstats stats(void)
{
    static oak_memstats s;
    oak_memstats_read(&s);
    return s;
}

static AO_t at_gate, passed; /* finalizers that got there */

static void count_passed(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    AO_fetch_and_add1_full(&passed);
}

static void make_passing(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++) oak_finalizer_set(oak_alloc(NODE), count_passed, NULL);
}

/* ---- the notifier ---- */

static size_t notified;

static void notify(void)
{
    notified++;
    ck_assert_ptr_nonnull(oak_alloc(16)); /* neither locks nor a stop are in the way */
}

START_TEST(the_notifier_is_called_once_for_each_collection_that_found_some)
{
    ck_assert(oak_finalizer_notify(notify) == NULL);
    oak_collect();
    ck_assert_uint_eq(notified, 0);
    test_build(make_passing, NULL);
    oak_collect();
    ck_assert_uint_eq(notified, 1);
    oak_collect();
    ck_assert_uint_eq(notified, 1);
    ck_assert_uint_ge(test_run_finalizers(), MANY - LUCK);
    ck_assert(oak_finalizer_notify(NULL) == notify);
}
END_TEST

static AO_t waited; /* cycles, or 1 when there were none */
static bool by_marker;

/* For two more collections, which another thread is to need. */
static void wait_for_cycles(void)
{
    AO_t first = AO_load(&oaki_the_heap.cycle);
    oak_finalizer_notify(NULL);
    by_marker = oaki_thread_self()->own;
    for (int i = 0; by_marker && i < 5000 && AO_load(&oaki_the_heap.cycle) < first + 2; i++)
        oaki_os_sleep_ns(1000000);
    AO_store(&waited, AO_load(&oaki_the_heap.cycle) - first + 1);
}

/* It is called by the marker, if there is one. */
START_TEST(collections_go_on_while_the_notifier_waits)
{
    oak_set_gc_percent(100);
    oaki_debug_switches.beside = 1;
    ck_assert(oak_finalizer_notify(wait_for_cycles) == NULL);
    test_build(make_passing, NULL);
    oak_set_gc_percent(100);
    while (!AO_load(&waited)) (void)!oak_alloc(NODE);
    if (!by_marker) ck_assert(!test_written_start()); /* who would collect has called it */
    else ck_assert_uint_ge(AO_load(&waited), 3);
}
END_TEST

static void **notes; /* a list, each in a slot of the class that the program fills meanwhile */

static void allocate_notes(void)
{
    for (int i = 0; i < 3; i++) {
        void **note = oak_alloc(NODE);
        note[0] = notes;
        notes = note;
    }
}

static void do_nothing(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

/* In the midst of its search for a span, the thread has another one of that class by now. */
START_TEST(what_the_notifier_allocates_from_stays_in_a_cache)
{
    test_no_stress();
    oak_finalizer_notify(allocate_notes);
    oak_set_gc_percent(100);
    for (int i = 0; i < 4000000 && stats().num_gc < 30; i++) {
        void *p = oak_alloc(NODE);
        if (i % 100 == 0) oak_finalizer_set(p, do_nothing, NULL);
        if (i % 5000 == 0) (void)oak_finalizers_run();
    }
    oak_finalizer_notify(NULL);
    oak_collect();
    ck_assert_uint_ge(stats().num_gc, 30);
    ck_assert_ptr_nonnull(notes);
    for (void **n = notes; n; n = n[0])
        ck_assert_uint_ne(oaki_span_of_offset(oaki_heap_offset(n))->list, OAKI_LIST_NONE);
    for (void **n = notes, **next; n; n = next) {
        next = n[0];
        ck_assert_uint_ne(oaki_span_of_offset(oaki_heap_offset(n))->list, OAKI_LIST_CACHED);
        oak_free(n);
    }
    test_assert_sound();
}
END_TEST

/* ---- the thread ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void wait_at_gate(void *obj, void *ctx)
{
    AO_fetch_and_add1_full(&at_gate);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    count_passed(obj, ctx);
}

static void wait_until(const AO_t *counter, size_t n)
{
    while (AO_load_acquire(counter) < n) usleep(200);
}

static void make_blocked(void *arg)
{
    (void)arg;
    oak_finalizer_set(oak_alloc(NODE), wait_at_gate, NULL);
}

START_TEST(a_blocked_finalizer_holds_up_the_others)
{
    ck_assert_uint_eq(oak_finalizer_running_ns(), 0);
    pthread_mutex_lock(&gate);
    test_build(make_blocked, NULL);
    oak_collect();
    wait_until(&at_gate, 1);
    test_build(make_passing, NULL);
    for (int i = 0; i < 3; i++) oak_collect();
    ck_assert_uint_gt(oak_finalizer_running_ns(), 0);
    ck_assert_uint_eq(AO_load(&passed), 0);
    ck_assert_uint_ge(stats().finalizers_ready, MANY - LUCK);
    ck_assert_uint_ge(stats().heap_alloc, (size_t)(MANY - LUCK) * NODE);
    pthread_mutex_unlock(&gate);
    wait_until(&passed, MANY + 1 - LUCK);
    for (int i = 0; i < 2; i++) oak_collect();
    ck_assert_uint_le(stats().heap_alloc, 2 * LUCK * NODE);
}
END_TEST

static void in_child(void *arg)
{
    (void)arg;
    AO_store(&passed, 0);
    test_away(make_passing, NULL);
    oak_collect();
    wait_until(&passed, MANY - LUCK);
}

START_TEST(the_thread_starts_again_in_a_forked_child)
{
    char out[256];
    in_child(NULL);
    ck_assert_int_eq(test_capture(in_child, NULL, out, sizeof out), 0);
    in_child(NULL);
}
END_TEST

static void *fork_unattached(void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        in_child(NULL);
        _exit(0);
    }
    *(pid_t *)arg = pid;
    return NULL;
}

/* Where it was being started as another thread forked: it has no record yet, as that thread. */
START_TEST(the_thread_starts_again_if_the_fork_came_before_it_began)
{
    pid_t pid = -1;
    pthread_t id;
    int status = -1;
    oaki_finalrun *f = &oaki_gc.finalrun;
    ck_assert(AO_int_compare_and_swap_full(&f->thread, 0, 1) && !f->runner);
    ck_assert_int_eq(pthread_create(&id, NULL, fork_unattached, &pid), 0);
    pthread_join(id, NULL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    AO_int_store(&f->thread, 0);
    in_child(NULL);
}
END_TEST

static void run_without_threads(void *arg)
{
    test_refuse(SYS_clone3);
    test_refuse(SYS_clone);
    make_passing(arg);
    for (int i = 0; i < 4; i++) oak_collect();
    if (AO_load(&passed) != 0) _exit(1);
    if (oak_finalizers_run() < MANY - LUCK) _exit(2);
}

START_TEST(a_thread_that_the_system_refuses_is_told_of_once)
{
    const char *line = "oakum: no thread for finalizers can be started (Operation not permitted)";
    char out[1000], *at;
    ck_assert_int_eq(test_capture(run_without_threads, NULL, out, sizeof out), 0);
    at = strstr(out, line);
    ck_assert_msg(at && !strstr(at + 1, line), "%s", out);
}
END_TEST

static void churn(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        void *n = oak_alloc(64);
        oak_finalizer_set(n, count_passed, NULL);
        if (i % 1000 == 0) oak_collect();
    }
    (void)arg;
}

static void *churn_thread(void *arg)
{
    churn(arg);
    return NULL;
}

START_TEST(threads_register_while_the_thread_runs_them)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, churn_thread, NULL), 0);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
    oak_collect();
    wait_until(&passed, 60000 - LUCK);
    ck_assert_uint_le(AO_load(&passed), 60000);
}
END_TEST

static void start(void)
{
    test_start(0);
}

static void start_thread(void)
{
    test_start(1);
}

Suite *suite_gc_finalrun(void)
{
    Suite *s = suite_create("gc/finalrun");
    TCase *c = tcase_create("on demand");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, the_notifier_is_called_once_for_each_collection_that_found_some);
    tcase_add_test(c, collections_go_on_while_the_notifier_waits);
    tcase_add_test(c, what_the_notifier_allocates_from_stays_in_a_cache);
    suite_add_tcase(s, c);
    c = tcase_create("thread");
    tcase_add_checked_fixture(c, start_thread, NULL);
    tcase_add_test(c, a_blocked_finalizer_holds_up_the_others);
    tcase_add_test(c, the_thread_starts_again_in_a_forked_child);
    tcase_add_test(c, the_thread_starts_again_if_the_fork_came_before_it_began);
    tcase_add_test(c, threads_register_while_the_thread_runs_them);
    tcase_add_test(c, a_thread_that_the_system_refuses_is_told_of_once);
    suite_add_tcase(s, c);
    return s;
}

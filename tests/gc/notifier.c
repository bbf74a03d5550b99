/* notifier.c - a notifier of finalizers that is called by the thread that marks beside the program,
 * and does there what a program may: it collects, or forks. */
#include "gc/concurrent/concurrent.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/task.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_gc_notifier(void);

#define MANY 100   /* objects with finalizers: more than words by chance keep */
#define MARKS 5    /* in the child */
#define LIMIT 60   /* seconds that a child may take */

static AO_t calls;

static void nothing(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void make_garbage(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(oak_finalizer_set(oak_alloc(32), nothing, NULL), 0);
}

/* false: this system can't. */
static bool start(void (*notify)(void))
{
    bool can = test_heap_tracked(test_config_beside(test_tracking), 0);
    oaki_debug_switches.beside = 1;
    (void)oak_finalizer_notify(notify);
    return can;
}

/* Until the marker's thread has called it. */
static void mark_until(const AO_t *word)
{
    while (!AO_load_acquire(word)) {
        test_away(make_garbage, NULL);
        test_ask_or_collect();
        oaki_os_sleep_ns(1000000);
    }
}

/* ---- it collects ---- */

static AO_t collects, collected, nested; /* calls that such a collection made */

static void collect_in_it(void)
{
    AO_t before = AO_fetch_and_add1(&calls) + 1;
    (void)oak_finalizers_run();
    if (!oaki_thread_self()->own || AO_load(&collects)) return;
    AO_store(&collects, 1);
    test_away(make_garbage, NULL);
    oak_collect();
    AO_store(&nested, AO_load(&calls) - before);
    AO_store_release(&collected, 1);
}

START_TEST(what_it_collects_is_told_at_once)
{
    if (!start(collect_in_it)) return;
    mark_until(&collected);
    ck_assert_uint_gt(AO_load(&nested), 0);
}
END_TEST

/* ---- it ends its thread ---- */

static AO_t ended;

static void end_it(void)
{
    (void)oak_finalizers_run();
    if (!oaki_thread_self()->own || AO_load(&ended)) return;
    AO_store_release(&ended, 1);
    pthread_exit(NULL);
}

/* The next cycles have another thread: they are not all stopped ones. */
START_TEST(the_marker_is_started_again)
{
    if (!start(end_it)) return;
    mark_until(&ended);
    uint32_t before = test_stats().num_concurrent_gc;
    while (AO_load(&oaki_gc.background.reporting)) oaki_os_sleep_ns(1000000);
    while (test_stats().num_concurrent_gc < before + 3) {
        test_ask_or_collect();
        oaki_os_sleep_ns(1000000);
    }
}
END_TEST

/* ---- it forks ---- */

static AO_t forked;
static pid_t child;

/* In the child: marks, verified, by the one marker that there is. */
static void *live_on(void *arg)
{
    void **list = NULL;
    pthread_setname_np(pthread_self(), "child"); /* the name comes from who has made it */
    for (int marks = 0; marks < MARKS || AO_load(&oaki_the_heap.cycle) < MARKS;) {
        for (int i = 0; i < 1000; i++) {
            void **x = oak_alloc(32);
            x[0] = list;
            list = i % 500 ? x : NULL;
        }
        if (test_ask_beside()) marks++; /* not before the marker is back */
        else oak_collect();
    }
    _exit(test_threads_named("oakum/gc") == 1 ? 0 : 3);
    return arg;
}

/* Once, in the marker's thread. Is this the child? */
static bool fork_once(void)
{
    (void)oak_finalizers_run();
    if (!oaki_thread_self()->own || AO_load(&forked)) return false;
    child = fork();
    AO_store_release(&forked, 1);
    if (child == 0) alarm(LIMIT);
    return child == 0;
}

static void fork_in_it(void)
{
    pthread_t id;
    if (!fork_once()) return;
    if (pthread_create(&id, NULL, live_on, NULL) != 0) _exit(2);
}

START_TEST(in_a_child_that_it_forks_its_thread_is_the_marker)
{
    if (!start(fork_in_it)) return;
    mark_until(&forked);
    ck_assert_int_eq(test_wait_child(child), 0);
}
END_TEST

/* ---- and what it has forked stays in it ---- */

#define GARBAGE ((size_t)100 << 20)
#define LEAST 5 /* collections of that, where each is due after a few MB */

static void stay_in_it(void)
{
    if (!fork_once()) return;
    AO_t before = AO_load(&oaki_the_heap.cycle);
    (void)oak_set_gc_percent(100);
    oaki_thread *t = oaki_enter();
    (void)oaki_dirty_start(); /* as the first collection does where there are minor ones */
    oaki_leave(t);
    for (size_t done = 0; done < GARBAGE; done += 64) (void)!oak_alloc(64);
    _exit(AO_load(&oaki_the_heap.cycle) >= before + LEAST ? 0 : 3);
}

START_TEST(a_child_that_stays_in_it_collects)
{
    if (!start(stay_in_it)) return;
    mark_until(&forked);
    ck_assert_int_eq(test_wait_child(child), 0);
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, what_it_collects_is_told_at_once);
    tcase_add_test(t, the_marker_is_started_again);
    if (test_skip_asan()) return t;
    tcase_add_test(t, in_a_child_that_it_forks_its_thread_is_the_marker);
    tcase_add_test(t, a_child_that_stays_in_it_collects);
    return t;
}

Suite *suite_gc_notifier(void)
{
    Suite *s = suite_create("gc_notifier");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}

/* storm.c - tests of collections in a storm of the program's own signals. */
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

Suite *suite_gc_storm(void);

static AO_t signals, stop, wrong;

/* Allocates nothing; uses stack, and changes errno as a handler may not but does. */
static void handler(int sig)
{
    char text[2000];
    int saved = errno;
    memset(text, sig, sizeof text);
    __asm__("" ::"r"(text) : "memory");
    AO_fetch_and_add1(&signals);
    errno = saved;
}

static void install(int flags)
{
    struct sigaction a = { .sa_handler = handler, .sa_flags = flags };
    sigemptyset(&a.sa_mask);
    ck_assert_int_eq(sigaction(SIGPROF, &a, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, &a, NULL), 0);
    struct itimerval often = { { 0, 200 }, { 0, 200 } };
    ck_assert_int_eq(setitimer(ITIMER_PROF, &often, NULL), 0);
}

typedef struct item {
    struct item *next;
    size_t key;
} item;

#define SIGNALS 10 /* that come while they work: the timer counts processor time */

static void *work(void *arg)
{
    for (size_t i = 0, n = test_scale(150); i < n || AO_load(&signals) < SIGNALS; i++) {
        item *list = NULL;
        for (size_t k = 0; k < 500; k++) {
            item *l = oak_alloc(sizeof *l + k % 200);
            if (l->key || l->next) AO_store(&wrong, 1);
            *l = (item){ list, k };
            list = l;
        }
        if (i % 5 == 0) oak_collect();
        size_t k = 500;
        for (item *l = list; l; l = l->next)
            if (l->key != --k) AO_store(&wrong, 1);
        if (k) AO_store(&wrong, 1);
    }
    return arg;
}

static pthread_t workers[3];

/* The storm that no timer makes: a signal for each worker as fast as it goes. */
static void *pelt(void *arg)
{
    while (!AO_load_acquire(&stop))
        for (int i = 0; i < 3; i++) {
            pthread_kill(workers[i], SIGUSR1);
            oaki_os_yield();
        }
    return arg;
}

static void run_storm(bool pelted)
{
    pthread_t other;
    for (size_t i = 0; i < 3; i++) workers[i] = test_start(work, NULL);
    if (pelted) other = test_start(pelt, NULL);
    for (int i = 0; i < 30; i++) oak_collect();
    if (pelted) {
        AO_store_release(&stop, 1); /* before a worker's id is no longer one */
        test_join(other);
    }
    for (size_t i = 0; i < 3; i++) test_join(workers[i]);
    setitimer(ITIMER_PROF, &(struct itimerval){ { 0, 0 }, { 0, 0 } }, NULL);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    ck_assert_uint_ge(AO_load(&signals), SIGNALS);
    test_assert_sound();
}

START_TEST(a_profiling_timer_changes_nothing)
{
    oak_config c = test_config();
    c.gc_percent = 20;
    c.gc_threads = 2;
    c.background_sweep = 1;
    test_heap_start(c);
    install(_i ? SA_RESTART : 0);
    run_storm(false);
}
END_TEST

START_TEST(signals_from_another_thread_change_nothing)
{
    oak_config c = test_config();
    c.gc_percent = 50;
    test_heap_start(c);
    install(SA_RESTART);
    run_storm(true);
}
END_TEST

/* On an alternate stack, too: a stop then comes while the thread is on it. */
static void *work_with_alternate_stack(void *arg)
{
    static __thread char memory[64 << 10];
    stack_t s = { .ss_sp = memory, .ss_size = sizeof memory };
    ck_assert_int_eq(sigaltstack(&s, NULL), 0);
    work(arg);
    s.ss_flags = SS_DISABLE;
    ck_assert_int_eq(sigaltstack(&s, NULL), 0);
    return arg;
}

START_TEST(handlers_on_an_alternate_stack_change_nothing)
{
    if (test_skip_valgrind()) return; /* it has such a stack closed while no handler runs */
    pthread_t ids[3];
    oak_config c = test_config();
    c.gc_percent = 50;
    test_heap_start(c);
    install(SA_RESTART | SA_ONSTACK);
    for (int i = 0; i < 3; i++) ids[i] = test_start(work_with_alternate_stack, NULL);
    for (int i = 0; i < 30; i++) oak_collect();
    for (int i = 0; i < 3; i++) test_join(ids[i]);
    ck_assert_uint_eq(AO_load(&wrong), 0);
    ck_assert_uint_gt(AO_load(&signals), 0);
}
END_TEST

Suite *suite_gc_storm(void)
{
    Suite *s = suite_create("gc/storm");
    TCase *c = tcase_create("storm");
    tcase_add_loop_test(c, a_profiling_timer_changes_nothing, 0, 2);
    tcase_add_test(c, signals_from_another_thread_change_nothing);
    tcase_add_test(c, handlers_on_an_alternate_stack_change_nothing);
    suite_add_tcase(s, c);
    return s;
}

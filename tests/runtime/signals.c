/* signals.c - tests of runtime/stop.c: what the program notices of the stop signal, and what the
 * program's own signals, masks and limits do to it. */
#include "runtime/heap.h"
#include "runtime/stopsignal.h"
#include "tests/capture.h"
#include "tests/threads.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

Suite *suite_runtime_signals(void);

static AO_t ready;

/* ---- what the program notices ---- */

static void *watch_errno(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    errno = 4711;
    AO_store_release(&ready, 1);
    while (!AO_load(&test_quit)) {
        oaki_thread *t = oaki_enter();
        oaki_leave(t);
        ck_assert_int_eq(errno, 4711);
    }
    return arg;
}

START_TEST(errno_is_kept)
{
    pthread_t id = test_start(watch_errno, NULL);
    test_wait(&ready, 1);
    for (int i = 0; i < 300; i++) test_stop_and_start();
    AO_store(&test_quit, 1);
    test_join(id);
}
END_TEST

static int pipes[2];

static void *read_once(void *arg)
{
    char c = 0;
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&ready, 1);
    ck_assert_int_eq((int)read(pipes[0], &c, 1), 1);
    ck_assert_int_eq(c, 'x');
    return arg;
}

START_TEST(a_read_is_restarted)
{
    ck_assert_int_eq(pipe(pipes), 0);
    pthread_t id = test_start(read_once, NULL);
    test_wait(&ready, 1);
    for (int i = 0; i < 100; i++) test_stop_and_start();
    ck_assert_int_eq((int)write(pipes[1], "x", 1), 1);
    test_join(id);
}
END_TEST

/* As signal(7) has it, no handler lets a sleep go on: it ends early and says what is left. */
static void *sleep_in_steps(void *arg)
{
    struct timespec left = { 0, 100000000 };
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&ready, 1);
    while (nanosleep(&left, &left) != 0) ck_assert_int_eq(errno, EINTR);
    AO_store_release(&test_quit, 1);
    return arg;
}

START_TEST(a_sleep_says_what_is_left)
{
    pthread_t id = test_start(sleep_in_steps, NULL);
    test_wait(&ready, 1);
    while (!AO_load_acquire(&test_quit)) {
        test_stop_and_start();
        oaki_os_sleep_ns(1000000);
    }
    test_join(id);
}
END_TEST

/* ---- signals of the program's ---- */

static AO_t handled;

static void count_signal(int sig)
{
    (void)sig;
    int saved = errno;
    errno = EBADMSG;
    AO_fetch_and_add1(&handled);
    errno = saved;
}

static void *send_signals(void *arg)
{
    const pthread_t *to = arg;
    for (int i = 0; !AO_load(&test_quit); i++) {
        pthread_kill(to[i % 3], SIGUSR1);
        if (i % 16 == 0) oaki_os_sleep_ns(50000);
    }
    return NULL;
}

START_TEST(a_storm_of_signals_does_no_harm)
{
    static void *(*const fn[])(void *) = { test_in_and_out, test_allocate, test_block_and_unblock };
    pthread_t id[3];
    struct sigaction sa = { .sa_handler = count_signal };
    struct itimerval often = { { 0, 500 }, { 0, 500 } };
    sigaction(SIGUSR1, &sa, NULL);
    sigaction(SIGALRM, &sa, NULL);
    for (int i = 0; i < 3; i++) id[i] = test_start(fn[i], NULL);
    pthread_t sender = test_start(send_signals, id);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 100; i++) test_standstill();
    often = (struct itimerval){ { 0, 0 }, { 0, 0 } };
    setitimer(ITIMER_REAL, &often, NULL);
    AO_store(&test_quit, 1);
    test_join(sender);
    for (int i = 0; i < 3; i++) test_join(id[i]);
    ck_assert_uint_gt(AO_load(&handled), 0);
}
END_TEST

/* The kernel queues no real-time signal for a user who has too many: here until the limit is
 * lifted. There is a spare one, unless the program uses that itself. */
static struct rlimit limit;

static void *lift_limit(void *arg)
{
    oaki_os_sleep_ns(20000000);
    setrlimit(RLIMIT_SIGPENDING, &limit);
    return arg;
}

START_TEST(a_full_signal_queue_is_gone_round_or_waited_for)
{
    struct sigaction sa = { .sa_handler = count_signal };
    pthread_t id = test_start(test_in_and_out, NULL), lifter = 0;
    while (!AO_load(&test_moved)) oaki_os_yield();
    ck_assert_int_eq(oak_thread_attach(), 0);
    getrlimit(RLIMIT_SIGPENDING, &limit);
    if (_i) sigaction(SIGURG, &sa, NULL);
    setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){ 0, limit.rlim_max });
    if (_i) lifter = test_start(lift_limit, NULL);
    for (int i = 0; i < 10; i++) test_standstill();
    AO_store(&test_quit, 1);
    if (_i) test_join(lifter);
    else setrlimit(RLIMIT_SIGPENDING, &limit); /* Check tries a timer to choose its clock */
    test_join(id);
    ck_assert_uint_eq(AO_load(&handled), 0);
}
END_TEST

/* Stops in quick succession find the same threads asleep: no signals may pile up for them, as
 * real-time signals do. */
static size_t pending_signals(void)
{
    unsigned long n = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "SigQ: %lu", &n) == 1) break;
    fclose(f);
    return n;
}

START_TEST(signals_do_not_pile_up)
{
    enum { N = 4 };
    pthread_t id[N];
    size_t before = pending_signals();
    for (int i = 0; i < N; i++) id[i] = test_start(test_in_and_out, NULL);
    while (!AO_load(&test_moved)) oaki_os_yield();
    for (int i = 0; i < 500; i++) test_stop_and_start();
    ck_assert_uint_lt(pending_signals(), before + 100); /* of all processes of this user */
    AO_store(&test_quit, 1);
    for (int i = 0; i < N; i++) test_join(id[i]);
}
END_TEST

/* Each stop finds it running, and ends as it enters a region: it never takes the signal. */
#define ROUNDS 20

static void *block_with_full_mask(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (AO_t i = 1; i <= ROUNDS; i++) {
        AO_store_release(&ready, i);
        oaki_os_sleep_ns(2000000);
        oak_blocking_enter();
        test_wait(&test_moved, i);
        oak_blocking_leave();
    }
    return arg;
}

START_TEST(signals_do_not_pile_up_where_they_are_blocked)
{
    size_t before = pending_signals();
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(block_with_full_mask, NULL);
    for (AO_t i = 1; i <= ROUNDS; i++) {
        test_wait(&ready, i);
        test_stop_and_start();
        AO_store_release(&test_moved, i);
    }
    ck_assert_uint_lt(pending_signals(), before + ROUNDS / 2);
    test_join(id);
}
END_TEST

START_TEST(a_program_may_set_all_signals_back)
{
    pthread_t id = test_start(test_in_and_out, NULL);
    while (!AO_load(&test_moved)) oaki_os_yield();
    for (int s = 1; s <= SIGRTMAX; s++) signal(s, SIG_DFL);
    test_standstill();
    AO_store(&test_quit, 1);
    test_join(id);
}
END_TEST

static void *come_with_all_blocked(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&ready, 1);
    while (!AO_load(&test_quit)) AO_fetch_and_add1(&test_moved);
    return arg;
}

static AO_t handled;

static void count_handled(int sig)
{
    (void)sig;
    AO_fetch_and_add1(&handled);
}

static void set_handler(void (*handler)(int))
{
    struct sigaction sa = { .sa_handler = handler };
    ck_assert_int_eq(sigaction(oaki_stopsignal_number(), &sa, NULL), 0);
}

/* The program takes the signal for itself: the world stops, and what the program sends arrives. A
 * stop's second signal to a thread may come late, and is handed on, too. */
START_TEST(a_program_may_set_a_handler_of_its_own)
{
    pthread_t id = test_start(test_run_on, &test_moved);
    while (!AO_load(&test_moved)) oaki_os_yield();
    for (size_t i = 0; i < 20; i++) {
        set_handler(i % 2 ? count_handled : SIG_IGN);
        test_standstill();
        size_t before = AO_load(&handled);
        raise(oaki_stopsignal_number());
        if (i % 2) ck_assert_uint_gt(AO_load(&handled), before);
        else ck_assert_uint_eq(AO_load(&handled), before);
    }
    AO_store(&test_quit, 1);
    test_join(id);
}
END_TEST

START_TEST(a_thread_that_inherits_a_full_mask_lets_the_signal_in)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t id = test_start(come_with_all_blocked, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    test_wait(&ready, 1);
    test_standstill();
    AO_store(&test_quit, 1);
    test_join(id);
}
END_TEST

/* Let the thread go on once a line has come through the pipe, however long that takes; hand on all
 * that comes. */
static void *unblock_when_told(void *arg)
{
    const int *from_to = arg;
    char c;
    while (read(from_to[0], &c, 1) == 1) {
        ck_assert_int_eq((int)write(from_to[1], &c, 1), 1);
        if (c == '\n') AO_store_release(&test_quit, 1);
    }
    return arg;
}

static void stop_one_that_blocks_signals(void *arg)
{
    int from_to[] = { 0, dup(STDERR_FILENO) };
    (void)arg;
    ck_assert_int_eq(pipe(pipes), 0);
    from_to[0] = pipes[0];
    dup2(pipes[1], STDERR_FILENO);
    close(pipes[1]);
    pthread_t id = test_start(test_stay_masked, &test_quit);
    pthread_t reader = test_start(unblock_when_told, from_to);
    test_wait(&test_masked, 1);
    pthread_t runs = test_start(test_run_on, &test_moved); /* is waited for first */
    test_stop_and_start();
    test_join(id);
    test_join(runs);
    dup2(from_to[1], STDERR_FILENO); /* the last writer: the pipe ends */
    test_join(reader);
}

START_TEST(a_thread_that_blocks_the_signal_is_named_and_waited_for)
{
    char err[512];
    ck_assert_int_eq(test_capture(stop_one_that_blocks_signals, NULL, err, sizeof err), 0);
    ck_assert_ptr_nonnull(strstr(err, "does not stop"));
    ck_assert_ptr_eq(strchr(err, '\n'), err + strlen(err) - 1);
}
END_TEST

START_TEST(the_signal_is_the_one_that_was_asked_for)
{
    oak_config cfg;
    oak_config_default(&cfg);
    cfg.stop_signal = _i;
    ck_assert_int_eq(oak_init(&cfg), 0);
    struct sigaction now;
    ck_assert_int_eq(sigaction(_i ? _i : SIGRTMIN, NULL, &now), 0);
    ck_assert(now.sa_flags & SA_SIGINFO);
    ck_assert(now.sa_flags & SA_RESTART);
    ck_assert(!(now.sa_flags & SA_ONSTACK));
    pthread_t id = test_start(test_in_and_out, NULL);
    while (!AO_load(&test_moved)) oaki_os_yield();
    test_standstill();
    AO_store(&test_quit, 1);
    test_join(id);
}
END_TEST

Suite *suite_runtime_signals(void)
{
    Suite *s = suite_create("runtime_signals");
    TCase *c = tcase_create("signals");
    tcase_add_test(c, errno_is_kept);
    tcase_add_test(c, a_read_is_restarted);
    tcase_add_test(c, a_sleep_says_what_is_left);
    tcase_add_test(c, a_storm_of_signals_does_no_harm);
    tcase_add_loop_test(c, a_full_signal_queue_is_gone_round_or_waited_for, 0, 2);
    tcase_add_test(c, signals_do_not_pile_up);
    tcase_add_test(c, signals_do_not_pile_up_where_they_are_blocked);
    tcase_add_test(c, a_program_may_set_all_signals_back);
    tcase_add_test(c, a_program_may_set_a_handler_of_its_own);
    tcase_add_test(c, a_thread_that_inherits_a_full_mask_lets_the_signal_in);
    tcase_add_test(c, a_thread_that_blocks_the_signal_is_named_and_waited_for);
    tcase_add_loop_test(c, the_signal_is_the_one_that_was_asked_for, 0, 1);
    tcase_add_loop_test(c, the_signal_is_the_one_that_was_asked_for, SIGUSR2, SIGUSR2 + 1);
    suite_add_tcase(s, c);
    return s;
}

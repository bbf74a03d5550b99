/* stop.c - tests of runtime/stop.c: that a stopped world stands still wherever its threads were,
 * that what is saved of them is what they had, and what the program notices. While the world is
 * stopped nothing is asserted, as Check takes a lock that a stopped thread may hold. */
#include "runtime/collector.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

Suite *suite_runtime_stop(void);

static AO_t quit, moved, ready;

static void stop_and_start(void)
{
    oaki_gc_stop_end(oaki_gc_stop_begin());
}

/* ---- nothing moves ---- */

static void *in_and_out(void *arg)
{
    while (!AO_load(&quit)) {
        oaki_thread *t = oaki_enter();
        AO_fetch_and_add1(&moved);
        oaki_leave(t);
        AO_fetch_and_add1(&moved);
    }
    return arg;
}

static void *block_and_unblock(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&quit)) {
        oak_blocking_enter();
        oak_blocking_leave();
        AO_fetch_and_add1(&moved);
    }
    return arg;
}

static void *come_and_go(void *arg)
{
    while (!AO_load(&quit)) {
        ck_assert_int_eq(oak_thread_attach(), 0);
        AO_fetch_and_add1(&moved);
        oak_thread_detach();
    }
    return arg;
}

static void *allocate(void *arg)
{
    while (!AO_load(&quit)) {
        void **p = oak_alloc(40);
        *p = p;
        AO_fetch_and_add1(&moved);
    }
    return arg;
}

static void *exit_raw(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    syscall(SYS_exit, 0);
    return arg;
}

static void *exit_blocked(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    oak_blocking_enter();
    syscall(SYS_exit, 0);
    return arg;
}

/* Threads that end in the middle of it. */
static void start_short_lived(int i)
{
    static void *(*const ways[])(void *) = { exit_raw, exit_blocked };
    static pthread_t last;
    if (last) pthread_join(last, NULL);
    last = i < 0 ? 0 : test_start(ways[i % 2], NULL);
}

static void expect_standstill(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    bool stopped = oaki_world_stopped();
    AO_t before = AO_load(&moved);
    for (int i = 0; i < 2000; i++) oaki_pause();
    AO_t after = AO_load(&moved);
    oaki_gc_stop_end(t);
    ck_assert(stopped);
    ck_assert_uint_eq(after, before);
}

static void stop_against(void *(*const fn[])(void *), int n, int stops, bool short_lived)
{
    pthread_t id[8];
    for (int i = 0; i < n; i++) id[i] = test_start(fn[i], NULL);
    test_wait(&moved, 1);
    for (int i = 0; i < stops; i++) {
        if (short_lived && i % 10 == 0) start_short_lived(i / 10);
        expect_standstill();
    }
    if (short_lived) start_short_lived(-1);
    AO_store(&quit, 1);
    for (int i = 0; i < n; i++) test_join(id[i]);
    stop_and_start();
    ck_assert_uint_eq(oaki_the_heap.nthreads, 1);
    ck_assert_uint_gt(AO_load(&moved), 0);
}

START_TEST(nothing_moves_in_a_stopped_world)
{
    static void *(*const all[])(void *) = { in_and_out, block_and_unblock, come_and_go, allocate };
    /* the short-lived leave by SYS_exit */
    stop_against(all, 4, 100, !test_breaks_asan());
}
END_TEST

START_TEST(nothing_moves_when_all_do_the_same)
{
    static void *(*const kinds[][2])(void *) = { { in_and_out, in_and_out },
                                                 { block_and_unblock, block_and_unblock },
                                                 { come_and_go, come_and_go } };
    stop_against(kinds[_i], 2, 150, false);
}
END_TEST

/* ---- several that stop ---- */

static void *stop_often(void *arg)
{
    for (int i = 0; i < 100; i++) expect_standstill();
    return arg;
}

START_TEST(stops_by_several_threads_take_turns)
{
    pthread_t id[3];
    for (int i = 0; i < 3; i++) id[i] = test_start(stop_often, NULL);
    for (int i = 0; i < 3; i++) test_join(id[i]);
}
END_TEST

/* ---- what is saved ---- */

#define MAGIC ((uintptr_t)0x5ca1ab1e0ddba11)

static oaki_thread *other;

/* Spin with MAGIC in a callee-saved register and nowhere else. */
static void *hold_in_register(void *arg)
{
    AO_store_release((AO_t *)&other, (AO_t)oaki_thread_attach_self());
#if defined(__x86_64__)
    __asm__ volatile("movq %0, %%r14\n"
                     "notq %%r14\n"
                     "incq %1\n"
                     "1: cmpq $0, %2\n"
                     "pause\n"
                     "je 1b\n"
                     :
                     : "r"(~MAGIC), "m"(ready), "m"(quit)
                     : "r14", "memory");
#else
    register uintptr_t held __asm__("x20") = MAGIC;
    AO_store(&ready, 1);
    while (!AO_load(&quit)) __asm__ volatile("" : "+r"(held));
#endif
    return arg;
}

OAKI_NO_ASAN static bool range_has(const void *lo, const void *hi, uintptr_t word)
{
    for (const uintptr_t *p = lo; (const void *)(p + 1) <= hi; p++)
        if (*p == word) return true;
    return false;
}

START_TEST(registers_of_a_thread_in_user_code_are_above_its_stack_pointer)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(hold_in_register, NULL);
    test_wait(&ready, 1);
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_thread o = *other;
    bool found = range_has(o.sp, o.interrupted_sp, MAGIC);
    AO_store(&quit, 1);
    oaki_gc_stop_end(t);
    test_join(id);
    ck_assert(o.stack_lo < o.sp && o.sp < o.interrupted_sp && o.interrupted_sp < o.stack_hi);
    ck_assert_ptr_nonnull(o.pc);
    ck_assert_ptr_null(o.alt_lo);
    ck_assert(found);
}
END_TEST

#if defined(__x86_64__)
/* Leave the runtime with MAGIC in a callee-saved register. */
static void *hold_in_leave(void *arg)
{
    oaki_thread *t = oaki_enter();
    AO_store_release((AO_t *)&other, (AO_t)t);
    AO_store_release(&ready, 1);
    while (!t->stop_pending) oaki_pause();
    __asm__ volatile("movq %0, %%rbx\n"
                     "notq %%rbx\n"
                     "xorl %%eax, %%eax\n"
                     "call oaki_thread_park\n"
                     :
                     : "r"(~MAGIC), "D"(t)
                     : "rbx", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory");
    return arg;
}

START_TEST(registers_of_a_thread_that_parks_are_saved_or_above_its_stack_pointer)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(hold_in_leave, NULL);
    test_wait(&ready, 1);
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_thread o = *other;
    bool found = range_has(o.regs, o.regs + OAKI_REGS, MAGIC) || range_has(o.sp, o.stack_hi, MAGIC);
    oaki_gc_stop_end(t);
    test_join(id);
    ck_assert(o.stack_lo < o.sp && o.sp < o.stack_hi);
    ck_assert_ptr_null(o.pc);
    ck_assert(found);
}
END_TEST
#endif

/* ---- an alternate stack ---- */

static char *alt;
#define ALT_SIZE ((size_t)64 << 10)

static void spin_in_handler(int sig)
{
    (void)sig;
    AO_store_release(&ready, 1);
    while (!AO_load(&quit)) oaki_pause();
}

static void *spin_on_alternate_stack(void *arg)
{
    alt = malloc(ALT_SIZE);
    stack_t ss = { .ss_sp = alt, .ss_size = ALT_SIZE };
    struct sigaction sa = { .sa_handler = spin_in_handler, .sa_flags = SA_ONSTACK };
    sigaltstack(&ss, NULL);
    sigaction(SIGUSR1, &sa, NULL);
    AO_store_release((AO_t *)&other, (AO_t)oaki_thread_attach_self());
    raise(SIGUSR1);
    return arg;
}

START_TEST(a_thread_on_its_alternate_stack_says_so)
{
    pthread_t id = test_start(spin_on_alternate_stack, NULL);
    test_wait(&ready, 1);
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_thread o = *other;
    AO_store(&quit, 1);
    oaki_gc_stop_end(t);
    test_join(id);
    ck_assert_ptr_eq(o.alt_lo, alt);
    ck_assert_ptr_eq(o.alt_hi, alt + ALT_SIZE);
    ck_assert(alt < o.sp && o.sp < o.interrupted_sp && o.interrupted_sp < alt + ALT_SIZE);
    ck_assert_uint_eq(oaki_the_heap.nthreads, 1);
}
END_TEST

/* ---- what the program notices ---- */

static void *watch_errno(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    errno = 4711;
    AO_store_release(&ready, 1);
    while (!AO_load(&quit)) {
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
    for (int i = 0; i < 300; i++) stop_and_start();
    AO_store(&quit, 1);
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
    for (int i = 0; i < 100; i++) stop_and_start();
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
    AO_store_release(&quit, 1);
    return arg;
}

START_TEST(a_sleep_says_what_is_left)
{
    pthread_t id = test_start(sleep_in_steps, NULL);
    test_wait(&ready, 1);
    while (!AO_load_acquire(&quit)) {
        stop_and_start();
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
    for (int i = 0; !AO_load(&quit); i++) {
        pthread_kill(to[i % 3], SIGUSR1);
        if (i % 16 == 0) oaki_os_sleep_ns(50000);
    }
    return NULL;
}

START_TEST(a_storm_of_signals_does_no_harm)
{
    static void *(*const fn[])(void *) = { in_and_out, allocate, block_and_unblock };
    pthread_t id[3];
    struct sigaction sa = { .sa_handler = count_signal };
    struct itimerval often = { { 0, 500 }, { 0, 500 } };
    sigaction(SIGUSR1, &sa, NULL);
    sigaction(SIGALRM, &sa, NULL);
    for (int i = 0; i < 3; i++) id[i] = test_start(fn[i], NULL);
    pthread_t sender = test_start(send_signals, id);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 100; i++) expect_standstill();
    often = (struct itimerval){ { 0, 0 }, { 0, 0 } };
    setitimer(ITIMER_REAL, &often, NULL);
    AO_store(&quit, 1);
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
    pthread_t id = test_start(in_and_out, NULL), lifter = 0;
    while (!AO_load(&moved)) oaki_os_yield();
    ck_assert_int_eq(oak_thread_attach(), 0);
    getrlimit(RLIMIT_SIGPENDING, &limit);
    if (_i) sigaction(SIGURG, &sa, NULL);
    setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){ 0, limit.rlim_max });
    if (_i) lifter = test_start(lift_limit, NULL);
    for (int i = 0; i < 10; i++) expect_standstill();
    AO_store(&quit, 1);
    if (_i) test_join(lifter);
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
    for (int i = 0; i < N; i++) id[i] = test_start(in_and_out, NULL);
    while (!AO_load(&moved)) oaki_os_yield();
    for (int i = 0; i < 2000; i++) stop_and_start();
    ck_assert_uint_lt(pending_signals(), before + 500); /* of all processes of this user */
    AO_store(&quit, 1);
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
        test_wait(&moved, i);
        AO_store_release(&ready, i);
        oaki_os_sleep_ns(2000000);
        oak_blocking_enter();
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
        AO_store_release(&moved, i);
        test_wait(&ready, i);
        stop_and_start();
    }
    ck_assert_uint_lt(pending_signals(), before + ROUNDS / 2);
    test_join(id);
}
END_TEST

static void *come_with_all_blocked(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&ready, 1);
    while (!AO_load(&quit)) AO_fetch_and_add1(&moved);
    return arg;
}

START_TEST(a_thread_that_inherits_a_full_mask_lets_the_signal_in)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t id = test_start(come_with_all_blocked, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    test_wait(&ready, 1);
    expect_standstill();
    AO_store(&quit, 1);
    test_join(id);
}
END_TEST

static void *block_signals(void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    AO_store_release(&ready, 1);
    test_wait(&quit, 1);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return arg;
}

static void *unblock_late(void *arg)
{
    oaki_os_sleep_ns(2300000000u);
    AO_store_release(&quit, 1);
    return arg;
}

static void stop_one_that_blocks_signals(void *arg)
{
    (void)arg;
    pthread_t id = test_start(block_signals, NULL), late = test_start(unblock_late, NULL);
    test_wait(&ready, 1);
    stop_and_start();
    test_join(id);
    test_join(late);
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
    pthread_t id = test_start(in_and_out, NULL);
    while (!AO_load(&moved)) oaki_os_yield();
    expect_standstill();
    AO_store(&quit, 1);
    test_join(id);
}
END_TEST

Suite *suite_runtime_stop(void)
{
    Suite *s = suite_create("runtime_stop");
    TCase *c = tcase_create("stop");
    tcase_add_test(c, nothing_moves_in_a_stopped_world);
    tcase_add_loop_test(c, nothing_moves_when_all_do_the_same, 0, 3);
    tcase_add_test(c, stops_by_several_threads_take_turns);
    tcase_add_test(c, registers_of_a_thread_in_user_code_are_above_its_stack_pointer);
#if defined(__x86_64__)
    tcase_add_test(c, registers_of_a_thread_that_parks_are_saved_or_above_its_stack_pointer);
#endif
    tcase_add_test(c, a_thread_on_its_alternate_stack_says_so);
    tcase_add_test(c, errno_is_kept);
    tcase_add_test(c, a_read_is_restarted);
    tcase_add_test(c, a_sleep_says_what_is_left);
    tcase_add_test(c, a_storm_of_signals_does_no_harm);
    tcase_add_loop_test(c, a_full_signal_queue_is_gone_round_or_waited_for, 0, 2);
    tcase_add_test(c, signals_do_not_pile_up);
    tcase_add_test(c, signals_do_not_pile_up_where_they_are_blocked);
    tcase_add_test(c, a_thread_that_inherits_a_full_mask_lets_the_signal_in);
    tcase_add_test(c, a_thread_that_blocks_the_signal_is_named_and_waited_for);
    tcase_add_loop_test(c, the_signal_is_the_one_that_was_asked_for, 0, 1);
    tcase_add_loop_test(c, the_signal_is_the_one_that_was_asked_for, SIGUSR2, SIGUSR2 + 1);
    suite_add_tcase(s, c);
    return s;
}

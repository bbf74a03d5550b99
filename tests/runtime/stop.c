/* stop.c - tests of runtime/stop.c: that a stopped world stands still wherever its threads were,
 * and that what is saved of them is what they had. While the world is stopped nothing is asserted,
 * as Check takes a lock that a stopped thread may hold. */
#include "runtime/heap.h"
#include "runtime/os.h"
#include "runtime/sigframe.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>

Suite *suite_runtime_stop(void);

static AO_t ready;

/* ---- nothing moves ---- */

static void *come_and_go(void *arg)
{
    while (!AO_load(&test_quit)) {
        ck_assert_int_eq(oak_thread_attach(), 0);
        AO_fetch_and_add1(&test_moved);
        oak_thread_detach();
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

static void stop_against(void *(*const fn[])(void *), int n, int stops, bool short_lived)
{
    pthread_t id[8];
    for (int i = 0; i < n; i++) id[i] = test_start(fn[i], NULL);
    test_wait(&test_moved, 1);
    for (int i = 0; i < stops; i++) {
        if (short_lived && i % 10 == 0) start_short_lived(i / 10);
        test_standstill();
    }
    if (short_lived) start_short_lived(-1);
    AO_store(&test_quit, 1);
    for (int i = 0; i < n; i++) test_join(id[i]);
    test_stop_and_start();
    ck_assert_uint_eq(test_threads(), 1);
    ck_assert_uint_gt(AO_load(&test_moved), 0);
}

START_TEST(nothing_moves_in_a_stopped_world)
{
    static void *(*const all[])(void *) = { test_in_and_out, test_block_and_unblock,
                                            come_and_go, test_allocate };
    /* the short-lived leave by SYS_exit */
    stop_against(all, 4, 100, !test_breaks_asan());
}
END_TEST

START_TEST(nothing_moves_when_all_do_the_same)
{
    static void *(*const kinds[][2])(void *) = { { test_in_and_out, test_in_and_out },
                                                 { test_block_and_unblock, test_block_and_unblock },
                                                 { come_and_go, come_and_go } };
    stop_against(kinds[_i], 2, 150, false);
}
END_TEST

/* ---- several that stop ---- */

static void *stop_often(void *arg)
{
    for (int i = 0; i < 100; i++) test_standstill();
    return arg;
}

START_TEST(stops_by_several_threads_take_turns)
{
    pthread_t id[3];
    for (int i = 0; i < 3; i++) id[i] = test_start(stop_often, NULL);
    for (int i = 0; i < 3; i++) test_join(id[i]);
}
END_TEST

#define RUNNERS 16
#define STOPS_IN_A_ROW 150
#define STOP_NS 200000u
#define LEAST_WAIT_NS 20000u /* for one in a row */

static AO_t steps[RUNNERS];
static uint64_t waited_ns; /* before threads were asked to stand */

/* How many of n have moved since the last stop, asked in one that takes a while. */
static int moved_until_stop(int n)
{
    static AO_t before[RUNNERS];
    int moved = 0;
    uint64_t called = oaki_os_now_ns();
    oaki_thread *t = oaki_gc_stop_begin();
    uint64_t asked = oaki_world_asked_ns();
    ck_assert(called <= asked && asked <= oaki_os_now_ns());
    waited_ns += asked - called;
    for (uint64_t end = oaki_os_now_ns() + STOP_NS; oaki_os_now_ns() < end;) oaki_pause();
    for (int i = 0; i < n; i++) {
        moved += AO_load(&steps[i]) != before[i];
        before[i] = AO_load(&steps[i]);
    }
    oaki_gc_stop_end(t);
    return moved;
}

/* However soon one stop follows another: a single thread, which is slower to wake than the next
 * stop is to come, and more than there are processors. */
START_TEST(others_run_between_stops_in_a_row)
{
    int n = _i == 0 ? 1 : RUNNERS, moved = 0;
    pthread_t id[RUNNERS];
    if (test_skip_slow()) return;
    for (int i = 0; i < n; i++) id[i] = test_start(test_run_on, &steps[i]);
    for (int i = 0; i < n; i++) test_wait(&steps[i], 1);
    (void)moved_until_stop(n);
    for (int i = 0; i < STOPS_IN_A_ROW; i++) moved += moved_until_stop(n);
    AO_store(&test_quit, 1);
    for (int i = 0; i < n; i++) test_join(id[i]);
    ck_assert_int_gt(moved, STOPS_IN_A_ROW / 4);
    ck_assert_uint_gt(waited_ns, STOPS_IN_A_ROW * LEAST_WAIT_NS); /* which is not the stops' */
}
END_TEST

/* ---- one that does not stop ---- */

#define STANDS_BY_NS 50000000u /* by then the others stand, or stood and run again */
#define REST_NS 1000000u       /* between two things that one does */
#define MORE 1000u             /* steps that they are to make in that time */

static AO_t held_up; /* calls */

/* A call that lasts from when the signal is on its way until another thread has moved on, or all
 * are to end: that one may have ended by then. */
static void wait_for_another(AO_t *step)
{
    sigset_t pending;
    do {
        if (AO_load(&test_quit)) return;
        sigpending(&pending);
    } while (sigismember(&pending, SIGRTMIN) != 1);
    for (uint64_t end = oaki_os_now_ns() + STANDS_BY_NS; oaki_os_now_ns() < end;) oaki_pause();
    for (AO_t end = AO_load(step) + MORE; AO_load_acquire(step) < end; oaki_os_yield())
        if (AO_load(&test_quit)) return;
    AO_fetch_and_add1(&held_up);
}

/* Such calls of the system, one right after the other. */
static void *be_late(void *arg)
{
    sigset_t old;
    ck_assert_int_eq(oak_thread_attach(), 0);
    do {
        test_mask(&old);
        AO_store_release(&ready, 1);
        wait_for_another(arg);
        test_unmask(&old);
    } while (!AO_load(&test_quit));
    return arg;
}

static void *run_and_allocate(void *arg)
{
    while (!AO_load(&test_quit)) ck_assert_ptr_nonnull(oak_alloc(64));
    return arg;
}

static void collect_as_due(void)
{
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_DUE));
    oaki_leave(t);
}

/* The others go on meanwhile, but for those that wait for the collection; and the stop comes about
 * as soon as the thread that is late could be late again. */
START_TEST(one_that_does_not_stop_holds_up_nobody_else)
{
    static void (*const stops[])(void) = { oak_collect, collect_as_due, test_stop_and_start };
    oak_memstats before, after;
    pthread_t id[3] = { test_start(test_run_on, &steps[0]), test_start(run_and_allocate, NULL), 0 };
    oak_memstats_read(&before);
    id[2] = test_start(be_late, &steps[0]);
    test_wait(&ready, 1);
    errno = 0;
    while (AO_load(&held_up) == 0) stops[_i](); /* or was there none to be late for? */
    ck_assert_int_eq(errno, 0);
    AO_store(&test_quit, 1);
    for (int i = 0; i < 3; i++) test_join(id[i]);
    oak_memstats_read(&after);
    if (_i < 2) ck_assert_uint_gt(after.num_gc, before.num_gc);
}
END_TEST

static pthread_mutex_t needed = PTHREAD_MUTEX_INITIALIZER;

/* Late with a lock held that another needs who is late. */
static void *hold_lock(void *arg)
{
    sigset_t old;
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&test_quit)) {
        pthread_mutex_lock(&needed);
        test_mask(&old);
        oaki_os_sleep_ns(STANDS_BY_NS / 2);
        test_unmask(&old);
        pthread_mutex_unlock(&needed);
        oaki_os_sleep_ns(REST_NS);
    }
    return arg;
}

static void *need_lock(void *arg)
{
    sigset_t old;
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&test_quit)) {
        test_mask(&old);
        pthread_mutex_lock(&needed);
        oaki_os_sleep_ns(REST_NS);
        pthread_mutex_unlock(&needed);
        test_unmask(&old);
        oaki_os_sleep_ns(REST_NS);
    }
    return arg;
}

START_TEST(late_ones_that_need_each_other_are_let_go)
{
    pthread_t id[2] = { test_start(hold_lock, NULL), test_start(need_lock, NULL) };
    for (int i = 0; i < 10; i++) {
        test_stop_and_start();
        oaki_os_sleep_ns(STANDS_BY_NS);
    }
    AO_store(&test_quit, 1);
    for (int i = 0; i < 2; i++) test_join(id[i]);
}
END_TEST

static AO_t let_go;

/* Who won't wait for ever is told, and no other thread is left standing, nor the lock held. */
START_TEST(a_stop_with_a_limit_gives_up)
{
    pthread_t id[2] = { test_start(test_stay_masked, &let_go),
                        test_start(test_run_on, &steps[0]) };
    test_wait(&test_masked, 1);
    for (int i = 1; i <= 4; i++) {
        oaki_thread *t = oaki_enter();
        oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
        oaki_thread_save_context(t);
        int error = oaki_world_try_stop(t, (uint64_t)i * 10000000u);
        oaki_lock_release(&oaki_the_heap.gc_lock);
        oaki_leave(t);
        ck_assert_int_eq(error, EBUSY);
        test_wait(&steps[0], AO_load(&steps[0]) + MORE);
    }
    AO_store_release(&let_go, 1);
    test_join(id[0]);
    test_stop_and_start();
    AO_store(&test_quit, 1);
    test_join(id[1]);
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
                     : "r"(~MAGIC), "m"(ready), "m"(test_quit)
                     : "r14", "memory");
#else
    register uintptr_t held __asm__("x20") = MAGIC;
    AO_store(&ready, 1);
    while (!AO_load(&test_quit)) __asm__ volatile("" : "+r"(held));
#endif
    return arg;
}

OAKI_NO_ASAN static bool range_has(const void *lo, const void *hi, uintptr_t word)
{
    for (const uintptr_t *p = lo; (const void *)(p + 1) <= hi; p++)
        if (*p == word) return true;
    return false;
}

/* A thread that runs fn, as a stop finds it once it is ready, and whether `found` says so then. */
static oaki_thread look_at_stopped(void *(*fn)(void *), bool (*found)(const oaki_thread *t))
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(fn, NULL);
    test_wait(&ready, 1);
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_thread o = *other;
    bool is_found = found(&o);
    AO_store(&test_quit, 1);
    oaki_gc_stop_end(t);
    test_join(id);
    ck_assert(is_found);
    return o;
}

static bool magic_is_above_sp(const oaki_thread *t)
{
    return range_has(t->sp, t->interrupted_sp, MAGIC);
}

START_TEST(registers_of_a_thread_in_user_code_are_above_its_stack_pointer)
{
    oaki_thread o = look_at_stopped(hold_in_register, magic_is_above_sp);
    ck_assert(o.stack_lo < o.sp && o.sp < o.interrupted_sp && o.interrupted_sp < o.stack_hi);
    ck_assert_ptr_nonnull(o.pc);
    ck_assert_ptr_null(o.alt_lo);
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
    t->in_runtime = 0; /* as oaki_leave does first */
    AO_compiler_barrier();
    __asm__ volatile("movq %0, %%rbx\n"
                     "notq %%rbx\n"
                     "xorl %%eax, %%eax\n"
                     "call oaki_thread_park\n"
                     :
                     : "r"(~MAGIC), "D"(t)
                     : "rbx", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory");
    return arg;
}

static bool magic_is_saved_or_above_sp(const oaki_thread *t)
{
    return range_has(t->regs, t->regs + OAKI_REGS, MAGIC) || range_has(t->sp, t->stack_hi, MAGIC);
}

START_TEST(registers_of_a_thread_that_parks_are_saved_or_above_its_stack_pointer)
{
    oaki_thread o = look_at_stopped(hold_in_leave, magic_is_saved_or_above_sp);
    ck_assert(o.stack_lo < o.sp && o.sp < o.stack_hi);
    ck_assert_ptr_null(o.pc);
}
END_TEST
#endif

/* ---- the frame of a signal ---- */

#if defined(__x86_64__)
#define WORDS 2048
#define PAINT 0x5a5a600dcafe5a5au
#define RED_ZONE 128

static size_t painted_before, painted_after; /* words of the frame, registers left out */

OAKI_NO_ASAN static size_t painted(const void *lo, const void *hi)
{
    size_t n = 0;
    const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof *p);
    for (; p + 1 <= (const uintptr_t *)hi; p++) n += *p == PAINT;
    return n;
}

OAKI_NO_ASAN static void look_at_frame(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const char *top = (char *)uc->uc_mcontext.gregs[REG_RSP] - RED_ZONE;
    (void)sig;
    (void)info;
    painted_before = painted(&uc->uc_mcontext.fpregs, top);
    oaki_sigframe_clear(context, top);
    painted_after = painted(&uc->uc_mcontext.fpregs, top);
}

/* Below its caller's frame. */
OAKI_NO_ASAN OAKI_NOINLINE static void paint(void)
{
    uintptr_t word[WORDS];
    for (size_t i = 0; i < WORDS; i++) {
        word[i] = PAINT;
        __asm__ volatile("" : : "r"(word) : "memory");
    }
}

/* It stands where the frames of other calls were. Valgrind makes frames of its own. */
START_TEST(a_frame_has_nothing_that_was_there_before)
{
    struct sigaction sa = { .sa_sigaction = look_at_frame, .sa_flags = SA_SIGINFO };
    if (test_skip_slow()) return;
    sigaction(SIGUSR1, &sa, NULL);
    paint();
    raise(SIGUSR1);
    ck_assert_uint_gt(painted_before, 0);
    ck_assert_uint_eq(painted_after, 0);
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
    while (!AO_load(&test_quit)) oaki_pause();
}

static void *spin_on_alternate_stack(void *arg)
{
    alt = malloc(ALT_SIZE);
    stack_t ss = { .ss_sp = alt, .ss_size = ALT_SIZE }, old;
    struct sigaction sa = { .sa_handler = spin_in_handler, .sa_flags = SA_ONSTACK };
    sigaltstack(&ss, &old);
    sigaction(SIGUSR1, &sa, NULL);
    AO_store_release((AO_t *)&other, (AO_t)oaki_thread_attach_self());
    raise(SIGUSR1);
    sigaltstack(&old, NULL);
    free(alt);
    return arg;
}

static bool is_on_it(const oaki_thread *t)
{
    return t->alt_lo <= t->sp && t->sp < t->alt_hi;
}

START_TEST(a_thread_on_its_alternate_stack_says_so)
{
    oaki_thread o = look_at_stopped(spin_on_alternate_stack, is_on_it);
    ck_assert_ptr_eq(o.alt_lo, alt);
    ck_assert_ptr_eq(o.alt_hi, alt + ALT_SIZE);
    ck_assert(alt < o.sp && o.sp < o.interrupted_sp && o.interrupted_sp < alt + ALT_SIZE);
    ck_assert_uint_eq(test_threads(), 1);
}
END_TEST

Suite *suite_runtime_stop(void)
{
    Suite *s = suite_create("runtime_stop");
    TCase *c = tcase_create("stop");
    tcase_add_test(c, nothing_moves_in_a_stopped_world);
    tcase_add_loop_test(c, nothing_moves_when_all_do_the_same, 0, 3);
    tcase_add_test(c, stops_by_several_threads_take_turns);
    tcase_add_loop_test(c, others_run_between_stops_in_a_row, 0, 2);
    tcase_add_loop_test(c, one_that_does_not_stop_holds_up_nobody_else, 0, 3);
    tcase_add_test(c, late_ones_that_need_each_other_are_let_go);
    tcase_add_test(c, a_stop_with_a_limit_gives_up);
    tcase_add_test(c, registers_of_a_thread_in_user_code_are_above_its_stack_pointer);
#if defined(__x86_64__)
    tcase_add_test(c, registers_of_a_thread_that_parks_are_saved_or_above_its_stack_pointer);
    tcase_add_test(c, a_frame_has_nothing_that_was_there_before);
#endif
    tcase_add_test(c, a_thread_on_its_alternate_stack_says_so);
    suite_add_tcase(s, c);
    return s;
}

/* blocking.c - tests of runtime/blocking.c: nobody waits for a thread in a region or disturbs
 * it, and it doesn't come out of it while the world is stopped. Nothing is asserted in a stop
 * (stop.c says why). */
#include "runtime/collector.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <oakum/oakum.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

Suite *suite_runtime_blocking(void);

static AO_t ready, quit, out;
static oaki_thread *other;
static int pipes[2];

static void stop_and_start(void)
{
    oaki_gc_stop_end(oaki_gc_stop_begin());
}

/* Neither the signal nor the answer can be what stops it: it blocks all signals. */
static void *block_for_long(void *arg)
{
    sigset_t all;
    char c = 0;
    sigfillset(&all);
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    AO_store_release((AO_t *)&other, (AO_t)oaki_thread_self());
    oak_blocking_enter();
    AO_store_release(&ready, 1);
    ssize_t n = read(pipes[0], &c, 1);
    oak_blocking_leave();
    AO_store_release(&out, 1);
    ck_assert_int_eq((int)n, 1);
    return arg;
}

static pthread_t start_blocked(void)
{
    ck_assert_int_eq(pipe(pipes), 0);
    pthread_t id = test_start(block_for_long, NULL);
    test_wait(&ready, 1);
    return id;
}

START_TEST(a_stop_does_not_wait_for_a_blocked_thread)
{
    pthread_t id = start_blocked();
    for (int i = 0; i < 100; i++) stop_and_start();
    ck_assert_int_eq((int)write(pipes[1], "x", 1), 1);
    test_join(id);
}
END_TEST

/* Into the futex that holds it until the world runs: a thread that sleeps there is in state S,
 * so that it has been tried. */
static void wait_until_asleep(int tid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    for (;;) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
        ssize_t n = syscall(SYS_read, fd, text, sizeof text - 1);
        syscall(SYS_close, fd);
        text[n > 0 ? n : 0] = '\0';
        if (strtol(text, NULL, 10) == SYS_futex) return;
        oaki_os_yield();
    }
}

START_TEST(a_region_ends_only_when_the_world_runs)
{
    pthread_t id = start_blocked();
    oaki_thread *t = oaki_gc_stop_begin();
    char *sp = other->sp;
    unsigned state = other->state;
    ssize_t written = syscall(SYS_write, pipes[1], "x", 1);
    wait_until_asleep(other->tid);
    AO_t early = AO_load_acquire(&out);
    bool same = sp == other->sp;
    oaki_gc_stop_end(t);
    test_join(id);
    ck_assert_int_eq((int)written, 1);
    ck_assert_uint_eq(state, OAKI_THREAD_BLOCKED);
    ck_assert_uint_eq(early, 0);
    ck_assert(same);
    ck_assert_uint_eq(AO_load(&out), 1);
}
END_TEST

static void *sleep_at_a_stretch(void *arg)
{
    struct timespec while_ = { 0, 50000000 };
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&ready, 1);
    oak_blocking_enter();
    int r = nanosleep(&while_, NULL);
    oak_blocking_leave();
    ck_assert_int_eq(r, 0);
    AO_store_release(&quit, 1);
    return arg;
}

/* Its first region after a stop finds that the signal stays away; the others don't ask again. */
static void *enter_often(void *arg)
{
    oaki_thread *t = oaki_thread_attach_self();
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    AO_store_release(&ready, 1);
    while (!AO_int_load(&t->signalled)) oaki_os_yield();
    for (int i = 0; i < 100000; i++) {
        oak_blocking_enter();
        oak_blocking_leave();
    }
    return arg;
}

START_TEST(a_blocked_signal_does_not_slow_every_region)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(enter_often, NULL);
    test_wait(&ready, 1);
    stop_and_start();
    test_join(id); /* with 10 ms each, a quarter of an hour */
}
END_TEST

START_TEST(a_sleep_in_a_region_is_not_interrupted)
{
    pthread_t id = test_start(sleep_at_a_stretch, NULL);
    while (!AO_load_acquire(&quit)) {
        stop_and_start();
        oaki_os_yield();
    }
    test_join(id);
}
END_TEST

/* ---- what is saved ---- */

#if defined(__x86_64__)
#define MAGIC ((uintptr_t)0x5ca1ab1e0ddba11)

/* Call fn(arg) with MAGIC and its successors in r12 to r15, and say where the stack was. */
static OAKI_NOINLINE char *call_with_registers(void *fn, void *arg)
{
    static char *sp; /* at an address that does not depend on the stack pointer */
    __asm__ volatile("subq $128, %%rsp\n" /* the red zone */
                     "movq %%rsp, %%rbx\n"
                     "andq $-16, %%rsp\n"
                     "movq %%rsp, %0\n"
                     "movabsq %3, %%r12\n"
                     "leaq 1(%%r12), %%r13\n"
                     "leaq 2(%%r12), %%r14\n"
                     "leaq 3(%%r12), %%r15\n"
                     "call *%1\n"
                     "movq %%rbx, %%rsp\n"
                     "addq $128, %%rsp\n"
                     : "=m"(sp), "+a"(fn), "+D"(arg)
                     : "i"(MAGIC)
                     : "rbx", "r12", "r13", "r14", "r15", "rcx", "rdx", "rsi", "r8", "r9", "r10",
                       "r11", "memory");
    return sp;
}

static void expect_saved(const uintptr_t *regs, const char *sp)
{
    ck_assert_ptr_eq((char *)regs[OAKI_REG_SP], sp);
    ck_assert_ptr_eq((char *)OAKI_ALIGN_DOWN(regs[1], 16), sp); /* rbx has it unaligned */
    for (unsigned i = 0; i < 4; i++) ck_assert_uint_eq(regs[3 + i], MAGIC + i);
}

START_TEST(the_callers_registers_are_saved)
{
    oaki_thread *t = oaki_thread_attach_self();
    ck_assert_ptr_nonnull(t);
    char *sp = call_with_registers((void *)oak_blocking_enter, NULL);
    oaki_thread seen = *t;
    oak_blocking_leave();
    ck_assert_ptr_eq(seen.sp, sp);
    expect_saved(seen.regs, sp);
}
END_TEST

START_TEST(a_spill_has_all_registers)
{
    uintptr_t regs[OAKI_REGS] = { 0 };
    char *sp = call_with_registers((void *)oaki_thread_spill, regs);
    expect_saved(regs, sp);
}
END_TEST
#endif

/* Collected by another thread while the only reference is in this frame. */
static void *collect_until_quit(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    do {
        oak_collect();
        for (int i = 0; i < 1000; i++) memset(oak_alloc(48), 0x55, 48);
        AO_fetch_and_add1(&out);
    } while (!AO_load(&quit));
    return arg;
}

static void *wait_for_two_collections(void *arg)
{
    test_wait(&out, AO_load(&out) + 2);
    return arg;
}

START_TEST(what_a_blocked_frame_holds_is_kept)
{
    pthread_t id = test_start(collect_until_quit, NULL);
    for (int i = 0; i < 5; i++) {
        uintptr_t *p = oak_alloc(48), *q = oak_alloc(48);
        *p = *q = 0xfeed;
        oak_blocking_enter();
        wait_for_two_collections(NULL);
        oak_blocking_leave();
        ck_assert_ptr_eq(oak_blocking_call(wait_for_two_collections, q), q);
        ck_assert_uint_eq(*p, 0xfeed);
        ck_assert_uint_eq(*q, 0xfeed);
    }
    AO_store(&quit, 1);
    test_join(id);
}
END_TEST

/* ---- unwound ---- */

/* What a thread does in its regions, how deep they are, and whether it says for what it waits. */
typedef struct ending {
    void *(*fn)(void *);
    unsigned depth;
    bool waits;
} ending;

static void *wait_for_cancellation(void *arg)
{
    AO_store_release(&ready, 1);
    for (;;) pause();
    return arg;
}

static void *exit_thread(void *arg)
{
    AO_store_release(&ready, 1);
    pthread_exit(arg);
}

static void use_heap(void *arg)
{
    const oaki_thread *t = oaki_thread_self();
    ck_assert_uint_eq(t->state, OAKI_THREAD_RUNNING);
    ck_assert_uint_eq(t->in_runtime, 0);
    ck_assert_uint_eq(t->blocking_depth, 0);
    ck_assert_uint_eq(t->waits_for, 0);
    ck_assert_ptr_nonnull(oak_alloc(48));
    oak_collect();
    ck_assert_uint_eq(**(uintptr_t **)arg, 0xfeed);
    AO_fetch_and_add1(&out);
}

static void *enter_regions(void *arg)
{
    ending *e = arg;
    if (e->depth-- == 0) return e->fn(NULL);
    return e->waits ? oak_blocking_wait(enter_regions, e, &e->depth)
                    : oak_blocking_call(enter_regions, e);
}

static void *end_in_regions(void *arg)
{
    uintptr_t *p = oak_alloc(48);
    *p = 0xfeed;
    pthread_cleanup_push(use_heap, &p);
    (void)enter_regions(arg);
    pthread_cleanup_pop(0);
    return NULL;
}

/* It has left them, all of them, when the handlers that were there before run. */
START_TEST(an_unwound_region_is_left)
{
    static const ending endings[] = {
        { wait_for_cancellation, 1, false }, { wait_for_cancellation, 3, false },
        { wait_for_cancellation, 1, true },  { wait_for_cancellation, 2, true },
        { exit_thread, 1, false },           { exit_thread, 2, true },
    };
    ending e = endings[_i];
    if ((_i == 2 || _i == 3) && test_skip_asan()) return; /* it knows nothing of such an end */
    ck_assert_int_eq(oak_thread_attach(), 0);
    pthread_t id = test_start(end_in_regions, &e);
    test_wait(&ready, 1);
    stop_and_start();
    (void)pthread_cancel(id); /* it may have ended */
    test_join(id);
    ck_assert_uint_eq(AO_load(&out), 1);
}
END_TEST

/* ---- use and misuse ---- */

static void *check_depth(void *arg)
{
    const oaki_thread *t = oaki_thread_self();
    ck_assert_uint_eq(t->state, OAKI_THREAD_BLOCKED);
    ck_assert_uint_eq(t->blocking_depth, 2);
    return arg;
}

START_TEST(regions_nest)
{
    oaki_thread *t = oaki_thread_attach_self();
    oak_blocking_enter();
    char *sp = t->sp;
    oak_blocking_enter();
    oak_blocking_leave();
    ck_assert_uint_eq(t->state, OAKI_THREAD_BLOCKED);
    ck_assert_ptr_eq(oak_blocking_call(check_depth, t), t);
    ck_assert_uint_eq(t->state, OAKI_THREAD_BLOCKED);
    ck_assert_ptr_eq(t->sp, sp);
    oak_blocking_leave();
    ck_assert_uint_eq(t->state, OAKI_THREAD_RUNNING);
    ck_assert_uint_eq(t->in_runtime, 0);
    ck_assert_ptr_nonnull(oak_alloc(1));
}
END_TEST

static void *identity(void *arg)
{
    return arg;
}

START_TEST(a_thread_that_is_not_attached_may_use_regions)
{
    oak_blocking_enter();
    oak_blocking_leave();
    ck_assert_ptr_eq(oak_blocking_call(identity, &ready), &ready);
    ck_assert_ptr_null(oaki_thread_self());
}
END_TEST

START_TEST(errno_is_kept)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    oak_blocking_enter();
    errno = 4711;
    oak_blocking_leave();
    ck_assert_int_eq(errno, 4711);
}
END_TEST

/* An exception that is thrown in a region is made a root there. The region stays as it was. */
START_TEST(a_region_may_add_and_remove_roots)
{
    static void *words[4];
    ck_assert_int_eq(oak_thread_attach(), 0);
    oaki_thread *t = oaki_thread_self();
    oak_blocking_enter();
    oak_blocking_enter();
    const char *sp = t->sp;
    ck_assert_int_eq(oak_root_add(words, sizeof words), 0);
    ck_assert(t->in_runtime == OAKI_IN_BLOCKING && t->blocking_depth == 2);
    ck_assert_ptr_eq(t->sp, sp);
    ck_assert_int_eq(oak_root_add(NULL, 8), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(oak_root_remove(words, sizeof words), 0);
    ck_assert_int_eq(oak_root_remove(words, sizeof words), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert(t->in_runtime == OAKI_IN_BLOCKING && t->blocking_depth == 2);
    oak_blocking_leave();
    oak_blocking_leave();
    ck_assert_ptr_nonnull(oak_alloc(16));
}
END_TEST

static void allocate_in_region(void *arg)
{
    (void)arg;
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_ptr_nonnull(oak_alloc(16)); /* so that there is a run */
    oak_blocking_enter();
    (void)!oak_alloc(16);
}

static void leave_without_enter(void *arg)
{
    (void)arg;
    ck_assert_int_eq(oak_thread_attach(), 0);
    oak_blocking_leave();
}

static void block_in_runtime(void *arg)
{
    (void)arg;
    (void)oaki_enter();
    oak_blocking_enter();
}

START_TEST(misuse_is_fatal)
{
    static const struct {
        void (*fn)(void *);
        const char *text;
    } cases[] = { { allocate_in_region, "called in a blocking region" },
                  { leave_without_enter, "without oak_blocking_enter" },
                  { block_in_runtime, "from inside Oakum" } };
    char err[512];
    int status = test_capture(cases[_i].fn, NULL, err, sizeof err);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_nonnull(strstr(err, cases[_i].text));
}
END_TEST

Suite *suite_runtime_blocking(void)
{
    Suite *s = suite_create("runtime_blocking");
    TCase *c = tcase_create("blocking");
    tcase_add_test(c, a_stop_does_not_wait_for_a_blocked_thread);
    tcase_add_test(c, a_region_ends_only_when_the_world_runs);
    tcase_add_test(c, a_blocked_signal_does_not_slow_every_region);
    tcase_add_test(c, a_sleep_in_a_region_is_not_interrupted);
#if defined(__x86_64__)
    tcase_add_test(c, the_callers_registers_are_saved);
    tcase_add_test(c, a_spill_has_all_registers);
#endif
    tcase_add_test(c, what_a_blocked_frame_holds_is_kept);
    tcase_add_loop_test(c, an_unwound_region_is_left, 0, 6);
    tcase_add_test(c, regions_nest);
    tcase_add_test(c, a_region_may_add_and_remove_roots);
    tcase_add_test(c, a_thread_that_is_not_attached_may_use_regions);
    tcase_add_test(c, errno_is_kept);
    tcase_add_loop_test(c, misuse_is_fatal, 0, 3);
    suite_add_tcase(s, c);
    return s;
}

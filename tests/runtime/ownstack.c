/* ownstack.c - tests of runtime/ownstack.h: the bounds are what libc says where libc knows them, on
 * whatever stack they are asked for, and an unknown thread's lie in its memory. */
#include "runtime/ownstack.h"
#include "runtime/dlroots.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

Suite *suite_runtime_ownstack(void);

typedef struct bounds {
    char *lo, *hi;
} bounds;

static bounds ours(void)
{
    bounds b;
    oaki_ownstack(oaki_os_tid(), &b.lo, &b.hi);
    return b;
}

static bounds libcs(void)
{
    pthread_attr_t attr;
    void *lo;
    size_t n;
    ck_assert_int_eq(pthread_getattr_np(pthread_self(), &attr), 0);
    ck_assert_int_eq(pthread_attr_getstack(&attr, &lo, &n), 0);
    pthread_attr_destroy(&attr);
    return (bounds){ lo, (char *)lo + n };
}

static void *compare(void *arg)
{
    bounds a = ours(), b = libcs();
    errno = 77;
    (void)ours();
    ck_assert_int_eq(errno, 77);
    ck_assert_ptr_eq(a.lo, b.lo);
    ck_assert_ptr_eq(a.hi, b.hi);
    return arg;
}

/* ---- threads of libc's ---- */

static void with_attr(pthread_attr_t *attr)
{
    pthread_t id;
    ck_assert_int_eq(pthread_create(&id, attr, compare, NULL), 0);
    test_join(id);
    pthread_attr_destroy(attr);
}

START_TEST(stacks_that_libc_has_mapped)
{
    pthread_attr_t attr;
    test_join(test_start(compare, NULL));
    test_join(test_start(compare, NULL)); /* on the same stack */
    pthread_attr_init(&attr);
    pthread_attr_setguardsize(&attr, 0);
    with_attr(&attr);
    pthread_attr_init(&attr);
    pthread_attr_setguardsize(&attr, (size_t)1 << 20);
    pthread_attr_setstacksize(&attr, (size_t)4 << 20);
    with_attr(&attr);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    with_attr(&attr);
}
END_TEST

/* Not at a page's beginning, nor of whole pages; and the neighbours' memory is the same mapping. */
START_TEST(stacks_that_the_program_has_given)
{
    size_t n = (size_t)1 << 20;
    char *p = oaki_os_map(3 * n);
    pthread_attr_t attr;
    ck_assert_ptr_nonnull(p);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstack(&attr, p + n + 48, 300000), 0);
    with_attr(&attr);
    oaki_os_release(p, 3 * n);
}
END_TEST

static bool has(bounds b, const char *p)
{
    return b.lo < p && p < b.hi;
}

/* For libc it ends in the page of the first frame: before the arrays where they are large. */
static void compare_first(void *arg)
{
    bounds a = ours(), b = libcs();
    (void)arg;
    ck_assert(has(a, __builtin_frame_address(0)));
    ck_assert(a.lo < b.hi && b.hi <= (char *)OAKI_ALIGN_UP((uintptr_t)a.hi, oaki_os_page_size()));
    ck_assert(a.hi >= (char *)environ);
}

START_TEST(the_first_thread)
{
    char text[64];
    if (test_skip_valgrind()) return;
    ck_assert_int_eq(test_capture(compare_first, NULL, text, sizeof text), 0);
}
END_TEST

/* Its id is the process's, as the first thread's is elsewhere. */
static void *fork_and_compare(void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        compare(NULL);
        _exit(0);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
    return arg;
}

START_TEST(a_child_of_another_thread)
{
    if (!test_skip_asan()) test_join(test_start(fork_and_compare, NULL));
}
END_TEST

/* ---- on other stacks ---- */

static bounds seen;

static void see(int sig)
{
    (void)sig;
    seen = ours();
}

static void *on_a_signal_stack(void *arg)
{
    struct sigaction sa = { .sa_handler = see, .sa_flags = SA_ONSTACK };
    stack_t stack = { .ss_sp = oaki_os_map(1 << 20), .ss_size = 1 << 20 };
    bounds own = ours();
    ck_assert_int_eq(sigaltstack(&stack, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, &sa, NULL), 0);
    raise(SIGUSR1);
    ck_assert_ptr_eq(seen.lo, own.lo);
    ck_assert_ptr_eq(seen.hi, own.hi);
    stack.ss_flags = SS_DISABLE;
    ck_assert_int_eq(sigaltstack(&stack, NULL), 0);
    oaki_os_release(stack.ss_sp, 1 << 20);
    return arg;
}

START_TEST(on_the_stack_of_a_handler)
{
    on_a_signal_stack(NULL);
    test_join(test_start(on_a_signal_stack, NULL));
}
END_TEST

/* ---- a thread that libc doesn't know ---- */

#if defined(__x86_64__) && !defined(OAKI_ASAN)

#define TLS_MOST ((size_t)1 << 20)
#define STACK ((size_t)256 << 10)

static bounds unknown;
static char *unknown_frame, *unknown_tp;
static unsigned int unknown_done;

static int run_unknown(void *arg)
{
    unknown_frame = __builtin_frame_address(0);
    unknown_tp = oaki_thread_pointer();
    unknown = ours();
    AO_int_store_release(&unknown_done, 1);
    oaki_futex_wake(&unknown_done, 1);
    syscall(SYS_exit, 0);
    return arg != NULL;
}

/* As one that makes threads by itself: what lies around its thread pointer is a copy of ours. With
 * a gap below the copy, and without. */
static void *start_unknown(void *arg)
{
    size_t room = STACK + 2 * TLS_MOST;
    char *p = oaki_os_map(room), *tp = p + room - TLS_MOST / 2, *from = oaki_thread_pointer();
    const char *area, *end;
    oaki_tlsroots_static(from, &area, &end);
    size_t above = (size_t)(end - from), below = (size_t)(from - area);
    ck_assert_uint_lt(above + below, TLS_MOST / 2);
    memcpy(tp - below, from - below, above + below);
    ((char **)tp)[0] = ((char **)tp)[2] = tp;
    if (arg) ck_assert_int_eq(mprotect(p + STACK, 4096, PROT_NONE), 0);
    AO_int_store(&unknown_done, 0);
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                CLONE_SETTLS;
    ck_assert_int_gt(clone(run_unknown, p + STACK, flags, NULL, NULL, tp, NULL), 0);
    while (!AO_int_load_acquire(&unknown_done)) oaki_futex_wait(&unknown_done, 0, 0);
    ck_assert_ptr_eq(unknown_tp, tp);
    if (arg) {
        ck_assert_ptr_null(unknown.hi);
    } else {
        ck_assert(has(unknown, unknown_frame));
        ck_assert_ptr_eq(unknown.hi, tp);
        ck_assert(unknown.lo >= p);
    }
    return NULL; /* its memory stays: it may still be on its way out */
}

START_TEST(threads_of_clone)
{
    static char gap;
    ck_assert_int_eq(oak_init(NULL), 0); /* which learns the layout */
    if (test_skip_valgrind()) return;
    test_join(test_start(start_unknown, _i ? &gap : NULL));
}
END_TEST

#endif

Suite *suite_runtime_ownstack(void)
{
    Suite *s = suite_create("runtime_ownstack");
    TCase *t = tcase_create("ownstack");
    suite_add_tcase(s, t);
    tcase_add_test(t, stacks_that_libc_has_mapped);
    tcase_add_test(t, stacks_that_the_program_has_given);
    tcase_add_test(t, the_first_thread);
    tcase_add_test(t, a_child_of_another_thread);
    tcase_add_test(t, on_the_stack_of_a_handler);
#if defined(__x86_64__) && !defined(OAKI_ASAN)
    tcase_add_loop_test(t, threads_of_clone, 0, 2);
#endif
    return s;
}

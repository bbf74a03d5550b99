/* roots_stacks.c - what only a frame refers to: on the thread's own stack, below its stack pointer,
 * in a signal handler on an alternate stack and in what that interrupted, in a blocked thread, on a
 * stack that Oakum was not told of. */
#include "roots_asm.h"

#include <check.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

Suite *suite_gc_roots_stacks(void);

#define NOINLINE __attribute__((noinline))
#define STACK 65536

static roots_group group, other;
static roots_step step, handler_step;

/* fn(arg) with the group in this frame. */
static NOINLINE void hold(const roots_group *g, size_t add, void (*fn)(void *), void *arg)
{
    void *local[ROOTS_N];
    roots_reveal(g, local, add);
    fn(arg);
    roots_forget(local);
}

static void assert_kept(void *arg)
{
    roots_assert_kept(roots_alive(arg));
}

START_TEST(a_frame_of_the_thread_that_collects_keeps_objects)
{
    roots_start();
    roots_make(&group, 48);
    hold(&group, 0, assert_kept, &group);
    roots_assert_gone(roots_alive(&group));
}
END_TEST

START_TEST(one_past_the_end_in_a_frame_keeps_the_object)
{
    roots_start();
    roots_make(&group, 48);
    hold(&group, 48, assert_kept, &group);
    roots_assert_gone(roots_alive(&group));
}
END_TEST

/* ---- another thread, which holds the group as `how` says ---- */

static void arrive(void *arg)
{
    roots_arrive(arg);
}

static void block(void *arg)
{
    oak_blocking_enter();
    roots_arrive(arg);
    oak_blocking_leave();
}

static void (*how)(void *);

static void *run(void *unused)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    hold(&group, 0, how, &step);
    roots_clean();
    return unused;
}

static void other_thread(void (*with)(void *))
{
    pthread_t t;
    roots_start();
    roots_make(&group, 48);
    how = with;
    ck_assert_int_eq(pthread_create(&t, NULL, run, NULL), 0);
    roots_await(&step);
    roots_assert_kept(roots_alive(&group));
    roots_let_go(&step);
    pthread_join(t, NULL);
    roots_assert_gone(roots_alive(&group));
}

START_TEST(a_frame_of_a_stopped_thread_keeps_objects)
{
    other_thread(arrive);
}
END_TEST

START_TEST(a_frame_of_a_blocked_thread_keeps_objects)
{
    other_thread(block);
}
END_TEST

/* ---- signal handlers ---- */

static void on_signal(int sig)
{
    (void)sig;
    hold(&other, 0, arrive, &handler_step);
}

static void handle_on(void *stack, int flags)
{
    stack_t ss = { .ss_sp = stack, .ss_size = STACK, .ss_flags = flags };
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
    ck_assert_int_eq(sigaltstack(&ss, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, &sa, NULL), 0);
}

static uintptr_t below_sp, below_sp_after;

/* Nothing but 8 bytes below the stack pointer refers to the object of below_sp. */
static void wait_with_red_zone(void *arg)
{
    below_sp_after = roots_spin_redzone(below_sp, 0, arg);
}

static void *interrupted_on_alternate(void *flags)
{
    void *stack = roots_map_stack();
    ck_assert_int_eq(oak_thread_attach(), 0);
    handle_on(stack, *(int *)flags);
    hold(&group, 0, roots_spin_redzone ? wait_with_red_zone : arrive, &step);
    roots_clean();
    return NULL;
}

/* The last object of `third` is the one in the red zone. */
static void alternate(void *(*thread)(void *), int flags)
{
    static roots_group third;
    pthread_t t;
    roots_start();
    roots_make(&group, 48);
    roots_make(&other, 48);
    roots_make(&third, 48);
    below_sp = third.hidden[ROOTS_N - 1];
    ck_assert_int_eq(pthread_create(&t, NULL, thread, &flags), 0);
    roots_await(&step);
    ck_assert_int_eq(pthread_kill(t, SIGUSR1), 0);
    roots_await(&handler_step);
    roots_assert_kept(roots_alive(&group));
    roots_assert_kept(roots_alive(&other));
    if (roots_spin_redzone) ck_assert(!third.dead[ROOTS_N - 1]);
    roots_let_go(&handler_step);
    roots_let_go(&step);
    pthread_join(t, NULL);
    if (roots_spin_redzone) ck_assert_uint_eq(below_sp_after, below_sp);
    roots_assert_gone(roots_alive(&group));
    roots_assert_gone(roots_alive(&other));
    roots_assert_gone(roots_alive(&third));
}

START_TEST(a_handler_on_an_alternate_stack_and_what_it_interrupted_keep_objects)
{
    alternate(interrupted_on_alternate, 0);
}
END_TEST

/* The kernel forgets the alternate stack while the handler runs: nobody knows that stack.
 * Valgrind's kernel has no such flag. */
START_TEST(a_handler_on_an_alternate_stack_that_disarms_itself_keeps_objects)
{
    static char unused[STACK];
    const int autodisarm = (int)0x80000000;
    stack_t ss = { .ss_sp = unused, .ss_size = STACK, .ss_flags = autodisarm };
    if (!test_skip(sigaltstack(&ss, NULL) != 0, "there is no SS_AUTODISARM"))
        alternate(interrupted_on_alternate, autodisarm);
}
END_TEST

/* The alternate stack is an array in a frame of the thread's own stack. */
static void *interrupted_inside_own_stack(void *flags)
{
    char stack[STACK];
    ck_assert_int_eq(oak_thread_attach(), 0);
    handle_on(stack, *(int *)flags);
    hold(&group, 0, roots_spin_redzone ? wait_with_red_zone : arrive, &step);
    sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
    return NULL;
}

START_TEST(an_alternate_stack_inside_the_own_stack_keeps_objects)
{
    alternate(interrupted_inside_own_stack, 0);
}
END_TEST

/* ---- a stack that nobody described ---- */

static ucontext_t *from, *to;

static void on_unknown(void)
{
    hold(&other, 0, arrive, &step);
    swapcontext(to, from);
}

static void switch_to_unknown(void *stack)
{
    getcontext(to);
    to->uc_stack = (stack_t){ .ss_sp = stack, .ss_size = STACK };
    makecontext(to, on_unknown, 0);
    swapcontext(from, to);
}

static void *run_on_unknown(void *unused)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    hold(&group, 0, switch_to_unknown, roots_map_stack());
    roots_clean();
    return unused;
}

START_TEST(a_stack_that_nobody_described_and_the_own_one_keep_objects)
{
    pthread_t t;
    roots_start();
    from = calloc(1, sizeof *from);
    to = calloc(1, sizeof *to);
    roots_make(&group, 48);
    roots_make(&other, 48);
    ck_assert_int_eq(pthread_create(&t, NULL, run_on_unknown, NULL), 0);
    roots_await(&step);
    roots_assert_kept(roots_alive(&group));
    roots_assert_kept(roots_alive(&other));
    roots_let_go(&step);
    pthread_join(t, NULL);
    roots_assert_gone(roots_alive(&group));
    roots_assert_gone(roots_alive(&other));
    free(from);
    free(to);
}
END_TEST

Suite *suite_gc_roots_stacks(void)
{
    Suite *s = suite_create("gc/roots_stacks");
    TCase *c = tcase_create("stacks");
    test_skip(!roots_spin_redzone, "words below the stack pointer are written for x86-64 alone");
    tcase_add_test(c, a_frame_of_the_thread_that_collects_keeps_objects);
    tcase_add_test(c, one_past_the_end_in_a_frame_keeps_the_object);
    tcase_add_test(c, a_frame_of_a_stopped_thread_keeps_objects);
    tcase_add_test(c, a_frame_of_a_blocked_thread_keeps_objects);
    tcase_add_test(c, a_handler_on_an_alternate_stack_and_what_it_interrupted_keep_objects);
    tcase_add_test(c, a_handler_on_an_alternate_stack_that_disarms_itself_keeps_objects);
    tcase_add_test(c, an_alternate_stack_inside_the_own_stack_keeps_objects);
    tcase_add_test(c, a_stack_that_nobody_described_and_the_own_one_keep_objects);
    suite_add_tcase(s, c);
    return s;
}

/* roots_fiber.c - what only a fiber's stack refers to: parked, running, never run, between
 * oak_fiber_switch and the switch, unreachable; and misuse. */
#include "tests/capture.h"
#include "tests/gc/roots_support.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

Suite *suite_gc_roots_fiber(void);

#define NOINLINE __attribute__((noinline))
#define STACK ((size_t)131072)
#define FIBERS 3

static roots_group group[FIBERS], native;

/* A fiber for each group. What ucontext saves is in the host's memory, where nobody looks. */
static oak_fiber *fiber[FIBERS];
static ucontext_t *context[FIBERS], *home;
static void *stack[FIBERS];
static size_t add;

/* ---- switching ---- */

static void go(int from, int to)
{
    oak_fiber_switch(to < 0 ? NULL : fiber[to]);
    swapcontext(from < 0 ? home : context[from], to < 0 ? home : context[to]);
}

/* What fiber i does when it is run; it is in its frame that the group is. */
static void (*act[FIBERS])(int i);

static NOINLINE void hold(int i)
{
    void *local[ROOTS_N];
    roots_reveal(&group[i], local, add);
    act[i](i);
    roots_forget(local);
}

static void body(int i)
{
    hold(i);
    roots_clean();
    for (;;) go(i, -1);
}

static void start(void)
{
    roots_start();
    home = calloc(1, sizeof *home);
    roots_make(&native, 48);
}

static NOINLINE void make_on(int i, void *memory, void *data)
{
    stack[i] = memory;
    context[i] = calloc(1, sizeof **context);
    fiber[i] = oak_fiber_new(memory, STACK, data);
    ck_assert_ptr_nonnull(fiber[i]);
    ck_assert_ptr_eq(oak_fiber_data(fiber[i]), data);
    getcontext(context[i]);
    context[i]->uc_stack = (stack_t){ .ss_sp = memory, .ss_size = STACK };
    makecontext(context[i], (void (*)(void))body, 1, i);
    roots_make(&group[i], 48);
}

static void make(int i)
{
    void *p = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    make_on(i, p, NULL);
}

static void home_again(int i)
{
    go(i, -1);
}

/* ---- parked ---- */

static void park(void)
{
    start();
    make(0);
    act[0] = home_again;
    go(-1, 0);
    ck_assert_ptr_null(oak_fiber_current());
}

START_TEST(a_parked_fibers_stack_keeps_objects)
{
    park();
    roots_assert_kept(roots_alive(&group[0]));
    roots_assert_kept(roots_alive_elsewhere(&group[0]));
    go(-1, 0); /* forgets them */
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

START_TEST(one_past_the_end_in_a_parked_fibers_stack_keeps_the_object)
{
    add = 48;
    park();
    roots_assert_kept(roots_alive(&group[0]));
    go(-1, 0);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

START_TEST(an_unreachable_fiber_keeps_nothing)
{
    park();
    roots_assert_kept(roots_alive(&group[0]));
    fiber[0] = NULL;
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

START_TEST(a_freed_fiber_keeps_nothing_and_its_stack_may_go)
{
    park();
    roots_assert_kept(roots_alive(&group[0]));
    oak_fiber_free(fiber[0]);
    oak_fiber_free(fiber[0]);
    ck_assert_int_eq(munmap(stack[0], STACK), 0);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

/* The program thinks that it has dropped the fiber, but some word still refers to it. */
START_TEST(a_fiber_whose_stack_is_unmapped_is_no_danger)
{
    park();
    ck_assert_int_eq(munmap(stack[0], STACK), 0);
    roots_assert_gone(roots_alive(&group[0]));
    ck_assert_ptr_nonnull(fiber[0]);
}
END_TEST

START_TEST(a_stack_in_the_heap_lives_with_its_fiber)
{
    start();
    make_on(0, oak_alloc_noscan(STACK), NULL);
    act[0] = home_again;
    go(-1, 0);
    stack[0] = NULL;
    roots_assert_kept(roots_alive(&group[0]));
    go(-1, 0);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

START_TEST(data_is_kept_with_the_fiber_that_never_ran)
{
    start();
    void **data = oak_alloc(sizeof(void *) * ROOTS_N);
    make(1);
    roots_make(&group[0], 48);
    roots_reveal(&group[0], data, 0);
    fiber[0] = oak_fiber_new(stack[1], STACK, data);
    data = NULL;
    roots_assert_kept(roots_alive(&group[0]));
    fiber[0] = NULL;
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

START_TEST(what_is_laid_out_on_a_stack_that_never_ran_is_kept)
{
    start();
    make(0);
    roots_reveal(&group[0], (void **)((char *)stack[0] + STACK) - ROOTS_N, 0);
    roots_assert_kept(roots_alive(&group[0]));
}
END_TEST

/* ---- running ---- */

static size_t seen[FIBERS], seen_elsewhere[FIBERS], seen_native;

static void look(int i)
{
    ck_assert_ptr_eq(oak_fiber_current(), fiber[i]);
    seen[i] = roots_alive(&group[i]);
    seen_elsewhere[i] = roots_alive_elsewhere(&group[i]);
    seen_native = roots_alive(&native);
}

static NOINLINE void hold_natively(void (*fn)(void))
{
    void *local[ROOTS_N];
    roots_reveal(&native, local, 0);
    fn();
    roots_forget(local);
}

static void go_there(void)
{
    go(-1, 0);
}

START_TEST(the_running_fibers_stack_and_the_threads_own_keep_objects)
{
    start();
    make(0);
    act[0] = look;
    hold_natively(go_there);
    roots_assert_kept(seen[0]);
    roots_assert_kept(seen_elsewhere[0]);
    roots_assert_kept(seen_native);
    roots_assert_gone(roots_alive(&group[0]));
    roots_assert_gone(roots_alive(&native));
}
END_TEST

/* The record is all that knows the fiber while it runs. */
static void forget_and_look(int i)
{
    oak_fiber *here = fiber[i];
    uintptr_t hidden = (uintptr_t)here ^ ROOTS_MASK;
    fiber[i] = here = NULL;
    roots_clean();
    seen[i] = roots_alive(&group[i]);
    ck_assert_uint_eq((uintptr_t)oak_fiber_current() ^ ROOTS_MASK, hidden);
}

START_TEST(a_running_fiber_is_reachable)
{
    start();
    make(0);
    act[0] = forget_and_look;
    go(-1, 0);
    roots_assert_kept(seen[0]);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

/* ---- between oak_fiber_switch and the switch ---- */

static void look_before_leaving_home(void)
{
    oak_fiber_switch(fiber[0]);
    seen_native = roots_alive_elsewhere(&native);
    seen[0] = roots_alive_elsewhere(&group[0]);
    swapcontext(home, context[0]);
}

START_TEST(both_stacks_count_on_the_way_to_a_fiber)
{
    park();
    hold_natively(look_before_leaving_home);
    roots_assert_kept(seen_native);
    roots_assert_kept(seen[0]);
    roots_assert_gone(roots_alive(&group[0]));
    roots_assert_gone(roots_alive(&native));
}
END_TEST

static void look_before_going_home(int i)
{
    oak_fiber_switch(NULL);
    fiber[i] = NULL; /* nobody else knows it */
    seen_native = roots_alive_elsewhere(&native);
    seen[i] = roots_alive_elsewhere(&group[i]);
    swapcontext(context[i], home);
}

START_TEST(both_stacks_count_on_the_way_home)
{
    start();
    make(0);
    act[0] = look_before_going_home;
    hold_natively(go_there);
    roots_assert_kept(seen_native);
    roots_assert_kept(seen[0]);
    roots_assert_gone(roots_alive(&group[0]));
    roots_assert_gone(roots_alive(&native));
}
END_TEST

static void look_before_going_on(int i)
{
    oak_fiber_switch(fiber[1]);
    fiber[i] = NULL;
    seen[0] = roots_alive_elsewhere(&group[0]);
    seen[1] = roots_alive_elsewhere(&group[1]);
    seen_native = roots_alive_elsewhere(&native);
    swapcontext(context[i], context[1]);
}

static void go_to_second(void)
{
    go(-1, 1);
    go(-1, 0);
}

START_TEST(all_stacks_count_on_the_way_from_fiber_to_fiber)
{
    start();
    make(0);
    make(1);
    act[0] = look_before_going_on;
    act[1] = home_again;
    hold_natively(go_to_second);
    roots_assert_kept(seen[0]);
    roots_assert_kept(seen[1]);
    roots_assert_kept(seen_native);
    roots_assert_gone(roots_alive(&group[0])); /* parked, and nobody knows it */
    roots_assert_gone(roots_alive(&group[1]));
}
END_TEST

/* ---- threads ---- */

static void *run_fiber(void *unused)
{
    ucontext_t *mine = calloc(1, sizeof *mine);
    home = mine;
    go(-1, 0);
    free(mine);
    return unused;
}

START_TEST(a_fiber_may_go_on_on_another_thread)
{
    pthread_t t;
    park();
    free(home);
    ck_assert_int_eq(pthread_create(&t, NULL, run_fiber, NULL), 0);
    pthread_join(t, NULL);
    roots_assert_gone(roots_alive(&group[0]));
}
END_TEST

static void leave_thread(int i)
{
    (void)i;
    pthread_exit(NULL);
}

START_TEST(a_thread_may_end_on_a_fiber)
{
    pthread_t t;
    start();
    make(0);
    act[0] = leave_thread;
    free(home);
    ck_assert_int_eq(pthread_create(&t, NULL, run_fiber, NULL), 0);
    pthread_join(t, NULL);
    roots_assert_gone(roots_alive(&group[0]));
    oak_fiber_free(fiber[0]);
}
END_TEST

/* ---- misuse ---- */

static void *switch_there(void *unused)
{
    oak_fiber_switch(fiber[0]);
    return unused;
}

static void switch_elsewhere(int i)
{
    pthread_t t;
    (void)i;
    pthread_create(&t, NULL, switch_there, NULL);
    pthread_join(t, NULL);
}

static void take_over(void *unused)
{
    (void)unused;
    start();
    make(0);
    act[0] = switch_elsewhere;
    go(-1, 0);
}

static void switch_to_freed(void *unused)
{
    (void)unused;
    park();
    oak_fiber_free(fiber[0]);
    oak_fiber_switch(fiber[0]);
}

static void switch_to_object(void *unused)
{
    (void)unused;
    start();
    oak_fiber_switch(oak_alloc(1000));
}

static void free_itself(int i)
{
    oak_fiber_free(fiber[i]);
}

static void free_running(void *unused)
{
    (void)unused;
    start();
    make(0);
    act[0] = free_itself;
    go(-1, 0);
}

static const struct {
    void (*fn)(void *);
    const char *says;
} misuse[] = {
    { take_over, "runs on another thread" },
    { switch_to_freed, "has been freed" },
    { switch_to_object, "is not a fiber" },
    { free_running, "a thread runs on fiber" },
};

START_TEST(misuse_is_fatal)
{
    char out[1000];
    int status = test_capture(misuse[_i].fn, NULL, out, sizeof out);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %d: %s", status, out);
    ck_assert_msg(strstr(out, misuse[_i].says) != NULL, "%s", out);
}
END_TEST

START_TEST(bad_stacks_are_refused)
{
    static char memory[64];
    roots_start();
    const struct {
        void *p;
        size_t n;
    } bad[] = { { NULL, 4096 }, { memory, 0 }, { memory, 1 }, { memory, SIZE_MAX } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        ck_assert_ptr_null(oak_fiber_new(bad[i].p, bad[i].n, NULL));
        ck_assert_int_eq(errno, EINVAL);
    }
    oak_fiber_free(NULL);
    ck_assert_ptr_null(oak_fiber_current());
}
END_TEST

Suite *suite_gc_roots_fiber(void)
{
    Suite *s = suite_create("gc/roots_fiber");
    TCase *c = tcase_create("fiber");
    tcase_add_test(c, a_parked_fibers_stack_keeps_objects);
    tcase_add_test(c, one_past_the_end_in_a_parked_fibers_stack_keeps_the_object);
    tcase_add_test(c, an_unreachable_fiber_keeps_nothing);
    tcase_add_test(c, a_freed_fiber_keeps_nothing_and_its_stack_may_go);
    tcase_add_test(c, a_fiber_whose_stack_is_unmapped_is_no_danger);
    tcase_add_test(c, a_stack_in_the_heap_lives_with_its_fiber);
    tcase_add_test(c, data_is_kept_with_the_fiber_that_never_ran);
    tcase_add_test(c, what_is_laid_out_on_a_stack_that_never_ran_is_kept);
    tcase_add_test(c, the_running_fibers_stack_and_the_threads_own_keep_objects);
    tcase_add_test(c, a_running_fiber_is_reachable);
    tcase_add_test(c, both_stacks_count_on_the_way_to_a_fiber);
    tcase_add_test(c, both_stacks_count_on_the_way_home);
    tcase_add_test(c, all_stacks_count_on_the_way_from_fiber_to_fiber);
    tcase_add_test(c, a_fiber_may_go_on_on_another_thread);
    tcase_add_test(c, a_thread_may_end_on_a_fiber);
    tcase_add_loop_test(c, misuse_is_fatal, 0, sizeof misuse / sizeof *misuse);
    tcase_add_test(c, bad_stacks_are_refused);
    suite_add_tcase(s, c);
    return s;
}

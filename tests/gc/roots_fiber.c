/* roots_fiber.c - what only a fiber's stack refers to: parked, running, never run, unreachable; and
 * misuse. */
#include "roots_coroutine.h"
#include "tests/capture.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

Suite *suite_gc_roots_fiber(void);

/* ---- parked ---- */

START_TEST(a_parked_fibers_stack_keeps_objects)
{
    co_park();
    roots_assert_kept(roots_alive(&co.group[0]));
    roots_assert_kept(roots_alive_elsewhere(&co.group[0]));
    co_go(-1, 0); /* forgets them */
    roots_assert_gone(roots_alive(&co.group[0]));
}
END_TEST

START_TEST(one_past_the_end_in_a_parked_fibers_stack_keeps_the_object)
{
    co.add = 48;
    co_park();
    roots_assert_kept(roots_alive(&co.group[0]));
    co_go(-1, 0);
    roots_assert_gone(roots_alive(&co.group[0]));
}
END_TEST

START_TEST(an_unreachable_fiber_keeps_nothing)
{
    co_park();
    roots_assert_kept(roots_alive(&co.group[0]));
    co.fiber[0] = NULL;
    roots_assert_gone(roots_alive(&co.group[0]));
}
END_TEST

/* Nothing else is to be mapped there. */
static void unmap(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    ck_assert_ptr_eq(mmap(co.stack[0], COROUTINE_STACK, PROT_NONE, flags, -1, 0), co.stack[0]);
}

START_TEST(a_freed_fiber_keeps_nothing_and_its_stack_may_go)
{
    co_park();
    roots_assert_kept(roots_alive(&co.group[0]));
    oak_fiber_free(co.fiber[0]);
    oak_fiber_free(co.fiber[0]);
    unmap();
    roots_assert_gone(roots_alive(&co.group[0]));
}
END_TEST

/* The program thinks that it has dropped the fiber, but some word still refers to it. */
START_TEST(a_fiber_whose_stack_is_unmapped_is_no_danger)
{
    co_park();
    unmap();
    roots_assert_gone(roots_alive(&co.group[0]));
    ck_assert_ptr_nonnull(co.fiber[0]);
}
END_TEST

static bool gone;

static void note(void *flag)
{
    *(bool *)flag = true;
}

static NOINLINE void make_in_heap(void)
{
    void *memory = oak_alloc_noscan(COROUTINE_STACK);
    ck_assert_int_eq(oak_cleanup_add(memory, note, &gone), 0);
    co_make_on(0, memory, NULL);
    co.stack[0] = NULL;
}

START_TEST(a_stack_in_the_heap_lives_with_its_fiber)
{
    co_start();
    make_in_heap();
    co.act[0] = co_home_again;
    co_go(-1, 0);
    roots_assert_kept(roots_alive(&co.group[0]));
    ck_assert(!gone);
    co_go(-1, 0);
    roots_assert_gone(roots_alive(&co.group[0]));
    co.fiber[0] = NULL;
    roots_alive(&co.group[0]);
    ck_assert(gone);
}
END_TEST

static NOINLINE void make_unused_in_heap(void)
{
    void *memory = oak_alloc_noscan(COROUTINE_STACK);
    ck_assert_int_eq(oak_cleanup_add(memory, note, &gone), 0);
    co.fiber[0] = oak_fiber_new(memory, COROUTINE_STACK, NULL);
}

START_TEST(a_stack_in_the_heap_lives_with_its_fiber_that_never_ran)
{
    co_start();
    make_unused_in_heap();
    roots_alive(&co.native);
    ck_assert(!gone);
    co.fiber[0] = NULL;
    roots_alive(&co.native);
    ck_assert(gone);
}
END_TEST

static NOINLINE void make_with_data(void)
{
    static char memory[32768];
    void **data = oak_alloc(sizeof(void *) * ROOTS_N);
    roots_reveal(&co.group[0], data, 0);
    co.fiber[0] = oak_fiber_new(memory, sizeof memory, data);
}

START_TEST(data_is_kept_with_the_fiber_that_never_ran)
{
    co_start();
    roots_make(&co.group[0], 48);
    make_with_data();
    roots_assert_kept(roots_alive(&co.group[0]));
    co.fiber[0] = NULL;
    roots_assert_gone(roots_alive(&co.group[0]));
}
END_TEST

START_TEST(what_is_laid_out_on_a_stack_that_never_ran_is_kept)
{
    co_start();
    co_make(0);
    roots_reveal(&co.group[0], (void **)((char *)co.stack[0] + COROUTINE_STACK) - ROOTS_N, 0);
    roots_assert_kept(roots_alive(&co.group[0]));
}
END_TEST

/* ---- running ---- */

static void look(int i)
{
    ck_assert_ptr_eq(oak_fiber_current(), co.fiber[i]);
    co.seen[i] = roots_alive(&co.group[i]);
    co.seen_elsewhere[i] = roots_alive_elsewhere(&co.group[i]);
    co.seen_native = roots_alive(&co.native);
}
START_TEST(the_running_fibers_stack_and_the_threads_own_keep_objects)
{
    co_start();
    co_make(0);
    co.act[0] = look;
    co_hold_natively(co_go_there);
    roots_assert_kept(co.seen[0]);
    roots_assert_kept(co.seen_elsewhere[0]);
    roots_assert_kept(co.seen_native);
    roots_assert_gone(roots_alive(&co.group[0]));
    roots_assert_gone(roots_alive(&co.native));
}
END_TEST

/* The record is all that knows the fiber while it runs. */
static void forget_and_look(int i)
{
    oak_fiber *here = co.fiber[i];
    uintptr_t hidden = (uintptr_t)here ^ ROOTS_MASK;
    co.fiber[i] = here = NULL;
    roots_clean();
    co.seen[i] = roots_alive(&co.group[i]);
    ck_assert_uint_eq((uintptr_t)oak_fiber_current() ^ ROOTS_MASK, hidden);
}

START_TEST(a_running_fiber_is_reachable)
{
    co_start();
    co_make(0);
    co.act[0] = forget_and_look;
    co_go(-1, 0);
    roots_assert_kept(co.seen[0]);
    roots_assert_gone(roots_alive(&co.group[0]));
}
END_TEST

/* ---- threads ---- */

static void *run_fiber(void *unused)
{
    ucontext_t *mine = calloc(1, sizeof *mine);
    co.home = mine;
    co_go(-1, 0);
    free(mine);
    return unused;
}

START_TEST(a_fiber_may_go_on_on_another_thread)
{
    pthread_t t;
    co_park();
    free(co.home);
    ck_assert_int_eq(pthread_create(&t, NULL, run_fiber, NULL), 0);
    pthread_join(t, NULL);
    roots_assert_gone(roots_alive(&co.group[0]));
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
    co_start();
    co_make(0);
    co.act[0] = leave_thread;
    free(co.home);
    ck_assert_int_eq(pthread_create(&t, NULL, run_fiber, NULL), 0);
    pthread_join(t, NULL);
    roots_assert_gone(roots_alive(&co.group[0]));
    oak_fiber_free(co.fiber[0]);
}
END_TEST

/* ---- misuse ---- */

static void *switch_there(void *unused)
{
    oak_fiber_switch(co.fiber[0]);
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
    co_start();
    co_make(0);
    co.act[0] = switch_elsewhere;
    co_go(-1, 0);
}

static void switch_to_freed(void *unused)
{
    (void)unused;
    co_park();
    oak_fiber_free(co.fiber[0]);
    oak_fiber_switch(co.fiber[0]);
}

static void switch_to_object(void *unused)
{
    (void)unused;
    co_start();
    oak_fiber_switch(oak_alloc(1000));
}

static void free_itself(int i)
{
    oak_fiber_free(co.fiber[i]);
}

static void free_running(void *unused)
{
    (void)unused;
    co_start();
    co_make(0);
    co.act[0] = free_itself;
    co_go(-1, 0);
}

static void do_nothing(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void notify_and_leave(void)
{
    oak_finalizer_notify(NULL);
    co_go(0, -1);
}

static void collect_and_leave(int i)
{
    (void)i;
    oak_finalizer_notify(notify_and_leave);
    for (int n = 0; n < 100; n++) oak_finalizer_set(oak_alloc(48), do_nothing, NULL);
    roots_collect();
}

/* The collection's notifier parks the fiber, which another thread goes on with. */
static void collect_there_and_end_here(void *unused)
{
    pthread_t t;
    (void)unused;
    co_start();
    test_no_beside(); /* the marker's thread would notify */
    co_make(0);
    co.act[0] = collect_and_leave;
    co_go(-1, 0);
    free(co.home);
    pthread_create(&t, NULL, run_fiber, NULL);
    pthread_join(t, NULL);
}

static const struct {
    void (*fn)(void *);
    const char *says;
} misuse[] = {
    { take_over, "runs on another thread" },
    { switch_to_freed, "has been freed" },
    { switch_to_object, "is not a fiber" },
    { free_running, "a thread runs on fiber" },
    { collect_there_and_end_here, "began on one thread and ended on another" },
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
    static char memory[32768];
    roots_start();
    size_t least = oak_stack_min();
    const struct {
        void *p;
        size_t n;
    } bad[] = { { NULL, least },      { memory, 0 },         { memory, 1 },
                { memory, SIZE_MAX }, { memory, least - 1 }, { memory + 1, least } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        ck_assert_ptr_null(oak_fiber_new(bad[i].p, bad[i].n, NULL));
        ck_assert_int_eq(errno, EINVAL);
    }
    ck_assert_uint_ge(least, OAK_STACK_MIN);
    ck_assert_ptr_nonnull(oak_fiber_new((void *)(((uintptr_t)memory + 15) / 16 * 16), least, NULL));
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
    tcase_add_test(c, a_stack_in_the_heap_lives_with_its_fiber_that_never_ran);
    tcase_add_test(c, data_is_kept_with_the_fiber_that_never_ran);
    tcase_add_test(c, what_is_laid_out_on_a_stack_that_never_ran_is_kept);
    tcase_add_test(c, the_running_fibers_stack_and_the_threads_own_keep_objects);
    tcase_add_test(c, a_running_fiber_is_reachable);
    tcase_add_test(c, a_fiber_may_go_on_on_another_thread);
    tcase_add_test(c, a_thread_may_end_on_a_fiber);
    tcase_add_loop_test(c, misuse_is_fatal, 0, sizeof misuse / sizeof *misuse);
    tcase_add_test(c, bad_stacks_are_refused);
    suite_add_tcase(s, c);
    return s;
}

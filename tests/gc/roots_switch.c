/* roots_switch.c - between oak_fiber_switch and the program's own switch the thread still runs on
 * the old stack; and the registers that either saves. */
#include "roots_coroutine.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdint.h>

Suite *suite_gc_roots_switch(void);

/* ---- between oak_fiber_switch and the switch ---- */

static void look_before_leaving_home(void)
{
    oak_fiber_switch(co.fiber[0]);
    co.seen_native = roots_alive_elsewhere(&co.native);
    co.seen[0] = roots_alive_elsewhere(&co.group[0]);
    swapcontext(co.home, co.context[0]);
}

START_TEST(both_stacks_count_on_the_way_to_a_fiber)
{
    co_park();
    co_hold_natively(look_before_leaving_home);
    roots_assert_kept(co.seen_native);
    roots_assert_kept(co.seen[0]);
    roots_assert_gone(roots_alive(&co.group[0]));
    roots_assert_gone(roots_alive(&co.native));
}
END_TEST

/* Far below what oak_fiber_switch saw of the stack. */
static NOINLINE void look_deeper(int i)
{
    void *local[ROOTS_N];
    roots_reveal(&co.group[i + 1], local, 0);
    co.seen[i + 1] = roots_alive_elsewhere(&co.group[i + 1]);
    roots_forget(local);
}

static void look_before_going_home(int i)
{
    oak_fiber_switch(NULL);
    co.fiber[i] = NULL; /* nobody else knows it */
    look_deeper(i);
    co.seen_native = roots_alive_elsewhere(&co.native);
    co.seen[i] = roots_alive_elsewhere(&co.group[i]);
    swapcontext(co.context[i], co.home);
}

START_TEST(both_stacks_count_on_the_way_home)
{
    co_start();
    co_make(0);
    roots_make(&co.group[1], 48);
    co.act[0] = look_before_going_home;
    co_hold_natively(co_go_there);
    roots_assert_kept(co.seen_native);
    roots_assert_kept(co.seen[0]);
    roots_assert_kept(co.seen[1]);
    roots_assert_gone(roots_alive(&co.group[1]));
    roots_assert_gone(roots_alive(&co.group[0]));
    roots_assert_gone(roots_alive(&co.native));
}
END_TEST

static void look_before_going_on(int i)
{
    oak_fiber_switch(co.fiber[1]);
    co.fiber[i] = NULL;
    co.seen[0] = roots_alive_elsewhere(&co.group[0]);
    co.seen[1] = roots_alive_elsewhere(&co.group[1]);
    co.seen_native = roots_alive_elsewhere(&co.native);
    swapcontext(co.context[i], co.context[1]);
}

static size_t seen_from_second;

static void park_and_look(int i)
{
    co_go(i, -1);
    seen_from_second = roots_alive(&co.group[0]);
}

static void go_to_second(void)
{
    co_go(-1, 1);
    co_go(-1, 0);
}

START_TEST(all_stacks_count_on_the_way_from_fiber_to_fiber)
{
    co_start();
    co_make(0);
    co_make(1);
    co.act[0] = look_before_going_on;
    co.act[1] = park_and_look;
    co_hold_natively(go_to_second);
    roots_assert_kept(co.seen[0]);
    roots_assert_kept(co.seen[1]);
    roots_assert_kept(co.seen_native);
    roots_assert_gone(seen_from_second); /* it was parked, and nobody knew it */
    roots_assert_gone(roots_alive(&co.group[1]));
}
END_TEST

/* A fiber, and a group that co.others alone keeps. */
static void start_with_others(void)
{
    co_start();
    co_make(0);
    roots_make(&co.group[2], 48);
    roots_reveal(&co.group[2], co.others, 0);
}

/* What a switch pushes before it leaves. */
static void leave_something_below(int i)
{
    oak_fiber_switch(NULL);
    co_scrub();
    roots_put_below_sp(co.group[2].hidden[0]);
    swapcontext(co.context[i], co.home);
}

START_TEST(what_the_switch_itself_pushes_counts)
{
    start_with_others();
    co.others[0] = NULL;
    co.act[0] = leave_something_below;
    co_go(-1, 0);
    if (roots_holders[0].name) roots_assert_kept(roots_alive(&co.group[2]));
}
END_TEST

/* ---- registers ---- */

/* swapcontext keeps them where nobody looks. */
static NOINLINE void park_here(void *i)
{
    co_go((int)(intptr_t)i, -1);
}

static void hold_and_park(int i)
{
    for (const roots_holder *h = roots_holders; h->hold; h++) {
        size_t n = (size_t)(h - roots_holders);
        h->hold(co.group[2].hidden[n], 0, park_here, (void *)(intptr_t)i);
    }
}

static void assert_held(size_t n)
{
    roots_alive_elsewhere(&co.group[2]);
    if (co.group[2].dead[n]) ck_abort_msg("what %s referred to is gone", roots_holders[n].name);
}

START_TEST(the_registers_of_a_parked_fiber_and_of_one_that_is_about_to_run_keep_objects)
{
    start_with_others();
    co.act[0] = hold_and_park;
    for (size_t n = 0; roots_holders[n].hold; n++) {
        if (n == 0) co_go(-1, 0);
        co.others[n] = NULL;
        assert_held(n);
        oak_fiber_switch(co.fiber[0]);
        assert_held(n);
        swapcontext(co.home, co.context[0]);
    }
    roots_forget(co.others);
    roots_assert_gone(roots_alive(&co.group[2]));
}
END_TEST

/* The program's own switch, which is jumped to, and uses the stack before it saves registers. */
static void switch_home(void *i)
{
    co_scrub();
    swapcontext(co.context[(intptr_t)i], co.home);
}

static void hold_and_jump(int i)
{
    for (const roots_holder *h = roots_holders; h->tail; h++) {
        size_t n = (size_t)(h - roots_holders);
        h->hold(co.group[2].hidden[n], 0, h->tail, (void *)(intptr_t)i);
    }
}

START_TEST(registers_that_are_restored_before_the_switch_keep_objects)
{
    start_with_others();
    roots_tail = switch_home;
    co.act[0] = hold_and_jump;
    for (size_t n = 0; roots_holders[n].tail; n++) {
        co_go(-1, 0);
        co.others[n] = NULL;
        assert_held(n);
    }
    co_go(-1, 0);
    roots_forget(co.others);
    roots_assert_gone(roots_alive(&co.group[2]));
}
END_TEST

static size_t held;

static void look_at_held(int i)
{
    for (;; co_go(i, -1)) {
        co.others[held] = NULL;
        assert_held(held);
    }
}

static void go_there_holding(void *unused)
{
    (void)unused;
    co_go(-1, 0);
}

START_TEST(the_registers_of_a_thread_that_runs_a_fiber_keep_objects)
{
    start_with_others();
    co.act[0] = look_at_held;
    for (held = 0; roots_holders[held].hold; held++)
        roots_holders[held].hold(co.group[2].hidden[held], 0, go_there_holding, NULL);
    roots_forget(co.others);
    roots_assert_gone(roots_alive(&co.group[2]));
}
END_TEST

Suite *suite_gc_roots_switch(void)
{
    Suite *s = suite_create("gc/roots_switch");
    TCase *c = tcase_create("switch");
    test_skip(!roots_holders[0].name, "registers are filled for x86-64 alone");
    tcase_add_test(c, both_stacks_count_on_the_way_to_a_fiber);
    tcase_add_test(c, both_stacks_count_on_the_way_home);
    tcase_add_test(c, all_stacks_count_on_the_way_from_fiber_to_fiber);
    tcase_add_test(c, what_the_switch_itself_pushes_counts);
    tcase_add_test(c, the_registers_of_a_parked_fiber_and_of_one_that_is_about_to_run_keep_objects);
    tcase_add_test(c, registers_that_are_restored_before_the_switch_keep_objects);
    tcase_add_test(c, the_registers_of_a_thread_that_runs_a_fiber_keep_objects);
    suite_add_tcase(s, c);
    return s;
}

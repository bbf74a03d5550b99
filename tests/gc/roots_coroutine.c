/* roots_coroutine.c - see roots_coroutine.h. */
#include "roots_coroutine.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdlib.h>
#include <string.h>

coroutines co;

NOINLINE void co_scrub(void)
{
    char dead[1024];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" ::"r"(dead) : "memory");
}

void co_go(int from, int to)
{
    oak_fiber_switch(to < 0 ? NULL : co.fiber[to]);
    co_scrub();
    swapcontext(from < 0 ? co.home : co.context[from], to < 0 ? co.home : co.context[to]);
}

static NOINLINE void hold(int i)
{
    void *local[ROOTS_N];
    roots_reveal(&co.group[i], local, co.add);
    co.act[i](i);
    roots_forget(local);
}

static void body(int i)
{
    hold(i);
    roots_clean();
    for (;;) co_go(i, -1);
}

void co_start(void)
{
    roots_start();
    co.home = calloc(1, sizeof *co.home);
    roots_make(&co.native, 48);
}

NOINLINE void co_make_on(int i, void *memory, void *data)
{
    co.stack[i] = memory;
    co.context[i] = calloc(1, sizeof **co.context);
    co.fiber[i] = oak_fiber_new(memory, COROUTINE_STACK, data);
    ck_assert_ptr_nonnull(co.fiber[i]);
    ck_assert_ptr_eq(oak_fiber_data(co.fiber[i]), data);
    getcontext(co.context[i]);
    co.context[i]->uc_stack = (stack_t){ .ss_sp = memory, .ss_size = COROUTINE_STACK };
    makecontext(co.context[i], (void (*)(void))body, 1, i);
    roots_make(&co.group[i], 48);
}

void co_make(int i)
{
    co_make_on(i, roots_map_stack(), NULL);
}

void co_home_again(int i)
{
    co_go(i, -1);
}

void co_park(void)
{
    co_start();
    co_make(0);
    co.act[0] = co_home_again;
    co_go(-1, 0);
    ck_assert_ptr_null(oak_fiber_current());
}

NOINLINE void co_hold_natively(void (*fn)(void))
{
    void *local[ROOTS_N];
    roots_reveal(&co.native, local, 0);
    fn();
    roots_forget(local);
}

void co_go_there(void)
{
    co_go(-1, 0);
}

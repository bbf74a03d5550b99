/* roots_coroutine.h - coroutines on ucontext, of which Oakum knows the fibers.
 *
 * Coroutine i runs on fiber[i] with group[i] in a frame that calls act[i], and when act[i] returns,
 * the frame forgets the group and goes home. What ucontext saves is in the host's memory, where
 * the collector doesn't look. */
#ifndef TESTS_GC_ROOTS_COROUTINE_H
#define TESTS_GC_ROOTS_COROUTINE_H

#include "roots_asm.h"

#include <oakum/gc.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noinline))
#define COROUTINES 3
#define COROUTINE_STACK ((size_t)131072)

typedef struct coroutines {
    roots_group group[COROUTINES], native;
    oak_fiber *fiber[COROUTINES];
    ucontext_t *context[COROUTINES], *home;
    void *stack[COROUTINES];
    void (*act[COROUTINES])(int i);
    size_t add; /* to the addresses that frames hold */
    /* where the rest of a group is while one object of it is somewhere else */
    void *others[ROOTS_N];
    /* what roots_alive said somewhere on the way */
    size_t seen[COROUTINES], seen_elsewhere[COROUTINES], seen_native;
} coroutines;

extern coroutines co;

void co_start(void);
void co_make(int i);
void co_make_on(int i, void *memory, void *data); /* COROUTINE_STACK bytes */

/* From one to another; -1 is the thread's own stack. */
void co_go(int from, int to);
void co_go_there(void);    /* from home to the first */
void co_home_again(int i); /* an act: go home, later return */

/* Make the first, and let it go home with its group in its frame. */
void co_park(void);

/* Call fn with the group `native` in a frame of the thread's own stack. */
void co_hold_natively(void (*fn)(void));

/* Overwrite what oak_fiber_switch left below the caller's frame. */
void co_scrub(void);

#endif

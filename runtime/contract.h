/* contract.h - what a function requires of its caller, in words that run.
 *
 * A function that may only be called with the world stopped, with a lock held, inside or outside
 * of oaki_enter, says so by one of these as its first statement. Debug builds check it; others
 * evaluate nothing. A test that calls such a function directly meets the requirement, too. */
#ifndef OAKI_CONTRACT_H
#define OAKI_CONTRACT_H

#include "lock.h"
#include "thread.h"

/* No mutator runs: between oaki_world_stop and oaki_world_start, on whichever thread. */
#define OAKI_REQUIRES_STOPPED() OAKI_ASSERT(oaki_world_stopped())
#define OAKI_REQUIRES_RUNNING() OAKI_ASSERT(!oaki_world_stopped())

/* The calling thread holds the lock. */
#define OAKI_REQUIRES_LOCK(l) OAKI_ASSERT(oaki_lock_is_mine(l))
/* It does, or the world is stopped, and then nobody else can. */
#define OAKI_REQUIRES_LOCK_OR_STOPPED(l) OAKI_ASSERT(oaki_lock_is_mine(l) || oaki_world_stopped())
/* It holds no lock of the runtime. */
#define OAKI_REQUIRES_NO_LOCK() oaki_lock_assert_none_held()

/* The calling thread is between oaki_enter and oaki_leave, so that no stop finds it half way
 * through a change; or no stop can come: the world is stopped, or the thread holds gc_lock or
 * helper_lock. */
#define OAKI_REQUIRES_INSIDE() OAKI_ASSERT(oaki_is_inside())
/* A stop may come at any instruction: it may wait, and run the program's code. */
#define OAKI_REQUIRES_OUTSIDE() OAKI_ASSERT(!oaki_thread_self() || !oaki_thread_self()->in_runtime)

/* Debug builds only. */
bool oaki_lock_is_mine(const oaki_lock *l);
bool oaki_is_inside(void);

#endif

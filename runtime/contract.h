/* contract.h - requirements of a function on its caller, in executable form.
 *
 * Some functions may only be called with the world stopped, with a lock held, or inside or outside
 * oaki_enter. Such a function states this by one of these macros as its first statement. Debug
 * builds check it; others evaluate nothing. A test that calls such a function directly meets the
 * requirement too. */
#ifndef OAKI_CONTRACT_H
#define OAKI_CONTRACT_H

#include "lock.h"
#include "thread.h"

/* No mutator runs: between oaki_world_stop and oaki_world_start, on any thread. */
#define OAKI_REQUIRES_STOPPED() OAKI_ASSERT(oaki_world_stopped())
#define OAKI_REQUIRES_RUNNING() OAKI_ASSERT(!oaki_world_stopped())

/* No stop holds the calling thread, and it holds none: it may start a thread. */
#define OAKI_REQUIRES_NO_STOP() OAKI_ASSERT(!oaki_thread_self() || !oaki_world_stopped())

/* The calling thread holds the lock. */
#define OAKI_REQUIRES_LOCK(l) OAKI_ASSERT(oaki_lock_is_mine(l))
/* The calling thread holds the lock, or the world is stopped, and then no other thread can. */
#define OAKI_REQUIRES_LOCK_OR_STOPPED(l) OAKI_ASSERT(oaki_lock_is_mine(l) || oaki_world_stopped())
/* The calling thread holds no lock of this rank or a higher one, so the function may take one. */
#define OAKI_REQUIRES_LOCKS_BELOW(rank) \
    OAKI_ASSERT(!oaki_lock_holds_one(rank, OAKI_RANK_META_REGION))
/* The calling thread holds no lock of the runtime. */
#define OAKI_REQUIRES_NO_LOCK() oaki_lock_assert_none_held()

/* The calling thread is between oaki_enter and oaki_leave, so no stop finds it halfway through a
 * change. Or no stop can come: the world is stopped, or the thread holds gc_lock, helper_lock or
 * threads_lock. */
#define OAKI_REQUIRES_INSIDE() OAKI_ASSERT(oaki_is_inside())
/* A stop may come at any instruction: the function may wait, and run code of the program. */
#define OAKI_REQUIRES_OUTSIDE() OAKI_ASSERT(!oaki_thread_self() || !oaki_thread_self()->in_runtime)
/* No stop finds the calling thread halfway: it is inside, or not attached. */
#define OAKI_REQUIRES_UNSTOPPABLE() OAKI_ASSERT(!oaki_thread_self() || oaki_is_inside())

/* t is the calling thread's record. */
#define OAKI_REQUIRES_SELF(t) OAKI_ASSERT((t) == oaki_thread_self())
/* A stop may find the calling thread here. A lock of the runtime held here would stay held until
 * the restart. The locks of maps/ and of the start are exempt: waiting threads hold them too. */
#define OAKI_REQUIRES_STOPPABLE() \
    OAKI_ASSERT(!oaki_lock_holds_one(OAKI_RANK_GC, OAKI_RANK_META_REGION))
/* The heap is being started, by the only thread that can use it yet (heap.h). */
#define OAKI_REQUIRES_STARTING() OAKI_ASSERT(!AO_load(&oaki_the_heap.started))
#define OAKI_REQUIRES_LOCK_OR_STARTING(l) \
    OAKI_ASSERT(oaki_lock_is_mine(l) || !AO_load(&oaki_the_heap.started))
/* The calling thread is the only one: fork.c is repairing the child. */
#define OAKI_REQUIRES_FORKED() OAKI_ASSERT(oaki_fork_is_ours())

#endif

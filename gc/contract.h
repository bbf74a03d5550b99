/* contract.h - what a function of the collector requires of its caller, in words that run.
 *
 * As runtime/contract.h, for what the collector alone knows: how far a cycle has come, and whose
 * the workers are. What a state means is said here, and nowhere else. Debug builds only. */
#ifndef OAKI_GC_CONTRACT_H
#define OAKI_GC_CONTRACT_H

#include "gc/concurrent/concurrent.h"
#include "runtime/contract.h"

/* M is being made: from its preparation until the cycle has decided by it. */
#define OAKI_REQUIRES_MARK() OAKI_ASSERT(AO_load(&oaki_the_heap.marking) != 0)
#define OAKI_REQUIRES_NO_MARK() OAKI_ASSERT(AO_load(&oaki_the_heap.marking) == 0)

/* No concurrent mark is under way; one has begun; it has come to marking. */
#define OAKI_REQUIRES_IDLE() OAKI_ASSERT(oaki_concurrent_state() == OAKI_CONCURRENT_NONE)
#define OAKI_REQUIRES_BEGUN() OAKI_ASSERT(oaki_concurrent_state() == OAKI_CONCURRENT_BEGUN)
#define OAKI_REQUIRES_MARKING() OAKI_ASSERT(oaki_concurrent_state() == OAKI_CONCURRENT_MARKING)

/* No other thread collects: the calling one holds gc_lock, or the lock of the pieces of a mark, or
 * it is a fork's child. */
#define OAKI_REQUIRES_COLLECTOR() OAKI_ASSERT(oaki_is_collector())

/* Worker 0 is the calling thread's: it has stopped the world, or holds the lock of the pieces. */
#define OAKI_REQUIRES_WORKER_ZERO() OAKI_ASSERT(oaki_worker_zero_is_mine())

/* The marker m is the calling thread's: worker 0 as above, the worker of a helper, or one that only
 * notes what is marked. */
#define OAKI_REQUIRES_WORKER(m) OAKI_ASSERT(oaki_worker_is_mine(m))

/* Between two drains, and between two pieces, no helper marks. */
#define OAKI_REQUIRES_REST() OAKI_ASSERT(oaki_workers_are_at_rest())

bool oaki_is_collector(void);
bool oaki_worker_zero_is_mine(void);
bool oaki_worker_is_mine(const struct oak_marker *m);
void oaki_worker_own(const struct oak_marker *m); /* it is the calling helper's from now on */
bool oaki_workers_are_at_rest(void);

#endif

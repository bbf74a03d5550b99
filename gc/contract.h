/* contract.h - the requirements of collector functions on their callers, as checks that run.
 *
 * As runtime/contract.h, for state that only the collector knows: the state of the cycle, and
 * the owners of the workers. The meaning of each state is defined here, and only here. Debug
 * builds only. */
#ifndef OAKI_GC_CONTRACT_H
#define OAKI_GC_CONTRACT_H

#include "gc/concurrent/concurrent.h"
#include "runtime/contract.h"

/* M is being made: from its preparation until the cycle has used it for its decisions. */
#define OAKI_REQUIRES_MARK() OAKI_ASSERT(AO_load(&oaki_the_heap.marking) != 0)
#define OAKI_REQUIRES_NO_MARK() OAKI_ASSERT(AO_load(&oaki_the_heap.marking) == 0)

/* No concurrent mark is under way; one has begun; one has begun marking. */
#define OAKI_REQUIRES_IDLE() OAKI_ASSERT(oaki_concurrent_state() == OAKI_CONCURRENT_NONE)
#define OAKI_REQUIRES_BEGUN() OAKI_ASSERT(oaki_concurrent_state() == OAKI_CONCURRENT_BEGUN)
#define OAKI_REQUIRES_MARKING() OAKI_ASSERT(oaki_concurrent_state() == OAKI_CONCURRENT_MARKING)

/* No other thread collects. The calling thread holds gc_lock or the lock of the quanta, or is a
 * fork's child. */
#define OAKI_REQUIRES_COLLECTOR() OAKI_ASSERT(oaki_is_collector())

/* Worker 0 belongs to the calling thread: it has stopped the world, or holds the lock of the
 * quanta. */
#define OAKI_REQUIRES_WORKER_ZERO() OAKI_ASSERT(oaki_worker_zero_is_mine())

/* The marker m belongs to the calling thread: worker 0 as above, a helper's worker, or a marker
 * that only records marked objects. */
#define OAKI_REQUIRES_WORKER(m) OAKI_ASSERT(oaki_worker_is_mine(m))

/* Between two drains, and between two quanta, no helper marks. */
#define OAKI_REQUIRES_REST() OAKI_ASSERT(oaki_workers_are_at_rest())

bool oaki_is_collector(void);
bool oaki_worker_zero_is_mine(void);
bool oaki_worker_is_mine(const struct oak_marker *m);
void oaki_worker_own(const struct oak_marker *m); /* m belongs to the calling helper from now on */
bool oaki_workers_are_at_rest(void);

#endif

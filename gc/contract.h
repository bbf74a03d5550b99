/* contract.h - the requirements of collector functions on their callers, as checks that run.
 *
 * As runtime/contract.h, for state that only the collector knows: the state of the cycle, and
 * the owners of the workers. The meaning of each state is defined here, and only here. Debug
 * builds only. */
#ifndef OAKI_GC_CONTRACT_H
#define OAKI_GC_CONTRACT_H

#include "collector.h"
#include "runtime/contract.h"

/* The phase is one of these: OAKI_REQUIRES_PHASE(MARK, PRECLEAN). */
#define OAKI_REQUIRES_PHASE(...) OAKI_ASSERT(oaki_phase_is_one(OAKI_PHASE_SET(__VA_ARGS__)))
#define OAKI_PHASE_BIT(phase) (1u << OAKI_PHASE_##phase)
#define OAKI_PHASE_SET(...) OAKI_PHASE_PICK(__VA_ARGS__, 3, 2, 1)(__VA_ARGS__)
#define OAKI_PHASE_PICK(a, b, c, n, ...) OAKI_PASTE(OAKI_PHASE_SET, n)
#define OAKI_PHASE_SET1(a) OAKI_PHASE_BIT(a)
#define OAKI_PHASE_SET2(a, b) (OAKI_PHASE_BIT(a) | OAKI_PHASE_BIT(b))
#define OAKI_PHASE_SET3(a, b, c) (OAKI_PHASE_BIT(a) | OAKI_PHASE_BIT(b) | OAKI_PHASE_BIT(c))

OAKI_INLINE bool oaki_phase_is_one(unsigned set)
{
    return (set & 1u << oaki_phase_now()) != 0;
}

/* M is being made: from its preparation until the cycle has decided by it. */
#define OAKI_REQUIRES_MARK() OAKI_ASSERT(oaki_is_marking())
#define OAKI_REQUIRES_NO_MARK() OAKI_ASSERT(!oaki_is_marking())

/* The calling thread does a cycle's work: it holds gc_lock or the driver's lock, or is a fork's
 * child. With the world running, the holder of the other lock may do so too. */
#define OAKI_REQUIRES_COLLECTOR() OAKI_ASSERT(oaki_is_collector())

/* Worker 0 belongs to the calling thread: it has stopped the world, or holds the driver's
 * lock. */
#define OAKI_REQUIRES_WORKER_ZERO() OAKI_ASSERT(oaki_worker_zero_is_mine())

/* The marker m belongs to the calling thread: worker 0 as above, a helper's worker, or a marker
 * that only records marked objects. */
#define OAKI_REQUIRES_WORKER(m) OAKI_ASSERT(oaki_worker_is_mine(m))

/* No helper marks: between two drains, and between two quanta. */
#define OAKI_REQUIRES_NO_HELPER() OAKI_ASSERT(oaki_workers_are_at_rest())

bool oaki_is_collector(void);        /* concurrent/quantum.c */
bool oaki_worker_zero_is_mine(void); /* concurrent/quantum.c */
bool oaki_worker_is_mine(const struct oak_marker *m);
void oaki_worker_own(const struct oak_marker *m); /* m belongs to the calling helper from now on */
bool oaki_workers_are_at_rest(void);
bool oaki_workers_have_nothing(void); /* nothing is queued, donated or in a delay line */

#endif

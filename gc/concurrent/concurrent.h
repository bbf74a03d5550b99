/* concurrent.h - concurrent marking, as the rest of gc/ uses it (docs/concurrent.md). */
#ifndef OAKI_CONCURRENT_H
#define OAKI_CONCURRENT_H

#include "gc/collector.h"
#include "gc/cycle.h"

/* ---- assist.c, thread.c: for mutators, inside oaki_enter, no lock held ---- */

/* A collection is due: can it be concurrent? Then it is requested, and it is under way or will be
 * soon. The caller is about to allocate so many bytes. Past the goal it has assisted, and was
 * throttled if mutators outpace the mark. false: collect in a pause now. */
bool oaki_concurrent_request(oaki_thread *t, size_t bytes);

/* With OAKUM_DEBUG=beside: requests a concurrent cycle even if none is due. false: there can be
 * none now. */
bool oaki_concurrent_force(oaki_thread *t);

/* A cycle was requested, and the collector's thread is not through with it and its reports. Any
 * thread. */
bool oaki_concurrent_requested(void);

/* With OAKUM_DEBUG=twice: returns when a concurrent cycle that began after this call is over, or
 * after OAKI_TUNE_TWICE_NS. */
void oaki_concurrent_before(oaki_thread *t);

/* Could a cycle that is due be concurrent, driven by the collector's thread or by this one? */
bool oaki_concurrent_may(oaki_thread *t);

/* The same for a driver with budget_ns, which needs no other thread. Also true while a cycle is
 * under way. false for a small heap whose single pause fits the budget. */
bool oaki_concurrent_may_step(uint64_t budget_ns);

/* Requests a cycle: wakes the collector's thread. */
void oaki_background_wake(void);

/* ---- begin.c, stages.c ---- */

/* Pages are being protected for a cycle whose init pause is still to come. Which pages were dirty
 * before is no longer known. */
bool oaki_concurrent_protecting(void);
/* Is there a step to take, in a cycle or after one? */
bool oaki_concurrent_has_work(void);

/* ---- for pauses.c, world stopped ---- */

/* The init pause, once its roots are queued. */
void oaki_concurrent_begin(void);
/* The final pause: queues the rescan of dirty pages, and objects that the mark left out. */
void oaki_concurrent_final_pause(void);
/* Any final pause, concurrent or not: M is final. */
void oaki_concurrent_end(void);

/* The cost of the mark, in words traced. */
size_t oaki_concurrent_work(void);
/* Bytes that count as live, but may die soon: large objects allocated during the mark, or objects
 * that its rounds found late. The larger of the two. */
size_t oaki_concurrent_floating(void);
/* After the final pause, under gc_lock. Adds the mark's cost to the record: pauses between the
 * first and the last, processor time, rounds. */
void oaki_concurrent_record(oaki_cycle *c);

/* Another search is about to use M: a cycle is given up, and kept marks are dropped. World stopped,
 * under gc_lock. */
void oaki_concurrent_give_up(void);

/* In the child of a fork. */
void oaki_concurrent_reset(void);
void oaki_background_reset(void);

/* ---- deferred_free.c; the first two with the world stopped ---- */

/* Marked bytes of objects that were freed by hand during the mark. Call after
 * oaki_concurrent_final_pause. */
size_t oaki_deferred_marked(void);
/* These objects lose their marks, and leave the list: the sweep frees them. */
void oaki_deferred_wipe(void);
/* Frees them while no mark is under way, until end_ns on the monotonic clock; 0: all of them.
 * Outside of oaki_enter. */
void oaki_deferred_release(uint64_t end_ns);
/* Drops those of a zone that is about to go. Inside oaki_enter. */
void oaki_deferred_forget_zone(uint32_t zone);
/* The others at any time, inside oaki_enter. */
void oaki_deferred_trim(void);
const char *oaki_deferred_check(void); /* the rule that is broken, or NULL */
int oaki_deferred_init(void);
void oaki_deferred_reset(void);

#endif

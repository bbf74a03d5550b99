/* concurrent.h - what the rest of gc/ asks of concurrent marking (docs/concurrent.md). */
#ifndef OAKI_CONCURRENT_H
#define OAKI_CONCURRENT_H

#include "gc/collector.h"
#include "gc/cycle.h"

/* ---- assist.c, thread.c: for mutators, inside oaki_enter, no lock held ---- */

/* A collection is due: can it be concurrent? Then it is under way when this returns, or will be
 * soon, and the caller, which is about to allocate so many bytes, has assisted or was throttled if
 * mutators outpace the mark. false: collect in a pause now. */
bool oaki_concurrent_request(oaki_thread *t, size_t bytes);

/* With OAKUM_DEBUG=beside: begin one, whatever the pacing says. false: not concurrently. */
bool oaki_concurrent_force(oaki_thread *t);

/* One was requested, and isn't over with all that comes after it. Any thread. */
bool oaki_concurrent_requested(void);

/* With OAKUM_DEBUG=twice: return when one is over that began after this was called, or a second
 * later. */
void oaki_concurrent_before(oaki_thread *t);

/* Could a cycle that is due be concurrent, driven by the collector's thread or by this one? */
bool oaki_concurrent_may(oaki_thread *t);

/* The same for a driver that has budget_ns and needs no thread: is a cycle under way, or would its
 * pause be longer? */
bool oaki_concurrent_may_step(uint64_t budget_ns);

/* Begin one: wake the collector's thread. */
void oaki_background_wake(void);

/* ---- begin.c, stages.c ---- */

/* The pages' protection is being taken, and what was written before is forgotten. */
bool oaki_concurrent_protecting(void);
/* Is there work for a driver between two cycles? */
bool oaki_concurrent_has_rest(void);

/* ---- for pauses.c, world stopped ---- */

/* The init pause: is the cycle to be a minor one? */
bool oaki_concurrent_begins_minor(void);
void oaki_concurrent_begin(void);
/* The final pause: rescan what is dirty, and what the mark left out. */
void oaki_concurrent_final_pause(void);
/* Any final pause, concurrent or not: M is final. */
void oaki_concurrent_end(void);

/* What the mark has cost, in words traced. */
size_t oaki_concurrent_work(void);
/* Bytes that count as live, of which it isn't known how long they will: large objects that have
 * come since it began, or what its rounds have found late. */
size_t oaki_concurrent_floating(void);
/* What it has cost: pauses between the first and the last, processor time, rounds. */
void oaki_concurrent_record(oaki_cycle *c);

/* M is about to be used for something else: as oaki_cycle_abort. World stopped. */
void oaki_concurrent_give_up(void);

/* In the child of a fork. */
void oaki_concurrent_reset(void);
void oaki_background_reset(void);

/* ---- deferred_free.c, world stopped, or nothing under way ---- */

/* Bytes that are marked of what was freed by hand. After oaki_concurrent_final_pause. */
size_t oaki_deferred_marked(void);
/* They lose their marks, and are forgotten. */
void oaki_deferred_wipe(void);
/* They are freed: nothing is under way. Outside of oaki_enter. */
void oaki_deferred_release(void);
/* Those of a zone that is about to go are. Inside oaki_enter. */
void oaki_deferred_forget_zone(uint32_t zone);
void oaki_deferred_trim(void);
const char *oaki_deferred_check(void); /* the rule that is broken, or NULL */
int oaki_deferred_init(void);
void oaki_deferred_reset(void);

#endif

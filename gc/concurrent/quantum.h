/* quantum.h - quanta: bounded pieces of concurrent work, and how they are run.
 *
 * A quantum is about a tenth of a millisecond, inside oaki_enter and under the driver's lock, so
 * that every pause finds worker 0 at rest between two of them, and a fork too. */
#ifndef OAKI_QUANTUM_H
#define OAKI_QUANTUM_H

#include "concurrent.h"
#include "runtime/os.h"

/* A short part of a stage. true when there is more to do. */
typedef bool oaki_quantum(oaki_progress *s, const oaki_driver *d);

/* One stage: its quantum, the lock that it needs besides, or whether it wants a pause; and what
 * comes after it. `next` runs under the driver's lock, or in the pause. */
typedef struct oaki_stage_plan {
    oaki_quantum *quantum;
    oaki_lock *lock;
    bool paused;
    oaki_stage (*next)(void);
} oaki_stage_plan;

extern const oaki_stage_plan oaki_stages[OAKI_STAGES];

/* A quantum of the stage that the mark has come to, and the next stage if that ends it. Outside of
 * oaki_enter. */
void oaki_quantum_run(oaki_driver *d);

/* The stage begins. Under the driver's lock, or world stopped. */
void oaki_stage_enter(oaki_stage stage);

/* As much of tracing as a quantum is, by worker 0 and helpers, or with a budget by it alone. */
oaki_quantum oaki_quantum_trace;
/* The same for an assist, inside oaki_enter, if no other driver is at it. Is there more? */
bool oaki_quantum_assist(const oaki_driver *d);

/* It has cost so much of processors beyond its quanta: for this cycle, or the next one. */
void oaki_quanta_cost(uint64_t cpu_ns);
/* What the mark has cost so far, ns of processors. */
uint64_t oaki_quanta_worked(void);
/* Words of the mark that have been traced, about. Any thread. */
size_t oaki_quanta_done(void);

/* Words count up to where the heap ends now. Before this no word was read that led to what it has
 * grown by since, unless on a page that is dirty and will be rescanned. */
void oaki_workers_extend(void);

/* Is there time in the driver's budget for `ns` more? Always without one. */
OAKI_INLINE bool oaki_driver_has_ns(const oaki_driver *d, uint64_t ns)
{
    return !d->end_ns || oaki_os_now_ns() + ns < d->end_ns;
}

/* ---- roots.c ---- */

oaki_quantum oaki_quantum_pinned, oaki_quantum_kept, oaki_quantum_certain, oaki_quantum_values,
    oaki_quantum_ranges,
    oaki_quantum_waiting;

/* ---- preclean.c ---- */

oaki_quantum oaki_quantum_round, oaki_quantum_roots, oaki_quantum_paused_round;

void oaki_preclean_begin(bool minor);
/* Stages in their order: after what the name says. */
oaki_stage oaki_preclean_start(void);
oaki_stage oaki_preclean_after_round(void);
oaki_stage oaki_preclean_after_roots(void);
oaki_stage oaki_preclean_after_paused_round(void);
/* oaki_dirty_refusals at the init pause. */
size_t oaki_preclean_refusals(void);
/* Pages that were protected for the mark. */
size_t oaki_preclean_protected(void);
void oaki_preclean_record(oaki_cycle *c);
/* Bytes that have been marked since the first round began. */
size_t oaki_preclean_found(void);

#endif

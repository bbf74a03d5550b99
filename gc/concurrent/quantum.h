/* quantum.h - quanta, which are bounded parts of concurrent work, and how they are run.
 *
 * A quantum takes about 0.1 ms, or 0.5 ms with helpers, inside oaki_enter and under the driver's
 * lock; that of a paused stage runs in a stop, under gc_lock. So every pause and every fork finds
 * worker 0 at rest between two quanta. */
#ifndef OAKI_QUANTUM_H
#define OAKI_QUANTUM_H

#include "concurrent.h"
#include "runtime/os.h"

/* A short part of a stage. true when there is more to do. */
typedef bool oaki_quantum(oaki_progress *s, const oaki_driver *d);

/* One stage. lock: a further lock that its quantum needs, or NULL. paused: it runs in a pause.
 * next: chooses the next stage, under the driver's lock or in the pause. */
typedef struct oaki_stage_plan {
    oaki_quantum *quantum;
    oaki_lock *lock;
    bool paused;
    oaki_stage (*next)(void);
} oaki_stage_plan;

extern const oaki_stage_plan oaki_stages[OAKI_STAGES];

/* Runs a quantum of the current stage. If the stage ends by that, the next one becomes current.
 * Outside of oaki_enter. */
void oaki_quantum_run(oaki_driver *d);

/* The stage begins. Under the driver's lock, or world stopped. */
void oaki_stage_enter(oaki_stage stage);

/* A quantum of tracing, by worker 0 and helpers; with a budget by worker 0 alone. */
oaki_quantum oaki_quantum_trace;
/* The same for an assist, inside oaki_enter, if no other driver traces. Is there more? */
bool oaki_quantum_assist(const oaki_driver *d);

/* Adds processor time to the cost of this cycle, or of the next one. */
void oaki_quanta_cost(uint64_t cpu_ns);
/* Processor time of the mark so far, ns. */
uint64_t oaki_quanta_worked(void);
/* Approximate number of words traced by the mark so far. Any thread. */
size_t oaki_quanta_done(void);

/* From now on words count up to the heap's end as it is now. A word read before may already have
 * led into the new part: then its page is dirty, and will be rescanned. */
void oaki_workers_extend(void);

/* Is there time in the driver's budget for `ns` more? Without a budget, always. */
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
/* Each returns the next stage, after the event in its name. */
oaki_stage oaki_preclean_start(void);
oaki_stage oaki_preclean_after_round(void);
oaki_stage oaki_preclean_after_roots(void);
oaki_stage oaki_preclean_after_paused_round(void);
/* oaki_dirty_refusals at the init pause. */
size_t oaki_preclean_refusals(void);
/* Pages that were protected for the mark. */
size_t oaki_preclean_protected(void);
void oaki_preclean_record(oaki_cycle *c);
/* Bytes marked since the first round began. */
size_t oaki_preclean_found(void);

#endif

/* cycle.h - the steps of a cycle, and the drivers that take them.
 *
 * A driver is a thread that takes steps. There are four kinds:
 *   - the collector's own thread;
 *   - a mutator that collects: its steps are whole phases, in one pause;
 *   - a mutator that assists: it only traces;
 *   - an embedder's thread with a budget (oak_collect_step). */
#ifndef OAKI_CYCLE_H
#define OAKI_CYCLE_H

#include "collector.h"
#include "gc.h"
#include "runtime/collector.h"

/* The result of a step. */
typedef enum oaki_stepped {
    OAKI_STEP_MORE,   /* the cycle goes on */
    OAKI_STEP_OVER,   /* no cycle is under way, and none was due; or the last pages were released;
                       * for an assist: nothing to trace */
    OAKI_STEP_REFUSED /* the program allows no pause now; the step can be tried again */
} oaki_stepped;

typedef struct oaki_driver {
    oaki_thread *thread;
    bool paused;          /* it has stopped the world, and takes whole phases */
    bool assists;         /* an allocating mutator: it traces, if no other driver does */
    bool stopped_only;    /* the cycle that it begins is a stopped one */
    uint64_t end_ns;      /* a budget's end, on the monotonic clock; 0: a quantum at a time */
    uint64_t nap_ns;      /* out: time that mutators or waiting threads get before the next step */
    uint64_t at_ns;       /* of a paused driver: when the last part ended (record.c) */
    oaki_gc_why why;
} oaki_driver;

/* Takes the next step of the cycle under way. If there is none and one is due, takes the first.
 * The only switch over the phase. Outside of oaki_enter, unless the driver is paused or assists. */
oaki_stepped oaki_collector_step(oaki_driver *d);

/* The phase becomes `next`. Fatal where that may not follow. */
void oaki_cycle_enter(oaki_phase next);
/* SWEEP becomes IDLE if no span is unswept. Any thread, inside oaki_enter. */
void oaki_cycle_swept(void);
/* The phase between two cycles: SWEEP while spans are unswept, else IDLE. */
oaki_phase oaki_cycle_at_rest(void);
/* IDLE or SWEEP: no cycle is under way. */
bool oaki_cycle_is_at_rest(void);

/* Calls the start hooks, unless they were called for this cycle already: its pause may be retried.
 * A stopped cycle that gives up one in PREPARE counts as the same. gc_lock held. */
void oaki_cycle_report_start(void);
/* That cycle is over, or given up: the next try calls them. Callers as for oaki_cycle_abort. */
void oaki_cycle_forget_start(void);

/* Gives the cycle under way up: its marks are dropped, and the next cycle is a full one. Nothing
 * between two cycles, or once the final pause has ended the mark. Under the driver's lock, under
 * gc_lock in a pause, or in the child of a fork. */
void oaki_cycle_abort(void);
/* Marks that the last cycle has kept are not to be used: the next one is full. Callers as above. */
void oaki_cycle_drop_marks(void);

/* Once, before the heap is started. */
void oaki_collector_init(void);
/* In the child of a fork, where the caller is the only thread: no cycle is under way. */
void oaki_collector_reset(void);

/* ---- steps, each in the file of its phase ---- */

oaki_stepped oaki_step_begin(oaki_driver *d);       /* IDLE, SWEEP: concurrent/begin.c */
oaki_stepped oaki_step_protect(oaki_driver *d);     /* concurrent/begin.c */
oaki_stepped oaki_step_init_pause(oaki_driver *d);  /* pauses.c */
oaki_stepped oaki_step_prepare(oaki_driver *d);     /* concurrent/begin.c */
oaki_stepped oaki_step_mark(oaki_driver *d);        /* MARK, PRECLEAN: concurrent/stages.c */
oaki_stepped oaki_step_final_pause(oaki_driver *d); /* pauses.c */
oaki_stepped oaki_step_reclaim(oaki_driver *d);     /* pauses.c */

/* PREPARE and MARK of a stopped cycle, whole. */
void oaki_prepare_in_pause(oaki_driver *d);
void oaki_mark_in_pause(oaki_driver *d);

/* ---- pauses.c; gc_lock held, the caller's context saved ---- */

/* The init pause of a concurrent cycle. false: the world could not be stopped yet, or a minor cycle
 * may no longer begin. */
bool oaki_init_pause(oaki_thread *t, oaki_cycle_kind kind);

/* Ends a cycle in one pause: the final pause of the concurrent one under way, or a whole stopped
 * one. false: the world could not be stopped yet, or the program wants no collection. */
bool oaki_pause_to_end(oaki_thread *t, oaki_gc_why why);

/* ---- record.c: measurements of a cycle; gc_lock held ---- */

/* swept_from: when the sweep of the last unswept spans began. */
void oaki_record_begin(oaki_thread *t, oaki_gc_why why, uint64_t swept_from);
void oaki_record_stopped(oaki_thread *t);
/* The part that began at *t ends now, and the next part begins: *t becomes now. */
void oaki_record_part(oaki_part part, uint64_t *t);
/* After the final pause. mark_cpu: time of all processors for the mark in that pause. */
void oaki_record_end(uint64_t mark_cpu);

/* ---- collect.c ---- */

/* Ends the concurrent mark of cycle `number`, as oaki_gc_collect does; nothing if it is over. */
bool oaki_cycle_final_pause(oaki_thread *t, size_t number);

#endif

/* collector.h - the collector: one struct, one phase, one kind, one mode.
 *
 * This is the only mutable state of gc/ besides the worklist, the workers and the object tables.
 * The phase is oaki_heap.phase (runtime/phase.h), as mutators read it; oaki_cycle_enter alone
 * writes it.
 *
 * Lock, unless a field says otherwise: written in a pause or under gc_lock; the progress of the
 * concurrent phases under `driver`, by whichever thread takes the next step (cycle.c). AO_t fields
 * may be read by any thread. */
#ifndef OAKI_COLLECTOR_STATE_H
#define OAKI_COLLECTOR_STATE_H

#include "event.h"
#include "gc/debug/debug.h"
#include "hooks.h"
#include "host.h"
#include "pace.h"
#include "plan.h"
#include "runtime/contract.h"
#include "runtime/phase.h"
#include "runtime/roots.h"
#include "runtime/waker.h"
#include "settings.h"

/* Which objects the cycle may free: all, or those that came since the last one (sticky.c). */
typedef enum oaki_cycle_kind { OAKI_FULL, OAKI_MINOR } oaki_cycle_kind;

/* Does the mark go on while mutators run? */
typedef enum oaki_cycle_mode { OAKI_STOPPED, OAKI_CONCURRENT } oaki_cycle_mode;

/* How far a phase or stage has come: [at, end), offsets in the range or numbers of records. */
typedef struct oaki_progress {
    size_t at, end;
} oaki_progress;

/* Parts of MARK and PRECLEAN, in order; concurrent/stages.c says which one follows. */
typedef enum oaki_stage {
    OAKI_STAGE_PINNED,      /* pinned objects are queued */
    OAKI_STAGE_KEPT,        /* and what records keep alive in any case */
    OAKI_STAGE_RANGES,      /* and what large registered ranges refer to */
    OAKI_STAGE_TRACE,       /* all that is queued is traced */
    OAKI_STAGE_VALUES,      /* values of ephemerons whose keys are marked are queued */
    OAKI_STAGE_VALUES_TRACE,
    OAKI_STAGE_CERTAIN,     /* tables note which records are certain */
    OAKI_STAGE_CERTAIN_TRACE,
    OAKI_STAGE_ROUND,       /* PRECLEAN begins: dirty pages are rescanned */
    OAKI_STAGE_ROUND_TRACE,
    OAKI_STAGE_ROOTS,       /* in a pause: what the roots refer to is queued once more */
    OAKI_STAGE_WAITING,     /* in pauses: objects whose mark functions want a stopped world */
    OAKI_STAGE_WAITING_TRACE,
    OAKI_STAGE_PAUSED_ROUND, /* in pauses: dirty pages are rescanned by all workers */
    OAKI_STAGE_READY,       /* nothing is left but the final pause */
    OAKI_STAGES
} oaki_stage;

#define OAKI_REGIONS 64 /* stretches of the heap that are being allocated from */

/* ---- what each file of gc/ keeps here ---- */

/* cycle.c: what cycles have cost since the start */
typedef struct oaki_totals {
    AO_t forced;        /* collections asked for */
    AO_t stress_count;
    size_t live;        /* bytes, of the last cycle */
    uint64_t start_ns;  /* of the process's use of Oakum */
    uint64_t gc_cpu_ns;
    uint64_t pause_ns_total, last_gc_ns;
    uint64_t pause_ns[256], pause_end[256];
} oaki_totals;

/* pauses.c: the roots of the mark under way */
typedef struct oaki_root_sums {
    size_t bytes;               /* stacks and globals */
    size_t stack_bytes, data_bytes;
    bool in_flight;             /* the mark keeps slots that a fast path may have in its hands */
} oaki_root_sums;

/* concurrent/thread.c: the collector's own thread, and what is asked of it */
typedef struct oaki_background {
    oaki_waker waker;       /* for requests */
    unsigned int requested; /* AO_int: a cycle is to begin */
    AO_t forced;            /* whatever the pacing says */
    AO_t started;           /* 1: there is a thread; 2: nothing reports dirty pages to it */
    AO_t not_before;        /* oaki_heap.cycle: no thread could be had, until then none is tried */
    AO_t clock;             /* of its processor time; 0: there was none yet */
    AO_t assisted_ns;       /* that mutators have marked for it */
    AO_t reporting;         /* it calls functions of the program's after a cycle */
    AO_t refusals;          /* pauses in a row that the program did not allow */
    AO_t waiting;           /* mutators that are throttled */
} oaki_background;

/* concurrent/quantum.c: the concurrent mark under way, and what it has cost */
typedef struct oaki_concurrent {
    oaki_lock driver;       /* of worker 0, the stage and its progress while mutators run */
    AO_t stage;             /* oaki_stage */
    oaki_progress progress; /* of the phase or stage */
    size_t table;           /* whose records a stage goes through; `progress` counts those */
    oaki_root_place place;  /* in the registered ranges */
    AO_t number;            /* oaki_heap.cycle of the mark under way */
    bool protecting;        /* pages are protected for a cycle whose init pause is still to come */
    AO_t unprotect;         /* 1: protection that the last cycle left is to be released, from */
    oaki_progress released; /* here on */
    AO_t final_refused;     /* READY, and the program wants no pause now */
    unsigned naps;          /* since then */
    AO_t worked_ns;         /* of processors, by whichever thread, since the last cycle was over */
    AO_t worked_before_ns;  /* of these, before this mark */
    AO_t done;              /* words traced */
    AO_t expected[2];       /* words that the last mark traced, by kind */
    uint64_t begun_ns;      /* the init pause's end, */
    uint64_t took_ns;       /* and from there to the final pause, of the last mark */
    uint64_t pauses_ns, longest_ns; /* of the pauses between the two, and the longest */
    uint64_t failed_ns;     /* of one of these that was given up */
    size_t refusals;        /* oaki_dirty_refusals when the mark's last rescan began */
    AO_t large;             /* bytes of large objects that have come during it */
} oaki_concurrent;

/* concurrent/preclean.c: the round under way */
typedef struct oaki_preclean {
    size_t dirty;           /* pages that the round has found so far */
    size_t protected;       /* pages that were protected, by all rounds */
    size_t step;            /* bytes that are asked about at a time while mutators run */
    size_t before, rest;    /* words that the round before, and the last, has rescanned */
    size_t scanned;         /* oaki_workers_scanned when the round began, */
    size_t roots_scanned;   /* and when the roots were asked for */
    unsigned round;         /* of this kind in a row */
    unsigned roots;         /* times that the roots were asked for */
    unsigned part;          /* mutators have 1/part of a pause's time before the next one */
    unsigned passes;        /* over the ephemerons */
    size_t queued;          /* oaki_ephemerons_queued before the last pass */
    uint64_t page_ns;       /* that a page takes which is left to all workers in a pause */
    size_t marked;          /* bytes, before the first round */
    size_t refusals;        /* by the system, at the init pause */
    unsigned rounds, paused; /* so far, while mutators ran and in pauses */
    AO_t released[OAKI_REGIONS]; /* regions + 1 that are being allocated from */
} oaki_preclean;

/* concurrent/sticky.c: what full and minor cycles have cost and brought */
typedef struct oaki_sticky {
    struct oaki_sticky_work {
        size_t words; /* traced */
        size_t freed; /* bytes; of a full cycle, as if no more lived than before it */
    } full;               /* the last one's */
    unsigned skip;        /* full cycles until a minor one is tried, but for those of a growth */
    unsigned next_skip;   /* the next time that one doesn't pay */
    unsigned in_a_row;    /* minor ones since the last full one */
} oaki_sticky;

/* sweep.c: AO_t fields by any thread */
typedef struct oaki_sweeper {
    oaki_waker waker;   /* of the background thread: spans are unswept */
    AO_t waiting;       /* spans may wait */
    AO_t at;            /* the first list that may have one: zone * OAKI_SPANCLASSES + class */
    AO_t bytes;         /* of spans swept since the mark */
    AO_t kept[OAKI_KINDS]; /* bytes found alive by this sweep */
    AO_t ended;         /* when nothing waited any more, ns; 0: not yet */
    AO_t assisted;      /* void (*)(uint64_t begin, size_t bytes) */
    size_t live_at_end; /* of the mark */
    double ratio;       /* bytes to sweep for a byte allocated */
    bool started;
} oaki_sweeper;

/* zone.c: zones that are to be destroyed */
typedef struct oaki_closing {
    AO_t zones; /* in state OAKI_ZONE_CLOSING */
    AO_t ready; /* finalizers ready after the last mark, while one is */
} oaki_closing;

typedef struct oaki_collector {
    oaki_cycle_kind kind;       /* of the cycle under way, or the last one */
    oaki_cycle_mode mode;
    bool ended_concurrent;      /* the last final pause ended a mark that had begun before it */
    AO_t start_reported;        /* start hooks have run for this cycle, before a pause that failed;
                                 * set under gc_lock */
    uint64_t entered_ns[OAKI_PHASES];
    oaki_cycle record;          /* what the cycle under way knows of itself */
    oaki_hooks start;           /* before the first pause, */
    oaki_hooks before, after;   /* and in pauses, before and after the mark */
    oaki_totals totals;
    oaki_root_sums roots;
    oaki_background background;
    oaki_concurrent concurrent;
    oaki_preclean preclean;
    oaki_sticky sticky;
    oaki_sweeper sweeper;
    oaki_settings settings;
    oaki_pace pace;
    oaki_plan plan;
    oaki_events events;
    oaki_host host;
    oaki_closing closing;
    AO_t disabled;              /* nested calls of oak_gc_disable (off.c) */
    oaki_debug_state debug;
} oaki_collector;

extern OAKI_HIDDEN oaki_collector oaki_gc;

/* A minor cycle is under way: it keeps the marks of the last one. Any thread. */
OAKI_INLINE bool oaki_cycle_is_minor(void)
{
    return oaki_gc.kind == OAKI_MINOR && oaki_is_marking();
}

#endif

/* collector.h - the collector: one struct, one phase, one kind, one mode.
 *
 * This is the only mutable state of gc/ besides the worklist, the workers and the object tables,
 * whose files own it. Two more are the marker's table of classes (oaki_class_infos), and words of
 * threads (contract.c, zone.c, refs/finalrun.c).
 * The phase is oaki_heap.phase (runtime/phase.h), because mutators read it. cycle.c alone writes
 * it, in one function.
 *
 * Lock, unless a field says otherwise: written in a pause or under gc_lock. The progress of the
 * concurrent phases is written under `driver`, by the thread that takes the next step (cycle.c).
 * Any thread may read AO_t fields. */
#ifndef OAKI_COLLECTOR_STATE_H
#define OAKI_COLLECTOR_STATE_H

#include "disclaim.h"
#include "event.h"
#include "gc/debug/debug.h"
#include "hooks.h"
#include "host.h"
#include "pace.h"
#include "plan.h"
#include "runtime/contract.h"
#include "runtime/meta.h"
#include "runtime/phase.h"
#include "runtime/roots.h"
#include "runtime/waker.h"
#include "settings.h"
#include "worktime.h"

/* Which objects the cycle may free: all, or those allocated since the last cycle (sticky.c). */
typedef enum oaki_cycle_kind { OAKI_FULL, OAKI_MINOR } oaki_cycle_kind;

/* Does the mark run in a pause, or while mutators run? */
typedef enum oaki_cycle_mode { OAKI_STOPPED, OAKI_CONCURRENT } oaki_cycle_mode;

/* The work of a phase or stage that is left: [at, end), offsets in the range or record numbers. */
typedef struct oaki_progress {
    size_t at, end;
} oaki_progress;

/* Parts of MARK and PRECLEAN, in order; concurrent/stages.c says which one follows. */
typedef enum oaki_stage {
    OAKI_STAGE_PINNED,      /* pinned objects are queued */
    OAKI_STAGE_KEPT,        /* objects that records keep alive in any case are queued */
    OAKI_STAGE_RANGES,      /* objects that large registered ranges refer to are queued */
    OAKI_STAGE_TRACE,       /* all queued objects are traced */
    OAKI_STAGE_VALUES,      /* values of ephemerons whose keys are marked are queued */
    OAKI_STAGE_VALUES_TRACE,
    OAKI_STAGE_CERTAIN,     /* tables note which records are certain */
    OAKI_STAGE_CERTAIN_TRACE,
    OAKI_STAGE_ROUND,       /* PRECLEAN begins: dirty pages are rescanned */
    OAKI_STAGE_ROUND_TRACE,
    OAKI_STAGE_ROOTS,       /* in a pause: objects that roots refer to are queued once more */
    OAKI_STAGE_WAITING,     /* in pauses: objects whose mark functions want a stopped world */
    OAKI_STAGE_WAITING_TRACE,
    OAKI_STAGE_PAUSED_ROUND, /* in pauses: dirty pages are rescanned by all workers */
    OAKI_STAGE_READY,       /* only the final pause is left */
    OAKI_STAGES
} oaki_stage;

#define OAKI_REGIONS 64 /* stretches of the heap that are being allocated from */

/* ---- the state of each file of gc/ ---- */

/* record.c: the cost of cycles since the start */
typedef struct oaki_totals {
    AO_t forced;        /* collections that the program asked for */
    AO_t stress_count;
    size_t live;        /* bytes, of the last cycle */
    uint64_t start_ns;  /* when the process began to use Oakum */
    uint64_t gc_cpu_ns;
    uint64_t pause_ns_total, last_gc_ns;
    uint64_t pause_ns[256], pause_end[256];
    uint32_t concurrent, minor;   /* cycles; one may be both */
    uint64_t marked, rescanned;   /* bytes */
    uint64_t longest_ns;          /* of all pauses */
    oaki_dirty_cost tracking;     /* until the last cycle's end */
} oaki_totals;

/* pauses.c: the roots of the mark under way */
typedef struct oaki_root_sums {
    size_t bytes;               /* stacks and globals */
    size_t stack_bytes, data_bytes;
    bool in_flight;             /* slots that a stopped fast path may be handing out are kept */
} oaki_root_sums;

/* concurrent/thread.c: the collector's own thread, and the requests to it */
typedef struct oaki_background {
    oaki_waker waker;       /* for requests */
    unsigned int requested; /* AO_int: a cycle is to begin */
    AO_t forced;            /* a cycle is to begin even if pacing asks for none */
    AO_t started;           /* 1: there is a thread; 2: never, without dirty-page tracking */
    AO_t not_before;        /* no thread could be started: the oaki_heap.cycle of the next try */
    AO_t clock;             /* the clock of its processor time; 0: none yet */
    AO_t assisted_ns;       /* processor time of mutators that mark */
    AO_t progress, progress_ns; /* what a waiting mutator saw last of the mark, and since when */
    AO_t given_up;          /* waits of mutators that ended before the mark */
    AO_t reporting;         /* it calls functions of the program after a cycle */
    AO_t refusals;          /* pauses in a row that the program has refused */
    AO_t waiting;           /* mutators that are throttled */
} oaki_background;

/* concurrent/quantum.c: the concurrent mark under way, and its cost */
typedef struct oaki_concurrent {
    oaki_lock driver;       /* guards worker 0, the stage and its progress while mutators run */
    AO_t stage;             /* oaki_stage */
    oaki_progress progress; /* of the phase or stage */
    size_t table;           /* the object table of the stage; `progress` counts its records */
    oaki_root_place place;  /* the stage's place in the registered ranges */
    AO_t number;            /* oaki_heap.cycle of the mark under way */
    bool protecting;        /* pages are protected for a cycle whose init pause is still to come */
    AO_t unprotect;         /* 1: pages that the last cycle left protected are to be released */
    oaki_progress released; /* the progress of that */
    AO_t final_refused;     /* the stage is READY, and the program has refused the pause */
    AO_t naps;              /* refused tries of all cycles; each eighth one is a round */
    AO_t worked_ns;         /* processor time of all threads since the last cycle was over */
    AO_t worked_before_ns;  /* the part of it before this mark */
    AO_t done;              /* words traced by this mark */
    AO_t expected[2];       /* words that the last mark traced, by kind */
    uint64_t begun_ns;      /* when the init pause ended */
    uint64_t took_ns;       /* of the last mark, from there to the final pause */
    uint64_t pauses_ns, longest_ns; /* pauses between these two: all together, the longest */
    uint64_t failed_ns;     /* the longest try of such a pause that failed */
    size_t refusals;        /* oaki_dirty_refusals when the mark's last rescan began */
    AO_t large;             /* bytes of large objects allocated during it */
} oaki_concurrent;

/* concurrent/preclean.c: the round under way */
typedef struct oaki_preclean {
    size_t dirty;           /* dirty pages found by this round */
    size_t protected;       /* pages protected by all rounds */
    size_t step;            /* bytes of the range for each query while mutators run */
    size_t before, rest;    /* words rescanned by the round before, and by the last one */
    size_t scanned;         /* oaki_workers_scanned when the round began */
    size_t roots_scanned;   /* oaki_workers_scanned when the roots were last queued */
    unsigned round;         /* rounds of this kind in a row */
    unsigned roots;         /* times that the roots were queued */
    unsigned part;          /* mutators run for 1/part of a pause's time before the next one */
    unsigned passes;        /* passes over the ephemerons */
    size_t queued;          /* oaki_ephemerons_queued before the last pass */
    uint64_t page_ns;       /* time of all workers for a page that a pause leaves to them */
    size_t marked;          /* bytes marked before the first round */
    size_t refusals;        /* oaki_dirty_refusals at the init pause */
    unsigned rounds, paused; /* rounds so far: while mutators ran, and in pauses */
    AO_t released[OAKI_REGIONS]; /* regions + 1 that mutators allocate from */
} oaki_preclean;

/* concurrent/sticky.c: the work of full and minor cycles, and the bytes that they freed */
typedef struct oaki_sticky {
    struct oaki_sticky_work {
        size_t words; /* traced */
        size_t freed; /* bytes; of a full cycle, as if no more lived than before it */
    } full;               /* of the last full cycle */
    unsigned skip;        /* full cycles, without those of a growth, until a minor one is tried */
    unsigned next_skip;   /* `skip` after a minor cycle that doesn't pay */
    unsigned in_a_row;    /* minor cycles since the last full one */
} oaki_sticky;

/* sweep.c: AO_t fields by any thread */
typedef struct oaki_sweeper {
    oaki_waker waker;   /* of the background thread: spans are unswept */
    AO_t waiting;       /* spans may be unswept */
    AO_t at;            /* the first list that may have one: zone * OAKI_SPANCLASSES + class */
    AO_t bytes;         /* of spans swept since the mark */
    AO_t kept[OAKI_KINDS]; /* bytes that this sweep has found alive */
    AO_t ended;         /* when the last span was swept, ns; 0: not yet */
    AO_t assisted;      /* void (*)(uint64_t begin, size_t bytes) */
    size_t live_at_end; /* live bytes at the mark's end */
    double ratio;       /* bytes to sweep for a byte allocated */
    bool started;
} oaki_sweeper;

#define OAKI_RUNNERS 16 /* finalizers at the same time whose start times are noted */
#define OAKI_ANY_ZONE ((AO_t)-1)

/* refs/finalrun.c: the finalizer thread, and the finalizers that run; any thread */
typedef struct oaki_finalrun {
    unsigned int thread; /* AO_int: is there a finalizer thread? */
    unsigned int told;   /* AO_int: that none can be started */
    const oaki_thread *runner; /* that thread's record */
    oaki_waker waker;    /* finalizers are ready */
    AO_t notify;         /* void (*)(void): the program's notifier */
    AO_t since[OAKI_RUNNERS]; /* when a running one began, or 0; */
    AO_t zone[OAKI_RUNNERS];  /* its object's; OAKI_ANY_ZONE while one leaves the queue */
    AO_t ran;            /* finalizers that have returned */
} oaki_finalrun;

/* zone.c: zones that are to be destroyed */
typedef struct oaki_closing {
    AO_t zones; /* in state OAKI_ZONE_CLOSING */
    AO_t ready; /* finalizers ready after the last mark, while a zone is closing */
} oaki_closing;

typedef struct oaki_collector {
    oaki_cycle_kind kind;       /* of the cycle under way, or the last one */
    oaki_cycle_mode mode;
    unsigned processors;        /* that the process had when the cycle began */
    AO_t start_reported;        /* start hooks have run for this cycle; its pause may be retried */
    AO_t entered_ns[OAKI_PHASES]; /* when each phase was last entered: for tests */
    oaki_cycle figures;         /* measurements of the cycle under way (record.c) */
    oaki_hooks start;           /* called before the first pause */
    oaki_hooks before, after;   /* called in pauses, before and after the mark */
    oaki_vec start_hooks;       /* the program's, called in the first pause (starthook.c) */
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
    oaki_worktime worktime;
    oaki_events events;
    oaki_host host;
    oaki_finalrun finalrun;
    oaki_closing closing;
    oaki_disclaim disclaim;
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

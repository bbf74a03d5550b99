/* plan.h - decides by cost how the next cycle is made (plan.c has the objective). */
#ifndef OAKI_PLAN_H
#define OAKI_PLAN_H

#include "runtime/base.h"

/* Why the next cycle that is due is concurrent, or one pause. */
#define OAKI_PLANS(X)                                                                       \
    X(SHORT, false, "a pause is short enough")                                              \
    X(OFF, false, "concurrent marking is off")                                              \
    X(THROUGHPUT, false, "the pause goal is 0")                                             \
    X(DEAR, false, "first writes to protected pages are dear")                              \
    X(HURT, false, "marks were slow on tracked pages")                                      \
    X(MINOR, false, "a minor pause is short enough")                                        \
    X(LARGE, true, "the heap is large")                                                     \
    X(LONG, true, "a pause would exceed the goal")                                          \
    X(CHEAP, true, "a concurrent mark is cheap")

typedef enum oaki_plan_reason {
#define OAKI_PLAN_NAME(name, concurrent, text) OAKI_PLAN_##name,
    OAKI_PLANS(OAKI_PLAN_NAME)
#undef OAKI_PLAN_NAME
    OAKI_PLAN_ALL
} oaki_plan_reason;

/* The cost of full marks of a mode. */
typedef struct oaki_plan_rate {
    double last; /* ns of processors for a word traced; 0: not known */
    double best; /* the least, of a heap that needs no mending; forgotten little by little */
} oaki_plan_rate;

/* Lock: gc_lock for a change; AO_t fields by any thread. */
typedef struct oaki_plan {
    double stop_rate;       /* ns of a stop-the-world mark per live byte, estimated */
    double seen_rate;       /* the same, measured by the last one; 0: a mark cost much more since */
    oaki_plan_rate rate[2]; /* by oaki_cycle_mode */
    oaki_plan_rate minor;   /* of minor marks */
    double bytes_ms[2];     /* bytes that the last mark of a mode marked per ms of a processor */
    double minor_bytes_ms;  /* the same, by the last minor mark */
    uint64_t minor_pause;   /* ns of the last minor cycle in one pause; less, the longer ago */
    uint64_t minor_cpu[2];  /* ns of the last minor mark of a mode; that of STOPPED as above */
    bool alone;             /* the last cycle had one processor */
    AO_t joined;            /* most workers in a drain of this mark */
    unsigned workers_most;  /* bound on workers, by the processor time they got; 0: none */
    unsigned starved;       /* pauses in a row whose workers got little processor time */
    unsigned fed;           /* pauses that got it, since workers_most was set or raised */
    unsigned next_rest;     /* `rest` after the next slow mark */
    unsigned good;          /* marks since the last slow one, or since next_rest was halved */
    AO_t rest;              /* cycles left without tracking */
    AO_t dirty;             /* first writes in the last concurrent mark, + 1; 0: not known */
    bool mended;            /* the last mark found the heap mended */
    bool still;             /* and was slow, as pages could not be joined */
    AO_t class, last_class; /* of first writes: decided by; found by the last probe */
    AO_t tracks;            /* 1: the last probe allows pages to be protected */
    AO_t wants;             /* OAKI_PLAN_PROBE and the like, for the host thread */
    size_t repair_at;       /* the host thread's: the repair's place in the heap, bytes */
    uint64_t repair_ns;     /* the host thread's: time of one turn of the repair */
    AO_t repairs;           /* repairs that have ended */
    AO_t repaired;          /* bytes that the last repair put into huge pages again */
    AO_t unjoined;          /* bytes that the system refused to put there */
    AO_t host;              /* 1: the host thread runs */
    AO_t limits_ns;         /* when limits were read */
    AO_t probes;            /* probes that have measured */
    AO_t said_probes;       /* planlog.c: probes that gctrace has printed, + 1 */
    unsigned said_plan;     /* planlog.c: the reason that it printed last, + 1 */
} oaki_plan;

enum { OAKI_PLAN_PROBE = 1, OAKI_PLAN_REPAIR = 2, OAKI_PLAN_GO_ON = 4 /* with the repair */ };

void oaki_plan_init(void);
void oaki_plan_reset(void); /* in the child of a fork */

/* ---- decisions; any thread ---- */

/* Is a cycle that is due concurrent, and why? */
oaki_plan_reason oaki_plan_reason_now(void);
bool oaki_plan_by(oaki_plan_reason r);
bool oaki_plan_is_concurrent(void);
const char *oaki_plan_text(oaki_plan_reason r);

/* May pages be protected at all, for concurrent and minor cycles? Not before the host is known,
 * where debug switches don't force it. */
bool oaki_plan_may_track(void);

/* Do first writes to protected pages cost more than they are worth, as a rule? */
bool oaki_plan_is_dear(void);
/* Are pages protected where a cycle needs it, by all that is known? */
bool oaki_plan_tracks(void);

/* May the next cycle, if it is minor, be one pause? */
bool oaki_plan_minor_stops(void);

/* How long a stop-the-world mark would take, ns; 0: not known, or little. */
uint64_t oaki_plan_pause_ns(void);
/* The pause goal, ns; 0: throughput only. */
uint64_t oaki_plan_pause_goal_ns(void);

/* Words whose tracing costs as much as to protect a page, and its first write. */
size_t oaki_plan_page_words(void);
/* Words that worker 0 traces before it wakes helpers. */
size_t oaki_plan_wake_words(void);

/* Of `want` workers, as many as processors have had time for lately. gc_lock. */
unsigned oaki_plan_workers(unsigned want);

/* ---- what cycles teach; gc_lock ---- */

/* The processors that the process had when the cycle began; their number may change at any time. */
void oaki_plan_processors(unsigned n);
/* A stop-the-world mark of `full` live bytes takes `ns`: measured (seen), or estimated by a
 * concurrent one. */
void oaki_plan_note_pause(uint64_t ns, size_t full, bool seen);
/* A full mark has traced so many words, and marked so many bytes, in `cpu_ns` of processors. Time
 * in which workers waited for work is not part of it. */
void oaki_plan_note_mark(bool concurrent, size_t words, size_t bytes, uint64_t cpu_ns);
/* A minor mark. It shows whether tracked pages are slow, but not the speed of full marks.
 * pause_ns: of the whole cycle; 0: it was concurrent. */
void oaki_plan_note_minor(size_t words, size_t bytes, uint64_t cpu_ns, uint64_t pause_ns);
/* In drains of a pause so many workers were present for so long, all together, and ran so long. */
void oaki_plan_note_share(uint64_t present_ns, uint64_t ran_ns, unsigned workers);
/* Mutators had so many first writes to protected pages since the cycle before. */
void oaki_plan_note_dirty(size_t pages);

/* planlog.c: a line for gctrace, where the plan after this cycle is another than the last one. For
 * a listener, which alone has the turn to report (event.h). */
void oaki_plan_log(unsigned long long cycle, unsigned plan);

/* oaki_cost_probe, and by what it finds: is the heap to have huge pages? Outside of oaki_enter. */
void oaki_plan_probe(void);

/* Reads the limits of control groups. Outside of oaki_enter. */
void oaki_plan_limits(void);

/* After a cycle, outside of oaki_enter. If there is need, a thread of its own measures the host,
 * mends what tracking has slowed down, or reads limits. */
void oaki_plan_attend(void);

#endif

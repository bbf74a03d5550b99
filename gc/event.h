/* event.h - reports to listeners that a cycle is over, with its figures.
 *
 * A cycle notes its event under gc_lock, in the order of cycles. Once the collecting thread is
 * out of the runtime, it reports all noted events, one after the other, to all listeners. If
 * another thread is reporting already, that thread reports the new events too. So a listener is
 * never called by two threads at once, and sees cycles in order, but perhaps after oak_collect
 * has returned.
 *
 * Owns: the list of listeners, the ring of noted events. Lock: the turn, a word that one thread
 * holds while it reports. A change of the list waits for it, and so does oaki_gc_flush_events.
 * Bound: OAKI_LISTENERS listeners, OAKI_EVENTS pending events. Further events are dropped, and
 * counted in the next one's `lost`. */
#ifndef OAKI_EVENT_H
#define OAKI_EVENT_H

#include "gctrace.h"
#include "runtime/collector.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/span.h"

#define OAKI_LISTENERS 16
#define OAKI_EVENTS 64

/* The parts of the pause; they add up to it. */
typedef enum oaki_part {
    OAKI_PART_STOP,    /* from the request to stop until the last thread is stopped */
    OAKI_PART_PREPARE, /* caches flushed, hooks, bitmaps */
    OAKI_PART_ROOTS,   /* roots queued */
    OAKI_PART_DRAIN,   /* marking from there */
    OAKI_PART_FINISH,  /* ephemerons, weak references, finalizers, and the objects these revive */
    OAKI_PART_PACE,    /* the next goal; spans become unswept */
    OAKI_PART_START,   /* threads resume */
    OAKI_PARTS
} oaki_part;

/* All times in nanoseconds; begin and end on the monotonic clock; sizes in bytes. */
typedef struct oaki_cycle {
    oaki_gctrace line; /* printed by gctrace; its times are sums of parts */
    oaki_gc_why why;
    uint64_t begin, end; /* of the pause, or of the final one */
    /* After a concurrent mark: when the first pause began; the time of all pauses before the
     * final one; and of these, of those in between. Else 0. */
    uint64_t first_begin, first, between;
    uint64_t longest_between; /* the longest of those */
    uint64_t longest_failed;  /* of abandoned pauses, before one of these */
    unsigned rounds, stopped; /* rounds of rescanning dirty pages; those of them in short pauses */
    /* a minor collection: it looked for recent garbage only (docs/concurrent.md) */
    bool minor;
    uint64_t concurrent_cpu; /* processor ns of concurrent marking, by any thread */
    uint64_t wall;           /* the cycle's end, since 1970 */
    uint64_t part[OAKI_PARTS];
    uint64_t verify;     /* of OAKUM_DEBUG=verify: inside the pause, in no part */
    uint64_t verify_cpu; /* of all processors, for it; in no other figure */
    uint64_t cpu;        /* of the process, from begin to end: stopping, marking, starting */
    uint64_t cpu_end;    /* the process's total at the end */
    uint64_t stop_cpu;   /* of these, stopping; line.mark_cpu is marking */
    int tid;             /* of the thread that collected */
    unsigned threads;    /* attached; all but the one that collected were stopped */
    unsigned markers;    /* workers that could take part */
    size_t allocated;    /* since the previous cycle, less bytes freed by hand */
    size_t words;        /* traced */
    unsigned plan;       /* oaki_plan_reason: how the next cycle that is due would be */
    size_t freed;        /* found dead by this cycle */
    size_t marked;       /* by this cycle; of a minor one, new objects alone */
    size_t rescanned;    /* bytes on pages that were dirty */
    oaki_dirty_cost tracking; /* since the previous cycle */
    size_t trigger;      /* live bytes that make the next cycle due */
    size_t heap_inuse, heap_idle, heap_released;
    /* The previous cycle's sweep: the time its rest took at the beginning of this cycle; and
     * when it was over, 0 when there was none. */
    uint64_t sweep_rest, sweep_end;
    size_t kept[OAKI_KINDS]; /* bytes it left, by kind of object; OAKI_NOSCAN isn't read */
    size_t lost;             /* events before this one that were not reported */
} oaki_cycle;

/* Of the pause, or of the final one. */
OAKI_INLINE uint64_t oaki_cycle_pause(const oaki_cycle *c)
{
    return oaki_os_since(c->begin + c->verify, c->end);
}

/* The sum of the parts. */
OAKI_INLINE uint64_t oaki_cycle_parts(const oaki_cycle *c)
{
    uint64_t ns = 0;
    for (unsigned p = 0; p < OAKI_PARTS; p++) ns += c->part[p];
    return ns;
}

/* The longest of all the cycle's pauses. */
OAKI_INLINE uint64_t oaki_cycle_longest(const oaki_cycle *c)
{
    uint64_t first = c->first - c->between;
    uint64_t before = OAKI_MAX(first, OAKI_MAX(c->longest_between, c->longest_failed));
    return OAKI_MAX(oaki_cycle_pause(c), before);
}

/* A listener is called outside of oaki_enter, with no lock held and the world running. The
 * calling thread has collected, perhaps in the middle of an allocation. So the listener takes no
 * lock that the program may hold while it allocates, and calls no function of the program. It
 * may call all of Oakum's functions. A collection that it causes itself is reported after it has
 * returned. */
typedef void (*oaki_cycle_fn)(const oaki_cycle *c, void *ctx);

/* Listeners, and events to report (event.c). */
typedef struct oaki_events {
    AO_t turn;
    AO_t nlisteners;
    struct {
        oaki_cycle_fn fn;
        void *ctx;
    } listener[OAKI_LISTENERS]; /* the turn */
    AO_t head, tail;            /* events reported, and noted */
    size_t lost;                /* events dropped since the last one noted; gc_lock */
    oaki_cycle ring[OAKI_EVENTS];
    oaki_cycle reported; /* what is being reported, as the stack may be small; the turn */
} oaki_events;

/* From now on fn(event, ctx) is called once a cycle. Adding the same pair twice is adding it
 * once. 0, or -1 with ENOMEM when there are too many. Any thread, outside of oaki_enter. */
int oaki_gc_on_cycle(oaki_cycle_fn fn, void *ctx);

/* Removes the listener, if it is there. On return no call of it is under way, unless the caller
 * is such a call. */
void oaki_gc_off_cycle(oaki_cycle_fn fn, void *ctx);

/* Waits until all cycles that are over now have been reported, unless called by a listener. */
void oaki_gc_flush_events(void);

/* ---- for the rest of gc/ ---- */

void oaki_event_note(const oaki_cycle *c);
/* Is the calling thread in a listener? */
bool oaki_event_is_mine(void);

/* After a collection: runs listeners and finalizers, and starts the threads that a heap of this
 * size wants; later, if the thread holds that back. */
void oaki_event_over(oaki_thread *t);
void oaki_event_init(void);
void oaki_events_reset(void); /* in the child of a fork */

#endif

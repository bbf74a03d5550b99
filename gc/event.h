/* event.h - telling others that a cycle is over, and what it knows of itself.
 *
 * A cycle notes its event under gc_lock, in the order of cycles; once the collecting thread is out
 * of the runtime, it hands over what is noted, one event after the other to all listeners. When
 * another thread is doing that already, that one hands over ours too: so a listener is never called
 * by two threads at once, and sees cycles in order, but perhaps after oak_collect has returned.
 *
 * Owns: the list of listeners, the ring of noted events. Lock: the turn, a word that one thread
 *   holds while it hands over; nobody waits for it but oaki_gc_off_cycle.
 * Bound: OAKI_LISTENERS listeners, OAKI_EVENTS events that wait; more are dropped, and counted in
 *   the next one's `lost`. */
#ifndef OAKI_EVENT_H
#define OAKI_EVENT_H

#include "gctrace.h"
#include "runtime/collector.h"
#include "runtime/span.h"

#define OAKI_LISTENERS 16
#define OAKI_EVENTS 64

/* The pause, part after part: they add up to it. */
typedef enum oaki_part {
    OAKI_PART_STOP,     /* from asking the threads to stop until the last one stood */
    OAKI_PART_PREPARE,  /* caches flushed, hooks, bitmaps */
    OAKI_PART_ROOTS,    /* roots pushed */
    OAKI_PART_DRAIN,    /* marked from there */
    OAKI_PART_FINISH,   /* ephemerons, weak references, finalizers, what these revive */
    OAKI_PART_PACE,     /* the next goal, spans become waiting ones */
    OAKI_PART_START,    /* threads let go */
    OAKI_PARTS
} oaki_part;

/* All times in nanoseconds, begin and end on the monotonic clock; sizes in bytes. */
typedef struct oaki_cycle {
    oaki_gctrace line; /* what gctrace prints; its times are sums of the phases' */
    oaki_gc_why why;
    uint64_t begin, end; /* of the pause, or the last one */
    /* where the mark was beside the program: when the stop before it began, how long all stops
     * before the last were, and of these the ones in between; else 0 */
    uint64_t first_begin, first, between;
    uint64_t longest_between; /* the longest of those */
    uint64_t longest_vain;    /* of stops that were given up, before one of these */
    unsigned rounds, stopped; /* of looking at written pages, and in short stops */
    bool minor;      /* it looked for young garbage only (docs/concurrent.md) */
    uint64_t beside; /* ns of processors beside the program, of whichever thread */
    uint64_t wall;       /* its end, since 1970 */
    uint64_t phase[OAKI_PARTS];
    uint64_t verify;     /* of OAKUM_DEBUG=verify, inside of the pause and part of no phase */
    uint64_t verify_cpu; /* of all processors, for it; in no other figure either */
    uint64_t cpu;        /* of the process, from begin to end: stopping, marking, starting */
    uint64_t cpu_end;    /* what the process had used at its end */
    uint64_t stop_cpu;   /* of these, stopping; line.mark_cpu is marking */
    int tid;             /* of the thread that collected */
    unsigned threads;    /* attached; all but the one that collected were stopped */
    unsigned markers;    /* that could take part */
    size_t allocated;    /* since the cycle before, less what was freed by hand */
    size_t freed;        /* found dead by this one */
    size_t trigger;      /* live bytes at which the next one is due */
    size_t heap_inuse, heap_idle, heap_released;
    /* the sweep of the cycle before: what was left of it at the beginning of this one, in time, and
     * when it was over, 0 when there was none */
    uint64_t sweep_rest, sweep_end;
    size_t kept[OAKI_KINDS]; /* what it left, by kind of object; OAKI_NOSCAN isn't read */
    size_t lost; /* events before this one that nobody was told of */
} oaki_cycle;

/* Of the stop, or the last one. */
OAKI_INLINE uint64_t oaki_cycle_pause(const oaki_cycle *c)
{
    return c->end - c->begin - c->verify;
}

/* What the phases add up to. */
OAKI_INLINE uint64_t oaki_cycle_parts(const oaki_cycle *c)
{
    uint64_t ns = 0;
    for (unsigned p = 0; p < OAKI_PARTS; p++) ns += c->phase[p];
    return ns;
}

/* The longest of all its stops. */
OAKI_INLINE uint64_t oaki_cycle_longest(const oaki_cycle *c)
{
    uint64_t first = c->first - c->between;
    uint64_t before = OAKI_MAX(first, OAKI_MAX(c->longest_between, c->longest_vain));
    return OAKI_MAX(oaki_cycle_pause(c), before);
}

/* A listener is called outside of oaki_enter, with no lock held and the world running, by a thread
 * that has collected, whatever that thread was about to allocate for: so it takes no lock that the
 * program may hold while it allocates, and calls nothing of the program's. It may call everything
 * of Oakum's; a collection that it causes itself is told of when it has returned. */
typedef void (*oaki_cycle_fn)(const oaki_cycle *c, void *ctx);

/* From now on fn(event, ctx) is called once a cycle; the same twice is once. 0, or -1 with ENOMEM
 * when there are too many already. Any thread, outside of oaki_enter. */
int oaki_gc_on_cycle(oaki_cycle_fn fn, void *ctx);

/* No more: when it returns, no call is under way, unless it is called by one. Nothing happens when
 * there is no such listener. */
void oaki_gc_off_cycle(oaki_cycle_fn fn, void *ctx);

/* Wait until all cycles that are over now have been told of, unless called by a listener. */
void oaki_gc_flush_events(void);

/* ---- for cycle.c ---- */

void oaki_event_note(const oaki_cycle *c);
/* A collection is over: listeners, finalizers, and the threads that a heap of this size wants. */
void oaki_event_over(oaki_thread *t);
int oaki_event_init(void);

#endif

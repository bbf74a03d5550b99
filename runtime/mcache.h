/* mcache.h - a thread's cache: for each span class a run of free, zeroed slots to bump through.
 *
 * Owns: struct oaki_mcache. Accessed by its thread alone, inside oaki_enter except for the fast
 * path. Other threads access it only when the world is stopped or the thread is gone.
 *
 * A stop may come halfway through the fast path. The slot at `next` is then in a register, and
 * `next` has not moved yet, or is about to move. So a flush empties a run by end = NULL; a stale
 * store to `next` then does no harm. A stopped thread's stack may hold an address in the fast
 * path's code. Then the slot at which each run was flushed is kept for this cycle
 * (oaki_mcache_in_flight). */
#ifndef OAKI_MCACHE_H
#define OAKI_MCACHE_H

#include "sample.h"
#include "span.h"
#include "thread.h"

struct oak_zone;
struct oak_fiber;

typedef struct oaki_run {
    char *next, *end; /* next + size <= end: a zeroed slot, already set in A */
} oaki_run;

typedef struct oaki_mcache {
    oaki_run run[OAKI_SPANCLASSES];
    oaki_span *span[OAKI_SPANCLASSES]; /* the run's span; NULL when none is cached */
    /* end of the slots taken for the run: beyond `end` while the run is cut short (sample.h) */
    char *run_end[OAKI_SPANCLASSES];
    char *flushed[OAKI_SPANCLASSES];   /* `next` at the last flush */
    /* slots of span[] taken by the cache that the span's nalloc doesn't include yet */
    uint32_t taken[OAKI_SPANCLASSES];
    uint64_t active[OAKI_KINDS];       /* bit cls: span[] is set */
    oaki_thread *thread;
    struct oak_zone *zone;
    struct oaki_mcache *next, *prev; /* all caches; oaki_heap.mcaches, threads_lock */
    /* All slots of every run taken, by size class; a reader subtracts the slots left in runs. And
     * large objects, with their bytes. */
    size_t mallocs[OAKI_CLASSES], large_bytes;
    size_t sample_left[OAKI_SPANCLASSES]; /* bytes before the next sample (sample.h) */
    size_t sample_due;  /* rate at which the object being taken is to be noted, or 0 */
    uint64_t random;
    /* Of an entry in a zone (zonecache.c): the previous one on its stack; how often in a row; the
     * fiber it waits with, or NULL. Of a spare one: outer is the next spare one. */
    struct oaki_mcache *outer;
    size_t depth;
    struct oak_fiber *fiber;
    /* Of a parked one: its links among those of its zone; and among all parked ones, by time of
     * parking. */
    struct oaki_mcache *zone_next, *zone_prev, *older, *newer;
} oaki_mcache;

/* Bytes taken for a run, and so counted, but not handed out. */
OAKI_INLINE size_t oaki_mcache_left(const oaki_mcache *mc, unsigned spanclass)
{
    const char *next = mc->run[spanclass].next, *end = mc->run_end[spanclass];
    return next < end ? (size_t)(end - next) : 0;
}

OAKI_INLINE size_t oaki_sample_take_due(oaki_mcache *mc)
{
    size_t rate = mc->sample_due;
    if (OAKI_UNLIKELY(rate != 0)) mc->sample_due = 0;
    return rate;
}

extern OAKI_HIDDEN oaki_mcache oaki_mcache_none; /* of unattached threads: all empty */

/* The calling thread is attached from here on: its stack is scanned, and a stop halts it. For calls
 * that don't allocate. false with ENOMEM. */
OAKI_INLINE bool oaki_attached(void)
{
    return OAKI_LIKELY(oaki_tls_mcache != &oaki_mcache_none) || oaki_thread_attach_self();
}

/* The same, but fatal without memory: `what` names the call that needs it. */
OAKI_INLINE void oaki_attach(const char *what)
{
    if (OAKI_UNLIKELY(!oaki_attached()))
        oak_fatal("oakum: %s: no memory to attach the thread", what);
}

oaki_mcache *oaki_mcache_new(oaki_thread *t, struct oak_zone *z); /* NULL when out of memory */
/* gives its spans back to the mcentrals, and its counts to the heap */
void oaki_mcache_free(oaki_mcache *mc);

/* Hands every cached span back. Called by its thread, or while no thread uses it. */
void oaki_mcache_flush(oaki_mcache *mc);

/* After a flush: adds its counts to its zone's and the heap's. */
void oaki_mcache_add_counts(oaki_mcache *mc);

/* After a flush: keeps the slots that the fast path may have in registers. */
void oaki_mcache_in_flight(oaki_mcache *mc);

/* Is this word an address in the fast path's code? */
bool oaki_mcache_is_fast_path(uintptr_t word);

/* The next slot of a span class when the run is empty: from the next run, or the next span. May
 * collect. NULL when out of memory. The slot is zeroed and counted. */
void *oaki_mcache_refill(oaki_thread *t, unsigned spanclass);

/* The run is empty: is there another run in the same span? If its first object is to be noted, the
 * run is empty too. Never collects. */
bool oaki_mcache_more(oaki_mcache *mc, unsigned spanclass);

/* The run is empty: takes up to n more slots of the same span, zeroed and counted. The first word
 * of each slot points to the next slot, and *last's to the first. Returns how many, and sets *last
 * to the last slot, whose first word isn't set. May take fewer slots than are free, or none: not
 * every size and phase is supported. Never collects. */
size_t oaki_mcache_chain(oaki_mcache *mc, unsigned spanclass, char **last, size_t n);

#endif

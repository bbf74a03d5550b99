/* mcache.h - a thread's cache: for each span class a run of free, zeroed slots to bump through.
 *
 * Owns: struct oaki_mcache. Touched by its thread alone, inside oaki_enter save for the fast
 * path; by others only when the world is stopped or the thread is gone.
 *
 * The fast path may be stopped half way, with the slot at `next` already in a register and
 * `next` not yet moved, or about to be moved. So a flush empties runs by end = NULL, after which
 * a stale store to `next` does no harm, and when a stopped thread's stack holds an address in
 * the fast path's code (oaki_mcache_in_flight), the slot that each run was flushed at is kept
 * for this cycle. */
#ifndef OAKI_MCACHE_H
#define OAKI_MCACHE_H

#include "sample.h"
#include "span.h"
#include "thread.h"

struct oak_zone;
struct oak_fiber;

typedef struct oaki_run {
    char *next, *end; /* next + size <= end: a zeroed slot that A already says is handed out */
} oaki_run;

typedef struct oaki_mcache {
    oaki_run run[OAKI_SPANCLASSES];
    oaki_span *span[OAKI_SPANCLASSES]; /* that the run is in; NULL when none is cached */
    /* where what was taken for the run ends: behind its end while it is cut (sample.h) */
    char *run_end[OAKI_SPANCLASSES];
    char *flushed[OAKI_SPANCLASSES];   /* `next` at the last flush */
    /* slots of span[] that it took, which the span's nalloc doesn't know of yet */
    uint32_t taken[OAKI_SPANCLASSES];
    uint64_t active[OAKI_KINDS];       /* bit cls: span[] is set */
    oaki_thread *thread;
    struct oak_zone *zone;
    struct oaki_mcache *next, *prev; /* all caches; oaki_heap.mcaches, threads_lock */
    /* all slots of every run taken, by size class; what is left in runs is taken off when read. And
     * large objects, with their bytes */
    size_t mallocs[OAKI_CLASSES], large_bytes;
    size_t sample_left[OAKI_SPANCLASSES]; /* bytes in front of the next sampled one (sample.h) */
    size_t sample_due;  /* rate at which the object that is being taken is to be noted, or 0 */
    uint64_t random;
    /* Of an entry in a zone (zonecache.c): the one before it on its stack; how often in a row; the
     * fiber that it waits with, or NULL. Of a spare one: the next of these */
    struct oaki_mcache *outer;
    size_t depth;
    struct oak_fiber *fiber;
    /* of a parked one: of its zone, and of all by when they were parked */
    struct oaki_mcache *zone_next, *zone_prev, *older, *newer;
} oaki_mcache;

/* Bytes left of what was taken for a run, that is, counted and not handed out. */
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

/* The calling thread is attached from here on: what it holds is scanned, and it is halted by a
 * stop. For calls that don't allocate. false with ENOMEM. */
OAKI_INLINE bool oaki_attached(void)
{
    return OAKI_LIKELY(oaki_tls_mcache != &oaki_mcache_none) || oaki_thread_attach_self();
}

/* The same, and fatal without memory: `what` is done that needs it. */
OAKI_INLINE void oaki_attach(const char *what)
{
    if (OAKI_UNLIKELY(!oaki_attached()))
        oak_fatal("oakum: %s: no memory to attach the thread", what);
}

oaki_mcache *oaki_mcache_new(oaki_thread *t, struct oak_zone *z); /* NULL when out of memory */
/* gives its spans back to the mcentrals, its counts to the heap */
void oaki_mcache_free(oaki_mcache *mc);

/* Hand every cached span back: the thread itself, or no thread uses it. */
void oaki_mcache_flush(oaki_mcache *mc);

/* After a flush: its counts become its zone's and the heap's. */
void oaki_mcache_settle(oaki_mcache *mc);

/* After the flush: keep the slots that the fast path may have in its hands. */
void oaki_mcache_in_flight(oaki_mcache *mc);

/* Is this word an address in the fast path's code? */
bool oaki_mcache_is_fast_path(uintptr_t word);

/* Next slot of a span class when the run is empty: next run, or next span. May collect. NULL
 * when out of memory. The slot is zeroed and counted. */
void *oaki_mcache_refill(oaki_thread *t, unsigned spanclass);

/* The run is empty: is there another in the same span? Its first object may be one that is to be
 * noted, and then it is empty, too. Never collects. */
bool oaki_mcache_more(oaki_mcache *mc, unsigned spanclass);

/* The run is empty: up to n more slots of the same span, zeroed and counted, each named by the
 * first word of the one before it, the first by *last's. Returns how many, and makes *last the
 * last, whose first word isn't set. There may be fewer than are free, or none: for sizes and at
 * times that it is not for. Never collects. */
size_t oaki_mcache_chain(oaki_mcache *mc, unsigned spanclass, char **last, size_t n);

#endif

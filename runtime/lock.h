/* lock.h - the runtime's mutex, and the order in which its locks are taken.
 *
 * A futex lock of one word. It uses nothing of the host, so it works in a stopped world and in a
 * forked child. A thread takes locks in rising rank; debug builds check this at every acquire.
 * Of user code these run under gc_lock: disclaim functions and callbacks of libgc's interface; in a
 * stop, under threads_lock too, start hooks, mark functions and oak_heap_each's.
 *
 * Locks are only taken inside oaki_enter/oaki_leave (thread.h) or with the world stopped, so a
 * stopped thread never holds one. A stop holds gc_lock and threads_lock, so a thread that waits for
 * these counts as stopped meanwhile. Helpers take helper_lock, and those under it, outside: a stop
 * holds that lock instead of stopping them.
 *
 * The locks of maps/ are the exception: they are held outside oaki_enter, around calls that
 * allocate. A stopped thread may hold one, so neither a stop nor any lower layer may take one. */
#ifndef OAKI_LOCK_H
#define OAKI_LOCK_H

#include "base.h"

typedef enum oaki_rank {
    OAKI_RANK_MAP = 1,   /* a structure of maps/; never two at a time */
    OAKI_RANK_INIT,      /* start-up */
    OAKI_RANK_GC,        /* one collection at a time, and all that excludes one */
    OAKI_RANK_HELPER,    /* helpers at work on the heap: sweeper, scavenger, ahead */
    OAKI_RANK_THREADS,   /* the list of threads */
    OAKI_RANK_LEAVING,   /* guarded objects between their queue and being free */
    OAKI_RANK_ZONES,     /* the table of zones, and the threads in them */
    OAKI_RANK_ROOTS,     /* registered ranges, exclusions, masks */
    OAKI_RANK_FINALIZER, /* finalizer, weak and ephemeron tables */
    OAKI_RANK_TYPES,     /* the table of types */
    OAKI_RANK_OBSERVE,   /* sites and sampled objects */
    OAKI_RANK_MARKER,    /* worker 0 while it marks concurrently */
    OAKI_RANK_DEFERRED,  /* deferred frees */
    OAKI_RANK_GUARD,     /* records of guarded objects */
    OAKI_RANK_BITS,      /* A and M while M is prepared; dirty tracking */
    OAKI_RANK_ROOM,      /* the list of wants that found no room */
    OAKI_RANK_SETTINGS,  /* settings of the collector that change at run time */
    OAKI_RANK_CENTRAL,   /* one mcentral; never two at a time */
    OAKI_RANK_PAGES,     /* the page heap */
    OAKI_RANK_META,      /* metadata */
    OAKI_RANK_META_REGION /* the runs that metadata is made of */
} oaki_rank;

typedef struct oaki_lock {
    unsigned int word; /* AO_int: 0 free, 1 held, 2 held with waiters */
    unsigned int rank;
} oaki_lock;

#define OAKI_LOCK_INIT(r) { 0, (r) }

void oaki_lock_init(oaki_lock *l, oaki_rank rank);
void oaki_lock_acquire(oaki_lock *l);    /* spins a little, then sleeps */
bool oaki_lock_acquire_within(oaki_lock *l, uint64_t ns); /* false: it was held for so long */
bool oaki_lock_try(oaki_lock *l);
void oaki_lock_release(oaki_lock *l);
bool oaki_lock_is_awaited(const oaki_lock *l); /* a hint */
void oaki_lock_reset(oaki_lock *l);      /* in a forked child: free, regardless of its holder */

/* Body of a loop that waits for another thread's store. */
OAKI_INLINE void oaki_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__("yield" ::: "memory");
#endif
}

/* For the rank check: does nothing in a release build. */
void oaki_lock_assert_none_held(void);

/* Debug builds only (contract.h): about the calling thread. */
bool oaki_lock_is_mine(const oaki_lock *l);
bool oaki_lock_holds_one(oaki_rank low, oaki_rank high); /* of a rank from low to high */
bool oaki_is_inside(void);

#endif

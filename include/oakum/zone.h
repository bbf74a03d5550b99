/* zone.h - zones: parts of the heap with spans, accounts and a limit of their own, which can be
 * given back at one go. One for each interpreter state, request or tenant.
 *
 * A zone is entered, and what the thread allocates from then on, by whatever call, lies in it; or
 * an object is allocated in a zone by name. One collector marks across all zones, so references
 * between zones are as good as any. What is in no zone of the program's is in the default one,
 * which is named by NULL.
 *
 * An object stays in its zone: oak_realloc gives it new memory there, whatever zone the thread is
 * in, and maps and the structures on them grow in the zone that they were made in.
 *
 * All may be called from any thread, none from a signal handler or a mark function. A zone is
 * invalid once it was discarded or destroyed: a call with it is fatal, or meets a zone that was
 * made since. */
#ifndef OAKUM_ZONE_H
#define OAKUM_ZONE_H

#include <oakum/base.h>
#include <oakum/heap.h>
#include <oakum/why.h>

OAK_BEGIN_DECLS

typedef struct oak_zone oak_zone;

/** The zone has no room for an allocation of so many bytes, though a collection had its chance; or
 * the heap hasn't. Runs on the thread that allocates, with no lock held, and may call anything:
 * free objects, raise the limit. true: try again; false: the allocation fails with ENOMEM. It has
 * to return: no longjmp. As an allocation is no cancellation point, none in it is. Allocations that
 * it makes itself call no such function, be it another zone's: where there is no room they fail. */
typedef bool (*oak_zone_full)(oak_zone *z, size_t bytes, void *ctx);

/** How to make a zone; all zero is the default. */
typedef struct oak_zone_options {
    const char *name;      /* copied, cut after 31 bytes; NULL: "zone" and a number */
    size_t limit;          /* bytes of memory that it may have; 0: none. See oak_zone_set_limit */
    oak_zone_full on_full; /* or NULL */
    void *ctx;             /* of it, and of oak_zone_context; keeps nothing alive */
} oak_zone_options;

/** A new zone; o may be NULL. An empty one costs some hundred bytes. At most 65,535 at a time. NULL
 * with ENOMEM, or EAGAIN when there are so many, those counted that are being given back. */
OAK_API oak_zone *oak_zone_new(const oak_zone_options *o);

/** Its name and its context, as given. */
OAK_API const char *oak_zone_name(const oak_zone *z);
OAK_API void *oak_zone_context(const oak_zone *z);

/* ---- in a zone ---- */

/** From here on what the calling thread allocates lies in z, NULL the default zone, until the
 * matching oak_zone_leave. Nests, with the same zone or others; any number of threads may be in a
 * zone. Inside, allocation costs what it costs outside. Enter and leave take about as long as a few
 * allocations together. 0, or -1 with ENOMEM, or with EBUSY while oak_zone_destroy looks at it.
 *
 * Entries belong to the stack that made them: oak_fiber_switch leaves the zone with the fiber that
 * is left, and takes up the zone of the one that is switched to. They end with the thread, with
 * oak_fiber_free, or when a fiber is collected; in the child of a fork those of other threads do. A
 * new thread or fiber begins in the default zone. */
OAK_API int oak_zone_enter(oak_zone *z);

/** Undo it. Fatal when the thread's latest entry is not of z. */
OAK_API void oak_zone_leave(oak_zone *z);

/** The zone that the calling thread is in; NULL: the default one. */
OAK_API oak_zone *oak_zone_current(void);

/** For those who leave by longjmp or an exception: how many entries the calling thread's stack has,
 * and leave all but the first `depth`. */
OAK_API size_t oak_zone_depth(void);
OAK_API void oak_zone_unwind(size_t depth);

/** As oak_alloc and so on, in this zone, NULL the default one. As fast as those when the thread is
 * in it, otherwise as an entry and a leave around it, with the same errors. */
OAK_API OAK_MALLOC void *oak_zone_alloc(oak_zone *z, size_t n);
OAK_API OAK_MALLOC void *oak_zone_alloc_noscan(oak_zone *z, size_t n);
OAK_API OAK_MALLOC void *oak_zone_alloc_pinned(oak_zone *z, size_t n);
OAK_API OAK_MALLOC void *oak_zone_alloc_typed(oak_zone *z, const oak_type *t, size_t count);

/** The zone of the object that p points to or into; NULL: the default one, or no live object of
 * ours, as where its zone was discarded. O(1), no lock. */
OAK_API oak_zone *oak_zone_of(const void *p);

/** Ids (gettid) of threads that are in the zone, once for each entry that isn't nested in another
 * of the same zone; 0 for a fiber that waits. At most max are stored, and it is returned how many
 * there are. z is no NULL. */
OAK_API size_t oak_zone_threads(const oak_zone *z, int *tids, size_t max);

/* ---- limit and account ---- */

/** The limit counts the zone's memory in spans: whole runs of pages, small objects' and large
 * ones'. So a zone never has more memory than that; and as a size class takes 8 KiB at least, a
 * limit below some hundred KiB is met early. When it is met, what waits to be swept in the zone
 * is, then a collection is made, then on_full is called. When an allocation fails is told at
 * oak_set_heap_max. Returns the old limit; 0: none; SIZE_MAX asks only. A new one below what the
 * zone has takes nothing away. */
OAK_API size_t oak_zone_set_limit(oak_zone *z, size_t bytes);

/** The account of a zone. Bytes and objects live are allocated less freed; an object that can't be
 * reached counts until it has been swept. Sizes are those of slots, as in oak_memstats. */
typedef struct oak_zone_stats {
    oak_zone *zone;        /* NULL: the default one, or what was discarded */
    char name[32];         /* those two: "default", "discarded" */
    size_t limit;          /* 0: none */
    uint64_t inuse;        /* bytes in spans: heap_inuse's part */
    uint64_t live_bytes, live_objects;
    uint64_t total_alloc, mallocs; /* bytes and objects allocated since it was made */
    uint64_t total_freed, frees;   /* and of these, freed */
    uint64_t collections;  /* made because the limit was met */
    uint64_t failures;     /* allocations that failed */
    uint32_t entries;      /* of threads and waiting fibers */
} oak_zone_stats;

/** Of one zone. Stops the world for some microseconds, so that the figures agree. */
OAK_API void oak_zone_stats_read(const oak_zone *z, oak_zone_stats *out);

/** All in one stop: first the default zone, then together those that are gone (what was theirs and
 * what is not yet given back of it), then each in order of making. The sums of inuse, live_bytes,
 * live_objects, total_alloc, mallocs and frees are heap_inuse, heap_alloc, heap_objects,
 * total_alloc, mallocs and frees of *m, which is filled when it isn't NULL. At most max are
 * stored; returns how many there are. */
OAK_API size_t oak_zones_read(oak_zone_stats *out, size_t max, oak_memstats *m);

/* ---- the end of a zone ---- */

/** All that is in the zone is freed, whoever refers to it, and the zone is gone. At once, whatever
 * its size; the memory goes back to the heap, and from there to the system, in the background.
 * Pointers to its objects dangle from now on: a program that follows one uses freed memory. The
 * collector takes no harm: words that lead there mark nothing. As with oak_free, finalizers and
 * cleanups of its objects are dropped and never run (one that runs in another thread right now is
 * not waited for, and may not touch its object any more), weak references and ephemerons whose
 * object or key is in it are cleared; so are handles that lie in it themselves. A context of a
 * finalizer elsewhere that lies in it dangles. Objects that the heap profile has noted count as
 * freed. If the zone has objects with such references, the call takes as long as a look at each
 * finalizer, weak reference and ephemeron of the program. 0, or -1 with EBUSY while a thread or a
 * waiting fiber is in it, or oak_zone_destroy looks at it. */
OAK_API int oak_zone_discard(oak_zone *z);

/** The same for a zone that nothing refers to: collects, and if anything outside can still reach an
 * object of it, the zone stays as it is. A pinned object is a root, wherever it lies, so it has to
 * be freed first. Finalizers of its objects that are ready for it are run by the calling thread,
 * and it is looked at again; one that never gets ready (a cycle) keeps the zone. 0, or -1 with
 * EBUSY: a thread or a fiber is in it, or it is referred to: then, if path is not NULL, *path is a
 * way from a root to the first object of the zone on it, to be freed with oak_path_free (NULL when
 * it could not be found). Words on stacks and in registers count, the calling thread's too.
 * EAGAIN: collections are disabled. */
OAK_API int oak_zone_destroy(oak_zone *z, oak_path **path);

OAK_END_DECLS

#endif

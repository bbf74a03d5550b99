/* zone.h - zones: parts of the heap with their own spans, account and limit. All objects of a zone
 * can be freed at once. A program may have one for each interpreter state, request or tenant.
 *
 * A thread enters a zone: from then on, all its allocations are in that zone. Single objects can be
 * allocated in a zone by name. One collector marks all zones, so objects may refer to objects of
 * other zones. Objects in no other zone are in the default zone, which NULL stands for.
 *
 * An object stays in its zone. oak_realloc takes the new memory from the object's zone, not from
 * the thread's. Maps, and structures built on them, grow in the zone in which they were made.
 *
 * All functions may be called from any thread, but not from a signal handler or a mark function. A
 * zone is invalid once it is discarded or destroyed. A call with an invalid zone is fatal, or acts
 * on a newer zone. */
#ifndef OAKUM_ZONE_H
#define OAKUM_ZONE_H

#include <oakum/base.h>
#include <oakum/heap.h>
#include <oakum/why.h>

OAK_BEGIN_DECLS

/** A zone: not a heap object. It exists until it is discarded or destroyed. */
typedef struct oak_zone oak_zone;

/** Called when an allocation of `bytes` bytes finds no room, in its zone or in the heap, and a
 * collection has made none. Returns true to try again, and false to let the allocation fail with
 * ENOMEM.
 *
 * It runs on the allocating thread, with no lock held but that of a structure whose callback, hash
 * or equal function allocates: there it may not use that structure. It may call any function: free
 * objects, raise the limit. A map's write calls it when the map is whole again, and is then tried
 * again as a whole. A map's iterator doesn't call it. It must not leave by longjmp. An allocation
 * is no cancellation point, so functions called here aren't, either. Its own allocations and writes
 * to maps call no such function, in whatever zone they are: without room they fail. */
typedef bool (*oak_zone_full)(oak_zone *z, size_t bytes, void *ctx);

/** Options of a new zone. All zero is the default. */
typedef struct oak_zone_options {
    const char *name;      /* copied, cut after 31 bytes; NULL: "zone" and a number */
    size_t limit;          /* bytes, as in oak_zone_set_limit; 0: none */
    oak_zone_full on_full; /* or NULL */
    void *ctx;             /* for on_full and oak_zone_context; keeps no object alive */
} oak_zone_options;

/** Make a zone. o may be NULL. An empty zone takes some hundred bytes. Returns NULL with ENOMEM; or
 * with EAGAIN if there are 65,535 zones. Discarded zones count until their memory is freed. */
OAK_API oak_zone *oak_zone_new(const oak_zone_options *o);

/** The name of a zone. */
OAK_API const char *oak_zone_name(const oak_zone *z);

/** The ctx of the zone's options. */
OAK_API void *oak_zone_context(const oak_zone *z);

/* ---- in a zone ---- */

/** Enter a zone: until the matching oak_zone_leave, all allocations of the calling thread are in z;
 * NULL is the default zone. Entries nest, with the same or other zones. Any number of threads may
 * be in a zone. Allocation is as fast as outside. Enter and leave together take as long as a few
 * allocations. Returns 0, or -1 with ENOMEM, or with EBUSY while oak_zone_destroy checks the zone.
 *
 * Entries belong to the stack on which they are made. oak_fiber_switch leaves the current fiber's
 * zone, and enters the other fiber's. The entries of a stack end with its thread, with
 * oak_fiber_free, or with the collection of the fiber. In the child of a fork, the entries of other
 * threads end. A new thread or fiber begins in the default zone. */
OAK_API int oak_zone_enter(oak_zone *z);

/** Leave a zone. Fatal when the thread's latest entry is not of z. */
OAK_API void oak_zone_leave(oak_zone *z);

/** The zone that the calling thread is in; NULL: the default zone. */
OAK_API oak_zone *oak_zone_current(void);

/** The number of entries of the calling thread's stack: for oak_zone_unwind. */
OAK_API size_t oak_zone_depth(void);

/** Leave zones until `depth` entries are left: after a longjmp or an exception. */
OAK_API void oak_zone_unwind(size_t depth);

/** As oak_alloc, oak_alloc_noscan, oak_alloc_pinned and oak_alloc_typed, but in the zone z; NULL is
 * the default zone. As fast as those if the thread is in z. Otherwise as slow as an enter and a
 * leave around the allocation, with the errors of oak_zone_enter, too. */
OAK_API OAK_MALLOC void *oak_zone_alloc(oak_zone *z, size_t n);
OAK_API OAK_MALLOC void *oak_zone_alloc_noscan(oak_zone *z, size_t n);
OAK_API OAK_MALLOC void *oak_zone_alloc_pinned(oak_zone *z, size_t n);
OAK_API OAK_MALLOC void *oak_zone_alloc_typed(oak_zone *z, const oak_type *t, size_t count);

/** The zone of the object that p points to or into. NULL: the default zone, or p is in no live
 * object, for instance because its zone is discarded. O(1), without a lock. */
OAK_API oak_zone *oak_zone_of(const void *p);

/** Store the ids (gettid) of up to max threads that are in the zone; 0 stands for a waiting fiber.
 * A thread counts once for each entry that isn't nested in another of the same zone. z must not be
 * NULL. Returns the number of all. */
OAK_API size_t oak_zone_threads(const oak_zone *z, int *tids, size_t max);

/* ---- limit and account ---- */

/** Set the limit of a zone's memory, in bytes; 0: none. The limit counts the zone's spans: whole
 * runs of pages of small and large objects. Each size class in use takes at least 8 KiB, so a limit
 * below some hundred KiB is met early. A limit below the zone's current memory frees nothing.
 * SIZE_MAX changes nothing. Returns the previous limit.
 *
 * An allocation that meets the limit sweeps the zone, then collects, then calls on_full. See
 * oak_set_heap_max for when it fails. */
OAK_API size_t oak_zone_set_limit(oak_zone *z, size_t bytes);

/** The account of a zone. Live means allocated and not yet freed, so an unreachable object is live
 * until it is swept. Sizes are those of slots, as in oak_memstats. */
typedef struct oak_zone_stats {
    oak_zone *zone;        /* NULL: the default zone, or all discarded zones together */
    char name[32];         /* "default" and "discarded" if zone is NULL */
    size_t limit;          /* 0: none */
    uint64_t inuse;        /* bytes in spans: the zone's part of heap_inuse */
    uint64_t live_bytes, live_objects;
    uint64_t total_alloc, mallocs; /* bytes and objects allocated since the zone was made */
    uint64_t total_freed, frees;   /* bytes and objects of these that are freed */
    uint64_t collections;  /* that ran because the limit was met */
    uint64_t failures;     /* allocations that failed */
    uint32_t entries;      /* of threads and waiting fibers */
    uint64_t external;     /* bytes of oak_external_add; they count in the limit */
} oak_zone_stats;

/** Read the account of a zone into *out. Stops the world for some microseconds, so that the figures
 * agree. */
OAK_API void oak_zone_stats_read(const oak_zone *z, oak_zone_stats *out);

/** Read the accounts of all zones in one pause. The first is the default zone's. The second is that
 * of all discarded and destroyed zones together: their past, and memory that isn't yet freed. The
 * others follow in the order of oak_zone_new. At most max are stored. Returns the number of all.
 *
 * Unless m is NULL, the pause also fills *m, and the sums over all zones agree with it: inuse with
 * heap_inuse, live_bytes with heap_alloc, live_objects with heap_objects. total_alloc, mallocs and
 * frees have the same names in *m. */
OAK_API size_t oak_zones_read(oak_zone_stats *out, size_t max, oak_memstats *m);

/* ---- the end of a zone ---- */

/** As oak_finalize_all (gc.h), for the finalizers and cleanups of the zone's objects alone: before
 * oak_zone_discard, which drops them. Only objects of the zone count in their order. Finalizers of
 * other zones that are ready already are run, too, but not waited for on other threads. NULL: the
 * default zone. *left counts the zone's finalizers and cleanups. */
OAK_API int oak_zone_finalize(oak_zone *z, size_t *left);

/** Free all objects of a zone, even those that are still referred to, and end the zone. The call
 * takes the same short time for any size of the zone. Its memory returns to the heap, and then to
 * the system, in the background. Objects that the heap profile has recorded count as freed.
 *
 * Pointers to the zone's objects dangle from now on: a program that uses one uses freed memory. The
 * collector is safe: it ignores such pointers. The context of a finalizer elsewhere dangles, too,
 * if it is in the zone.
 *
 * As with oak_free, finalizers and cleanups of its objects never run. A finalizer that is running
 * on another thread is not waited for, and must no longer use its object. Weak references and
 * ephemerons are cleared if their object or key is in the zone, or they themselves are. If there
 * are such references, the call visits each finalizer, weak reference and ephemeron of the program.
 *
 * Returns 0; or -1 with EBUSY while a thread or a waiting fiber is in the zone, or oak_zone_destroy
 * checks it. */
OAK_API int oak_zone_discard(oak_zone *z);

/** As oak_zone_discard, but only if nothing outside of the zone reaches an object in it. The call
 * collects to find out; otherwise the zone is unchanged. Words on stacks and in registers count,
 * the calling thread's included. A pinned object is a root in any zone, so the program must free
 * those of z first.
 *
 * Ready finalizers of the zone's objects are run by the calling thread, and then the zone is
 * checked again. A finalizer that never becomes ready, as in a cycle, keeps the zone.
 *
 * Returns 0, or -1 with errno. EAGAIN: collections are disabled. EBUSY: a thread or a fiber is in
 * the zone, or a root reaches it. In the latter case, unless path is NULL, *path gets a path from a
 * root to the first object of the zone on it. It is freed with oak_path_free; NULL if none was
 * found. */
OAK_API int oak_zone_destroy(oak_zone *z, oak_path **path);

OAK_END_DECLS

#endif

/* pool.h - a pool of objects that are expensive to make: used ones are kept for a while.
 *
 * What a pool holds is a cache, no property: a collection puts what has not been taken since the
 * last one aside, and the next drops it, so that an idle pool holds nothing after two. Each thread
 * puts into a small stack of its own and takes from it, newest first; what is too much for one goes
 * where any thread finds it. All of it is free of locks. Objects may be put by another thread than
 * the one that took them; those of a thread that has ended are everybody's from the next
 * collection on.
 *
 * docs/maps-built-on.md tells how it works. */
#ifndef OAKUM_POOL_H
#define OAKUM_POOL_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** A heap object. While it holds something it is kept; it goes with the second collection after its
 * last use at the latest, if nobody refers to it. Not for oak_free. */
typedef struct oak_pool oak_pool;

/** An empty pool. make(ctx) gives a new object when a get finds none; without it such a get returns
 * NULL. reset(obj, ctx) is called by each put, and should clear what the object refers to: a pooled
 * object keeps that alive. Both may be NULL, run without a lock in the thread that calls, and may
 * use the heap and the pool. ctx is kept alive. NULL with ENOMEM. */
OAK_API oak_pool *oak_pool_new(void *(*make)(void *ctx), void (*reset)(void *obj, void *ctx),
                               void *ctx);

/** Let go of an object at its put when its size is above `limit` bytes; 0: of none. size(obj, ctx)
 * tells it, reset having run; NULL stands for oak_usable_size of the object itself, so give one if
 * the bulk is in what it points to. To be called before the first put. */
OAK_API void oak_pool_limit(oak_pool *p, size_t limit, size_t (*size)(const void *obj, void *ctx));

/** An object of the pool's, the one that this thread put last if there is one, or a new one. NULL
 * when make is NULL or returned NULL. Fatal when p is NULL. */
OAK_API void *oak_pool_get(oak_pool *p);

/** Hand an object over; NULL is ignored. It must be the start of an object of the heap, that nobody
 * uses any more. Never fails: what can't be kept is dropped. Fatal when p is NULL, when obj is not
 * Oakum's, and when this thread's last put was of the same object. With OAKUM_DEBUG=verify=1 or
 * poison=1 every double put is fatal, for a search of the whole pool at each. */
OAK_API void oak_pool_put(oak_pool *p, void *obj);

typedef struct oak_pool_stats {
    size_t objects;        /* held now; exact while nobody gets or puts */
    size_t bytes, largest; /* of them, by the pool's measure of size */
    uint64_t gets, made;   /* gets, and those that found nothing */
    uint64_t puts, dropped;/* puts, and those of them that were not kept: too large, or no memory */
    /* with OAKUM_DEBUG=verify=1 or poison=1: puts of objects that were not as new, reset or not:
     * words differ from the first object that was made; those that were pointers in that one don't
     * count */
    uint64_t stale;
} oak_pool_stats;

/** O(objects). Zeroes for NULL. */
OAK_API void oak_pool_stats_read(const oak_pool *p, oak_pool_stats *out);

OAK_END_DECLS

#endif

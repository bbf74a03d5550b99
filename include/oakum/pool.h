/* pool.h - a pool of objects that are expensive to make: used ones are kept for a while.
 *
 * A pool is a cache: the collector empties it. One collection sets aside the objects that were not
 * taken since the last one, and the next drops them. So an idle pool is empty after two
 * collections. Each thread puts into a small stack of its own and takes from it, newest first. The
 * surplus of a full stack is available to any thread. All of these steps are lock-free. A thread
 * may put an object that another thread took. When a thread has ended, its objects are available to
 * all from the next collection on.
 *
 * Any thread may call these functions, but not from a signal handler or a mark function. A new pool
 * and a put allocate, and so may collect. maps/pool.c explains how it works. */
#ifndef OAKUM_POOL_H
#define OAKUM_POOL_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** A heap object. A pool that holds objects is kept alive. An unreachable pool is freed by the
 * second collection after its last use at the latest. Not for oak_free. */
typedef struct oak_pool oak_pool;

/** Makes an empty pool. make(ctx) returns a new object when a get finds none; without it such a get
 * returns NULL. Each put calls reset(obj, ctx), which should clear the object's references: a
 * pooled object keeps them alive. Both may be NULL. They run without a lock, in the calling
 * thread, and may use the heap and the pool. ctx is kept alive. NULL with ENOMEM. */
OAK_API oak_pool *oak_pool_new(void *(*make)(void *ctx), void (*reset)(void *obj, void *ctx),
                               void *ctx);

/** Sets the pool's limit: a put drops an object whose size is above `limit` bytes; 0: no limit.
 * size(obj, ctx) returns the object's size, after reset has run. NULL stands for oak_usable_size of
 * the object itself. So give a function if most of the memory is in other objects. To be called
 * before the first put. */
OAK_API void oak_pool_limit(oak_pool *p, size_t limit, size_t (*size)(const void *obj, void *ctx));

/** Returns an object: the one that this thread put last if there is one, another of the pool's, or
 * a new one. NULL when make is NULL or returned NULL. Fatal when p is NULL. */
OAK_API void *oak_pool_get(oak_pool *p);

/** Hands an object over; NULL is ignored. `obj` must be the start of a heap object that is no
 * longer in use. Never fails: an object that can't be kept is dropped. Fatal when p is NULL, when
 * obj is not Oakum's, and when this thread's last put was of the same object. With
 * OAKUM_DEBUG=verify=1 or poison=1 every double put is fatal; each put then searches the whole
 * pool. */
OAK_API void oak_pool_put(oak_pool *p, void *obj);

typedef struct oak_pool_stats {
    size_t objects;        /* held now; exact while no thread gets or puts */
    size_t bytes, largest; /* of them, by the pool's measure of size */
    uint64_t gets, made;   /* gets, and those that found no object */
    uint64_t puts, dropped;/* puts, and those whose object was too large, or found no memory */
    /* With OAKUM_DEBUG=verify=1 or poison=1: puts of objects that, after reset, differ from the
     * first object that was made. Words that were pointers in that one are not compared. */
    uint64_t stale;
} oak_pool_stats;

/** Fills *out; O(objects). Zeroes for NULL. */
OAK_API void oak_pool_stats_read(const oak_pool *p, oak_pool_stats *out);

OAK_END_DECLS

#endif

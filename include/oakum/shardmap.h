/* shardmap.h - a map in parts, each a default map with a lock of its own, for many threads at once.
 *
 * Values are copied in and out, so that none points into a map that another thread may change. An
 * operation holds the lock of one part and is as if alone in it; never are two held. Against a sync
 * map (syncmap.h): values of any size, updated in place, a third of the memory, and no allocation
 * for an entry; but threads that read one part wait for each other.
 *
 * The functions that are called with a lock held (an update's, a range's, a custom hash and equal)
 * may allocate and collect. They may not use a sharded map, which is fatal, nor another structure
 * that locks (cache.h), nor leave by longjmp, by an exception or by ending their thread: all but
 * longjmp is fatal. A thread isn't cancelled in an update's or a range's. As with any lock of a
 * program, what another thread holds at a fork stays held in the child.
 *
 * A NULL map reads as empty, and nothing can be deleted; to put is fatal. */
#ifndef OAKUM_SHARDMAP_H
#define OAKUM_SHARDMAP_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

enum { OAK_SHARDMAP_MAX = 256 };

/** A heap object. Not for oak_free. */
typedef struct oak_shardmap oak_shardmap;

/** An empty map of `shards` parts, rounded up to a power of two of at most OAK_SHARDMAP_MAX; 0:
 * four for each processor. `hint` entries in all fit without a resize; a part has no memory before
 * its first put. NULL with EINVAL for a type that makes no sense, ENOMEM. */
OAK_API oak_shardmap *oak_shardmap_new(const oak_map_type *t, size_t shards, size_t hint);

/** Whether the key is there; its value is copied to value_out unless that is NULL. */
OAK_API bool oak_shardmap_get(const oak_shardmap *m, const void *key, void *value_out);

/** Copy a value in; NULL stands for zeroes. 0, or -1 with ENOMEM: the map is as it was. */
OAK_API int oak_shardmap_put(oak_shardmap *m, const void *key, const void *value);

/** Whether the key was there. */
OAK_API bool oak_shardmap_delete(oak_shardmap *m, const void *key);

/** Change a value in place: fn gets the slot, zeroed when the key is new, and whether it was there.
 * It returns whether the key is to be there afterwards. 1 when it was there before, 0 when not, -1
 * with ENOMEM, fn not having been called. */
OAK_API int oak_shardmap_update(oak_shardmap *m, const void *key,
                                bool (*fn)(void *value, bool there, void *ctx), void *ctx);

/** fn(key, value, ctx) for each entry, until it returns false; value may be written to. Part by
 * part, each locked meanwhile: a part is seen as it is at one instant, all of them are not. 0, or
 * -1 with ENOMEM, which takes more than OAK_MAP_UNIT keys that collide. */
OAK_API int oak_shardmap_range(const oak_shardmap *m,
                               bool (*fn)(const void *key, void *value, void *ctx), void *ctx);

/** Entries: of each part at one instant. */
OAK_API size_t oak_shardmap_len(const oak_shardmap *m);

/** Remove everything, part by part, and give the memory back. */
OAK_API void oak_shardmap_clear(oak_shardmap *m);

typedef struct oak_shardmap_stats {
    size_t shards;
    size_t len, smallest, largest; /* entries: of all parts, and of single ones */
    size_t array_bytes;            /* as in oak_map_stats: these are sums */
    size_t old_array_bytes;
    size_t resizing; /* parts that are */
    uint64_t growths, shrinks, reseeds;
    size_t same_hash; /* the largest there is in a part */
    bool bad_hash;    /* of any part */
} oak_shardmap_stats;

/** O(entries). Zeroes for NULL. */
OAK_API void oak_shardmap_stats_read(const oak_shardmap *m, oak_shardmap_stats *out);

OAK_END_DECLS

#endif

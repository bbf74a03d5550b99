/* shardmap.h - a map in parts, each a default map with a lock of its own, for many threads at once.
 *
 * Values are copied in and out, as another thread may change the map. An operation holds the lock
 * of one part, and never two; so it is atomic in that part. In contrast to a sync map (syncmap.h),
 * values have any size and are updated in place. Entries take a third of the memory, and none is
 * allocated alone. But threads that read one part wait for each other. Calls that add or delete an
 * entry may allocate, and so may collect.
 *
 * Some functions are called with a lock held: an update's, a range's, a custom hash and equal. They
 * may allocate and collect. They must not use a sharded map, which is fatal, or another structure
 * that locks (cache.h). They must return: leaving by an exception, by longjmp or by the thread's
 * end is fatal. A thread isn't cancelled in an update's or a range's function. A lock that another
 * thread holds at a fork stays held in the child, as any lock of a program does.
 *
 * A NULL map reads as empty, and deletes nothing. A put into it is fatal. */
#ifndef OAKUM_SHARDMAP_H
#define OAKUM_SHARDMAP_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

enum { OAK_SHARDMAP_MAX = 256 };

/** A heap object. Not for oak_free. */
typedef struct oak_shardmap oak_shardmap;

/** Makes an empty map of `shards` parts, rounded up to a power of two of at most OAK_SHARDMAP_MAX.
 * 0: four for each processor. `hint` entries in all fit without a resize. A part has no memory
 * before its first put. NULL with EINVAL for an invalid type, or ENOMEM. */
OAK_API oak_shardmap *oak_shardmap_new(const oak_map_type *t, size_t shards, size_t hint);

/** Returns whether the key is there, and copies its value to value_out, which may be NULL. */
OAK_API bool oak_shardmap_get(const oak_shardmap *m, const void *key, void *value_out);

/** Copies a value in; NULL stands for zeroes. Returns 0, or -1 with ENOMEM and no change. */
OAK_API int oak_shardmap_put(oak_shardmap *m, const void *key, const void *value);

/** Deletes the key; returns whether it was there. */
OAK_API bool oak_shardmap_delete(oak_shardmap *m, const void *key);

/** Changes a value in place. fn gets the slot, zeroed when the key is new, and whether the key was
 * there. fn returns whether the key is to be there afterwards. The call returns 1 when the key was
 * there before, 0 when it wasn't, or -1 with ENOMEM without having called fn. */
OAK_API int oak_shardmap_update(oak_shardmap *m, const void *key,
                                bool (*fn)(void *value, bool there, void *ctx), void *ctx);

/** Calls fn(key, value, ctx) for each entry, until it returns false. fn may write to the value. The
 * parts are locked one after the other: each is seen at one instant, the whole map is not. Returns
 * 0, or -1 with ENOMEM, which takes more than OAK_MAP_UNIT keys that collide. */
OAK_API int oak_shardmap_range(const oak_shardmap *m,
                               bool (*fn)(const void *key, void *value, void *ctx), void *ctx);

/** Returns the number of entries, of each part at one instant. */
OAK_API size_t oak_shardmap_len(const oak_shardmap *m);

/** Removes all entries, part by part, and gives the memory back. */
OAK_API void oak_shardmap_clear(oak_shardmap *m);

typedef struct oak_shardmap_stats {
    size_t shards;
    size_t len, smallest, largest; /* entries of all parts, and of the extreme ones */
    size_t array_bytes;            /* sums of the fields of oak_map_stats, as are the next */
    size_t old_array_bytes;
    size_t resizing; /* parts in a resize */
    uint64_t growths, shrinks, reseeds;
    size_t same_hash; /* the maximum of the parts */
    bool bad_hash;    /* of any part */
} oak_shardmap_stats;

/** Fills *out; O(entries). Zeroes for NULL. */
OAK_API void oak_shardmap_stats_read(const oak_shardmap *m, oak_shardmap_stats *out);

OAK_END_DECLS

#endif

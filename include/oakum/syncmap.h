/* syncmap.h - a map that any number of threads may read and write at once, without a lock.
 *
 * An oak_map_type describes the keys; values are pointers, NULL included. Lookups write no shared
 * memory, never wait, and don't slow each other down. Writes are lock-free: a thread that stops or
 * ends in the middle of a write delays no other. Without contention every operation takes a bounded
 * number of steps. The map has no growth phase, so no operation pays for one. Calls that store or
 * delete may allocate, and so may collect. The next collection frees a deleted entry's key and
 * value and its memory in the map.
 *
 * Each operation except range is linearizable: it happens at one instant between its call and its
 * return. Values, and keys that range gives, stay valid as long as they are referred to. A key is
 * copied when it is first stored. range gives that copy until the key is deleted.
 *
 * A NULL map reads as empty, and deletes nothing. A store into it is fatal. docs/maps-internals.md
 * explains how the map works. */
#ifndef OAKUM_SYNCMAP_H
#define OAKUM_SYNCMAP_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

/** A heap object. Not for oak_free. */
typedef struct oak_syncmap oak_syncmap;

/** Makes an empty map. Only the type's fields about keys matter; value_size and the flags about
 * values and key updates don't. Custom functions are called with no lock held. They may do
 * anything, use of the map included. NULL with EINVAL or ENOMEM. */
OAK_API oak_syncmap *oak_syncmap_new(const oak_map_type *keys);

/** Returns whether the key is there. Sets *value to its value, or to NULL; value may be NULL. */
OAK_API bool oak_syncmap_load(const oak_syncmap *m, const void *key, void **value);

/** Sets the key's value. Returns 0, or -1 with ENOMEM, which can't happen when the key is there. */
OAK_API int oak_syncmap_store(oak_syncmap *m, const void *key, void *value);

/** Returns 1 if the key is there, with its value in *actual. Otherwise stores `value` and returns
 * 0, with `value` in *actual. Returns -1 with ENOMEM. */
OAK_API int oak_syncmap_load_or_store(oak_syncmap *m, const void *key, void *value, void **actual);

/** Stores the value. Returns 1 with the old value in *previous, or 0 with NULL when there was none,
 * or -1 with ENOMEM. */
OAK_API int oak_syncmap_swap(oak_syncmap *m, const void *key, void *value, void **previous);

/** Deletes the key; returns whether it was there. load_and_delete puts its value into *value. */
OAK_API bool oak_syncmap_delete(oak_syncmap *m, const void *key);
OAK_API bool oak_syncmap_load_and_delete(oak_syncmap *m, const void *key, void **value);

/** If the key is there with the value `old`, sets its value, or deletes it. Returns whether it did
 * so. */
OAK_API bool oak_syncmap_compare_and_swap(oak_syncmap *m, const void *key, void *old, void *value);
OAK_API bool oak_syncmap_compare_and_delete(oak_syncmap *m, const void *key, void *old);

/** Calls fn(key, value, ctx) for each entry, until it returns false. An entry that is there all the
 * time is given exactly once; no entry is given twice. Stores, deletes and clears meanwhile have
 * their effect on the entries still to be given. While fn runs, only its entry is kept alive, no
 * other memory of the map. So fn may do anything, and take as long as it needs. */
OAK_API void oak_syncmap_range(const oak_syncmap *m,
                               bool (*fn)(const void *key, void *value, void *ctx), void *ctx);

/** Returns the number of entries. It is exact without concurrent writes. Concurrent writes may or
 * may not be counted; in a child, nor may those that other threads had under way at the fork. */
OAK_API size_t oak_syncmap_len(const oak_syncmap *m);

/** Deletes all entries, in constant time. The next collection frees the memory. */
OAK_API void oak_syncmap_clear(oak_syncmap *m);

typedef struct oak_syncmap_stats {
    size_t len;
    size_t entries;   /* that the map's memory holds: len, and those about to be unlinked */
    size_t nodes;     /* inner nodes of 128 bytes; 0 before the first store and after clear */
    size_t bytes;     /* of all of the map's objects, large keys included */
    size_t deepest;   /* nodes on the longest path to an entry, 16 at most */
    size_t same_hash; /* the most entries that share one full hash: a custom hash is bad if > 1 */
} oak_syncmap_stats;

/** Fills *out; O(entries). Zeroes for NULL. */
OAK_API void oak_syncmap_stats_read(const oak_syncmap *m, oak_syncmap_stats *out);

OAK_END_DECLS

#endif

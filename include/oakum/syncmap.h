/* syncmap.h - a map that any number of threads may read and write at once, without a lock.
 *
 * Keys are what an oak_map_type says; values are pointers, NULL included. Lookups write nothing
 * that is shared, wait for nobody, and don't slow each other down. Writes are lock-free: a thread
 * that is stopped or ends in the middle of one holds up no other. Every operation takes a bounded
 * number of steps when nobody interferes; there is no growth, so none has to pay for one. A deleted
 * entry's key and value, and the memory that it took in the map, are free to the next collection.
 *
 * Each operation happens at one instant between its call and its return, as if all were done one
 * after the other; only range takes longer. Keys that were handed out and values stay valid for as
 * long as somebody refers to them. A key is copied when it is stored first, and stays the one that
 * is given out by range until it is deleted.
 *
 * A NULL map reads as empty, and nothing can be deleted; to store is fatal. docs/maps-built-on.md
 * tells how it works. */
#ifndef OAKUM_SYNCMAP_H
#define OAKUM_SYNCMAP_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

/** A heap object. Not for oak_free. */
typedef struct oak_syncmap oak_syncmap;

/** An empty map. Of the type what it says of keys counts; its value_size and flags about values and
 * key updates don't. Custom functions are called with no lock held and may do anything, use the map
 * too. NULL with EINVAL or ENOMEM. */
OAK_API oak_syncmap *oak_syncmap_new(const oak_map_type *keys);

/** Whether the key is there; its value in *value, or NULL, when value isn't NULL. */
OAK_API bool oak_syncmap_load(const oak_syncmap *m, const void *key, void **value);

/** Set the key's value. 0, or -1 with ENOMEM, which can't happen when the key is there. */
OAK_API int oak_syncmap_store(oak_syncmap *m, const void *key, void *value);

/** If the key is there, 1 and its value in *actual. Otherwise store value: 0, and it in *actual. -1
 * with ENOMEM. */
OAK_API int oak_syncmap_load_or_store(oak_syncmap *m, const void *key, void *value, void **actual);

/** Store, with the old value in *previous: 1 when there was one, otherwise 0 and NULL. -1 with
 * ENOMEM. */
OAK_API int oak_syncmap_swap(oak_syncmap *m, const void *key, void *value, void **previous);

/** Delete; whether the key was there, and what its value was. */
OAK_API bool oak_syncmap_delete(oak_syncmap *m, const void *key);
OAK_API bool oak_syncmap_load_and_delete(oak_syncmap *m, const void *key, void **value);

/** If the key is there with value `old`, give it the other value, or delete it. Whether it was. */
OAK_API bool oak_syncmap_compare_and_swap(oak_syncmap *m, const void *key, void *old, void *value);
OAK_API bool oak_syncmap_compare_and_delete(oak_syncmap *m, const void *key, void *old);

/** fn(key, value, ctx) for each entry, until it returns false. An entry that is there all the time
 * is given exactly once, none twice, and what is stored, deleted or cleared meanwhile counts from
 * then on. While fn runs nothing of the map's is held but that entry, so fn may do anything, and
 * take as long as it likes. */
OAK_API void oak_syncmap_range(const oak_syncmap *m,
                               bool (*fn)(const void *key, void *value, void *ctx), void *ctx);

/** Entries: exact while nobody writes; otherwise writes that are under way count or don't. */
OAK_API size_t oak_syncmap_len(const oak_syncmap *m);

/** Delete everything, in constant time; the memory is free to the next collection. */
OAK_API void oak_syncmap_clear(oak_syncmap *m);

typedef struct oak_syncmap_stats {
    size_t len;
    size_t entries;   /* in memory that the map holds: len, and those about to be unlinked */
    size_t nodes;     /* inner nodes of 128 bytes; 0 before the first store and after clear */
    size_t bytes;     /* of all of the map's objects, large keys included */
    size_t deepest;   /* nodes on the longest way to an entry, 16 at most */
    size_t same_hash; /* the most entries that share one full hash: a custom hash is bad if > 1 */
} oak_syncmap_stats;

/** O(entries). Zeroes for NULL. */
OAK_API void oak_syncmap_stats_read(const oak_syncmap *m, oak_syncmap_stats *out);

OAK_END_DECLS

#endif

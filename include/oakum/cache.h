/* cache.h - a bounded cache: it evicts the least recently used entry, and entries expire.
 *
 * A number of entries, a number of bytes, or a time to live bounds a cache; at least one of them is
 * set. A cache is a heap object and keeps the keys and values of its entries alive. An evicted
 * entry is collectable at once. Operations are O(1) unless they say otherwise. An operation that
 * needs room evicts entries itself. Calls that put or remove an entry may allocate, and so may
 * collect.
 *
 * Threads: with OAK_CACHE_LOCKED any number of threads may use a cache at the same time. Without
 * it, one at a time may; two at once are fatal where it is detected. A lock that another thread
 * holds at a fork stays held in the child, as any lock of a program does. Callbacks run with no
 * lock held, in the thread whose call made them due, and may use the cache. They may leave by an
 * exception or by longjmp, or end their thread; what the call had yet to evict, the next put does.
 * One that switches to another fiber must return on
 * the same thread, or leave by an exception. The key type's functions run under the lock. They must
 * not use the cache or another locked structure, and must return. Leaving them otherwise is fatal.
 *
 * A NULL cache reads as empty. A write to it is fatal. */
#ifndef OAKUM_CACHE_H
#define OAKUM_CACHE_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

typedef struct oak_cache oak_cache;

/** The reason for which an entry, or a value, is out of the cache. */
typedef enum oak_cache_reason {
    OAK_CACHE_CAPACITY, /* it was the least recently used entry of a full cache */
    OAK_CACHE_EXPIRED,
    OAK_CACHE_REPLACED, /* by a put of another value under its key */
    OAK_CACHE_DELETED,
    OAK_CACHE_CLEARED
} oak_cache_reason;

enum { OAK_CACHE_LOCKED = 1 };

/** A time to live without end. */
#define OAK_CACHE_FOREVER UINT64_MAX

/** The configuration of a cache. Fields that aren't needed are zero. */
typedef struct oak_cache_config {
    /** The type of keys. Its fields key, key_size, hash and equal and its flag OAK_MAP_SCAN_KEY are
     * copied; the others don't matter. So any ready type will do, such as &oak_map_cstring_ptr. */
    const oak_map_type *keys;
    size_t max_entries; /* 0: any number */
    size_t max_bytes;   /* 0: any number */
    uint64_t ttl;       /* ns, of entries that are put without their own; 0: without end */
    unsigned flags;
    /** Returns the bytes that an entry counts as. NULL: oak_usable_size of the value. */
    size_t (*size)(const void *key, const void *value, void *ctx);
    /** Called when a value is out of the cache. The key is valid until the function returns. A
     * function that puts the entry again makes the next eviction due; 1,000 nested calls are
     * fatal. */
    void (*evicted)(oak_cache *c, const void *key, void *value, oak_cache_reason why, void *ctx);
    /** Returns nanoseconds since a fixed time; it never decreases. NULL: CLOCK_MONOTONIC. */
    uint64_t (*clock)(void *ctx);
    void *ctx; /* kept alive by the cache */
} oak_cache_config;

/** Makes a cache. NULL with ENOMEM, or with EINVAL for an invalid key type or when nothing bounds
 * the cache. A time to live of OAK_CACHE_FOREVER counts as a bound: the caller promises that each
 * put gives a time to live. */
OAK_API oak_cache *oak_cache_new(const oak_cache_config *config);

/** Returns the value, whose entry becomes the most recently used. NULL when the key is absent or
 * its entry has expired. */
OAK_API void *oak_cache_get(oak_cache *c, const void *key);

/** As oak_cache_get, but neither the order nor the counters change. */
OAK_API void *oak_cache_peek(oak_cache *c, const void *key);

/** Puts a value, not NULL, with the configuration's size and time to live. Returns 0, or -1 and the
 * key's entry is as it was. EINVAL: the value is NULL, or the key doesn't equal itself. E2BIG: the
 * entry alone exceeds max_bytes. ENOMEM: memory is exhausted. A put of the same value renews size
 * and time. Each put also expires a few entries that are due, so that puts alone keep up. */
OAK_API int oak_cache_put(oak_cache *c, const void *key, void *value);

/** As oak_cache_put, with a size in bytes and a time to live in ns; 0: the configuration's time to
 * live. */
OAK_API int oak_cache_put_ex(oak_cache *c, const void *key, void *value, size_t bytes,
                             uint64_t ttl);

/** Deletes the key; returns whether it was there. */
OAK_API bool oak_cache_delete(oak_cache *c, const void *key);

/** Removes all entries that are there now, and gives the memory back. O(entries). All of them are
 * absent before the first callback runs. */
OAK_API void oak_cache_clear(oak_cache *c);

/** Sets new limits, and evicts at once the entries beyond them; O(evicted). Returns 0, or -1 with
 * EINVAL when nothing would bound the cache. */
OAK_API int oak_cache_set_limit(oak_cache *c, size_t max_entries, size_t max_bytes);

/** Removes expired entries, in at most `budget` steps. An entry takes one step when it expires, and
 * up to seven before that. Returns whether more steps are due. For programs that put nothing for a
 * long time: call it by a timer. */
OAK_API bool oak_cache_purge_expired(oak_cache *c, size_t budget);

/** Calls fn for each entry, from most to least recently used, until it returns false; O(entries).
 * fn may use the cache. An entry that is put or used before its turn becomes the most recent one,
 * and isn't given. Each other entry is given once. */
OAK_API void oak_cache_each(oak_cache *c, bool (*fn)(const void *key, void *value, void *ctx),
                            void *ctx);

typedef struct oak_cache_stats {
    size_t entries, bytes; /* including expired entries that are not removed yet */
    uint64_t hits, misses; /* of oak_cache_get */
    uint64_t evictions;    /* for capacity */
    uint64_t expirations;
} oak_cache_stats;

/** Fills *out. Zeroes for NULL. */
OAK_API void oak_cache_stats_read(oak_cache *c, oak_cache_stats *out);

OAK_END_DECLS

#endif

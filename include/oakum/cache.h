/* cache.h - a bounded cache: least recently used goes first, old goes by itself.
 *
 * At least one thing bounds a cache: a number of entries, a number of bytes, or a time to live. It
 * is a heap object and keeps its entries' keys and values alive; what it lets go is collectable at
 * once. All operations are O(1), save those that say otherwise; what one of them has to evict is
 * evicted in it.
 *
 * Threads: with OAK_CACHE_LOCKED any may use it at any time; without, one at a time, and two at
 * once are fatal where it is seen. Callbacks run with no lock held, in the thread whose call made
 * them due, and may use the cache; they may leave by an exception or end their thread, but not by
 * longjmp. Functions of the key's type run under the lock: they may not use the cache, nor leave
 * other than by returning, which is fatal (but for longjmp, which nothing tells), nor use another
 * locked structure. As with any lock of a program, what another thread holds at a fork stays
 * held in the child.
 *
 * A NULL cache reads as empty; to write to it is fatal. */
#ifndef OAKUM_CACHE_H
#define OAKUM_CACHE_H

#include <oakum/map.h>

OAK_BEGIN_DECLS

typedef struct oak_cache oak_cache;

/** Why an entry, or a value, is out. */
typedef enum oak_cache_reason {
    OAK_CACHE_CAPACITY, /* it was the least recently used, and there was no room */
    OAK_CACHE_EXPIRED,
    OAK_CACHE_REPLACED, /* by a put of another value under its key */
    OAK_CACHE_DELETED,
    OAK_CACHE_CLEARED
} oak_cache_reason;

enum { OAK_CACHE_LOCKED = 1 };

/** A time to live: for ever. */
#define OAK_CACHE_FOREVER UINT64_MAX

/** What a cache is like. Leave what you don't need zero. */
typedef struct oak_cache_config {
    /** What keys are: key, key_size, hash, equal and OAK_MAP_SCAN_KEY count, and are copied. Any
     * ready type does, whatever its values: &oak_map_cstring_ptr. */
    const oak_map_type *keys;
    size_t max_entries; /* 0: any number */
    size_t max_bytes;   /* 0: any number */
    uint64_t ttl;       /* of entries that are put without one of their own, ns; 0: for ever */
    unsigned flags;
    /** Bytes that an entry counts as. NULL: oak_usable_size of the value. */
    size_t (*size)(const void *key, const void *value, void *ctx);
    /** A value is out; the key is there until the function returns. One that puts again what was
     * evicted makes the next eviction due: 1,000 in each other are fatal. */
    void (*evicted)(oak_cache *c, const void *key, void *value, oak_cache_reason why, void *ctx);
    /** Nanoseconds since anywhere, never backwards. NULL: CLOCK_MONOTONIC. */
    uint64_t (*clock)(void *ctx);
    void *ctx; /* kept alive by the cache */
} oak_cache_config;

/** NULL with ENOMEM; EINVAL when nothing bounds it (a time to live of OAK_CACHE_FOREVER is taken as
 * a promise that all entries are put with one of their own), or for keys that make no sense. */
OAK_API oak_cache *oak_cache_new(const oak_cache_config *config);

/** The value, which becomes the most recently used; NULL when it is absent or has expired. */
OAK_API void *oak_cache_get(oak_cache *c, const void *key);

/** The same without a trace: neither order nor counters change. */
OAK_API void *oak_cache_peek(oak_cache *c, const void *key);

/** Put a value, not NULL, with the size and the time to live that the configuration says. 0, or -1,
 * and the entry of that key is as it was, with EINVAL for a NULL value and for keys that don't
 * equal themselves, E2BIG when it alone would go beyond max_bytes, ENOMEM. To put the value that is
 * there renews size and time. Each put also expires a few that are due, so that puts alone keep up.
 * */
OAK_API int oak_cache_put(oak_cache *c, const void *key, void *value);

/** The same with a size and a time to live in ns; 0 is the cache's. */
OAK_API int oak_cache_put_ex(oak_cache *c, const void *key, void *value, size_t bytes,
                             uint64_t ttl);

/** Whether it was there. */
OAK_API bool oak_cache_delete(oak_cache *c, const void *key);

/** Remove all that is there now, and give the memory back. O(entries). While the callback runs,
 * what it is still to be told of is absent already. */
OAK_API void oak_cache_clear(oak_cache *c);

/** New limits; evicts at once what is beyond them, O(evicted). 0, or -1 with EINVAL when nothing
 * would bound it any more. */
OAK_API int oak_cache_set_limit(oak_cache *c, size_t max_entries, size_t max_bytes);

/** Remove what has expired, in at most `budget` steps: an entry takes one, and up to seven more
 * over its life. Returns whether more is due. For timers of programs that put nothing for long. */
OAK_API bool oak_cache_purge_expired(oak_cache *c, size_t budget);

/** Call fn for each entry, from most to least recently used, until it returns false. It may use the
 * cache: what is put or used meanwhile, before its turn, becomes the most recent, and so isn't
 * given; all others are, once. O(entries). */
OAK_API void oak_cache_each(oak_cache *c, bool (*fn)(const void *key, void *value, void *ctx),
                            void *ctx);

typedef struct oak_cache_stats {
    size_t entries, bytes; /* expired ones that are not removed yet included */
    uint64_t hits, misses; /* of oak_cache_get */
    uint64_t evictions;    /* for capacity */
    uint64_t expirations;
} oak_cache_stats;

/** Zeroes for NULL. */
OAK_API void oak_cache_stats_read(oak_cache *c, oak_cache_stats *out);

OAK_END_DECLS

#endif

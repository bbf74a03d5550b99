/* classic.h - Go 1.19's map, kept faithful for study and regression: it leaks where Go leaks.
 * That is its purpose; for a map to use, take <oakum/map.h>.
 *
 * A map is a heap object. Reads by many threads at once are safe; a write beside anything else
 * is misuse, detected where it can be and fatal, as in Go. A write attaches its thread; one that
 * only reads has to be attached to keep what it finds. Slots returned are valid until the
 * map is next written. */
#ifndef OAKUM_CLASSIC_H
#define OAKUM_CLASSIC_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

typedef struct oak_classic_map oak_classic_map;

/** Flags of a map type: what in it may hold pointers, and where Go stores by pointer (a key or a
 * value of over 128 bytes). */
enum {
    OAK_CLASSIC_KEY_POINTERS = 1,   /* keys hold pointers that the collector must see */
    OAK_CLASSIC_VALUE_POINTERS = 2, /* values do */
    /* a put over an equal key stores the new key too (floats, strings) */
    OAK_CLASSIC_NEED_KEY_UPDATE = 4
};

typedef struct oak_classic_type {
    size_t key_size, value_size; /* bytes, or 0; slots are aligned to 8 at most */
    uint64_t (*hash)(const void *key, uint64_t seed, size_t size);
    bool (*equal)(const void *a, const void *b, size_t size);
    unsigned flags;
} oak_classic_type;

/** A counted string that the heap holds: what Go's string is, as a key. Ready type below. */
typedef struct oak_classic_string {
    const char *data;
    size_t len;
} oak_classic_string;

/** Ready types: 8-byte integer to 8-byte integer; 8-byte integer to a pointer; string to 8-byte
 * integer; string to 16 bytes with pointers (Go's any); double to 8-byte integer, where a NaN is a
 * new key each time and -0 is +0. */
OAK_API extern const oak_classic_type oak_classic_int_int, oak_classic_int_ptr,
    oak_classic_string_int, oak_classic_string_any, oak_classic_double_int;

/** Ready hashes and equals for types of your own. */
OAK_API uint64_t oak_classic_hash_bytes(const void *key, uint64_t seed, size_t size);
OAK_API uint64_t oak_classic_hash_string(const void *key, uint64_t seed, size_t size);
OAK_API uint64_t oak_classic_hash_double(const void *key, uint64_t seed, size_t size);
OAK_API bool oak_classic_equal_bytes(const void *a, const void *b, size_t size);
OAK_API bool oak_classic_equal_string(const void *a, const void *b, size_t size);
OAK_API bool oak_classic_equal_double(const void *a, const void *b, size_t size);

/** A map for about `hint` entries. The type must outlive the map. NULL with ENOMEM or EINVAL. A
 * hint too large to allocate is taken as 0, as in Go. */
OAK_API oak_classic_map *oak_classic_new(const oak_classic_type *t, size_t hint);

/** The value's slot, or NULL when absent. A nil map (NULL) has nothing in it. Never moves
 * anything. */
OAK_API void *oak_classic_get(const oak_classic_map *m, const void *key);

/** The value's slot, zeroed when new. NULL with ENOMEM, the map as it was. Fatal on a nil map. */
OAK_API void *oak_classic_put(oak_classic_map *m, const void *key);

/** Whether the key was there. Nothing on a nil map. */
OAK_API bool oak_classic_delete(oak_classic_map *m, const void *key);

/** Go's compiled form of `for k := range m { delete(m, k) }`: zeroes the array in place, keeps
 * it. */
OAK_API void oak_classic_clear(oak_classic_map *m);

OAK_API size_t oak_classic_len(const oak_classic_map *m);

/** Go's hiter. Lives on the caller's stack or in the heap; holds the bucket array that was
 * current when it began. */
typedef struct oak_classic_iter {
    const void *key; /* NULL: at the end */
    void *value;
    oak_classic_map *map;
    void *buckets;        /* bucket array at init */
    void *bptr;           /* current bucket */
    void *overflow;       /* keeps overflow buckets of buckets alive */
    void *oldoverflow;    /* keeps overflow buckets of oldbuckets alive */
    size_t start_bucket;
    uint8_t offset, wrapped, B, i;
    size_t bucket, check_bucket;
} oak_classic_iter;

/** Start at a random bucket. A nil or empty map is at the end at once. */
OAK_API void oak_classic_iter_init(oak_classic_iter *it, const oak_classic_map *m);

/** Advance to the next entry, the first included: it->key and it->value. false at the end. */
OAK_API bool oak_classic_iter_next(oak_classic_iter *it);

/** What unsafe shows of a Go map. */
typedef struct oak_classic_stats {
    size_t count;
    uint8_t B, flags;
    uint16_t noverflow;      /* as the map counts it: exact below B = 16, sampled from there up */
    size_t overflow_buckets; /* counted by walking; preallocated ones that are in use included */
    size_t array_bytes;      /* of the current array */
    size_t old_array_bytes;  /* of the old one, 0 when there is none */
    bool growing, same_size;
    size_t nevacuate, noldbuckets;
    size_t evacuated;        /* old buckets that are evacuated */
    size_t longest_chain;    /* in buckets */
    double mean_chain;
    size_t in_overflow;      /* entries that live in overflow buckets */
    /* doublings, and growths to the same size, since the map was made */
    uint64_t growths, same_size_growths;
    /* entries whose key does not equal itself, a NaN: no lookup or delete finds them */
    size_t unfindable;
} oak_classic_stats;

/** O(buckets); O(entries) where a key may not equal itself. Zeroes for a nil map. */
OAK_API void oak_classic_stats_read(const oak_classic_map *m, oak_classic_stats *out);

/** Fix the seed, so that a run can be repeated. Before the first put only; fatal later. */
OAK_API void oak_classic_set_seed(oak_classic_map *m, uint32_t seed);

OAK_END_DECLS

#endif

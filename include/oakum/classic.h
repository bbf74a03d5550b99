/* classic.h - Go 1.19's map, kept faithful for study and regression: it leaks where Go leaks.
 * That is its purpose. For a map to use, take <oakum/map.h>.
 *
 * A map is a heap object. Reads by many threads at once are safe. A write concurrent with any other
 * call is misuse, which is fatal where it is detected, as in Go. A write attaches its thread; it
 * may allocate, and so may collect. A thread that only reads must be attached for its stack to keep
 * the entries that it finds. Returned slots are valid until the map is next written. */
#ifndef OAKUM_CLASSIC_H
#define OAKUM_CLASSIC_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

typedef struct oak_classic_map oak_classic_map;

/** Flags of a map type. A key or value of more than 128 bytes is stored by pointer, as in Go. */
enum {
    OAK_CLASSIC_KEY_POINTERS = 1,   /* keys hold pointers that the collector must see */
    OAK_CLASSIC_VALUE_POINTERS = 2, /* values hold such pointers */
    /* a put over an equal key stores the new key too (floats, strings) */
    OAK_CLASSIC_NEED_KEY_UPDATE = 4
};

typedef struct oak_classic_type {
    size_t key_size, value_size; /* bytes, or 0; slots are aligned to 8 at most */
    uint64_t (*hash)(const void *key, uint64_t seed, size_t size);
    bool (*equal)(const void *a, const void *b, size_t size);
    unsigned flags;
} oak_classic_type;

/** A counted string that the heap holds, as a key: Go's string. Ready types are below. */
typedef struct oak_classic_string {
    const char *data;
    size_t len;
} oak_classic_string;

/** Ready types. int_int: 8-byte integer to 8-byte integer. int_ptr: 8-byte integer to a pointer.
 * string_int: string to 8-byte integer. string_any: string to 16 bytes with pointers (Go's any).
 * double_int: double to 8-byte integer, where a NaN is a new key each time and -0 is +0. */
OAK_API extern const oak_classic_type oak_classic_int_int, oak_classic_int_ptr,
    oak_classic_string_int, oak_classic_string_any, oak_classic_double_int;

/** Ready hashes and equals for custom types. */
OAK_API uint64_t oak_classic_hash_bytes(const void *key, uint64_t seed, size_t size);
OAK_API uint64_t oak_classic_hash_string(const void *key, uint64_t seed, size_t size);
OAK_API uint64_t oak_classic_hash_double(const void *key, uint64_t seed, size_t size);
OAK_API bool oak_classic_equal_bytes(const void *a, const void *b, size_t size);
OAK_API bool oak_classic_equal_string(const void *a, const void *b, size_t size);
OAK_API bool oak_classic_equal_double(const void *a, const void *b, size_t size);

/** Makes a map for about `hint` entries. The type must outlive the map. NULL with ENOMEM or EINVAL.
 * A hint too large to allocate is taken as 0, as in Go. */
OAK_API oak_classic_map *oak_classic_new(const oak_classic_type *t, size_t hint);

/** Returns the value's slot, or NULL when the key is absent. A nil map (NULL) is empty. Never moves
 * an entry. */
OAK_API void *oak_classic_get(const oak_classic_map *m, const void *key);

/** Returns the value's slot, zeroed when the key is new. NULL with ENOMEM: the map is as it was.
 * Fatal on a nil map. */
OAK_API void *oak_classic_put(oak_classic_map *m, const void *key);

/** Deletes the key; returns whether it was there. Does nothing on a nil map. */
OAK_API bool oak_classic_delete(oak_classic_map *m, const void *key);

/** Go's compiled form of `for k := range m { delete(m, k) }`: zeroes the array in place and keeps
 * it. */
OAK_API void oak_classic_clear(oak_classic_map *m);

/** The number of entries; 0 for a nil map. */
OAK_API size_t oak_classic_len(const oak_classic_map *m);

/** Go's hiter. The caller declares it, on a stack or in the heap. It holds the bucket array that
 * was current when it began. */
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

/** Starts at a random bucket. On a nil or empty map the iterator is at its end at once. */
OAK_API void oak_classic_iter_init(oak_classic_iter *it, const oak_classic_map *m);

/** Advances to the next entry, the first included, in it->key and it->value. Returns false at the
 * end. */
OAK_API bool oak_classic_iter_next(oak_classic_iter *it);

/** The fields that Go programs read from a map by `unsafe`. */
typedef struct oak_classic_stats {
    size_t count;
    uint8_t B, flags;
    uint16_t noverflow;      /* the map's own count: exact below B = 16, sampled from there up */
    size_t overflow_buckets; /* counted by walking; preallocated ones that are in use included */
    size_t array_bytes;      /* of the current array */
    size_t old_array_bytes;  /* of the old array; 0 when there is none */
    bool growing, same_size;
    size_t nevacuate, noldbuckets;
    size_t evacuated;        /* old buckets that are evacuated */
    size_t longest_chain;    /* in buckets */
    double mean_chain;
    size_t in_overflow;      /* entries in overflow buckets */
    /* doublings, and growths to the same size, since the map was made */
    uint64_t growths, same_size_growths;
    /* entries whose key does not equal itself, a NaN: no lookup or delete finds them */
    size_t unfindable;
} oak_classic_stats;

/** Fills *out. O(buckets); O(entries) where a key may not equal itself. Zeroes for a nil map. */
OAK_API void oak_classic_stats_read(const oak_classic_map *m, oak_classic_stats *out);

/** Fixes the seed, so that a run can be repeated. Fatal after the first put. */
OAK_API void oak_classic_set_seed(oak_classic_map *m, uint32_t seed);

OAK_END_DECLS

#endif

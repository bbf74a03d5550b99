/* map.h - the default map: it grows and shrinks in small steps, and keeps little unneeded memory.
 * With up to 1,600 entries a resize is one step.
 *
 * A map is a heap object. While it is reachable, so are its entries. Entries lie in groups, in the
 * order of their seeded hashes, so a resize moves them from front to back. Each write moves a group
 * or two, and the memory behind them is free at once (docs/maps-internals.md).
 *
 * Threads: any number may read one map at the same time; reads never write. A write concurrent with
 * any other call is misuse. It is fatal where it is detected, as in Go.
 * Slots: a slot that a call returns is valid until the next delete, clear, or put of a new key.
 * Attaching: a call that changes a map's entries attaches its thread. A call that only finds an
 * entry, by get or put, does not. Its thread must be attached (oak_thread_attach) for its stack to
 * keep the entry alive.
 * Allocation: calls that add or delete an entry may resize the map. So they may allocate and
 * collect; a delete never fails. Lookups allocate nothing. An iterator allocates only for more than
 * 30 keys in one home group, and when the map takes a new seed.
 *
 * A NULL map reads as empty. A write to it is fatal. */
#ifndef OAKUM_MAP_H
#define OAKUM_MAP_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

typedef struct oak_map oak_map;

/** A counted run of bytes, as a key. It is compared and hashed by the bytes that it points to.
 * These must not change while it is a key. */
typedef struct oak_slice {
    const void *data;
    size_t len;
} oak_slice;

/** The kinds of keys. */
typedef enum oak_key {
    OAK_KEY_BYTES,   /* key_size bytes, compared and hashed as they are; without padding */
    OAK_KEY_U32,     /* 4-byte integers */
    OAK_KEY_U64,     /* 8-byte integers */
    OAK_KEY_POINTER, /* pointers, compared as such */
    OAK_KEY_CSTRING, /* const char *, by their text */
    OAK_KEY_SLICE,   /* oak_slice, by its bytes */
    OAK_KEY_DOUBLE,  /* -0 equals +0. A NaN equals nothing, itself included: each put of one adds an
                      * entry that only an iterator finds. The map changes its payload. */
    OAK_KEY_CUSTOM   /* hash and equal are the type's own */
} oak_key;

enum {
    OAK_MAP_SCAN_KEY = 1,   /* keys may hold pointers that keep objects alive */
    OAK_MAP_SCAN_VALUE = 2, /* values may */
    /* A put over an equal key stores the new key; with doubles it always does. Iterators then
     * distinguish keys by their hashes. Where custom keys share a hash, an iterator may leave some
     * out after a write. */
    OAK_MAP_KEY_UPDATE = 4,
    /* The hash of custom keys is avalanching (boost::unordered's word): each bit of it depends on
     * all of the key and of the seed. So it is used as it is. One that isn't makes the map slow,
     * and bad_hash of its statistics true. */
    OAK_MAP_AVALANCHING = 8
};

/** A map's type. It must not change, and must outlive its maps. Fields that don't apply are zero.
 * Sizes are in bytes. The size of a scanned key or value is a multiple of 8. Slots are aligned for
 * any C type of that size. Keys and values of more than 128 bytes are kept in objects of their own,
 * so that moving an entry stays cheap. */
typedef struct oak_map_type {
    oak_key key;
    unsigned flags;
    size_t key_size; /* may be 0 where `key` implies it */
    size_t value_size; /* may be 0: a set */
    /** For custom keys; otherwise both are NULL. Any distribution of hashes will do, as the map
     * mixes its seed in once more, but for OAK_MAP_AVALANCHING. Neither function may use the map: a
     * write is fatal, and so is a read while the map moves entries. hash may leave by longjmp while
     * a key is looked up or put, not otherwise. Both may allocate. equal may be NULL: keys are
     * equal when their bytes are. */
    uint64_t (*hash)(const void *key, uint64_t seed, size_t size);
    bool (*equal)(const void *a, const void *b, size_t size);
    /** The value's offset in an entry, and an entry's size. 0: the map chooses. */
    size_t value_offset, entry_size;
    const char *name; /* for profiles and paths; may be NULL */
    /** NULL, but for maps of OAK_MAP_DEFINE and its kin, where it is private. */
    unsigned (*split)(const char *entries, unsigned used, uint64_t seed, uint64_t mult,
                      unsigned shift);
} oak_map_type;

/** Ready types, named by key and value. Keys and values of pointers, strings and slices are
 * scanned, integers are not. */
OAK_API extern const oak_map_type oak_map_u32_u32, oak_map_u32_ptr, oak_map_u64_u64,
    oak_map_u64_ptr, oak_map_ptr_u64, oak_map_ptr_ptr, oak_map_cstring_u64, oak_map_cstring_ptr,
    oak_map_slice_u64, oak_map_slice_ptr, oak_map_double_u64, oak_map_double_ptr;

/** Hashes for custom types and OAK_MAP_DEFINE_WITH. A NaN hashes by its bits. */
OAK_API uint64_t oak_hash_bytes(const void *p, size_t n, uint64_t seed);
OAK_API uint64_t oak_hash_cstring(const char *s, uint64_t seed);
OAK_API uint64_t oak_hash_double(double d, uint64_t seed);

/** Makes an empty map with a random seed. `hint` entries fit without a resize. Their memory is not
 * touched before they are put. The map doesn't shrink before it has been a fifth full, or many
 * entries were deleted. A hint that exceeds memory is reduced to the largest that fits. NULL with
 * EINVAL for an invalid type, or ENOMEM. */
OAK_API oak_map *oak_map_new(const oak_map_type *t, size_t hint);

/** Returns the value's slot, or NULL when the key is absent. With value_size 0 the slot of a key
 * that is present is not NULL either. */
OAK_API void *oak_map_get(const oak_map *m, const void *key);

/** Returns the value's slot, zeroed when the key is new. NULL with ENOMEM when memory is exhausted:
 * the map is as it was, and continues to grow when there is memory again. */
OAK_API void *oak_map_put(oak_map *m, const void *key);

/** Deletes the key; returns whether it was there. The next deletes give back the memory that is no
 * longer needed, but for an array of at most 4 KiB, which is kept. */
OAK_API bool oak_map_delete(oak_map *m, const void *key);

/** Removes all entries and gives the memory back at once. */
OAK_API void oak_map_clear(oak_map *m);

/** Returns the number of entries; 0 for NULL. */
OAK_API size_t oak_map_len(const oak_map *m);

/** Finishes a resize that is under way; O(entries). Slots that were returned before it are stale.
 * Returns 0, or -1 with ENOMEM: the resize then got as far as memory allowed. */
OAK_API int oak_map_settle(oak_map *m);

/* ---- iterators ---- */

enum { OAK_MAP_UNIT = 30 };

/** A position in hash order. The caller declares it, on a stack or in the heap. It holds no memory
 * of the map's. During an iteration entries may come and go, and the map may grow, shrink or be
 * cleared. An entry that is there throughout is given exactly once. No entry is given twice; one
 * that is added is given at most once. Fields other than key and value are private. */
typedef struct oak_map_iter {
    const void *key; /* of the current entry, until the map is written */
    void *value;
    oak_map *map;
    uint64_t moves;         /* of the map, when the unit was made */
    uint64_t pos;           /* where the next unit begins */
    uint64_t lo, hi;        /* positions of the current unit's entries: [lo, hi) */
    uint64_t start;         /* the first position */
    uint64_t seed, mult;    /* of the order */
    const char *tags;       /* of the unit's group, while nothing moved */
    char *entries;
    uint32_t left;          /* slots of the group still to be given */
    uint8_t state, units;
    bool walking, stepping, searching, old;
    uint32_t next, count;   /* the unit as a list */
    uint32_t more_size;
    struct oak_map_unit_ *more; /* the list, when it is longer than the one below */
    uint64_t print[OAK_MAP_UNIT]; /* fingerprints of the unit's keys */
    uint32_t at[OAK_MAP_UNIT];    /* their places: 16 x groups past the home, plus the slot */
    struct oak_map_order_ *given; /* earlier orders, which a new seed has ended */
} oak_map_iter;

/** Starts at a position that the map chooses. While the map isn't written, the position stays the
 * same, and so does the order. */
OAK_API void oak_map_iter_init(oak_map_iter *it, const oak_map *m);

/** Starts at a random position. */
OAK_API void oak_map_iter_init_random(oak_map_iter *it, const oak_map *m);

/** Advances to the next entry; the first call to the first one. Returns false at the end, with key
 * NULL and errno 0. Returns false with ENOMEM where there is no memory for a unit of more than
 * OAK_MAP_UNIT keys. The same holds for the record of an order that a new seed has ended. */
OAK_API bool oak_map_iter_next(oak_map_iter *it);

/* ---- statistics ---- */

typedef struct oak_map_stats {
    size_t len, groups;        /* groups of 15 slots, of the current array */
    double load;               /* len / slots */
    size_t array_bytes;        /* held by the current array */
    size_t old_array_bytes;    /* held by the old array during a resize; 0 at rest */
    bool resizing;
    double evacuated;          /* the part of the old array that is evacuated, 0 to 1 */
    size_t overflowed;         /* entries outside of their home group */
    double expected_overflowed;/* for a good hash at this load */
    double mean_probe, expected_probe; /* groups read to find an entry */
    size_t longest_probe;
    uint64_t growths, shrinks, reseeds;
    size_t same_hash;          /* the most entries found to share one full hash */
    bool bad_hash;             /* keys collide far beyond chance, and no seed helps */
    /* entries whose key does not equal itself, a NaN: no lookup or delete finds them */
    size_t unfindable;
} oak_map_stats;

/** Fills *out; O(entries). Zeroes for NULL. */
OAK_API void oak_map_stats_read(const oak_map *m, oak_map_stats *out);

/** Sets the seed of the map's hash, so that a test can repeat a run. Fatal after the first put,
 * reserve or clear. */
OAK_API void oak_map_set_seed(oak_map *m, uint64_t seed);

OAK_END_DECLS

#include <oakum/map_inline.h>

#endif

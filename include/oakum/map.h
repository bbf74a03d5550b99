/* map.h - the default map: it grows and shrinks in small steps, and holds on to nothing.
 *
 * A map is a heap object; whoever reaches it keeps its entries alive. Entries lie in groups in
 * the order of their seeded hashes, so that a resize moves them from front to back in one
 * stream; each write moves a group or two, and memory that is behind the stream is free at once
 * (docs/maps.md).
 *
 * Threads: any number may read one map at once; reads never write. A write beside anything else
 * is misuse, which is fatal where it is seen, as in Go. Slots that a call returns are valid
 * until the next delete, clear, or put of a new key. What changes a map's entries attaches its
 * thread; one that only finds what is there, by get or put, has to be attached (oak_thread_attach)
 * to keep it, as its stack is no root otherwise. Everything that adds may collect; lookups,
 * deletes and iterators allocate nothing, save an iterator that meets more than 30 keys in one
 * home group.
 *
 * A NULL map reads as empty; to write to it is fatal. */
#ifndef OAKUM_MAP_H
#define OAKUM_MAP_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

typedef struct oak_map oak_map;

/** A counted run of bytes, as a key: compared and hashed by what it points to, which must not
 * change while it is a key. */
typedef struct oak_slice {
    const void *data;
    size_t len;
} oak_slice;

/** What keys are. */
typedef enum oak_key {
    OAK_KEY_BYTES,   /* key_size bytes, compared and hashed as they are: no padding in them */
    OAK_KEY_U32,     /* 4-byte integers */
    OAK_KEY_U64,     /* 8-byte integers */
    OAK_KEY_POINTER, /* pointers, compared as such */
    OAK_KEY_CSTRING, /* const char *, by their text */
    OAK_KEY_SLICE,   /* oak_slice, by its bytes */
    OAK_KEY_DOUBLE,  /* -0 equals +0; a NaN equals nothing, itself included: each put of one adds an
                      * entry, which only an iterator finds (stored with a payload of the map's) */
    OAK_KEY_CUSTOM   /* hash and equal are the type's own */
} oak_key;

enum {
    OAK_MAP_SCAN_KEY = 1,   /* keys may hold pointers that keep objects alive */
    OAK_MAP_SCAN_VALUE = 2, /* values may */
    /* A put over an equal key stores the new key; always so with doubles. Iterators then tell
     * keys by their hashes: of custom keys that share one, some may be left out when a write comes
     * in between. */
    OAK_MAP_KEY_UPDATE = 4
};

/** A map's type: constant, and there for as long as its maps are. Leave what doesn't apply zero.
 * Sizes are in bytes; a size whose flag says that it is scanned is a multiple of 8. Slots are
 * aligned for any C type of that size. Keys and values of more than 128 bytes are kept in
 * objects of their own, so that moving an entry stays cheap. */
typedef struct oak_map_type {
    oak_key key;
    unsigned flags;
    size_t key_size; /* may be 0 where `key` tells */
    size_t value_size; /* may be 0: a set */
    /** Custom keys: any spread will do, the map mixes its seed in once more. Neither function may
     * use the map: a write is fatal, and so is a read while the map moves entries. Without
     * OAK_KEY_CUSTOM both are NULL. hash may leave by longjmp while a key is looked up or
     * put, not otherwise. Both may allocate. equal may be NULL: keys are equal when their bytes
     * are. */
    uint64_t (*hash)(const void *key, uint64_t seed, size_t size);
    bool (*equal)(const void *a, const void *b, size_t size);
    /** Where the value is in an entry, and an entry's size; 0: the map chooses. */
    size_t value_offset, entry_size;
    const char *name; /* for profiles and paths; may be NULL */
} oak_map_type;

/** Ready types, named by key and value. Keys and values of pointers, strings and slices are
 * scanned, integers are not. */
OAK_API extern const oak_map_type oak_map_u32_u32, oak_map_u32_ptr, oak_map_u64_u64,
    oak_map_u64_ptr, oak_map_ptr_u64, oak_map_ptr_ptr, oak_map_cstring_u64, oak_map_cstring_ptr,
    oak_map_slice_u64, oak_map_slice_ptr, oak_map_double_u64, oak_map_double_ptr;

/** Hashes and equals for custom types and OAK_MAP_DEFINE_WITH. A NaN hashes by its bits. */
OAK_API uint64_t oak_hash_bytes(const void *p, size_t n, uint64_t seed);
OAK_API uint64_t oak_hash_cstring(const char *s, uint64_t seed);
OAK_API uint64_t oak_hash_double(double d, uint64_t seed);

/** An empty map. `hint` entries fit without a resize; nothing is touched for them before they are
 * there; and it doesn't shrink before it has been a fifth full, or much was deleted. A hint too
 * large for memory is taken as the largest that fits. NULL with EINVAL for a type that makes no
 * sense, ENOMEM. The seed is random. */
OAK_API oak_map *oak_map_new(const oak_map_type *t, size_t hint);

/** The value's slot, or NULL when the key is absent. With value_size 0: not NULL when present. */
OAK_API void *oak_map_get(const oak_map *m, const void *key);

/** The value's slot, zeroed when new. NULL with ENOMEM when there is no memory: the map is as it
 * was, and goes on growing when there is some again. */
OAK_API void *oak_map_put(oak_map *m, const void *key);

/** Whether the key was there. Memory that is not needed any more is given back over the next
 * deletes. */
OAK_API bool oak_map_delete(oak_map *m, const void *key);

/** Remove everything and give the memory back now. */
OAK_API void oak_map_clear(oak_map *m);

/** Entries; 0 for NULL. */
OAK_API size_t oak_map_len(const oak_map *m);

/** Finish a resize that is under way, now; O(entries). After it, slots that were held are stale.
 * -1 with ENOMEM: it is as far as it could get. */
OAK_API int oak_map_settle(oak_map *m);

/* ---- iterators ---- */

enum { OAK_MAP_UNIT = 30 };

/** A position in hash order; it belongs to whoever declared it, on a stack or in the heap. It holds
 * no memory of the map's: entries may come and go, the map may grow, shrink or be cleared
 * meanwhile, and an entry that is there all the time is given exactly once; none is given twice;
 * one added meanwhile, at most once. Fields other than key and value are private. */
typedef struct oak_map_iter {
    const void *key; /* of the current entry, until the map is written */
    void *value;
    oak_map *map;
    uint64_t moves;         /* of the map, when the unit was made */
    uint64_t pos;           /* where the next unit begins */
    uint64_t lo, hi;        /* where entries of this one may be: [lo, hi) */
    uint64_t start;         /* where it began */
    uint64_t seed, mult;    /* whose order */
    const char *tags;       /* of the unit's group, while nothing moved */
    char *entries;
    uint32_t left;          /* its slots that are left */
    uint8_t state, units;
    bool walking, searching, old;
    uint32_t next, count;   /* the unit as a list */
    uint32_t more_size;
    struct oak_map_unit_ *more; /* the list, when it is longer than the one below */
    uint64_t print[OAK_MAP_UNIT]; /* fingerprints of the unit's keys */
    uint32_t at[OAK_MAP_UNIT];    /* where they are: 16 x groups past the home, and slot */
    struct oak_map_order_ *given; /* in orders that a new seed has ended */
} oak_map_iter;

/** Start somewhere: in the same place, and so in the same order, as long as the map isn't
 * written. */
OAK_API void oak_map_iter_init(oak_map_iter *it, const oak_map *m);

/** Start anywhere, in another place each time. */
OAK_API void oak_map_iter_init_random(oak_map_iter *it, const oak_map *m);

/** The next entry, the first included. false at the end, with key NULL; also when there is no
 * memory for a unit of more than OAK_MAP_UNIT keys, or for the order that a new seed has ended:
 * errno is ENOMEM then, and 0 at the true end. */
OAK_API bool oak_map_iter_next(oak_map_iter *it);

/* ---- what it looks like inside ---- */

typedef struct oak_map_stats {
    size_t len, groups;        /* groups of 15 slots, of the current array */
    double load;               /* len / slots */
    size_t array_bytes;        /* held by the current array */
    size_t old_array_bytes;    /* held by the one that is being left; 0 at rest */
    bool resizing;
    double evacuated;          /* part of the old array that is left behind, 0 to 1 */
    size_t overflowed;         /* entries outside of their home group */
    double expected_overflowed;/* for a good hash at this load */
    double mean_probe, expected_probe; /* groups looked at to find an entry */
    size_t longest_probe;
    uint64_t growths, shrinks, reseeds;
    size_t same_hash;          /* the most entries found to share one full hash */
    bool bad_hash;             /* keys collide far beyond chance, and a new seed didn't help */
    /* entries whose key does not equal itself, a NaN: no lookup or delete finds them */
    size_t unfindable;
} oak_map_stats;

/** O(entries). Zeroes for NULL. */
OAK_API void oak_map_stats_read(const oak_map *m, oak_map_stats *out);

/** Which hash function a run of the program sees: for tests that repeat one. Before the first put
 * only, fatal later. */
OAK_API void oak_map_set_seed(oak_map *m, uint64_t seed);

OAK_END_DECLS

#include <oakum/map_inline.h>

#endif

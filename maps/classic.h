/* classic.h - the classic map's structures, and the small functions that its files share.
 *
 * The algorithm, its constants and its states are those of the map of Go 1.19 (runtime/map.go).
 * This map exists to reproduce it: it keeps alive exactly what Go keeps alive.
 *
 * A map is a header and an array of 2^B buckets of 8 slots. A bucket is 8 tags (the hash's top
 * byte, or a state below OAKI_TAG_MIN), 8 keys, 8 values and a pointer to an overflow bucket. While
 * a map grows, `oldbuckets` is the previous array. A write evacuates the old bucket that it
 * touches, and the one at `nevacuate`; a bucket is evacuated with its whole chain.
 *
 * Invariants:
 * - An entry is in one place that lookups see: its old bucket's chain until that is evacuated, its
 *   new bucket's from then on.
 * - The overflow pointers of an array without pointers are not scanned. So each overflow bucket of
 *   such a map is also in a list: `extra->overflow` for the current array, `extra->oldoverflow` for
 *   the old one. An iterator holds both lists. `extra` and its list exist from the moment such a
 *   map has buckets. So starting an iterator neither allocates nor writes more than a flag. (Go
 *   makes the list when it is first needed. The difference is at most 72 bytes a map.)
 * - In a growth to the same size, evacuated buckets leave the old list, a few in each step, unless
 *   an iterator may read them. (Go keeps the list whole until the growth ends, and so for a moment
 *   more than three arrays' bytes.)
 * - A preallocated overflow bucket with a NULL overflow pointer is followed by another. The last
 *   one points to the array.
 *
 * Lock: none. The caller excludes all other calls during a write; a flag detects most violations.
 * Readers load `flags` atomically, as another reader may be starting an iterator. */
#ifndef OAKI_MAPS_CLASSIC_H
#define OAKI_MAPS_CLASSIC_H

#include "contract.h"
#include "hash.h"
#include <oakum/classic.h>
#include <oakum/heap.h>

enum {
    OAKI_SLOTS = 8,
    OAKI_TAGS_SIZE = 8,
    OAKI_LOAD_NUM = 13, /* grow above an average of 13/2 entries a bucket */
    OAKI_LOAD_DEN = 2,
    OAKI_INLINE_MAX = 128, /* a larger key or value is stored by pointer */
    OAKI_SPARE_FROM = 4    /* the B from which an array has preallocated overflow buckets */
};

/* States of a slot; from OAKI_TAG_MIN up it is the top byte of the entry's hash. */
enum {
    OAKI_EMPTY_REST = 0, /* empty, as are all slots after it in the chain */
    OAKI_EMPTY_ONE = 1,
    OAKI_EVACUATED_X = 2,     /* moved to the same index, or the lower half */
    OAKI_EVACUATED_Y = 3,     /* moved to the upper half */
    OAKI_EVACUATED_EMPTY = 4, /* was empty when its bucket was evacuated */
    OAKI_TAG_MIN = 5
};

/* Flags of a map. */
enum {
    OAKI_ITERATOR = 1,     /* an iterator may use buckets */
    OAKI_OLD_ITERATOR = 2, /* an iterator may use oldbuckets */
    OAKI_WRITING = 4,
    OAKI_SAME_SIZE = 8 /* the growth under way is to an array of the same size */
};

#define OAKI_NO_CHECK SIZE_MAX /* an iterator's check_bucket: every entry of the bucket counts */

typedef struct oaki_bmap {
    uint8_t tags[OAKI_TAGS_SIZE];
} oaki_bmap;

/* A growing array of overflow buckets. Iterators hold a pointer to the list, not to its data, so
 * they see additions. */
typedef struct oaki_classic_list {
    oaki_bmap **data;
    size_t len, cap;
} oaki_classic_list;

typedef struct oaki_classic_extra {
    oaki_classic_list *overflow;    /* of buckets; NULL when buckets are scanned */
    oaki_classic_list *oldoverflow; /* of oldbuckets */
    oaki_bmap *next_overflow;       /* first free preallocated overflow bucket */
    size_t next_old;                /* the index in oldoverflow that evacuate() examines next */
} oaki_classic_extra;

/* The first 48 bytes are Go's hmap, field by field. */
struct oak_classic_map {
    size_t count;
    uint8_t flags;
    uint8_t B;
    uint16_t noverflow; /* exact below B = 16, from there up about 1 in 2^(B-15) */
    uint32_t hash0;
    char *buckets; /* NULL until the first put, when B = 0 */
    char *oldbuckets;
    size_t nevacuate; /* old buckets below it are evacuated */
    oaki_classic_extra *extra;
    /* the type, which Go's compiler knows, and fields for statistics */
    const oak_classic_type *type;
    uint64_t rng; /* of a map whose seed was set; otherwise unused */
    uint64_t same_size_growths;
    /* new keys until a growth that found no memory is tried again */
    uint32_t growth_put_off;
    uint8_t doublings;
    bool seeded;  /* randomness comes from rng */
    bool written; /* a put has happened */
};

_Static_assert(sizeof(void *) != 8 || offsetof(struct oak_classic_map, type) == 48,
               "the part that is Go's hmap is 48 bytes");

/* ---- geometry ---- */

OAKI_INLINE bool oaki_classic_key_indirect(const oak_classic_type *t)
{
    return t->key_size > OAKI_INLINE_MAX;
}

OAKI_INLINE bool oaki_classic_value_indirect(const oak_classic_type *t)
{
    return t->value_size > OAKI_INLINE_MAX;
}

OAKI_INLINE size_t oaki_classic_key_slot(const oak_classic_type *t)
{
    return oaki_classic_key_indirect(t) ? sizeof(void *) : t->key_size;
}

OAKI_INLINE size_t oaki_classic_value_slot(const oak_classic_type *t)
{
    return oaki_classic_value_indirect(t) ? sizeof(void *) : t->value_size;
}

OAKI_INLINE size_t oaki_classic_bucket_size(const oak_classic_type *t)
{
    return OAKI_TAGS_SIZE + OAKI_SLOTS * (oaki_classic_key_slot(t) + oaki_classic_value_slot(t)) +
           sizeof(oaki_bmap *);
}

/* Is a bucket scanned, as it may hold pointers besides the one to its overflow bucket? */
OAKI_INLINE bool oaki_classic_scanned(const oak_classic_type *t)
{
    return (t->flags & (OAK_CLASSIC_KEY_POINTERS | OAK_CLASSIC_VALUE_POINTERS)) != 0 ||
           oaki_classic_key_indirect(t) || oaki_classic_value_indirect(t);
}

OAKI_INLINE size_t oaki_classic_nbuckets(uint8_t B)
{
    return (size_t)1 << B;
}

OAKI_INLINE oaki_bmap *oaki_classic_bucket(const oak_classic_type *t, char *array, size_t i)
{
    return (oaki_bmap *)(array + i * oaki_classic_bucket_size(t));
}

/* The slot's address. The slot of a large key or value holds a pointer. */
OAKI_INLINE void *oaki_classic_key_place(const oak_classic_type *t, oaki_bmap *b, size_t i)
{
    return (char *)b + OAKI_TAGS_SIZE + i * oaki_classic_key_slot(t);
}

OAKI_INLINE void *oaki_classic_value_place(const oak_classic_type *t, oaki_bmap *b, size_t i)
{
    return (char *)b + OAKI_TAGS_SIZE + OAKI_SLOTS * oaki_classic_key_slot(t) +
           i * oaki_classic_value_slot(t);
}

OAKI_INLINE void *oaki_classic_key(const oak_classic_type *t, oaki_bmap *b, size_t i)
{
    void *k = oaki_classic_key_place(t, b, i);
    return oaki_classic_key_indirect(t) ? *(void **)k : k;
}

OAKI_INLINE void *oaki_classic_value(const oak_classic_type *t, oaki_bmap *b, size_t i)
{
    void *v = oaki_classic_value_place(t, b, i);
    return oaki_classic_value_indirect(t) ? *(void **)v : v;
}

OAKI_INLINE oaki_bmap **oaki_classic_link(const oak_classic_type *t, oaki_bmap *b)
{
    return (oaki_bmap **)((char *)b + oaki_classic_bucket_size(t) - sizeof(oaki_bmap *));
}

OAKI_INLINE oaki_bmap *oaki_classic_overflow(const oak_classic_type *t, oaki_bmap *b)
{
    return *oaki_classic_link(t, b);
}

/* ---- states ---- */

OAKI_INLINE bool oaki_classic_empty(uint8_t tag)
{
    return tag <= OAKI_EMPTY_ONE;
}

OAKI_INLINE bool oaki_classic_evacuated(const oaki_bmap *b)
{
    return b->tags[0] > OAKI_EMPTY_ONE && b->tags[0] < OAKI_TAG_MIN;
}

OAKI_INLINE bool oaki_classic_growing(const oak_classic_map *m)
{
    return m->oldbuckets != NULL;
}

OAKI_INLINE uint8_t oaki_classic_flags(const oak_classic_map *m)
{
    return AO_char_load(&m->flags);
}

OAKI_INLINE bool oaki_classic_same_size(const oak_classic_map *m)
{
    return (oaki_classic_flags(m) & OAKI_SAME_SIZE) != 0;
}

OAKI_INLINE size_t oaki_classic_noldbuckets(const oak_classic_map *m)
{
    OAKI_ASSERT(oaki_classic_same_size(m) || m->B > 0);
    return oaki_classic_nbuckets((uint8_t)(m->B - (oaki_classic_same_size(m) ? 0 : 1)));
}

OAKI_INLINE bool oaki_classic_over_load(size_t count, uint8_t B)
{
    return count > OAKI_SLOTS && count > OAKI_LOAD_NUM * (oaki_classic_nbuckets(B) / OAKI_LOAD_DEN);
}

/* ---- hashing ---- */

OAKI_INLINE uint8_t oaki_classic_tag(uint64_t hash)
{
    uint8_t top = (uint8_t)(hash >> 56);
    return top < OAKI_TAG_MIN ? (uint8_t)(top + OAKI_TAG_MIN) : top;
}

OAKI_INLINE bool oaki_classic_word_key(const oak_classic_type *t)
{
    return t->key_size == 8 && t->hash == oak_classic_hash_bytes;
}

OAKI_INLINE uint64_t oaki_classic_hash(const oak_classic_map *m, const void *key)
{
    const oak_classic_type *t = m->type;
    if (oaki_classic_word_key(t)) {
        uint64_t x;
        memcpy(&x, key, 8);
        return oaki_hash_u64(x, m->hash0);
    }
    return t->hash(key, m->hash0, t->key_size);
}

OAKI_INLINE bool oaki_classic_equal(const oak_classic_type *t, const void *a, const void *b)
{
    if (t->key_size == 8 && t->equal == oak_classic_equal_bytes) return memcmp(a, b, 8) == 0;
    return t->equal(a, b, t->key_size);
}

/* Does the key equal itself? A NaN doesn't, and so is never found again. */
OAKI_INLINE bool oaki_classic_reflexive(const oak_classic_type *t, const void *key)
{
    return t->equal == oak_classic_equal_bytes || t->equal == oak_classic_equal_string ||
           t->equal(key, key, t->key_size);
}

/* The head of the chain that holds the entries of this hash. */
OAKI_INLINE oaki_bmap *oaki_classic_home(const oak_classic_map *m, uint64_t hash)
{
    const oak_classic_type *t = m->type;
    size_t bucket = (size_t)hash & (oaki_classic_nbuckets(m->B) - 1);
    OAKI_ASSERT(m->buckets);
    if (oaki_classic_growing(m)) {
        size_t old = bucket & (oaki_classic_noldbuckets(m) - 1);
        oaki_bmap *b = oaki_classic_bucket(t, m->oldbuckets, old);
        if (!oaki_classic_evacuated(b)) return b;
    }
    return oaki_classic_bucket(t, m->buckets, bucket);
}

/* A slot: bucket and index, or b == NULL. */
typedef struct oaki_classic_slot {
    oaki_bmap *b;
    size_t i;
} oaki_classic_slot;

/* ---- classic.c ---- */

/* The key's slot. The map isn't empty. For readers. */
oaki_classic_slot oaki_classic_find(const oak_classic_map *m, const void *key);

/* Random bits for writes: repeatable in a map whose seed was set. */
uint64_t oaki_classic_random(oak_classic_map *m);

/* ---- classic_grow.c ---- */

/* The array of an empty map of this B, with its lists. false with ENOMEM: nothing has changed. */
bool oaki_classic_make(oak_classic_map *m, uint8_t B);

/* Empties the current array in place, drops the old one and all overflow buckets. Can't fail. */
void oaki_classic_reset(oak_classic_map *m);

/* Would one more entry make the map too full, or are its chains too long? */
bool oaki_classic_wants_growth(const oak_classic_map *m);

/* Starts to grow. false with ENOMEM: nothing has changed but growth_put_off. O(1) and the array. */
bool oaki_classic_grow(oak_classic_map *m);

/* A growing map's step for a write that will touch `bucket`: evacuates its old bucket and the one
 * at nevacuate. Without memory a bucket stays as it was, in the old array. */
void oaki_classic_grow_work(oak_classic_map *m, size_t bucket);

/* Appends an overflow bucket to b, the last of its chain. NULL with ENOMEM. */
oaki_bmap *oaki_classic_add_overflow(oak_classic_map *m, oaki_bmap *b);

/* ---- classic_stats.c ---- */

/* Return the rule that the map breaks, or NULL. O(entries). check: between two writes.
 * check_inside: inside a write; it calls no function of the type's but the ready ones for bytes. */
const char *oaki_classic_check(const oak_classic_map *m);
const char *oaki_classic_check_inside(const oak_classic_map *m);

#endif

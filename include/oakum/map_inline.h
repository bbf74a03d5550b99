/* map_inline.h - the part of the map that is compiled into programs: lookups and iteration. Writes
 * that need no resize are in map_write.h.
 *
 * Included by <oakum/map.h>. Names that end in _ are private, and may change with the library's
 * major version. The library's maps and typed maps share these functions, so there is one
 * lookup. */
#ifndef OAKUM_MAP_INLINE_H
#define OAKUM_MAP_INLINE_H

#include <oakum/map.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

OAK_BEGIN_DECLS

#define OAK_MAP_INLINE_ static inline __attribute__((always_inline, unused))
#define OAK_MAP_OUTLINE_ static __attribute__((noinline, unused))
#define OAK_MAP_LIKELY_(x) __builtin_expect(!!(x), 1)
#define OAK_MAP_UNLIKELY_(x) __builtin_expect(!!(x), 0)

/* ---- the map ---- */

enum {
    OAK_MAP_SLOTS_ = 15,   /* of a group: a tag byte each, and a byte for entries that went past */
    OAK_MAP_USED_ = 0x7fff,
    OAK_MAP_INDIRECT_ = 128, /* larger keys and values are in objects of their own */
    OAK_MAP_HINTED_ = 1, /* a flag: made with a hint and not filled yet, so the map doesn't
                          * shrink */
    OAK_MAP_FETCH_BITS_ = 12, /* log2 of groups: smaller arrays are taken for cached */
    OAK_MAP_CALL_BITS_ = 17 /* log2 of groups: adds to larger arrays are left to the library */
};

/* Groups in hash order. Their tags are contiguous; their entries are in segments of 2^gbits groups,
 * which come and go. Behind the last home group lie a few more, for entries that it has no room
 * for. */
struct oak_map_array_ {
    char *tags;      /* 16 bytes a group */
    char **dir;      /* segments, each less its first entry's offset in the array; NULL: none */
    uint32_t gmask;  /* groups of a segment - 1 */
    uint16_t slots;  /* a bit for each slot of a group; a small map's group lacks some */
    uint8_t shift;   /* of a position, to its home group */
    uint8_t gbits;
};

struct oak_map {
    uint8_t busy;     /* a write is under way */
    uint8_t resizing; /* array[1] is in use */
    uint8_t flags;
    uint8_t bits;     /* log2 of home groups, array[0] */
    uint16_t entry_size, value_offset;
    uint64_t last;    /* entries at positions up to here are in array[0], the others in array[1] */
    uint64_t seed, mult;
    struct oak_map_array_ array[2];
    size_t len, limit, shrink_at; /* entries; the map grows at `limit`, shrinks below `shrink_at` */
    uint64_t moves;   /* counts moved and added entries, and changes of arrays */
    const oak_map_type *type;
    struct oak_map_more_ *more; /* fields that only resizes and statistics need */
    char few_tags[2][OAK_MAP_SLOTS_ + 1]; /* of an array of one group, and its directory */
    char *few_dir[2][2];
};

/* The latest deletes: do they come in the order of positions? The first fields of *more. */
struct oak_map_deletes_ {
    uint64_t deleted; /* position of the last deleted entry */
    size_t left;      /* entries after that delete */
    uint32_t run;     /* deletes up to it, each near the one before */
    uint32_t mixed;   /* those of them after an add */
};

/* Whether the calling thread is attached. A stop doesn't wait for an unattached thread, so the
 * library attaches it before it writes a map. */
extern OAK_API __thread unsigned char oak_attached_ __attribute__((tls_model("initial-exec")));

OAK_MAP_INLINE_ bool oak_map_is_near_(const struct oak_map_deletes_ *d, uint64_t p)
{
    const uint64_t top = UINT64_C(1) << 63;
    return ((p - d->deleted + top / 32) & (top - 1)) < top / 16;
}

/* A put that stores the value itself, before any function of the program runs: for values that have
 * to be there, as oak::map's pointers. */
typedef struct oak_map_fresh_ {
    const void *value; /* of an absent key */
    bool added;        /* out: was the key absent? */
} oak_map_fresh_;

/* Out of line, in the library. */
OAK_API void *oak_map_add_(oak_map *m, uint64_t hash, const void *key);
OAK_API void *oak_map_add_fresh_(oak_map *m, uint64_t hash, const void *key, oak_map_fresh_ *fresh);
OAK_API bool oak_map_remove_(oak_map *m, uint64_t hash, char *tag); /* true */
OAK_API bool oak_map_iter_more_(oak_map_iter *it);
OAK_API OAK_NORETURN void oak_map_misuse_(const oak_map *m, int what);
enum {
    OAK_MAP_READ_,
    OAK_MAP_WRITE_,
    OAK_MAP_ITERATE_,
    OAK_MAP_NIL_,
    OAK_MAP_EQUAL_,
    OAK_MAP_HASH_,
    OAK_MAP_KEEP_
};

/* ---- hashes ---- */

/* A bijection of x for each seed: multiply by a secret odd number, fold and multiply twice. With
 * one fold, keys that differ in their upper half only, as doubles, crowd in one map of thirty. */
OAK_MAP_INLINE_ uint64_t oak_map_mix_(uint64_t x, uint64_t seed, uint64_t mult)
{
    x = (x ^ seed) * mult;
    x = (x ^ x >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

OAK_MAP_INLINE_ uint64_t oak_map_load8_(const void *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

OAK_MAP_INLINE_ uint32_t oak_map_load4_(const void *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

/* The bits of a float as a double. Denormals are multiplied as integers: the processor may be set
 * to read them as zero. */
OAK_MAP_INLINE_ uint64_t oak_map_widen_(uint32_t bits)
{
    float f;
    double d;
    uint64_t x;
    if (bits & UINT32_C(0x7f800000)) {
        memcpy(&f, &bits, sizeof f);
        d = (double)f;
    } else {
        d = (double)(int32_t)(bits & 0x7fffff) * 1.4012984643248171e-45; /* the least float */
    }
    memcpy(&x, &d, sizeof x);
    return x | (uint64_t)(bits >> 31) << 63;
}

/* The bits of a key that is a double or a float, as a double; -0 becomes +0. No arithmetic of
 * doubles does this: with -ffast-math a compiler takes x + 0.0 for x. */
OAK_MAP_INLINE_ uint64_t oak_map_real_(const void *p, size_t size)
{
    uint64_t x = size == sizeof(float) ? oak_map_widen_(oak_map_load4_(p)) : oak_map_load8_(p);
    return x << 1 ? x : 0;
}

OAK_MAP_INLINE_ bool oak_map_same_real_(uint64_t x, uint64_t y)
{
    return x == y && x << 1 <= UINT64_C(0xffe) << 52; /* no NaN */
}

OAK_MAP_INLINE_ uint64_t oak_map_hash_with_(const oak_map_type *t, const void *key, uint64_t seed,
                                            uint64_t mult)
{
    switch (t->key) {
    case OAK_KEY_U32:
        return oak_map_mix_(oak_map_load4_(key), seed, mult);
    case OAK_KEY_U64:
    case OAK_KEY_POINTER:
        return oak_map_mix_(oak_map_load8_(key), seed, mult);
    case OAK_KEY_CSTRING:
        return oak_hash_cstring(*(const char *const *)key, seed);
    case OAK_KEY_SLICE:
        return oak_hash_bytes(((const oak_slice *)key)->data, ((const oak_slice *)key)->len, seed);
    case OAK_KEY_DOUBLE:
        return oak_map_mix_(oak_map_real_(key, t->key_size), seed, mult);
    case OAK_KEY_CUSTOM: {
        uint64_t hash = t->hash(key, seed, t->key_size);
        return t->flags & OAK_MAP_AVALANCHING ? hash : oak_map_mix_(hash, seed, mult);
    }
    case OAK_KEY_BYTES:
    default:
        if (t->key_size == 8) return oak_map_mix_(oak_map_load8_(key), seed, mult);
        if (t->key_size == 4) return oak_map_mix_(oak_map_load4_(key), seed, mult);
        return oak_hash_bytes(key, t->key_size, seed);
    }
}

OAK_MAP_INLINE_ bool oak_map_equal_(const oak_map_type *t, const void *a, const void *b)
{
    switch (t->key) {
    case OAK_KEY_U32:
        return oak_map_load4_(a) == oak_map_load4_(b);
    case OAK_KEY_U64:
    case OAK_KEY_POINTER:
        return oak_map_load8_(a) == oak_map_load8_(b);
    case OAK_KEY_CSTRING:
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case OAK_KEY_SLICE: {
        const oak_slice *x = (const oak_slice *)a, *y = (const oak_slice *)b;
        return x->len == y->len && (x->len == 0 || memcmp(x->data, y->data, x->len) == 0);
    }
    case OAK_KEY_DOUBLE:
        return oak_map_same_real_(oak_map_real_(a, t->key_size), oak_map_real_(b, t->key_size));
    case OAK_KEY_CUSTOM:
        if (t->equal) return t->equal(a, b, t->key_size);
        return memcmp(a, b, t->key_size) == 0;
    case OAK_KEY_BYTES:
    default:
        return memcmp(a, b, t->key_size) == 0;
    }
}

/* A position is 63 bits of the hash: its top bits are the home group. */
OAK_MAP_INLINE_ uint64_t oak_map_position_(uint64_t hash)
{
    return hash >> 1;
}

/* Never 0, which is an empty slot. */
OAK_MAP_INLINE_ unsigned oak_map_tag_(uint64_t hash)
{
    unsigned tag = (unsigned)(hash >> 24) & 0xff;
    return tag + !tag;
}

OAK_MAP_INLINE_ const void *oak_map_stored_key_(const oak_map_type *t, const char *entry)
{
    return t->key_size > OAK_MAP_INDIRECT_ ? *(const void *const *)(const void *)entry : entry;
}

/* Of the slots in `used` of a group, those whose entries have bit `shift` of their positions set. A
 * group that is moved to two homes is split so. */
OAK_MAP_INLINE_ unsigned oak_map_split_as_(const oak_map_type *t, size_t entry_size,
                                           const char *entries, unsigned used, uint64_t seed,
                                           uint64_t mult, unsigned shift)
{
    unsigned upper = 0;
    for (; used; used &= used - 1) {
        unsigned slot = (unsigned)__builtin_ctz(used);
        const void *key = oak_map_stored_key_(t, entries + slot * entry_size);
        uint64_t p = oak_map_position_(oak_map_hash_with_(t, key, seed, mult));
        upper |= (unsigned)(p >> shift & 1) << slot;
    }
    return upper;
}

/* ---- a group's tags ---- */

#if defined(__SSE2__)
typedef __m128i oak_map_tags_;

OAK_MAP_INLINE_ oak_map_tags_ oak_map_tags_of_(uint64_t hash)
{
    return _mm_max_epu8(_mm_set1_epi8((char)(hash >> 24)), _mm_set1_epi8(1));
}

OAK_MAP_INLINE_ unsigned oak_map_match_(const char *tags, oak_map_tags_ tag)
{
    __m128i t = _mm_load_si128((const __m128i *)tags);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(t, tag)) & OAK_MAP_USED_;
}

/* The tag, in the low byte. */
OAK_MAP_INLINE_ unsigned oak_map_low_(oak_map_tags_ tag)
{
    return (unsigned)_mm_cvtsi128_si32(tag);
}

OAK_MAP_INLINE_ unsigned oak_map_used_(const char *tags)
{
    __m128i t = _mm_load_si128((const __m128i *)tags);
    return ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(t, _mm_setzero_si128())) & OAK_MAP_USED_;
}

OAK_MAP_INLINE_ oak_map_tags_ oak_map_no_tag_(void)
{
    return _mm_setzero_si128();
}
#elif defined(__ARM_NEON)
typedef uint8x16_t oak_map_tags_;

OAK_MAP_INLINE_ oak_map_tags_ oak_map_tags_of_(uint64_t hash)
{
    return vdupq_n_u8((uint8_t)oak_map_tag_(hash));
}

OAK_MAP_INLINE_ unsigned oak_map_match_(const char *tags, oak_map_tags_ tag)
{
    static const uint8_t bit[16] = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 0 };
    uint8x16_t t = vld1q_u8((const uint8_t *)tags);
    uint8x16_t hit = vandq_u8(vceqq_u8(t, tag), vld1q_u8(bit));
    return vaddv_u8(vget_low_u8(hit)) | (unsigned)vaddv_u8(vget_high_u8(hit)) << 8;
}

OAK_MAP_INLINE_ unsigned oak_map_low_(oak_map_tags_ tag)
{
    return vgetq_lane_u8(tag, 0);
}

OAK_MAP_INLINE_ unsigned oak_map_used_(const char *tags)
{
    return ~oak_map_match_(tags, vdupq_n_u8(0)) & OAK_MAP_USED_;
}

OAK_MAP_INLINE_ oak_map_tags_ oak_map_no_tag_(void)
{
    return vdupq_n_u8(0);
}
#else
typedef uint64_t oak_map_tags_;

OAK_MAP_INLINE_ oak_map_tags_ oak_map_tags_of_(uint64_t hash)
{
    return oak_map_tag_(hash) * UINT64_C(0x0101010101010101);
}

/* Bit i: byte i of the word is zero. Exact: no carry leaves a byte. */
OAK_MAP_INLINE_ unsigned oak_map_zeros_(uint64_t x)
{
    const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t zero = ~(((x & low7) + low7) | x | low7) >> 7;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    zero = __builtin_bswap64(zero);
#endif
    return (unsigned)(zero * UINT64_C(0x0102040810204080) >> 56);
}

OAK_MAP_INLINE_ unsigned oak_map_match_(const char *tags, oak_map_tags_ tag)
{
    return (oak_map_zeros_(oak_map_load8_(tags) ^ tag) |
            oak_map_zeros_(oak_map_load8_(tags + 8) ^ tag) << 8) & OAK_MAP_USED_;
}

OAK_MAP_INLINE_ unsigned oak_map_low_(oak_map_tags_ tag)
{
    return (unsigned)tag;
}

OAK_MAP_INLINE_ unsigned oak_map_used_(const char *tags)
{
    return ~oak_map_match_(tags, 0) & OAK_MAP_USED_;
}

OAK_MAP_INLINE_ oak_map_tags_ oak_map_no_tag_(void)
{
    return 0;
}
#endif

/* ---- lookup ---- */

/* The array that has the key of this hash, if the map has it. */
OAK_MAP_INLINE_ const struct oak_map_array_ *oak_map_array_of_(const oak_map *m, uint64_t hash)
{
    return &m->array[oak_map_position_(hash) > m->last];
}

/* Group g's first entry. Its segment is there. */
OAK_MAP_INLINE_ char *oak_map_group_(const struct oak_map_array_ *a, size_t g, size_t entry_size)
{
    return a->dir[g >> a->gbits] + g * OAK_MAP_SLOTS_ * entry_size;
}

/* Whether an entry whose tag equals this one modulo 8 has gone past this group, which had no room
 * for it. */
OAK_MAP_INLINE_ bool oak_map_went_past_(const char *tags, unsigned tag)
{
    return ((unsigned char)tags[OAK_MAP_SLOTS_] >> (tag & 7) & 1) != 0;
}

/* Prefetches the whole group, if it is small. That saves a fifth of a hit's time in a map much
 * larger than the caches, and costs time in a small one. */
OAK_MAP_INLINE_ void oak_map_fetch_(const struct oak_map_array_ *a, const char *entries,
                                    size_t entry_size)
{
    size_t size = OAK_MAP_SLOTS_ * entry_size;
    if (entry_size > 16 || a->shift > 63 - OAK_MAP_FETCH_BITS_) return;
    __builtin_prefetch(entries);
    if (size > 64) __builtin_prefetch(entries + 64);
    if (size > 128) __builtin_prefetch(entries + 128);
    if (size > 192) __builtin_prefetch(entries + 192);
}

/* Whether the entry has the key. A custom equal must not write to the map. */
OAK_MAP_INLINE_ bool oak_map_has_(const oak_map *m, const oak_map_type *t, const char *entry,
                                  const void *key)
{
    uint64_t moves = m->moves;
    size_t len = m->len;
    bool same = oak_map_equal_(t, oak_map_stored_key_(t, entry), key);
    if (t->key == OAK_KEY_CUSTOM && OAK_MAP_UNLIKELY_(m->moves != moves || m->len != len))
        oak_map_misuse_(m, OAK_MAP_EQUAL_);
    return same;
}

/* Returns the key's entry in array a, or NULL; *at is set to its tag's address. */
OAK_MAP_INLINE_ char *oak_map_find_in_(const oak_map *m, const struct oak_map_array_ *a,
                                       const oak_map_type *t, size_t entry_size, uint64_t hash,
                                       const void *key, char **at)
{
    oak_map_tags_ tag = oak_map_tags_of_(hash);
    for (size_t g = (size_t)(oak_map_position_(hash) >> a->shift);; g++) {
        char *tags = a->tags + g * (OAK_MAP_SLOTS_ + 1);
        unsigned hit = oak_map_match_(tags, tag);
        char *entries = hit ? oak_map_group_(a, g, entry_size) : NULL;
        if (hit) oak_map_fetch_(a, entries, entry_size);
        for (; hit; hit &= hit - 1) {
            size_t slot = (unsigned)__builtin_ctz(hit);
            *at = tags + slot;
            if (OAK_MAP_LIKELY_(oak_map_has_(m, t, entries + slot * entry_size, key)))
                return entries + slot * entry_size;
        }
        if (OAK_MAP_LIKELY_(!oak_map_went_past_(tags, oak_map_low_(tag)))) return NULL;
    }
}

/* The same, in the array where the entry is. *at is undefined without one. */
OAK_MAP_INLINE_ char *oak_map_find_(const oak_map *m, const oak_map_type *t, size_t entry_size,
                                    uint64_t hash, const void *key, char **at)
{
    return oak_map_find_in_(m, oak_map_array_of_(m, hash), t, entry_size, hash, key, at);
}

/* The home group of a key that isn't found at once. */
typedef struct oak_map_home_ {
    char *tags;
    size_t group;
    unsigned tag; /* the key's, in the low byte */
    bool unsure;  /* the key may be in the map all the same */
} oak_map_home_;

/* The usual lookup in a map at rest: the first slot of the home with the key's tag has the key, or
 * there is none, and nothing went past. NULL: see *home. All else is left to functions out of line,
 * so that it takes no registers here. */
OAK_MAP_INLINE_ char *oak_map_find_first_(const oak_map *m, const oak_map_type *t,
                                          size_t entry_size, uint64_t hash, const void *key,
                                          char **at, oak_map_home_ *home)
{
    const struct oak_map_array_ *a = &m->array[0];
    size_t g = (size_t)(oak_map_position_(hash) >> a->shift);
    char *tags = a->tags + g * (OAK_MAP_SLOTS_ + 1);
    oak_map_tags_ tag = oak_map_tags_of_(hash);
    unsigned hit = oak_map_match_(tags, tag);
    home->unsure = true;
    if (hit) {
        size_t slot = (unsigned)__builtin_ctz(hit);
        char *entries = oak_map_group_(a, g, entry_size), *e = entries + slot * entry_size;
        oak_map_fetch_(a, entries, entry_size);
        if (OAK_MAP_UNLIKELY_(!oak_map_has_(m, t, e, key))) return NULL;
        *at = tags + slot;
        return e;
    }
    home->tags = tags;
    home->group = g;
    home->tag = oak_map_low_(tag);
    home->unsure = oak_map_went_past_(tags, home->tag);
    return NULL;
}

/* For a function out of line, a small key is copied. If its own address escaped, each lookup would
 * store the key to memory. */
typedef union oak_map_own_ {
    char bytes[16];
    long double aligned;
} oak_map_own_;

OAK_MAP_INLINE_ const void *oak_map_own_key_(const oak_map_type *t, const void *key,
                                             oak_map_own_ *own)
{
    return t->key_size <= sizeof *own ? memcpy(own, key, t->key_size) : key;
}

/* busy and resizing, in one load. */
OAK_MAP_INLINE_ unsigned oak_map_state_(const oak_map *m)
{
    uint16_t both;
    memcpy(&both, &m->busy, sizeof both);
    return both;
}

OAK_MAP_INLINE_ void *oak_map_value_(const oak_map_type *t, char *entry, size_t value_offset)
{
    char *v = entry + value_offset;
    return t->value_size > OAK_MAP_INDIRECT_ ? *(void **)(void *)v : v;
}

/* The hash under any seed. A custom hash must not write to the map. */
OAK_MAP_INLINE_ uint64_t oak_map_hash_under_(const oak_map *m, const oak_map_type *t,
                                             const void *key, uint64_t seed, uint64_t mult)
{
    uint64_t moves = m->moves;
    size_t len = m->len;
    uint64_t hash = oak_map_hash_with_(t, key, seed, mult);
    if (t->key == OAK_KEY_CUSTOM && OAK_MAP_UNLIKELY_(m->moves != moves || m->len != len))
        oak_map_misuse_(m, OAK_MAP_HASH_);
    return hash;
}

OAK_MAP_INLINE_ uint64_t oak_map_hash_of_(const oak_map *m, const oak_map_type *t, const void *key)
{
    return oak_map_hash_under_(m, t, key, m->seed, m->mult);
}

OAK_MAP_OUTLINE_ void *oak_map_get_rest_(const oak_map *m, const oak_map_type *t,
                                         size_t entry_size, size_t value_offset, uint64_t hash,
                                         const void *key)
{
    char *at;
    if (m->busy) oak_map_misuse_(m, OAK_MAP_READ_);
    char *e = oak_map_find_(m, t, entry_size, hash, key, &at);
    return e ? oak_map_value_(t, e, value_offset) : NULL;
}

OAK_MAP_INLINE_ void *oak_map_get_as_(const oak_map *m, const oak_map_type *t, size_t entry_size,
                                      size_t value_offset, const void *key)
{
    oak_map_own_ own;
    if (OAK_MAP_UNLIKELY_(!m)) return NULL;
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (OAK_MAP_LIKELY_(oak_map_state_(m) == 0)) {
        oak_map_home_ home;
        char *at, *e = oak_map_find_first_(m, t, entry_size, hash, key, &at, &home);
        if (OAK_MAP_LIKELY_(e != NULL)) return oak_map_value_(t, e, value_offset);
        if (OAK_MAP_LIKELY_(!home.unsure)) return NULL;
    }
    key = oak_map_own_key_(t, key, &own);
    return oak_map_get_rest_(m, t, entry_size, value_offset, hash, key);
}

/* ---- iteration ---- */

OAK_MAP_INLINE_ bool oak_map_iter_next_as_(oak_map_iter *it, const oak_map_type *t,
                                           size_t entry_size, size_t value_offset)
{
    while (OAK_MAP_LIKELY_(it->left != 0 && it->moves == it->map->moves)) {
        size_t slot = (unsigned)__builtin_ctz(it->left);
        it->left &= it->left - 1;
        if (OAK_MAP_UNLIKELY_(it->tags[slot] == 0)) continue;
        char *e = it->entries + slot * entry_size;
        it->key = oak_map_stored_key_(t, e);
        it->value = oak_map_value_(t, e, value_offset);
        return true;
    }
    return oak_map_iter_more_(it);
}

OAK_END_DECLS

#include <oakum/map_write.h>
#include <oakum/map_typed.h>
#include <oakum/map_bulk.h>

#endif

/* map_inline.h - the part of the map that is compiled into programs: the lookup, and writes that
 * need no resize.
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

/* Out of line, in the library. */
OAK_API void *oak_map_add_(oak_map *m, uint64_t hash, const void *key);
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

OAK_MAP_INLINE_ double oak_map_load_real_(const void *p, size_t size)
{
    float f;
    double d;
    if (size == sizeof f) {
        memcpy(&f, p, sizeof f);
        return f;
    }
    memcpy(&d, p, sizeof d);
    return d;
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
    case OAK_KEY_DOUBLE: {
        double d = oak_map_load_real_(key, t->key_size) + 0.0; /* -0 becomes +0 */
        return oak_map_mix_(oak_map_load8_(&d), seed, mult);
    }
    case OAK_KEY_CUSTOM:
        return oak_map_mix_(t->hash(key, seed, t->key_size), seed, mult);
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
        return oak_map_load_real_(a, t->key_size) == oak_map_load_real_(b, t->key_size);
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
#endif

/* ---- lookup ---- */

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

/* Returns the entry of group g that has the key, or NULL; *at is set to its slot. `hit`: the slots
 * that have the key's tag, at least one. */
OAK_MAP_INLINE_ char *oak_map_find_among_(const oak_map *m, const struct oak_map_array_ *a,
                                          const oak_map_type *t, size_t entry_size, size_t g,
                                          unsigned hit, const void *key, size_t *at)
{
    uint64_t moves = m->moves;
    size_t len = m->len;
    char *entries = oak_map_group_(a, g, entry_size);
    oak_map_fetch_(a, entries, entry_size);
    do {
        size_t slot = (unsigned)__builtin_ctz(hit);
        char *e = entries + slot * entry_size;
        const void *stored = t->key_size > OAK_MAP_INDIRECT_ ? *(void **)(void *)e : e;
        bool same = oak_map_equal_(t, stored, key);
        if (t->key == OAK_KEY_CUSTOM && OAK_MAP_UNLIKELY_(m->moves != moves || m->len != len))
            oak_map_misuse_(m, OAK_MAP_EQUAL_);
        if (OAK_MAP_LIKELY_(same)) {
            *at = slot;
            return e;
        }
    } while ((hit &= hit - 1) != 0);
    return NULL;
}

/* The part of a lookup behind the home, for a key that may have gone past it. Out of line, so that
 * it takes no registers from the lookups that end in their home. */
OAK_MAP_OUTLINE_ char *oak_map_find_behind_(const oak_map *m, const struct oak_map_array_ *a,
                                            const oak_map_type *t, size_t entry_size,
                                            uint64_t hash, const void *key, char **at)
{
    oak_map_tags_ tag = oak_map_tags_of_(hash);
    size_t g = (size_t)(oak_map_position_(hash) >> a->shift) + 1, slot;
    for (;; g++) {
        char *tags = a->tags + g * (OAK_MAP_SLOTS_ + 1), *e;
        unsigned hit = oak_map_match_(tags, tag);
        if (hit && (e = oak_map_find_among_(m, a, t, entry_size, g, hit, key, &slot)) != NULL) {
            *at = tags + slot;
            return e;
        }
        if (!oak_map_went_past_(tags, oak_map_low_(tag))) return NULL;
    }
}

/* Returns the key's entry in array a, or NULL; *at is set to its tag's address. A small key is
 * copied for the out-of-line part. If its own address escaped, each lookup would store the key to
 * memory. */
OAK_MAP_INLINE_ char *oak_map_find_in_(const oak_map *m, const struct oak_map_array_ *a,
                                       const oak_map_type *t, size_t entry_size, uint64_t hash,
                                       const void *key, char **at)
{
    size_t g = (size_t)(oak_map_position_(hash) >> a->shift), slot;
    char *tags = a->tags + g * (OAK_MAP_SLOTS_ + 1), *e;
    oak_map_tags_ tag = oak_map_tags_of_(hash);
    unsigned hit = oak_map_match_(tags, tag);
    if (hit && OAK_MAP_LIKELY_(
                   (e = oak_map_find_among_(m, a, t, entry_size, g, hit, key, &slot)) != NULL)) {
        *at = tags + slot;
        return e;
    }
    if (OAK_MAP_LIKELY_(!oak_map_went_past_(tags, oak_map_low_(tag)))) return NULL;
    char *behind;
    char own[16] __attribute__((aligned(16)));
    if (t->key_size <= sizeof own) key = memcpy(own, key, t->key_size);
    e = oak_map_find_behind_(m, a, t, entry_size, hash, key, &behind);
    *at = behind;
    return e;
}

/* Returns the key's entry, or NULL. Without a resize there is one array, at a known place. That
 * case is compiled apart, as a pointer to the array would take a register. */
OAK_MAP_INLINE_ char *oak_map_find_(const oak_map *m, const oak_map_type *t, size_t entry_size,
                                    uint64_t hash, const void *key, char **at)
{
    if (OAK_MAP_UNLIKELY_(m->resizing))
        return oak_map_find_in_(m, &m->array[oak_map_position_(hash) > m->last], t, entry_size,
                                hash, key, at);
    return oak_map_find_in_(m, &m->array[0], t, entry_size, hash, key, at);
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

OAK_MAP_INLINE_ void *oak_map_get_as_(const oak_map *m, const oak_map_type *t, size_t entry_size,
                                      size_t value_offset, const void *key)
{
    char *at, *e;
    if (OAK_MAP_UNLIKELY_(!m)) return NULL;
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (OAK_MAP_UNLIKELY_(oak_map_state_(m) != 0)) {
        if (m->busy) oak_map_misuse_(m, OAK_MAP_READ_);
        e = oak_map_find_in_(m, &m->array[oak_map_position_(hash) > m->last], t, entry_size, hash,
                             key, &at);
    } else {
        e = oak_map_find_in_(m, &m->array[0], t, entry_size, hash, key, &at);
    }
    return e ? oak_map_value_(t, e, value_offset) : NULL;
}

/* ---- writes ---- */

/* Whether the collector may read the segments of maps of this type. */
OAK_MAP_INLINE_ bool oak_map_is_scanned_(const oak_map_type *t)
{
    return (t->flags & (OAK_MAP_SCAN_KEY | OAK_MAP_SCAN_VALUE)) != 0;
}

/* The types whose entries are made in line: plain cells, and keys that equal themselves. */
OAK_MAP_INLINE_ bool oak_map_is_simple_(const oak_map_type *t)
{
    return t->key != OAK_KEY_DOUBLE && t->key_size <= OAK_MAP_INDIRECT_ &&
           t->value_size <= OAK_MAP_INDIRECT_;
}

OAK_MAP_INLINE_ void oak_map_fill_(const oak_map_type *t, char *e, size_t value_offset,
                                   const void *key)
{
    if (t->key_size == 8)
        memcpy(e, key, 8);
    else
        memcpy(e, key, t->key_size);
    if (t->value_size == 8)
        memset(e + value_offset, 0, 8);
    else
        memset(e + value_offset, 0, t->value_size);
}

/* A store barrier: earlier stores become visible before later ones. */
OAK_MAP_INLINE_ void oak_map_stored_(void)
{
#ifdef __aarch64__
    __asm__ __volatile__("dmb ishst" : : : "memory");
#else
    __asm__ __volatile__("" : : : "memory");
#endif
}

/* Adds an absent key to its home, if that has room and no resize is under way or due. The library
 * does the rest. It also does all adds to large arrays: there each add waits for memory, and the
 * library's add waits less. The entry is stored before its tag. For scanned types, a byte of the
 * entry is stored again after the tag. This makes its page dirty, as a concurrent mark may have
 * read the tags in between. */
OAK_MAP_INLINE_ void *oak_map_add_as_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                      size_t value_offset, uint64_t hash, const void *key)
{
    const struct oak_map_array_ *a = &m->array[0];
    size_t g = (size_t)(oak_map_position_(hash) >> a->shift);
    char *tags = a->tags + g * (OAK_MAP_SLOTS_ + 1), *entries = a->dir[g >> a->gbits], *e;
    unsigned free = ~oak_map_used_(tags) & a->slots, slot;
    if (OAK_MAP_UNLIKELY_(!oak_map_is_simple_(t) || m->resizing ||
                          a->shift < 63 - OAK_MAP_CALL_BITS_ || m->len >= m->limit || !free ||
                          !entries || !oak_attached_))
        return oak_map_add_(m, hash, key);
    slot = (unsigned)__builtin_ctz(free);
    e = entries + (g * OAK_MAP_SLOTS_ + slot) * entry_size;
    oak_map_fill_(t, e, value_offset, key);
    oak_map_stored_();
    tags[slot] = (char)oak_map_tag_(hash);
    if (oak_map_is_scanned_(t)) {
        char first = *e;
        oak_map_stored_();
        *e = first;
    }
    oak_map_stored_();
    m->len++;
    m->moves++;
    m->busy = 0;
    return e + value_offset;
}

/* Removes the entry whose tag is at `at`, and ends the write. The library does so in three cases.
 * The entry is outside its home; a resize is under way or due; the latest deletes were near it. Out
 * of line, so that it takes no registers from a lookup that finds nothing. */
OAK_MAP_OUTLINE_ bool oak_map_remove_here_(oak_map *m, uint64_t hash, char *at)
{
    const struct oak_map_array_ *a = &m->array[0];
    struct oak_map_deletes_ *d = (struct oak_map_deletes_ *)(void *)m->more;
    uint64_t p = oak_map_position_(hash);
    const char *home = a->tags + (size_t)(p >> a->shift) * (OAK_MAP_SLOTS_ + 1);
    if (OAK_MAP_UNLIKELY_(m->resizing || (m->flags & OAK_MAP_HINTED_) || m->len <= m->shrink_at ||
                          at - home > OAK_MAP_SLOTS_ || !oak_attached_ ||
                          (d && ((d->run | d->mixed) != 0 || oak_map_is_near_(d, p)))))
        return oak_map_remove_(m, hash, at);
    *at = 0;
    m->len--;
    if (d) {
        d->deleted = p;
        d->left = m->len;
    }
    m->busy = 0;
    return true;
}

/* `add` does oak_map_add_as_ for the type. The key may lie in the map itself: it is not read after
 * entries move. */
OAK_MAP_INLINE_ void *oak_map_put_as_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                      size_t value_offset, const void *key,
                                      void *(*add)(oak_map *, uint64_t, const void *))
{
    if (OAK_MAP_UNLIKELY_(!m)) oak_map_misuse_(m, OAK_MAP_NIL_);
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (OAK_MAP_UNLIKELY_(m->busy)) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    char *at, *e = oak_map_find_(m, t, entry_size, hash, key, &at);
    if (!e) return add(m, hash, key);
    if (t->key == OAK_KEY_DOUBLE || (t->flags & OAK_MAP_KEY_UPDATE) != 0)
        memmove(t->key_size > OAK_MAP_INDIRECT_ ? *(void **)(void *)e : e, key, t->key_size);
    m->busy = 0;
    return oak_map_value_(t, e, value_offset);
}

OAK_MAP_INLINE_ bool oak_map_delete_as_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                        const void *key)
{
    if (OAK_MAP_UNLIKELY_(!m)) return false;
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (OAK_MAP_UNLIKELY_(m->busy)) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    char *at, *e = oak_map_find_(m, t, entry_size, hash, key, &at);
    if (e) return oak_map_remove_here_(m, hash, at);
    m->busy = 0;
    return false;
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
        it->key = t->key_size > OAK_MAP_INDIRECT_ ? *(void **)(void *)e : e;
        it->value = oak_map_value_(t, e, value_offset);
        return true;
    }
    return oak_map_iter_more_(it);
}

OAK_END_DECLS

#include <oakum/map_typed.h>
#include <oakum/map_bulk.h>

#endif

/* map_inline.h - the part of the map that is compiled into programs: the lookup, and typed maps.
 *
 * Included by <oakum/map.h>. Only OAK_MAP_DEFINE, OAK_MAP_DEFINE_WITH and the functions that they
 * define are for use. Names that end in _ are private, and may change with the library's major
 * version. The library's maps and typed maps share these functions, so there is one lookup. */
#ifndef OAKUM_MAP_INLINE_H
#define OAKUM_MAP_INLINE_H

#include <oakum/map.h>
#include <string.h>
#ifdef __cplusplus
#include <type_traits>
#endif
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

OAK_BEGIN_DECLS

#define OAK_MAP_INLINE_ static inline __attribute__((always_inline, unused))
#define OAK_MAP_LIKELY_(x) __builtin_expect(!!(x), 1)
#define OAK_MAP_UNLIKELY_(x) __builtin_expect(!!(x), 0)

/* ---- the map ---- */

enum {
    OAK_MAP_SLOTS_ = 15,   /* of a group: a tag byte each, and a byte for what went past */
    OAK_MAP_USED_ = 0x7fff,
    OAK_MAP_INDIRECT_ = 128 /* larger keys and values are in objects of their own */
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

/* Out of line, in the library. */
OAK_API void *oak_map_add_(oak_map *m, uint64_t hash, const void *key);
OAK_API void oak_map_remove_(oak_map *m, uint64_t hash, char *tag);
OAK_API bool oak_map_iter_more_(oak_map_iter *it);
OAK_API OAK_NORETURN void oak_map_misuse_(const oak_map *m, int what);
enum {
    OAK_MAP_READ_,
    OAK_MAP_WRITE_,
    OAK_MAP_ITERATE_,
    OAK_MAP_NIL_,
    OAK_MAP_EQUAL_,
    OAK_MAP_HASH_
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

OAK_MAP_INLINE_ unsigned oak_map_used_(const char *tags)
{
    return ~oak_map_match_(tags, 0) & OAK_MAP_USED_;
}
#endif

/* ---- lookup ---- */

/* Has an entry whose tag equals this one modulo 8 gone past this group, as it found no room? */
OAK_MAP_INLINE_ bool oak_map_went_past_(const char *tags, unsigned tag)
{
    return ((unsigned char)tags[OAK_MAP_SLOTS_] >> (tag & 7) & 1) != 0;
}

/* Prefetches the whole group, if it is small. That saves a fifth of a hit's time in a map much
 * larger than the caches. */
OAK_MAP_INLINE_ void oak_map_fetch_(const char *entries, size_t entry_size)
{
    size_t size = OAK_MAP_SLOTS_ * entry_size;
    if (entry_size > 16) return;
    __builtin_prefetch(entries);
    if (size > 64) __builtin_prefetch(entries + 64);
    if (size > 128) __builtin_prefetch(entries + 128);
    if (size > 192) __builtin_prefetch(entries + 192);
}

/* Returns the key's entry in array a, or NULL; *at is set to its tag's address. */
OAK_MAP_INLINE_ char *oak_map_find_in_(const oak_map *m, const struct oak_map_array_ *a,
                                       const oak_map_type *t, size_t entry_size, uint64_t hash,
                                       const void *key, char **at)
{
    uint64_t moves = m->moves;
    size_t len = m->len;
    size_t g = (size_t)(oak_map_position_(hash) >> a->shift);
    oak_map_tags_ tag = oak_map_tags_of_(hash);
    for (;; g++) {
        char *tags = a->tags + g * (OAK_MAP_SLOTS_ + 1);
        unsigned hit = oak_map_match_(tags, tag);
        if (hit)
            oak_map_fetch_(a->dir[g >> a->gbits] + g * OAK_MAP_SLOTS_ * entry_size, entry_size);
        for (; hit; hit &= hit - 1) {
            size_t slot = (size_t)__builtin_ctzll(hit);
            char *e = a->dir[g >> a->gbits] + (g * OAK_MAP_SLOTS_ + slot) * entry_size;
            const void *stored = t->key_size > OAK_MAP_INDIRECT_ ? *(void **)(void *)e : e;
            bool same = oak_map_equal_(t, stored, key);
            if (t->key == OAK_KEY_CUSTOM && OAK_MAP_UNLIKELY_(m->moves != moves || m->len != len))
                oak_map_misuse_(m, OAK_MAP_EQUAL_);
            if (OAK_MAP_LIKELY_(same)) {
                *at = tags + slot;
                return e;
            }
        }
        if (OAK_MAP_LIKELY_(!oak_map_went_past_(tags, oak_map_tag_(hash)))) return NULL;
    }
}

/* Returns the key's entry, or NULL. During a resize no branch predictor can tell the array, so it
 * is computed without a branch. At rest there is one array. */
OAK_MAP_INLINE_ char *oak_map_find_(const oak_map *m, const oak_map_type *t, size_t entry_size,
                                    uint64_t hash, const void *key, char **at)
{
    if (OAK_MAP_UNLIKELY_(m->resizing))
        return oak_map_find_in_(m, &m->array[oak_map_position_(hash) > m->last], t, entry_size,
                                hash, key, at);
    return oak_map_find_in_(m, &m->array[0], t, entry_size, hash, key, at);
}

OAK_MAP_INLINE_ void *oak_map_value_(const oak_map_type *t, char *entry, size_t value_offset)
{
    char *v = entry + value_offset;
    return t->value_size > OAK_MAP_INDIRECT_ ? *(void **)(void *)v : v;
}

/* Reads busy and resizing by one load. */
OAK_MAP_INLINE_ unsigned oak_map_state_(const oak_map *m)
{
    uint16_t both;
    memcpy(&both, &m->busy, sizeof both);
    return both;
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
        e = oak_map_find_(m, t, entry_size, hash, key, &at);
    } else {
        e = oak_map_find_in_(m, &m->array[0], t, entry_size, hash, key, &at);
    }
    return e ? oak_map_value_(t, e, value_offset) : NULL;
}

/* The key may lie in the map itself: it is not read after entries move. */
OAK_MAP_INLINE_ void *oak_map_put_as_(oak_map *m, const oak_map_type *t, size_t entry_size,
                                      size_t value_offset, const void *key)
{
    if (OAK_MAP_UNLIKELY_(!m)) oak_map_misuse_(m, OAK_MAP_NIL_);
    uint64_t hash = oak_map_hash_of_(m, t, key);
    if (OAK_MAP_UNLIKELY_(m->busy)) oak_map_misuse_(m, OAK_MAP_WRITE_);
    m->busy = 1;
    char *at, *e = oak_map_find_(m, t, entry_size, hash, key, &at);
    if (!e) return oak_map_add_(m, hash, key);
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
    if (e) oak_map_remove_(m, hash, at);
    m->busy = 0;
    return e != NULL;
}

/* ---- iteration ---- */

OAK_MAP_INLINE_ bool oak_map_iter_next_as_(oak_map_iter *it, const oak_map_type *t,
                                           size_t entry_size, size_t value_offset)
{
    while (OAK_MAP_LIKELY_(it->left != 0 && it->moves == it->map->moves)) {
        size_t slot = (size_t)__builtin_ctzll(it->left);
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

/* ---- typed maps ---- */

#ifdef __SIZEOF_INT128__
__extension__ typedef __int128 oak_map_int128_;
__extension__ typedef unsigned __int128 oak_map_uint128_;
#endif

/* Is T scanned; what kind of key is it? */
#ifdef __cplusplus
extern "C++" {
template <class T> struct oak_map_number_ {
    static constexpr bool value = std::is_arithmetic<T>::value || std::is_enum<T>::value;
};
#ifdef __SIZEOF_INT128__ /* no arithmetic types where extensions are off */
template <> struct oak_map_number_<oak_map_int128_> {
    static constexpr bool value = true;
};
template <> struct oak_map_number_<oak_map_uint128_> {
    static constexpr bool value = true;
};
#endif
template <class T> struct oak_map_traits_ {
    static constexpr bool scanned = !oak_map_number_<T>::value && sizeof(T) % 8 == 0;
    static constexpr bool wide = std::is_same<T, long double>::value;
    static constexpr bool text = std::is_same<T, const char *>::value ||
                                 std::is_same<T, char *>::value;
    static constexpr bool real = std::is_same<T, float>::value || std::is_same<T, double>::value;
    static constexpr oak_key kind = text                               ? OAK_KEY_CSTRING
                                    : std::is_same<T, oak_slice>::value ? OAK_KEY_SLICE
                                    : real                             ? OAK_KEY_DOUBLE
                                    : sizeof(T) == 8                   ? OAK_KEY_U64
                                    : sizeof(T) == 4                   ? OAK_KEY_U32
                                                                       : OAK_KEY_BYTES;
};
}
#define OAK_MAP_SCANNED_(T) (oak_map_traits_<T>::scanned)
#define OAK_MAP_KIND_(T) (oak_map_traits_<T>::kind)
#define OAK_MAP_WIDE_(T) (oak_map_traits_<T>::wide)
#else
/* clang-format off */
#ifdef __SIZEOF_INT128__
#define OAK_MAP_INT128_ oak_map_int128_: 0, oak_map_uint128_: 0,
#else
#define OAK_MAP_INT128_
#endif
#define OAK_MAP_SCANNED_(T) (sizeof(T) % 8 == 0 && _Generic(*(T *)0, OAK_MAP_INT128_ \
    long: 0, unsigned long: 0, long long: 0, unsigned long long: 0, double: 0, long double: 0, \
    default: 1))
#define OAK_MAP_WIDE_(T) _Generic(*(T *)0, long double: 1, default: 0)
#define OAK_MAP_KIND_(T) _Generic(*(T *)0, \
    char *: OAK_KEY_CSTRING, const char *: OAK_KEY_CSTRING, oak_slice: OAK_KEY_SLICE, \
    float: OAK_KEY_DOUBLE, double: OAK_KEY_DOUBLE, \
    default: sizeof(T) == 8 ? OAK_KEY_U64 : sizeof(T) == 4 ? OAK_KEY_U32 : OAK_KEY_BYTES)
/* clang-format on */
#endif

#define OAK_MAP_CELL_SIZE_(T) (sizeof(T) > OAK_MAP_INDIRECT_ ? sizeof(void *) : sizeof(T))
#define OAK_MAP_CELL_ALIGN_(T) \
    (sizeof(T) > OAK_MAP_INDIRECT_ || (OAK_MAP_SCANNED_(T) && __alignof__(T) < 8) ? 8 \
                                                                                   : __alignof__(T))
#define OAK_MAP_UP_(n, align) (((n) + (align)-1) / (align) * (align))
#define OAK_MAP_MAX_(a, b) ((a) > (b) ? (a) : (b))
#define OAK_MAP_OFFSET_(K, V) OAK_MAP_UP_(OAK_MAP_CELL_SIZE_(K), OAK_MAP_CELL_ALIGN_(V))
#define OAK_MAP_ENTRY_(K, V) \
    OAK_MAP_UP_(OAK_MAP_OFFSET_(K, V) + OAK_MAP_CELL_SIZE_(V), \
                OAK_MAP_MAX_(OAK_MAP_CELL_ALIGN_(K), OAK_MAP_CELL_ALIGN_(V)))

/** Defines a typed map, whose functions are compiled in: name *name_new(size_t hint), V
 * *name_get(m, k), V *name_put(m, k), bool name_delete(m, k), void name_clear(m), size_t
 * name_len(m). Iteration: name_iter it; name_iter_init(&it, m); while (name_iter_next(&it)) sets
 * it.key and it.value, which are pointers. Each function does the same as the oak_map_ function of
 * its name; name_map(m) is the map that those take.
 *
 * Integers, enums and pointers are compared by value, char pointers by their text, oak_slice by its
 * bytes. Floating point is compared as by ==, structs by their bytes, padding included. A long
 * double, which has padding, needs OAK_MAP_DEFINE_WITH. Keys and values that are not numbers and
 * whose size is a multiple of 8 are scanned for pointers. */
#define OAK_MAP_DEFINE(name, K, V) \
    typedef char name##_with_long_double_keys_needs_OAK_MAP_DEFINE_WITH \
        [OAK_MAP_WIDE_(K) ? -1 : 1]; \
    OAK_MAP_DEFINE_(name, K, V, OAK_MAP_KIND_(K), NULL, NULL)

/** The same with custom functions: uint64_t hash(const K *key, uint64_t seed), bool equal(const K
 * *a, const K *b). */
#define OAK_MAP_DEFINE_WITH(name, K, V, hash_, equal_) \
    OAK_MAP_INLINE_ uint64_t name##_hash_(const void *key, uint64_t seed, size_t size) \
    { \
        (void)size; \
        return hash_((K const *)key, seed); \
    } \
    OAK_MAP_INLINE_ bool name##_equal_(const void *a, const void *b, size_t size) \
    { \
        (void)size; \
        return equal_((K const *)a, (K const *)b); \
    } \
    OAK_MAP_DEFINE_(name, K, V, OAK_KEY_CUSTOM, name##_hash_, name##_equal_)

#define OAK_MAP_DEFINE_(name, K, V, kind, hash, equal) \
    typedef struct name name; \
    static const oak_map_type name##_type = { \
        kind, \
        (OAK_MAP_SCANNED_(K) ? 1u : 0u) | (OAK_MAP_SCANNED_(V) ? 2u : 0u), \
        sizeof(K), \
        sizeof(V), \
        hash, \
        equal, \
        OAK_MAP_OFFSET_(K, V), \
        OAK_MAP_ENTRY_(K, V), \
        #name, \
    }; \
    typedef union name##_iter { \
        __extension__ struct { /* as in oak_map_iter */ \
            K const *key; \
            V *value; \
        }; \
        oak_map_iter it; \
    } name##_iter; \
    OAK_MAP_INLINE_ oak_map *name##_map(const name *m) \
    { \
        return (oak_map *)(uintptr_t)m; \
    } \
    OAK_MAP_INLINE_ name *name##_new(size_t hint) \
    { \
        return (name *)oak_map_new(&name##_type, hint); \
    } \
    OAK_MAP_INLINE_ V *name##_get(const name *m, K key) \
    { \
        return (V *)oak_map_get_as_(name##_map(m), &name##_type, OAK_MAP_ENTRY_(K, V), \
                                    OAK_MAP_OFFSET_(K, V), &key); \
    } \
    OAK_MAP_INLINE_ V *name##_put(name *m, K key) \
    { \
        return (V *)oak_map_put_as_(name##_map(m), &name##_type, OAK_MAP_ENTRY_(K, V), \
                                    OAK_MAP_OFFSET_(K, V), &key); \
    } \
    OAK_MAP_INLINE_ bool name##_delete(name *m, K key) \
    { \
        return oak_map_delete_as_(name##_map(m), &name##_type, OAK_MAP_ENTRY_(K, V), &key); \
    } \
    OAK_MAP_INLINE_ void name##_clear(name *m) \
    { \
        oak_map_clear(name##_map(m)); \
    } \
    OAK_MAP_INLINE_ size_t name##_len(const name *m) \
    { \
        return m ? name##_map(m)->len : 0; \
    } \
    OAK_MAP_INLINE_ void name##_iter_init(name##_iter *it, const name *m) \
    { \
        oak_map_iter_init(&it->it, name##_map(m)); \
    } \
    OAK_MAP_INLINE_ bool name##_iter_next(name##_iter *it) \
    { \
        return oak_map_iter_next_as_(&it->it, &name##_type, OAK_MAP_ENTRY_(K, V), \
                                     OAK_MAP_OFFSET_(K, V)); \
    } \
    typedef char \
        name##_alignment_is_at_most_16[__alignof__(K) <= 16 && __alignof__(V) <= 16 ? 1 : -1]

#endif

/* map_typed.h - maps of a key type and a value type, whose functions are compiled in.
 *
 * Included by <oakum/map.h>. Only OAK_MAP_DEFINE, OAK_MAP_DEFINE_WITH, OAK_MAP_DEFINE_AVALANCHING
 * and the functions that they define are for use. */
#ifndef OAKUM_MAP_TYPED_H
#define OAKUM_MAP_TYPED_H

#include <oakum/map.h>
#ifdef __cplusplus
#include <type_traits>
#endif

#ifdef __SIZEOF_INT128__
__extension__ typedef __int128 oak_map_int128_;
__extension__ typedef unsigned __int128 oak_map_uint128_;
#endif

/* OAK_MAP_SCANNED_(T): whether T is scanned. OAK_MAP_KIND_(T): the kind of a key of type T. */
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
    static constexpr bool floating = std::is_floating_point<T>::value;
    static constexpr bool real = floating && (sizeof(T) == 4 || sizeof(T) == 8);
    static constexpr bool wide = floating && !real;
    static constexpr bool text = std::is_same<T, const char *>::value ||
                                 std::is_same<T, char *>::value;
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
/* _Float64 and the like, where they are types of their own. */
#if defined(__FLT64_MANT_DIG__) && !defined(__clang__)
__extension__ typedef _Float32 oak_map_float32_;
__extension__ typedef _Float64 oak_map_float64_;
__extension__ typedef _Float32x oak_map_float32x_;
#define OAK_MAP_REAL_(x) oak_map_float32_: x, oak_map_float64_: x, oak_map_float32x_: x,
#else
#define OAK_MAP_REAL_(x)
#endif
#if defined(__FLT64X_MANT_DIG__) && defined(__FLT128_MANT_DIG__) && !defined(__clang__)
__extension__ typedef _Float64x oak_map_float64x_;
__extension__ typedef _Float128 oak_map_float128_;
#define OAK_MAP_LONG_(x) oak_map_float64x_: x, oak_map_float128_: x,
#else
#define OAK_MAP_LONG_(x)
#endif
#define OAK_MAP_SCANNED_(T) (sizeof(T) % 8 == 0 && _Generic(*(T *)0, OAK_MAP_INT128_ \
    OAK_MAP_REAL_(0) OAK_MAP_LONG_(0) \
    long: 0, unsigned long: 0, long long: 0, unsigned long long: 0, double: 0, long double: 0, \
    default: 1))
#define OAK_MAP_WIDE_(T) _Generic(*(T *)0, OAK_MAP_LONG_(1) long double: 1, default: 0)
#define OAK_MAP_KIND_(T) _Generic(*(T *)0, \
    char *: OAK_KEY_CSTRING, const char *: OAK_KEY_CSTRING, oak_slice: OAK_KEY_SLICE, \
    float: OAK_KEY_DOUBLE, double: OAK_KEY_DOUBLE, OAK_MAP_REAL_(OAK_KEY_DOUBLE) \
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
 * name_len(m); size_t name_get_many(m, keys, n, values), int name_reserve(m, n), size_t
 * name_retain(m, keep, arg), name *name_copy(m). Iteration: name_iter it; name_iter_init(&it, m);
 * while (name_iter_next(&it)) sets it.key and it.value, which are pointers. Each function does the
 * same as the oak_map_ function of its name; name_map(m) is the map that those take.
 *
 * Integers, enums and pointers are compared by value, char pointers by their text, oak_slice by its
 * bytes. Floating point is compared as by ==, structs by their bytes, padding included. A long
 * double, which has padding, needs OAK_MAP_DEFINE_WITH. Keys and values that are not numbers and
 * whose size is a multiple of 8 are scanned for pointers. */
#define OAK_MAP_DEFINE(name, K, V) \
    typedef char name##_with_long_double_keys_needs_OAK_MAP_DEFINE_WITH \
        [OAK_MAP_WIDE_(K) ? -1 : 1]; \
    OAK_MAP_DEFINE_(name, K, V, OAK_MAP_KIND_(K), 0, NULL, NULL)

/** As OAK_MAP_DEFINE, with custom functions: uint64_t hash(const K *key, uint64_t seed), bool
 * equal(const K *a, const K *b). */
#define OAK_MAP_DEFINE_WITH(name, K, V, hash_, equal_) \
    OAK_MAP_DEFINE_CUSTOM_(name, K, V, 0, hash_, equal_)

/** As OAK_MAP_DEFINE_WITH, for a hash that is OAK_MAP_AVALANCHING. */
#define OAK_MAP_DEFINE_AVALANCHING(name, K, V, hash_, equal_) \
    OAK_MAP_DEFINE_CUSTOM_(name, K, V, OAK_MAP_AVALANCHING, hash_, equal_)

#define OAK_MAP_DEFINE_CUSTOM_(name, K, V, flags, hash_, equal_) \
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
    OAK_MAP_DEFINE_(name, K, V, OAK_KEY_CUSTOM, flags, name##_hash_, name##_equal_)

#define OAK_MAP_DEFINE_(name, K, V, kind, flags, hash, equal) \
    typedef struct name name; \
    __attribute__((unused)) static unsigned name##_split_(const char *entries, unsigned used, \
                                                          uint64_t seed, uint64_t mult, \
                                                          unsigned shift) \
    { \
        static const oak_map_type type = { kind, flags, sizeof(K), 0, hash, equal, 0, 0, 0, 0 }; \
        return oak_map_split_as_(&type, OAK_MAP_ENTRY_(K, V), entries, used, seed, mult, shift); \
    } \
    static const oak_map_type name##_type = { \
        kind, \
        (OAK_MAP_SCANNED_(K) ? 1u : 0u) | (OAK_MAP_SCANNED_(V) ? 2u : 0u) | (flags), \
        sizeof(K), \
        sizeof(V), \
        hash, \
        equal, \
        OAK_MAP_OFFSET_(K, V), \
        OAK_MAP_ENTRY_(K, V), \
        #name, \
        name##_split_, \
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
    OAK_MAP_INLINE_ void *name##_add_(oak_map *m, uint64_t hash_, const void *key, \
                                      const oak_map_home_ *home, oak_map_fresh_ *fresh) \
    { \
        return oak_map_add_as_(m, &name##_type, OAK_MAP_ENTRY_(K, V), OAK_MAP_OFFSET_(K, V), \
                               hash_, key, home, fresh); \
    } \
    OAK_MAP_INLINE_ V *name##_put(name *m, K key) \
    { \
        return (V *)oak_map_put_as_(name##_map(m), &name##_type, OAK_MAP_ENTRY_(K, V), \
                                    OAK_MAP_OFFSET_(K, V), &key, name##_add_, NULL); \
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
    OAK_MAP_BULK_(name, K, V) \
    typedef char \
        name##_alignment_is_at_most_16[__alignof__(K) <= 16 && __alignof__(V) <= 16 ? 1 : -1]

#endif

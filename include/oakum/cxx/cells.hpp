/* cells.hpp - how oak::map and oak::set keep keys and values in the entries of an oak_map.
 *
 * An oak_map moves entries as bytes, and runs no destructors. So an entry holds a trivially
 * copyable key or value itself, if it is aligned to 16 at most. Any other is "boxed": the entry has
 * a pointer to an object of its own. Private: only the header map.hpp uses it.
 *
 * A key's or value's cell is `stored`. A key has `lookup`, the type that lookups take, and
 * `reference`, which iterators give. probe makes a `stored` for a lookup, own one to keep. */
#ifndef OAKUM_CXX_CELLS_HPP
#define OAKUM_CXX_CELLS_HPP

#include <cstring>
#include <functional>
#include <oakum/cxx/make.hpp>
#include <oakum/map.h>
#include <string>
#include <string_view>

namespace oak
{
namespace detail
{

template <class T>
inline constexpr bool boxed = !std::is_trivially_copyable<T>::value || alignof(T) > 16;

template <class T> inline constexpr bool is_string = false;
template <class A>
inline constexpr bool is_string<std::basic_string<char, std::char_traits<char>, A>> = true;

template <class T>
inline constexpr bool is_number =
    std::is_arithmetic<T>::value || std::is_enum<T>::value || std::is_pointer<T>::value ||
    std::is_same<T, oak_slice>::value || oak_map_number_<T>::value;

template <class T>
inline constexpr bool has_std_hash = std::is_default_constructible<std::hash<T>>::value;

/* Functions of oak_map_type. They are called from C. */
template <class K, class Stored, class Hash>
std::uint64_t hash_cell(const void *cell, std::uint64_t, std::size_t) noexcept
{
    if constexpr (std::is_same<K, Stored>::value)
        return Hash()(*static_cast<const K *>(cell));
    else
        return Hash()(**static_cast<const K *const *>(cell));
}

template <class K, class Stored, class Equal>
bool equal_cells(const void *a, const void *b, std::size_t) noexcept
{
    if constexpr (std::is_same<K, Stored>::value)
        return Equal()(*static_cast<const K *>(a), *static_cast<const K *>(b));
    else
        return Equal()(**static_cast<const K *const *>(a), **static_cast<const K *const *>(b));
}

/* ---- keys ---- */

using hash_function = std::uint64_t (*)(const void *, std::uint64_t, std::size_t);
using equal_function = bool (*)(const void *, const void *, std::size_t);

/* Numbers, pointers, and structs that are compared by their bytes. */
template <class K> struct plain_key {
    using stored = K;
    using lookup = const K &;
    using reference = const K &;
    static constexpr bool owns = false;   /* the entry has an object of its own */
    static constexpr bool copies = false; /* own() allocates */
    static constexpr bool scanned = oak_map_traits_<K>::scanned;
    static constexpr oak_key kind = oak_map_traits_<K>::kind;
    static constexpr hash_function hash = nullptr;
    static constexpr equal_function equal = nullptr;

    static const stored &probe(lookup k) noexcept { return k; }
    template <class Q> static const stored &own(lookup k, Q &&) noexcept { return k; }
    static void disown(const stored &) noexcept {}
    static reference get(const void *cell) noexcept { return *static_cast<const K *>(cell); }
};

template <class K> struct bytes_key : plain_key<K> {
    static constexpr oak_key kind = OAK_KEY_BYTES;
};

template <class K, class Hash, class Equal> struct hashed_key : plain_key<K> {
    static constexpr oak_key kind = OAK_KEY_CUSTOM;
    static constexpr hash_function hash = hash_cell<K, K, Hash>;
    static constexpr equal_function equal = equal_cells<K, K, Equal>;
};

template <class K, class Hash, class Equal> struct boxed_key {
    using stored = const K *;
    using lookup = const K &;
    using reference = const K &;
    static constexpr bool owns = true;
    static constexpr bool copies = true;
    static constexpr bool scanned = true;
    static constexpr oak_key kind = OAK_KEY_CUSTOM;
    static constexpr hash_function hash = hash_cell<K, stored, Hash>;
    static constexpr equal_function equal = equal_cells<K, stored, Equal>;

    static stored probe(lookup k) noexcept { return std::addressof(k); }
    template <class Q> static stored own(lookup, Q &&k) { return make<K>(std::forward<Q>(k)); }
    static void disown(stored k) noexcept { destroy(k); }
    static reference get(const void *cell) noexcept { return **static_cast<const stored *>(cell); }
};

/* Text. If Copied, the map has a copy of its own, which the collector frees. */
template <bool Copied> struct text_key {
    using stored = oak_slice;
    using lookup = std::string_view;
    using reference = std::string_view;
    static constexpr bool owns = false;
    static constexpr bool copies = Copied;
    static constexpr bool scanned = true;
    static constexpr oak_key kind = OAK_KEY_SLICE;
    static constexpr hash_function hash = nullptr;
    static constexpr equal_function equal = nullptr;

    static stored probe(lookup k) noexcept { return { k.data(), k.size() }; }
    template <class Q> static stored own(lookup k, Q &&)
    {
        if (!Copied || k.empty()) return probe(k);
        void *copy = oak_alloc_noscan(k.size());
        if (!copy) out_of_memory();
        std::memcpy(copy, k.data(), k.size());
        return { copy, k.size() };
    }
    static void disown(const stored &) noexcept {}
    static reference get(const void *cell) noexcept
    {
        const stored *s = static_cast<const stored *>(cell);
        return { static_cast<const char *>(s->data), s->len };
    }
};

/* Chooses among these kinds of keys. Hash is void where the program names none. */
template <class K, class Hash, class Equal> constexpr auto choose_key()
{
    constexpr bool asked = !std::is_void<Hash>::value;
    using H = std::conditional_t<asked, Hash, std::hash<K>>;
    using E = std::conditional_t<std::is_void<Equal>::value, std::equal_to<K>, Equal>;
    static_assert(asked || std::is_void<Equal>::value, "an Equal needs a Hash");
    if constexpr (!asked && is_string<K>)
        return text_key<true>();
    else if constexpr (!asked && std::is_same<K, std::string_view>::value)
        return text_key<false>();
    else if constexpr (!asked && is_number<K> && !oak_map_traits_<K>::wide && alignof(K) <= 16)
        return plain_key<K>();
    else if constexpr (boxed<K>) {
        static_assert(asked || has_std_hash<K>, "the key needs a Hash, or std::hash");
        return boxed_key<K, H, E>();
    } else if constexpr (asked || has_std_hash<K>)
        return hashed_key<K, H, E>();
    else {
        static_assert(std::has_unique_object_representations<K>::value,
                      "a key with padding needs a Hash, or std::hash");
        return bytes_key<K>();
    }
}

/* ---- values ---- */

template <class V> struct direct_value {
    using stored = V;
    static constexpr bool owns = false;
    static constexpr bool scanned = oak_map_traits_<V>::scanned;
    static constexpr std::size_t size = sizeof(V);

    template <class... A> static stored own(A &&...args)
    {
        if constexpr (std::is_constructible<V, A...>::value)
            return V(std::forward<A>(args)...);
        else
            return V{ std::forward<A>(args)... };
    }
    static V *get(void *slot) noexcept { return static_cast<V *>(slot); }
    static void disown(const stored &) noexcept {}
};

template <class V> struct boxed_value {
    using stored = V *;
    static constexpr bool owns = true;
    static constexpr bool scanned = true;
    static constexpr std::size_t size = sizeof(stored);

    template <class... A> static stored own(A &&...args)
    {
        return make<V>(std::forward<A>(args)...);
    }
    static V *get(void *slot) noexcept { return slot ? *static_cast<stored *>(slot) : nullptr; }
    static void disown(stored v) noexcept { destroy(v); }
};

/* The value of a set's entry: none. */
struct no_value {
    struct stored {
    };
    static constexpr bool owns = false;
    static constexpr bool scanned = false;
    static constexpr std::size_t size = 0;

    static stored own() noexcept { return {}; }
    static void *get(void *slot) noexcept { return slot; }
    static void disown(stored) noexcept {}
};

template <class V>
using value_cell =
    std::conditional_t<std::is_void<V>::value, no_value,
                       std::conditional_t<boxed<std::conditional_t<std::is_void<V>::value, int, V>>,
                                          boxed_value<V>, direct_value<V>>>;

} // namespace detail
} // namespace oak

#endif

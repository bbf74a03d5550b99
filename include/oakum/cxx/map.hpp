/* map.hpp - oak::map and oak::set: the default map (map.h) with types, iterators and ranges.
 *
 * An oak::map refers to a map in the heap, as a pointer does. A copy refers to the same map, which
 * lives while anything refers to it. So it is passed by value, and held in objects of the heap. A
 * map in memory of the host's malloc needs an oak::root of its handle().
 *
 * Keys: numbers, enums and pointers are compared by value, const char * by its text. std::string
 * keys are copied into the map. std::string_view keys are not, so their text must stay as it is.
 * Both are looked up by std::string_view. Other types need std::hash or a Hash. A class without
 * either is compared by its bytes, if it has no padding. Hash and Equal have no state, and must not
 * throw: std::terminate is called.
 *
 * Values may be of any type, move-only ones included. Keys and values that are trivially copyable
 * are in the map. Others are objects of oak::make: erase and clear destroy them at once. Those of a
 * dead map are finalized some time later (for cycles, see make.hpp). Numbers are not scanned; see
 * OAK_MAP_DEFINE.
 *
 * Threads and stale pointers: as in map.h. Any number of threads may read a map at the same time. A
 * pointer or reference to a value in the map is valid until the next erase, clear, or insertion of
 * a new key. One to an object of oak::make is valid until its key is erased.
 *
 * Iteration: `for (auto [key, value] : map)`, where value refers to the map's. Entries may come and
 * go in the loop: an entry that is there all the time is given exactly once. In C++20 a map is a
 * std::ranges::forward_range; two passes are the same while the map isn't written. */
#ifndef OAKUM_CXX_MAP_HPP
#define OAKUM_CXX_MAP_HPP

#include <cerrno>
#include <initializer_list>
#include <iterator>
#include <oakum/cxx/cells.hpp>
#include <stdexcept>
#if __cplusplus >= 202002L && __has_include(<ranges>)
#include <ranges>
#endif

namespace oak
{
namespace detail
{

/* The entry that an iterator gives: a set's key, or a map's key and value. */
template <class Key, class V> struct entry_of {
    using type = std::pair<typename Key::reference, V &>;
    static type make(const oak_map_iter &it) noexcept
    {
        return { Key::get(it.key), *value_cell<std::remove_const_t<V>>::get(it.value) };
    }
};
template <class Key> struct entry_of<Key, void> {
    using type = typename Key::reference;
    static type make(const oak_map_iter &it) noexcept { return Key::get(it.key); }
};
template <class Key> struct entry_of<Key, const void> : entry_of<Key, void> {
};

/* A copy has its own list of keys, since the iterator writes to it. */
class position
{
    void copy_list()
    {
        if (!it.more) return;
        std::size_t bytes = oak_usable_size(it.more);
        void *list = oak_alloc_noscan(bytes);
        if (!list) out_of_memory();
        std::memcpy(list, it.more, bytes);
        it.more = static_cast<oak_map_unit_ *>(list);
    }

  public:
    oak_map_iter it;

    position() noexcept : it() {}
    explicit position(const oak_map *m) noexcept { oak_map_iter_init(&it, m); }
    position(const position &other) : it(other.it) { copy_list(); }
    position &operator=(const position &other)
    {
        it = other.it;
        copy_list();
        return *this;
    }
    ~position() = default;
};

/** An iterator of oak::map (Entry of key and value) and oak::set. */
template <class Key, class V> class map_iterator
{
    using entry = entry_of<Key, V>;

    position at_;

    struct arrow {
        typename entry::type e;
        auto *operator->() noexcept { return std::addressof(e); }
    };

  public:
    using value_type = std::remove_cv_t<std::remove_reference_t<typename entry::type>>;
    using reference = typename entry::type;
    using pointer = arrow;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
#if __cplusplus >= 202002L
    using iterator_concept = std::forward_iterator_tag;
#endif

    /** The end of any map. */
    map_iterator() noexcept = default;

    /** The first entry. */
    explicit map_iterator(const oak_map *m) : at_(m)
    {
        ++*this;
    }

    reference operator*() const noexcept
    {
        return entry::make(at_.it);
    }
    pointer operator->() const noexcept
    {
        return { **this };
    }

    map_iterator &operator++()
    {
        if (!oak_map_iter_next(&at_.it) && errno == ENOMEM) out_of_memory();
        return *this;
    }
    map_iterator operator++(int)
    {
        map_iterator before = *this;
        ++*this;
        return before;
    }

    friend bool operator==(const map_iterator &a, const map_iterator &b) noexcept
    {
        return a.at_.it.key == b.at_.it.key;
    }
    friend bool operator!=(const map_iterator &a, const map_iterator &b) noexcept
    {
        return a.at_.it.key != b.at_.it.key;
    }
};

/* The part that maps and sets share. V is void for a set. */
template <class K, class V, class Hash, class Equal> class table
{
    static_assert(!std::is_const<K>::value && !std::is_reference<K>::value &&
                      !std::is_const<V>::value && !std::is_reference<V>::value,
                  "keys and values are objects");

  protected:
    using key_cell = decltype(choose_key<K, Hash, Equal>());
    using cell = value_cell<V>;
    using stored_key = typename key_cell::stored;
    using stored_value = typename cell::stored;
    using lookup = typename key_cell::lookup;

    static constexpr std::size_t larger(std::size_t a, std::size_t b) { return a > b ? a : b; }
    static constexpr std::size_t up(std::size_t n, std::size_t to)
    {
        return (n + to - 1) / to * to;
    }
    template <class T> static constexpr std::size_t cell_size()
    {
        return sizeof(T) > OAK_MAP_INDIRECT_ ? sizeof(void *) : sizeof(T);
    }
    template <class T> static constexpr std::size_t cell_align(bool scanned)
    {
        if (sizeof(T) > OAK_MAP_INDIRECT_) return alignof(void *);
        return scanned ? larger(alignof(T), alignof(void *)) : alignof(T);
    }

    static constexpr std::size_t key_align = cell_align<stored_key>(key_cell::scanned);
    static constexpr std::size_t value_align =
        cell::size ? cell_align<stored_value>(cell::scanned) : 1;
    static constexpr std::size_t value_offset =
        cell::size ? up(cell_size<stored_key>(), value_align) : 0;
    static constexpr std::size_t entry_size =
        up(cell::size ? value_offset + cell_size<stored_value>() : cell_size<stored_key>(),
           larger(key_align, value_align));

    static unsigned split(const char *entries, unsigned used, std::uint64_t seed,
                          std::uint64_t mult, unsigned shift)
    {
        return oak_map_split_as_(&type, entry_size, entries, used, seed, mult, shift);
    }

    static constexpr oak_map_type type = {
        key_cell::kind,
        (key_cell::scanned ? unsigned(OAK_MAP_SCAN_KEY) : 0u) |
            (cell::scanned ? unsigned(OAK_MAP_SCAN_VALUE) : 0u),
        sizeof(stored_key),
        cell::size,
        key_cell::hash,
        key_cell::equal,
        value_offset,
        entry_size,
        cell::size ? "oak::map" : "oak::set",
        split,
    };

    oak_map *m_;

    explicit table(std::size_t hint) : m_(oak_map_new(&type, hint))
    {
        if (!m_) out_of_memory();
    }
    constexpr explicit table(std::nullptr_t) noexcept : m_(nullptr) {}

    void *slot(lookup key) const noexcept
    {
        const stored_key &k = key_cell::probe(key);
        return oak_map_get_as_(m_, &type, entry_size, value_offset, std::addressof(k));
    }

    static void *add_absent(oak_map *m, std::uint64_t hash, const void *key,
                            const oak_map_home_ *home, oak_map_fresh_ *fresh)
    {
        return oak_map_add_as_(m, &type, entry_size, value_offset, hash, key, home, fresh);
    }

    /* Returns the slot of a key, and whether it was absent: then it is added with the value. */
    std::pair<void *, bool> put(const stored_key &key, const stored_value &value)
    {
        oak_map_fresh_ fresh = { std::addressof(value), false };
        void *s = oak_map_put_as_(m_, &type, entry_size, value_offset, std::addressof(key),
                                  add_absent, &fresh);
        if (!s) out_of_memory();
        return { s, fresh.added };
    }

    /* A key and a value that no entry has taken yet. */
    struct pending {
        stored_key key;
        stored_value value;
        bool kept = false;
        ~pending()
        {
            if (kept) return;
            cell::disown(value);
            key_cell::disown(key);
        }
    };
    struct pending_value {
        stored_value value;
        bool kept = false;
        ~pending_value()
        {
            if (!kept) cell::disown(value);
        }
    };

    template <class... A> static constexpr bool is_simple()
    {
        if constexpr (key_cell::copies || cell::owns)
            return false;
        else if constexpr (std::is_void<V>::value)
            return true;
        else
            return std::is_trivially_constructible<V, A...>::value;
    }

    /* Constructs the value only if the key is absent, and before the map is written. So the
     * arguments may refer to other entries, and constructors may use the map. A value that they add
     * for the key stays; `late` gets the value that was constructed in vain. */
    template <class Q, class... A> std::pair<void *, bool> add(Q &&key, A &&...args)
    {
        return add_or([](void *, void *) {}, std::forward<Q>(key), std::forward<A>(args)...);
    }
    template <class Late, class Q, class... A>
    std::pair<void *, bool> add_or(Late late, Q &&key, A &&...args)
    {
        lookup k = key;
        if constexpr (is_simple<A...>()) {
            const stored_value v = cell::own(std::forward<A>(args)...);
            const stored_key &probe = key_cell::probe(k);
            return put(probe, v);
        } else {
            if (void *s = slot(k)) return { s, false };
            if (!m_) oak_map_misuse_(m_, OAK_MAP_NIL_);
            pending_value v{ cell::own(std::forward<A>(args)...) };
            pending p{ key_cell::own(k, std::forward<Q>(key)), std::move(v.value) };
            v.kept = true;
            auto put = this->put(p.key, p.value);
            p.kept = put.second;
            if (!put.second) late(put.first, std::addressof(p.value));
            return put;
        }
    }

    /* Finds a key of an entry by its bytes, even one that doesn't equal itself. */
    static constexpr oak_map_type by_bytes = { OAK_KEY_BYTES, 0, sizeof(stored_key), cell::size,
                                               nullptr, nullptr, value_offset, entry_size,
                                               nullptr, nullptr };

    bool remove(const stored_key &key, const oak_map_type &how = type) noexcept
    {
        if constexpr (!key_cell::owns && !cell::owns) {
            return oak_map_delete_as_(m_, &type, entry_size, std::addressof(key));
        } else {
            char *tag;
            if (!m_) return false;
            if (m_->busy) oak_map_misuse_(m_, OAK_MAP_WRITE_);
            const std::uint64_t hash = oak_map_hash_of_(m_, &type, std::addressof(key));
            const oak_map_array_ *a = &m_->array[oak_map_position_(hash) > m_->last];
            char *e = oak_map_find_in_(m_, a, &how, entry_size, hash, std::addressof(key), &tag);
            if (!e) return false;
            void *k = nullptr, *v = nullptr; /* the entry's own objects */
            if constexpr (key_cell::owns) std::memcpy(&k, e, sizeof k);
            if constexpr (cell::owns) std::memcpy(&v, e + value_offset, sizeof v);
            m_->busy = 1;
            oak_map_remove_(m_, hash, tag);
            destroy(v);
            destroy(k);
            return true;
        }
    }

  public:
    using key_type = K;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;

    /** The number of entries. */
    std::size_t size() const noexcept { return m_ ? m_->len : 0; }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /** Whether the key is there. */
    bool contains(lookup key) const noexcept { return slot(key) != nullptr; }
    std::size_t count(lookup key) const noexcept { return slot(key) != nullptr; }

    /** Erases the key; returns the number of entries erased, 0 or 1. */
    std::size_t erase(lookup key) noexcept
    {
        const stored_key &k = key_cell::probe(key);
        return remove(k);
    }

    /** Erases all entries. */
    void clear() noexcept
    {
        if constexpr (key_cell::owns || cell::owns)
            for (position p(m_); oak_map_iter_next(&p.it);)
                remove(*static_cast<const stored_key *>(p.it.key), by_bytes);
        oak_map_clear(m_);
    }

    /** The map in C; NULL for nil. Its type is private: entries are read and written here. */
    oak_map *handle() const noexcept { return m_; }
};

} // namespace detail

/** A map from K to V. Constructors and insertions throw std::bad_alloc; the map is then as it was.
 * Inserting into a nil map is fatal, as is a write concurrent with any other call. */
template <class K, class V, class Hash = void, class Equal = void>
class map : public detail::table<K, V, Hash, Equal>
{
    using base = detail::table<K, V, Hash, Equal>;
    using typename base::cell;
    using typename base::key_cell;
    using typename base::lookup;

    explicit map(std::nullptr_t, int) noexcept : base(nullptr) {}
    explicit map(std::size_t hint, int) : base(hint) {}

  public:
    using mapped_type = V;
    using iterator = detail::map_iterator<key_cell, V>;
    using const_iterator = detail::map_iterator<key_cell, const V>;
    using value_type = typename iterator::value_type;
    using reference = typename iterator::reference;

    /** Makes an empty map. */
    map() : base(std::size_t(0)) {}

    /** Makes a map of pairs. The first of equal keys counts. */
    map(std::initializer_list<std::pair<K, V>> pairs) : map(pairs.begin(), pairs.end()) {}
    template <class It, class = typename std::iterator_traits<It>::iterator_category>
    map(It first, It last) : map()
    {
        for (; first != last; ++first) {
            auto &&pair = *first;
            try_emplace(pair.first, pair.second);
        }
    }

    /** Makes an empty map with room for so many entries. */
    static map with_room_for(std::size_t entries) { return map(entries, 0); }

    /** No map: it reads as empty. */
    static map nil() noexcept { return map(nullptr, 0); }

    iterator begin() { return iterator(this->m_); }
    iterator end() noexcept { return iterator(); }
    const_iterator begin() const { return const_iterator(this->m_); }
    const_iterator end() const noexcept { return const_iterator(); }
    const_iterator cbegin() const { return begin(); }
    const_iterator cend() const noexcept { return end(); }

    /** The key's value, or NULL. */
    V *get(lookup key) noexcept { return cell::get(this->slot(key)); }
    const V *get(lookup key) const noexcept { return cell::get(this->slot(key)); }

    /** The key's value. Throws std::out_of_range if it is absent. */
    V &at(lookup key)
    {
        V *v = get(key);
        if (!v) absent();
        return *v;
    }
    const V &at(lookup key) const
    {
        const V *v = get(key);
        if (!v) absent();
        return *v;
    }

    /** The key's value, which is V() if the key is new. */
    template <class Q = K> V &operator[](Q &&key)
    {
        return *cell::get(this->add(std::forward<Q>(key)).first);
    }

    /** The key's value, and whether it is new: then it is V(args...), or V{args...} for an
     * aggregate. Nothing is moved from unless the key is new. */
    template <class Q = K, class... A> std::pair<V *, bool> try_emplace(Q &&key, A &&...args)
    {
        auto added = this->add(std::forward<Q>(key), std::forward<A>(args)...);
        return { cell::get(added.first), added.second };
    }

    /** As try_emplace, with one value. */
    template <class Q = K, class U = V> std::pair<V *, bool> insert(Q &&key, U &&value)
    {
        return try_emplace(std::forward<Q>(key), std::forward<U>(value));
    }

    /** Stores the value, whether or not the key is new. Returns it, and whether the key is new. */
    template <class Q = K, class U = V> std::pair<V *, bool> insert_or_assign(Q &&key, U &&value)
    {
        bool moved = false;
        auto assign = [&](void *slot, void *late) {
            if constexpr (std::is_move_assignable<V>::value) {
                *cell::get(slot) = std::move(*cell::get(late));
                moved = true;
            } else {
                (void)slot, (void)late;
            }
        };
        auto added = this->add_or(assign, std::forward<Q>(key), std::forward<U>(value));
        V *v = cell::get(added.first);
        if (!added.second && !moved) *v = std::forward<U>(value);
        return { v, added.second };
    }

  private:
    [[noreturn]] static void absent()
    {
#ifdef __cpp_exceptions
        throw std::out_of_range("oak::map::at");
#else
        oak_fatal("oakum: oak::map::at: the key is absent");
#endif
    }
};

/** A set of K. As oak::map without values; an iterator gives the keys. */
template <class K, class Hash = void, class Equal = void>
class set : public detail::table<K, void, Hash, Equal>
{
    using base = detail::table<K, void, Hash, Equal>;
    using typename base::key_cell;

    explicit set(std::nullptr_t, int) noexcept : base(nullptr) {}
    explicit set(std::size_t hint, int) : base(hint) {}

  public:
    using iterator = detail::map_iterator<key_cell, const void>;
    using const_iterator = iterator;
    using value_type = typename iterator::value_type;
    using reference = typename iterator::reference;

    /** Makes an empty set. */
    set() : base(std::size_t(0)) {}

    /** Makes a set of keys. */
    set(std::initializer_list<K> keys) : set(keys.begin(), keys.end()) {}
    template <class It, class = typename std::iterator_traits<It>::iterator_category>
    set(It first, It last) : set()
    {
        for (; first != last; ++first) insert(*first);
    }

    /** Makes an empty set with room for so many keys. */
    static set with_room_for(std::size_t keys) { return set(keys, 0); }

    /** No set: it reads as empty. */
    static set nil() noexcept { return set(nullptr, 0); }

    iterator begin() const { return iterator(this->m_); }
    iterator end() const noexcept { return iterator(); }
    iterator cbegin() const { return begin(); }
    iterator cend() const noexcept { return end(); }

    /** Inserts the key; returns whether it is new. */
    template <class Q = K> bool insert(Q &&key) { return this->add(std::forward<Q>(key)).second; }
};

} // namespace oak

/* An iterator refers to the map in the heap, not to the oak::map. */
#ifdef __cpp_lib_ranges
template <class K, class V, class H, class E>
inline constexpr bool std::ranges::enable_borrowed_range<oak::map<K, V, H, E>> = true;
template <class K, class H, class E>
inline constexpr bool std::ranges::enable_borrowed_range<oak::set<K, H, E>> = true;
#endif

#endif

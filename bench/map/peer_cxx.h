/* peer_cxx.h - three maps of C++ as the benchmarks see a map: absl::flat_hash_map (-DABSL),
 * boost::unordered_flat_map (-DBOOST), std::unordered_map; peer_oakum.h says what that is.
 *
 * Hashes are each library's own. Strings are std::string, looked up by a view so that a lookup
 * makes no string; boost and std ask for a hash that says it can do that. */
#ifndef BENCH_MAP_PEER_H
#define BENCH_MAP_PEER_H

#if defined(ABSL)
#include <absl/container/flat_hash_map.h>
#elif defined(BOOST)
#include <boost/container_hash/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#else
#include <unordered_map>
#endif
#include <string>
#include <string_view>

#include "keys.h"

#ifdef STRINGS
typedef std::string stored_key;

#if defined(ABSL)
typedef absl::flat_hash_map<stored_key, uint64_t> map;
typedef absl::string_view view;
#else
typedef std::string_view view;
struct view_hash {
    typedef void is_transparent;
#if defined(BOOST)
    typedef void is_avalanching; /* as boost::hash says of its own of strings */
    size_t operator()(view v) const
    {
        return boost::hash<view>()(v);
    }
#else
    size_t operator()(view v) const
    {
        return std::hash<view>()(v);
    }
#endif
};
#if defined(BOOST)
typedef boost::unordered_flat_map<stored_key, uint64_t, view_hash, std::equal_to<>> map;
#else
typedef std::unordered_map<stored_key, uint64_t, view_hash, std::equal_to<>> map;
#endif
#endif

static inline view seen(key_text k)
{
    return view(k.data, k.len);
}

static inline stored_key owned(key_text k)
{
    return stored_key(k.data, k.len);
}

#else

typedef uint64_t stored_key;
#define seen(k) (k)
#define owned(k) (k)
#if defined(ABSL)
typedef absl::flat_hash_map<stored_key, uint64_t> map;
#elif defined(BOOST)
typedef boost::unordered_flat_map<stored_key, uint64_t> map;
#else
typedef std::unordered_map<stored_key, uint64_t> map;
#endif

#endif

static inline map *peer_new(void)
{
    return new map;
}

static inline void peer_drop(map *m)
{
    delete m;
}

static inline void peer_set(map *m, map_key k, uint64_t value)
{
    (*m)[owned(k)] = value;
}

static inline uint64_t peer_get(const map *m, map_key k)
{
    auto it = m->find(seen(k));
    return it == m->end() ? 0 : it->second;
}

static inline bool peer_delete(map *m, map_key k)
{
    auto it = m->find(seen(k));
    if (it == m->end()) return false;
    m->erase(it);
    return true;
}

static inline uint64_t peer_sum(map *m)
{
    uint64_t sum = 0;
    for (const auto &e : *m) {
#ifndef STRINGS
        sum += e.first;
#endif
        sum += e.second;
    }
    return sum;
}

static inline size_t peer_len(const map *m)
{
    return m->size();
}

static inline bool peer_resizing(const map *m)
{
    (void)m;
    return false;
}

#endif

/* peer_cxx.h - maps of C++ as the benchmarks see a map, by -DABSL and the like, or
 * std::unordered_map; peer_oakum.h says what that is. Those of course.c alone are without strings.
 *
 * Hashes are each library's own, without -DSAME_HASH. Strings are std::string, looked up by a view
 * so that a lookup makes no string; boost and std ask for a hash that says it can do that. */
#ifndef BENCH_MAP_PEER_H
#define BENCH_MAP_PEER_H

#include <string>
#include <string_view>

#include "keys.h"

#if defined(ABSL)
#include <absl/container/flat_hash_map.h>
#define TABLE absl::flat_hash_map
#elif defined(BOOST)
#include <boost/container_hash/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#define TABLE boost::unordered_flat_map
#elif defined(ANKERL)
#include <ankerl/unordered_dense.h>
#define TABLE ankerl::unordered_dense::map
#elif defined(ROBIN)
#include <tsl/robin_map.h>
#define TABLE tsl::robin_map
#elif defined(HOPSCOTCH)
#include <tsl/hopscotch_map.h>
#define TABLE tsl::hopscotch_map
#elif defined(SKA)
#include <flat_hash_map.hpp>
#define TABLE ska::flat_hash_map
#else
#include <unordered_map>
#define TABLE std::unordered_map
#endif

#ifdef STRINGS
typedef std::string stored_key;

#if defined(ABSL)
typedef TABLE<stored_key, uint64_t> map;
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
typedef TABLE<stored_key, uint64_t, view_hash, std::equal_to<>> map;
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

#define seen(k) (k)
#define owned(k) (k)
#ifdef SAME_HASH
struct same_hash {
    typedef void is_avalanching; /* so boost and ankerl don't mix it once more */
    uint64_t operator()(map_key k) const { return key_hash(k); }
};
struct same_equal {
    bool operator()(map_key a, map_key b) const { return key_equal(a, b); }
};
typedef TABLE<map_key, map_value, same_hash, same_equal> map;
#else
typedef TABLE<map_key, map_value> map;
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
    (*m)[owned(k)] = value_of(value);
}

static inline uint64_t peer_get(const map *m, map_key k)
{
    auto it = m->find(seen(k));
    return it == m->end() ? 0 : value_number(&it->second);
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
    for (const auto &e : *m) sum += KEY_SUM(e.first) + value_number(&e.second);
    return sum;
}

static inline size_t peer_len(const map *m)
{
    return m->size();
}

static inline double peer_load(const map *m)
{
    return (double)m->load_factor();
}

static inline bool peer_resizing(const map *m)
{
    (void)m;
    return false;
}

#endif

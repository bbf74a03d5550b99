/* peer_oakum.h - Oakum's default map, typed and compiled in, as the benchmarks see a map.
 *
 * Every peer_*.h defines the same: a type `map`; peer_new, peer_drop; peer_set, which stores a
 * value that is not 0 under a key and owns a copy of the key's text from then on; peer_get, the
 * value or 0; peer_delete, whether the key was there; peer_sum over all entries; peer_len;
 * peer_resizing, whether a resize is under way, which peers that resize at one go never show.
 * course.c also calls peer_load, entries a slot; a peer of it alone needs no peer_resizing. */
#ifndef BENCH_MAP_PEER_H
#define BENCH_MAP_PEER_H

#include <oakum/map.h>
#include <oakum/oakum.h>

#include "keys.h"

#ifdef STRINGS
OAK_MAP_DEFINE(map, oak_slice, uint64_t);

static inline oak_slice seen(key_text k)
{
    oak_slice s = { k.data, k.len };
    return s;
}

static inline oak_slice owned(key_text k)
{
    char *copy = (char *)oak_alloc_noscan(k.len);
    if (!copy) keys_die("out of memory");
    memcpy(copy, k.data, k.len);
    oak_slice s = { copy, k.len };
    return s;
}
#else
#ifdef SAME_HASH
static inline uint64_t hash_of(const map_key *k, uint64_t seed)
{
    return key_hash_with(*k, seed);
}

static inline bool are_equal(const map_key *a, const map_key *b)
{
    return key_equal(*a, *b);
}

OAK_MAP_DEFINE_AVALANCHING(map, map_key, map_value, hash_of, are_equal);
#else
OAK_MAP_DEFINE(map, map_key, map_value);
#endif
#define seen(k) (k)
#define owned(k) (k)
#endif

static inline map *peer_new(void)
{
    map *m = map_new(0);
    if (!m) keys_die("out of memory");
    return m;
}

static inline void peer_drop(map *m)
{
    (void)m;
}

static inline void peer_set(map *m, map_key k, uint64_t value)
{
    map_value *v = map_put(m, owned(k));
    if (!v) keys_die("out of memory");
    *v = value_of(value);
}

static inline uint64_t peer_get(const map *m, map_key k)
{
    const map_value *v = map_get(m, seen(k));
    return v ? value_number(v) : 0;
}

static inline bool peer_delete(map *m, map_key k)
{
    return map_delete(m, seen(k));
}

static inline uint64_t peer_sum(map *m)
{
    uint64_t sum = 0;
    map_iter it;
    map_iter_init(&it, m);
    while (map_iter_next(&it)) sum += KEY_SUM(*it.key) + value_number(it.value);
    return sum;
}

static inline size_t peer_len(const map *m)
{
    return map_len(m);
}

static inline double peer_load(const map *m)
{
    oak_map_stats s;
    oak_map_stats_read(map_map(m), &s);
    return s.load;
}

static inline bool peer_resizing(const map *m)
{
    return map_map(m)->resizing;
}

#endif

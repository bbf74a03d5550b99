/* peer_khash.h - klib's khash, from htslib, as the benchmarks see a map; peer_oakum.h says what
 * that is. Its own hashes, without -DSAME_HASH; text is copied with malloc and freed when its key
 * is deleted. */
#ifndef BENCH_MAP_PEER_H
#define BENCH_MAP_PEER_H

#include <htslib/khash.h>

#include "keys.h"

#ifdef STRINGS
KHASH_MAP_INIT_STR(entries, uint64_t)

static inline const char *owned(key_text k)
{
    char *copy = (char *)malloc(k.len + 1);
    if (!copy) keys_die("out of memory");
    return (const char *)memcpy(copy, k.data, k.len + 1);
}
#define seen(k) ((k).data)
#define disown(text) free((char *)(uintptr_t)(text))
#else
#ifdef SAME_HASH
#define same_hash(k) ((khint_t)key_hash(k))
KHASH_INIT(entries, map_key, map_value, 1, same_hash, key_equal)
#else
KHASH_MAP_INIT_INT64(entries, uint64_t)
#endif
#define seen(k) (k)
#define owned(k) (k)
#define disown(k) ((void)(k))
#endif

typedef khash_t(entries) map;

static inline map *peer_new(void)
{
    map *m = kh_init(entries);
    if (!m) keys_die("out of memory");
    return m;
}

static inline void peer_drop(map *m)
{
    for (khint_t i = kh_begin(m); i != kh_end(m); i++) {
        if (kh_exist(m, i)) disown(kh_key(m, i));
    }
    kh_destroy(entries, m);
}

static inline void peer_set(map *m, map_key k, uint64_t value)
{
    int how;
    khint_t i = kh_put(entries, m, owned(k), &how);
    if (how < 0) keys_die("out of memory");
    kh_value(m, i) = value_of(value);
}

static inline uint64_t peer_get(const map *m, map_key k)
{
    khint_t i = kh_get(entries, m, seen(k));
    return i == kh_end(m) ? 0 : value_number(&kh_value(m, i));
}

static inline bool peer_delete(map *m, map_key k)
{
    khint_t i = kh_get(entries, m, seen(k));
    if (i == kh_end(m)) return false;
    disown(kh_key(m, i));
    kh_del(entries, m, i);
    return true;
}

static inline uint64_t peer_sum(map *m)
{
    uint64_t sum = 0;
    for (khint_t i = kh_begin(m); i != kh_end(m); i++) {
        if (kh_exist(m, i)) sum += KEY_SUM(kh_key(m, i)) + value_number(&kh_value(m, i));
    }
    return sum;
}

static inline size_t peer_len(const map *m)
{
    return kh_size(m);
}

static inline double peer_load(const map *m)
{
    return (double)kh_size(m) / kh_n_buckets(m);
}

static inline bool peer_resizing(const map *m)
{
    (void)m;
    return false;
}

#endif

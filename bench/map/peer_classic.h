/* peer_classic.h - Oakum's classic map, which is Go's, as the benchmarks see a map; peer_oakum.h
 * says what that is. Called through its functions, as it has no typed form. */
#ifndef BENCH_MAP_PEER_H
#define BENCH_MAP_PEER_H

#include <oakum/oakum.h>

#include "keys.h"

typedef oak_classic_map map;

#ifdef STRINGS
#define TYPE oak_classic_string_int
typedef oak_classic_string stored_key;

static inline stored_key seen(key_text k)
{
    stored_key s = { k.data, k.len };
    return s;
}

static inline stored_key owned(key_text k)
{
    char *copy = (char *)oak_alloc_noscan(k.len);
    if (!copy) keys_die("out of memory");
    memcpy(copy, k.data, k.len);
    stored_key s = { copy, k.len };
    return s;
}
#else
#define TYPE oak_classic_int_int
typedef uint64_t stored_key;
#define seen(k) (k)
#define owned(k) (k)
#endif

static inline map *peer_new(void)
{
    map *m = oak_classic_new(&TYPE, 0);
    if (!m) keys_die("out of memory");
    return m;
}

static inline void peer_drop(map *m)
{
    (void)m;
}

static inline void peer_set(map *m, map_key k, uint64_t value)
{
    stored_key s = owned(k);
    uint64_t *v = (uint64_t *)oak_classic_put(m, &s);
    if (!v) keys_die("out of memory");
    *v = value;
}

static inline uint64_t peer_get(const map *m, map_key k)
{
    stored_key s = seen(k);
    const uint64_t *v = (const uint64_t *)oak_classic_get(m, &s);
    return v ? *v : 0;
}

static inline bool peer_delete(map *m, map_key k)
{
    stored_key s = seen(k);
    return oak_classic_delete(m, &s);
}

static inline uint64_t peer_sum(map *m)
{
    uint64_t sum = 0;
    oak_classic_iter it;
    oak_classic_iter_init(&it, m);
    while (oak_classic_iter_next(&it))
        sum += KEY_SUM(*(const uint64_t *)it.key) + *(const uint64_t *)it.value;
    return sum;
}

static inline size_t peer_len(const map *m)
{
    return oak_classic_len(m);
}

static inline bool peer_resizing(const map *m)
{
    oak_classic_stats s;
    oak_classic_stats_read(m, &s);
    return s.growing;
}

#endif

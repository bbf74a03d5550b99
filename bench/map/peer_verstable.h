/* peer_verstable.h - Verstable, of C, as course.c sees a map; peer_oakum.h says what that is. */
#ifndef BENCH_MAP_PEER_H
#define BENCH_MAP_PEER_H

#include "keys.h"

#define NAME map
#define KEY_TY map_key
#define VAL_TY map_value
#define HASH_FN key_hash
#define CMPR_FN key_equal
#include <verstable.h>

static inline map *peer_new(void)
{
    map *m = (map *)malloc(sizeof *m);
    if (!m) keys_die("out of memory");
    map_init(m);
    return m;
}

static inline void peer_drop(map *m)
{
    map_cleanup(m);
    free(m);
}

static inline void peer_set(map *m, map_key k, uint64_t value)
{
    if (map_is_end(map_insert(m, k, value_of(value)))) keys_die("out of memory");
}

static inline uint64_t peer_get(map *m, map_key k)
{
    map_itr it = map_get(m, k);
    return map_is_end(it) ? 0 : value_number(&it.data->val);
}

static inline bool peer_delete(map *m, map_key k)
{
    return map_erase(m, k);
}

static inline uint64_t peer_sum(map *m)
{
    uint64_t sum = 0;
    for (map_itr it = map_first(m); !map_is_end(it); it = map_next(it))
        sum += KEY_SUM(it.data->key) + value_number(&it.data->val);
    return sum;
}

static inline size_t peer_len(map *m)
{
    return map_size(m);
}

static inline double peer_load(map *m)
{
    return (double)map_size(m) / (double)map_bucket_count(m);
}

#endif

/* peer_glib.h - GLib's GHashTable as the benchmarks see a map; peer_oakum.h says what that is.
 *
 * Integers are its pointers, hashed as it hashes those; text is copied with g_malloc and freed by
 * the table. For a processor with 64-bit pointers. */
#ifndef BENCH_MAP_PEER_H
#define BENCH_MAP_PEER_H

#include <glib.h>

#include "keys.h"

typedef GHashTable map;

#ifdef STRINGS
#define seen(k) ((k).data)

static inline gpointer owned(key_text k)
{
    return memcpy(g_malloc(k.len + 1), k.data, k.len + 1);
}
#else
#define seen(k) ((gpointer)(uintptr_t)(k))
#define owned(k) seen(k)
#endif

static inline map *peer_new(void)
{
#ifdef STRINGS
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
#else
    return g_hash_table_new(NULL, NULL);
#endif
}

static inline void peer_drop(map *m)
{
    g_hash_table_destroy(m);
}

static inline void peer_set(map *m, map_key k, uint64_t value)
{
    g_hash_table_insert(m, owned(k), (gpointer)(uintptr_t)value);
}

static inline uint64_t peer_get(map *m, map_key k)
{
    return (uintptr_t)g_hash_table_lookup(m, seen(k));
}

static inline bool peer_delete(map *m, map_key k)
{
    return g_hash_table_remove(m, seen(k));
}

static inline uint64_t peer_sum(map *m)
{
    uint64_t sum = 0;
    gpointer key, value;
    GHashTableIter it;
    g_hash_table_iter_init(&it, m);
    while (g_hash_table_iter_next(&it, &key, &value))
        sum += KEY_SUM((uintptr_t)key) + (uintptr_t)value;
    return sum;
}

static inline size_t peer_len(map *m)
{
    return g_hash_table_size(m);
}

static inline bool peer_resizing(map *m)
{
    (void)m;
    return false;
}

#endif

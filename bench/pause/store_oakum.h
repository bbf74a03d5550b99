/* store_oakum.h - Oakum's default map, typed and compiled in, as map.c sees a map.
 *
 * This and store_linear.h define the same: a type `store`; store_make; store_add, for a key that is
 * not there; store_take, which removes a key and returns its item (NULL here: a collector need not
 * be told what dies); store_find; store_size. */
#ifndef BENCH_PAUSE_STORE_H
#define BENCH_PAUSE_STORE_H

OAK_MAP_DEFINE(store, uint64_t, item *);

static inline store *store_make(void)
{
    store *s = store_new(0);
    if (!s) mem_out();
    return s;
}

static inline void store_add(store *s, uint64_t key, item *value)
{
    item **slot = store_put(s, key);
    if (!slot) mem_out();
    *slot = value;
}

static inline item *store_take(store *s, uint64_t key)
{
    store_delete(s, key);
    return NULL;
}

static inline item *store_find(const store *s, uint64_t key)
{
    item **slot = store_get(s, key);
    return slot ? *slot : NULL;
}

static inline uint64_t store_size(const store *s)
{
    return store_len(s);
}

#endif

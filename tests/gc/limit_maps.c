/* limit_maps.c - structures and references of each kind (limit_maps.h). They keep nothing in the
 * heap. */
#include "limit_maps.h"

#include <check.h>
#include <oakum/cache.h>
#include <oakum/classic.h>
#include <oakum/gc.h>
#include <oakum/heap.h>
#include <oakum/pool.h>
#include <oakum/shardmap.h>
#include <oakum/syncmap.h>
#include <oakum/weakmap.h>
#include <string.h>

static int value; /* outside of the heap */

/* Of LIMIT_MAP_KINDS. */
enum { MAP, CLASSIC, CACHE, SYNC, SHARD, WEAKKEY, WEAKVALUE, POOL };

static const struct {
    const char *call;
    bool objects; /* its entries are */
} kinds[LIMIT_MAP_KINDS] = {
    [MAP] = { "oak_map_put", false },           [CLASSIC] = { "oak_classic_put", false },
    [CACHE] = { "oak_cache_put", false },       [SYNC] = { "oak_syncmap_store", true },
    [SHARD] = { "oak_shardmap_put", false },    [WEAKKEY] = { "oak_weakkey_put", true },
    [WEAKVALUE] = { "oak_weakvalue_put", true }, [POOL] = { "oak_pool_get", false },
};

static void *make(void *ctx)
{
    (void)ctx;
    return oak_alloc(64);
}

void *limit_map_new(size_t kind)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr, .max_entries = LIMIT_MAP_KEYS / 2 };
    switch (kind) {
    case MAP: return oak_map_new(&oak_map_u64_u64, 0);
    case CLASSIC: return oak_classic_new(&oak_classic_int_int, 0);
    case CACHE: return oak_cache_new(&c);
    case SYNC: return oak_syncmap_new(&oak_map_u64_ptr);
    case SHARD: return oak_shardmap_new(&oak_map_u64_u64, 4, 0);
    case WEAKKEY: return oak_weakkey_new(0, 0);
    case WEAKVALUE: return oak_weakvalue_new(&oak_map_u64_ptr, OAK_WEAK_LOCKED, 0);
    default: return oak_pool_new(make, NULL, NULL);
    }
}

size_t limit_map_keys(size_t kind, size_t threads)
{
    return kinds[kind].objects ? LIMIT_MAP_OBJECTS / threads : LIMIT_MAP_KEYS;
}

/* Takes one or two, and hands them in. */
static bool use_pool(oak_pool *p, bool both)
{
    void *a = oak_pool_get(p), *b = both ? oak_pool_get(p) : NULL;
    bool whole = a && (b || !both);
    oak_pool_put(p, a);
    oak_pool_put(p, b);
    return whole;
}

static bool add(size_t kind, void *m, uint64_t key, void *object)
{
    switch (kind) {
    case MAP: return oak_map_put(m, &key) != NULL;
    case CLASSIC: return oak_classic_put(m, &key) != NULL;
    case CACHE: return oak_cache_put(m, &key, &value) == 0;
    case SYNC: return oak_syncmap_store(m, &key, &value) == 0;
    case SHARD: return oak_shardmap_put(m, &key, NULL) == 0;
    case WEAKKEY: return oak_weakkey_put(m, object, &value) == 0;
    case WEAKVALUE: return oak_weakvalue_put(m, &key, object) == 0;
    default: return use_pool(m, key % 2);
    }
}

static void delete(size_t kind, void *m, uint64_t key, void *object)
{
    switch (kind) {
    case MAP: (void)oak_map_delete(m, &key); break;
    case CLASSIC: (void)oak_classic_delete(m, &key); break;
    case CACHE: (void)oak_cache_delete(m, &key); break;
    case SYNC: (void)oak_syncmap_delete(m, &key); break;
    case SHARD: (void)oak_shardmap_delete(m, &key); break;
    case WEAKKEY: (void)oak_weakkey_delete(m, object); break;
    case WEAKVALUE: (void)oak_weakvalue_delete(m, &key); break;
    default: (void)oak_pool_get(m);
    }
}

const char *limit_map_step(size_t kind, void *map, uint64_t key, bool adds, void *object)
{
    if (adds) return add(kind, map, key, object) ? NULL : kinds[kind].call;
    delete(kind, map, key, object);
    return NULL;
}

/* ---- references ---- */

static bool refer_weakly(void *obj)
{
    return oak_weak_new(obj) != NULL;
}

static bool refer_by_key(void *obj)
{
    return oak_ephemeron_new(obj, obj) != NULL;
}

static void finalize(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

static bool set_finalizer(void *obj)
{
    return oak_finalizer_set(obj, finalize, NULL) == 0;
}

static void clean_up(void *ctx)
{
    (void)ctx;
}

static bool add_cleanup(void *obj)
{
    return oak_cleanup_add(obj, clean_up, NULL) == 0;
}

const char *limit_refer(size_t kind, void *obj)
{
    static const struct {
        const char *call;
        bool (*make)(void *obj);
    } references[LIMIT_REFERENCES] = {
        { "oak_weak_new", refer_weakly },
        { "oak_ephemeron_new", refer_by_key },
        { "oak_finalizer_set", set_finalizer },
        { "oak_cleanup_add", add_cleanup },
    };
    return references[kind].make(obj) ? NULL : references[kind].call;
}

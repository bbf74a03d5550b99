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

static void *new_map(void)
{
    return oak_map_new(&oak_map_u64_u64, 0);
}

static bool put_map(void *m, uint64_t key, void *object)
{
    (void)object;
    return oak_map_put(m, &key) != NULL;
}

static void delete_map(void *m, uint64_t key, void *object)
{
    (void)object;
    (void)oak_map_delete(m, &key);
}

static void *new_classic(void)
{
    return oak_classic_new(&oak_classic_int_int, 0);
}

static bool put_classic(void *m, uint64_t key, void *object)
{
    (void)object;
    return oak_classic_put(m, &key) != NULL;
}

static void delete_classic(void *m, uint64_t key, void *object)
{
    (void)object;
    (void)oak_classic_delete(m, &key);
}

static void *new_cache(void)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr, .max_entries = LIMIT_MAP_KEYS / 2 };
    return oak_cache_new(&c);
}

static bool put_cache(void *m, uint64_t key, void *object)
{
    (void)object;
    return oak_cache_put(m, &key, &value) == 0;
}

static void delete_cache(void *m, uint64_t key, void *object)
{
    (void)object;
    (void)oak_cache_delete(m, &key);
}

static void *new_sync(void)
{
    return oak_syncmap_new(&oak_map_u64_ptr);
}

static bool put_sync(void *m, uint64_t key, void *object)
{
    (void)object;
    return oak_syncmap_store(m, &key, &value) == 0;
}

static void delete_sync(void *m, uint64_t key, void *object)
{
    (void)object;
    (void)oak_syncmap_delete(m, &key);
}

static void *new_shard(void)
{
    return oak_shardmap_new(&oak_map_u64_u64, 4, 0);
}

static bool put_shard(void *m, uint64_t key, void *object)
{
    (void)object;
    return oak_shardmap_put(m, &key, NULL) == 0;
}

static void delete_shard(void *m, uint64_t key, void *object)
{
    (void)object;
    (void)oak_shardmap_delete(m, &key);
}

static void *new_weakkey(void)
{
    return oak_weakkey_new(0, 0);
}

static bool put_weakkey(void *m, uint64_t key, void *object)
{
    (void)key;
    return oak_weakkey_put(m, object, &value) == 0;
}

static void delete_weakkey(void *m, uint64_t key, void *object)
{
    (void)key;
    (void)oak_weakkey_delete(m, object);
}

static void *new_weakvalue(void)
{
    return oak_weakvalue_new(&oak_map_u64_ptr, OAK_WEAK_LOCKED, 0);
}

static bool put_weakvalue(void *m, uint64_t key, void *object)
{
    return oak_weakvalue_put(m, &key, object) == 0;
}

static void delete_weakvalue(void *m, uint64_t key, void *object)
{
    (void)object;
    (void)oak_weakvalue_delete(m, &key);
}

static void *make(void *ctx)
{
    (void)ctx;
    return oak_alloc(64);
}

static void *new_pool(void)
{
    return oak_pool_new(make, NULL, NULL);
}

/* Takes one or two, and hands them in. */
static bool use_pool(void *m, uint64_t key, void *object)
{
    void *a = oak_pool_get(m), *b = key % 2 ? oak_pool_get(m) : NULL;
    (void)object;
    bool whole = a && (b || key % 2 == 0);
    oak_pool_put(m, a);
    oak_pool_put(m, b);
    return whole;
}

static void take_from_pool(void *m, uint64_t key, void *object)
{
    (void)key, (void)object;
    (void)oak_pool_get(m);
}

static const struct {
    bool objects; /* its entries are */
    const char *call;
    void *(*make)(void);
    bool (*add)(void *map, uint64_t key, void *object);
    void (*delete)(void *map, uint64_t key, void *object);
} kinds[LIMIT_MAP_KINDS] = {
    { false, "oak_map_put", new_map, put_map, delete_map },
    { false, "oak_classic_put", new_classic, put_classic, delete_classic },
    { false, "oak_cache_put", new_cache, put_cache, delete_cache },
    { true, "oak_syncmap_store", new_sync, put_sync, delete_sync },
    { false, "oak_shardmap_put", new_shard, put_shard, delete_shard },
    { true, "oak_weakkey_put", new_weakkey, put_weakkey, delete_weakkey },
    { true, "oak_weakvalue_put", new_weakvalue, put_weakvalue, delete_weakvalue },
    { false, "oak_pool_get", new_pool, use_pool, take_from_pool },
};

void *limit_map_new(size_t kind)
{
    return kinds[kind].make();
}

size_t limit_map_keys(size_t kind, size_t threads)
{
    return kinds[kind].objects ? LIMIT_MAP_OBJECTS / threads : LIMIT_MAP_KEYS;
}

const char *limit_map_step(size_t kind, void *map, uint64_t key, bool adds, void *object)
{
    if (adds) return kinds[kind].add(map, key, object) ? NULL : kinds[kind].call;
    kinds[kind].delete(map, key, object);
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

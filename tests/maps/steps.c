/* steps.c - maps, and what is built on them, with a collection at each instruction of their own:
 * nothing that they hold may be out of the collector's sight, as they hold it, for even one. */
#include "maps/map.h"
#include "tests/heap.h"
#include "tests/step.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/cache.h>
#include <oakum/oakum.h>
#include <oakum/pool.h>
#include <oakum/shardmap.h>
#include <oakum/syncmap.h>
#include <oakum/weakmap.h>
#include <stdio.h>
#include <string.h>

Suite *suite_maps_steps(void);

enum { MANY = 400, FEW = 120, LEFT = 20, EACH = 1 }; /* keys: a map of many segments, of one */

typedef struct kind {
    const char *name;
    void *(*make)(void);
    void (*put)(void *map, uint64_t k, void *box);
    void *(*get)(void *map, uint64_t k);
    void (*delete)(void *map, uint64_t k);
    void (*clear)(void *map);
    size_t (*walk)(void *map);
    size_t keys;
    bool weak; /* what it holds is to be held elsewhere */
} kind;

static struct {
    const kind *kind;
    void *map;
    void **held; /* objects of weak maps */
    void *pool;
    size_t wrong;
} w; /* the only root */

/* An object that says which it is. */
static uint64_t *box_of(uint64_t k)
{
    uint64_t *box = oak_alloc_noscan(16 + k % 3 * 16);
    box[0] = k;
    box[1] = ~k;
    return box;
}

static bool is_box(const uint64_t *box, uint64_t k)
{
    return box && oak_base(box) == box && box[0] == k && box[1] == ~k;
}

/* ---- the default map ---- */

static void *new_default(void)
{
    return oak_map_new(&oak_map_u64_ptr, 0);
}

static void put_default(void *m, uint64_t k, void *box)
{
    *(void **)oak_map_put(m, &k) = box;
}

static void *get_default(void *m, uint64_t k)
{
    void **v = oak_map_get(m, &k);
    return v ? *v : NULL;
}

static void delete_default(void *m, uint64_t k)
{
    oak_map_delete(m, &k);
}

static void clear_default(void *m)
{
    oak_map_clear(m);
}

static size_t walk_default(void *m)
{
    size_t n = 0;
    oak_map_iter it;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it); n++)
        w.wrong += !is_box(*(uint64_t **)it.value, *(const uint64_t *)it.key);
    return n;
}

/* The same without a word that the collector reads: a box's number is its own key. Its segments
 * are found by the directory alone. */
static void *new_numbers(void)
{
    return oak_map_new(&oak_map_u64_u64, 0);
}

static void put_number(void *m, uint64_t k, void *box)
{
    (void)box;
    *(uint64_t *)oak_map_put(m, &k) = k;
}

static void *get_number(void *m, uint64_t k)
{
    const uint64_t *v = oak_map_get(m, &k);
    if (!v) return NULL;
    w.wrong += *v != k;
    return box_of(*v);
}

static size_t walk_numbers(void *m)
{
    size_t n = 0;
    oak_map_iter it;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it); n++)
        w.wrong += *(uint64_t *)it.value != *(const uint64_t *)it.key;
    return n;
}

/* ---- the classic one ---- */

static void *new_classic(void)
{
    return oak_classic_new(&oak_classic_int_ptr, 0);
}

static void put_classic(void *m, uint64_t k, void *box)
{
    *(void **)oak_classic_put(m, &k) = box;
}

static void *get_classic(void *m, uint64_t k)
{
    void **v = oak_classic_get(m, &k);
    return v ? *v : NULL;
}

static void delete_classic(void *m, uint64_t k)
{
    oak_classic_delete(m, &k);
}

static void clear_classic(void *m)
{
    oak_classic_clear(m);
}

static size_t walk_classic(void *m)
{
    size_t n = 0;
    oak_classic_iter it;
    for (oak_classic_iter_init(&it, m); oak_classic_iter_next(&it); n++)
        w.wrong += !is_box(*(uint64_t **)it.value, *(const uint64_t *)it.key);
    return n;
}

/* ---- what is built on them ---- */

static bool count(const void *key, void *value, void *n)
{
    w.wrong += !is_box(value, *(const uint64_t *)key);
    ++*(size_t *)n;
    return true;
}

static void *new_sync(void)
{
    return oak_syncmap_new(&oak_map_u64_ptr);
}

static void put_sync(void *m, uint64_t k, void *box)
{
    w.wrong += oak_syncmap_store(m, &k, box) != 0;
}

static void *get_sync(void *m, uint64_t k)
{
    void *v;
    return oak_syncmap_load(m, &k, &v) ? v : NULL;
}

static void delete_sync(void *m, uint64_t k)
{
    oak_syncmap_delete(m, &k);
}

static void clear_sync(void *m)
{
    oak_syncmap_clear(m);
}

static size_t walk_sync(void *m)
{
    size_t n = 0;
    oak_syncmap_range(m, count, &n);
    return n;
}

static void *new_shards(void)
{
    return oak_shardmap_new(&oak_map_u64_ptr, 2, 0);
}

static void put_shards(void *m, uint64_t k, void *box)
{
    w.wrong += oak_shardmap_put(m, &k, &box) != 0;
}

static void *get_shards(void *m, uint64_t k)
{
    void *v;
    return oak_shardmap_get(m, &k, &v) ? v : NULL;
}

static void delete_shards(void *m, uint64_t k)
{
    oak_shardmap_delete(m, &k);
}

static void clear_shards(void *m)
{
    oak_shardmap_clear(m);
}

static size_t walk_shards(void *m)
{
    return oak_shardmap_len(m);
}

static void *new_cache(void)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr, .max_entries = MANY };
    return oak_cache_new(&c);
}

static void put_cache(void *m, uint64_t k, void *box)
{
    w.wrong += oak_cache_put(m, &k, box) != 0;
}

static void *get_cache(void *m, uint64_t k)
{
    return oak_cache_get(m, &k);
}

static void delete_cache(void *m, uint64_t k)
{
    oak_cache_delete(m, &k);
}

static void clear_cache(void *m)
{
    oak_cache_clear(m);
}

static size_t walk_cache(void *m)
{
    size_t n = 0;
    oak_cache_each(m, count, &n);
    return n;
}

static void *new_weak_values(void)
{
    return oak_weakvalue_new(&oak_map_u64_ptr, 0, 0);
}

static void put_weak_value(void *m, uint64_t k, void *box)
{
    w.wrong += oak_weakvalue_put(m, &k, box) != 0;
}

static void *get_weak_value(void *m, uint64_t k)
{
    return oak_weakvalue_get(m, &k);
}

static void delete_weak_value(void *m, uint64_t k)
{
    oak_weakvalue_delete(m, &k);
}

static void clear_weak_values(void *m)
{
    oak_weakvalue_clear(m);
}

static size_t walk_weak_values(void *m)
{
    return oak_weakvalue_len(m);
}

/* The key is what is held, the value lives through the map alone. */
static void *new_weak_keys(void)
{
    return oak_weakkey_new(0, 0);
}

static void put_weak_key(void *m, uint64_t k, void *box)
{
    w.wrong += oak_weakkey_put(m, box, box_of(k)) != 0;
}

static void *get_weak_key(void *m, uint64_t k)
{
    return w.held[k] ? oak_weakkey_get(m, w.held[k]) : NULL;
}

static void delete_weak_key(void *m, uint64_t k)
{
    oak_weakkey_delete(m, w.held[k]);
}

static void clear_weak_keys(void *m)
{
    oak_weakkey_clear(m);
}

static size_t walk_weak_keys(void *m)
{
    return oak_weakkey_len(m);
}

static const kind kinds[] = {
    { "map", new_default, put_default, get_default, delete_default, clear_default, walk_default,
      MANY, false },
    { "map of numbers", new_numbers, put_number, get_number, delete_default, clear_default,
      walk_numbers, MANY, false },
    { "classic map", new_classic, put_classic, get_classic, delete_classic, clear_classic,
      walk_classic, MANY, false },
    { "sync map", new_sync, put_sync, get_sync, delete_sync, clear_sync, walk_sync, MANY, false },
    { "sharded map", new_shards, put_shards, get_shards, delete_shards, clear_shards, walk_shards,
      FEW, false },
    { "cache", new_cache, put_cache, get_cache, delete_cache, clear_cache, walk_cache, FEW, false },
    { "weak values", new_weak_values, put_weak_value, get_weak_value, delete_weak_value,
      clear_weak_values, walk_weak_values, FEW, true },
    { "weak keys", new_weak_keys, put_weak_key, get_weak_key, delete_weak_key, clear_weak_keys,
      walk_weak_keys, FEW, true },
};

/* ---- the runs ---- */

static void put(uint64_t k)
{
    uint64_t *box = box_of(k);
    if (w.kind->weak) w.held[k] = box;
    test_steps_on(false);
    w.kind->put(w.map, k, box);
    test_steps_off();
}

static void delete (uint64_t k)
{
    test_steps_on(false);
    w.kind->delete (w.map, k);
    test_steps_off();
}

static void look(uint64_t from, uint64_t to)
{
    for (uint64_t k = 0; k < w.kind->keys; k++) {
        test_steps_on(false);
        const uint64_t *box = w.kind->get(w.map, k);
        test_steps_off();
        w.wrong += k >= from && k < to ? !is_box(box, k) : box != NULL;
    }
    w.wrong += w.kind->walk(w.map) != to - from;
}

static void fill_and_empty(void)
{
    for (uint64_t k = 0; k < w.kind->keys; k++) put(k);
    look(0, w.kind->keys);
    for (uint64_t k = 0; k < w.kind->keys - LEFT; k++) delete (k);
    look(w.kind->keys - LEFT, w.kind->keys);
    for (uint64_t k = 0; k < w.kind->keys; k++) put(k);
    test_steps_on(true);
    w.kind->clear(w.map);
    test_steps_off();
    look(0, 0);
    for (uint64_t k = 0; k < LEFT; k++) put(k);
    test_steps_on(true);
    size_t n = w.kind->walk(w.map);
    test_steps_off();
    w.wrong += n != LEFT;
    look(0, LEFT);
}

static void start(void)
{
    test_heap_start(test_config());
    test_only_root(&w, sizeof w);
}

START_TEST(nothing_of_a_map_is_lost_at_any_instruction)
{
    w.kind = &kinds[_i];
    start();
    w.held = oak_alloc(w.kind->keys * sizeof *w.held);
    w.map = w.kind->make();
    ck_assert_ptr_nonnull(w.map);
    test_steps_begin(EACH);
    fill_and_empty();
    size_t n = test_steps_end();
    printf("%s: %zu collections\n", w.kind->name, n);
    if (test_skip(!test_can_step(), "no single steps here")) return;
    ck_assert_uint_gt(n, 500);
    if (w.wrong) ck_abort_msg("%s: %zu are wrong", w.kind->name, w.wrong);
    test_assert_sound();
}
END_TEST

/* ---- a pool ---- */

static void *make_pooled(void *ctx)
{
    (void)ctx;
    return box_of(7);
}

START_TEST(nothing_of_a_pool_is_lost_at_any_instruction)
{
    enum { TAKEN = 5 };
    start();
    w.pool = oak_pool_new(make_pooled, NULL, NULL);
    test_steps_begin(EACH);
    for (unsigned round = 0; round < 20; round++) {
        uint64_t *p[TAKEN];
        test_steps_on(false);
        for (size_t i = 0; i < TAKEN; i++) p[i] = oak_pool_get(w.pool);
        test_steps_off();
        for (size_t i = 0; i < TAKEN; i++) {
            w.wrong += !is_box(p[i], 7);
            for (size_t j = 0; j < i; j++) w.wrong += p[i] == p[j];
        }
        test_steps_on(false);
        for (size_t i = 0; i < TAKEN; i++) oak_pool_put(w.pool, p[i]);
        test_steps_off();
    }
    size_t n = test_steps_end();
    if (test_skip(!test_can_step(), "no single steps here")) return;
    ck_assert_uint_gt(n, 100);
    ck_assert_uint_eq(w.wrong, 0);
    test_assert_sound();
}
END_TEST

Suite *suite_maps_steps(void)
{
    Suite *s = suite_create("maps_steps");
    TCase *tc = tcase_create("any instruction");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, nothing_of_a_map_is_lost_at_any_instruction, 0, OAKI_COUNT(kinds));
    tcase_add_test(tc, nothing_of_a_pool_is_lost_at_any_instruction);
    suite_add_tcase(s, tc);
    return s;
}

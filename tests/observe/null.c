/* null.c - tests of what each public function does with NULL for each pointer that it takes, one at
 * a time: what its header says, or the rule of base.h. Each case runs in a child of its own. */
#include "files.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_observe_null(void);

/* ---- what the cases use ---- */

static uint64_t k = 1;
static void *object;
static oak_map *map;
static oak_map_iter map_iter;
static oak_classic_map *classic;
static oak_classic_iter classic_iter;
static oak_cache *cache;
static oak_pool *pool;
static oak_shardmap *shards;
static oak_syncmap *sync_;
static oak_weakvalue *values;
static oak_weakkey *keys;
static oak_zone *zone;
static oak_type *type;
static oak_fiber *fiber;
static oak_profile *profile;
static oak_snapshot *snapshot;
static oak_path *path;
static oak_ephemeron *ephemeron;
static int null_fd;
static char text[256];
static void *slot;
static size_t count;
static oak_memstats stats;

static const oak_cache_config cache_config = { .keys = &oak_map_u64_ptr, .max_entries = 10 };
static const uint64_t bitmap[1] = { 1 };

static void *no_thread(void *arg)
{
    return arg;
}

static void no_finalizer(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

static void no_cleanup(void *ctx)
{
    (void)ctx;
}

static void no_marks(oak_marker *m, void *obj, size_t size)
{
    (void)m, (void)obj, (void)size;
}

static void set_up(void)
{
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    object = oak_alloc(100);
    map = oak_map_new(&oak_map_u64_u64, 0);
    (void)oak_map_put(map, &k);
    oak_map_iter_init(&map_iter, map);
    classic = oak_classic_new(&oak_classic_int_int, 0);
    oak_classic_iter_init(&classic_iter, classic);
    (void)oak_classic_put(classic, &k);
    cache = oak_cache_new(&cache_config);
    ck_assert_int_eq(oak_cache_put(cache, &k, object), 0);
    pool = oak_pool_new(NULL, NULL, NULL);
    shards = oak_shardmap_new(&oak_map_u64_u64, 0, 0);
    ck_assert_int_eq(oak_shardmap_put(shards, &k, &k), 0);
    sync_ = oak_syncmap_new(&oak_map_u64_ptr);
    ck_assert_int_eq(oak_syncmap_store(sync_, &k, object), 0);
    values = oak_weakvalue_new(&oak_map_u64_ptr, 0, 0);
    ck_assert_int_eq(oak_weakvalue_put(values, &k, object), 0);
    keys = oak_weakkey_new(0, 0);
    ck_assert_int_eq(oak_weakkey_put(keys, object, object), 0);
    zone = oak_zone_new(NULL);
    type = oak_type_bitmap("type", 8, bitmap);
    fiber = oak_fiber_new(malloc(1 << 16), 1 << 16, NULL);
    profile = oak_profile_read(0);
    path = oak_why_alive(object);
    ephemeron = oak_ephemeron_new(object, object);
    snapshot = test_snapshot();
    ck_assert(object && map && classic && cache && pool && shards && sync_ && values && keys);
    ck_assert(zone && type && fiber && profile && path && ephemeron && snapshot);
}

static bool is_zero(const void *p, size_t n)
{
    for (const char *s = p; n > 0; n--)
        if (*s++) return false;
    return true;
}

/* ---- the cases ---- */

#define FAILS(call) ((call) == -1 && errno == EINVAL)
#define IS_NONE(call) ((call) == NULL && errno == EINVAL)
#define RETURNS(call) ((call), true)
#define ZEROES(type, call)           \
    ({                               \
        type out;                    \
        memset(&out, 1, sizeof out); \
        (call);                      \
        is_zero(&out, sizeof out);   \
    })

/* clang-format off */
#define BASE(X) \
    X(RETURNS(oak_config_default(NULL))) \
    X(RETURNS(oak_set_fatal_handler(NULL))) \
    X(oak_init(NULL) == 0) \
    X(RETURNS(oak_memstats_read(NULL))) \
    X(oak_memstats_json(NULL, text, sizeof text) == 0) \
    X(oak_memstats_json(&stats, NULL, 0) > 2) \
    X(oak_memstats_json(&stats, NULL, 100) > 2) \
    X(RETURNS(oak_heap_info_read(NULL))) \
    X(RETURNS(oak_heap_tells_writes(NULL))) \
    X(oak_config_read(NULL, NULL)) \
    X(oak_realloc(NULL, 10) != NULL) \
    X(!oak_try_resize(NULL, 10)) \
    X(FAILS(oak_heap_each(NULL, NULL, 0))) \
    X(oak_heap_step(NULL, NULL, 1) == 0 && errno == EINVAL) \
    X(!oak_object_read(NULL, NULL)) \
    X(oak_object_read(object, NULL)) \
    X(FAILS(oak_gc_at_start(NULL, NULL))) \
    X(oak_gc_at_start_remove(NULL, NULL) == -1 && errno == ENOENT) \
    X(RETURNS(oak_free(NULL))) \
    X(oak_usable_size(NULL) == 0) \
    X(oak_base(NULL) == NULL) \
    X(oak_type_of(NULL) == NULL) \
    X(IS_NONE(oak_type_bitmap(NULL, 8, bitmap))) \
    X(IS_NONE(oak_type_bitmap("x", 8, NULL))) \
    X(IS_NONE(oak_type_function(NULL, 8, no_marks))) \
    X(IS_NONE(oak_type_function("x", 8, NULL))) \
    X(oak_type_name(NULL) == NULL) \
    X(RETURNS(oak_mark_ptr(NULL, object))) \
    X(RETURNS(oak_mark_range(NULL, object, 8)))

#define COLLECTOR(X) \
    X(oak_thread_create(NULL, NULL, no_thread, NULL) == 0) \
    X(oak_thread_create(&slot, NULL, NULL, NULL) == EINVAL) \
    X(IS_NONE(oak_blocking_call(NULL, &k))) \
    X(oak_blocking_call(no_thread, NULL) == NULL) \
    X(IS_NONE(oak_blocking_wait(NULL, &k, &k))) \
    X(oak_blocking_wait(no_thread, &k, NULL) == &k) \
    X(FAILS(oak_root_add(NULL, 8))) \
    X(oak_root_remove(NULL, 8) == -1 && errno == ENOENT) \
    X(FAILS(oak_root_exclude(NULL, 8))) \
    X(IS_NONE(oak_fiber_new(NULL, 1 << 16, NULL))) \
    X(RETURNS(oak_fiber_switch(NULL))) \
    X(RETURNS(oak_fiber_free(NULL))) \
    X(oak_finalizer_set(object, NULL, NULL) == 0) \
    X(oak_finalizer_set_ex(object, no_finalizer, NULL, 0, NULL, NULL) == 0) \
    X(FAILS(oak_cleanup_add(object, NULL, NULL))) \
    X(oak_cleanup_add(object, no_cleanup, NULL) == 0) \
    X(oak_finalizer_notify(NULL) == NULL) \
    X(oak_finalize_all(NULL) == 0) \
    X(oak_zone_finalize(NULL, NULL) == 0) \
    X(oak_weak_get(NULL) == NULL) \
    X(oak_ephemeron_new(object, NULL) != NULL) \
    X(oak_ephemeron_get(NULL, &slot) == NULL) \
    X(oak_ephemeron_get(ephemeron, NULL) == object) \
    X(RETURNS(oak_ephemeron_set(NULL, object))) \
    X(RETURNS(oak_ephemeron_set(ephemeron, NULL)))

#define ZONES(X) \
    X(oak_zone_new(NULL) != NULL) \
    X(strcmp(oak_zone_name(NULL), "default") == 0) \
    X(oak_zone_enter(NULL) == 0) \
    X(oak_zone_alloc(NULL, 10) != NULL) \
    X(oak_zone_alloc_noscan(NULL, 10) != NULL) \
    X(oak_zone_alloc_pinned(NULL, 10) != NULL) \
    X(oak_zone_alloc_typed(NULL, type, 1) != NULL) \
    X(oak_zone_of(NULL) == NULL) \
    X(oak_zone_enter(zone) == 0 && oak_zone_threads(zone, NULL, 10) == 1) \
    X(RETURNS(oak_zone_stats_read(NULL, &(oak_zone_stats){ 0 }))) \
    X(RETURNS(oak_zone_stats_read(zone, NULL))) \
    X(oak_zones_read(NULL, 0, &stats) > 0) \
    X(oak_zones_read(NULL, 10, NULL) > 0) \
    X(RETURNS(oak_zone_destroy(zone, NULL)))

#define MAPS(X) \
    X(oak_hash_bytes(NULL, 0, 1) != 1) \
    X(IS_NONE(oak_map_new(NULL, 0))) \
    X(oak_map_get(NULL, &k) == NULL) \
    X(!oak_map_delete(NULL, &k)) \
    X(RETURNS(oak_map_clear(NULL))) \
    X(oak_map_len(NULL) == 0) \
    X(oak_map_get(map, NULL) == NULL) \
    X(IS_NONE(oak_map_put(map, NULL))) \
    X(!oak_map_delete(map, NULL)) \
    X(RETURNS(oak_map_iter_init(NULL, map))) \
    X(RETURNS(oak_map_iter_init_random(NULL, map))) \
    X(!oak_map_iter_next(NULL)) \
    X(oak_map_settle(NULL) == 0) \
    X(oak_map_get_many(NULL, NULL, 0, NULL) == 0) \
    X(oak_map_get_many(map, NULL, 1, NULL) == 0) \
    X(FAILS(oak_map_reserve(NULL, 1))) \
    X(oak_map_retain(NULL, NULL, NULL) == 0) \
    X(oak_map_retain(map, NULL, NULL) == 0) \
    X(IS_NONE(oak_map_copy(NULL))) \
    X((oak_map_iter_init(&map_iter, NULL), !oak_map_iter_next(&map_iter))) \
    X((oak_map_iter_init_random(&map_iter, NULL), !oak_map_iter_next(&map_iter))) \
    X(ZEROES(oak_map_stats, oak_map_stats_read(NULL, &out))) \
    X(RETURNS(oak_map_stats_read(map, NULL))) \
    X(IS_NONE(oak_classic_new(NULL, 0))) \
    X(oak_classic_get(NULL, &k) == NULL) \
    X(!oak_classic_delete(NULL, &k)) \
    X(RETURNS(oak_classic_clear(NULL))) \
    X(oak_classic_len(NULL) == 0) \
    X(oak_classic_get(classic, NULL) == NULL) \
    X(IS_NONE(oak_classic_put(classic, NULL))) \
    X(!oak_classic_delete(classic, NULL)) \
    X(RETURNS(oak_classic_iter_init(NULL, classic))) \
    X(!oak_classic_iter_next(NULL)) \
    X(!oak_classic_equal_bytes(NULL, &k, 8)) \
    X(!oak_classic_equal_bytes(&k, NULL, 8)) \
    X(!oak_classic_equal_string(NULL, &k, 8)) \
    X(!oak_classic_equal_string(&k, NULL, 8)) \
    X(!oak_classic_equal_double(NULL, &k, 8)) \
    X(!oak_classic_equal_double(&k, NULL, 8)) \
    X((oak_classic_iter_init(&classic_iter, NULL), !oak_classic_iter_next(&classic_iter))) \
    X(ZEROES(oak_classic_stats, oak_classic_stats_read(NULL, &out))) \
    X(RETURNS(oak_classic_stats_read(classic, NULL)))

#define BUILT_ON_MAPS(X) \
    X(IS_NONE(oak_cache_new(NULL))) \
    X(oak_cache_get(NULL, &k) == NULL) \
    X(oak_cache_peek(NULL, &k) == NULL) \
    X(FAILS(oak_cache_put(cache, &k, NULL))) \
    X(!oak_cache_delete(NULL, &k)) \
    X(oak_cache_get(cache, NULL) == NULL) \
    X(oak_cache_peek(cache, NULL) == NULL) \
    X(FAILS(oak_cache_put(cache, NULL, object))) \
    X(FAILS(oak_cache_put_ex(cache, NULL, object, 1, 0))) \
    X(!oak_cache_delete(cache, NULL)) \
    X(RETURNS(oak_cache_clear(NULL))) \
    X(!oak_cache_purge_expired(NULL, 1)) \
    X(RETURNS(oak_cache_each(NULL, NULL, NULL))) \
    X(RETURNS(oak_cache_each(cache, NULL, NULL))) \
    X(ZEROES(oak_cache_stats, oak_cache_stats_read(NULL, &out))) \
    X(RETURNS(oak_cache_stats_read(cache, NULL))) \
    X(oak_pool_get(pool) == NULL) \
    X(RETURNS(oak_pool_put(pool, NULL))) \
    X(RETURNS(oak_pool_limit(pool, 10, NULL))) \
    X(ZEROES(oak_pool_stats, oak_pool_stats_read(NULL, &out))) \
    X(RETURNS(oak_pool_stats_read(pool, NULL))) \
    X(IS_NONE(oak_shardmap_new(NULL, 0, 0))) \
    X(!oak_shardmap_get(NULL, &k, &k)) \
    X(oak_shardmap_get(shards, &k, NULL)) \
    X(oak_shardmap_put(shards, &k, NULL) == 0) \
    X(!oak_shardmap_delete(NULL, &k)) \
    X(FAILS(oak_shardmap_update(shards, &k, NULL, NULL))) \
    X(oak_shardmap_range(NULL, NULL, NULL) == 0) \
    X(FAILS(oak_shardmap_range(shards, NULL, NULL))) \
    X(oak_shardmap_len(NULL) == 0) \
    X(!oak_shardmap_get(shards, NULL, &k)) \
    X(FAILS(oak_shardmap_put(shards, NULL, &k))) \
    X(FAILS(oak_shardmap_update(shards, NULL, NULL, NULL))) \
    X(!oak_shardmap_delete(shards, NULL)) \
    X(RETURNS(oak_shardmap_clear(NULL))) \
    X(ZEROES(oak_shardmap_stats, oak_shardmap_stats_read(NULL, &out))) \
    X(RETURNS(oak_shardmap_stats_read(shards, NULL))) \
    X(IS_NONE(oak_syncmap_new(NULL))) \
    X(!oak_syncmap_load(NULL, &k, &slot)) \
    X(oak_syncmap_load(sync_, &k, NULL)) \
    X(oak_syncmap_store(sync_, &k, NULL) == 0) \
    X(oak_syncmap_load_or_store(sync_, &k, &k, NULL) == 1) \
    X(oak_syncmap_swap(sync_, &k, &k, NULL) == 1) \
    X(!oak_syncmap_delete(NULL, &k)) \
    X(!oak_syncmap_load_and_delete(NULL, &k, &slot)) \
    X(oak_syncmap_load_and_delete(sync_, &k, NULL)) \
    X(!oak_syncmap_compare_and_swap(NULL, &k, NULL, NULL)) \
    X(!oak_syncmap_compare_and_swap(sync_, &k, NULL, NULL)) \
    X(!oak_syncmap_compare_and_delete(NULL, &k, NULL)) \
    X(RETURNS(oak_syncmap_range(NULL, NULL, NULL))) \
    X(RETURNS(oak_syncmap_range(sync_, NULL, NULL))) \
    X(oak_syncmap_len(NULL) == 0) \
    X(!oak_syncmap_load(sync_, NULL, &slot)) \
    X(FAILS(oak_syncmap_store(sync_, NULL, NULL))) \
    X(FAILS(oak_syncmap_load_or_store(sync_, NULL, NULL, NULL))) \
    X(FAILS(oak_syncmap_swap(sync_, NULL, NULL, NULL))) \
    X(!oak_syncmap_delete(sync_, NULL)) \
    X(!oak_syncmap_load_and_delete(sync_, NULL, &slot)) \
    X(!oak_syncmap_compare_and_swap(sync_, NULL, NULL, NULL)) \
    X(!oak_syncmap_compare_and_delete(sync_, NULL, NULL)) \
    X(RETURNS(oak_syncmap_clear(NULL))) \
    X(ZEROES(oak_syncmap_stats, oak_syncmap_stats_read(NULL, &out))) \
    X(RETURNS(oak_syncmap_stats_read(sync_, NULL))) \
    X(IS_NONE(oak_weakvalue_new(NULL, 0, 0))) \
    X(oak_weakvalue_get(NULL, &k) == NULL) \
    X(FAILS(oak_weakvalue_put(values, &k, NULL))) \
    X(IS_NONE(oak_weakvalue_intern(values, &k, NULL))) \
    X(!oak_weakvalue_purge(NULL, 1)) \
    X(oak_weakvalue_len(NULL) == 0) \
    X(!oak_weakvalue_delete(NULL, &k)) \
    X(RETURNS(oak_weakvalue_clear(NULL))) \
    X(oak_weakvalue_get(values, NULL) == NULL) \
    X(FAILS(oak_weakvalue_put(values, NULL, object))) \
    X(IS_NONE(oak_weakvalue_intern(values, NULL, object))) \
    X(!oak_weakvalue_delete(values, NULL)) \
    X(oak_weakvalue_each(NULL, NULL, NULL) == 0) \
    X(FAILS(oak_weakvalue_each(values, NULL, NULL))) \
    X(oak_weakkey_get(NULL, &k) == NULL) \
    X(oak_weakkey_get(keys, NULL) == NULL) \
    X(FAILS(oak_weakkey_put(keys, NULL, object))) \
    X(FAILS(oak_weakkey_put(keys, object, NULL))) \
    X(!oak_weakkey_delete(keys, NULL)) \
    X(!oak_weakkey_purge(NULL, 1)) \
    X(oak_weakkey_len(NULL) == 0) \
    X(!oak_weakkey_delete(NULL, object)) \
    X(RETURNS(oak_weakkey_clear(NULL))) \
    X(oak_weakkey_each(NULL, NULL, NULL) == 0) \
    X(FAILS(oak_weakkey_each(keys, NULL, NULL)))

#define OBSERVERS(X) \
    X(RETURNS(oak_detector_config_default(NULL))) \
    X(oak_detector_start(NULL) == 0) \
    X(oak_detector_prepare(NULL) == 0) \
    X(oak_detector_findings(NULL, 10) == 0) \
    X(RETURNS(oak_detector_stats_read(NULL))) \
    X(oak_frame_number(NULL, "f", 1) == 0) \
    X(oak_frame_number("f", NULL, 1) != 0) \
    X(oak_frame_source_set(NULL) == NULL) \
    X(FAILS(oak_gclog_start(NULL))) \
    X(FAILS(oak_labels_push(NULL, 1))) \
    X(FAILS(oak_label_push(NULL, "v"))) \
    X(oak_label_push("k", NULL) >= 0) \
    X(FAILS(oak_label_push_number(NULL, 1, "u"))) \
    X(oak_label_push_number("k", 1, NULL) >= 0) \
    X(oak_labels_read(NULL, 10) == 0) \
    X(RETURNS(oak_profile_subtract(NULL, profile))) \
    X(RETURNS(oak_profile_subtract(profile, NULL))) \
    X(RETURNS(oak_profile_free(NULL))) \
    X(FAILS(oak_profile_each(profile, OAK_PROFILE_INUSE_BYTES, NULL, NULL))) \
    X(oak_profile_write(NULL, null_fd) == 0) \
    X(FAILS(oak_profile_save(profile, NULL))) \
    X(oak_profile_print(NULL, null_fd, OAK_PROFILE_INUSE_BYTES, 1) == 0) \
    X(oak_debug_serve(NULL) == 0 || errno == ELIBACC) \
    X(oak_debug_serve_with(NULL, NULL) == 0 || errno == ELIBACC) \
    X(oak_debug_serve_url(NULL, 10) == 0) \
    X(oak_debug_serve_error(NULL, 10) == 0) \
    X(FAILS(oak_snapshot_save(NULL))) \
    X(FAILS(oak_snapshot_save_with(NULL, NULL, NULL))) \
    X(oak_snapshot_write(null_fd, NULL, NULL) == 0) \
    X(IS_NONE(oak_snapshot_open(NULL, text, sizeof text)) && text[0]) \
    X(oak_snapshot_open("/nowhere", NULL, 10) == NULL && errno == ENOENT) \
    X(RETURNS(oak_snapshot_close(NULL))) \
    X(ZEROES(oak_snapshot_info, oak_snapshot_info_read(NULL, &out))) \
    X(RETURNS(oak_snapshot_info_read(snapshot, NULL))) \
    X(FAILS(oak_snapshot_object_read(NULL, 0, &(oak_snapshot_object){ 0 }))) \
    X(FAILS(oak_snapshot_object_read(snapshot, 0, NULL))) \
    X(FAILS(oak_snapshot_find(NULL, 1, &k))) \
    X(oak_snapshot_find(snapshot, (uintptr_t)object, NULL) == 0) \
    X(FAILS(oak_snapshot_edge_read(NULL, 0, 0, &(oak_snapshot_edge){ 0 }))) \
    X(FAILS(oak_snapshot_edge_read(snapshot, 0, 0, NULL))) \
    X(FAILS(oak_snapshot_root_read(NULL, 0, &(oak_root_info){ 0 }, &k))) \
    X(oak_snapshot_root_read(snapshot, 0, NULL, &k) == 0) \
    X(oak_snapshot_root_read(snapshot, 0, &(oak_root_info){ 0 }, NULL) == 0) \
    X(IS_NONE(oak_snapshot_why(NULL, 1))) \
    X(FAILS(oak_snapshot_analyse(NULL))) \
    X(oak_snapshot_top(NULL, &k, 1) == 0) \
    X(oak_snapshot_top(snapshot, NULL, 1) == 0) \
    X(FAILS(oak_snapshot_convert(NULL, null_fd))) \
    X(FAILS(oak_snapshot_diff(NULL, snapshot, NULL, 0, &count))) \
    X(FAILS(oak_snapshot_diff(snapshot, NULL, NULL, 0, &count))) \
    X(oak_snapshot_diff(snapshot, snapshot, NULL, 10, NULL) == 0) \
    X(oak_trace_write(NULL) == -1 && errno == EINVAL) \
    X(oak_trace_stop(NULL) == 0) \
    X(RETURNS((oak_trace_start(0), oak_span_begin(NULL)))) \
    X(RETURNS((oak_trace_start(0), oak_span_begin_arg(NULL, "k", "v")))) \
    X(RETURNS((oak_trace_start(0), oak_span_begin_arg("n", NULL, "v")))) \
    X(RETURNS((oak_trace_start(0), oak_span_begin_arg("n", "k", NULL)))) \
    X(RETURNS((oak_trace_start(0), oak_span_add(NULL, 1, 2)))) \
    X(RETURNS((oak_trace_start(0), oak_trace_instant(NULL)))) \
    X(RETURNS((oak_trace_start(0), oak_trace_counter(NULL, 1)))) \
    X(IS_NONE(oak_why_alive(NULL))) \
    X(RETURNS(oak_path_free(NULL))) \
    X(oak_path_format(NULL, text, sizeof text) == 0) \
    X(oak_path_format(path, NULL, 10) > 0) \
    X(FAILS(oak_path_write(NULL, null_fd))) \
    X(oak_root_format(NULL, text, sizeof text) == 0) \
    X(oak_root_format(&path->root, NULL, 10) > 0) \
    X(oak_retained_size(NULL, 1, &count) == SIZE_MAX && errno == EINVAL) \
    X(oak_retained_size((const void *[]){ NULL }, 1, &count) == SIZE_MAX && errno == EINVAL) \
    X(oak_retained_size((const void *[]){ object }, 1, NULL) > 0) \
    X(oak_false_retention(NULL, 0) == 0) \
    X(FAILS(oak_false_retention(NULL, 10))) \
    X(FAILS(oak_root_mask(NULL))) \
    X(FAILS(oak_suspect_mask(NULL)))

/* Misuse that a host would never learn of from a result. */
#define FATAL(X) \
    X(RETURNS(oak_fatal(NULL))) \
    X(oak_alloc_typed(NULL, 1)) \
    X(oak_fiber_data(NULL)) \
    X(oak_finalizer_set(NULL, no_finalizer, NULL)) \
    X(oak_finalizer_set_ex(NULL, no_finalizer, NULL, 0, NULL, NULL)) \
    X(oak_cleanup_add(NULL, no_cleanup, NULL)) \
    X(oak_weak_new(NULL)) \
    X(oak_ephemeron_new(NULL, object)) \
    X(oak_zone_context(NULL)) \
    X(oak_zone_alloc_typed(zone, NULL, 1)) \
    X(oak_zone_threads(NULL, NULL, 0)) \
    X(oak_zone_set_limit(NULL, SIZE_MAX)) \
    X(oak_zone_discard(NULL)) \
    X(oak_zone_destroy(NULL, &path)) \
    X(RETURNS(oak_zone_leave(NULL))) \
    X(oak_hash_bytes(NULL, 1, 1)) \
    X(oak_hash_cstring(NULL, 1)) \
    X(oak_map_put(NULL, &k)) \
    X(RETURNS(oak_map_set_seed(NULL, 1))) \
    X(oak_classic_hash_bytes(NULL, 1, 8)) \
    X(oak_classic_hash_string(NULL, 1, 8)) \
    X(oak_classic_hash_double(NULL, 1, 8)) \
    X(oak_classic_put(NULL, &k)) \
    X(RETURNS(oak_classic_set_seed(NULL, 1))) \
    X(oak_cache_put(NULL, &k, object)) \
    X(oak_cache_put_ex(NULL, &k, object, 1, 0)) \
    X(oak_cache_set_limit(NULL, 1, 1)) \
    X(oak_pool_get(NULL)) \
    X(RETURNS(oak_pool_put(NULL, object))) \
    X(RETURNS(oak_pool_limit(NULL, 1, NULL))) \
    X(oak_shardmap_put(NULL, &k, &k)) \
    X(oak_shardmap_update(NULL, &k, NULL, NULL)) \
    X(oak_syncmap_store(NULL, &k, NULL)) \
    X(oak_syncmap_load_or_store(NULL, &k, NULL, NULL)) \
    X(oak_syncmap_swap(NULL, &k, NULL, NULL)) \
    X(oak_weakvalue_put(NULL, &k, object)) \
    X(oak_weakvalue_intern(NULL, &k, object)) \
    X(oak_weakkey_put(NULL, object, object))

#define ALL(X) BASE(X) COLLECTOR(X) ZONES(X) MAPS(X) BUILT_ON_MAPS(X) OBSERVERS(X)
/* clang-format on */

#pragma GCC diagnostic ignored "-Wnonnull"

#define NAME(call) #call,
static const char *const harmless[] = { ALL(NAME) }, *const fatal[] = { FATAL(NAME) };

#define TRY(call)                       \
    if (at++ == which) {                \
        errno = 0;                      \
        return (call) ? WORKED : WRONG; \
    }

enum { WORKED, WRONG, TOLD = 77 };

static int try_harmless(int which)
{
    int at = 0;
    ALL(TRY)
    return WRONG;
}

static int try_fatal(int which)
{
    int at = 0;
    FATAL(TRY)
    return WRONG;
}

/* ---- */

static void told(const char *line)
{
    _exit(strncmp(line, "oakum: ", 7) == 0 ? TOLD : WRONG);
}

/* What a child of the set-up program makes of the case; 1000 and more: a signal. */
static int outcome(int (*try)(int which), int which)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        oak_set_fatal_handler(told);
        _exit(try(which));
    }
    int status = test_wait_child(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void try_all(int (*try)(int which), const char *const *names, size_t n, int want)
{
    int wrong = 0;
    set_up();
    for (size_t i = 0; i < n; i++) {
        int got = outcome(try, (int)i);
        if (got != want) printf("null: %s: %d\n", names[i], got);
        wrong += got != want;
    }
    ck_assert_int_eq(wrong, 0);
}

START_TEST(null_has_the_result_that_is_documented)
{
    try_all(try_harmless, harmless, OAKI_COUNT(harmless), WORKED);
}
END_TEST

START_TEST(misuse_is_fatal_with_a_line)
{
    try_all(try_fatal, fatal, OAKI_COUNT(fatal), TOLD);
}
END_TEST

Suite *suite_observe_null(void)
{
    Suite *s = suite_create("observe_null");
    TCase *c = tcase_create("null");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, null_has_the_result_that_is_documented);
    tcase_add_test(c, misuse_is_fatal_with_a_line);
    suite_add_tcase(s, c);
    return s;
}

/* cancel_modes.c - tests that nothing of the heap, the maps, samples, notes and statistics is a
 * cancellation point, whatever else is turned on: threads that are to be cancelled do all of it at
 * once, and are cancelled where they say so. The process forks afterwards. */
#include "files.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/trace.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_cancel_modes(void);

#define THREADS 4
#define ROUNDS 20

/* ---- what is done ---- */

static oak_map *map_of_each[THREADS];
static oak_shardmap *shards;
static oak_syncmap *sync_map;
static oak_cache *cache;
static oak_weakvalue *weak;
static AO_t evictions;

/* Check's own assertions are cancellation points. */
static void must(bool done)
{
    if (!done) oak_fatal("cancel_modes: something failed");
}

static void count_eviction(oak_cache *c, const void *key, void *value, oak_cache_reason why,
                           void *ctx)
{
    (void)c, (void)key, (void)value, (void)why, (void)ctx;
    AO_fetch_and_add1(&evictions);
}

static void finalize(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

static bool add(void *value, bool there, void *ctx)
{
    (void)there, (void)ctx;
    ++*(uint64_t *)value;
    return true;
}

static void allocate(size_t me, size_t i)
{
    (void)me;
    char *p = oak_alloc(16 + i % 500);
    char *q = oak_alloc_noscan(100000);
    char *pinned = oak_alloc_pinned(64);
    p = oak_realloc(p, 2000);
    must(p && q && pinned);
    oak_free(pinned);
    oak_free(i % 2 ? p : q);
}

static void use_maps(size_t me, size_t i)
{
    oak_map *fresh = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t k = i; k < i + 50; k++) {
        *(uint64_t *)oak_map_put(map_of_each[me], &k) = k;
        *(uint64_t *)oak_map_put(fresh, &k) = k;
        must(oak_shardmap_update(shards, &k, add, NULL) >= 0);
        must(oak_syncmap_store(sync_map, &k, fresh) == 0);
        must(oak_cache_put(cache, &k, oak_alloc(32)) == 0);
        must(oak_weakvalue_put(weak, &k, fresh) == 0);
        (void)oak_cache_get(cache, &k);
        (void)oak_map_delete(map_of_each[me], &k);
    }
}

static void use_zones(size_t me, size_t i)
{
    (void)me, (void)i;
    oak_zone *z = oak_zone_new(NULL);
    must((z) != NULL);
    must(oak_zone_enter(z) == 0);
    must((oak_alloc(100)) != NULL);
    oak_zone_leave(z);
    must(oak_zone_discard(z) == 0);
}

static void collect(size_t me, size_t i)
{
    (void)me;
    must(oak_finalizer_set(oak_alloc(16), finalize, NULL) == 0);
    oak_collect();
    if (i % 4 == 0) (void)oak_finalizers_run();
}

static void take_notes(size_t me, size_t i)
{
    int was = oak_label_push_number("round", (int64_t)i, NULL);
    OAK_WITH_LABEL("who", me ? "other" : "first") must((oak_alloc(48)) != NULL);
    oak_labels_pop(was);
    oak_trace_instant("here");
    oak_trace_counter("i", (double)i);
}

static void ask(size_t me, size_t i)
{
    (void)me, (void)i;
    oak_memstats s;
    oak_map_stats m;
    char text[8192];
    oak_memstats_read(&s);
    must(oak_memstats_json(&s, text, sizeof text) > 0);
    oak_map_stats_read(map_of_each[me], &m);
    oak_profile_free(oak_profile_read(OAK_PROFILE_NOW));
    (void)oak_finalizer_running_ns();
}

static void (*const work[])(size_t me, size_t i) = { allocate,   use_maps, use_zones,
                                                     take_notes, ask,      collect };

/* ---- who does it ---- */

static AO_t inside[THREADS], wrong, cancelled;

static void clean_up(void *arg)
{
    if (AO_load((AO_t *)arg)) AO_fetch_and_add1(&wrong);
    AO_fetch_and_add1(&cancelled);
}

/* From the attaching on. */
static void *do_all(void *arg)
{
    size_t me = (size_t)arg;
    pthread_cleanup_push(clean_up, &inside[me]);
    AO_store_full(&inside[me], 1);
    pthread_cancel(pthread_self());
    for (size_t i = 0; i < ROUNDS; i++)
        for (size_t k = 0; k < OAKI_COUNT(work); k++) work[k](me, i);
    AO_store_full(&inside[me], 0);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

/* The first maps of the process ask for random numbers. */
static void *make_maps(void *unused)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr,
                           .max_entries = 30,
                           .flags = OAK_CACHE_LOCKED,
                           .evicted = count_eviction };
    pthread_cleanup_push(clean_up, &inside[0]);
    AO_store_full(&inside[0], 1);
    pthread_cancel(pthread_self());
    for (size_t i = 0; i < THREADS; i++) map_of_each[i] = oak_map_new(&oak_map_u64_u64, 0);
    shards = oak_shardmap_new(&oak_map_u64_u64, 2, 0);
    sync_map = oak_syncmap_new(&oak_map_u64_ptr);
    cache = oak_cache_new(&c);
    weak = oak_weakvalue_new(&oak_map_u64_ptr, OAK_WEAK_LOCKED, 0);
    must(shards && sync_map && cache && weak);
    AO_store_full(&inside[0], 0);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return unused;
}

static void fork_and_collect(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        void *p = oak_alloc(50);
        oak_collect();
        _exit(p ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
    oak_collect();
}

static void cancel_all(void)
{
    pthread_t id[THREADS];
    void *result;
    test_join(test_start(make_maps, NULL));
    for (int turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < THREADS; i++) id[i] = test_start(do_all, (void *)i);
        for (size_t i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_join(id[i], &result), 0);
            ck_assert_ptr_eq(result, PTHREAD_CANCELED);
        }
        ck_assert_uint_eq(AO_load(&wrong), 0);
        ck_assert_uint_eq(AO_load(&cancelled), 1 + THREADS * (AO_t)(turn + 1));
        fork_and_collect();
    }
    ck_assert_uint_gt(AO_load(&evictions), 0);
    ck_assert_ptr_null(test_check_heap());
}

/* ---- what is turned on ---- */

static const struct {
    const char *name, *value;
    int concurrent;
} modes[] = {
    { NULL, NULL, 0 },
    { NULL, NULL, 1 },
    { "OAKUM_PROFILE_RATE", "1", 0 },
    { "OAKUM_PROFILE_RATE", "1", 1 },
    { "OAKUM_DETECTOR", "1", 0 },
    { "OAKUM_DEBUG", "gctrace=1", 0 },
    { "OAKUM_DEBUG", "stress=200", 0 },
    { "OAKUM_DEBUG", "beside=500", 1 },
    { "OAKUM_GC_LOG", "", 0 }, /* a file of its own */
};

static void run_mode(void *arg)
{
    int i = *(int *)arg;
    oak_config c = test_config();
    if (modes[i].name)
        setenv(modes[i].name, *modes[i].value ? modes[i].value : test_path("log"), 1);
    c.concurrent = modes[i].concurrent;
    c.gc_percent = 50;
    c.background_sweep = 1;
    ck_assert_int_eq(oak_init(&c), 0);
    ck_assert_int_eq(oak_trace_start(0), 0);
    cancel_all();
}

START_TEST(who_is_to_be_cancelled_is_where_it_says)
{
    size_t room = (size_t)1 << 20;
    char *out = malloc(room); /* not static: data counts in the pace of every suite */
    ck_assert_ptr_nonnull(out);
    int status = test_capture(run_mode, &_i, out, room);
    size_t n = strlen(out);
    ck_assert_msg(status == 0, "%d: %s", status, out + n - OAKI_MIN(n, (size_t)500));
    free(out);
}
END_TEST

Suite *suite_observe_cancel_modes(void)
{
    Suite *s = suite_create("observe/cancel_modes");
    TCase *c = tcase_create("cancel_modes");
    tcase_add_loop_test(c, who_is_to_be_cancelled_is_where_it_says, 0, OAKI_COUNT(modes));
    suite_add_tcase(s, c);
    return s;
}

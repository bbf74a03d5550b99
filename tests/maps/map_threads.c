/* map_threads.c - maps beside other threads: one that collects while segments come and go, and ones
 * that were never attached before they wrote. */
#include "maps/map.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/oakum.h>
#include <string.h>

Suite *suite_maps_map_threads(void);

enum { ENTRIES = 200000 };

static void *map; /* of either kind; a root */
static AO_t quit;

static void start(void)
{
    test_heap_start(test_config());
}

static void *collect_for_ever(void *arg)
{
    oak_thread_attach();
    while (!AO_load(&quit)) oak_collect();
    return arg;
}

/* Free memory that looks like tags and counts when it is taken for a segment. */
static void leave_dirt(void)
{
    enum { BYTES = 8 << 20 };
    memset(oak_alloc_noscan(BYTES), 0x41, BYTES);
}

START_TEST(segments_come_and_go_beside_a_collection)
{
    start();
    pthread_t other = test_start(collect_for_ever, NULL);
    oak_map *m = map = oak_map_new(&oak_map_u64_ptr, 0);
    for (size_t round = 0, n = test_scale(40); round < n; round++) {
        leave_dirt();
        for (uint64_t k = 0; k < ENTRIES; k++) *(void **)oak_map_put(m, &k) = m;
        oak_map_clear(m);
    }
    AO_store(&quit, 1);
    test_join(other);
    test_assert_sound();
}
END_TEST

/* ---- threads that do nothing but write ---- */

/* Each value is an object that only the map knows, and that knows its key. */
static void fill_default(void *n)
{
    for (uint64_t k = 0; k < (uint64_t)(uintptr_t)n; k++) {
        uint64_t *p = oak_alloc(32);
        *p = k;
        *(uint64_t **)oak_map_put(map, &k) = p;
    }
}

static void fill_classic(void *n)
{
    for (uint64_t k = 0; k < (uint64_t)(uintptr_t)n; k++) {
        uint64_t *p = oak_alloc(32);
        *p = k;
        *(uint64_t **)oak_classic_put(map, &k) = p;
    }
}

static void *delete_default(void *n)
{
    for (uint64_t k = 0; k < (uint64_t)(uintptr_t)n; k += 3) oak_map_delete(map, &k);
    return NULL;
}

static void *delete_classic(void *n)
{
    for (uint64_t k = 0; k < (uint64_t)(uintptr_t)n; k += 3) oak_classic_delete(map, &k);
    return NULL;
}

static void *put_default(void *n)
{
    for (uint64_t k = 0; k < (uint64_t)(uintptr_t)n / 2; k++)
        *(void **)oak_map_put(map, &(uint64_t){ k | UINT64_C(1) << 40 }) = map;
    return NULL;
}

static void *clear_default(void *n)
{
    (void)n;
    oak_map_clear(map);
    return NULL;
}

static size_t look_default(void)
{
    size_t n = 0;
    oak_map_iter it;
    for (oak_map_iter_init(&it, map); oak_map_iter_next(&it);) {
        uint64_t key = *(const uint64_t *)it.key, *p = *(uint64_t **)it.value;
        if (key >> 40) continue;
        if (oak_base(p) != p || *p != key) ck_abort_msg("the value of key %d is gone", (int)key);
        n++;
    }
    return n;
}

static size_t look_classic(void)
{
    size_t n = 0;
    oak_classic_iter it;
    for (oak_classic_iter_init(&it, map); oak_classic_iter_next(&it);) {
        uint64_t key = *(const uint64_t *)it.key, *p = *(uint64_t **)it.value;
        if (oak_base(p) != p || *p != key) ck_abort_msg("the value of key %d is gone", (int)key);
        n++;
    }
    return n;
}

static void *clear_classic(void *n)
{
    (void)n;
    oak_classic_clear(map);
    return NULL;
}

static AO_t written;

typedef struct writer {
    bool classic;
    void *(*write)(void *n);
    unsigned kept; /* of six entries */
} writer;

static const writer writers[] = {
    { false, delete_default, 4 },
    { false, put_default, 6 },
    { false, clear_default, 0 },
    { true, delete_classic, 4 },
    { true, clear_classic, 0 },
};

typedef struct task {
    const writer *w;
    size_t n;
} task;

static void *write_all(void *arg)
{
    const task *t = arg;
    t->w->write((void *)t->n);
    test_expect(oaki_thread_self() != NULL, __LINE__); /* a stop halts it, from its first write */
    AO_store_release(&written, 1);
    return NULL;
}

static AO_t ready;

static void *make_and_iterate(void *arg)
{
    oak_map_iter it;
    ck_assert_ptr_nonnull(oak_alloc(1)); /* attached */
    AO_fetch_and_add1_full(&ready);
    test_wait(&ready, 2);
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    ck_assert_ptr_nonnull(oak_map_put(m, &(uint64_t){ 1 }));
    oak_map_iter_init(&it, m);
    ck_assert(oak_map_iter_next(&it)); /* fatal for one that is no map's */
    ck_assert(!oak_map_iter_next(&it));
    return arg;
}

/* Each process has its first maps but once. */
START_TEST(two_threads_make_the_first_maps)
{
    test_heap_start(test_config());
    pthread_t other = test_start(make_and_iterate, NULL);
    (void)make_and_iterate(NULL);
    test_join(other);
}
END_TEST

START_TEST(who_was_never_attached_may_write)
{
    const writer *w = &writers[_i];
    start();
    for (size_t round = 0; round < 4; round++) {
        task t = { w, test_scale(ENTRIES) / 6 * 6 };
        map = w->classic ? (void *)oak_classic_new(&oak_classic_int_ptr, 0)
                         : (void *)oak_map_new(&oak_map_u64_ptr, 0);
        test_away(w->classic ? fill_classic : fill_default, (void *)t.n);
        AO_store(&written, 0);
        pthread_t id = test_start(write_all, &t);
        while (!AO_load_acquire(&written)) oak_collect();
        test_join(id);
        oak_collect();
        ck_assert_uint_eq(AO_load(&test_wrong), 0);
        size_t kept = w->classic ? look_classic() : look_default();
        ck_assert_uint_eq(kept, t.n / 6 * w->kept);
        test_assert_sound();
    }
}
END_TEST

static void *add_one(void *arg)
{
    test_expect(oaki_thread_self() == NULL, __LINE__);
    *(uint64_t *)oak_map_put(map, &(uint64_t){ 2 }) = 2;
    test_expect(oaki_thread_self() != NULL, __LINE__);
    return arg;
}

/* Nothing is allocated: the write itself attaches. */
START_TEST(who_adds_where_there_is_room_is_attached)
{
    start();
    map = oak_map_new(&oak_map_u64_u64, 0);
    *(uint64_t *)oak_map_put(map, &(uint64_t){ 1 }) = 1;
    test_join(test_start(add_one, NULL));
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_eq(oak_map_len(map), 2);
}
END_TEST

/* ---- and that do nothing but read, of what guards itself ---- */

static oak_cache *cache;
static AO_t got, go;

static void fill_cache(void *arg)
{
    (void)arg;
    uint64_t key = 1;
    char *v = oak_alloc_noscan(1000);
    memset(v, 0x77, 1000);
    if (oak_cache_put(cache, &key, v) != 0) ck_abort_msg("put");
}

static void *hold(void *arg)
{
    uint64_t key = 1;
    char *v = oak_cache_get(cache, &key);
    AO_store_release(&got, 1);
    while (!AO_load_acquire(&go)) oaki_os_yield();
    test_expect(v[5] == 0x77, __LINE__);
    return arg;
}

START_TEST(a_reader_holds_what_it_got)
{
    start();
    oak_cache_config c = { .keys = &oak_map_u64_ptr, .max_entries = 10, .flags = OAK_CACHE_LOCKED };
    cache = oak_cache_new(&c);
    test_away(fill_cache, NULL);
    pthread_t id = test_start(hold, NULL);
    test_wait(&got, 1);
    oak_cache_delete(cache, &(uint64_t){ 1 });
    oak_collect();
    for (int i = 0; i < 1000; i++) memset(oak_alloc_noscan(1000), 0x11, 1000);
    AO_store(&go, 1);
    test_join(id);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

Suite *suite_maps_map_threads(void)
{
    Suite *s = suite_create("maps_map_threads");
    TCase *tc = tcase_create("threads");
    tcase_add_test(tc, segments_come_and_go_beside_a_collection);
    tcase_add_loop_test(tc, two_threads_make_the_first_maps, 0, 60);
    tcase_add_loop_test(tc, who_was_never_attached_may_write, 0, OAKI_COUNT(writers));
    tcase_add_test(tc, who_adds_where_there_is_room_is_attached);
    tcase_add_test(tc, a_reader_holds_what_it_got);
    suite_add_tcase(s, tc);
    return s;
}

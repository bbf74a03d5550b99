/* path_maps.c - tests of paths through maps: the key of the entry, the old array of a map that
 * grows, iterators, on both kinds of map and on what is built on them. */
#include "maps/classic.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <stdio.h>
#include <string.h>

Suite *suite_observe_path_maps(void);

#define HIDE(p) (~(uintptr_t)(p))

void *path_maps_global;
static char said[8192];
static uintptr_t hidden;

static void start(void)
{
    test_heap_start(test_config());
}

static void ask_away(void *arg)
{
    *(oak_path **)arg = oak_why_alive((void *)HIDE(hidden));
}

static void expect(const char *text)
{
    oak_path *p = NULL;
    test_away(ask_away, &p);
    ck_assert_ptr_nonnull(p);
    oak_path_format(p, said, sizeof said);
    ck_assert_msg(p->root.kind == OAK_ROOT_GLOBAL && strstr(said, text), "wanted \"%s\" in:\n%s",
                  text, said);
    oak_path_free(p);
}

/* ---- keys ---- */

static char *text_of(int i)
{
    char *text = oak_alloc_noscan(32);
    snprintf(text, 32, "name \"%d\"\n", i);
    return text;
}

static void fill_cstring(void *arg)
{
    oak_map *m = oak_map_new(&oak_map_cstring_ptr, 0);
    for (int i = 0; i < 3000; i++) {
        void *v = oak_alloc(32);
        const char *key = text_of(i);
        *(void **)oak_map_put(m, &key) = v;
        if (i == 1234) hidden = HIDE(v);
    }
    *(void **)arg = m;
}

static void fill_u64(void *arg)
{
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t i = 0; i < 10; i++) {
        void *v = oak_alloc(32);
        *(void **)oak_map_put(m, &(uint64_t){ i * 1000003 }) = v;
        if (i == 7) hidden = HIDE(v);
    }
    *(void **)arg = m;
}

static void fill_slice(void *arg)
{
    oak_map *m = oak_map_new(&oak_map_slice_ptr, 0);
    void *v = oak_alloc(32);
    oak_slice key = { memcpy(oak_alloc_noscan(5), "ab\0cd", 5), 5 };
    *(void **)oak_map_put(m, &key) = v;
    hidden = HIDE(v);
    *(void **)arg = m;
}

static void fill_classic_int(void *arg)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_ptr, 0);
    for (uint64_t i = 0; i < 3000; i++) {
        void *v = oak_alloc(32);
        *(void **)oak_classic_put(m, &i) = v;
        if (i == 2345) hidden = HIDE(v);
    }
    *(void **)arg = m;
}

static void fill_classic_string(void *arg)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_string_any, 0);
    oak_classic_string key = { memcpy(oak_alloc_noscan(8), "caf\xc3\xa9 7", 7), 7 };
    void **v = oak_classic_put(m, &key);
    v[1] = oak_alloc(32);
    hidden = HIDE(v[1]);
    *(void **)arg = m;
}

static const struct {
    void (*fill)(void *);
    const char *text;
} kinds[] = {
    { fill_cstring, "value of key \"name \\\"1234\\\"\\x0a\"" },
    { fill_u64, "value of key 7000021" },
    { fill_slice, "value of key \"ab\\x00cd\"" },
    { fill_classic_int, "value of key 2345" },
    { fill_classic_string, "value of key \"caf\\xc3\\xa9 7\"" },
};

START_TEST(the_key_of_the_entry_is_told)
{
    start();
    test_away(kinds[_i].fill, &path_maps_global);
    expect(kinds[_i].text);
    path_maps_global = NULL;
}
END_TEST

/* ---- growing ---- */

/* The last put began to grow: a few buckets are evacuated, and the value is in the old array. */
static void fill_until_growing(void *arg)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_ptr, 0);
    oak_classic_set_seed(m, 5);
    for (uint64_t i = 0; m->B < 8; i++) *(void **)oak_classic_put(m, &i) = oak_alloc(32);
    ck_assert_ptr_nonnull(m->oldbuckets);
    const oak_classic_type *t = m->type;
    for (size_t b = m->nevacuate + 4; b < oaki_classic_noldbuckets(m); b++) {
        oaki_bmap *bucket = oaki_classic_bucket(t, m->oldbuckets, b);
        if (oaki_classic_evacuated(bucket) || bucket->tags[0] < OAKI_TAG_MIN) continue;
        hidden = HIDE(*(void **)oaki_classic_value(t, bucket, 0));
        break;
    }
    *(void **)arg = m;
}

START_TEST(the_old_buckets_of_a_classic_map_are_named)
{
    start();
    test_away(fill_until_growing, &path_maps_global);
    expect("-> oldbuckets (+24)");
    ck_assert_ptr_nonnull(strstr(said, "value of key"));
    path_maps_global = NULL;
}
END_TEST

static void take_old_array(void *arg)
{
    (void)arg;
    hidden = HIDE(((oak_classic_map *)path_maps_global)->oldbuckets);
}

START_TEST(the_array_that_a_classic_map_leaves_is_named)
{
    start();
    test_away(fill_until_growing, &path_maps_global);
    test_away(take_old_array, NULL);
    expect("-> oldbuckets (+24)");
    path_maps_global = NULL;
}
END_TEST

static void fill_default_until_growing(void *arg)
{
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    oak_map_stats s = { .resizing = false };
    for (uint64_t i = 0; i < 5000 || !s.resizing; i++) {
        *(void **)oak_map_put(m, &i) = oak_alloc(16);
        if (i >= 5000) oak_map_stats_read(m, &s);
    }
    oak_map_iter it;
    oak_map_iter_init(&it, m);
    void *last = NULL;
    while (oak_map_iter_next(&it)) last = *(void **)it.value; /* the last homes move last */
    hidden = HIDE(last);
    *(void **)arg = m;
}

START_TEST(the_old_array_of_a_default_map_is_named)
{
    start();
    test_away(fill_default_until_growing, &path_maps_global);
    expect("-> old array");
    path_maps_global = NULL;
}
END_TEST

/* ---- iterators ---- */

static AO_t phase;
static oak_classic_map *classic;

/* An iterator on a stack holds the array that the map has left. */
static void *iterate(void *arg)
{
    oak_classic_iter it;
    oak_thread_attach();
    oak_classic_iter_init(&it, classic);
    ck_assert(oak_classic_iter_next(&it));
    hidden = HIDE(it.buckets);
    AO_store_release(&phase, 1);
    oak_blocking_enter();
    test_wait(&phase, 2);
    oak_blocking_leave();
    while (oak_classic_iter_next(&it)) {}
    return arg;
}

static void fill_classic(void *arg)
{
    classic = oak_classic_new(&oak_classic_int_ptr, 0);
    for (uint64_t i = 0; i < 100; i++) *(void **)oak_classic_put(classic, &i) = oak_alloc(16);
    (void)arg;
}

static void grow_classic(void *arg)
{
    for (uint64_t i = 100; i < 10000; i++) *(void **)oak_classic_put(classic, &i) = oak_alloc(16);
    (void)arg;
}

START_TEST(an_iterator_that_holds_an_old_array_is_told)
{
    oak_path *p = NULL;
    start();
    test_away(fill_classic, NULL);
    pthread_t t = test_start(iterate, NULL);
    test_wait(&phase, 1);
    test_away(grow_classic, NULL);
    test_away(ask_away, &p);
    ck_assert_ptr_nonnull(p);
    oak_path_format(p, said, sizeof said);
    ck_assert_int_eq(p->root.kind, OAK_ROOT_STACK);
    bool framed = test_slow() || strstr(said, "in iterate()");
    ck_assert_msg(strstr(said, "oak_classic_iter.") && framed, "%s", said);
    oak_path_free(p);
    AO_store_release(&phase, 2);
    test_join(t);
}
END_TEST

/* ---- what is built on maps ---- */

static void fill_cache(void *arg)
{
    oak_cache_config c = { .keys = &oak_map_u64_ptr, .max_entries = 100 };
    oak_cache *cache = oak_cache_new(&c);
    void *v = oak_alloc(64);
    ck_assert_int_eq(oak_cache_put(cache, &(uint64_t){ 99 }, v), 0);
    hidden = HIDE(v);
    *(void **)arg = cache;
}

static void fill_weakkey(void *arg)
{
    void **top = oak_alloc(32), *key = oak_alloc(48), *v = oak_alloc(64);
    oak_weakkey *m = oak_weakkey_new(0, 0);
    ck_assert_int_eq(oak_weakkey_put(m, key, v), 0);
    top[0] = m;
    top[1] = key;
    hidden = HIDE(v);
    *(void **)arg = top;
}

START_TEST(a_cache_and_a_weak_map_are_gone_through)
{
    start();
    test_away(_i ? fill_weakkey : fill_cache, &path_maps_global);
    expect(_i ? "ephemeron" : "value of key 99");
    path_maps_global = NULL;
}
END_TEST

Suite *suite_observe_path_maps(void)
{
    Suite *s = suite_create("observe_path_maps");
    TCase *t = tcase_create("maps");
    tcase_add_loop_test(t, the_key_of_the_entry_is_told, 0, (int)OAKI_COUNT(kinds));
    tcase_add_test(t, the_old_buckets_of_a_classic_map_are_named);
    tcase_add_test(t, the_array_that_a_classic_map_leaves_is_named);
    tcase_add_test(t, the_old_array_of_a_default_map_is_named);
    tcase_add_test(t, an_iterator_that_holds_an_old_array_is_told);
    tcase_add_loop_test(t, a_cache_and_a_weak_map_are_gone_through, 0, 2);
    suite_add_tcase(s, t);
    return s;
}

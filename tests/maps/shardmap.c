/* shardmap.c - tests of maps/shardmap.c: copies in and out, updates, threads, misuse, and what
 * stays in memory. */
#include "runtime/base.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <string.h>

Suite *suite_maps_shardmap(void);

static oak_shardmap *map;

static void start(void)
{
    test_heap_start(test_config());
}

static oak_shardmap_stats stats(void)
{
    oak_shardmap_stats s;
    oak_shardmap_stats_read(map, &s);
    return s;
}

static bool get(uint64_t key, uint64_t *value)
{
    return oak_shardmap_get(map, &key, value);
}

static void put(uint64_t key, uint64_t value)
{
    ck_assert_int_eq(oak_shardmap_put(map, &key, &value), 0);
}

static bool del(uint64_t key)
{
    return oak_shardmap_delete(map, &key);
}

/* ---- operations ---- */

static bool add(void *value, bool there, void *ctx)
{
    uint64_t *v = value;
    ck_assert(there || *v == 0);
    *v += *(uint64_t *)ctx;
    return *v != 100; /* which is to go */
}

static bool refuse(void *value, bool there, void *ctx)
{
    (void)value, (void)there, (void)ctx;
    return false;
}

START_TEST(a_key_unequal_to_itself_that_is_refused_is_not_left)
{
    double nan = __builtin_nan("");
    map = oak_shardmap_new(&oak_map_double_u64, 1, 0);
    ck_assert_int_eq(oak_shardmap_put(map, &nan, NULL), 0);
    for (int i = 0; i < 10; i++) ck_assert_int_eq(oak_shardmap_update(map, &nan, refuse, NULL), 0);
    ck_assert_uint_eq(oak_shardmap_len(map), 1);
}
END_TEST

START_TEST(values_are_copied)
{
    uint64_t v = 5, k = 1, by = 7;
    map = oak_shardmap_new(&oak_map_u64_u64, 3, 0);
    ck_assert_uint_eq(stats().shards, 4);
    ck_assert(!get(1, &v));
    ck_assert_uint_eq(v, 5);
    put(1, v);
    v = 6;
    ck_assert(get(1, &v));
    ck_assert_uint_eq(v, 5);
    ck_assert(oak_shardmap_get(map, &k, NULL));
    ck_assert_int_eq(oak_shardmap_put(map, &k, NULL), 0);
    ck_assert(get(1, &v));
    ck_assert_uint_eq(v, 0);
    ck_assert_int_eq(oak_shardmap_update(map, &k, add, &by), 1);
    ck_assert_int_eq(oak_shardmap_update(map, &k, add, &by), 1);
    ck_assert(get(1, &v));
    ck_assert_uint_eq(v, 14);
    k = 2;
    ck_assert_int_eq(oak_shardmap_update(map, &k, add, &by), 0);
    ck_assert_uint_eq(oak_shardmap_len(map), 2);
    by = 93;
    ck_assert_int_eq(oak_shardmap_update(map, &k, add, &by), 1); /* to 100 */
    by = 100;
    k = 3;
    ck_assert_int_eq(oak_shardmap_update(map, &k, add, &by), 0);
    ck_assert_uint_eq(oak_shardmap_len(map), 1);
    ck_assert(!del(2) && !del(3) && del(1) && !del(1));
    ck_assert_uint_eq(oak_shardmap_len(map), 0);
}
END_TEST

START_TEST(an_unmade_map_reads_as_empty)
{
    uint64_t k = 1;
    ck_assert(!oak_shardmap_get(NULL, &k, &k));
    ck_assert(!oak_shardmap_delete(NULL, &k));
    ck_assert_uint_eq(oak_shardmap_len(NULL), 0);
    ck_assert_int_eq(oak_shardmap_range(NULL, NULL, NULL), 0);
    oak_shardmap_clear(NULL);
    map = NULL;
    ck_assert_uint_eq(stats().shards, 0);
    errno = 0;
    ck_assert_ptr_null(oak_shardmap_new(NULL, 0, 0));
    ck_assert_int_eq(errno, EINVAL);
    oak_map_type wrong = { .key = OAK_KEY_CUSTOM, .key_size = 8 };
    ck_assert_ptr_null(oak_shardmap_new(&wrong, 0, 0));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(parts_are_counted_in_powers_of_two)
{
    static const size_t counts[][2] = { { 1, 1 },     { 2, 2 },     { 5, 8 },
                                        { 255, 256 }, { 256, 256 }, { SIZE_MAX, 256 } };
    for (size_t i = 0; i < OAKI_COUNT(counts); i++) {
        map = oak_shardmap_new(&oak_map_u64_u64, counts[i][0], 0);
        ck_assert_uint_eq(stats().shards, counts[i][1]);
        for (uint64_t k = 0; k < 1000; k++) put(k, k + 1);
        for (uint64_t k = 0, v; k < 1000; k++) ck_assert(get(k, &v) && v == k + 1);
        ck_assert_uint_eq(stats().len, 1000);
    }
    map = oak_shardmap_new(&oak_map_u64_u64, 0, 0);
    size_t n = stats().shards;
    ck_assert(n >= OAKI_MIN(4 * (size_t)oaki_os_cpus(), 256) && (n & (n - 1)) == 0);
}
END_TEST

/* Keys spread evenly over the parts, and within a part over its groups: a part's map has the
 * overflow that its load explains, though all its keys agree in the bits that chose the part. */
START_TEST(keys_spread_over_parts_and_in_them)
{
    map = oak_shardmap_new(&oak_map_u64_u64, 64, 0);
    for (uint64_t k = 0; k < 64000; k++) put(k, k);
    ck_assert_uint_ge(stats().smallest, 800);
    ck_assert_uint_le(stats().largest, 1200);
    ck_assert(!stats().bad_hash);
    ck_assert_uint_le(stats().reseeds, 8); /* one map of 1,000 in a hundred does by chance */
}
END_TEST

typedef struct ranged {
    const void *key[2];
    size_t n;
} ranged;

static bool note_key(const void *key, void *value, void *ctx)
{
    ranged *r = ctx;
    (void)value;
    r->key[r->n++] = *(const void *const *)key;
    return true;
}

/* Which of two keys is in the part before is another question for each map: nobody knows keys that
 * are all in one part. Of texts, whose hash takes nothing but the seed, too. */
START_TEST(no_two_maps_part_keys_alike)
{
    enum { MAPS = 64 };
    static const void *const numbers[] = { (void *)8, (void *)16 }, *const texts[] = { "a", "b" };
    const void *const *key = _i ? texts : numbers;
    size_t first = 0;
    for (size_t i = 0; i < MAPS; i++) {
        ranged r = { .n = 0 };
        map = oak_shardmap_new(_i ? &oak_map_cstring_u64 : &oak_map_ptr_u64, 256, 0);
        for (size_t k = 0; k < 2; k++)
            ck_assert_int_eq(oak_shardmap_put(map, &key[k], NULL), 0);
        ck_assert_int_eq(oak_shardmap_range(map, note_key, &r), 0);
        ck_assert_uint_eq(r.n, 2);
        first += r.key[0] == key[0];
    }
    ck_assert_uint_gt(first, 0);
    ck_assert_uint_lt(first, MAPS);
}
END_TEST

START_TEST(a_hint_spares_growth)
{
    map = oak_shardmap_new(&oak_map_u64_u64, 8, 100000);
    ck_assert_uint_eq(stats().array_bytes, 0);
    for (uint64_t k = 0; k < 100000; k++) put(k, k);
    ck_assert_uint_eq(stats().growths, 0);
    uint64_t before = test_stats().heap_alloc; /* overwriting takes nothing */
    for (uint64_t k = 0; k < 100000; k++) put(k, k + 1);
    ck_assert_uint_eq(test_stats().heap_alloc, before);
}
END_TEST

/* ---- range ---- */

static size_t given[2000];

static bool see(const void *key, void *value, void *ctx)
{
    uint64_t k = *(const uint64_t *)key;
    ck_assert_ptr_nonnull(oak_alloc_noscan(64 + k));
    ck_assert_uint_eq(*(uint64_t *)value, 2 * k);
    given[k]++;
    *(uint64_t *)value = k;
    return --*(size_t *)ctx > 0;
}

START_TEST(range_gives_each_entry_once)
{
    size_t left = SIZE_MAX;
    uint64_t v;
    map = oak_shardmap_new(&oak_map_u64_u64, 16, 0);
    ck_assert_int_eq(oak_shardmap_range(map, see, &left), 0);
    for (uint64_t k = 0; k < 2000; k++) put(k, 2 * k);
    ck_assert_int_eq(oak_shardmap_range(map, see, &left), 0);
    for (size_t k = 0; k < 2000; k++) ck_assert_uint_eq(given[k], 1);
    ck_assert(get(1999, &v) && v == 1999);
    for (uint64_t k = 0; k < 2000; k++) put(k, 2 * k);
    left = 10;
    ck_assert_int_eq(oak_shardmap_range(map, see, &left), 0);
    ck_assert_uint_eq(left, 0);
    put(1, 1); /* no lock was left behind */
    oak_shardmap_clear(map);
    ck_assert_uint_eq(oak_shardmap_len(map), 0);
    ck_assert_uint_eq(stats().array_bytes, 0);
}
END_TEST

/* ---- what stays ---- */

enum { KEYS = 20000 };
static oak_weak *weak[KEYS];
TEST_LARGE(maps_shardmap, weak)

static void fill(void *arg)
{
    (void)arg;
    for (uint64_t k = 0; k < KEYS; k++) {
        void *value = oak_alloc_noscan(256);
        weak[k] = oak_weak_new(value);
        ck_assert_int_eq(oak_shardmap_put(map, &k, &value), 0);
    }
}

static void empty(void *arg)
{
    for (uint64_t k = 0; k < KEYS; k++) ck_assert(del(k));
    (void)arg;
}

static size_t alive(void)
{
    size_t n = 0;
    for (size_t i = 0; i < KEYS; i++) n += weak[i] && oak_weak_get(weak[i]) != NULL;
    return n;
}

START_TEST(deleted_entries_are_gone_with_the_next_collection)
{
    map = oak_shardmap_new(&oak_map_u64_ptr, 16, 0);
    oak_collect();
    uint64_t before = test_stats().heap_alloc;
    test_away(fill, NULL);
    oak_collect();
    ck_assert_uint_eq(alive(), KEYS);
    test_away(empty, NULL);
    oak_collect();
    ck_assert_uint_eq(alive(), 0);
    memset(weak, 0, sizeof weak);
    oak_collect();
    ck_assert_uint_le(test_stats().heap_alloc, before + 16 * 1024);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 4, OWN = 500, SHARED = 16 };
static AO_t ended;

typedef struct worker {
    uint64_t rng, id;
    size_t steps;
    bool present[OWN];
    uint64_t *value[OWN];
    uint64_t counted[SHARED];
} worker;

static bool count_up(void *value, bool there, void *ctx)
{
    (void)there;
    worker *w = ctx;
    if (test_draw(&w->rng) % 64 == 0) oak_collect(); /* others wait for the lock, or the world */
    *(uintptr_t *)value += 16;
    return true;
}

static void own_key(worker *w)
{
    size_t i = test_draw(&w->rng) % OWN;
    uint64_t key = w->id << 32 | i, *value = NULL;
    bool there = oak_shardmap_get(map, &key, &value);
    test_expect(there == w->present[i] && (!there || value == w->value[i]), __LINE__);
    if (there) test_expect(*value == key, __LINE__);
    if (test_draw(&w->rng) % 5 < 3) {
        value = oak_alloc_noscan(8);
        *value = key;
        test_expect(oak_shardmap_put(map, &key, &value) == 0, __LINE__);
        w->value[i] = value;
        w->present[i] = true;
    } else {
        test_expect(oak_shardmap_delete(map, &key) == there, __LINE__);
        w->present[i] = false;
        w->value[i] = NULL;
    }
}

static void *work(void *arg)
{
    worker *w = arg;
    for (size_t n = 0; n < w->steps; n++) {
        uint64_t key = test_draw(&w->rng) % SHARED;
        if (test_draw(&w->rng) % 4) {
            own_key(w);
        } else {
            test_expect(oak_shardmap_update(map, &key, count_up, w) >= 0, __LINE__);
            w->counted[key]++;
        }
    }
    AO_fetch_and_add1_full(&ended);
    return NULL;
}

START_TEST(threads_agree)
{
    static worker w[THREADS];
    pthread_t id[THREADS];
    size_t len = SHARED;
    test_seed("maps/shardmap");
    map = oak_shardmap_new(&oak_map_u64_ptr, _i ? 1 : 8, 0);
    for (size_t t = 0; t < THREADS; t++) {
        w[t].rng = test_random() | 1;
        w[t].id = t + 1;
        w[t].steps = test_scale(20000);
        id[t] = test_start(work, &w[t]);
    }
    while (AO_load_acquire(&ended) < THREADS) {
        oak_collect();
        test_expect(oak_shardmap_len(map) <= SHARED + THREADS * OWN, __LINE__);
    }
    for (size_t t = 0; t < THREADS; t++) test_join(id[t]);
    ck_assert_msg(AO_load(&test_wrong) == 0, "line %lu", (unsigned long)AO_load(&test_wrong));
    for (uint64_t k = 0; k < SHARED; k++) {
        uint64_t sum = 0, v;
        for (size_t t = 0; t < THREADS; t++) sum += w[t].counted[k];
        ck_assert(get(k, &v));
        ck_assert_uint_eq(v, 16 * sum);
    }
    for (size_t t = 0; t < THREADS; t++)
        for (size_t i = 0; i < OWN; i++) len += w[t].present[i];
    ck_assert_uint_eq(oak_shardmap_len(map), len);
}
END_TEST

/* ---- misuse, and no memory ---- */

static bool use_again(void *value, bool there, void *ctx)
{
    (void)value;
    (void)there;
    return oak_shardmap_get(ctx, &(uint64_t){ 99 }, NULL);
}

static bool use_in_range(const void *key, void *value, void *ctx)
{
    (void)key;
    (void)value;
    return oak_shardmap_len(ctx) > 0;
}

static uint64_t any_hash(const void *key, uint64_t seed, size_t size)
{
    return oak_hash_bytes(key, size, seed);
}

static bool use_in_equal(const void *a, const void *b, size_t size)
{
    (void)a;
    (void)b;
    return oak_shardmap_len(map) > size;
}

enum { IN_UPDATE, IN_RANGE, IN_EQUAL, NIL_PUT, NIL_UPDATE };

static void misuse(void *arg)
{
    uint64_t k = 1;
    oak_map_type type = { .key = OAK_KEY_CUSTOM,
                          .key_size = 8,
                          .value_size = 8,

                          .hash = any_hash,
                          .equal = use_in_equal };
    switch (*(const int *)arg) {
    case IN_UPDATE:
        oak_shardmap_update(map, &k, use_again, map);
        break;
    case IN_RANGE:
        put(1, 1);
        oak_shardmap_range(map, use_in_range, map);
        break;
    case IN_EQUAL:
        map = oak_shardmap_new(&type, 1, 0);
        oak_shardmap_put(map, &k, &k);
        oak_shardmap_put(map, &k, &k);
        break;
    case NIL_PUT:
        oak_shardmap_put(NULL, &k, &k);
        break;
    default:
        oak_shardmap_update(NULL, &k, use_again, NULL);
    }
}

START_TEST(misuse_is_fatal)
{
    int what = _i;
    map = oak_shardmap_new(&oak_map_u64_u64, 64, 0);
    test_dies(misuse, &what,
              what < NIL_PUT ? "oakum: a sharded map is used from inside a function"
                             : "oakum: write to a nil sharded map");
}
END_TEST

START_TEST(without_memory_the_map_stays_whole)
{
    size_t stored = 0, failed = 0;
    map = oak_shardmap_new(&oak_map_u64_u64, 4, 0);
    for (uint64_t k = 0; k < 5000; k++) put(k, k);
    oak_set_heap_max(test_stats().heap_inuse + ((size_t)64 << 10));
    for (uint64_t k = 5000, v; failed < 20; k++) {
        errno = 0;
        bool done = oak_shardmap_put(map, &k, &k) == 0;
        ck_assert(done || errno == ENOMEM);
        ck_assert(get(k, &v) == done);
        stored += done;
        failed += !done;
        ck_assert(k < 1000000);
    }
    ck_assert_uint_eq(oak_shardmap_len(map), 5000 + stored);
    oak_set_heap_max(0);
    for (uint64_t k = 0; k < 50000; k++) put(k, k);
    ck_assert_uint_ge(oak_shardmap_len(map), 50000);
}
END_TEST

Suite *suite_maps_shardmap(void)
{
    Suite *s = suite_create("maps/shardmap");
    TCase *c = tcase_create("shardmap");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, values_are_copied);
    tcase_add_test(c, a_key_unequal_to_itself_that_is_refused_is_not_left);
    tcase_add_test(c, an_unmade_map_reads_as_empty);
    tcase_add_test(c, parts_are_counted_in_powers_of_two);
    tcase_add_test(c, keys_spread_over_parts_and_in_them);
    tcase_add_loop_test(c, no_two_maps_part_keys_alike, 0, 2);
    tcase_add_test(c, a_hint_spares_growth);
    tcase_add_test(c, range_gives_each_entry_once);
    tcase_add_test(c, deleted_entries_are_gone_with_the_next_collection);
    tcase_add_loop_test(c, threads_agree, 0, 2);
    tcase_add_loop_test(c, misuse_is_fatal, 0, 5);
    tcase_add_test(c, without_memory_the_map_stays_whole);
    suite_add_tcase(s, c);
    return s;
}

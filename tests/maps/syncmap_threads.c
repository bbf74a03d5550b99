/* syncmap_threads.c - tests of the sync map by many threads at once, with collections meanwhile.
 *
 * Few keys, so that nodes are made, frozen and taken out all the time, in each other's way. What a
 * thread knows for certain is checked at once: the keys that only it writes, those that nobody
 * deletes, that a token is taken once, that no increment is lost. */
#include "maps/syncmap.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/oakum.h>
#include <string.h>

#ifndef SUITE /* syncmap_race.c has others */
#define SUITE "maps/syncmap_threads"
#define STEPS 100000
#endif

Suite *suite_maps_syncmap_threads(void);

enum { THREADS = 4, OWN = 40, TOKENS = 24, COUNTERS = 8, FIXED = 30 };

/* Keys: each thread's own, tokens, counters, and those that stay. */
enum { TOKEN_KEY = 1 << 20, COUNTER_KEY = 2 << 20, FIXED_KEY = 3 << 20 };

static oak_syncmap *map;
static AO_t ended;
static size_t steps;

enum { CLOSE = 4 };

/* Each number that went in comes out once, or is in the map in the end. */
typedef struct flow {
    uint64_t in[CLOSE], out[CLOSE];
} flow;

typedef struct worker {
    uint64_t rng, id;
    flow flow;
    bool present[OWN];
    uint64_t value[OWN];
    size_t added[TOKENS], taken[TOKENS], counted[COUNTERS];
} worker;

/* Values are boxes that know their key, so that one which was freed too early shows. */
typedef struct box {
    uint64_t key, number;
} box;

static box *boxed(uint64_t key, uint64_t number)
{
    box *b = oak_alloc_noscan(sizeof *b);
    if (!b) return NULL;
    b->key = key;
    b->number = number;
    return b;
}

static void own_key(worker *w)
{
    size_t i = test_draw(&w->rng) % OWN;
    uint64_t key = w->id << 10 | i, number = test_draw(&w->rng);
    void *v;
    bool there = oak_syncmap_load(map, &key, &v);
    test_expect(there == w->present[i], __LINE__);
    if (there) test_expect(((box *)v)->key == key && ((box *)v)->number == w->value[i], __LINE__);
    if (test_draw(&w->rng) % 2) {
        test_expect(oak_syncmap_swap(map, &key, boxed(key, number), NULL) == there, __LINE__);
        w->present[i] = true;
        w->value[i] = number;
    } else {
        test_expect(oak_syncmap_delete(map, &key) == there, __LINE__);
        w->present[i] = false;
    }
}

static void others_key(worker *w)
{
    uint64_t key = (test_draw(&w->rng) % THREADS + 1) << 10 | test_draw(&w->rng) % OWN;
    void *v;
    if (oak_syncmap_load(map, &key, &v)) test_expect(((box *)v)->key == key, __LINE__);
}

static void token(worker *w)
{
    size_t i = test_draw(&w->rng) % TOKENS;
    uint64_t key = TOKEN_KEY + i;
    void *v;
    if (test_draw(&w->rng) % 2) {
        box *b = boxed(key, w->id);
        w->added[i] += oak_syncmap_load_or_store(map, &key, b, &v) == 0;
        test_expect(((box *)v)->key == key, __LINE__);
    } else if (oak_syncmap_load_and_delete(map, &key, &v)) {
        w->taken[i]++;
        test_expect(((box *)v)->key == key, __LINE__);
    }
}

static void counter(worker *w)
{
    size_t i = test_draw(&w->rng) % COUNTERS;
    uint64_t key = COUNTER_KEY + i;
    void *v;
    test_expect(oak_syncmap_load(map, &key, &v), __LINE__);
    if (oak_syncmap_compare_and_swap(map, &key, v, (void *)((uintptr_t)v + 16))) w->counted[i]++;
}

static void fixed_key(worker *w)
{
    uint64_t key = FIXED_KEY + test_draw(&w->rng) % FIXED;
    test_expect(oak_syncmap_load(map, &key, NULL), __LINE__);
}

static bool see(const void *key, void *value, void *ctx)
{
    uint64_t k = *(const uint64_t *)key;
    (void)value;
    if (k >= FIXED_KEY) ((unsigned char *)ctx)[k - FIXED_KEY]++;
    return true;
}

static void walk(void)
{
    unsigned char seen[FIXED] = { 0 };
    oak_syncmap_range(map, see, seen);
    for (size_t i = 0; i < FIXED; i++) test_expect(seen[i] == 1, __LINE__);
}

static void *work(void *arg)
{
    worker *w = arg;
    for (size_t i = 0; i < steps; i++) {
        switch (test_draw(&w->rng) % 8) {
        case 0:
            others_key(w);
            break;
        case 1:
        case 2:
            token(w);
            break;
        case 3:
            counter(w);
            break;
        case 4:
            fixed_key(w);
            break;
        default:
            own_key(w);
        }
        if (test_draw(&w->rng) % 500 == 0) walk();
    }
    AO_fetch_and_add1_full(&ended);
    return NULL;
}

static uint64_t few_hashes(const void *key, uint64_t seed, size_t size)
{
    (void)size;
    return *(const uint64_t *)key % 11 ^ seed;
}

static uint64_t one_hash(const void *key, uint64_t seed, size_t size)
{
    (void)key;
    (void)size;
    return seed;
}

static bool same_word(const void *a, const void *b, size_t size)
{
    (void)size;
    return *(const uint64_t *)a == *(const uint64_t *)b;
}

static const oak_map_type types[] = {
    { .key = OAK_KEY_U64 },
    { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = few_hashes, .equal = same_word },
    { .key = OAK_KEY_CUSTOM, .key_size = 8, .hash = one_hash, .equal = same_word },
};

static void start(void)
{
    test_heap_start(test_config());
}

static void check_result(const worker *w)
{
    size_t len = FIXED + COUNTERS;
    for (uint64_t k = COUNTER_KEY, i = 0; i < COUNTERS; i++, k++) {
        size_t sum = 0;
        void *v;
        for (size_t t = 0; t < THREADS; t++) sum += w[t].counted[i];
        ck_assert(oak_syncmap_load(map, &k, &v));
        ck_assert_uint_eq((uintptr_t)v, 16 * sum);
    }
    for (uint64_t k = TOKEN_KEY, i = 0; i < TOKENS; i++, k++) {
        size_t there = oak_syncmap_load(map, &k, NULL);
        len += there;
        for (size_t t = 0; t < THREADS; t++) there += w[t].taken[i] - w[t].added[i];
        ck_assert_uint_eq(there, 0);
    }
    for (size_t t = 0; t < THREADS; t++)
        for (size_t i = 0; i < OWN; i++) len += w[t].present[i];
    ck_assert_uint_eq(oak_syncmap_len(map), len);
    oak_syncmap_stats s;
    ck_assert_ptr_null(oaki_sync_check(map));
    oak_syncmap_stats_read(map, &s);
    ck_assert_uint_eq(s.entries, len);
}

static bool delete_it(const void *key, void *value, void *ctx)
{
    (void)value;
    (void)ctx;
    ck_assert(oak_syncmap_delete(map, key));
    return true;
}

START_TEST(threads_agree)
{
    static worker w[THREADS];
    pthread_t id[THREADS];
    oak_syncmap_stats s;
    test_seed(SUITE);
    steps = test_scale(_i ? STEPS / 5 : STEPS);
    map = oak_syncmap_new(&types[_i]);
    for (uint64_t k = FIXED_KEY; k < FIXED_KEY + FIXED; k++) oak_syncmap_store(map, &k, NULL);
    for (uint64_t k = COUNTER_KEY; k < COUNTER_KEY + COUNTERS; k++)
        oak_syncmap_store(map, &k, NULL);
    for (size_t t = 0; t < THREADS; t++) {
        w[t].rng = test_random() | 1;
        w[t].id = t + 1;
        id[t] = test_start(work, &w[t]);
    }
    while (AO_load_acquire(&ended) < THREADS) oak_collect();
    for (size_t t = 0; t < THREADS; t++) test_join(id[t]);
    ck_assert_msg(AO_load(&test_wrong) == 0, "line %lu", (unsigned long)AO_load(&test_wrong));
    check_result(w);
    oak_syncmap_range(map, delete_it, NULL);
    ck_assert_ptr_null(oaki_sync_check(map));
    oak_syncmap_stats_read(map, &s);
    ck_assert_uint_eq(s.entries, 0);
    ck_assert_uint_eq(s.nodes, 1);
}
END_TEST

/* ---- all in one node ---- */

static uint64_t near[CLOSE + THREADS]; /* keys whose hashes begin alike: shared, and one's own */

static uint64_t number_of(void *value)
{
    return value ? ((box *)value)->number : 0;
}

static void shared_key(worker *w, flow *f)
{
    size_t i = test_draw(&w->rng) % CLOSE;
    void *v = NULL;
    box *b = boxed(near[i], test_draw(&w->rng));
    switch (test_draw(&w->rng) % 6) {
    case 0:
        oak_syncmap_swap(map, &near[i], b, &v);
        f->in[i] += b->number;
        break;
    case 1:
        if (oak_syncmap_load_or_store(map, &near[i], b, &v) == 0) f->in[i] += b->number;
        v = NULL;
        break;
    case 2:
        if (!oak_syncmap_load(map, &near[i], &v)) break;
        if (oak_syncmap_compare_and_swap(map, &near[i], v, b))
            f->in[i] += b->number;
        else
            v = NULL;
        break;
    case 3:
        if (!oak_syncmap_load(map, &near[i], &v)) break;
        if (!oak_syncmap_compare_and_delete(map, &near[i], v)) v = NULL;
        break;
    default:
        oak_syncmap_load_and_delete(map, &near[i], &v);
    }
    f->out[i] += number_of(v);
    if (v) test_expect(((box *)v)->key == near[i], __LINE__);
}

static void *churn(void *arg)
{
    worker *w = arg;
    uint64_t *mine = &near[CLOSE + w->id];
    for (size_t i = 0; i < steps; i++) {
        shared_key(w, &w->flow);
        test_expect(oak_syncmap_load(map, mine, NULL) == (i % 2 == 1), __LINE__);
        if (i % 2)
            test_expect(oak_syncmap_delete(map, mine), __LINE__);
        else
            test_expect(oak_syncmap_swap(map, mine, w, NULL) == 0, __LINE__);
    }
    AO_fetch_and_add1_full(&ended);
    return NULL;
}

/* The keys are in one node three levels down, which comes and goes with them all the time; its
 * parents hold nothing else. */
START_TEST(what_goes_in_comes_out_once)
{
    static worker w[THREADS];
    pthread_t id[THREADS];
    oak_syncmap_stats s;
    test_seed(SUITE " close");
    steps = test_scale(2 * STEPS) & ~(size_t)1;
    map = oak_syncmap_new(&types[0]);
    for (uint64_t k = 0, n = 0; n < OAKI_COUNT(near); k++)
        if (oak_map_mix_(k, map->seed, map->mult) >> 52 == 0x5a5) near[n++] = k;
    for (size_t t = 0; t < THREADS; t++) {
        w[t].rng = test_random() | 1;
        w[t].id = t;
        id[t] = test_start(churn, &w[t]);
    }
    while (AO_load_acquire(&ended) < THREADS) oak_collect();
    for (size_t t = 0; t < THREADS; t++) test_join(id[t]);
    ck_assert_msg(AO_load(&test_wrong) == 0, "line %lu", (unsigned long)AO_load(&test_wrong));
    ck_assert_ptr_null(oaki_sync_check(map));
    for (size_t i = 0; i < CLOSE; i++) {
        uint64_t left = 0;
        void *v;
        for (size_t t = 0; t < THREADS; t++) left += w[t].flow.in[i] - w[t].flow.out[i];
        bool there = oak_syncmap_load_and_delete(map, &near[i], &v);
        ck_assert_uint_eq(left, there ? number_of(v) : 0);
    }
    oak_syncmap_stats_read(map, &s);
    ck_assert_uint_eq(s.entries, 0);
    ck_assert_uint_eq(s.nodes, 1);
}
END_TEST

/* ---- clear ---- */

/* Others store and delete the same few keys. */
static void *disturb(void *arg)
{
    worker *w = arg;
    for (size_t i = 0; i < steps; i++) {
        uint64_t key = test_draw(&w->rng) % 64;
        if (test_draw(&w->rng) % 2)
            oak_syncmap_store(map, &key, w);
        else
            (void)oak_syncmap_delete(map, &key);
    }
    AO_fetch_and_add1_full(&ended);
    return NULL;
}

START_TEST(clear_takes_all_that_was_there)
{
    static worker w[THREADS];
    pthread_t id[THREADS];
    test_seed(SUITE " clear");
    steps = test_scale(STEPS);
    map = oak_syncmap_new(&types[0]);
    for (size_t t = 0; t < THREADS; t++) {
        w[t].rng = test_random() | 1;
        id[t] = test_start(disturb, &w[t]);
    }
    for (size_t i = 0; AO_load_acquire(&ended) < THREADS; i++) {
        for (uint64_t k = 0; k < 64; k++) oak_syncmap_store(map, &k, &map);
        oak_syncmap_clear(map);
        for (uint64_t k = 0; k < 64; k++) { /* what we stored is gone */
            void *v;
            test_expect(!oak_syncmap_load(map, &k, &v) || v != &map, __LINE__);
        }
        if (i % 16 == 0) oak_collect();
    }
    for (size_t t = 0; t < THREADS; t++) test_join(id[t]);
    ck_assert_msg(AO_load(&test_wrong) == 0, "line %lu", (unsigned long)AO_load(&test_wrong));
    oak_syncmap_clear(map);
    ck_assert_uint_eq(oak_syncmap_len(map), 0);
    uint64_t key = 1;
    ck_assert(!oak_syncmap_load(map, &key, NULL));
}
END_TEST

/* ---- a thread that has never used the heap ---- */

static void *only_read(void *arg)
{
    void *v;
    uint64_t key = 5;
    return oak_syncmap_load(map, &key, &v) && v == arg && oaki_thread_self() ? arg : NULL;
}

START_TEST(a_reader_is_attached)
{
    uint64_t key = 5;
    void *result;
    pthread_t id;
    map = oak_syncmap_new(&types[0]);
    oak_syncmap_store(map, &key, &key);
    id = test_start(only_read, &key);
    pthread_join(id, &result);
    ck_assert_ptr_eq(result, &key);
}
END_TEST

Suite *suite_maps_syncmap_threads(void)
{
    Suite *s = suite_create(SUITE);
    TCase *c = tcase_create("threads");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, threads_agree, 0, (int)OAKI_COUNT(types));
    tcase_add_test(c, what_goes_in_comes_out_once);
    tcase_add_test(c, clear_takes_all_that_was_there);
    tcase_add_test(c, a_reader_is_attached);
    suite_add_tcase(s, c);
    return s;
}

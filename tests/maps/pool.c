/* pool.c - tests of maps/pool.c and pool_check.c: what a pool holds, for how long, and for whom. */
#include "gc/event.h"
#include "maps/pool.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/oakum.h>
#include <string.h>

Suite *suite_maps_pool(void);

enum { MANY = 64 };

static oak_pool *pool;
static oak_weak *weak[MANY];

typedef struct thing {
    void *ref;
    AO_t user; /* who has taken it; 0: nobody */
    size_t size;
} thing;

static void *make(void *ctx)
{
    (void)ctx;
    return oak_alloc(sizeof(thing));
}

static void reset(void *obj, void *ctx)
{
    (void)ctx;
    memset(obj, 0, sizeof(thing));
}

static void start(void)
{
    test_heap_start(test_config());
    test_once(); /* two collections empty it */
}

static int alive(void)
{
    int n = 0;
    for (int i = 0; i < MANY; i++) n += oak_weak_get(weak[i]) != NULL;
    return n;
}

static oak_pool_stats stats(void)
{
    oak_pool_stats s;
    oak_pool_stats_read(pool, &s);
    return s;
}

static void *read_stats(void *arg)
{
    (void)arg;
    ck_assert_uint_eq(stats().objects, 1);
    ck_assert_ptr_nonnull(oaki_thread_self()); /* so no magazine goes meanwhile */
    return NULL;
}

START_TEST(any_thread_may_read_statistics)
{
    pool = oak_pool_new(make, NULL, NULL);
    oak_pool_put(pool, oak_pool_get(pool));
    test_join(test_start(read_stats, NULL));
}
END_TEST

/* ---- what it holds, and how long ---- */

START_TEST(a_thread_gets_what_it_put_last)
{
    pool = oak_pool_new(make, NULL, NULL);
    void *obj[5 * OAKI_POOL_ROOM];
    for (size_t i = 0; i < OAKI_COUNT(obj); i++) obj[i] = oak_pool_get(pool);
    for (size_t i = 0; i < OAKI_POOL_ROOM; i++) oak_pool_put(pool, obj[i]);
    for (size_t i = OAKI_POOL_ROOM; i-- > 0;) ck_assert_ptr_eq(oak_pool_get(pool), obj[i]);
    ck_assert_uint_eq(stats().made, OAKI_COUNT(obj));
    for (size_t i = 0; i < OAKI_COUNT(obj); i++) oak_pool_put(pool, obj[i]);
    ck_assert_uint_eq(stats().objects, OAKI_COUNT(obj));
    ck_assert_uint_eq(stats().bytes, OAKI_COUNT(obj) * oak_usable_size(obj[0]));
    ck_assert_ptr_eq(oak_pool_get(pool), obj[OAKI_COUNT(obj) - 1]);
    for (size_t i = 1; i < OAKI_COUNT(obj); i++) ((thing *)oak_pool_get(pool))->user++;
    obj[OAKI_COUNT(obj) - 1] = oak_pool_get(pool);
    for (size_t i = 0; i + 1 < OAKI_COUNT(obj); i++) ck_assert_uint_eq(((thing *)obj[i])->user, 1);
    ck_assert_uint_eq(stats().made, OAKI_COUNT(obj) + 1);
    ck_assert_uint_eq(stats().gets, 2 * OAKI_COUNT(obj) + OAKI_POOL_ROOM + 1);
    ck_assert_uint_eq(stats().puts, OAKI_COUNT(obj) + OAKI_POOL_ROOM);
    ck_assert_uint_eq(stats().objects, 0);
}
END_TEST

static void put_large(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++) {
        void *p = oak_alloc_noscan((size_t)1 << 20);
        weak[i] = oak_weak_new(p);
        oak_pool_put(pool, p);
    }
}

/* Go 1.19: 67.1 MB, 67.1 after the first, nothing after the second. */
START_TEST(an_idle_pool_holds_nothing_after_two_collections)
{
    pool = oak_pool_new(NULL, NULL, NULL);
    test_away(put_large, NULL);
    ck_assert_uint_eq(stats().bytes, (size_t)MANY << 20);
    oak_collect();
    ck_assert_int_eq(alive(), MANY);
    ck_assert_uint_eq(stats().objects, MANY);
    oak_collect();
    ck_assert_int_eq(alive(), 0);
    ck_assert_uint_eq(stats().objects, 0);
    ck_assert_uint_eq(stats().puts, MANY);
}
END_TEST

static AO_t full, minor; /* collections */

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    AO_fetch_and_add1_full(c->minor ? &minor : &full);
}

static void wait_for_minor(AO_t n)
{
    for (n += AO_load(&minor); AO_load(&minor) < n; oaki_os_yield()) ck_assert(test_ask_beside());
}

/* They come often, and would only make an old object garbage that a full one has to find. */
START_TEST(minor_collections_leave_it_as_it_is)
{
    oak_config c = test_config_beside(OAK_TRACKING_USERFAULTFD); /* by faults none is minor */
    c.generations = 1;
    oaki_debug_switches.beside = 1;
    bool can = test_heap_tracked(c, 60);
    oaki_debug_switches.beside = 1;
    if (!can) return;
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    pool = oak_pool_new(NULL, NULL, NULL);
    wait_for_minor(1);
    AO_t before = AO_load(&full);
    oak_pool_put(pool, oak_alloc(100));
    wait_for_minor(5);
    ck_assert_uint_eq(AO_load(&full), before);
    ck_assert_uint_eq(stats().objects, 1);
    oak_collect();
    ck_assert_uint_eq(stats().objects, 1);
    oak_collect();
    ck_assert_uint_eq(stats().objects, 0);
}
END_TEST

START_TEST(use_between_collections_keeps_an_object)
{
    pool = oak_pool_new(make, NULL, NULL);
    for (int i = 0; i < 10; i++) {
        oak_pool_put(pool, oak_pool_get(pool));
        oak_collect();
    }
    ck_assert_uint_eq(stats().made, 1);
    ck_assert_uint_eq(stats().gets, 10);
}
END_TEST

static void make_and_drop(void *arg)
{
    (void)arg;
    oak_pool *p = oak_pool_new(NULL, NULL, NULL);
    void *obj = oak_alloc(32);
    weak[0] = oak_weak_new(p);
    weak[1] = oak_weak_new(obj);
    oak_pool_put(p, obj);
    weak[2] = oak_weak_new(oak_pool_new(make, NULL, NULL));
    (void)oak_pool_get(oak_weak_get(weak[2]));
}

START_TEST(a_pool_that_nobody_has_goes_with_what_it_held)
{
    test_away(make_and_drop, NULL);
    oak_collect();
    ck_assert_ptr_nonnull(oak_weak_get(weak[1]));
    ck_assert_ptr_null(oak_weak_get(weak[2])); /* it held nothing */
    oak_collect();
    ck_assert_ptr_null(oak_weak_get(weak[0]));
    ck_assert_ptr_null(oak_weak_get(weak[1]));
}
END_TEST

/* ---- the leaks of the articles ---- */

static void use_and_put(void *arg)
{
    for (int i = 0; i < MANY; i++) {
        thing *t = make(arg);
        t->ref = oak_alloc_noscan(1000);
        weak[i] = oak_weak_new(t->ref);
        oak_pool_put(pool, t);
    }
}

START_TEST(reset_lets_go_of_what_an_object_referred_to)
{
    for (int with = 0; with < 2; with++) {
        pool = oak_pool_new(make, with ? reset : NULL, NULL);
        test_away(use_and_put, NULL);
        oak_collect();
        ck_assert_uint_eq(stats().objects, MANY);
        ck_assert_int_eq(alive(), with ? 0 : MANY);
    }
}
END_TEST

static size_t size_of_buffer(const void *obj, void *ctx)
{
    (void)ctx;
    return ((const thing *)obj)->size;
}

static void use_large_and_small(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 1000; i++) {
        thing *t = oak_pool_get(pool);
        size_t need = i == 0 ? (size_t)64 << 20 : 512;
        if (t->size < need) {
            t->ref = oak_alloc_noscan(need);
            t->size = need;
        }
        if (i == 0) weak[0] = oak_weak_new(t->ref);
        oak_pool_put(pool, t);
        if (i % 100 == 50) oak_collect();
    }
}

/* One large request, then small ones that go on: without a limit they hold the 64 MiB for ever. */
START_TEST(a_limit_keeps_huge_buffers_out)
{
    for (int with = 0; with < 2; with++) {
        pool = oak_pool_new(make, NULL, NULL);
        oak_pool_limit(pool, with ? (size_t)64 << 10 : 0, size_of_buffer);
        test_away(use_large_and_small, NULL);
        oak_collect();
        ck_assert_int_eq(oak_weak_get(weak[0]) != NULL, !with);
        ck_assert_uint_eq(stats().made, with ? 2 : 1);
        ck_assert_uint_eq(stats().dropped, with);
        ck_assert_uint_eq(stats().largest, with ? 512 : (size_t)64 << 20);
    }
}
END_TEST

START_TEST(without_a_function_the_limit_is_on_the_object)
{
    pool = oak_pool_new(NULL, NULL, NULL);
    oak_pool_limit(pool, 1024, NULL);
    oak_pool_put(pool, oak_alloc(1024));
    oak_pool_put(pool, oak_alloc(1025));
    ck_assert_uint_eq(stats().objects, 1);
    ck_assert_uint_eq(stats().puts, 2);
    ck_assert_uint_eq(stats().dropped, 1);
}
END_TEST

/* ---- threads ---- */

static void *get_all(void *arg)
{
    size_t n = 0;
    while (oak_pool_get(pool)) n++;
    *(size_t *)arg = n;
    return NULL;
}

START_TEST(what_one_thread_puts_another_gets)
{
    size_t n;
    pool = oak_pool_new(NULL, NULL, NULL);
    for (int i = 0; i < 1000; i++) oak_pool_put(pool, oak_alloc(32));
    test_join(test_start(get_all, &n));
    ck_assert_uint_le(n, 1000);
    ck_assert_uint_ge(n, 1000 - OAKI_POOL_ROOM); /* our own */
    ck_assert_uint_eq(stats().objects, 1000 - n);
    oak_collect();
    test_join(test_start(get_all, &n)); /* which are now everybody's */
    ck_assert_uint_eq(stats().objects, 0);
    ck_assert_uint_ge(n, 1);
}
END_TEST

static void put_ten(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++) oak_pool_put(pool, oak_alloc(32));
}

START_TEST(a_thread_that_ends_leaves_its_objects)
{
    size_t n;
    pool = oak_pool_new(NULL, NULL, NULL);
    for (int i = 0; i < 10; i++) test_away(put_ten, NULL);
    ck_assert_uint_eq(stats().objects, 100);
    oak_collect();
    get_all(&n);
    ck_assert_uint_eq(n, 100);
}
END_TEST

enum { THREADS = 4, HELD = 24, BOXES = 16 };
static AO_t box[BOXES]; /* for others to put */
static AO_t had_twice, ended;

typedef struct worker {
    uint64_t rng;
    AO_t id;
    size_t steps;
} worker;

static uint64_t draw(worker *w)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng >> 11;
}

static void *work(void *arg)
{
    worker *w = arg;
    thing *mine[HELD] = { NULL };
    for (size_t step = 0; step < w->steps; step++) {
        thing **slot = &mine[draw(w) % HELD];
        if (!*slot) {
            *slot = oak_pool_get(pool);
            if (!AO_compare_and_swap_full(&(*slot)->user, 0, w->id)) AO_store(&had_twice, 1);
            continue;
        }
        AO_t *other = &box[draw(w) % BOXES], there = AO_load_acquire(other);
        if (draw(w) % 3 == 0 && AO_compare_and_swap_full(other, there, (AO_t)*slot))
            *slot = (thing *)there; /* by way of somebody else */
        if (!*slot) continue;
        AO_store_release(&(*slot)->user, 0);
        oak_pool_put(pool, *slot);
        *slot = NULL;
    }
    AO_fetch_and_add1_full(&ended);
    return NULL;
}

START_TEST(no_object_is_had_twice)
{
    worker w[THREADS];
    pthread_t id[THREADS];
    test_seed("maps/pool");
    oaki_debug_switches.verify = _i;
    pool = oak_pool_new(make, NULL, NULL);
    for (size_t i = 0; i < THREADS; i++) {
        w[i] = (worker){ test_random() | 1, i + 1, test_scale(_i ? 4000 : 100000) };
        id[i] = test_start(work, &w[i]);
    }
    while (AO_load_acquire(&ended) < THREADS) oak_collect();
    for (size_t i = 0; i < THREADS; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&had_twice), 0);
    oak_pool_stats s = stats();
    ck_assert_uint_lt(s.made, s.gets + 1);
    ck_assert_uint_ge(s.gets, s.puts);
    ck_assert_uint_eq(s.dropped, 0);
}
END_TEST

/* ---- misuse, and no memory ---- */

enum { NIL_GET, NIL_PUT, NIL_LIMIT, FOREIGN, TWICE, TWICE_APART, TWICE_ASIDE, INTERIOR, FREED };

static const struct {
    int what;
    bool debug;
    const char *line;
} misuses[] = {
    { NIL_GET, false, "oakum: oak_pool_get: the pool is NULL" },
    { NIL_PUT, false, "oakum: oak_pool_put: the pool is NULL" },
    { NIL_LIMIT, false, "oakum: oak_pool_limit: the pool is NULL" },
    { FOREIGN, false, "is not a pointer into Oakum's heap" },
    { TWICE, false, "already" },
    { TWICE_APART, true, "already" },
    { TWICE_ASIDE, true, "already" },
    { INTERIOR, true, "is not the start of a live object" },
    { FREED, true, "is not the start of a live object" },
};

static void misuse(void *arg)
{
    char *obj = oak_alloc(48);
    switch (*(const int *)arg) {
    case NIL_GET:
        oak_pool_get(NULL);
        break;
    case NIL_PUT:
        oak_pool_put(NULL, obj);
        break;
    case NIL_LIMIT:
        oak_pool_limit(NULL, 1, NULL);
        break;
    case FOREIGN:
        oak_pool_put(pool, &pool);
        break;
    case TWICE:
        oak_pool_put(pool, obj);
        oak_pool_put(pool, obj);
        break;
    case TWICE_APART:
        oak_pool_put(pool, obj);
        for (int i = 0; i < 100; i++) oak_pool_put(pool, oak_alloc(48));
        oak_pool_put(pool, obj);
        break;
    case TWICE_ASIDE:
        oak_pool_put(pool, obj);
        oak_collect();
        oak_pool_put(pool, obj);
        break;
    case INTERIOR:
        oak_pool_put(pool, obj + 16);
        break;
    default:
        oak_free(obj);
        oak_pool_put(pool, obj);
    }
}

START_TEST(misuse_is_fatal)
{
    int what = misuses[_i].what;
    pool = oak_pool_new(make, NULL, NULL);
    oaki_debug_switches.poison = misuses[_i].debug;
    test_dies(misuse, &what, misuses[_i].line);
}
END_TEST

START_TEST(debug_mode_counts_what_was_not_reset)
{
    oaki_debug_switches.verify = 1;
    for (int with = 0; with < 2; with++) {
        pool = oak_pool_new(make, with ? reset : NULL, NULL);
        for (size_t i = 0; i < 10; i++) {
            thing *t = oak_pool_get(pool);
            t->size = 17;
            oak_pool_put(pool, t);
        }
        ck_assert_uint_eq(stats().stale, with ? 0 : 10);
    }
}
END_TEST

static void *make_nothing(void *ctx)
{
    return ctx;
}

START_TEST(without_memory_a_put_drops)
{
    static void **chain;
    void *objects[OAKI_POOL_ROOM];
    pool = oak_pool_new(make_nothing, NULL, NULL);
    oak_pool_put(pool, NULL);
    for (size_t i = 0; i < OAKI_POOL_ROOM; i++) objects[i] = oak_alloc(32);
    oak_set_heap_max(test_stats().heap_inuse);
    for (void **p; (p = oak_alloc_aligned(64, sizeof(oaki_magazine))) != NULL; chain = p)
        *p = chain;
    oak_pool_put(pool, objects[0]);
    ck_assert_uint_eq(stats().dropped, 1);
    ck_assert_uint_eq(stats().objects, 0);
    ck_assert_ptr_null(oak_pool_get(pool));
    oak_set_heap_max(0);
    for (size_t i = 0; i < OAKI_POOL_ROOM; i++) oak_pool_put(pool, objects[i]);
    ck_assert_uint_eq(stats().objects, OAKI_POOL_ROOM);
}
END_TEST

Suite *suite_maps_pool(void)
{
    Suite *s = suite_create("maps/pool");
    TCase *c = tcase_create("pool");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, any_thread_may_read_statistics);
    tcase_add_test(c, a_thread_gets_what_it_put_last);
    tcase_add_test(c, an_idle_pool_holds_nothing_after_two_collections);
    tcase_add_test(c, use_between_collections_keeps_an_object);
    tcase_add_test(c, a_pool_that_nobody_has_goes_with_what_it_held);
    tcase_add_test(c, reset_lets_go_of_what_an_object_referred_to);
    tcase_add_test(c, a_limit_keeps_huge_buffers_out);
    tcase_add_test(c, without_a_function_the_limit_is_on_the_object);
    tcase_add_test(c, what_one_thread_puts_another_gets);
    tcase_add_test(c, a_thread_that_ends_leaves_its_objects);
    tcase_add_loop_test(c, no_object_is_had_twice, 0, 2);
    tcase_add_loop_test(c, misuse_is_fatal, 0, (int)OAKI_COUNT(misuses));
    tcase_add_test(c, debug_mode_counts_what_was_not_reset);
    tcase_add_test(c, without_memory_a_put_drops);
    suite_add_tcase(s, c);
    TCase *m = tcase_create("minor");
    tcase_add_test(m, minor_collections_leave_it_as_it_is);
    suite_add_tcase(s, m);
    return s;
}

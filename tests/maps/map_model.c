/* map_model.c - random operations on the default map, held against the reference of model.c, for
 * each kind of key, value and hash; at seeds that stay the same, and at one of its own each time.
 *
 * A typed map, whose writes are compiled in here, is held against an array of what it has.
 *
 * The seed is printed; OAK_TEST_SEED=n repeats a run. make fuzz-map does the same for longer. */
#include "maps/map.h"
#include "model.h"
#include "tests/heap.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

Suite *suite_maps_map_model(void);

enum { SEEDS = 4 };

static uint64_t chosen;

static void start(void)
{
    oak_config c = test_config();
    c.gc_percent = 50;
    c.min_heap = 65536;
    test_heap_start_stressed(c);
    model_who = "maps_map_model";
}

START_TEST(at_seeds_that_stay)
{
    start();
    model_run((uint64_t)(_i % SEEDS) + 1, (unsigned)(_i / SEEDS), test_scale(20000));
}
END_TEST

START_TEST(at_a_seed_of_this_run)
{
    start();
    model_run(chosen, (unsigned)_i, test_scale(40000));
}
END_TEST

/* ---- writes that are compiled in ---- */

enum { KEYS = 3000 };

OAK_MAP_DEFINE(boxes, uint32_t, uint64_t *);

static struct {
    boxes *m;
    bool there[KEYS];
    size_t n;
} typed;

static void hold(void)
{
    const char *broken = oaki_map_check(boxes_map(typed.m));
    if (broken) ck_abort_msg("%s", broken);
    ck_assert_uint_eq(boxes_len(typed.m), typed.n);
}

static void put_or_get(uint32_t k)
{
    uint64_t **v = typed.there[k] ? boxes_get(typed.m, k) : boxes_put(typed.m, k);
    if (!typed.there[k] && (!v || *v)) ck_abort_msg("a new value of %u", k);
    if (typed.there[k] && (!v || **v != k)) ck_abort_msg("the value of %u", k);
    if (boxes_put(typed.m, k) != v) ck_abort_msg("a put over %u", k);
    typed.n += !typed.there[k];
    typed.there[k] = true;
    *v = oak_alloc_noscan(sizeof **v); /* the map alone keeps it */
    **v = k;
}

static void drop(uint32_t k)
{
    if (boxes_delete(typed.m, k) != typed.there[k]) ck_abort_msg("a delete of %u", k);
    if (boxes_get(typed.m, k)) ck_abort_msg("%u is still there", k);
    typed.n -= typed.there[k];
    typed.there[k] = false;
}

static void walk(void)
{
    size_t given = 0;
    boxes_iter it;
    for (boxes_iter_init(&it, typed.m); boxes_iter_next(&it); given++)
        if (*it.key >= KEYS || !typed.there[*it.key] || **it.value != *it.key)
            ck_abort_msg("given %u", *it.key);
    ck_assert_uint_eq(given, typed.n);
}

/* Between few keys and many: through growing, shrinking, and the sizes where neither is due. */
START_TEST(a_typed_map)
{
    start();
    model_seed((uint64_t)_i + 1);
    typed.m = boxes_new(_i % 2 ? KEYS / 2 : 0);
    for (size_t step = 0, steps = test_scale(60000); step < steps; step++) {
        size_t most = step / 5000 % 3 == 0 ? 40 : step / 5000 % 3 == 1 ? KEYS : 700;
        uint32_t k = (uint32_t)model_below(most);
        if (model_below(100) < (step / 2500 % 2 ? 35u : 65u)) put_or_get(k);
        else drop(k);
        if (step % 64 == 0 || typed.n < 32) hold();
        if (step % 4096 == 0) walk();
    }
    for (uint32_t k = 0; k < KEYS; k++) drop(k);
    hold();
    ck_assert_uint_eq(typed.n, 0);
}
END_TEST

static void *write_unattached(void *what)
{
    bool before = oak_attached_;
    if (what) *boxes_put(typed.m, 100) = NULL;
    else if (!boxes_delete(typed.m, 1)) return NULL;
    return (void *)(uintptr_t)(!before && oak_attached_);
}

/* A stop must wait for a thread that writes a map. */
START_TEST(a_write_attaches_its_thread)
{
    start();
    typed.m = boxes_new(0);
    for (uint32_t k = 0; k < 10; k++) *boxes_put(typed.m, k) = NULL;
    for (uintptr_t what = 0; what < 2; what++) {
        pthread_t t;
        void *attached;
        ck_assert_int_eq(pthread_create(&t, NULL, write_unattached, (void *)what), 0);
        ck_assert_int_eq(pthread_join(t, &attached), 0);
        ck_assert_ptr_nonnull(attached);
    }
    ck_assert_uint_eq(boxes_len(typed.m), 10);
}
END_TEST

static void choose_seed(void)
{
    const char *given = getenv("OAK_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    chosen = given ? strtoull(given, NULL, 0)
                   : (uint64_t)now.tv_nsec * 1000003 + (uint64_t)getpid() % 1000003;
    printf("maps_map_model: OAK_TEST_SEED=%llu\n", (unsigned long long)chosen);
    fflush(stdout);
}

Suite *suite_maps_map_model(void)
{
    Suite *s = suite_create("maps_map_model");
    TCase *tc = tcase_create("fixed");
    tcase_add_loop_test(tc, at_seeds_that_stay, 0, (int)model_nkinds * SEEDS);
    suite_add_tcase(s, tc);
    tc = tcase_create("typed");
    tcase_add_loop_test(tc, a_typed_map, 0, SEEDS);
    tcase_add_test(tc, a_write_attaches_its_thread);
    suite_add_tcase(s, tc);
    tc = tcase_create("random");
    tcase_add_unchecked_fixture(tc, choose_seed, NULL);
    tcase_add_loop_test(tc, at_a_seed_of_this_run, 0, (int)model_nkinds);
    suite_add_tcase(s, tc);
    return s;
}

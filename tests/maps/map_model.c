/* map_model.c - random operations on the default map, held against the reference of model.c, for
 * each kind of key, value and hash; at seeds that stay the same, and at one of its own each time.
 *
 * The seed is printed; OAK_TEST_SEED=n repeats a run. make fuzz-map does the same for longer. */
#include "model.h"
#include "tests/heap.h"

#include <check.h>
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
    tc = tcase_create("random");
    tcase_add_unchecked_fixture(tc, choose_seed, NULL);
    tcase_add_loop_test(tc, at_a_seed_of_this_run, 0, (int)model_nkinds);
    suite_add_tcase(s, tc);
    return s;
}

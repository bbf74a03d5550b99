/* judge.c - tests of the judgement of sites (observe/judge.c) on looks that are made up: what one
 * site seems to hold, as sampling has it, and what the heap holds, which is exact. */
#include "observe/judge.h"
#include "tests/heap.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_judge(void);

#define MB ((double)(1 << 20))
#define SECOND UINT64_C(1000000000)

static oaki_site *site;
static oaki_detector *d;

static void start(void)
{
    test_heap_start(test_config());
    site = calloc(1, sizeof *site);
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    d = oaki_detector_new(&cfg);
    ck_assert(site && d);
}

static void end(void)
{
    oaki_detector_free(d);
    free(site);
}

/* What both hold at a look, MiB. */
typedef double (*curve)(unsigned i);

/* After how many looks of 30 the site is said to grow; 0: it isn't. */
static unsigned told_at(curve seems, curve heap, size_t rate)
{
    static oaki_census none;
    for (unsigned i = 0; i < 30; i++) {
        oaki_site_reading r = { .site = site, .settled.live_bytes = seems(i) * MB };
        oaki_look l = { .census = &none, .sites = &r, .nsites = 1, .rate = rate,
                        .cycles.live = (size_t)(heap(i) * MB), .at = (i + 1) * SECOND,
                        .wall = (i + 1) * SECOND };
        d->paced = true;
        d->paces++;
        oaki_judge_growth(d, &l);
        for (size_t k = 0; k < d->nfindings; k++)
            if (d->finding[k].kind == OAK_FINDING_SITE_GROWTH) return i + 1;
    }
    return 0;
}

static double ramp(unsigned i) { return 1 + i * 0.12; }

/* Until the sixth look faster than the ramp, then hardly. */
static double levels_off(unsigned i) { return 1 + 1.6 * (1 - exp(-0.3 * i)); }

/* A ramp beneath what comes and goes, sixfold. */
static double noisy(unsigned i) { return 10 + i * 0.15 - (i % 6); }

/* Twelve looks like a ramp by the luck of sampling, and then level. */
static double luck(unsigned i) { return 1 + OAKI_MIN(i, 14) * 0.12; }

START_TEST(a_site_that_grows_with_its_heap_is_told_of)
{
    unsigned at = told_at(ramp, ramp, 16384);
    ck_assert_uint_ge(at, 11);
    ck_assert_uint_le(at, 12);
}
END_TEST

/* What is sampled may be off by 190 KiB at a look here. */
START_TEST(chance_makes_no_growth_where_the_heap_levels_off)
{
    ck_assert_uint_eq(told_at(luck, levels_off, 16384), 0);
}
END_TEST

/* Exact: there is no chance in it. */
START_TEST(what_is_exact_needs_no_heap_that_goes_on)
{
    unsigned at = told_at(luck, levels_off, 1);
    ck_assert_uint_ge(at, 11);
    ck_assert_uint_le(at, 13);
}
END_TEST

/* Beside what comes and goes the heap says nothing; then it takes more than chance would make. */
START_TEST(beyond_chance_a_site_is_told_of_beside_noise)
{
    unsigned at = told_at(ramp, noisy, 4096);
    ck_assert_uint_ge(at, 11);
    ck_assert_uint_le(at, 16);
}
END_TEST

Suite *suite_observe_judge(void)
{
    Suite *s = suite_create("observe_judge");
    TCase *c = tcase_create("sites");
    tcase_add_checked_fixture(c, start, end);
    tcase_add_test(c, a_site_that_grows_with_its_heap_is_told_of);
    tcase_add_test(c, chance_makes_no_growth_where_the_heap_levels_off);
    tcase_add_test(c, what_is_exact_needs_no_heap_that_goes_on);
    tcase_add_test(c, beyond_chance_a_site_is_told_of_beside_noise);
    suite_add_tcase(s, c);
    return s;
}

/* trend.c - tests of observe/trend.c: it sees ramps through noise and steps, and hardly ever one
 * where there is none. */
#include "observe/trend.h"

#include "tests/heap.h"
#include <check.h>
#include <math.h>

Suite *suite_observe_trend(void);

static double noise(void) /* about normal: twelve uniform ones (central limit) */
{
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += (double)test_below(1 << 30) / (1 << 30);
    return sum;
}

/* The first look at which a series has risen three times in a row; 0: never. */
static unsigned seen_at(double (*value)(unsigned look), unsigned looks)
{
    oaki_trend t;
    oaki_rise r;
    unsigned row = 0;
    oaki_trend_init(&t, 30);
    for (unsigned i = 0; i < looks; i++) {
        oaki_trend_add(&t, value(i));
        row = oaki_trend_rises(&t, 9, 1, 0.1, &r) ? row + 1 : 0;
        if (row == 3) return i + 1;
    }
    return 0;
}

static double slope, spread, level, likeness, last;

static double ramp(unsigned i) { return 100 + slope * i + spread * noise(); }

static double wander(unsigned i)
{
    last = i == 0 ? spread * noise()
                  : likeness * last + spread * sqrt(1 - likeness * likeness) * noise();
    return 100 + last;
}

static double steps(unsigned i) { return 100 * (1 << i / 4 % 12); }
static double flat(unsigned i) { return i < 3 ? 10 * i : level; }
static double fills_up(unsigned i) { return 100 - 90 * exp(-(double)i / spread); }
static double saw(unsigned i) { return 100 + 10 * (i % 25); }
static double one_off(unsigned i) { return i % 17 == 5 ? 10000 : 100; }
static double falls(unsigned i) { return 1000.0 - i; }

START_TEST(a_ramp_is_seen_through_noise)
{
    test_seed("observe/trend");
    slope = 5, spread = 0;
    ck_assert_uint_le(seen_at(ramp, 60), 12);
    ck_assert_uint_ge(seen_at(ramp, 60), 10);
    unsigned seen = 0;
    for (int i = 0; i < 50; i++) {
        slope = 1, spread = 5; /* five times as much noise as growth */
        unsigned at = seen_at(ramp, 60);
        seen += at > 0;
    }
    ck_assert_uint_ge(seen, 40);
    ck_assert_uint_gt(seen_at(steps, 40), 0);
}
END_TEST

/* As the detector judges the heap: a hundredth a window. */
static bool rises_slowly(const oaki_trend *t)
{
    oaki_rise r;
    return oaki_trend_rises(t, 9, 0.1, 0.01, &r);
}

START_TEST(a_slow_ramp_is_seen_as_long_as_it_lasts)
{
    oaki_trend t;
    test_seed("observe/trend");
    for (unsigned tenths = 12; tenths <= 40; tenths++) { /* of a percent, a window */
        slope = tenths / 10.0 / 29;
        for (unsigned noisy = 0; noisy < 2; noisy++) {
            unsigned seen = 0;
            spread = noisy ? 0.05 : 0;
            oaki_trend_init(&t, 30);
            for (unsigned i = 0; i < 300; i++) {
                oaki_trend_add(&t, ramp(i));
                if (i >= 30) seen += rises_slowly(&t);
            }
            ck_assert_msg(seen >= (noisy ? 240 : 270), "%u: %u looks", tenths, seen);
        }
    }
}
END_TEST

START_TEST(small_waves_are_hardly_ever_taken_for_slow_growth)
{
    unsigned told = 0;
    test_seed("observe/trend");
    for (unsigned k = 0; k < 400; k++) {
        oaki_trend t;
        unsigned row = 0, most = 0;
        spread = k % 2 ? 0.5 : 1, likeness = 0.8;
        oaki_trend_init(&t, 30);
        for (unsigned i = 0; i < 300; i++) {
            oaki_trend_add(&t, wander(i));
            row = rises_slowly(&t) ? row + 1 : 0;
            most = OAKI_MAX(most, row);
        }
        told += most >= 3;
    }
    ck_assert_uint_le(told, 48); /* about 23 of 400 series of 300 looks */
}
END_TEST

START_TEST(what_does_not_grow_is_not_seen)
{
    level = 50;
    ck_assert_uint_eq(seen_at(flat, 300), 0);
    ck_assert_uint_eq(seen_at(one_off, 300), 0);
    ck_assert_uint_eq(seen_at(falls, 300), 0);
}
END_TEST

/* The first ramp might be a leak; those that follow are no news. */
START_TEST(what_goes_up_and_down_is_known_after_a_while)
{
    oaki_trend t;
    oaki_rise r;
    oaki_trend_init(&t, 30);
    for (unsigned i = 0; i < 500; i++) {
        oaki_trend_add(&t, saw(i));
        if (i > 60) ck_assert(!oaki_trend_rises(&t, 9, 1, 0.1, &r));
    }
}
END_TEST

START_TEST(noise_is_hardly_ever_taken_for_growth)
{
    unsigned white = 0, alike = 0;
    test_seed("observe/trend");
    for (int i = 0; i < 400; i++) { /* about 22 of them wander alike: chance decides nothing */
        likeness = 0, spread = 15;
        white += seen_at(wander, 300) > 0;
        likeness = 0.8;
        alike += seen_at(wander, 300) > 0;
    }
    ck_assert_uint_le(white, 4);
    ck_assert_uint_le(alike, 48); /* of 400 series of 300 looks that wander by a sixth */
}
END_TEST

/* Of what is still to come, each look brings a part, an eighth at least. A slower one is taken for
 * growth, and only while it fills. */
START_TEST(what_levels_off_is_not_seen)
{
    for (spread = 1; spread <= 8; spread++) ck_assert_uint_eq(seen_at(fills_up, 300), 0);
    oaki_trend t;
    oaki_rise r;
    spread = 20;
    oaki_trend_init(&t, 30);
    for (unsigned i = 0; i < 200; i++) {
        oaki_trend_add(&t, fills_up(i));
        if (i > 100) ck_assert(!oaki_trend_rises(&t, 9, 1, 0.1, &r));
    }
}
END_TEST

START_TEST(slope_and_ends_are_medians)
{
    oaki_trend t;
    oaki_trend_init(&t, 20);
    for (unsigned i = 0; i < 100; i++) oaki_trend_add(&t, i % 7 == 3 ? 1e9 : 3.0 * i);
    oaki_rise r = oaki_trend_rise(&t);
    ck_assert_double_eq_tol(r.slope, 3, 0.5);
    ck_assert_double_eq_tol(r.before, 3 * 81, 4);
    ck_assert_double_eq_tol(r.now, 3 * 98, 4);
    ck_assert_uint_eq(oaki_trend_len(&t), 20);
    oaki_trend_init(&t, 200); /* as many as there is room for */
    for (unsigned i = 0; i < 100; i++) oaki_trend_add(&t, i);
    ck_assert_uint_eq(oaki_trend_len(&t), OAKI_TREND_MAX);
    ck_assert_double_eq(oaki_trend_at(&t, 0), 100 - OAKI_TREND_MAX);
}
END_TEST

/* The scenario three-sigma-detector: a ramp never rises above mean + 3 sigma. */
START_TEST(mean_and_three_sigma_see_steps_and_no_ramps)
{
    oaki_trend t;
    double mean, sigma;
    oaki_trend_init(&t, 30);
    for (unsigned i = 0; i < 300; i++) {
        oaki_trend_add(&t, 1000 + 64.0 * i);
        if (oaki_trend_spread(&t, &mean, &sigma))
            ck_assert_double_lt(1000 + 64.0 * i, mean + 3 * sigma);
    }
    oaki_trend_init(&t, 30);
    for (unsigned i = 0; i < 29; i++) oaki_trend_add(&t, 100 + i % 3);
    oaki_trend_add(&t, 200);
    ck_assert(oaki_trend_spread(&t, &mean, &sigma));
    ck_assert_double_gt(200, mean + 3 * sigma);
}
END_TEST

Suite *suite_observe_trend(void)
{
    Suite *s = suite_create("observe/trend");
    TCase *c = tcase_create("trend");
    tcase_add_test(c, a_ramp_is_seen_through_noise);
    tcase_add_test(c, a_slow_ramp_is_seen_as_long_as_it_lasts);
    tcase_add_test(c, small_waves_are_hardly_ever_taken_for_slow_growth);
    tcase_add_test(c, what_does_not_grow_is_not_seen);
    tcase_add_test(c, what_goes_up_and_down_is_known_after_a_while);
    tcase_add_test(c, noise_is_hardly_ever_taken_for_growth);
    tcase_add_test(c, what_levels_off_is_not_seen);
    tcase_add_test(c, slope_and_ends_are_medians);
    tcase_add_test(c, mean_and_three_sigma_see_steps_and_no_ramps);
    suite_add_tcase(s, c);
    return s;
}

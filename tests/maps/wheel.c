/* wheel.c - tests of maps/wheel.c: timers come when they are due, all of them, none early, in
 * bounded steps. */
#include "maps/wheel.h"
#include "tests/heap.h"

#include <check.h>
#include <stdlib.h>

Suite *suite_maps_wheel(void);

#define TICK (UINT64_C(1) << OAKI_WHEEL_TICK)

static oaki_wheel wheel;

static void sound(void)
{
    const char *broken = oaki_wheel_check(&wheel);
    ck_assert_msg(!broken, "%s", broken);
}

static oaki_timer *next(uint64_t now)
{
    size_t budget = SIZE_MAX;
    return oaki_wheel_next(&wheel, now, &budget);
}

START_TEST(a_timer_comes_at_its_tick)
{
    /* on both sides of each level's bounds, from a time whose digits differ */
    for (unsigned bits = 0; bits < 64; bits++)
        for (int more = -1; more <= 1; more++) {
            uint64_t start = 0x123456789abcdef, away = (UINT64_C(1) << bits) + (uint64_t)more;
            oaki_timer t = { .when = start + away };
            if (t.when < start) continue;
            oaki_wheel_init(&wheel, start);
            oaki_wheel_add(&wheel, &t);
            sound();
            ck_assert_ptr_null(next(t.when - TICK));
            sound();
            if (t.when > UINT64_MAX - TICK) continue;
            ck_assert_ptr_eq(next(t.when + TICK), &t);
            ck_assert_ptr_null(t.link);
            ck_assert_ptr_null(next(UINT64_MAX));
        }
}
END_TEST

START_TEST(never_early)
{
    oaki_timer t = { .when = 5 * TICK + 1 };
    oaki_wheel_init(&wheel, 0);
    oaki_wheel_add(&wheel, &t);
    ck_assert_ptr_null(next(5 * TICK));
    ck_assert_ptr_null(next(6 * TICK - 1));
    ck_assert_ptr_eq(next(6 * TICK), &t);
}
END_TEST

START_TEST(what_is_past_is_due_and_time_does_not_run_backwards)
{
    oaki_timer t = { .when = 7 }, u = { .when = 101 * TICK };
    oaki_wheel_init(&wheel, 100 * TICK);
    oaki_wheel_add(&wheel, &t);
    ck_assert_ptr_null(next(99 * TICK));
    ck_assert_ptr_eq(next(100 * TICK), &t);
    oaki_wheel_add(&wheel, &u);
    oaki_wheel_remove(&u);
    oaki_wheel_remove(&u);
    ck_assert_ptr_null(next(UINT64_MAX));
    sound();
}
END_TEST

/* Against a plain array, with small budgets. */
START_TEST(random_timers_against_a_plain_array)
{
    enum { N = 500 };
    static oaki_timer t[N];
    static bool in[N];
    uint64_t now = 0;
    size_t taken = 0, added = 0;
    test_seed("maps/wheel");
    oaki_wheel_init(&wheel, now = test_random() >> 2);
    for (size_t i = 0, n = test_scale(300000); i < n; i++) {
        size_t k = test_below(N), budget = 1 + test_below(6), given = budget;
        switch (test_below(4)) {
        case 0:
            if (in[k]) break;
            t[k].when = now + (test_random() >> (8 + test_below(56)));
            oaki_wheel_add(&wheel, &t[k]);
            in[k] = true;
            added++;
            break;
        case 1:
            if (test_below(4)) break;
            oaki_wheel_remove(&t[k]);
            in[k] = false;
            break;
        case 2:
            if (now < UINT64_MAX / 2) now += test_random() >> (20 + test_below(44));
            break;
        default:
            for (oaki_timer *u; (u = oaki_wheel_next(&wheel, now, &budget)) != NULL; taken++) {
                if (u->when > now || !in[u - t]) ck_abort_msg("timer %zu", (size_t)(u - t));
                in[u - t] = false;
            }
            if (budget == given) { /* then nothing is due */
                for (k = 0; k < N; k++)
                    if (in[k] && t[k].when >> OAKI_WHEEL_TICK < (now >> OAKI_WHEEL_TICK) &&
                        t[k].when + TICK <= now)
                        ck_abort_msg("timer %zu is late", k);
            }
        }
        if (i % 64 == 0) sound();
    }
    for (oaki_timer *u; (u = next(UINT64_MAX)) != NULL; taken++) in[u - t] = false;
    for (size_t k = 0; k < N; k++) ck_assert(!in[k]);
    ck_assert_uint_gt(taken, added / 4);
}
END_TEST

/* Whatever comes first, a timer takes at most eight steps. */
START_TEST(a_timer_takes_at_most_eight_steps)
{
    enum { N = 10000 };
    oaki_timer *t = calloc(N, sizeof *t);
    size_t budget = N * (size_t)OAKI_WHEEL_LEVELS, taken = 0;
    test_seed("maps/wheel");
    oaki_wheel_init(&wheel, 12345);
    for (size_t i = 0; i < N; i++) {
        t[i].when = test_random() >> test_below(64);
        oaki_wheel_add(&wheel, &t[i]);
    }
    uint64_t last = 0;
    for (oaki_timer *u; (u = oaki_wheel_next(&wheel, UINT64_MAX, &budget)) != NULL; taken++) {
        ck_assert_uint_ge((u->when >> OAKI_WHEEL_TICK) + 1, last);
        last = u->when >> OAKI_WHEEL_TICK;
    }
    ck_assert_uint_ge(taken, N - 1); /* one in the last tick of all never comes */
    free(t);
}
END_TEST

Suite *suite_maps_wheel(void)
{
    Suite *s = suite_create("maps_wheel");
    TCase *tc = tcase_create("timers");
    tcase_add_test(tc, a_timer_comes_at_its_tick);
    tcase_add_test(tc, never_early);
    tcase_add_test(tc, what_is_past_is_due_and_time_does_not_run_backwards);
    tcase_add_test(tc, random_timers_against_a_plain_array);
    tcase_add_test(tc, a_timer_takes_at_most_eight_steps);
    suite_add_tcase(s, tc);
    return s;
}

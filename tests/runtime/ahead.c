/* ahead.c - tests of runtime/ahead.c: memory is touched before it is taken, what is counted stays
 * true, and zeroed memory is zero whatever was touched. */
#include "runtime/cost.h"
#include "runtime/crew.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_ahead(void);

#define MB ((size_t)1 << 20)

static void start(bool thread)
{
    oak_config c = test_config();
    c.touch_ahead = thread;
    test_heap_start(c);
}

/* Free pages of the range that have memory behind them, as the heap counts and as the kernel. */
static size_t backed(void)
{
    const oaki_heap *h = &oaki_the_heap;
    return (AO_load(&h->pages_free) - AO_load(&h->pages_released)) << OAKI_PAGE_SHIFT;
}

static size_t resident(void)
{
    return oaki_os_resident((void *)oaki_the_heap.base, AO_load(&oaki_the_heap.used));
}

static size_t touch(size_t near, size_t least)
{
    size_t n = 0;
    for (; n < 1000; n++) {
        if (!oaki_ahead_step(near, least, n % 2)) return n;
        test_assert_sound();
    }
    ck_abort_msg("never enough");
}

START_TEST(what_is_near_is_touched_and_counted)
{
    start(false);
    char *p = oak_alloc_noscan(MB);
    memset(p, 1, MB);
    size_t had = backed(), lay = resident(), held = AO_load(&oaki_the_heap.pages_inuse);
    ck_assert_uint_gt(touch(40 * MB >> OAKI_PAGE_SHIFT, 0), 18);
    ck_assert_uint_ge(backed(), had + 38 * MB);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.pages_inuse), held);
    if (lay != SIZE_MAX && !test_slow()) ck_assert_uint_ge(resident(), lay + 38 * MB);
    ck_assert_uint_eq(touch(40 * MB >> OAKI_PAGE_SHIFT, 0), 0);
    ck_assert_uint_eq(touch(80 * MB >> OAKI_PAGE_SHIFT, held + 1), 0); /* a heap too small */
    oak_scavenge();
    ck_assert_uint_eq(backed(), 0);
    test_assert_sound();
}
END_TEST

/* Free memory in the middle of the range is taken as well as what would be at its end. */
START_TEST(not_while_as_much_is_free_elsewhere)
{
    enum { N = 48 };
    char *p[N];
    start(false);
    for (int i = 0; i < N; i++) memset(p[i] = oak_alloc_noscan(MB), 1, MB);
    (void)touch(2 * MB >> OAKI_PAGE_SHIFT, 0); /* what is backed there is not elsewhere */
    (void)oak_scavenge();
    size_t used = AO_load(&oaki_the_heap.used);
    for (int i = 10; i < 14; i++) oak_free(p[i]);
    ck_assert_uint_eq(touch(8 * MB >> OAKI_PAGE_SHIFT, 1), 0);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.used), used);
    size_t end = used >> OAKI_PAGE_SHIFT, asked = AO_load(&oaki_the_heap.touched);
    ck_assert_uint_gt(asked, 10 * MB >> OAKI_PAGE_SHIFT); /* it is asked again */
    ck_assert_uint_le(asked, end + (12 * MB >> OAKI_PAGE_SHIFT)); /* after a step */
    ck_assert_uint_gt(touch(8 * MB >> OAKI_PAGE_SHIFT, 0), 0); /* somebody said what it needs */
    (void)oak_scavenge();
    ck_assert_uint_gt(touch(8 * MB >> OAKI_PAGE_SHIFT, 1), 2); /* nothing is backed elsewhere */
    ck_assert_ptr_nonnull(p[0]);
}
END_TEST

/* By the heap's size, and four times as far where a fresh huge page takes more than a ms. */
START_TEST(how_far_depends_on_what_fresh_memory_costs)
{
    start(false);
    size_t small = 2 * MB >> OAKI_PAGE_SHIFT;
    if (!getenv("OAKUM_HOST")) ck_assert_uint_eq(oaki_ahead_near(), small); /* not measured yet */
    oaki_cost_force(OAKI_COST_fresh_huge, 1000000);
    ck_assert_uint_eq(oaki_ahead_near(), small);
    oaki_cost_force(OAKI_COST_fresh_huge, 1000001);
    ck_assert_uint_eq(oaki_ahead_near(), 4 * small);
    ck_assert_ptr_nonnull(oak_alloc_noscan(400 * MB));
    ck_assert_uint_eq(oaki_ahead_near(), 16 * MB >> OAKI_PAGE_SHIFT);
    oaki_cost_force(OAKI_COST_fresh_huge, 1);
    ck_assert_uint_lt(oaki_ahead_near(), 16 * MB >> OAKI_PAGE_SHIFT);
}
END_TEST

START_TEST(not_past_the_memory_limit)
{
    start(false);
    (void)!oak_alloc_noscan(MB);
    oak_set_memory_limit(16 * MB);
    (void)touch(64 * MB >> OAKI_PAGE_SHIFT, 0);
    ck_assert_uint_le(backed() + ((size_t)AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT),
                      16 * MB);
}
END_TEST

/* Runs of free memory that is dirty, touched, fresh, in every order. */
START_TEST(what_is_zeroed_is_zero)
{
    enum { N = 64 };
    char *p[N] = { 0 };
    start(false);
    for (size_t round = 0, n = test_scale(400); round < n; round++) {
        size_t i = test_below(N), bytes = 33000 + test_below(round % 16 ? 300000 : 9 * MB);
        if (p[i]) oak_free(p[i]);
        p[i] = oak_alloc_noscan(bytes);
        if (!test_is_zero(p[i], bytes)) ck_abort_msg("round %zu: not zero", round);
        memset(p[i], 0xa5, test_below(2) ? bytes : 1);
        if (test_below(4) == 0) (void)touch(test_below(1000), 0);
        if (test_below(40) == 0) oak_scavenge();
    }
    test_assert_sound();
}
END_TEST

/* ---- between the two halves of a step ---- */

static oaki_touching choose_step(void)
{
    oaki_touching x;
    start(false);
    memset(oak_alloc_noscan(MB), 1, MB);
    (void)oak_scavenge();
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_pages_untouched(8 * MB >> OAKI_PAGE_SHIFT, 256, 0, 0, &x));
    oaki_leave(t);
    return x;
}

static void note_touched(const oaki_touching *x)
{
    oaki_thread *t = oaki_enter();
    oaki_pages_touched(x);
    oaki_leave(t);
}

START_TEST(what_was_purged_meanwhile_is_not_counted)
{
    oaki_touching x = choose_step();
    (void)touch(4 * MB >> OAKI_PAGE_SHIFT, 0);
    oak_scavenge();
    note_touched(&x);
    ck_assert_uint_eq(backed(), 0);
    test_assert_sound();
}
END_TEST

START_TEST(what_was_taken_meanwhile_is_not_counted)
{
    oaki_touching x = choose_step();
    size_t bytes = (size_t)_i * (x.n << OAKI_PAGE_SHIFT) / 2; /* half of it, all, more */
    size_t had = AO_load(&oaki_the_heap.pages_inuse);
    char *p = oak_alloc_noscan(bytes);
    size_t taken = AO_load(&oaki_the_heap.pages_inuse) - had;
    note_touched(&x);
    ck_assert_uint_eq(backed(), taken < x.n ? (x.n - taken) << OAKI_PAGE_SHIFT : 0);
    ck_assert(test_is_zero(p, bytes));
    test_assert_sound();
}
END_TEST

/* What was taken has given its memory back, and come back itself. */
START_TEST(what_gave_its_head_back_meanwhile_is_not_counted)
{
    oaki_touching x = choose_step();
    size_t bytes = 2 * (x.n << OAKI_PAGE_SHIFT);
    char *p = oak_alloc_noscan(bytes);
    oaki_large_give_back(p, bytes / 2, bytes); /* keeps the second half */
    oak_free(p);
    size_t had = backed();
    note_touched(&x);
    ck_assert_uint_eq(backed(), had);
    test_assert_sound();
}
END_TEST

/* ---- the thread, and who leads ---- */

static bool comes(bool (*what)(void))
{
    uint64_t until = oaki_os_now_ns() + UINT64_C(20000000000);
    while (!what() && oaki_os_now_ns() < until) oaki_os_sleep_ns(1000000);
    return what();
}

static bool is_asked(void)
{
    return AO_load(&oaki_the_heap.touched) > AO_load(&oaki_the_heap.used) >> OAKI_PAGE_SHIFT;
}

static bool is_led(void)
{
    oaki_ahead_led_step(false); /* it rests between two */
    return !is_asked();
}

/* A mark beside the program would do what the heap asks for; now the test does. */
START_TEST(who_leads_does_it_in_place_of_the_thread)
{
    static char *held[200]; /* a root */
    if (test_skip(oaki_os_cpus() == 1, "one processor has no such thread")) return;
    start(true);
    size_t n = 0;
    for (; n < 90; n++) held[n] = oak_alloc_noscan(MB);
    oak_collect(); /* starts the thread */
    oaki_ahead_lead(true);
    for (; n < 200 && !is_asked(); n++) held[n] = oak_alloc_noscan(MB);
    ck_assert(is_asked());
    oaki_os_sleep_ns(20000000);
    ck_assert(is_asked());
    ck_assert(comes(is_led));
    ck_assert_uint_ge(backed(), 2 * MB);
    ck_assert_ptr_nonnull(held[0]);
    oaki_ahead_lead(false);
    test_assert_sound();
}
END_TEST

/* With its thread: allocating, stopping the world and forking beside it. */
static void *allocate(void *arg)
{
    char *kept[16] = { 0 };
    for (size_t i = 0; i < (size_t)arg; i++) {
        size_t bytes = i % 7 ? 300000 : 3 * MB;
        char *p = oak_alloc_noscan(bytes);
        if (!p || !test_is_zero(p, bytes)) AO_store(&test_wrong, __LINE__);
        memset(p, 0x5a, bytes);
        kept[i % 16] = p;
        if (i % 50 == 0) oak_collect();
        if (i % 20 == 0) oaki_ahead_want(4 * MB);
        if (i % 100 == 99) oak_scavenge();
    }
    return kept[0];
}

static void go_on(void *arg)
{
    allocate(arg);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}

START_TEST(beside_everything_else)
{
    start(true);
    size_t n = test_scale(400);
    pthread_t other = test_start(allocate, (void *)n);
    allocate((void *)n);
    if (!test_skip_asan()) test_child(go_on, (void *)(n / 4));
    test_join(other);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    test_assert_sound();
}
END_TEST

static bool much_backed(void)
{
    return backed() >= 28 * MB;
}

START_TEST(a_wish_is_fulfilled)
{
    start(true);
    char *p = oak_alloc_noscan(17 * MB);
    memset(p, 1, 17 * MB);
    oak_collect(); /* starts the thread, where there is a second processor */
    if (test_skip(oaki_os_cpus() == 1, "one processor has no such thread")) return;
    oaki_ahead_want(30 * MB);
    ck_assert(comes(much_backed));
}
END_TEST

/* Its thread would take the program's time. */
START_TEST(a_group_of_one_processor_has_no_such_thread)
{
    start(true);
    AO_store(&oaki_the_heap.group_cpus, 1);
    ck_assert_uint_eq(oaki_heap_cpus(), 1);
    memset(oak_alloc_noscan(17 * MB), 1, 17 * MB);
    oak_collect();
    oaki_ahead_want(30 * MB);
    oaki_os_sleep_ns(200000000);
    ck_assert(!much_backed());
}
END_TEST

/* Memory that was used, and is free: a stale word may keep it beyond a collection. */
static void drop_much(void)
{
    memset(oak_alloc_noscan(17 * MB), 1, 17 * MB);
    for (int i = 0; i < 10; i++) {
        oak_collect();
        if (AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT < 17 * MB) return;
    }
    ck_abort_msg("17 MB are kept");
}

static bool some_backed(void)
{
    return backed() >= MB / 2;
}

/* It is free memory, and decays as such. The goal permits as much as was taken, which is nothing
 * later on. */
START_TEST(what_was_not_taken_decays)
{
    start(true);
    drop_much();
    if (test_skip(oaki_os_cpus() == 1, "one processor has no such thread")) return;
    oaki_ahead_want(30 * MB);
    ck_assert(comes(much_backed));
    ck_assert(oaki_crew_end(true, UINT64_C(60000000000))); /* what it touches later is young */
    for (int tick = 0; tick < OAKI_DECAY_TICKS; tick++) (void)oaki_scavenge_tick();
    ck_assert(much_backed());
    for (int tick = 0; tick <= OAKI_DECAY_TICKS; tick++) (void)oaki_scavenge_tick();
    ck_assert_uint_lt(backed(), 4 * MB);
    test_assert_sound();
}
END_TEST

/* Nobody asks: a heap that grows is enough. */
static void grow(void *arg)
{
    static char *held[100]; /* a root */
    (void)arg;
    for (int i = 0; i < 90; i++) held[i] = oak_alloc_noscan(MB);
    oak_collect();
    (void)!oak_scavenge();
    for (int i = 90; i < 100; i++) held[i] = oak_alloc_noscan(MB);
    ck_assert_ptr_nonnull(held[99]);
    ck_assert(comes(some_backed));
}

START_TEST(a_growing_heap_is_touched_ahead_in_a_child_too)
{
    start(true);
    if (test_skip(oaki_os_cpus() == 1, "one processor has no such thread")) return;
    grow(NULL);
    if (!test_skip_asan()) test_child(grow, NULL);
}
END_TEST

Suite *suite_runtime_ahead(void)
{
    Suite *s = suite_create("runtime_ahead");
    TCase *tc = tcase_create("ahead");
    tcase_add_test(tc, what_is_near_is_touched_and_counted);
    tcase_add_test(tc, how_far_depends_on_what_fresh_memory_costs);
    tcase_add_test(tc, not_while_as_much_is_free_elsewhere);
    tcase_add_test(tc, not_past_the_memory_limit);
    tcase_add_test(tc, what_is_zeroed_is_zero);
    tcase_add_test(tc, what_was_purged_meanwhile_is_not_counted);
    tcase_add_loop_test(tc, what_was_taken_meanwhile_is_not_counted, 1, 4);
    tcase_add_test(tc, what_gave_its_head_back_meanwhile_is_not_counted);
    tcase_add_test(tc, who_leads_does_it_in_place_of_the_thread);
    tcase_add_test(tc, beside_everything_else);
    tcase_add_test(tc, a_wish_is_fulfilled);
    tcase_add_test(tc, a_group_of_one_processor_has_no_such_thread);
    tcase_add_test(tc, what_was_not_taken_decays);
    tcase_add_test(tc, a_growing_heap_is_touched_ahead_in_a_child_too);
    suite_add_tcase(s, tc);
    return s;
}

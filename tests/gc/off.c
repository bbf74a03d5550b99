/* off.c - tests of gc/off.c: while oak_gc_disable holds no collection ends, though one marks beside
 * the program, or another thread asks for it; and a program that disables most of the time is
 * collected in what is left. */
#include "gc/concurrent/concurrent.h"
#include "gc/host.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <check.h>
#include <oakum/gc.h>
#include <oakum/oakum.h>

Suite *suite_gc_off(void);

#define SEAL 0x0ff50ff5c0ffee11u
#define HIDDEN 40000
#define MIB ((size_t)1 << 20)

typedef struct thing {
    uint64_t seal;
    uintptr_t next; /* an address, or one inverted */
} thing;

static thing *first;

static bool start(int percent)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_percent = percent;
    if (!test_heap_tracked(c, 0)) return false;
    oaki_debug_switches.beside = 1;
    return true;
}

static thing *new_thing(thing *next)
{
    thing *x = oak_alloc(sizeof *x);
    *x = (thing){ SEAL, (uintptr_t)next };
    return x;
}

/* The rest of the list hangs on inverted words, or on addresses again. */
static void invert(bool hidden)
{
    size_t n = 0;
    for (thing *x = first; x && x->seal == SEAL; n++) {
        thing *next = (thing *)(hidden ? x->next : ~x->next);
        x->next = ~x->next;
        x = next;
    }
    ck_assert_msg(n == HIDDEN, "thing %zu is gone", n);
}

static void hide_in_sections(int sections)
{
    uint64_t draw = test_random() | 1;
    size_t asked = 0;
    for (int i = 0; i < HIDDEN; i++) first = new_thing(first);
    for (int i = 0; i < sections; i++) {
        asked += test_ask_beside();
        for (uint64_t n = test_draw(&draw) % 2000; n > 0; n--) (void)new_thing(NULL);
        oak_gc_disable();
        AO_t before = AO_load(&oaki_the_heap.cycle); /* oak_memstats_read would wait for its end */
        invert(true);
        for (int n = 0; n < 100; n++) (void)new_thing(NULL);
        invert(false);
        ck_assert_uint_eq(AO_load(&oaki_the_heap.cycle), before);
        oak_gc_enable();
    }
    ck_assert_uint_gt(asked, 0);
}

START_TEST(no_collection_ends_in_a_section)
{
    test_seed("gc/off");
    if (start(-1)) hide_in_sections(400);
}
END_TEST

static AO_t over;

static void *collect(void *arg)
{
    while (!AO_load(&over)) oak_collect();
    return arg;
}

START_TEST(nor_one_that_another_thread_asks_for)
{
    test_seed("gc/off");
    bool can = start(-1);
    pthread_t id = test_start(collect, NULL);
    if (can) hide_in_sections(100);
    AO_store(&over, 1);
    test_join(id);
}
END_TEST

static bool full;

static void waste(size_t objects)
{
    for (size_t i = 0; i < objects; i++) full |= !oak_alloc(64);
}

/* 2 MB of garbage in each, and a moment between two. */
START_TEST(what_dies_in_sections_is_collected_between_them)
{
    if (!start(100)) return;
    size_t most = 0;
    oaki_debug_switches.verify = 0; /* takes as long as some sections */
    for (int i = 0; i < 3000000; i++) first = new_thing(first);
    for (int i = 0; i < 1000; i++) {
        oak_gc_disable();
        waste(30000);
        oaki_os_sleep_ns(1000000); /* or all of it would be through before any mark */
        oak_gc_enable();
        waste(300);
        most = OAKI_MAX(most, (size_t)AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT);
    }
    ck_assert(!full);
    ck_assert_uint_le(most, 400 * MIB); /* of 1.9 GB */
}
END_TEST

static AO_t most_rounds;

static void note_rounds(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    if (c->rounds > AO_load(&most_rounds)) AO_store(&most_rounds, c->rounds);
}

/* Nothing is written meanwhile, so one round is enough if there are no more for being kept. */
START_TEST(a_mark_that_is_kept_goes_on_looking_at_what_is_written)
{
    if (!start(-1)) return;
    ck_assert_int_eq(oaki_gc_on_cycle(note_rounds, NULL), 0);
    for (int i = 0; i < HIDDEN; i++) first = new_thing(first);
    for (int i = 0; i < 200 && AO_load(&most_rounds) < 3; i++) {
        test_await_mark();
        oak_gc_disable(); /* until the rounds were, or the mark has been given up */
        while (oaki_is_marking() && AO_int_load(&oaki_gc.preclean.rounds) < 3)
            oaki_os_sleep_ns(100000);
        oak_gc_enable();
        while (oaki_is_marking()) oaki_os_yield();
    }
    ck_assert_uint_ge(AO_load(&most_rounds), 3);
}
END_TEST

/* While the collector's thread naps after a refusal, the program's own pause ends the mark. Were it
 * still taken for refused, all later cycles would be stopped ones. */
START_TEST(a_refused_mark_that_the_program_ends_is_over)
{
    unsigned ended = 0;
    if (!start(-1)) return;
    for (int i = 0; i < HIDDEN; i++) first = new_thing(first);
    for (int i = 0; i < 50; i++) {
        test_await_mark();
        oak_gc_disable();
        while (oaki_is_marking() && !AO_load(&oaki_gc.concurrent.final_refused))
            oaki_os_sleep_ns(20000);
        oak_gc_enable();
        bool refused = AO_load(&oaki_gc.concurrent.final_refused) != 0;
        oak_collect();
        ended += refused;
        ck_assert_uint_eq(AO_load(&oaki_gc.concurrent.final_refused), 0);
        test_await_idle();
    }
    ck_assert_uint_gt(ended, 0);
}
END_TEST

static bool allocates(oaki_gc_why why)
{
    (void)why;
    for (int i = 0; i < 1000; i++) /* soon one enters the runtime */
        if (!oak_alloc(512)) return true;
    return false;
}

static void collect_with_veto(void *arg)
{
    (void)arg;
    oaki_gc_unless(allocates);
    oak_collect();
}

/* It neither waits for itself nor goes on. */
START_TEST(a_veto_that_allocates_is_one_fatal_line)
{
    if (!start(100)) return;
    test_dies(collect_with_veto, NULL, "oakum: called ");
}
END_TEST

static void add(Suite *s, const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, no_collection_ends_in_a_section);
    tcase_add_test(t, nor_one_that_another_thread_asks_for);
    tcase_add_test(t, what_dies_in_sections_is_collected_between_them);
    tcase_add_test(t, a_mark_that_is_kept_goes_on_looking_at_what_is_written);
    tcase_add_test(t, a_refused_mark_that_the_program_ends_is_over);
    tcase_add_test(t, a_veto_that_allocates_is_one_fatal_line);
    suite_add_tcase(s, t);
}

Suite *suite_gc_off(void)
{
    Suite *s = suite_create("gc/off");
    add(s, "userfaultfd", test_by_userfaultfd);
    add(s, "faults", test_by_faults);
    return s;
}

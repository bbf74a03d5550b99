/* disclaim.c - tests of gc/disclaim.c: the function of a type is called for each dead object before
 * it is reclaimed, in each kind of cycle; what it keeps, and what it protects. With the verifier
 * after each mark. */
#include "gc/event.h"
#include "gc/gc.h"
#include "gc/host.h"
#include "runtime/os.h"
#include "runtime/span.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <check.h>
#include <string.h>

Suite *suite_gc_disclaim(void);

#define N 300
#define LUCK 4 /* objects that stale words may keep */
#define SEAL 77u
#define MB ((size_t)1 << 20)

typedef struct thing {
    size_t tag; /* odd: it protects, where its type does */
    size_t id;  /* from 1 on; 0: not yet filled */
    struct thing *other;
    size_t seal;
} thing;

static const size_t sizes[] = { sizeof(thing), 5000, 100000 };
static const int data;
static const oak_type *type;
static size_t size; /* of things */
static bool untagged; /* things */
static thing *held[N];

static struct {
    AO_t asked[N], calls; /* by id, and of all */
    AO_t wrong, intact;
    AO_t keeps; /* how often each is kept */
    size_t cycle;
    const void *last; /* of that cycle */
} seen;

static void mark_thing(oak_marker *m, void *obj, size_t bytes)
{
    (void)bytes;
    oak_mark_ptr(m, ((thing *)obj)->other);
}

/* On the thread that ends the cycle, while mutators run, in ascending order. */
static bool ask(void *obj, const void *its_data)
{
    const thing *t = obj;
    size_t cycle = AO_load(&oaki_the_heap.cycle);
    bool ok = its_data == &data && !oaki_world_stopped() && oak_base((char *)obj + 9) == obj;
    ok = ok && AO_load(&oaki_the_heap.disclaiming) == (AO_t)oaki_thread_self();
    ok = ok && (cycle != seen.cycle || (const char *)obj > (const char *)seen.last);
    if (!ok) AO_fetch_and_add1(&seen.wrong);
    seen.cycle = cycle;
    seen.last = obj;
    AO_fetch_and_add1(&seen.calls);
    if (t->id == 0) return false;
    if (t->other && t->other->seal == SEAL) AO_fetch_and_add1(&seen.intact);
    return AO_fetch_and_add1(&seen.asked[(t->id - 1) % N]) < AO_load(&seen.keeps);
}

static void make_type(bool protects)
{
    type = oaki_type_host("asked", sizeof(void *), mark_thing, &data);
    ck_assert_int_eq(oaki_type_disclaim(type, ask, protects), 0);
    size = sizeof(thing);
    oaki_debug_switches.verify = oaki_debug_switches.poison = 1;
}

static void start(bool protects)
{
    test_heap_start(test_config());
    make_type(protects);
}

/* Cycles by pacing sweep nothing but what is asked for. */
static void collect(oaki_gc_why why)
{
    oaki_thread *t = oaki_enter();
    (void)oaki_gc_collect(t, why);
    oaki_leave(t);
}

static size_t asked(AO_t least)
{
    size_t n = 0;
    for (size_t i = 0; i < N; i++) n += AO_load(&seen.asked[i]) >= least;
    return n;
}

static OAKI_NOINLINE thing *make(size_t id)
{
    thing *t = oak_alloc_typed(type, size / sizeof(void *));
    if (!t) return NULL;
    t->other = oak_alloc(sizeof(thing));
    if (!t->other) return NULL;
    t->other->seal = SEAL;
    t->tag = !untagged;
    t->id = id;
    return t;
}

static void make_many(void *hold)
{
    for (size_t i = 0; i < N; i++) {
        thing *t = make(i + 1);
        if (hold) held[i] = t;
    }
}

static void assert_asked_once(void)
{
    ck_assert_uint_ge(asked(1), N - LUCK);
    ck_assert_uint_eq(asked(2), 0);
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
}

/* ---- each dead object, and no other ---- */

START_TEST(each_is_asked_for_once_at_the_end_of_the_cycle)
{
    start(true);
    size = sizes[_i];
    test_away(make_many, held);
    collect(OAKI_GC_NEEDED);
    ck_assert_uint_eq(AO_load(&seen.calls), 0);
    memset(held, 0, sizeof held);
    collect(OAKI_GC_NEEDED); /* nothing has been swept by an allocation yet */
    assert_asked_once();
    ck_assert_uint_eq(AO_load(&seen.intact), asked(1));
    for (int i = 0; i < 2; i++) oak_collect();
    assert_asked_once();
    ck_assert_uint_le(test_objects(), 2 * LUCK + 4);
    test_assert_sound();
}
END_TEST

START_TEST(objects_that_were_there_before_the_function)
{
    test_heap_start(test_config());
    type = oaki_type_host("asked", sizeof(void *), mark_thing, &data);
    size = sizes[_i];
    test_away(make_many, NULL);
    ck_assert_int_eq(oaki_type_disclaim(type, ask, true), 0);
    collect(OAKI_GC_NEEDED);
    assert_asked_once();
}
END_TEST

static void free_many(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N; i++) oak_free(make(i + 1));
}

START_TEST(what_is_freed_by_hand_is_not_asked_for)
{
    start(true);
    size = sizes[_i];
    test_away(free_many, NULL);
    for (int i = 0; i < 3; i++) oak_collect();
    ck_assert_uint_eq(AO_load(&seen.calls), 0);
}
END_TEST

/* ---- what it keeps ---- */

START_TEST(one_that_is_kept_is_asked_for_in_each_cycle)
{
    start(true);
    size = sizes[_i];
    AO_store(&seen.keeps, 2);
    test_away(make_many, NULL);
    for (AO_t cycle = 1; cycle <= 3; cycle++) {
        collect(OAKI_GC_NEEDED);
        ck_assert_uint_ge(asked(cycle), N - LUCK);
        ck_assert_uint_eq(asked(cycle + 1), 0);
        ck_assert_uint_eq(AO_load(&seen.intact), AO_load(&seen.calls));
        if (cycle < 3) ck_assert_uint_ge(AO_load(&oaki_the_heap.live), (N - LUCK) * size);
        test_assert_sound();
    }
    for (int i = 0; i < 2; i++) oak_collect();
    ck_assert_uint_eq(asked(4), 0);
    ck_assert_uint_le(test_objects(), 2 * LUCK + 4);
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
}
END_TEST

/* ---- what it protects ---- */

/* Rings of three, or a chain of N that begins with 1. */
static void make_rings(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < N; i += 3) {
        thing *t[3] = { make(i + 1), make(i + 2), make(i + 3) };
        for (size_t k = 0; k < 3; k++) t[k]->other = t[(k + 1) % 3];
    }
}

static void make_chain(void *n)
{
    thing *next = NULL;
    for (size_t i = *(size_t *)n; i > 0; i--) {
        thing *t = make(i);
        t->other = next;
        next = t;
    }
}

START_TEST(a_circle_that_is_protected_never_goes)
{
    start(_i > 0);
    untagged = _i == 2;
    test_away(make_rings, NULL);
    for (int i = 0; i < 5; i++) oak_collect();
    if (_i == 1) {
        ck_assert_uint_eq(asked(1), 0);
        ck_assert_uint_ge(test_objects(), N);
    } else {
        assert_asked_once();
        ck_assert_uint_le(test_objects(), 3 * LUCK + 4);
    }
}
END_TEST

/* A whole chain without protection. */
START_TEST(a_chain_goes_one_in_each_cycle)
{
    size_t n = 5;
    start(_i);
    test_away(make_chain, &n);
    for (size_t i = 1; i <= n; i++) {
        collect(OAKI_GC_NEEDED);
        ck_assert_uint_eq(asked(1), _i ? i : n);
    }
    ck_assert_uint_eq(asked(2), 0);
}
END_TEST

/* ---- no memory ---- */

static size_t made_until_full(size_t most)
{
    for (size_t i = 0; i < most; i++)
        if (!make(i % N + 1)) return i;
    return most;
}

static void use_up(void *arg)
{
    AO_store(&seen.keeps, 0);
    ck_assert_uint_eq(made_until_full(5000), 5000); /* 25 MB */
    AO_store(&seen.keeps, (AO_t)1 << 30);
    size_t n = made_until_full(5000);
    ck_assert_uint_lt(n, 1000);
    AO_store(&seen.keeps, 0);
    ck_assert_uint_eq(made_until_full(5000), 5000);
    (void)arg;
}

START_TEST(under_a_limit_what_is_not_kept_makes_room)
{
    start(true);
    size = 5000;
    oak_set_heap_max(4 * MB);
    test_away(use_up, NULL);
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
    test_assert_sound();
}
END_TEST

/* One in each collection: so many are made. */
START_TEST(under_a_limit_a_chain_makes_room)
{
    size_t n = 8;
    start(true);
    size = 400000;
    oak_set_heap_max(4 * MB);
    test_away(make_chain, &n);
    ck_assert_ptr_nonnull(oak_alloc_noscan(5 * MB / 2));
    ck_assert_uint_ge(asked(1), 4);
    ck_assert_uint_eq(asked(2), 0);
}
END_TEST

/* ---- zones ---- */

static oak_zone *zone;

static void make_in_zone(void *arg)
{
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    make_many(arg);
    oak_zone_leave(zone);
}

/* A discarded zone goes as a whole. */
START_TEST(in_a_zone_it_is_the_same_until_that_is_discarded)
{
    start(true);
    zone = oak_zone_new(NULL);
    test_away(make_in_zone, NULL);
    collect(OAKI_GC_NEEDED);
    assert_asked_once();
    memset(&seen, 0, sizeof seen);
    test_away(make_in_zone, held);
    memset(held, 0, sizeof held);
    ck_assert_int_eq(oak_zone_discard(zone), 0);
    for (int i = 0; i < 3; i++) oak_collect();
    ck_assert_uint_eq(AO_load(&seen.calls), 0);
    test_assert_sound();
}
END_TEST

/* ---- threads, and a fork ---- */

#define THREADS 4
static AO_t made, quit;

static OAKI_NOINLINE void make_one(void)
{
    AO_fetch_and_add1(&made);
    (void)make(N);
}

static void *churn(void *arg)
{
    for (size_t i = 0; i < test_scale(20000) && !AO_load(&quit); i++) {
        make_one();
        if (i % 2000 == (size_t)(uintptr_t)arg) oak_collect();
    }
    return NULL;
}

START_TEST(threads_that_make_them_while_others_collect)
{
    oak_config c = test_config();
    pthread_t id[THREADS];
    c.gc_percent = 50;
    test_heap_start(c);
    make_type(true);
    for (size_t i = 0; i < THREADS; i++) id[i] = test_start(churn, (void *)(i * 400));
    for (size_t i = 0; i < THREADS; i++) test_join(id[i]);
    for (int i = 0; i < 2; i++) oak_collect();
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
    ck_assert_uint_le(AO_load(&seen.calls), AO_load(&made));
    ck_assert_uint_ge(AO_load(&seen.calls), AO_load(&made) - THREADS * LUCK);
    test_assert_sound();
}
END_TEST

static void in_child(void *arg)
{
    (void)arg;
    memset(&seen, 0, sizeof seen);
    test_away(make_many, NULL);
    collect(OAKI_GC_NEEDED);
    ck_assert_uint_ge(asked(1), N - LUCK);
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
    test_assert_sound();
}

/* Dead objects of the parent that its cycle has yet to ask for are the child's, too. */
START_TEST(a_child_asks_for_its_own)
{
    pthread_t id[2];
    start(true);
    for (size_t i = 0; i < 2; i++) id[i] = test_start(churn, (void *)(i * 1000));
    for (int i = 0; i < 5; i++) test_child(in_child, NULL);
    AO_store(&quit, 1);
    for (size_t i = 0; i < 2; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
    in_child(NULL);
}
END_TEST

/* ---- concurrent and minor cycles ---- */

static AO_t minors, concurrents;

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    if (c->minor) AO_fetch_and_add1(&minors);
    if (c->first_begin) AO_fetch_and_add1(&concurrents);
}

static void concurrent_cycle(void)
{
    uint32_t before = test_stats().num_gc;
    do test_ask_or_collect();
    while (test_stats().num_gc == before);
    test_await_idle();
}

START_TEST(after_a_concurrent_mark_too)
{
    if (!test_heap_tracked(test_config_beside(test_tracking), 0)) return;
    oaki_debug_switches.beside = 1;
    make_type(true);
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    size = sizes[_i];
    test_away(make_many, held);
    concurrent_cycle();
    ck_assert_uint_eq(AO_load(&seen.calls), 0);
    memset(held, 0, sizeof held);
    for (int i = 0; i < 2; i++) concurrent_cycle();
    if (!oaki_dirty_denies()) ck_assert_uint_ge(AO_load(&concurrents), 3);
    assert_asked_once();
    ck_assert_uint_eq(AO_load(&seen.intact), asked(1));
    test_assert_sound();
}
END_TEST

/* What is old waits for a full cycle. */
START_TEST(in_a_minor_cycle_only_the_young_are_asked_for)
{
    oak_config c = test_config();
    c.concurrent = c.generations = 1;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    if (!test_heap_tracked(c, 3)) return;
    make_type(true);
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    static void **heap; /* is what makes minor cycles pay */
    heap = oak_alloc(30000 * sizeof *heap);
    for (size_t i = 0; i < 30000; i++) heap[i] = oak_alloc(64);
    test_away(make_many, held);
    while (AO_load(&minors) == 0) collect(OAKI_GC_DUE);
    size_t full_next = AO_load(&minors);
    ck_assert_uint_eq(AO_load(&seen.calls), 0);
    memset(held, 0, sizeof held);
    collect(OAKI_GC_DUE);
    ck_assert_uint_eq(AO_load(&minors), full_next + 1);
    ck_assert_uint_eq(AO_load(&seen.calls), 0);
    test_away(make_many, NULL);
    collect(OAKI_GC_DUE);
    ck_assert_uint_eq(AO_load(&minors), full_next + 2);
    assert_asked_once();
    collect(OAKI_GC_DUE); /* the full one */
    ck_assert_uint_eq(AO_load(&minors), full_next + 2);
    ck_assert_uint_ge(asked(2), N - LUCK);
    ck_assert_uint_eq(AO_load(&seen.wrong), 0);
    OAKI_HOLD(heap);
}
END_TEST

Suite *suite_gc_disclaim(void)
{
    const int kinds = (int)OAKI_COUNT(sizes);
    Suite *s = suite_create("gc/disclaim");
    TCase *t = tcase_create("disclaim");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, each_is_asked_for_once_at_the_end_of_the_cycle, 0, kinds);
    tcase_add_loop_test(t, objects_that_were_there_before_the_function, 0, kinds);
    tcase_add_loop_test(t, what_is_freed_by_hand_is_not_asked_for, 0, kinds);
    tcase_add_loop_test(t, one_that_is_kept_is_asked_for_in_each_cycle, 0, kinds);
    tcase_add_loop_test(t, a_circle_that_is_protected_never_goes, 0, 3);
    tcase_add_loop_test(t, a_chain_goes_one_in_each_cycle, 0, 2);
    tcase_add_test(t, under_a_limit_what_is_not_kept_makes_room);
    tcase_add_test(t, under_a_limit_a_chain_makes_room);
    tcase_add_test(t, in_a_zone_it_is_the_same_until_that_is_discarded);
    tcase_add_test(t, threads_that_make_them_while_others_collect);
    tcase_add_test(t, a_child_asks_for_its_own);
    tcase_add_test(t, in_a_minor_cycle_only_the_young_are_asked_for);
    suite_add_tcase(s, t);
    TCase *by[] = { tcase_create("by userfaultfd"), tcase_create("by faults") };
    tcase_add_checked_fixture(by[0], test_by_userfaultfd, NULL);
    tcase_add_checked_fixture(by[1], test_by_faults, NULL);
    for (size_t i = 0; i < OAKI_COUNT(by); i++) {
        tcase_set_timeout(by[i], 120);
        tcase_add_loop_test(by[i], after_a_concurrent_mark_too, 0, kinds);
        suite_add_tcase(s, by[i]);
    }
    return s;
}

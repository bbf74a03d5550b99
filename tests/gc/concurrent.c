/* concurrent - marking while the program runs: programs that move their only references about
 * behind the marker's back. What is lost shows as a changed value, in the poison, or to the
 * verifier, which goes over all that is marked after each cycle. */
#include "gc/concurrent/concurrent.h"

#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"
#include <check.h>
#include <string.h>

Suite *suite_gc_concurrent(void);

#define SEAL 0x5ea1ed00c0ffee11u
#define SLOTS 4096 /* of a table */

static size_t minors;         /* between two full cycles */
static size_t stops;          /* written pages are looked at in stops, however few they are */
static int markers = 1;

/* Cycles are asked for without end, whatever the pacing says. false: this system can't. */
static bool start(void)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_threads = markers;
    bool can = test_heap_tracked(c, minors);
    oaki_debug_switches.beside = 1 + stops;
    return can;
}

typedef struct thing {
    uint64_t seal;
    struct thing *next;
    uint64_t id, sum;
    char more[32];
} thing;

static thing *new_thing(uint64_t id)
{
    thing *x = oak_alloc(sizeof *x);
    *x = (thing){ .seal = SEAL, .id = id, .sum = id * 3 };
    return x;
}

static bool is_whole(const thing *x)
{
    return x->seal == SEAL && x->sum == x->id * 3;
}

/* ---- references that move ---- */

/* Every thing is in one slot of one table, and in a chain behind another thing now and then. */
static void *move_about(void *arg)
{
    uint64_t draw = (uint64_t)(uintptr_t)arg * 7919 + 1;
    thing **table[4];
    size_t n = test_scale(150000);
    for (size_t i = 0; i < 4; i++) table[i] = oak_alloc(SLOTS * sizeof *table[i]);
    for (size_t k = 0; k < n; k++) {
        thing **from = &table[test_draw(&draw) % 4][test_draw(&draw) % SLOTS];
        thing **to = &table[test_draw(&draw) % 4][test_draw(&draw) % SLOTS];
        switch (test_draw(&draw) % 8) {
        case 0:
        case 1:
            *from = new_thing(k);
            break;
        case 2: /* into a chain, and what hung there before goes */
            if (*from && *to && from != to) {
                (*to)->next = *from;
                *from = NULL;
            }
            break;
        case 3: /* out of it */
            if (*from && (*from)->next) {
                thing *x = (*from)->next;
                (*from)->next = x->next;
                x->next = NULL;
                *to = x;
            }
            break;
        default: { /* change places */
            thing *x = *from;
            *from = *to;
            *to = x;
        }
        }
        if (*to) test_expect(is_whole(*to), __LINE__);
        if (k % 2000 == 0) test_ask_or_collect();
    }
    for (size_t i = 0; i < 4; i++)
        for (size_t s = 0; s < SLOTS; s++)
            for (const thing *x = table[i][s]; x; x = x->next) test_expect(is_whole(x), __LINE__);
    return arg;
}

START_TEST(the_only_reference_moves)
{
    if (!start()) return;
    for (uintptr_t i = 1; test_stats().num_gc < 3; i++) move_about((void *)i);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

START_TEST(several_threads_move_references)
{
    pthread_t id[3];
    if (!start()) return;
    for (uintptr_t i = 0; i < 3; i++) id[i] = test_start(move_about, (void *)(i + 1));
    for (int i = 0; i < 3; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

/* ---- what becomes garbage goes ---- */

START_TEST(what_is_dead_when_it_begins_is_freed)
{
    if (!start()) return;
    thing **keep = oak_alloc(1000 * sizeof *keep);
    for (size_t i = 0; i < 100000; i++) {
        thing *x = new_thing(i);
        if (i % 100 == 0) keep[i / 100] = x;
    }
    uint32_t before = test_stats().num_gc;
    while (test_stats().num_gc < before + 2) test_ask_or_collect();
    oaki_thread *t = oaki_enter();
    test_sweep_all();
    oaki_leave(t);
    ck_assert_uint_le(test_stats().heap_objects, 1500);
    for (size_t i = 0; i < 1000; i++) ck_assert(keep[i]->id == i * 100 && is_whole(keep[i]));
}
END_TEST

START_TEST(a_collection_that_is_asked_for_is_a_whole_one)
{
    if (!start()) return;
    for (int round = 0; round < 20; round++) {
        size_t n = test_scale(20000);
        thing **keep = oak_alloc(n * sizeof *keep);
        for (size_t i = 0; i < n; i++) keep[i] = new_thing(i);
        test_ask_or_collect(); /* it is marked, or half of it is */
        oaki_os_sleep_ns((uint64_t)round * 100000);
        memset(keep, 0, n * sizeof *keep);
        oak_collect();
        ck_assert_uint_le(test_stats().heap_objects, 100);
    }
}
END_TEST

/* ---- what the system writes ---- */

/* By faults such a call would be refused. */
START_TEST(references_that_come_by_a_system_call)
{
    int fd[2];
    if (!start() || test_tracking == OAK_TRACKING_FAULTS) return;
    ck_assert_int_eq(pipe(fd), 0);
    thing **table = oak_alloc(SLOTS * sizeof *table);
    size_t n = test_scale(20000);
    for (size_t k = 0; k < n; k++) {
        thing *x = new_thing(k);
        ck_assert_int_eq(write(fd[1], &x, sizeof x), sizeof x);
        ck_assert_int_eq(read(fd[0], &table[k * 7 % SLOTS], sizeof x), sizeof x);
        x = NULL;
        if (k % 500 == 0) test_ask_or_collect();
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (table[i]) ck_assert(is_whole(table[i]));
}
END_TEST

/* ---- maps ---- */

OAK_MAP_DEFINE(things, uint64_t, thing *);
OAK_MAP_DEFINE(owned, thing *, char);

START_TEST(maps_that_grow_and_shrink)
{
    if (!start()) return;
    things *m = things_new(0);
    owned *o = owned_new(0);
    size_t n = test_scale(50000);
    for (size_t round = 0; round < 3; round++) {
        for (size_t k = 0; k < n; k++) {
            *things_put(m, k) = new_thing(k);
            *owned_put(o, new_thing(k)) = 1;
            if (k % 3000 == 0) test_ask_or_collect();
        }
        owned_iter it;
        owned_iter_init(&it, o);
        while (owned_iter_next(&it)) ck_assert(is_whole(*it.key));
        for (size_t k = 0; k < n; k++) ck_assert((*things_get(m, k))->id == k);
        for (size_t k = 0; k < n; k++) {
            ck_assert(is_whole(*things_get(m, k)));
            things_delete(m, k);
            if (k % 3000 == 0) test_ask_or_collect();
        }
        owned_clear(o);
    }
}
END_TEST

/* ---- freed by hand meanwhile ---- */

START_TEST(large_objects_freed_by_hand_meanwhile)
{
    if (!start()) return;
    size_t objects = 0, rounds = OAKI_MAX(test_scale(12), 6);
    for (size_t round = 0; round < rounds; round++) {
        char *large[8];
        for (int i = 0; i < 8; i++) large[i] = oak_alloc(200000);
        test_await_mark();
        for (int i = 0; i < 8; i++) oak_free(large[i]);
        for (int i = 0; i < 8; i++) large[i] = memset(oak_alloc(200000), 1, 200000);
        for (int i = 0; i < 8; i++) oak_free(large[i]);
        memset(large, 0, sizeof large);
        oak_collect();
        if (round == 3) objects = test_stats().heap_objects;
    }
    ck_assert_uint_le(test_stats().heap_objects, objects + 4);
    test_assert_sound();
}
END_TEST

static void mark_nothing(oak_marker *m, void *obj, size_t size)
{
    (void)m, (void)obj, (void)size;
}

/* Its function may be looking at it. */
START_TEST(small_objects_that_a_function_marks_stay_until_the_mark_is_over)
{
    if (!start()) return;
    const oak_type *t = oak_type_function("nothing", sizeof(thing), mark_nothing);
    thing *keep = new_thing(0);
    for (size_t i = 0; i < 20000; i++) { /* so that a mark takes a while */
        thing *x = new_thing(i);
        x->next = keep;
        keep = x;
    }
    for (int looked = 0; looked < 20;) {
        thing *x = oak_alloc_typed(t, 1);
        size_t off = oaki_heap_offset(x);
        test_await_mark();
        AO_t cycle = AO_load(&oaki_the_heap.cycle);
        bool marking = oaki_is_marking_concurrently();
        oak_free(x);
        bool is_there = oaki_bit_get(oaki_the_heap.alloc, off);
        marking &= oaki_is_marking_concurrently();
        marking &= AO_load(&oaki_the_heap.cycle) == cycle;
        if (marking) ck_assert(is_there);
        looked += marking;
    }
    ck_assert(is_whole(keep));
    oak_collect();
    test_assert_sound();
}
END_TEST

static void free_twice_meanwhile(void *type)
{
    thing *keep = new_thing(0);
    for (size_t i = 0; i < 20000; i++) { /* so that a mark takes a while */
        thing *x = new_thing(i);
        x->next = keep;
        keep = x;
    }
    for (int n = 0; n < 20; n++) {
        void *obj = type ? oak_alloc_typed(type, 1) : oak_alloc(200000);
        test_await_mark();
        oak_free(obj);
        if (oaki_is_marking_concurrently()) oak_free(obj);
    }
    test_expect(is_whole(keep), __LINE__);
}

START_TEST(what_is_freed_twice_meanwhile_is_noticed)
{
    if (!start()) return;
    const oak_type *t = oak_type_function("nothing", sizeof(thing), mark_nothing);
    test_dies(free_twice_meanwhile, (void *)(uintptr_t)t, "was it freed already?");
    test_dies(free_twice_meanwhile, NULL, "oakum: oak_free: ");
}
END_TEST

/* ---- weak references, finalizers, pinned objects, mark functions ---- */

static AO_t finalized;

static void on_final(void *obj, void *ctx)
{
    (void)ctx;
    test_expect(is_whole(obj), __LINE__);
    AO_fetch_and_add1(&finalized);
}

typedef struct weak_things {
    oak_weak *weak[100];
    thing *keep[50];
} weak_things;

static void make_weak_things(void *arg)
{
    weak_things *w = arg;
    for (size_t i = 0; i < 100; i++) {
        thing *x = new_thing(i);
        w->weak[i] = oak_weak_new(x);
        ck_assert_int_eq(oak_finalizer_set(x, on_final, NULL), 0);
        if (i % 2 == 0) w->keep[i / 2] = x;
    }
}

START_TEST(what_a_cycle_decides)
{
    if (!start()) return;
    weak_things *w = oak_alloc(sizeof *w); /* on the stack each would keep the one before it, too */
    test_away(make_weak_things, w);
    uint32_t before = test_stats().num_gc;
    while (test_stats().num_gc < before + 2) test_ask_or_collect();
    (void)oak_finalizers_run();
    size_t gone = 0;
    for (size_t i = 0; i < 100; i++) {
        thing *x = oak_weak_get(w->weak[i]);
        if (i % 2 == 0) ck_assert_ptr_eq(x, w->keep[i / 2]);
        gone += x == NULL;
    }
    ck_assert_uint_ge(gone, 49); /* one may be in a register still */
    ck_assert_uint_ge(AO_load(&finalized), 49);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

typedef struct hidden {
    uintptr_t inverted;
} hidden;

static void mark_hidden(oak_marker *m, void *obj, size_t size)
{
    (void)size;
    test_expect(oaki_world_stopped(), __LINE__); /* no assertion of Check's, which takes locks */
    if (((hidden *)obj)->inverted) oak_mark_ptr(m, (void *)~((hidden *)obj)->inverted);
}

START_TEST(mark_functions_find_the_world_standing)
{
    if (!start()) return;
    const oak_type *t = oak_type_function("hidden", sizeof(hidden), mark_hidden);
    hidden **table = oak_alloc(SLOTS * sizeof *table);
    size_t n = test_scale(40000);
    for (size_t k = 0; k < n; k++) {
        hidden *h = oak_alloc_typed(t, 1);
        thing *mine = new_thing(k), *its = mine;
        h->inverted = ~(uintptr_t)mine;
        table[k % SLOTS] = h;
        hidden *other = table[k * 31 % SLOTS];
        if (other) {
            its = (thing *)~other->inverted;
            OAKI_HOLD(its); /* in hand until both are written: a stop may come in between */
            other->inverted = ~(uintptr_t)mine;
            h->inverted = ~(uintptr_t)its;
        }
        OAKI_HOLD(mine);
        OAKI_HOLD(its);
        if (k % 1000 == 0) test_ask_or_collect();
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (table[i]) ck_assert(is_whole((thing *)~table[i]->inverted));
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

static oak_weak *of_dead;
static void make_dead(void *arg)
{
    of_dead = oak_weak_new(oak_alloc(40));
    (void)arg;
}

/* Also where a mark begins between the call and its stop. */
START_TEST(what_is_dead_goes_when_it_is_asked_for)
{
    if (!start()) return;
    oaki_debug_switches.verify = 0;
    for (size_t n = test_scale(100); n > 0; n--) {
        test_ask_or_collect();
        uint64_t until = oaki_os_now_ns() + 10000000;
        while (!oaki_is_marking() && oaki_os_now_ns() < until)
            oaki_os_yield();
        test_away(make_dead, NULL);
        oak_collect();
        ck_assert_ptr_null(oak_weak_get(of_dead));
    }
}
END_TEST

START_TEST(pinned_objects_are_roots)
{
    if (!start()) return;
    thing **pinned = oak_alloc_pinned(SLOTS * sizeof *pinned);
    thing **small[20];
    for (int i = 0; i < 20; i++) small[i] = oak_alloc_pinned(2 * sizeof *small[i]);
    size_t n = test_scale(40000);
    for (size_t k = 0; k < n; k++) {
        pinned[k * 13 % SLOTS] = new_thing(k);
        small[k % 20][k % 2] = pinned[k % SLOTS];
        if (k % 1000 == 0) test_ask_or_collect();
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (pinned[i]) ck_assert(is_whole(pinned[i]));
    for (int i = 0; i < 40; i++)
        if (small[i / 2][i % 2]) ck_assert(is_whole(small[i / 2][i % 2]));
}
END_TEST

/* ---- others that stop the world ---- */

/* Of some length: so that a mark takes a while. */
static thing *chain(size_t n)
{
    thing *first = NULL;
    for (size_t i = 0; i < n; i++) {
        thing *x = new_thing(i);
        x->next = first;
        first = x;
    }
    return first;
}

static size_t length(const thing *x)
{
    size_t n = 0;
    for (; x; x = x->next) n += is_whole(x);
    return n;
}

static uintptr_t pinned_table; /* inverted: nothing refers to it */

static void make_late(void *arg)
{
    thing **p = oak_alloc_pinned(sizeof *p);
    *p = new_thing(*(size_t *)arg);
    pinned_table = ~(uintptr_t)p;
}

static void free_late(void *arg)
{
    thing **p = (thing **)~pinned_table;
    test_expect(is_whole(*p) && (*p)->id == *(size_t *)arg, __LINE__);
    oak_free(p);
}

START_TEST(what_is_pinned_during_the_mark_is_a_root)
{
    if (!start()) return;
    thing *first = chain(20000);
    for (size_t k = 0; k < test_scale(40); k++) {
        uint32_t before = test_stats().num_gc;
        test_await_mark();
        test_away(make_late, &k);
        while (test_stats().num_gc < before + 2) test_ask_or_collect();
        test_away(free_late, &k);
    }
    ck_assert_uint_eq(length(first), 20000);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

static void in_child(void *arg)
{
    ck_assert_uint_eq(length(arg), 30000);
    thing *more = chain(1000);
    oak_collect();
    ck_assert_uint_eq(length(arg) + length(more), 31000);
    ck_assert(!oaki_is_marking());
    test_await_mark(); /* the child has its own thread for it */
    oak_collect();
    ck_assert_uint_eq(length(arg) + length(more), 31000);
}

static AO_t forked_in_mark;

static void in_parent(void)
{
    if (oaki_is_marking_concurrently()) AO_fetch_and_add1(&forked_in_mark);
}

START_TEST(forks_in_the_middle)
{
    if (test_skip_asan() || !start()) return;
    thing *first = chain(30000);
    test_once();
    ck_assert_int_eq(pthread_atfork(NULL, in_parent, NULL), 0);
    for (int i = 0; i < 5 || (i < 200 && AO_load(&forked_in_mark) < 3); i++) {
        test_await_mark();
        test_child(in_child, first);
    }
    ck_assert_uint_eq(length(first), 30000);
    if (!oaki_dirty_denies()) ck_assert_uint_ge(AO_load(&forked_in_mark), 3);
}
END_TEST

START_TEST(readings_in_the_middle)
{
    if (!start()) return;
    thing *first = chain(30000);
    for (size_t i = 0; i < test_scale(40); i++) {
        test_ask_or_collect();
        ck_assert_uint_ge(test_stats().heap_objects, 30000);
        first->next = chain(10);
        thing *last = first->next;
        while (last->next) last = last->next;
        last->next = chain(29989);
    }
    ck_assert_uint_eq(length(first), 30000);
}
END_TEST

START_TEST(disabled_in_the_middle)
{
    if (!start()) return;
    thing *first = chain(30000);
    for (int i = 0; i < 10; i++) {
        test_await_mark();
        oak_gc_disable();
        uint32_t before = test_stats().num_gc;
        thing *more = chain(20000);
        ck_assert_uint_eq(test_stats().num_gc, before);
        ck_assert_uint_eq(length(more), 20000);
        oak_gc_enable();
    }
    oak_collect();
    ck_assert_uint_eq(length(first), 30000);
}
END_TEST

static void by_several(void)
{
    test_by_userfaultfd();
    markers = 4;
}

static void in_short_stops(void)
{
    by_several();
    stops = 1;
}

static void mostly_minor(void)
{
    test_by_userfaultfd();
    minors = 3;
}

static void by_faults(void)
{
    test_by_faults();
    minors = 3; /* of which there are none: asked for in vain */
}

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, the_only_reference_moves);
    tcase_add_test(t, several_threads_move_references);
    tcase_add_test(t, what_is_dead_when_it_begins_is_freed);
    tcase_add_test(t, a_collection_that_is_asked_for_is_a_whole_one);
    tcase_add_test(t, references_that_come_by_a_system_call);
    tcase_add_test(t, maps_that_grow_and_shrink);
    tcase_add_test(t, large_objects_freed_by_hand_meanwhile);
    tcase_add_test(t, small_objects_that_a_function_marks_stay_until_the_mark_is_over);
    tcase_add_test(t, what_is_freed_twice_meanwhile_is_noticed);
    tcase_add_test(t, what_a_cycle_decides);
    tcase_add_test(t, mark_functions_find_the_world_standing);
    tcase_add_test(t, what_is_dead_goes_when_it_is_asked_for);
    tcase_add_test(t, pinned_objects_are_roots);
    tcase_add_test(t, what_is_pinned_during_the_mark_is_a_root);
    tcase_add_test(t, forks_in_the_middle);
    tcase_add_test(t, readings_in_the_middle);
    tcase_add_test(t, disabled_in_the_middle);
    return t;
}

Suite *suite_gc_concurrent(void)
{
    Suite *s = suite_create("gc_concurrent");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("markers", by_several));
    suite_add_tcase(s, tests("minor", mostly_minor));
    suite_add_tcase(s, tests("stops", in_short_stops));
    suite_add_tcase(s, tests("faults", by_faults));
    return s;
}

/* reclaim - tests of what a cycle knows of tables of objects (gc/refs/objtable.h): the last stop of
 * a mark beside the program passes by what is marked, and what has gone leaves the tables behind
 * it, while the program makes other objects in the same places. */
#include "gc/concurrent/concurrent.h"

#include "gc/host.h"
#include "gc/refs/link.h"
#include "gc/refs/objtable.h"
#include "runtime/dirty.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <oakum/gc.h>
#include <oakum/zone.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_reclaim(void);

enum { MANY = 20000 };

/* false: nothing tells of written pages here. */
static bool start(size_t minors)
{
    oak_config c = test_config_beside(test_tracking);
    c.generations = minors > 0;
    if (!test_heap_tracked(c, minors)) return false;
    oaki_debug_switches.beside = 1;
    return true;
}

/* ---- what is marked ---- */

static void *links[MANY];
TEST_LARGE(gc_reclaim, links)

static void ignore(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void ignore_all(void *ctx)
{
    (void)ctx;
}

static void weak(void *obj, void **place, size_t i)
{
    (void)i;
    *place = oak_weak_new(obj);
}

static void pair(void *obj, void **place, size_t i)
{
    (void)i;
    *place = oak_ephemeron_new(obj, oak_alloc(48));
}

static void ordered(void *obj, void **place, size_t i)
{
    (void)place;
    (void)i;
    ck_assert_int_eq(oak_finalizer_set(obj, ignore, oak_alloc(16)), 0);
}

static void unordered(void *obj, void **place, size_t i)
{
    (void)place;
    (void)i;
    ck_assert_int_eq(
        oak_finalizer_set_ex(obj, ignore, NULL, OAK_FINALIZER_NO_ORDER, NULL, NULL), 0);
}

static void cleanup(void *obj, void **place, size_t i)
{
    (void)place;
    (void)i;
    ck_assert_int_eq(oak_cleanup_add(obj, ignore_all, NULL), 0);
}

static void short_link(void *obj, void **place, size_t i)
{
    (void)place;
    links[i] = (void *)~(uintptr_t)obj;
    ck_assert_int_eq(oaki_link_add(&links[i], obj, false), 0);
}

/* It lies in another object. */
static void long_link(void *obj, void **place, size_t i)
{
    (void)i;
    *place = oak_alloc_noscan(16);
    ck_assert_int_eq(oaki_link_add(*place, obj, true), 0);
}

static void hold(void *obj, void **place, size_t i)
{
    (void)place;
    (void)i;
    ck_assert_int_eq(oaki_hold(obj), 0);
}

static void (*const kinds[])(void *obj, void **place, size_t i) = {
    weak, pair, ordered, unordered, cleanup, short_link, long_link, hold,
};

typedef struct making {
    void **all;
    int kind;
} making;

static void make(void *arg)
{
    const making *m = arg;
    for (size_t i = 0; i < MANY; i++) {
        m->all[2 * i] = oak_alloc(32);
        kinds[m->kind](m->all[2 * i], &m->all[2 * i + 1], i);
    }
}

START_TEST(the_last_stop_passes_by_what_is_marked)
{
    if (!start(0)) return;
    making m = { oak_alloc(2 * MANY * sizeof(void *)), _i };
    test_build(make, &m);
    for (int n = 0; n < 3;) {
        size_t before = oaki_objtable_visits();
        if (!test_cycle_beside()) continue;
        ck_assert_uint_le(oaki_objtable_visits() - before, MANY / 20);
        n++;
    }
    size_t before = oaki_objtable_visits();
    oak_collect(); /* in a stop nothing is known */
    ck_assert_uint_ge(oaki_objtable_visits() - before, MANY);
    OAKI_HOLD(m.all);
}
END_TEST

/* ---- values and contexts that are stored while a mark is under way ---- */

enum { PAIRS = 256 };

typedef struct numbered {
    size_t number, check;
} numbered;

static oak_ephemeron *pairs[PAIRS];
static void *pair_keys[PAIRS];
static AO_t quit;

static numbered *number_new(size_t n)
{
    numbered *x = oak_alloc(sizeof *x);
    *x = (numbered){ n, ~n };
    return x;
}

static bool is_whole(const numbered *x, size_t n)
{
    return x && x->number == n && x->check == ~n;
}

/* Only the pair refers to the new value. */
static OAKI_NOINLINE void store(size_t i, size_t n)
{
    oak_ephemeron_set(pairs[i], number_new(n));
}

static size_t last[PAIRS];

static void *stores(void *arg)
{
    (void)arg;
    for (size_t n = 1; !AO_load(&quit); n++) {
        size_t i = n % PAIRS;
        void *value;
        ck_assert_ptr_eq(oak_ephemeron_get(pairs[i], &value), pair_keys[i]);
        ck_assert(is_whole(value, last[i]));
        store(i, n);
        last[i] = n;
    }
    return NULL;
}

/* Only the record refers to the context. */
static OAKI_NOINLINE void *replace(size_t i, size_t n)
{
    void *old;
    ck_assert_int_eq(oak_finalizer_set_ex(pair_keys[i], ignore, number_new(n),
                                          OAK_FINALIZER_ORDERED, NULL, &old),
                     0);
    return old;
}

static void *replaces(void *arg)
{
    (void)arg;
    for (size_t n = 1; !AO_load(&quit); n++) {
        size_t i = n % PAIRS;
        ck_assert(is_whole(replace(i, n), last[i]));
        last[i] = n;
    }
    return NULL;
}

START_TEST(what_is_stored_meanwhile_is_marked)
{
    if (!start(_i % 2 ? 1000 : 0)) return;
    for (size_t i = 0; i < PAIRS; i++) {
        pair_keys[i] = oak_alloc(16);
        pairs[i] = oak_ephemeron_new(pair_keys[i], number_new(0));
        ck_assert_int_eq(oak_finalizer_set(pair_keys[i], ignore, number_new(0)), 0);
    }
    pthread_t t = test_start(_i < 2 ? stores : replaces, NULL);
    for (size_t n = test_scale(40); n > 0; n--) (void)test_cycle_beside();
    AO_store(&quit, 1);
    test_join(t);
    test_assert_sound();
}
END_TEST

/* ---- a mark that is dropped ---- */

/* The program wants none any more: what is under way is dropped. Was it? */
static bool drop_a_mark(void)
{
    uint32_t before = test_stats().num_gc;
    test_await_mark();
    oak_gc_disable();
    test_await_idle();
    return test_stats().num_gc == before;
}

START_TEST(what_a_dropped_mark_knew_is_forgotten)
{
    if (!start(0)) return;
    for (size_t i = 0; i < PAIRS; i++) {
        pair_keys[i] = oak_alloc(16);
        pairs[i] = oak_ephemeron_new(pair_keys[i], number_new(0));
    }
    for (size_t dropped = 0, n = 1; dropped < 5; n++) {
        if (test_skip(oaki_dirty_denies(), "pages are no longer tracked")) return;
        dropped += drop_a_mark();
        for (size_t i = 0; i < PAIRS; i++) store(i, n);
        oak_gc_enable();
        (void)test_cycle_beside();
        for (size_t i = 0; i < PAIRS; i++) {
            void *value;
            ck_assert_ptr_eq(oak_ephemeron_get(pairs[i], &value), pair_keys[i]);
            ck_assert(is_whole(value, n));
        }
    }
}
END_TEST

/* ---- what has gone, while others come ---- */

enum { THREADS = 2, SLOTS = 3000, MOST = 1 << 21 };

typedef struct slot {
    void *obj;
    numbered *note; /* not scanned, and as large as a handle, whose place it may get */
    oak_weak *weak;
    oak_ephemeron *pair;
    size_t number;
} slot;

static slot slots[THREADS][SLOTS];
TEST_LARGE(gc_reclaim, slots)
static unsigned char ran[MOST]; /* cleanups, by number */
TEST_LARGE(gc_reclaim, ran)
static AO_t numbers, freed, twice;

static void run_once(void *ctx)
{
    if (ran[(uintptr_t)ctx]++) (void)AO_fetch_and_add1(&twice);
}

/* Its cleanup's number isn't an address of the heap. */
static void fill(slot *s)
{
    s->number = AO_fetch_and_add1(&numbers);
    s->obj = oak_alloc(16);
    s->note = oak_alloc_noscan(sizeof *s->note);
    *s->note = (numbered){ s->number, ~s->number };
    s->weak = oak_weak_new(s->obj);
    s->pair = oak_ephemeron_new(s->obj, number_new(s->number));
    ck_assert_int_eq(oak_cleanup_add(s->obj, run_once, (void *)s->number), 0);
}

static void check(const slot *s)
{
    void *value = NULL;
    ck_assert_ptr_eq(oak_weak_get(s->weak), s->obj);
    ck_assert_ptr_eq(oak_weak_new(s->obj), s->weak);
    ck_assert_ptr_eq(oak_ephemeron_get(s->pair, &value), s->obj);
    ck_assert(is_whole(value, s->number) && is_whole(s->note, s->number));
}

/* By hand: then its cleanup doesn't run. */
static void let_go(slot *s)
{
    oak_free(s->obj);
    ck_assert_ptr_null(oak_weak_get(s->weak));
    ck_assert_ptr_null(oak_ephemeron_get(s->pair, NULL));
    (void)AO_fetch_and_add1(&freed);
}

static void *comes_and_goes(void *arg)
{
    slot *all = arg;
    uint64_t state = (uintptr_t)arg;
    while (!AO_load(&quit) && AO_load(&numbers) < MOST - 2 * SLOTS) {
        slot *s = &all[test_draw(&state) % SLOTS];
        if (s->obj) {
            check(s);
            if (test_draw(&state) % 8 == 0) let_go(s);
        }
        fill(s);
        if (test_draw(&state) % 64 == 0) (void)oak_finalizers_run();
    }
    return NULL;
}

START_TEST(what_has_gone_leaves_while_others_come)
{
    if (!start(_i ? 1000 : 0)) return;
    oaki_debug_switches.settle = 5000;
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++) t[i] = test_start(comes_and_goes, slots[i]);
    for (size_t n = test_scale(30); n > 0; n--) {
        (void)test_cycle_beside();
        oak_collect();
        (void)oak_finalizers_run();
    }
    AO_store(&quit, 1);
    for (size_t i = 0; i < THREADS; i++) test_join(t[i]);
    test_assert_sound();
    memset(slots, 0, sizeof slots);
    for (int n = 0; n < 3; n++) {
        oak_collect();
        (void)oak_finalizers_run();
    }
    size_t done = 0, gone = AO_load(&numbers) - AO_load(&freed);
    for (size_t i = 0; i < MOST; i++) done += ran[i];
    ck_assert_uint_eq(AO_load(&twice), 0);
    ck_assert_uint_le(done, gone);
    ck_assert_uint_ge(done, gone - 16); /* stray words keep some */
}
END_TEST

/* ---- an object in the place of one whose record waits, with its handle's in other hands ---- */

enum { DEAD = 500, NEW = 20 * DEAD };

static uintptr_t dead_objects[DEAD], dead_handles[DEAD]; /* inverted */
static void *new_objects[NEW], *new_notes[NEW];

static void make_weak(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < DEAD; i++) {
        void *p = oak_alloc(16);
        dead_objects[i] = ~(uintptr_t)p;
        dead_handles[i] = ~(uintptr_t)oak_weak_new(p);
    }
}

static void *collects(void *arg)
{
    oak_collect();
    return arg;
}

/* A collection whose stop is over, and that settles nothing for a while. */
static pthread_t collect_slowly(void)
{
    oaki_debug_switches.settle = 300000;
    size_t before = AO_load(&oaki_the_heap.cycle);
    pthread_t t = test_start(collects, NULL);
    while (AO_load(&oaki_the_heap.cycle) == before) oaki_os_yield();
    return t;
}

static void *at_place(void *const *all, uintptr_t inverted)
{
    for (size_t i = 0; i < NEW; i++)
        if ((uintptr_t)all[i] == ~inverted) return all[i];
    return NULL;
}

START_TEST(a_dead_handle_is_given_to_nobody)
{
    size_t both = 0;
    if (!start(0)) return;
    test_build(make_weak, NULL);
    pthread_t t = collect_slowly();
    for (size_t i = 0; i < NEW; i++) {
        new_objects[i] = oak_alloc(16);
        new_notes[i] = oak_alloc_noscan(16);
    }
    for (size_t i = 0; i < DEAD; i++) {
        void *obj = at_place(new_objects, dead_objects[i]);
        void **note = at_place(new_notes, dead_handles[i]);
        if (!obj || !note) continue;
        *note = obj;
        ck_assert_ptr_ne(oak_weak_new(obj), note);
        both++;
    }
    ck_assert_uint_gt(both, 0);
    test_join(t);
    test_assert_sound();
}
END_TEST

/* ---- handles that go with their zone, while their records wait ---- */

enum { HANDLES = 2000, NOTES = 50000 };

static oak_zone *zone;

/* Keys are in no zone, and die. */
static void make_handles(void *arg)
{
    (void)arg;
    void **keys = oak_alloc(HANDLES * sizeof *keys);
    for (size_t i = 0; i < HANDLES; i++) keys[i] = oak_alloc(16);
    ck_assert_int_eq(oak_zone_enter(zone), 0);
    void **handles = oak_alloc_pinned(HANDLES * sizeof *handles);
    for (size_t i = 0; i < HANDLES; i++)
        ck_assert_ptr_nonnull(handles[i] = oak_ephemeron_new(keys[i], NULL));
    oak_zone_leave(zone);
}

/* As the thread does that such a heap has; nobody collects here. */
static void take_apart(void)
{
    oaki_thread *t = oaki_enter();
    oaki_helper_begin();
    while (oaki_zones_reap(SIZE_MAX)) {}
    oaki_helper_end();
    oaki_leave(t);
}

static numbered *written[NOTES];
TEST_LARGE(gc_reclaim, written)

START_TEST(a_zone_goes_before_its_records)
{
    if (!start(0)) return;
    zone = oak_zone_new(NULL);
    ck_assert_ptr_nonnull(zone);
    test_build(make_handles, NULL);
    pthread_t t = collect_slowly();
    ck_assert_int_eq(oak_zone_discard(zone), 0);
    take_apart();
    for (size_t i = 0; i < NOTES; i++) {
        written[i] = oak_alloc_noscan(32);
        memset(written[i], 0x5a, 32);
    }
    test_join(t);
    for (size_t i = 0; i < NOTES; i++)
        for (size_t k = 0; k < 32; k++) ck_assert(((char *)written[i])[k] == 0x5a);
    test_assert_sound();
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_loop_test(c, the_last_stop_passes_by_what_is_marked, 0, (int)OAKI_COUNT(kinds));
    tcase_add_loop_test(c, what_is_stored_meanwhile_is_marked, 0, 4);
    tcase_add_loop_test(c, what_has_gone_leaves_while_others_come, 0, 2);
    tcase_add_test(c, what_a_dropped_mark_knew_is_forgotten);
    tcase_add_test(c, a_dead_handle_is_given_to_nobody);
    tcase_add_test(c, a_zone_goes_before_its_records);
    return c;
}

Suite *suite_gc_reclaim(void)
{
    Suite *s = suite_create("gc_reclaim");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}

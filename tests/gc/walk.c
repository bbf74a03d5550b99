/* walk.c - tests of the walk over the heap's objects, in a pause and in steps, and of what is known
 * of a single object. */
#include "gc/gc.h"
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <oakum/walk.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_walk(void);

#define N 4000

/* The objects that are looked for, in malloc's memory, which is no root; `holder` keeps them. */
typedef struct wanted {
    void *object;
    size_t size;
    oak_kind kind;
    unsigned seen;
} wanted;

static wanted *all;
static void **holder;
static oak_type *pair;
static oak_zone *zone;

static void set_up(void)
{
    static const uint64_t bits[] = { 3 };
    oak_config c = test_config();
    c.background_sweep = 0;
    test_heap_start(c);
    test_no_beside();
    test_seed("gc/walk");
    ck_assert_ptr_nonnull(pair = oak_type_bitmap("pair", 16, bits));
    ck_assert_ptr_nonnull(zone = oak_zone_new(NULL));
    ck_assert_ptr_nonnull(all = calloc(N, sizeof *all));
    ck_assert_ptr_nonnull(holder = oak_alloc_pinned(N * sizeof *holder));
}

static void *make(oak_kind kind, size_t n)
{
    switch (kind) {
    case OAK_KIND_NOSCAN:
        return oak_alloc_noscan(n);
    case OAK_KIND_TYPED:
        return oak_alloc_typed(pair, (n + 15) / 16);
    case OAK_KIND_PINNED:
        return oak_alloc_pinned(n);
    default:
        return oak_alloc(n);
    }
}

static void put(size_t i)
{
    oak_kind kind = (oak_kind)test_below(OAKI_KINDS);
    void *p = make(kind, test_size(test_below(50) ? 3000 : 200000));
    ck_assert_ptr_nonnull(p);
    all[i] = (wanted){ .object = p, .size = oak_usable_size(p), .kind = kind };
    holder[i] = p;
}

static int by_address(const void *a, const void *b)
{
    const wanted *x = a, *y = b;
    return x->object < y->object ? -1 : x->object > y->object;
}

static void put_all(void)
{
    for (size_t i = 0; i < N; i++) {
        if (i == N / 2) ck_assert_int_eq(oak_zone_enter(zone), 0);
        put(i);
    }
    oak_zone_leave(zone);
    qsort(all, N, sizeof *all, by_address);
}

/* Called with the world stopped: notes what is wrong, and asserts nothing. */
typedef struct seen {
    size_t n, bytes;
    uintptr_t last;
    int wrong;
} seen;

static void note(seen *s, const oak_object *o)
{
    wanted key = { .object = o->object };
    wanted *w = bsearch(&key, all, N, sizeof *all, by_address);
    s->n++;
    s->bytes += o->size;
    if ((uintptr_t)o->object <= s->last) s->wrong = __LINE__;
    s->last = (uintptr_t)o->object;
    if (!w) return;
    w->seen++;
    if (o->size != w->size) s->wrong = __LINE__;
    if (o->kind != w->kind) s->wrong = __LINE__;
    if (o->type != (w->kind == OAK_KIND_TYPED ? pair : NULL)) s->wrong = __LINE__;
    if (!o->marked && o->age == OAK_AGE_UNKNOWN) s->wrong = __LINE__;
}

static bool note_one(const oak_object *o, void *ctx)
{
    note(ctx, o);
    return true;
}

static void assert_seen_once(const seen *s)
{
    ck_assert_msg(s->wrong == 0, "line %d", s->wrong);
    for (size_t i = 0; i < N; i++) {
        ck_assert_uint_eq(all[i].seen, 1);
        all[i].seen = 0;
    }
}

START_TEST(each_object_comes_once_and_as_it_is)
{
    seen s = { 0 };
    put_all();
    ck_assert_int_eq(oak_heap_each(note_one, &s, 0), 0);
    assert_seen_once(&s);
    ck_assert_uint_eq(s.n, test_objects());
    ck_assert_uint_eq(s.bytes, test_stats().heap_alloc);
    test_assert_sound();
}
END_TEST

static bool count_zone(const oak_object *o, void *ctx)
{
    *(size_t *)ctx += o->zone == zone;
    return true;
}

START_TEST(a_discarded_zone_has_no_objects)
{
    size_t n = 0;
    put_all();
    oak_heap_each(count_zone, &n, 0);
    ck_assert_uint_eq(n, N / 2);
    ck_assert_int_eq(oak_zone_discard(zone), 0);
    n = 0;
    oak_heap_each(count_zone, &n, 0);
    ck_assert_uint_eq(n, 0);
}
END_TEST

static bool count_to_ten(const oak_object *o, void *ctx)
{
    (void)o;
    return ++*(size_t *)ctx < 10;
}

START_TEST(false_ends_the_walk)
{
    size_t n = 0;
    put_all();
    ck_assert_int_eq(oak_heap_each(count_to_ten, &n, 0), 0);
    ck_assert_uint_eq(n, 10);
}
END_TEST

/* ---- in steps ---- */

static seen walk_in_steps(size_t max, void (*between)(void))
{
    seen s = { 0 };
    oak_heap_cursor c = { 0 };
    oak_object *out = calloc(max, sizeof *out);
    size_t n;
    errno = 0;
    while ((n = oak_heap_step(&c, out, max)) > 0) {
        ck_assert_uint_le(n, max);
        for (size_t i = 0; i < n; i++) note(&s, &out[i]);
        if (between) between();
    }
    ck_assert_int_eq(errno, 0);
    ck_assert_uint_eq(oak_heap_step(&c, out, max), 0); /* the end stays the end */
    free(out);
    return s;
}

START_TEST(steps_of_any_length_find_the_same)
{
    const size_t steps[] = { 1, 7, 100, 100000 };
    put_all();
    for (size_t i = 0; i < OAKI_COUNT(steps); i++) {
        seen s = walk_in_steps(steps[i], NULL);
        assert_seen_once(&s);
        ck_assert_uint_eq(s.n, test_objects());
    }
}
END_TEST

static void change_much(void)
{
    static int calls;
    for (int i = 0; i < 20; i++) {
        void *p = oak_alloc(test_size(100000));
        if (test_below(2)) oak_free(p);
    }
    if (++calls % 16 == 0) oak_collect();
    if (calls % 64 == 0) oak_scavenge();
}

/* Also where a cursor lies in pages that were freed, or are another span's by now. */
START_TEST(a_program_that_goes_on_loses_and_doubles_nothing)
{
    put_all();
    for (int i = 0; i < 3; i++) {
        seen s = walk_in_steps(50, change_much);
        assert_seen_once(&s);
    }
    test_assert_sound();
}
END_TEST

START_TEST(a_walk_that_has_ended_does_not_go_on_when_the_heap_grows)
{
    oak_heap_cursor c = { 0 };
    oak_object out;
    put_all();
    while (oak_heap_step(&c, &out, 1) > 0) continue;
    for (int i = 0; i < 100; i++) {
        char *p = oak_alloc_pinned(100000);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq(oak_heap_step(&c, &out, 1), 0);
    }
}
END_TEST

START_TEST(threads_may_allocate_meanwhile)
{
    pthread_t id[3];
    put_all();
    oak_set_gc_percent(50);
    for (int i = 0; i < 3; i++) id[i] = test_start(test_allocate, NULL);
    test_wait(&test_moved, 1000);
    for (int i = 0; i < 3; i++) {
        seen s = { 0 };
        ck_assert_int_eq(oak_heap_each(note_one, &s, 0), 0);
        assert_seen_once(&s);
        s = walk_in_steps(5000, NULL);
        assert_seen_once(&s);
    }
    AO_store(&test_quit, 1);
    for (int i = 0; i < 3; i++) test_join(id[i]);
    test_assert_sound();
}
END_TEST

/* ---- dead, young, old ---- */

static void collect_without_sweep(void)
{
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
}

typedef struct states {
    size_t marked, unmarked, unknown, young, old;
} states;

static bool count_states(const oak_object *o, void *ctx)
{
    states *s = ctx;
    if (o->kind != OAK_KIND_NOSCAN || o->size != 1024) return true;
    s->marked += o->marked;
    s->unmarked += !o->marked;
    s->unknown += o->age == OAK_AGE_UNKNOWN;
    s->young += o->age == OAK_AGE_YOUNG;
    s->old += o->age == OAK_AGE_OLD;
    return true;
}

static states states_of(unsigned flags)
{
    states s = { 0 };
    ck_assert_int_eq(oak_heap_each(count_states, &s, flags), 0);
    return s;
}

static void make_kept(void *arg)
{
    size_t n = (size_t)(uintptr_t)arg;
    for (size_t i = 0; i < n; i++) holder[i] = oak_alloc_noscan(1024);
}

START_TEST(the_dead_come_only_where_asked_for)
{
    test_away(make_kept, (void *)200);
    memset(holder, 0, 100 * sizeof *holder);
    collect_without_sweep();
    states live = states_of(0), with = states_of(OAK_WALK_DEAD);
    ck_assert_uint_eq(live.marked, 100);
    ck_assert_uint_eq(live.unmarked, 0);
    ck_assert_uint_eq(live.old, 100); /* their spans aren't swept */
    ck_assert_uint_eq(with.marked, 100);
    ck_assert_uint_ge(with.unmarked, 90); /* a stack may keep some */
    ck_assert_uint_eq(with.unknown, with.unmarked);
    oak_collect();
    with = states_of(OAK_WALK_DEAD);
    ck_assert_uint_eq(with.unmarked, 0);
}
END_TEST

/* With minor collections to come, M tells those that a mark has reached from later ones. */
START_TEST(old_and_young_are_told_apart)
{
    oak_object o;
    oak_config c = test_config_beside(OAK_TRACKING_USERFAULTFD);
    if (!test_heap_tracked(c, 1000)) return;
    test_no_beside();
    holder = oak_alloc_pinned(N * sizeof *holder);
    test_away(make_kept, (void *)200);
    oak_collect();
    if (test_skip(AO_load(&oaki_the_heap.sticky) == 0, "this cycle's marks are not kept")) return;
    ck_assert_uint_eq(states_of(0).old, 200);
    for (size_t i = 100; i < 200; i++) holder[i] = NULL;
    for (size_t i = 200; i < 300; i++) holder[i] = oak_alloc_noscan(1024);
    states s = states_of(0);
    ck_assert_uint_eq(s.old, 200);
    ck_assert_uint_eq(s.young, 100);
    ck_assert_uint_eq(s.unmarked, 100);
    ck_assert(oak_object_read(holder[0], &o));
    ck_assert_int_eq(o.age, OAK_AGE_OLD);
    ck_assert(o.marked);
    ck_assert(oak_object_read((char *)holder[250] + 700, &o));
    ck_assert_ptr_eq(o.object, holder[250]);
    ck_assert_int_eq(o.age, OAK_AGE_YOUNG);
    ck_assert(!o.marked);
}
END_TEST

START_TEST(one_object_is_read_as_a_walk_reads_it)
{
    oak_object o;
    put_all();
    for (size_t i = 0; i < N; i++) {
        ck_assert(oak_object_read((char *)all[i].object + all[i].size / 2, &o));
        ck_assert_ptr_eq(o.object, all[i].object);
        ck_assert_uint_eq(o.size, all[i].size);
        ck_assert_int_eq(o.kind, all[i].kind);
        ck_assert_ptr_eq(o.type, oak_type_of(o.object));
        ck_assert_ptr_eq(o.zone, oak_zone_of(o.object));
    }
    ck_assert(oak_object_read(all[0].object, NULL));
    memset(&o, 1, sizeof o);
    ck_assert(!oak_object_read(&o, &o));
    ck_assert(!oak_object_read(NULL, &o));
    ck_assert_int_eq(*(char *)&o, 1);
}
END_TEST

/* ---- misuse ---- */

static void *given; /* an object */
static oak_map *map;

#define CALLS 12

static void *call(int which)
{
    switch (which) {
    case 0:
        return oak_alloc(32);
    case 1:
        return oak_alloc_noscan(32);
    case 2:
        return oak_alloc_typed(pair, 1);
    case 3:
        return oak_alloc_pinned(32);
    case 4:
        return oak_alloc(100000);
    case 5:
        return oak_zone_alloc(zone, 32);
    case 6:
        return oak_weak_new(given);
    case 7:
        return oak_map_put(map, &(uint64_t){ 1000 });
    case 8:
        return oak_realloc(given, 1000);
    case 9:
        return oak_free(given), given;
    case 10:
        return oak_collect(), given;
    default:
        return oak_collect_step(1000) ? given : NULL;
    }
}

static bool call_one(const oak_object *o, void *ctx)
{
    (void)o;
    given = call(*(int *)ctx);
    return true;
}

static void walk_and_call(void *arg)
{
    map = oak_map_new(&oak_map_u64_ptr, 0);
    for (uint64_t i = 0; i < 100; i++) { /* there is a run to take from */
        for (int k = 0; k < 4; k++) given = call(k);
        (void)oak_map_put(map, &i);
    }
    oak_heap_each(call_one, arg, 0);
}

START_TEST(a_walk_that_allocates_or_frees_is_one_fatal_line)
{
    test_dies(walk_and_call, &_i, "oakum: called ");
}
END_TEST

static bool walk_again(const oak_object *o, void *ctx)
{
    (void)o;
    return oak_heap_each(walk_again, ctx, 0) == 0;
}

static void walk_in_walk(void *arg)
{
    oak_heap_each(walk_again, arg, 0);
}

static jmp_buf outside;

static bool jump(const oak_object *o, void *ctx)
{
    (void)o, (void)ctx;
    longjmp(outside, 1);
}

static void walk_and_jump(void *arg)
{
    if (setjmp(outside) == 0) oak_heap_each(jump, arg, 0);
}

START_TEST(misuse_is_one_fatal_line)
{
    void *p = NULL;
    test_dies(walk_in_walk, &p, "oakum: called ");
    test_dies(walk_and_jump, &p, "oakum: a function that has to return");
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    oak_object o;
    oak_heap_cursor c = { 0 };
    errno = 0;
    ck_assert_int_eq(oak_heap_each(NULL, NULL, 0), -1);
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_int_eq(oak_heap_each(note_one, NULL, 2), -1);
    ck_assert_int_eq(errno, EINVAL);
    const struct {
        oak_heap_cursor *c;
        oak_object *out;
        size_t max;
    } bad[] = { { NULL, &o, 1 }, { &c, NULL, 1 }, { &c, &o, 0 } };
    for (size_t i = 0; i < OAKI_COUNT(bad); i++) {
        errno = 0;
        ck_assert_uint_eq(oak_heap_step(bad[i].c, bad[i].out, bad[i].max), 0);
        ck_assert_int_eq(errno, EINVAL);
    }
}
END_TEST

Suite *suite_gc_walk(void)
{
    Suite *s = suite_create("gc/walk");
    TCase *c = tcase_create("walk");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, set_up, NULL);
    tcase_add_test(c, each_object_comes_once_and_as_it_is);
    tcase_add_test(c, a_discarded_zone_has_no_objects);
    tcase_add_test(c, false_ends_the_walk);
    tcase_add_test(c, steps_of_any_length_find_the_same);
    tcase_add_test(c, a_program_that_goes_on_loses_and_doubles_nothing);
    tcase_add_test(c, a_walk_that_has_ended_does_not_go_on_when_the_heap_grows);
    tcase_add_test(c, threads_may_allocate_meanwhile);
    tcase_add_test(c, the_dead_come_only_where_asked_for);
    tcase_add_test(c, one_object_is_read_as_a_walk_reads_it);
    tcase_add_loop_test(c, a_walk_that_allocates_or_frees_is_one_fatal_line, 0, CALLS);
    tcase_add_test(c, misuse_is_one_fatal_line);
    tcase_add_test(c, bad_arguments_are_refused);
    suite_add_tcase(s, c);
    c = tcase_create("ages"); /* starts its own heap */
    tcase_set_timeout(c, 120);
    tcase_add_test(c, old_and_young_are_told_apart);
    suite_add_tcase(s, c);
    return s;
}

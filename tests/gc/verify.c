/* verify.c - tests of gc/verify.c: it is silent about a sound mark and tells of a planted error. */
#include "gc/verify.h"

#include "gc/gc.h"
#include "runtime/collector.h"
#include "tests/heap.h"

#include <check.h>
#include <string.h>

Suite *suite_gc_verify(void);

static void **root, **victim, **array;
static oak_type *pair, *called;
static oak_ephemeron *ephemeron;
static uintptr_t hidden_value, hidden_ctx, hidden_ready; /* complements */

/* Marks what its second word hides. */
static void mark_hidden(oak_marker *m, void *object, size_t size)
{
    (void)size;
    oak_mark_ptr(m, (void *)~((uintptr_t *)object)[1]);
}

static void never(void *object, void *ctx)
{
    (void)object;
    (void)ctx;
}

/* What only a pair and finalizers keep: a value, a ctx, and an object whose finalizer can run. */
static void build_kept(void)
{
    void *value = oak_alloc(200), *ctx = oak_alloc(400), *ready = oak_alloc(300);
    root[5] = oak_alloc(100);
    ephemeron = oak_ephemeron_new(root[5], value);
    ck_assert_int_eq(oak_finalizer_set(root[5], never, ctx), 0);
    ck_assert_int_eq(oak_finalizer_set(ready, never, NULL), 0);
    hidden_value = ~(uintptr_t)value;
    hidden_ctx = ~(uintptr_t)ctx;
    hidden_ready = ~(uintptr_t)ready;
}

static void build(void *arg)
{
    (void)arg;
    root = oak_alloc(64);
    build_kept();
    root[3] = oak_alloc_typed(pair, 1000);
    ((void **)root[3])[2 * 500] = oak_alloc(200);
    uintptr_t *hides = root[4] = oak_alloc_typed(called, 1);
    hides[1] = ~(uintptr_t)oak_alloc(300);
    victim = oak_alloc(48);
    array = oak_alloc(500000);
    array[50000] = victim;
}

static void start(void)
{
    static const uint64_t bits[] = { 1 };
    test_heap_start(test_config());
    pair = oak_type_bitmap("pair", 16, bits);
    called = oak_type_function("called", 16, mark_hidden);
    test_away(build, NULL);
}

/* M is still that of the last mark when the world stops again before anything is allocated: then
 * every bit that it sets is allocated. The planted error is a bit that is cleared. */
static void verify_without(void *arg)
{
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    t = oaki_gc_stop_begin();
    if (arg) {
        void *p = *(void **)arg;
        ck_assert(oaki_is_marked(p));
        oaki_mark_clear(oaki_heap_offset(p));
    }
    oaki_verify();
    oaki_gc_stop_end(t);
}

START_TEST(a_sound_mark_is_sound)
{
    test_child(verify_without, NULL);
}
END_TEST

START_TEST(a_root_without_its_object_is_told)
{
    test_dies(verify_without, &root, "oakum: verify: a root at ");
    test_dies(verify_without, &array, "refers to an object that is not marked");
}
END_TEST

static void *from_object, *from_typed, *from_called;

static void verify_hidden(void *arg)
{
    void *p = *(void **)arg;
    from_object = from_typed = from_called = NULL;
    victim = NULL; /* the array alone refers to it */
    uintptr_t off = oaki_heap_offset(p);
    *(void **)arg = NULL;
    p = NULL;
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    t = oaki_gc_stop_begin();
    oaki_mark_clear(off);
    oaki_verify();
    oaki_gc_stop_end(t);
}

START_TEST(an_object_without_what_it_refers_to_is_told)
{
    from_object = victim;
    from_typed = ((void **)root[3])[2 * 500];
    test_dies(verify_hidden, &from_object, "refers to an object that is not marked");
    test_dies(verify_hidden, &from_typed, "refers to an object that is not marked");
    from_called = (void *)~((uintptr_t *)root[4])[1];
    test_dies(verify_hidden, &from_called, "a mark function's object");
}
END_TEST

/* arg: of the complement of its address. */
static void verify_kept(void *arg)
{
    uintptr_t off = ~*(uintptr_t *)arg - oaki_the_heap.base;
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    t = oaki_gc_stop_begin();
    ck_assert(oaki_mark_get(off));
    oaki_verify();
    oaki_mark_clear(off);
    oaki_verify();
    oaki_gc_stop_end(t);
}

START_TEST(what_pairs_and_finalizers_keep_is_told)
{
    ck_assert_ptr_eq(oak_ephemeron_get(ephemeron, NULL), root[5]);
    test_dies(verify_kept, &hidden_value, "oakum: verify: an ephemeron at ");
    test_dies(verify_kept, &hidden_ctx, "oakum: verify: the ctx of a finalizer at ");
    test_dies(verify_kept, &hidden_ready, "oakum: verify: a finalizer at ");
}
END_TEST

static void break_accounts(void *arg)
{
    (void)arg;
    oaki_debug_switches.verify = 1;
    AO_fetch_and_add(&oaki_the_heap.pages_free, 1);
    oak_collect();
}

static void break_run(void *arg)
{
    (void)arg;
    oaki_debug_switches.verify = 1;
    char *p = oak_alloc_noscan(1000000), *wall = oak_alloc_noscan(100000);
    size_t page = oaki_heap_offset(p) >> OAKI_PAGE_SHIFT;
    oak_free(p);
    oaki_the_heap.pte[page + 5] |= OAKI_PTE_RELEASED;
    oak_collect();
    oak_free(wall);
}

START_TEST(broken_structures_are_told_by_their_rule)
{
    test_dies(break_accounts, NULL, "oakum: verify: pages: pages_free counts the free runs");
    test_dies(break_run, NULL, "oakum: verify: pages: nreleased counts the released entries");
}
END_TEST

/* ---- every collection of a busy program ---- */

static void *held[500];

static void mutate(void *arg)
{
    for (size_t i = 0, n = *(size_t *)arg; i < n; i++) {
        size_t k = test_below(500), to = test_below(500), size = test_size(3000) | 32;
        void **p = test_below(3) ? oak_alloc(size) : oak_alloc_typed(pair, size / 16);
        p[0] = held[to];
        if (held[k] && !oak_type_of(held[k])) ((void **)held[k])[1] = p;
        held[to] = p;
        if (test_below(100) == 0) held[k] = oak_alloc(100000);
        if (test_below(50) == 0) oak_collect();
    }
}

START_TEST(a_busy_program_verifies)
{
    test_seed("gc/verify");
    oaki_debug_switches.verify = 1;
    size_t n = test_scale(8000);
    test_away(mutate, &n);
    oaki_debug_switches.markstack = 1;
    test_away(mutate, &n);
}
END_TEST

Suite *suite_gc_verify(void)
{
    Suite *s = suite_create("gc/verify");
    TCase *c = tcase_create("verify");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_sound_mark_is_sound);
    tcase_add_test(c, a_root_without_its_object_is_told);
    tcase_add_test(c, an_object_without_what_it_refers_to_is_told);
    tcase_add_test(c, what_pairs_and_finalizers_keep_is_told);
    tcase_add_test(c, broken_structures_are_told_by_their_rule);
    tcase_add_test(c, a_busy_program_verifies);
    suite_add_tcase(s, c);
    return s;
}

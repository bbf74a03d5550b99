/* verify.c - tests of gc/debug/verify.c: it is silent about a sound mark and tells of a planted
 * error. */
#include "gc/debug/verify.h"

#include "gc/collector.h"
#include "gc/gc.h"
#include "gc/host.h"
#include "gc/refs/link.h"
#include "gc/settings.h"
#include "runtime/collector.h"
#include "tests/heap.h"

#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define SHORT 112 /* fills its slot */

Suite *suite_gc_verify(void);

static void **root, **victim, **array;
static oak_type *pair, *called;
static oak_ephemeron *ephemeron;
static oak_weak *weak;
static void *short_link, *long_link;
static uintptr_t hidden_value, hidden_ctx, hidden_ready; /* complements */
static uintptr_t hidden_pinned, hidden_held, hidden_end;
/* of a weak handle, a short link, a long one, a cleanup; and what a link lies in */
static void **target, **of_short, **of_long, **of_cleanup, **holder;

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

/* Roots that no word is; and an object whose end alone is known. */
static void build_roots(void)
{
    void *pinned = oak_alloc_pinned(100), *held = oak_alloc_noscan(100);
    ck_assert_int_eq(oaki_hold(held), 0);
    hidden_pinned = ~(uintptr_t)pinned;
    hidden_held = ~(uintptr_t)held;
    hidden_end = ~((uintptr_t)oak_alloc_noscan(SHORT) + SHORT);
}

static void tidy(void *ctx)
{
    (void)ctx;
}

/* What is cleared, or tidied up, when its object goes. */
static void build_cleared(void)
{
    target = oak_alloc(80);
    of_short = oak_alloc(80);
    of_long = oak_alloc(80);
    of_cleanup = oak_alloc(80);
    holder = oak_alloc_noscan(80);
    weak = oak_weak_new(target);
    ck_assert_int_eq(oaki_link_add(&short_link, of_short, false), 0);
    ck_assert_int_eq(oaki_link_add(&long_link, of_long, true), 0);
    ck_assert_int_eq(oaki_link_add(holder, of_short, true), 0);
    ck_assert_int_eq(oak_cleanup_add(of_cleanup, tidy, NULL), 0);
}

static void build(void *arg)
{
    (void)arg;
    root = oak_alloc(64);
    build_kept();
    build_roots();
    build_cleared();
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
    oaki_verify(false);
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
    oaki_verify(false);
    oaki_gc_stop_end(t);
}

/* A loop over an object may have its end alone on the stack. */
static void verify_end(void *arg)
{
    (void)arg;
    uintptr_t end[] = { ~hidden_end };
    __asm__ __volatile__("" : : "r"(end) : "memory");
    uintptr_t off = ~hidden_end - oaki_the_heap.base - SHORT;
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    t = oaki_gc_stop_begin();
    ck_assert(oaki_bit_get(oaki_the_heap.alloc, off) && oaki_mark_get(off));
    ck_assert_uint_eq(oaki_object_size(off), SHORT);
    oaki_verify(false);
    oaki_mark_clear(off);
    oaki_verify(false);
    oaki_gc_stop_end(t);
    __asm__ __volatile__("" : : "r"(end) : "memory");
}

/* In other marks than a full one in one pause, a word to memory freed by hand may be stale. */
static void verify_other(void *arg)
{
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    t = oaki_gc_stop_begin();
    oaki_gc.mode = OAKI_CONCURRENT;
    oaki_mark_clear(oaki_heap_offset(*(void **)arg));
    oaki_verify(false);
    oaki_gc_stop_end(t);
}

START_TEST(what_was_freed_by_hand_excuses_no_other_word)
{
    oaki_debug_switches.verify = 1;
    size_t excused = 0, freed = oaki_heap_offset(victim);
    array[50000] = NULL;
    oak_free(victim);
    ck_assert(oaki_freed_has(freed));
    for (size_t i = 1; i <= 1000; i++) excused += oaki_freed_has(freed + i * 10 * OAKI_PAGE);
    ck_assert_uint_le(excused, 5);
    test_dies(verify_other, &root, "refers to an object that is not marked");
    test_dies(verify_other, &array, "refers to an object that is not marked");
}
END_TEST

START_TEST(an_object_whose_end_is_on_a_stack_is_told)
{
    test_dies(verify_end, NULL, "oakum: verify: a root at ");
}
END_TEST

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
    oaki_verify(false);
    oaki_mark_clear(off);
    oaki_verify(false);
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

START_TEST(roots_that_no_word_is_are_told)
{
    test_dies(verify_kept, &hidden_pinned, "oakum: verify: a pinned object at ");
    test_dies(verify_kept, &hidden_held, "oakum: verify: a held object at ");
    test_dies(verify_kept, &hidden_held, " is not alive");
}
END_TEST

/* The collector's records are looked at before the words of the program. */
START_TEST(what_is_named_and_not_cleared_is_told)
{
    test_dies(verify_without, &root[5], "oakum: verify: the key of an ephemeron at ");
    test_dies(verify_without, &ephemeron, "oakum: verify: the handle of an ephemeron at ");
    test_dies(verify_without, &target, "oakum: verify: a weak handle at ");
    test_dies(verify_without, &target, " refers to an object that is not alive");
    test_dies(verify_without, &weak, "oakum: verify: a weak handle at ");
    test_dies(verify_without, &weak, " is not alive");
    test_dies(verify_without, &of_short, "oakum: verify: a short link at ");
    test_dies(verify_without, &of_long, "oakum: verify: a long link at ");
    test_dies(verify_without, &holder, "oakum: verify: the record of a link at ");
    test_dies(verify_without, &of_cleanup, "oakum: verify: a cleanup at ");
}
END_TEST

/* Its mark may be set, as of all that is not allocated. */
static void verify_freed(void *arg)
{
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    t = oaki_gc_stop_begin();
    size_t off = oaki_heap_offset(*(void **)arg);
    ck_assert(oaki_mark_get(off));
    oaki_bits_clear(oaki_the_heap.alloc, off, oaki_object_size(off));
    oaki_span *s = oaki_span_of_offset(off);
    AO_int_store(&s->nalloc, AO_int_load(&s->nalloc) - 1); /* accounts stay right */
    oaki_count_add(&oaki_the_heap.frees[s->cls], 1);
    oaki_zone_count_frees(s->zone, 1, s->size);
    oaki_verify(false);
    oaki_gc_stop_end(t);
}

START_TEST(what_is_named_and_not_allocated_is_told)
{
    test_dies(verify_freed, &target, "oakum: verify: a weak handle at ");
    test_dies(verify_freed, &of_short, "oakum: verify: a short link at ");
}
END_TEST

/* M is as it was when a root has gone: what that led to is too much. */
static void count_unreached(void *arg)
{
    (void)arg;
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    t = oaki_gc_stop_begin();
    oaki_verify(true);
    size_t before = oaki_verify_unreached();
    root[4] = NULL; /* and what it hides: two objects */
    oaki_verify(true);
    size_t after = oaki_verify_unreached();
    oaki_gc_stop_end(t);
    ck_assert_uint_eq(after, before + 2);
}

START_TEST(what_is_marked_and_not_reached_is_counted)
{
    test_child(count_unreached, NULL);
}
END_TEST

/* ---- the stack of the thread that collects, as the program's memory ---- */

#define STACK ((size_t)32768)

static char in_data[STACK] __attribute__((aligned(16)));
static ucontext_t home, there;
static uintptr_t hidden; /* the complement of an object that is not marked */
static bool above;       /* it is held by the program, too */

static OAKI_NOINLINE void leave_below(void)
{
    uintptr_t words[400];
    for (size_t i = 0; i < OAKI_COUNT(words); i++) words[i] = ~hidden;
    __asm__ __volatile__("" : : "r"(words) : "memory");
}

/* In a frame of its own, below which the context is saved. */
static OAKI_NOINLINE void verify_there(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_thread_save_context(t);
    oaki_mark_clear(~hidden - oaki_the_heap.base);
    leave_below();
    oaki_verify(false);
    oaki_gc_stop_end(t);
}

static void collect_there(void)
{
    uintptr_t word[4] = { 0 };
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_gc_collect(t, OAKI_GC_NEEDED));
    oaki_leave(t);
    if (above) word[1] = ~hidden;
    __asm__ __volatile__("" : : "r"(word) : "memory");
    verify_there();
    __asm__ __volatile__("" : : "r"(word) : "memory");
}

static void hide(void *arg)
{
    (void)arg;
    hidden = ~(uintptr_t)oak_alloc_noscan(100);
}

/* arg: the stack. */
static void collect_on(void *arg)
{
    test_away(hide, NULL);
    getcontext(&there);
    there.uc_stack = (stack_t){ .ss_sp = arg, .ss_size = STACK };
    there.uc_link = &home;
    makecontext(&there, collect_there, 0);
    swapcontext(&home, &there);
}

/* A page that can't be read ends it: nobody has told where this stack ends. */
static void on_range(void *arg)
{
    (void)arg;
    char *stack = mmap(NULL, STACK * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_int_eq(mprotect(stack, STACK, PROT_READ | PROT_WRITE), 0);
    ck_assert_int_eq(oak_root_add(stack, STACK), 0);
    collect_on(stack);
}

static void on_data(void *arg)
{
    (void)arg;
    collect_on(in_data);
}

static void on_object(void *arg)
{
    (void)arg;
    root[6] = oak_alloc(STACK);
    collect_on(root[6]);
}

START_TEST(what_the_collector_leaves_on_a_stack_is_nobodys)
{
    static void (*const where[])(void *) = { on_range, on_data, on_object };
    above = false;
    test_child(where[_i], NULL);
    above = true;
    test_dies(where[_i], NULL, "refers to an object that is not marked");
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

typedef struct flaw {
    size_t size, object, granule; /* of the object; the span begins with object 0 */
} flaw;

/* An object lacks a granule. */
static void break_slot(void *arg)
{
    const flaw *f = arg;
    char *p = NULL;
    while (!p || oaki_heap_offset(p) % OAKI_PAGE != 0) p = oak_alloc_noscan(f->size);
    for (size_t i = 0; i < f->object; i++) p = oak_alloc_noscan(f->size);
    size_t g = (oaki_heap_offset(p) >> OAKI_GRANULE_SHIFT) + f->granule;
    oaki_the_heap.alloc[g / 64] ^= (uint64_t)1 << g % 64;
    oaki_debug_switches.verify = 1;
    oak_collect();
}

START_TEST(broken_structures_are_told_by_their_rule)
{
    /* in one word of bits, in two of them, with one whole word */
    static flaw flaws[] = { { 48, 0, 1 }, { 48, 5, 2 }, { 48, 21, 0 }, { 48, 21, 1 },
                            { 48, 21, 2 }, { 32, 31, 1 }, { 2048, 1, 0 }, { 2048, 1, 127 } };
    for (size_t i = 0; i < OAKI_COUNT(flaws); i++)
        test_dies(break_slot, &flaws[i], "oakum: verify: span: a slot is allocated as a whole");
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
        if (test_below(50) != 0) continue;
        oak_collect();
        ck_assert_uint_eq(oaki_verify_unreached(), 0);
    }
}

/* Of the data nothing else is a root: the collector's own changes while it marks. */
START_TEST(a_busy_program_verifies)
{
    test_only_root(held, sizeof held);
    test_seed("gc/verify");
    oaki_debug_switches.verify = 1;
    size_t n = test_scale(8000);
    test_away(mutate, &n);
    oaki_debug_switches.markstack = 1;
    test_away(mutate, &n);
}
END_TEST

/* A live table has the address of each object that was freed, for ever. Objects come and go there
 * while marks run, and are garbage that these don't see. */
START_TEST(a_stale_word_is_no_missed_reference)
{
    static const size_t sizes[] = { 48, 3000, 40000 };
    enum { OBJECTS = 20000, ALLOCATED = 8 };
    size_t objects = OBJECTS * sizes[0] / sizes[_i];
    oaki_debug_switches.verify = oaki_debug_switches.beside = 1;
    oaki_gc_set_concurrent(true);
    if (test_skip_untracked()) return;
    test_only_root(&array, sizeof array);
    array = oak_alloc(objects * sizeof *array);
    for (size_t i = 0; i < objects; i++) array[i] = oak_alloc(sizes[_i]);
    uint32_t before = test_stats().num_concurrent_gc;
    for (size_t i = 0; i < objects; i++) {
        if (i % (objects / 20) == 0) (void)test_ask_beside();
        oak_free(array[i]);
        for (size_t k = 0; k < ALLOCATED * sizes[_i] / sizes[0]; k++)
            (void)!oak_alloc(sizes[k % OAKI_COUNT(sizes)] / 2);
    }
    oak_collect();
    ck_assert_uint_gt(test_stats().num_concurrent_gc, before);
}
END_TEST

Suite *suite_gc_verify(void)
{
    Suite *s = suite_create("gc/verify");
    TCase *c = tcase_create("verify");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_sound_mark_is_sound);
    tcase_add_test(c, a_root_without_its_object_is_told);
    tcase_add_test(c, what_was_freed_by_hand_excuses_no_other_word);
    tcase_add_test(c, an_object_whose_end_is_on_a_stack_is_told);
    tcase_add_test(c, an_object_without_what_it_refers_to_is_told);
    tcase_add_test(c, what_pairs_and_finalizers_keep_is_told);
    tcase_add_test(c, roots_that_no_word_is_are_told);
    tcase_add_test(c, what_is_named_and_not_cleared_is_told);
    tcase_add_test(c, what_is_named_and_not_allocated_is_told);
    tcase_add_test(c, what_is_marked_and_not_reached_is_counted);
    tcase_add_loop_test(c, what_the_collector_leaves_on_a_stack_is_nobodys, 0, 3);
    tcase_add_test(c, broken_structures_are_told_by_their_rule);
    tcase_add_test(c, a_busy_program_verifies);
    tcase_add_loop_test(c, a_stale_word_is_no_missed_reference, 0, 3);
    suite_add_tcase(s, c);
    return s;
}

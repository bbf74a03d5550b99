/* sticky - minor collections: what they find, what they leave, and when they are tried. That
 * nothing alive is lost is gc/concurrent's, which runs with them too. */
#include "gc/concurrent/sticky.h"

#include "gc/concurrent/concurrent.h"
#include "gc/event.h"
#include "gc/gc.h"
#include "gc/host.h"
#include "gc/pace.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/descriptors.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>

Suite *suite_gc_sticky(void);

typedef struct node {
    struct node *next;
    uint64_t id;
    char more[48];
} node;

static struct {
    AO_t full, minor;     /* cycles beside the program */
    AO_t last_was_minor;
    AO_t most_goal;
} seen;

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    test_host_is_kind();
    if (!c->first_begin) return;
    AO_store(&seen.last_was_minor, c->minor);
    AO_fetch_and_add1_full(c->minor ? &seen.minor : &seen.full);
    if (c->line.goal > AO_load(&seen.most_goal)) AO_store(&seen.most_goal, c->line.goal);
}

static bool start_with(oak_config c, size_t minors)
{
    c.concurrent = c.background_sweep = c.generations = 1;
    c.tracking = OAK_TRACKING_USERFAULTFD; /* by faults none is minor */
    bool can = test_heap_tracked(c, minors);
    test_host_is_kind();
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    return can;
}

static bool start(size_t minors)
{
    oaki_debug_switches.beside = 1;
    bool can = start_with(test_config(), minors);
    oaki_debug_switches.beside = 1;
    return can;
}

static void ask(void)
{
    ck_assert(test_ask_beside());
}

/* One that began after this was called, and no other: it would find nothing to free, and count as
 * one that doesn't pay. It is told of before another may be asked for. */
static void next(void)
{
    test_await_idle();
    AO_t before = AO_load(&seen.full) + AO_load(&seen.minor);
    for (;;) {
        bool asked = oaki_concurrent_requested();
        if (AO_load(&seen.full) + AO_load(&seen.minor) != before) break;
        if (!asked) ask();
        oaki_os_yield();
    }
}

/* The same, of the kind. */
static void cycle(bool minor)
{
    for (bool done = false; !done;) {
        next();
        done = AO_load(&seen.last_was_minor) == minor;
    }
}

static void wait_for_minor_mark(void)
{
    while (!oaki_cycle_is_minor()) ask();
}

static size_t objects(void)
{
    oaki_thread *t = oaki_enter();
    test_sweep_all();
    oaki_leave(t);
    return test_stats().heap_objects;
}

static node *chain(size_t n)
{
    node *first = NULL;
    for (size_t i = 0; i < n; i++) {
        node *x = oak_alloc(sizeof *x);
        x->next = first;
        x->id = i;
        first = x;
    }
    return first;
}

static size_t length(const node *x)
{
    size_t n = 0;
    for (; x; x = x->next) n++;
    return n;
}

static void make_garbage(void *arg)
{
    (void)chain(*(size_t *)arg);
}

#define OLD 30000
#define FEW 300 /* what registers, stacks and spans that are being allocated from may keep */

START_TEST(what_dies_young_goes_in_a_minor_cycle)
{
    size_t n = 100000;
    if (!start(1000)) return;
    node *old = chain(OLD);
    cycle(true);
    for (int round = 0; round < 5; round++) {
        test_away(make_garbage, &n);
        cycle(true);
        ck_assert_uint_le(objects(), OLD + FEW);
        ck_assert_uint_eq(length(old), OLD);
    }
}
END_TEST

typedef struct holder {
    node *chain;
} holder;

static void make_chain(void *arg)
{
    ((holder *)arg)->chain = chain(OLD);
}

START_TEST(what_dies_old_waits_for_a_full_one)
{
    if (!start(1000)) return;
    holder *h = oak_alloc(sizeof *h);
    test_away(make_chain, h);
    cycle(true);
    cycle(true);
    h->chain = NULL;
    cycle(true);
    ck_assert_uint_ge(objects(), OLD);
    oak_collect();
    ck_assert_uint_le(objects(), FEW);
}
END_TEST

START_TEST(a_full_one_comes_after_so_many)
{
    if (!start(3)) return;
    node *old = chain(OLD);
    cycle(false);
    AO_t full = AO_load(&seen.full), minor = AO_load(&seen.minor);
    for (int i = 0; i < 8; i++) next();
    ck_assert_uint_ge(AO_load(&seen.minor) - minor, 6);
    ck_assert_uint_ge(AO_load(&seen.full) - full, 2);
    ck_assert_uint_eq(length(old), OLD);
}
END_TEST

START_TEST(none_when_they_are_off)
{
    if (!start(0)) return;
    oaki_the_heap.config.generations = 0;
    node *old = chain(OLD);
    for (int i = 0; i < 5; i++) cycle(false);
    ck_assert_uint_eq(AO_load(&seen.minor), 0);
    ck_assert_uint_eq(length(old), OLD);
}
END_TEST

/* Slots and pages that go round between two cycles: freed by hand when old, and taken again.
 * Nothing refers any more to what is freed: such a word would be a reference to what comes there
 * next, and a minor cycle does not see it. */
START_TEST(memory_that_is_freed_by_hand_and_used_again)
{
    enum { SLOTS = 2000 };
    uint64_t draw = 7;
    if (!start(4)) return;
    node **table = oak_alloc(SLOTS * sizeof *table), **large = oak_alloc(20 * sizeof *large);
    for (size_t k = 0; k < test_scale(200000); k++) {
        node **slot = &table[test_draw(&draw) % SLOTS];
        if (*slot) oak_free(*slot);
        *slot = oak_alloc(sizeof **slot);
        (*slot)->id = k;
        if (k % 3 == 0) (*slot)->next = oak_alloc(16 + test_draw(&draw) % 500);
        if (k % 50 == 0) { /* held by a pointer into its last page only */
            node **l = &large[test_draw(&draw) % 20];
            char *p = oak_alloc(40000);
            ((node **)p)[0] = chain(3);
            *l = (node *)(p + 36000);
        }
        if (k % 1000 == 0) ask();
    }
    for (size_t i = 0; i < 20; i++)
        if (large[i]) ck_assert_uint_eq(length(((node **)((char *)large[i] - 36000))[0]), 3);
    test_assert_sound();
}
END_TEST

/* ---- freed by hand during a minor mark ---- */

typedef struct big {
    node *chain;
    char more[88];
} big;

static void mark_big(oak_marker *m, void *obj, size_t size)
{
    (void)size;
    oak_mark_ptr(m, ((big *)obj)->chain);
}

static big *make_big(const oak_type *t)
{
    big *b = oak_alloc_typed(t, 1);
    b->chain = chain(1);
    return b;
}

/* Freed while a minor mark goes on, when its span has no free slot: the slot's next object is found
 * by a pointer into it, as any other. */
START_TEST(an_old_object_that_is_freed_during_a_mark)
{
    enum { BIGS = 500 };
    if (!start(1000)) return;
    const oak_type *t = oak_type_function("big", sizeof(big), mark_big);
    big **of = oak_alloc(BIGS * sizeof *of);
    char **into = oak_alloc(BIGS * sizeof *into);
    node *old = chain(OLD);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < BIGS; i++) of[i] = i % 2 ? NULL : make_big(t);
        for (int i = 0; i < 2; i++) cycle(true);
        (void)objects();
        for (size_t i = 1; i < BIGS; i += 2) of[i] = make_big(t);
        cycle(true);
        (void)objects();
        wait_for_minor_mark();
        for (size_t i = 0; i < BIGS; i += 2) {
            oak_free(of[i]);
            of[i] = NULL;
        }
        next();
        (void)objects();
        for (size_t i = 0; i < BIGS; i += 2) into[i] = (char *)make_big(t) + 64;
        cycle(true);
        (void)objects();
        for (size_t i = 0; i < BIGS; i += 2) {
            const big *b = (const big *)(const void *)(into[i] - 64);
            ck_assert_ptr_eq(oak_base(into[i]), b);
            ck_assert_uint_eq(length(b->chain), 1);
            into[i] = NULL;
        }
    }
    ck_assert_uint_eq(length(old), OLD);
}
END_TEST

/* ---- what makes the next one a full one, or leaves it to look at everything ---- */

static uintptr_t unscanned; /* inverted; 0: none */

static void mark_it_alone(void *ctx, oak_marker *m)
{
    (void)ctx;
    if (unscanned) oaki_mark_unscanned(m, (void *)~unscanned);
}

typedef struct two {
    node *keeps; /* until the other one does */
    node *outer;
} two;

static void make_unscanned(void *arg)
{
    two *t = arg;
    node *x = oak_alloc(sizeof *x);
    t->keeps = x->next = chain(10);
    unscanned = ~(uintptr_t)x;
}

static void hand_over(void *arg)
{
    two *t = arg;
    t->outer = (node *)~unscanned;
    t->keeps = NULL;
    unscanned = 0;
}

/* What was marked and not scanned has words that nobody has looked at: it is not old. */
START_TEST(a_full_one_comes_after_what_was_not_scanned)
{
    if (!start(1000)) return;
    two *t = oak_alloc(sizeof *t);
    ck_assert_int_eq(oaki_gc_at_roots(mark_it_alone, NULL), 0);
    for (int round = 0; round < 10; round++) {
        cycle(true);
        AO_t full = AO_load(&seen.full);
        test_away(make_unscanned, t);
        next();
        test_away(hand_over, t);
        next();
        ck_assert_uint_gt(AO_load(&seen.full), full);
        ck_assert_uint_eq(length(t->outer->next), 10);
    }
}
END_TEST

START_TEST(a_descriptor_that_is_closed_between_two)
{
    if (!start(1000)) return;
    holder **table = oak_alloc(50 * sizeof *table);
    for (size_t i = 0; i < 50; i++) table[i] = oak_alloc(sizeof **table);
    cycle(true);
    cycle(true);
    for (size_t i = 0; i < 50; i += 2) table[i]->chain = chain(100);
    AO_t before = AO_load(&seen.minor);
    ck_assert(test_close(TEST_UFFD));
    for (size_t i = 1; i < 50; i += 2) table[i]->chain = chain(100);
    (void)test_ask_beside(); /* or an earlier one goes on */
    while (AO_load(&seen.minor) == before) oaki_os_yield();
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 50; i++) ck_assert_uint_eq(length(table[i]->chain), 100);
        oak_collect();
    }
    test_assert_sound();
}
END_TEST

/* ---- out of memory for a mark stack ---- */

typedef struct checked {
    void *to;
    char more[56];
} checked;

static void mark_checked(oak_marker *m, void *obj, size_t size)
{
    size_t off = oaki_heap_offset(obj);
    test_expect(oaki_slot_offset(off) == off && size == sizeof(checked), __LINE__);
    oak_mark_ptr(m, ((checked *)obj)->to);
}

/* All that is marked is scanned again: each object once, from its beginning, though the old ones
 * have all of their bits. */
START_TEST(a_mark_stack_that_overflows)
{
    enum { CHECKED = 1001, WIDE = 7500 }; /* that is scanned at once */
    if (!start(1000)) return;
    const oak_type *t = oak_type_function("checked", sizeof(checked), mark_checked);
    checked **table = oak_alloc(CHECKED * sizeof *table);
    for (size_t i = 0; i < CHECKED; i++) {
        table[i] = oak_alloc_typed(t, 1);
        table[i]->to = chain(2);
    }
    oaki_debug_switches.markstack = 1;
    cycle(true);
    for (int round = 0; round < 5; round++) {
        node **wide = oak_alloc(WIDE * sizeof *wide);
        for (size_t i = 0; i < WIDE; i++) wide[i] = chain(1);
        cycle(true);
        for (size_t i = 0; i < WIDE; i++) ck_assert_uint_eq(length(wide[i]), 1);
    }
    for (size_t i = 0; i < CHECKED; i++) ck_assert_uint_eq(length(table[i]->to), 2);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

/* ---- zones ---- */

static oak_zone *zone;

static void fill_zone(void *arg)
{
    node *first = NULL;
    for (size_t i = 0; i < 1000; i++) {
        node *x = oak_zone_alloc(zone, i % 100 ? sizeof *x : 50000);
        x->next = first;
        first = x;
    }
    ((holder *)arg)->chain = first;
}

/* Its objects are old, and one that is old refers to them until a moment ago. */
START_TEST(a_zone_is_destroyed_meanwhile)
{
    if (!start(1000)) return;
    holder *h = oak_alloc(sizeof *h);
    for (int round = 0; round < 20; round++) {
        zone = oak_zone_new(NULL);
        test_away(fill_zone, h);
        next();
        cycle(true);
        h->chain = NULL;
        for (int i = 0; i < round % 4; i++) next();
        ask();
        if (round % 2) oaki_os_sleep_ns((uint64_t)round * 50000);
        ck_assert_int_eq(oak_zone_destroy(zone, NULL), 0);
    }
    test_assert_sound();
}
END_TEST

/* ---- pacing ---- */

#define LIVE ((size_t)72 << 20)
static AO_t finalized;

static void on_final(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    AO_fetch_and_add1(&finalized);
}

static void make_final(void *arg)
{
    node *x = oak_alloc(sizeof *x);
    ck_assert_int_eq(oak_finalizer_set(x, on_final, NULL), 0);
    ((holder *)arg)->chain = x;
}

/* They cost a fifth of what a full one does, and free as much; but the old are not looked at. */
START_TEST(however_well_they_pay_a_full_one_comes)
{
    size_t n = 20000, many = 40 * n, from = 0;
    if (!start(0)) return;
    oaki_debug_switches.verify = 0;
    holder *h = oak_alloc(sizeof *h);
    node *old = chain(many);
    test_away(make_final, h);
    for (int i = 0; i < 300 && AO_load(&finalized) == 0; i++) {
        test_away(make_garbage, &n);
        next();
        (void)oak_finalizers_run();
        if (!h->chain || AO_load(&seen.minor) < 3) continue;
        h->chain = NULL;
        from = AO_load(&seen.minor);
    }
    ck_assert_uint_eq(AO_load(&finalized), 1);
    ck_assert_uint_ge(AO_load(&seen.minor), from + 20);
    ck_assert_uint_eq(length(old), many);
}
END_TEST


static bool start_paced(void)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    return start_with(c, 0);
}

/* How many are of which kind depends on the machine, too; minor_ones_go_on_while_they_pay has the
 * rule. */
START_TEST(minor_ones_where_most_dies_young)
{
    size_t n = LIVE / sizeof(node), most = 0;
    if (!start_paced()) return;
    node *old = chain(n);
    oak_collect();
    for (size_t i = 0; i < 10 * n || (i < 40 * n && AO_load(&seen.minor) < 3); i++) {
        (void)!oak_alloc(sizeof(node));
        if (i % 1000 == 0) most = OAKI_MAX(most, AO_load(&oaki_the_heap.live));
    }
    ck_assert_uint_ge(AO_load(&seen.minor), 3);
    ck_assert_uint_le(most, 4 * LIVE);
    ck_assert_uint_eq(length(old), n);
}
END_TEST

/* ---- what pays ---- */

enum { MIB = 1 << 20 };

START_TEST(minor_ones_go_on_while_they_pay)
{
    oak_config c = test_config();
    c.generations = 1;
    c.concurrent = 0; /* none but these */
    test_heap_start(c);
    test_host_is_known(); /* before, no page is protected */
    test_host_is_kind();
    oak_collect();
    oaki_thread *t = oaki_gc_stop_begin();
    for (int i = 0; i < 2; i++) ck_assert(!oaki_sticky_pays(false, 16000000, MIB, MIB));
    for (int grows = 0; grows < 2; grows++) {
        size_t freed = grows ? 0 : 80 * MIB, allocated = grows ? 80 * MIB : 0;
        ck_assert(oaki_sticky_pays(false, 16000000, freed, allocated));
        for (int i = 0; i < 63; i++) ck_assert(oaki_sticky_pays(true, 1000000, 10 * MIB, 10 * MIB));
        ck_assert(!oaki_sticky_pays(true, 1000000, 10 * MIB, 10 * MIB)); /* 64 in a row */
    }
    ck_assert(oaki_sticky_pays(false, 16000000, 80 * MIB, 80 * MIB));
    ck_assert(oaki_sticky_pays(true, 1500000, 10 * MIB, 10 * MIB)); /* 3/4 of its words a byte */
    ck_assert(!oaki_sticky_pays(true, 1500001, 10 * MIB, 10 * MIB));
    oaki_gc_stop_end(t);
}
END_TEST

/* One that doesn't pay, and the full ones until the next is tried; so many times. */
static void left_out_for(int skip, int rounds)
{
    for (; rounds > 0; rounds--, skip = OAKI_MIN(skip * 4, 64)) {
        ck_assert(!oaki_sticky_pays(true, 1000, MIB, MIB));
        for (int i = 1; i < skip; i++) ck_assert(!oaki_sticky_pays(false, 1000, MIB, MIB));
        ck_assert(oaki_sticky_pays(false, 1000, MIB, MIB));
    }
}

/* Where none has paid yet they are left out for 3 full cycles, for 12, for 48, at most for 64; one
 * that pays is a better beginning: 1, 4, 16, 64. */
START_TEST(minor_ones_are_tried_ever_more_rarely)
{
    oak_config c = test_config();
    c.generations = 1;
    c.concurrent = 0;
    test_heap_start(c);
    test_host_is_known(); /* before, no page is protected */
    test_host_is_kind();
    oak_collect();
    oaki_thread *t = oaki_gc_stop_begin();
    for (int i = 0; i < 10; i++) ck_assert(!oaki_sticky_pays(false, 1000, 0, MIB)); /* it grows */
    for (int i = 0; i < 2; i++) ck_assert(!oaki_sticky_pays(false, 1000, MIB, MIB));
    ck_assert(oaki_sticky_pays(false, 1000, MIB / 2 + 1, MIB));
    left_out_for(3, 9);
    ck_assert(oaki_sticky_pays(true, 1, MIB, MIB));
    left_out_for(1, 6);
    oaki_gc_stop_end(t);
}
END_TEST

/* Each new one lives for long, and what dies is old. */
START_TEST(few_where_most_dies_old)
{
    size_t n = LIVE / sizeof(node), most = 0;
    uint64_t draw = 11;
    if (!start_paced()) return;
    node **table = oak_alloc(n * sizeof *table);
    for (size_t i = 0; i < n; i++) table[i] = oak_alloc(sizeof **table);
    oak_collect();
    for (size_t i = 0; i < 10 * n; i++) {
        table[test_draw(&draw) % n] = oak_alloc(sizeof **table);
        if (i % 1000 == 0) most = OAKI_MAX(most, AO_load(&oaki_the_heap.live));
    }
    ck_assert_uint_ge(AO_load(&seen.full), 3);
    ck_assert_uint_le(AO_load(&seen.minor), AO_load(&seen.full) / 2 + 2);
    ck_assert_uint_le(most, 6 * LIVE);
}
END_TEST

Suite *suite_gc_sticky(void)
{
    Suite *s = suite_create("gc_sticky");
    TCase *t = tcase_create("young");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, what_dies_young_goes_in_a_minor_cycle);
    tcase_add_test(t, what_dies_old_waits_for_a_full_one);
    tcase_add_test(t, a_full_one_comes_after_so_many);
    tcase_add_test(t, none_when_they_are_off);
    tcase_add_test(t, memory_that_is_freed_by_hand_and_used_again);
    tcase_add_test(t, an_old_object_that_is_freed_during_a_mark);
    tcase_add_test(t, a_full_one_comes_after_what_was_not_scanned);
    tcase_add_test(t, a_descriptor_that_is_closed_between_two);
    tcase_add_test(t, a_mark_stack_that_overflows);
    tcase_add_test(t, a_zone_is_destroyed_meanwhile);
    tcase_add_test(t, however_well_they_pay_a_full_one_comes);
    tcase_add_test(t, minor_ones_where_most_dies_young);
    tcase_add_test(t, minor_ones_go_on_while_they_pay);
    tcase_add_test(t, minor_ones_are_tried_ever_more_rarely);
    tcase_add_test(t, few_where_most_dies_old);
    suite_add_tcase(s, t);
    return s;
}

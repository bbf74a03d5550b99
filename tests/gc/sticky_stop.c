/* sticky_stop - minor collections in one stop, as heaps have them that are too small to be marked
 * beside the program: what they find, what they leave; and both kinds in turn, in all sorts of
 * order. With the verifier after each, and the dead poisoned. */
#include "gc/event.h"
#include "gc/gc.h"
#include "gc/pace.h"
#include "gc/settings.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/oakum.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

Suite *suite_gc_sticky_stop(void);

#define OLD 30000
#define MAGIC 0x0a6b0a6b0a6b0a6bu

typedef struct node {
    struct node *next, *child;
    uint64_t id, magic;
} node;

static struct {
    AO_t full, minor, beside; /* cycles; beside: of those, beside the program */
    AO_t last_was_minor;
} seen;

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    AO_store(&seen.last_was_minor, c->minor);
    AO_fetch_and_add1_full(c->minor ? &seen.minor : &seen.full);
    if (c->first_begin) AO_fetch_and_add1_full(&seen.beside);
}

/* One full collection, then `minors` minor ones. */
static bool start_with(oak_config c, size_t minors)
{
    c.concurrent = c.generations = 1;
    bool can = test_heap_tracked(c, minors);
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    return can;
}

static bool start(size_t minors)
{
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_USERFAULTFD;
    return start_with(c, minors);
}

static void collect(oaki_gc_why why)
{
    oaki_thread *t = oaki_enter();
    (void)oaki_gc_collect(t, why);
    oaki_leave(t);
}

static void cycle(bool minor)
{
    do collect(OAKI_GC_DUE);
    while (AO_load(&seen.last_was_minor) != minor);
}

static OAKI_NOINLINE node *make(uint64_t id)
{
    node *x = oak_alloc(sizeof *x);
    *x = (node){ .id = id, .magic = MAGIC };
    return x;
}

static bool is_node(const node *x, uint64_t id)
{
    return x->id == id && x->magic == MAGIC;
}

static node *chain(size_t n)
{
    node *first = NULL;
    for (size_t i = 0; i < n; i++) {
        node *x = make(i);
        x->next = first;
        first = x;
    }
    return first;
}

static size_t objects(void)
{
    oaki_thread *t = oaki_enter();
    test_sweep_all();
    oaki_leave(t);
    return test_stats().heap_objects;
}

static void make_garbage(void *arg)
{
    (void)chain(*(size_t *)arg);
}

START_TEST(what_dies_young_goes_and_what_dies_old_waits)
{
    size_t n = OLD;
    static node **held; /* a store to what nobody else knows may be left out */
    if (!start(3)) return;
    held = oak_alloc(sizeof *held);
    node *old = chain(OLD);
    *held = chain(OLD);
    cycle(false);
    size_t all = objects();
    ck_assert_uint_ge(all, 2 * OLD);
    *held = NULL;
    for (int i = 0; i < 3; i++) {
        test_away(make_garbage, &n);
        collect(OAKI_GC_DUE);
        ck_assert_uint_eq(AO_load(&seen.last_was_minor), 1);
        ck_assert_uint_ge(objects(), 2 * OLD);
        ck_assert_uint_le(objects(), all + 100);
    }
    collect(OAKI_GC_DUE);
    ck_assert_uint_eq(AO_load(&seen.last_was_minor), 0);
    ck_assert_uint_le(objects(), OLD + 100);
    ck_assert_uint_eq(AO_load(&seen.beside), 0);
    for (const node *x = old; x; x = x->next) ck_assert(x->magic == MAGIC);
}
END_TEST

START_TEST(one_that_is_asked_for_is_a_full_one)
{
    if (!start(1000)) return;
    for (int i = 0; i < 5; i++) {
        cycle(true);
        collect(i % 2 ? OAKI_GC_ASKED : OAKI_GC_NEEDED);
        ck_assert_uint_eq(AO_load(&seen.last_was_minor), 0);
    }
}
END_TEST

/* By faults there are none. */
START_TEST(the_way_of_tracking_decides)
{
    oak_config c = test_config();
    c.tracking = (oak_tracking)_i;
    bool can = start_with(c, 3);
    for (int i = 0; i < 5; i++) collect(OAKI_GC_DUE);
    ck_assert_int_eq(AO_load(&seen.minor) > 0, can && !oaki_dirty_denies());
    if (_i == OAK_TRACKING_USERFAULTFD) ck_assert(!oaki_dirty_denies());
    if (_i == OAK_TRACKING_FAULTS) ck_assert_int_eq(can, oaki_dirty_denies());
    if (_i == OAK_TRACKING_NONE) ck_assert(!can);
}
END_TEST

/* Nor is the program's way with SIGSEGV changed for what is not to be. */
START_TEST(faults_are_left_alone_where_marks_are_in_stops)
{
    struct sigaction before, a;
    oak_config c = test_config();
    ck_assert_int_eq(sigaction(SIGSEGV, NULL, &before), 0);
    c.tracking = OAK_TRACKING_FAULTS;
    c.concurrent = 1;
    test_heap_start(c);
    oaki_debug_switches.minor = 3;
    for (int i = 0; i < 5; i++) collect(OAKI_GC_DUE);
    ck_assert_int_eq(sigaction(SIGSEGV, NULL, &a), 0);
    ck_assert(a.sa_handler == before.sa_handler);
}
END_TEST

START_TEST(none_when_generations_or_concurrency_are_off)
{
    if (!start(3)) return;
    oaki_the_heap.config.generations = _i;
    oaki_gc_set_concurrent(!_i);
    for (int i = 0; i < 10; i++) collect(OAKI_GC_DUE);
    ck_assert_uint_eq(AO_load(&seen.minor), 0);
}
END_TEST

/* ---- what is written to old objects ---- */

typedef struct table {
    size_t n;
    node **of; /* a large object */
} table;

/* Where old ones are written: all over, some near each other, one. */
static void write_some(table *t, uint64_t *draw, uint64_t *next)
{
    size_t places = (size_t)1 << test_draw(draw) % 12, from = test_draw(draw) % t->n;
    bool near = test_draw(draw) % 2;
    for (size_t i = 0; i < places; i++) {
        size_t at = near ? (from + i) % t->n : test_draw(draw) % t->n;
        node *old = t->of[at], *young = make(*next);
        if (test_draw(draw) % 4 == 0) {
            t->of[at] = young;
        } else {
            young->next = old->child;
            if (test_draw(draw) % 3 == 0) young->next = NULL;
            old->child = young;
        }
        ++*next;
    }
}

static void check(const table *t, uint64_t most)
{
    for (size_t i = 0; i < t->n; i++) {
        test_expect(t->of[i]->magic == MAGIC && t->of[i]->id < most, __LINE__);
        for (const node *x = t->of[i]->child; x; x = x->next)
            test_expect(x->magic == MAGIC && x->id < most, __LINE__);
    }
}

static AO_t turns, beside_least; /* marks beside the program that the threads go on for */

static void *mutate(void *arg)
{
    uint64_t draw = (uint64_t)(uintptr_t)arg * 2 + 1, next = 0;
    table *t = oak_alloc(sizeof *t);
    t->n = 20000;
    t->of = oak_alloc(t->n * sizeof *t->of);
    for (; next < t->n; next++) t->of[next] = make(next);
    size_t rounds = test_scale(400);
    for (size_t round = 0;
         round < rounds || AO_load(&seen.beside) < AO_load(&beside_least); round++) {
        write_some(t, &draw, &next);
        if (round % (rounds / 50 + 1) == 0) collect(OAKI_GC_DUE);
        if (test_draw(&draw) % 64 == 0) collect(OAKI_GC_ASKED);
        if (round % 50 == 0) check(t, next);
        AO_fetch_and_add1(&turns);
    }
    check(t, next);
    return NULL;
}

START_TEST(old_objects_that_are_written_keep_young_ones)
{
    if (!start(_i ? 1000 : 3)) return;
    (void)mutate((void *)(uintptr_t)(17 + _i));
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_ge(AO_load(&seen.minor), 10);
}
END_TEST

START_TEST(many_threads_write_and_collect)
{
    pthread_t id[4];
    if (!start(5)) return;
    for (uintptr_t i = 0; i < 4; i++) id[i] = test_start(mutate, (void *)(i + 3));
    for (size_t i = 0; i < 4; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_ge(AO_load(&seen.minor), 10);
    test_assert_sound();
}
END_TEST

/* A thread of the collector's begins marks beside the program, each of which forgets what was
 * written, while others collect in stops. On a busy machine few are begun in a while. */
START_TEST(marks_beside_the_program_in_between)
{
    pthread_t id[2];
    oaki_debug_switches.beside = 1;
    if (!start(5)) return;
    oaki_debug_switches.beside = 1;
    AO_store(&turns, 0);
    AO_store(&beside_least, 3);
    for (uintptr_t i = 0; i < 2; i++) id[i] = test_start(mutate, (void *)(i + 11));
    while (AO_load(&turns) < 2 * test_scale(400) || AO_load(&seen.beside) < 3) {
        (void)test_ask_beside();
        oaki_os_yield();
    }
    for (size_t i = 0; i < 2; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_gt(AO_load(&seen.full) + AO_load(&seen.minor), AO_load(&seen.beside));
}
END_TEST

OAK_MAP_DEFINE(nodes, uint64_t, node *);

START_TEST(old_maps_that_grow_and_shrink)
{
    if (!start(7)) return;
    nodes *m = nodes_new(0);
    size_t n = test_scale(60000);
    for (int round = 0; round < 3; round++) {
        for (size_t k = 0; k < n; k++) {
            *nodes_put(m, k) = make(k);
            if (k % (n / 20) == 0) collect(OAKI_GC_DUE);
        }
        for (size_t k = 0; k < n; k++) {
            ck_assert(is_node(*nodes_get(m, k), k));
            nodes_delete(m, k);
            if (k % (n / 20) == 0) collect(OAKI_GC_DUE);
        }
    }
    ck_assert_uint_ge(AO_load(&seen.minor), 40);
}
END_TEST

/* ---- what a collection decides ---- */

static AO_t finalized;

static void on_final(void *obj, void *ctx)
{
    (void)ctx;
    test_expect(((node *)obj)->magic == MAGIC, __LINE__);
    AO_fetch_and_add1(&finalized);
}

typedef struct weak_nodes {
    oak_weak *weak[100];
    node *keep[50];
} weak_nodes;

static void make_weak(void *arg)
{
    weak_nodes *w = arg;
    for (size_t i = 0; i < 100; i++) {
        node *x = make(i);
        w->weak[i] = oak_weak_new(x);
        ck_assert_int_eq(oak_finalizer_set(x, on_final, NULL), 0);
        if (i % 2 == 0) w->keep[i / 2] = x;
    }
}

START_TEST(weak_references_and_finalizers_of_young_ones)
{
    if (!start(1000)) return;
    weak_nodes *w = oak_alloc(sizeof *w);
    cycle(true);
    test_away(make_weak, w);
    cycle(true);
    cycle(true);
    (void)oak_finalizers_run();
    size_t gone = 0;
    for (size_t i = 0; i < 100; i++) {
        node *x = oak_weak_get(w->weak[i]);
        if (i % 2 == 0) ck_assert_ptr_eq(x, w->keep[i / 2]);
        gone += x == NULL;
    }
    ck_assert_uint_ge(gone, 49); /* one may be in a register still */
    ck_assert_uint_ge(AO_load(&finalized), 49);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

static void make_cycle(void *arg)
{
    node *a = make(1), *b = make(2);
    (void)arg;
    a->next = b;
    b->next = a;
    ck_assert_int_eq(oak_finalizer_set(a, on_final, NULL), 0);
    ck_assert_int_eq(oak_finalizer_set(b, on_final, NULL), 0);
}

START_TEST(what_waits_for_ever_is_counted_by_full_ones)
{
    if (!start(2)) return;
    for (int i = 0; i < 20; i++) test_away(make_cycle, NULL);
    cycle(false);
    uint64_t stuck = test_stats().finalizer_cycles;
    ck_assert_uint_ge(stuck, 38); /* one may be in a register still */
    for (int i = 0; i < 12; i++) {
        collect(OAKI_GC_DUE);
        ck_assert_uint_ge(test_stats().finalizer_cycles, stuck);
    }
    ck_assert_uint_ge(AO_load(&seen.minor), 6);
}
END_TEST

static void fill_zone(void *arg)
{
    for (size_t i = 0; i < 100; i++) {
        ck_assert_ptr_nonnull(oak_zone_alloc(arg, 40000));
        for (size_t k = 0; k < 100; k++) ck_assert_ptr_nonnull(oak_zone_alloc(arg, 64));
    }
}

/* Of what a zone had, only the old was part of what lives. */
START_TEST(zones_that_come_and_go)
{
    if (!start(1000)) return;
    size_t least = OLD * sizeof(node);
    node **all = oak_alloc(100 * sizeof *all), *old = chain(OLD);
    cycle(true);
    for (int round = 0; round < 20; round++) {
        oak_zone *z = oak_zone_new(NULL);
        test_away(fill_zone, z);
        for (size_t i = 0; i < 100; i++) all[i] = oak_zone_alloc(z, 40000);
        if (round % 2) collect(OAKI_GC_DUE);
        size_t live = oaki_pace_live();
        memset(all, 0, 100 * sizeof *all);
        ck_assert_int_eq(oak_zone_discard(z), 0);
        collect(OAKI_GC_DUE);
        ck_assert_uint_ge(oaki_pace_live(), least);
        if (round % 2) ck_assert_uint_le(oaki_pace_live() + 100 * 40000, live);
    }
    ck_assert_uint_eq(AO_load(&seen.last_was_minor), 1);
    ck_assert(is_node(old, OLD - 1));
    test_assert_sound();
}
END_TEST

#define BUFFER ((size_t)8 << 20)

static AO_t wanted, made; /* a collection now; buffers */
static char *guard;       /* a page of what is to be the next buffer */
static size_t crossed, old_at_birth; /* of these */

/* Where the next buffer is being cleared: a collection comes and goes. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    char *at = info->si_addr;
    if (at < guard || at >= guard + OAKI_PAGE) {
        signal(sig, SIG_DFL); /* once more, and to its end */
        return;
    }
    AO_store_release(&wanted, 1);
    while (AO_load_acquire(&wanted)) oaki_os_sleep_ns(50000);
    (void)!mprotect(guard, OAKI_PAGE, PROT_READ | PROT_WRITE);
    crossed++;
}

static void use_buffer(void *arg)
{
    (void)arg;
    char *p = oak_alloc(BUFFER);
    guard = p + BUFFER / 2;
    oak_free(p);
    test_expect(mprotect(guard, OAKI_PAGE, PROT_NONE) == 0, __LINE__);
    p = oak_alloc(BUFFER);
    oaki_thread *t = oaki_enter();
    old_at_birth += oaki_mark_get(oaki_heap_offset(p));
    oaki_leave(t);
    (void)!mprotect(guard, OAKI_PAGE, PROT_READ | PROT_WRITE);
    test_expect(test_is_zero(p, BUFFER), __LINE__);
    memset(p, 1, BUFFER);
}

static void *use_buffers(void *arg)
{
    for (; AO_load(&made) < 20; AO_fetch_and_add1_full(&made)) test_away(use_buffer, NULL);
    return arg;
}

/* Its memory is cleared outside of the runtime: a mark that ends meanwhile found it free, and left
 * its bits as those of what is old. */
START_TEST(large_objects_that_are_being_made_are_young)
{
    if (!start(1000)) return;
    struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    ck_assert_int_eq(sigaction(SIGSEGV, &fault, NULL), 0);
    oaki_debug_switches.poison = oaki_debug_switches.verify = 0;
    cycle(true);
    pthread_t id = test_start(use_buffers, NULL);
    while (AO_load(&made) < 20) {
        if (AO_load_acquire(&wanted)) {
            collect(OAKI_GC_DUE);
            AO_store_release(&wanted, 0);
        }
        oaki_os_sleep_ns(50000);
    }
    test_join(id);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_ge(crossed, 15);
    ck_assert_uint_eq(old_at_birth, 0);
}
END_TEST

static int use_in_child(const node *old)
{
    size_t n = 0;
    uint64_t id = 0;
    for (int i = 0; i < 10; i++) {
        node *mine = chain(1000);
        collect(OAKI_GC_DUE);
        for (const node *x = mine; x; x = x->next) id += x->magic != MAGIC;
    }
    for (const node *x = old; x; x = x->next) n += x->magic == MAGIC;
    return n == OLD && id == 0 ? 0 : 1;
}

START_TEST(a_child_has_marks_of_its_own)
{
    if (!start(1000)) return;
    node *old = chain(OLD);
    for (int i = 0; i < 5; i++) {
        cycle(true);
        old->child = make(5);
        pid_t pid = fork();
        if (pid == 0) _exit(use_in_child(old));
        ck_assert_int_eq(test_wait_child(pid), 0);
        collect(OAKI_GC_DUE);
        ck_assert(is_node(old->child, 5));
    }
}
END_TEST

/* ---- by the pacing ---- */

/* The heap grows past what is marked in stops, and shrinks below it. */
START_TEST(a_heap_that_grows_and_shrinks)
{
    oak_config c = test_config();
    c.gc_percent = 100;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    if (!start_with(c, 0)) return;
    test_host_is_kind();
    oaki_debug_switches.verify = 0;
    size_t most = (size_t)(test_slow() ? 60 : 100) << 20;
    for (int round = 0; round < 2; round++) {
        size_t n = most / sizeof(node), few = n / 6;
        node *keep = chain(few), *more = chain(n);
        for (const node *x = more; x; x = x->next) ck_assert(x->magic == MAGIC);
        more = NULL;
        oak_collect();
        for (size_t i = 0; i < 2 * n; i++) (void)make(i);
        for (const node *x = keep; x; x = x->next) ck_assert(is_node(x, --few));
    }
    ck_assert_uint_ge(AO_load(&seen.minor), 1);
    test_assert_sound();
}
END_TEST

Suite *suite_gc_sticky_stop(void)
{
    Suite *s = suite_create("gc_sticky_stop");
    TCase *t = tcase_create("young_stop");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, what_dies_young_goes_and_what_dies_old_waits);
    tcase_add_test(t, one_that_is_asked_for_is_a_full_one);
    tcase_add_loop_test(t, the_way_of_tracking_decides, 0, OAK_TRACKINGS_N);
    tcase_add_test(t, faults_are_left_alone_where_marks_are_in_stops);
    tcase_add_loop_test(t, none_when_generations_or_concurrency_are_off, 0, 2);
    tcase_add_loop_test(t, old_objects_that_are_written_keep_young_ones, 0, 2);
    tcase_add_test(t, many_threads_write_and_collect);
    tcase_add_test(t, marks_beside_the_program_in_between);
    tcase_add_test(t, old_maps_that_grow_and_shrink);
    tcase_add_test(t, weak_references_and_finalizers_of_young_ones);
    tcase_add_test(t, what_waits_for_ever_is_counted_by_full_ones);
    tcase_add_test(t, zones_that_come_and_go);
    tcase_add_test(t, large_objects_that_are_being_made_are_young);
    tcase_add_test(t, a_child_has_marks_of_its_own);
    tcase_add_test(t, a_heap_that_grows_and_shrinks);
    suite_add_tcase(s, t);
    return s;
}

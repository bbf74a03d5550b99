/* collect_step.c - oak_collect_step: cycles that a main loop drives a little at a time. */
#include "gc/cycle.h"
#include "gc/trace/trace.h"
#include "runtime/os.h"
#include "runtime/pagemap.h"
#include "runtime/park.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <check.h>
#include <stdio.h>

Suite *suite_gc_collect_step(void);
int __real_mprotect(void *p, size_t n, int prot);
int __wrap_mprotect(void *p, size_t n, int prot);
void __real_oaki_protect_scanned(size_t from, size_t to);
void __wrap_oaki_protect_scanned(size_t from, size_t to);
void __real_oaki_unprotect(size_t from, size_t to);
void __wrap_oaki_unprotect(size_t from, size_t to);
void __real_oaki_unprotect_sparse(size_t from, size_t to);
void __wrap_oaki_unprotect_sparse(size_t from, size_t to);

#define NODES 200000u
#define BUDGET_US 200u
#define MOST_WORDS ((size_t)1 << 16) /* that a step with the least budget may trace; */
#define MOST_PAGES 64                /* whose spans it may sweep; */
#define MOST_RECORDS 1024            /* that it may examine; */
/* that it may protect, or release, between two looks at the clock */
#define MOST_BYTES ((size_t)512 << 10)

typedef struct node {
    struct node *next;
    uint64_t id, more[6];
} node;

static struct {
    node *list;
    uint64_t n;
} w;

static void push(void)
{
    node *x = oak_alloc(sizeof *x);
    *x = (node){ .next = w.list, .id = w.n++ };
    w.list = x;
}

static void assert_whole(void)
{
    uint64_t n = w.n;
    for (const node *x = w.list; x; x = x->next) ck_assert_uint_eq(x->id, --n);
    ck_assert_uint_eq(n, 0);
}

static size_t cycles(void)
{
    return AO_load(&oaki_the_heap.cycle);
}

/* No thread of Oakum's drives cycles, and allocating begins none. false: this system can't track
 * writes. */
static bool start(void)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_percent = 100;
    if (!test_heap_tracked(c, 0)) return false;
    oaki_debug_switches.beside = 0;
    w.list = NULL;
    w.n = 0;
    while (w.n < NODES) push();
    oak_collect();
    oaki_debug_switches.beside = 1; /* for steps, though the heap is small */
    return true;
}

static void make_due(void)
{
    test_host_is_kind();
    AO_store(&oaki_the_heap.trigger, AO_load(&oaki_the_heap.live));
}

/* A whole cycle; between two steps, meanwhile() runs. Returns the number of steps. */
static size_t step_through(unsigned budget_us, void (*meanwhile)(void))
{
    size_t before = cycles(), n = 0;
    make_due();
    for (; cycles() == before; n++) {
        (void)oak_collect_step(budget_us);
        if (meanwhile) meanwhile();
    }
    return n;
}

START_TEST(steps_make_a_whole_cycle)
{
    if (!start()) return;
    size_t live = test_stats().heap_alloc;
    w.list = w.list->next->next;
    w.n -= 2;
    for (node *x = w.list; x; x = x->next) x->more[0] = (uintptr_t)oak_alloc_noscan(64);
    for (node *x = w.list; x; x = x->next) x->more[0] = 0;
    ck_assert_uint_gt(step_through(BUDGET_US, NULL), 2);
    ck_assert_int_eq(oaki_gc.mode, OAKI_CONCURRENT);
    while (oak_collect_step(BUDGET_US)) continue;
    ck_assert_uint_eq(oaki_phase_now(), OAKI_PHASE_IDLE);
    ck_assert_uint_lt(test_stats().heap_alloc, live + NODES * 32); /* most of them have gone */
    ck_assert_uint_eq(AO_load(&oaki_gc.background.started), 0);
    assert_whole();
    test_assert_sound();
}
END_TEST

/* Moves the head behind its successor, so that a mark that missed the stores would lose a node. */
static void move(void)
{
    node *a = w.list, *b = a->next;
    uint64_t id = a->id;
    a->id = b->id;
    b->id = id;
    a->next = b->next;
    b->next = a;
    w.list = b;
}

/* And allocates. */
static void disturb(void)
{
    move();
    for (int i = 0; i < 3; i++) push();
}

START_TEST(nothing_is_lost_between_two_steps)
{
    if (!start()) return;
    oaki_debug_switches.beside = 2; /* rounds go on until nothing is dirty */
    for (int round = 0; round < 4; round++) {
        (void)step_through(round % 2 ? BUDGET_US : 1, disturb);
        assert_whole();
        test_assert_sound();
    }
}
END_TEST

#define HOT ((size_t)1 << 20)

/* A system's page may be half of one of the heap's: the search of a round that ends between the two
 * goes on behind the first half, though that is written again by then. */
START_TEST(a_round_ends_though_its_pages_are_written_between_steps)
{
    if (!start()) return;
    char *hot = oak_alloc(HOT);
    size_t before = cycles();
    make_due();
    while (cycles() == before) { /* or the case's time is over */
        (void)oak_collect_step(1);
        for (size_t i = 0; i < HOT; i += OAKI_PAGE) *(node **)(hot + i) = w.list;
    }
    OAKI_HOLD(hot);
    assert_whole();
}
END_TEST

/* Processor time of this thread in mprotect, outside of pauses. A busy system may take tens of
 * milliseconds for one call, whatever its size; `most_bytes` bounds that. */
static __thread uint64_t protecting_ns;

int __wrap_mprotect(void *p, size_t n, int prot)
{
    uint64_t begun = oaki_os_thread_cpu_ns();
    int r = __real_mprotect(p, n, prot), error = errno;
    if (AO_int_load(&oaki_the_stop.epoch) % 2 == 0)
        protecting_ns += oaki_os_thread_cpu_ns() - begun;
    errno = error;
    return r;
}

/* Bytes of the range that are protected or released between two looks at the clock, at most; and
 * the calls that do so. */
static struct changed {
    size_t most_bytes, protections, releases;
} changed;

static void note_change(size_t *calls, size_t from, size_t to)
{
    ++*calls;
    changed.most_bytes = OAKI_MAX(changed.most_bytes, to - from);
}

void __wrap_oaki_protect_scanned(size_t from, size_t to)
{
    note_change(&changed.protections, from, to);
    __real_oaki_protect_scanned(from, to);
}

void __wrap_oaki_unprotect(size_t from, size_t to)
{
    note_change(&changed.releases, from, to);
    __real_oaki_unprotect(from, to);
}

void __wrap_oaki_unprotect_sparse(size_t from, size_t to)
{
    note_change(&changed.releases, from, to);
    __real_oaki_unprotect_sparse(from, to);
}

/* Work outside of pauses: words traced, pages of swept spans, records examined. */
typedef struct work {
    size_t words, pages, records;
} work;

/* The state before a step, by which its pauses and its work are counted. */
typedef struct before {
    unsigned stops;
    size_t cycles;
    uint64_t init_pause, short_ns;
    work done;
} before;

static before look(void)
{
    return (before){ .stops = AO_int_load(&oaki_the_stop.epoch) / 2,
                     .cycles = cycles(),
                     .init_pause = AO_load(&oaki_gc.entered_ns[OAKI_PHASE_INIT_PAUSE]),
                     .short_ns = oaki_gc.concurrent.pauses_ns,
                     .done = { .words = oaki_workers_scanned(),
                               .pages = AO_load(&oaki_gc.sweeper.bytes) / OAKI_PAGE,
                               .records = oaki_gc.debug.noted } };
}

/* *most is raised to the work of a step that had no pause. Returns the words it has traced. */
static size_t note_work(work *most, const before *b, const before *now)
{
    if (now->stops != b->stops) return 0;
    size_t words = now->done.words - b->done.words;
    most->words = OAKI_MAX(most->words, words);
    most->pages = OAKI_MAX(most->pages, now->done.pages - b->done.pages);
    most->records = OAKI_MAX(most->records, now->done.records - b->done.records);
    return words;
}

/* The time of the step's pause: of the first one of the cycle, the last one with the removal of
 * records, or a short one between them. */
static uint64_t pause_ns(const before *b, const before *now)
{
    const oaki_cycle *c = &oaki_gc.figures;
    if (now->init_pause != b->init_pause) return c->first;
    if (now->cycles == b->cycles) return now->short_ns - b->short_ns;
    return AO_load(&oaki_gc.entered_ns[OAKI_PHASE_SWEEP]) - c->begin;
}

/* A whole cycle with its sweep, driven by this thread alone, as nothing is allocated meanwhile.
 * Returns the longest step, less its pause and its calls of mprotect, in the thread's processor
 * time. No step does more than the least one and, for each nanosecond of the budget, a word or a
 * record, or half a page. */
static uint64_t longest_step(uint64_t budget_us, size_t *steps)
{
    uint64_t longest = 0;
    size_t first = cycles(), pauses = 0, traced = 0, ns = budget_us > 1 ? budget_us * 1000 : 0;
    work most = { 0 };
    changed = (struct changed){ 0 };
    make_due();
    for (; cycles() == first || oaki_phase_now() != OAKI_PHASE_IDLE; (*steps)++) {
        before b = look();
        uint64_t cpu = oaki_os_thread_cpu_ns() - protecting_ns;
        (void)oak_collect_step((unsigned)budget_us);
        cpu = oaki_os_thread_cpu_ns() - protecting_ns - cpu;
        before now = look();
        ck_assert_uint_le(now.stops - b.stops, 1);
        pauses += now.stops - b.stops;
        traced += note_work(&most, &b, &now);
        if (now.stops != b.stops) cpu -= OAKI_MIN(cpu, pause_ns(&b, &now));
        longest = OAKI_MAX(longest, cpu);
        move();
    }
    ck_assert_uint_eq(AO_load(&oaki_gc.background.started), 0);
    ck_assert_uint_ge(pauses, 2);
    /* a budget that a pause fits in may be spent on one */
    if (budget_us < 100000) ck_assert_uint_ge(traced, NODES / 2);
    if (budget_us == 1) ck_assert(changed.protections > 0 && changed.releases > 0);
    ck_assert_uint_le(most.words, MOST_WORDS + ns);
    ck_assert_uint_le(most.pages, MOST_PAGES + ns / 2);
    ck_assert_uint_le(most.records, MOST_RECORDS + ns);
    ck_assert_uint_le(changed.most_bytes, MOST_BYTES);
    return longest;
}

/* Each node gets a weak reference to an object that nothing else refers to. */
static void refer(void *arg)
{
    (void)arg;
    for (node *x = w.list; x; x = x->next) x->more[0] = (uintptr_t)oak_weak_new(oak_alloc(16));
}

/* The unit of work bounds a step, whatever the clock says. */
START_TEST(a_step_with_the_least_budget_does_little)
{
    size_t steps = 0;
    if (!start()) return;
    (void)longest_step(1, &steps);
    test_away(refer, NULL);
    (void)longest_step(1, &steps);
    ck_assert_uint_ge(oaki_weak_cleared(), NODES / 2);
    assert_whole();
}
END_TEST

/* Each step has one pause at most, and takes twice its budget besides. On a busy machine processor
 * time isn't exact. So one of several cycles is to show it; what a step does is bounded in each. */
START_TEST(a_step_takes_twice_its_budget_and_a_pause_at_most)
{
    if (!start() || test_skip_slow()) return;
    uint64_t budget_us = 1000, longest = UINT64_MAX;
    size_t steps = 0;
    oaki_debug_switches.verify = 0;
    for (int i = 0; i < 10 && longest > 2 * budget_us * 1000; i++)
        longest = longest_step(budget_us, &steps);
    printf("gc/collect_step: longest of %zu steps of 1000 us: %llu us\n", steps,
           (unsigned long long)longest / 1000);
    ck_assert_uint_le(longest, 2 * budget_us * 1000);
    /* there would be time for another pause */
    ck_assert_uint_le(longest_step(100000, &steps), 2 * 100000 * 1000);
    assert_whole();
}
END_TEST

/* Their records are examined within the budget. They are removed with the last pause. */
START_TEST(dead_weak_references_lengthen_no_other_step)
{
    if (!start() || test_skip(test_slow(), "200,000 weak references take long here")) return;
    uint64_t budget_us = 1000, longest = UINT64_MAX;
    size_t steps = 0;
    oaki_debug_switches.verify = 0;
    for (int i = 0; i < 10 && longest > 2 * budget_us * 1000; i++) {
        test_away(refer, NULL);
        longest = longest_step(budget_us, &steps);
        ck_assert_uint_ge(oaki_weak_cleared(), NODES / 2);
    }
    ck_assert_uint_le(longest, 2 * budget_us * 1000);
    assert_whole();
}
END_TEST

START_TEST(a_step_without_budget_does_nothing)
{
    if (!start()) return;
    make_due();
    ck_assert(!oak_collect_step(0));
    ck_assert_uint_eq(oaki_phase_now(), OAKI_PHASE_IDLE);
    (void)oak_collect_step(1);
    oaki_phase phase = oaki_phase_now();
    ck_assert_uint_ne(phase, OAKI_PHASE_IDLE);
    ck_assert(oak_collect_step(0));
    ck_assert_uint_eq(oaki_phase_now(), phase);
}
END_TEST

/* The mark goes on; what is dead is decided when collections are allowed again. */
START_TEST(no_step_ends_a_cycle_while_collections_are_disabled)
{
    if (!start()) return;
    make_due();
    while (oaki_phase_now() != OAKI_PHASE_MARK) (void)oak_collect_step(1);
    oak_gc_disable();
    size_t before = cycles();
    for (int i = 0; i < 2000; i++) ck_assert(oak_collect_step(BUDGET_US));
    ck_assert_uint_eq(cycles(), before);
    oak_gc_enable();
    while (cycles() == before) ck_assert(oak_collect_step(BUDGET_US) || cycles() != before);
    assert_whole();
}
END_TEST

START_TEST(without_concurrent_marking_a_step_is_one_pause)
{
    oak_config c = test_config();
    c.concurrent = 0;
    test_heap_start(c);
    w.list = NULL;
    w.n = 0;
    while (w.n < NODES) push();
    size_t before = cycles();
    ck_assert(!oak_collect_step(BUDGET_US)); /* none is due */
    ck_assert_uint_eq(cycles(), before);
    make_due();
    bool more = oak_collect_step(1);
    ck_assert_uint_eq(cycles(), before + 1);
    ck_assert(more);
    while (oak_collect_step(1)) continue;
    ck_assert_uint_eq(oaki_phase_now(), OAKI_PHASE_IDLE);
    ck_assert_uint_eq(cycles(), before + 1);
    assert_whole();
}
END_TEST

/* Disabled, the due cycle doesn't begin; the sweep of the last one ends nevertheless. */
START_TEST(sweeping_ends_while_collections_are_disabled)
{
    oak_config c = test_config();
    c.concurrent = 0;
    test_heap_start(c);
    w.list = NULL;
    w.n = 0;
    while (w.n < NODES) push();
    make_due();
    ck_assert(oak_collect_step(1));
    oak_gc_disable();
    make_due();
    size_t before = cycles();
    for (size_t n = 0; oak_collect_step(1); n++) ck_assert_uint_lt(n, NODES);
    ck_assert_uint_eq(oaki_phase_now(), OAKI_PHASE_IDLE);
    ck_assert_uint_eq(cycles(), before);
    oak_gc_enable();
    assert_whole();
}
END_TEST

static AO_t starts;

static void count(void *ctx)
{
    AO_fetch_and_add1((AO_t *)ctx);
}

/* A stopped collection comes before the mark: the cycle is given up. The hooks that run before a
 * pause have run for both. */
START_TEST(a_stopped_cycle_gives_up_one_in_prepare)
{
    if (!start()) return;
    oaki_debug_switches.twice = 0;
    uint32_t concurrent = test_stats().num_concurrent_gc;
    size_t before = cycles();
    ck_assert_int_eq(oaki_gc_before_pause(count, &starts), 0);
    make_due();
    while (oaki_phase_now() != OAKI_PHASE_PREPARE) (void)oak_collect_step(1);
    ck_assert_uint_eq(AO_load(&starts), 1);
    oak_collect();
    ck_assert_uint_eq(AO_load(&starts), 1);
    ck_assert_uint_eq(cycles(), before + 1);
    ck_assert_int_eq(oaki_gc.mode, OAKI_STOPPED);
    ck_assert_uint_eq(oaki_gc.figures.first_begin, 0);
    ck_assert_uint_eq(test_stats().num_concurrent_gc, concurrent);
    (void)step_through(BUDGET_US, NULL);
    ck_assert_uint_eq(AO_load(&starts), 2);
    ck_assert_uint_eq(test_stats().num_concurrent_gc, concurrent + 1);
    assert_whole();
}
END_TEST

/* The system refuses while pages are being protected. By faults a mark needs no such call. */
START_TEST(a_cycle_whose_tracking_is_refused_is_a_stopped_one)
{
    if (!start()) return;
    size_t before = cycles();
    make_due();
    while (oaki_phase_now() != OAKI_PHASE_PROTECT) (void)oak_collect_step(1);
    test_refuse_ioctl(OAKI_PAGEMAP_SCAN, ENOTTY);
    while (cycles() == before) {
        (void)oak_collect_step(1);
        ck_assert(!oaki_is_marking_concurrently());
    }
    ck_assert_int_eq(oaki_gc.mode, OAKI_STOPPED);
    ck_assert(!oaki_dirty_may());
    assert_whole();
}
END_TEST

/* ---- several drivers ---- */

static AO_t over, stepped; /* steps with a cycle under way */

static void *step_too(void *arg)
{
    while (!AO_load_acquire(&over))
        if (oak_collect_step(BUDGET_US)) AO_fetch_and_add1(&stepped);
    return arg;
}

START_TEST(threads_that_step_at_once_take_turns)
{
    pthread_t ids[3];
    if (!start()) return;
    AO_store(&over, 0);
    for (size_t i = 0; i < OAKI_COUNT(ids); i++)
        ck_assert_int_eq(pthread_create(&ids[i], NULL, step_too, NULL), 0);
    for (int round = 0; round < 3; round++) {
        (void)step_through(BUDGET_US, disturb);
        oak_collect(); /* may end one that is under way */
        assert_whole();
    }
    AO_store_release(&over, 1);
    for (size_t i = 0; i < OAKI_COUNT(ids); i++) test_join(ids[i]);
    ck_assert_uint_gt(AO_load(&stepped), 0);
    test_assert_sound();
}
END_TEST

static void step_in_child(void *arg)
{
    (void)arg;
    ck_assert_uint_eq(oaki_phase_now(), OAKI_PHASE_IDLE);
    (void)step_through(BUDGET_US, NULL);
    assert_whole();
}

START_TEST(a_child_of_a_fork_begins_anew)
{
    if (!start()) return;
    make_due();
    while (oaki_phase_now() != OAKI_PHASE_MARK) (void)oak_collect_step(1);
    test_child(step_in_child, NULL);
    (void)step_through(BUDGET_US, NULL);
    assert_whole();
}
END_TEST

#define DEAD 10

static AO_t ran, depth, deepest;

/* Takes a whole cycle, which finds more of them, through to the end of its sweep. */
static void finalize(void *obj, void *ctx)
{
    size_t before = cycles();
    (void)obj;
    (void)ctx;
    AO_t now = AO_fetch_and_add1_full(&depth) + 1;
    if (now > AO_load(&deepest)) AO_store(&deepest, now);
    make_due();
    while (cycles() == before) (void)oak_collect_step(BUDGET_US);
    /* the other thread begins new cycles */
    for (int i = 0; i < 1000 && oak_collect_step(BUDGET_US); i++) continue;
    (void)AO_fetch_and_sub1_full(&depth);
    (void)AO_fetch_and_add1_full(&ran);
}

static void make_dead(void *arg)
{
    (void)arg;
    for (int i = 0; i < DEAD; i++) (void)oak_finalizer_set(oak_alloc(64), finalize, NULL);
}

/* Where the program asks for them, and on their own thread. None runs inside of another. */
START_TEST(a_step_in_a_finalizer_completes_cycles)
{
    if (!start()) return;
    (void)oak_set_finalizer_thread(_i == 1);
    test_away(make_dead, NULL);
    while (AO_load(&ran) < DEAD - 1) { /* a stale word may keep one */
        (void)step_through(BUDGET_US, NULL);
        if (_i == 0) (void)oak_finalizers_run();
    }
    ck_assert_uint_eq(AO_load(&deepest), 1);
    (void)oak_set_finalizer_thread(false);
    assert_whole();
    test_assert_sound();
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, steps_make_a_whole_cycle);
    tcase_add_test(c, nothing_is_lost_between_two_steps);
    tcase_add_test(c, a_round_ends_though_its_pages_are_written_between_steps);
    tcase_add_test(c, a_step_with_the_least_budget_does_little);
    tcase_add_test(c, a_step_takes_twice_its_budget_and_a_pause_at_most);
    tcase_add_test(c, dead_weak_references_lengthen_no_other_step);
    tcase_add_test(c, a_step_without_budget_does_nothing);
    tcase_add_test(c, no_step_ends_a_cycle_while_collections_are_disabled);
    tcase_add_test(c, a_stopped_cycle_gives_up_one_in_prepare);
    tcase_add_test(c, threads_that_step_at_once_take_turns);
    tcase_add_test(c, a_child_of_a_fork_begins_anew);
    tcase_add_loop_test(c, a_step_in_a_finalizer_completes_cycles, 0, 2);
    return c;
}

Suite *suite_gc_collect_step(void)
{
    Suite *s = suite_create("gc_collect_step");
    TCase *c = tcase_create("stopped");
    tcase_add_test(c, without_concurrent_marking_a_step_is_one_pause);
    tcase_add_test(c, sweeping_ends_while_collections_are_disabled);
    suite_add_tcase(s, c);
    c = tests("userfaultfd", test_by_userfaultfd);
    tcase_add_test(c, a_cycle_whose_tracking_is_refused_is_a_stopped_one);
    suite_add_tcase(s, c);
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}

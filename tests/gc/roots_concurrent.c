/* roots_concurrent - tests of gc/concurrent/roots.c: what no stack and no global leads to is marked
 * while the program runs, not in the last stop. */
#include "gc/concurrent/concurrent.h"

#include "gc/host.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/tracked.h"
#include "tests/witness.h"
#include <check.h>
#include <oakum/gc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

Suite *suite_gc_roots_concurrent(void);

enum { WITNESSES = 20000, PAIRS = 2000, FIBERS = 100 };

#define FIBER_STACK ((size_t)32768)
#define RANGE_PIECE ((size_t)16 << 10) /* as roots_concurrent.c reads it */
#define RANGE_PIECES ((size_t)40)

static const oak_type *words;
static void **table; /* not scanned: what is in it is kept alive in another way */

static test_witness *list_of(size_t n, size_t number)
{
    test_witness *list = NULL;
    while (n-- > 0) list = test_witness_new(list, number);
    return list;
}

/* ---- ways to keep them ---- */

static void by_pairs(void *arg)
{
    void **keys = arg;
    for (size_t i = 0; i < PAIRS; i++) {
        keys[2 * i] = oak_alloc(16);
        keys[2 * i + 1] = oak_ephemeron_new(keys[2 * i], list_of(WITNESSES / PAIRS, i));
    }
}

/* Each leads to the next key: as many passes are made as pay. */
static void by_chained_pairs(void *arg)
{
    void **keys = arg, *key = keys[0] = oak_alloc(16);
    for (size_t i = 0; i < 4; i++) {
        void **next = oak_alloc(2 * sizeof *next);
        next[0] = list_of(WITNESSES / 4, i);
        keys[i + 1] = oak_ephemeron_new(key, next);
        key = next[1] = oak_alloc(16);
    }
}

static void by_holding(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < PAIRS; i++) {
        test_witness **held = oak_alloc_typed(words, 2);
        held[0] = list_of(WITNESSES / PAIRS, i);
        ck_assert_int_eq(oaki_hold(held), 0);
    }
}

static void by_pinning(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < PAIRS; i++) {
        test_witness **pinned = oak_alloc_pinned(sizeof *pinned);
        *pinned = list_of(WITNESSES / PAIRS, i);
    }
}

static void by_a_range(void *arg)
{
    (void)arg;
    table = malloc(WITNESSES * 4 * sizeof *table); /* large enough to be read beside the program */
    memset(table, 0, WITNESSES * 4 * sizeof *table);
    ck_assert_int_eq(oak_root_add(table, WITNESSES * 4 * sizeof *table), 0);
    for (size_t i = 0; i < WITNESSES; i++) table[4 * i] = test_witness_new(NULL, i);
}

/* Only words that would be cut in two if pieces began where the range does. */
static void by_an_odd_range(void *arg)
{
    (void)arg;
    char *room = calloc(RANGE_PIECES + 2, RANGE_PIECE);
    ck_assert_int_eq(oak_root_add(room + 4, (RANGE_PIECES + 1) * RANGE_PIECE), 0);
    for (size_t i = 1; i <= RANGE_PIECES; i++) {
        test_witness **word = (test_witness **)(void *)(room + i * RANGE_PIECE);
        *word = list_of(WITNESSES / RANGE_PIECES, i);
    }
}

/* The first page of the piece in which they are can't be read. */
static void by_a_range_with_a_hole(void *arg)
{
    (void)arg;
    size_t size = RANGE_PIECES * RANGE_PIECE;
    char *room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *hole = room + RANGE_PIECE;
    ck_assert_ptr_ne(room, MAP_FAILED);
    ck_assert_int_eq(oak_root_exclude(hole, 4096), 0);
    ck_assert_int_eq(mprotect(hole, 4096, PROT_NONE), 0);
    ck_assert_int_eq(oak_root_add(room, size), 0);
    *(test_witness **)(void *)(hole + 4096) = list_of(WITNESSES, 0);
}

/* By parked ones, for which the world stands. */
static void by_fibers(void *arg)
{
    void **fibers = arg;
    for (size_t i = 0; i < FIBERS; i++) {
        test_witness *list = list_of(WITNESSES / FIBERS, i);
        fibers[i] = oak_fiber_new(calloc(1, FIBER_STACK), FIBER_STACK, list);
    }
}

static void (*const ways[])(void *arg) = {
    by_pairs,   by_chained_pairs, by_holding,             by_pinning,
    by_a_range, by_an_odd_range,  by_a_range_with_a_hole, by_fibers,
};

/* false: nothing tells of written pages here. */
static bool start(size_t minors)
{
    static const uint64_t one[] = { 1 };
    oak_config c = test_config_beside(test_tracking);
    c.gc_threads = 1;
    c.generations = minors > 0;
    if (!test_heap_tracked(c, minors)) return false;
    oaki_debug_switches.beside = 1;
    test_witness_start();
    words = oak_type_bitmap("words", sizeof(void *), one);
    return true;
}

/* So many calls in so many cycles, most of them while the program ran. A cycle may mark between two
 * turns of the loop, so the turns of stopped collections are left out, and no other is. */
static void check_cycles(unsigned n, size_t least)
{
    size_t running = AO_load(&test_witness_running), stopped = AO_load(&test_witness_stopped);
    while (n > 0) {
        size_t ran = AO_load(&test_witness_running), stood = AO_load(&test_witness_stopped);
        if (test_cycle_beside()) {
            n--;
            continue;
        }
        running += AO_load(&test_witness_running) - ran;
        stopped += AO_load(&test_witness_stopped) - stood;
    }
    running = AO_load(&test_witness_running) - running;
    stopped = AO_load(&test_witness_stopped) - stopped;
    ck_assert_uint_ge(running + stopped, least);
    ck_assert_uint_gt(running, stopped);
}

START_TEST(what_hangs_on_it_is_marked_while_the_program_runs)
{
    if (!start(0)) return;
    void **keys = oak_alloc(2 * PAIRS * sizeof *keys);
    test_build(ways[_i], keys);
    for (int i = 0; i < 2; i++) (void)test_cycle_beside();
    check_cycles(3, 2 * WITNESSES);
    OAKI_HOLD(keys);
}
END_TEST

static void new_values(void *arg)
{
    void **keys = arg;
    for (size_t i = 0; i < PAIRS; i++)
        oak_ephemeron_set(keys[2 * i + 1], list_of(WITNESSES / PAIRS, i));
}

START_TEST(of_a_minor_cycle_too)
{
    if (!start(1000)) return;
    void **keys = oak_alloc(2 * PAIRS * sizeof *keys);
    test_build(by_pairs, keys);
    for (int i = 0; i < 3; i++) (void)test_cycle_beside();
    test_await_idle(); /* the last request may have come after its end */
    oak_gc_disable();
    test_build(new_values, keys);
    oak_gc_enable();
    ck_assert(!oaki_is_marking());
    ck_assert(AO_load(&oaki_the_heap.sticky)); /* the next one is minor */
    check_cycles(1, WITNESSES / 2);
    OAKI_HOLD(keys);
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_loop_test(c, what_hangs_on_it_is_marked_while_the_program_runs, 0,
                        (int)OAKI_COUNT(ways));
    if (setup != test_by_faults) tcase_add_test(c, of_a_minor_cycle_too); /* none is */
    return c;
}

Suite *suite_gc_roots_concurrent(void)
{
    Suite *s = suite_create("gc_roots_concurrent");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}

/* early.c - tests of gc/early.c: what no stack and no global leads to is marked while the program
 * runs, not in the last stop. */
#include "gc/beside.h"

#include "gc/host.h"
#include "runtime/thread.h"
#include "runtime/type.h"
#include "tests/heap.h"
#include <check.h>
#include <oakum/gc.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_early(void);

enum { WITNESSES = 20000, PAIRS = 2000 };

static AO_t while_it_runs, in_a_stop; /* calls of the mark function */

typedef struct witness {
    struct witness *next;
    uintptr_t number;
} witness;

static void mark_witness(oak_marker *m, void *obj, size_t size)
{
    (void)size;
    (void)AO_fetch_and_add1(oaki_world_stopped() ? &in_a_stop : &while_it_runs);
    oak_mark_ptr(m, ((witness *)obj)->next);
}

static const oak_type *type, *words;
static void **table; /* not scanned: what is in it is kept alive in another way */

static witness *new_witness(witness *next, size_t number)
{
    witness *x = oak_alloc_typed(type, 1);
    x->next = next;
    x->number = number;
    return x;
}

/* ---- ways to keep them ---- */

static void by_pairs(void *arg)
{
    void **keys = arg;
    for (size_t i = 0; i < PAIRS; i++) {
        witness *list = NULL;
        for (size_t k = 0; k < WITNESSES / PAIRS; k++) list = new_witness(list, i);
        keys[2 * i] = oak_alloc(16);
        keys[2 * i + 1] = oak_ephemeron_new(keys[2 * i], list);
    }
}

/* Each leads to the next key: as many passes are made as pay. */
static void by_chained_pairs(void *arg)
{
    void **keys = arg, *key = keys[0] = oak_alloc(16);
    for (size_t i = 0; i < 4; i++) {
        void **next = oak_alloc(2 * sizeof *next);
        witness *list = NULL;
        for (size_t k = 0; k < WITNESSES / 4; k++) list = new_witness(list, i);
        next[0] = list;
        keys[i + 1] = oak_ephemeron_new(key, next);
        key = next[1] = oak_alloc(16);
    }
}

static void by_holding(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < PAIRS; i++) {
        witness *list = NULL, **held = oak_alloc_typed(words, 2);
        for (size_t k = 0; k < WITNESSES / PAIRS; k++) list = new_witness(list, i);
        held[0] = list;
        ck_assert_int_eq(oaki_hold(held), 0);
    }
}

static void by_pinning(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < PAIRS; i++) {
        witness *list = NULL, **pinned = oak_alloc_pinned(sizeof *pinned);
        for (size_t k = 0; k < WITNESSES / PAIRS; k++) list = new_witness(list, i);
        *pinned = list;
    }
}

static void by_a_range(void *arg)
{
    (void)arg;
    table = malloc(WITNESSES * 4 * sizeof *table); /* large enough to be read beside the program */
    memset(table, 0, WITNESSES * 4 * sizeof *table);
    ck_assert_int_eq(oak_root_add(table, WITNESSES * 4 * sizeof *table), 0);
    for (size_t i = 0; i < WITNESSES; i++) table[4 * i] = new_witness(NULL, i);
}

static void (*const ways[])(void *arg) = { by_pairs, by_chained_pairs, by_holding, by_pinning,
                                           by_a_range };

START_TEST(what_hangs_on_it_is_marked_while_the_program_runs)
{
    static const uint64_t one[] = { 1 };
    oak_config c = test_config_beside(OAK_TRACKING_USERFAULTFD);
    c.gc_threads = 1;
    if (!test_heap_tracked(c, 0)) return;
    oaki_debug_switches.beside = 1;
    oaki_debug_switches.verify = 0; /* it would call the function, too */
    type = oak_type_function("witness", sizeof(witness), mark_witness);
    oaki_type_anytime(type);
    words = oak_type_bitmap("words", sizeof(void *), one);
    void **keys = oak_alloc(2 * PAIRS * sizeof *keys);
    test_build(ways[_i], keys);
    uint32_t before = test_stats().num_gc;
    while (test_stats().num_gc < before + 2) test_ask_or_collect();
    AO_store(&while_it_runs, 0);
    AO_store(&in_a_stop, 0);
    before = test_stats().num_gc;
    while (test_stats().num_gc < before + 3) test_ask_or_collect();
    size_t running = AO_load(&while_it_runs), stopped = AO_load(&in_a_stop);
    ck_assert_uint_ge(running + stopped, 2 * WITNESSES);
    ck_assert_uint_gt(running, stopped);
    OAKI_HOLD(keys);
}
END_TEST

Suite *suite_gc_early(void)
{
    Suite *s = suite_create("gc_early");
    TCase *c = tcase_create("early");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, what_hangs_on_it_is_marked_while_the_program_runs, 0,
                        (int)OAKI_COUNT(ways));
    suite_add_tcase(s, c);
    return s;
}

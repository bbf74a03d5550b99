/* assist.c - who else works on a mark beside the program: markers that help in the last stop, and
 * threads that allocate faster than it gets on. */
#include "gc/beside.h"

#include "runtime/os.h"
#include "runtime/written.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <string.h>

Suite *suite_gc_assist(void);

#define SEAL 0x5ea1ed00c0ffee11u
#define THINGS 300000u /* so many that markers are called for in the stop that ends the mark */

static oak_tracking tracking; /* of the test case */

typedef struct thing {
    uint64_t seal, id;
    struct thing *more[2];
} thing;

static thing *new_thing(uint64_t id)
{
    thing *x = oak_alloc(sizeof *x);
    *x = (thing){ .seal = SEAL, .id = id };
    return x;
}

/* Each hangs on the table alone, or on one that does. */
static thing **new_table(void)
{
    thing **table = oak_alloc(THINGS * sizeof *table);
    for (size_t i = 0; i < THINGS; i++) {
        table[i] = new_thing(i);
        table[i]->more[0] = new_thing(i + 1);
    }
    return table;
}

static size_t lost(thing **table)
{
    size_t n = 0;
    for (size_t i = 0; i < THINGS; i++)
        n += table[i]->seal != SEAL || table[i]->id != i || table[i]->more[0]->seal != SEAL ||
             table[i]->more[0]->id != i + 1;
    return n;
}

/* false: this system can't. */
static bool start(int markers)
{
    oak_config c = test_config();
    c.concurrent = c.background_sweep = 1;
    c.tracking = tracking;
    c.gc_threads = markers;
    bool can = test_heap_tracked(c, 0);
    oaki_debug_switches.beside = 1;
    return can;
}

static void wait_for_mark(void)
{
    while (oaki_beside_state() == OAKI_BESIDE_MARKING) oaki_os_yield();
    do {
        bool asked = test_ask_beside();
        ck_assert(asked || tracking == OAK_TRACKING_FAULTS);
        oaki_os_yield();
    } while (oaki_beside_state() != OAKI_BESIDE_MARKING);
}

/* The number of processors that the process may use may change, and a thread that could not be had
 * when the mark began may be had when it ends. */
START_TEST(a_marker_that_comes_in_the_middle)
{
    if (!start(1)) return;
    thing **table = new_table();
    for (int round = 2; round < 6; round++) {
        wait_for_mark();
        oaki_the_heap.config.gc_threads = round;
        oak_collect();
        ck_assert_uint_eq(lost(table), 0);
    }
}
END_TEST

/* What is built during the mark is in memory that the heap did not have when it began. */
START_TEST(markers_know_what_the_heap_has_grown_by)
{
    if (!start(4)) return;
    for (int round = 0; round < 3; round++) {
        wait_for_mark();
        thing **table = new_table();
        oak_collect();
        ck_assert_uint_eq(lost(table), 0);
    }
}
END_TEST

/* ---- outrunning it ---- */

#define LIVE ((size_t)72 << 20)
#define PIECE ((size_t)1 << 20)
#define PIECES 600 /* by each of the threads */
#define THREADS 4

static AO_t most;

/* Nobody touches them, so that this is much faster than any marker. */
static void *allocate(void *arg)
{
    for (size_t i = 0; i < test_scale(PIECES); i++) {
        (void)!oak_alloc_noscan(PIECE);
        AO_t now = AO_load(&oaki_the_heap.live);
        for (AO_t seen = AO_load(&most); now > seen; seen = AO_load(&most))
            if (AO_compare_and_swap_full(&most, seen, now)) break;
    }
    return arg;
}

START_TEST(threads_that_outrun_it_wait)
{
    pthread_t id[THREADS];
    oak_config c = test_config();
    c.concurrent = c.background_sweep = 1;
    c.tracking = tracking;
    c.gc_percent = 100;
    test_heap_start(c);
    if (!oaki_written_start()) return;
    thing *first = NULL;
    for (size_t i = 0; i < LIVE / sizeof(thing); i++) {
        thing *x = new_thing(i);
        x->more[0] = first;
        first = x;
    }
    oak_collect();
    for (int i = 0; i < THREADS; i++) id[i] = test_start(allocate, NULL);
    for (int i = 0; i < THREADS; i++) test_join(id[i]);
    ck_assert_uint_gt(AO_load(&most), LIVE);
    ck_assert_uint_le(AO_load(&most), 5 * LIVE);
    for (size_t i = LIVE / sizeof(thing); i-- > 0; first = first->more[0])
        ck_assert_uint_eq(first->id, i);
}
END_TEST

static void by_userfaultfd(void)
{
    tracking = OAK_TRACKING_USERFAULTFD;
}

static void by_faults(void)
{
    tracking = OAK_TRACKING_FAULTS;
}

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, a_marker_that_comes_in_the_middle);
    tcase_add_test(t, markers_know_what_the_heap_has_grown_by);
    tcase_add_test(t, threads_that_outrun_it_wait);
    return t;
}

Suite *suite_gc_assist(void)
{
    Suite *s = suite_create("gc_assist");
    suite_add_tcase(s, tests("userfaultfd", by_userfaultfd));
    suite_add_tcase(s, tests("faults", by_faults));
    return s;
}

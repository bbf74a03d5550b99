/* worktime.c - tests of gc/worktime.c: the plan judges a mark by the time that words take, and not
 * by that of workers who wait, nor by bytes that are no heap's. */
#include "gc/collector.h"
#include "gc/gc.h"
#include "gc/tuning.h"
#include "tests/heap.h"

#include <check.h>

Suite *suite_gc_worktime(void);

#define NODES 1200000u /* words enough that the plan learns from them */
#define TRIES 40

typedef struct node {
    struct node *next;
    uintptr_t number[3];
} node;

static node *list;

/* Only one worker at a time can mark a list. */
static void make_list(void)
{
    for (uintptr_t i = 0; i < NODES; i++) {
        node *n = oak_alloc(sizeof *n);
        ck_assert_ptr_nonnull(n);
        *n = (node){ .next = list };
        list = n;
    }
}

static void start(int markers)
{
    oak_config c = test_config();
    c.gc_threads = markers;
    test_heap_start(c);
    test_only_root(&list, sizeof list);
    make_list();
}

static double cost(void)
{
    return oaki_gc.plan.rate[OAKI_STOPPED].last * (double)oaki_gc.figures.words;
}

/* A helper may come late, or find work at once: so some tries. */
START_TEST(waiting_for_work_is_not_its_cost)
{
    start(8);
    size_t waited = 0, joined = 0;
    for (int i = 0; i < TRIES; i++) {
        oak_collect();
        size_t now = AO_load(&oaki_gc.worktime.waited);
        double all = (double)oaki_gc.figures.cpu;
        ck_assert_uint_ge(oaki_gc.figures.words, OAKI_TUNE_MEANINGFUL_WORDS);
        ck_assert_msg(cost() + (double)now <= all * 1.001,
                      "a mark of %.0f ns cost %.0f, and workers waited for %zu", all, cost(), now);
        waited += now;
        joined += AO_load(&oaki_gc.plan.joined) > 1;
    }
    if (joined > 2) ck_assert_uint_gt(waited, 0);
}
END_TEST

/* Alone nobody waits, and a share counts only where it may allow helpers again. */
START_TEST(a_lone_marker_waits_for_nobody)
{
    start(1);
    oak_collect();
    ck_assert_uint_eq(AO_load(&oaki_gc.worktime.waited), 0);
    ck_assert_uint_eq(AO_load(&oaki_gc.worktime.present), 0);
    oaki_gc.plan.workers_most = 1;
    oak_collect();
    ck_assert_uint_gt(AO_load(&oaki_gc.worktime.present), 0);
    ck_assert_uint_le(AO_load(&oaki_gc.worktime.present),
                      oaki_gc.figures.end - oaki_gc.figures.begin);
}
END_TEST

START_TEST(bytes_marked_are_the_heaps)
{
    start(1);
    ck_assert_int_eq(oak_external_add(list, (ptrdiff_t)1 << 30), 0);
    oak_collect();
    size_t marked = oaki_gc.figures.marked;
    ck_assert_uint_ge(marked, NODES * sizeof *list);
    ck_assert_uint_lt(marked, 2 * NODES * sizeof *list);
    double bytes = oaki_gc.plan.bytes_ms[OAKI_STOPPED] * cost() / 1e6;
    ck_assert_double_ge(bytes, (double)marked * 0.999);
    ck_assert_double_le(bytes, (double)marked * 1.001);
    ck_assert_int_eq(oak_external_add(list, -((ptrdiff_t)1 << 30)), 0);
}
END_TEST

Suite *suite_gc_worktime(void)
{
    Suite *s = suite_create("gc/worktime");
    TCase *c = tcase_create("worktime");
    tcase_add_test(c, waiting_for_work_is_not_its_cost);
    tcase_add_test(c, a_lone_marker_waits_for_nobody);
    tcase_add_test(c, bytes_marked_are_the_heaps);
    suite_add_tcase(s, c);
    return s;
}

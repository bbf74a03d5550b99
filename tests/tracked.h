/* tracked.h - fixtures of test cases that run once for each way to be told of written pages. */
#ifndef TESTS_TRACKED_H
#define TESTS_TRACKED_H

#include "runtime/dirty.h"
#include "heap.h"

#include <check.h>
#include <oakum/oakum.h>

static oak_tracking test_tracking; /* of the test case */

static void test_by_userfaultfd(void)
{
    test_tracking = OAK_TRACKING_USERFAULTFD;
}

static void test_by_faults(void)
{
    test_tracking = OAK_TRACKING_FAULTS;
}

/* A whole one. false: it was in a stop, as there was no other. */
OAKI_UNUSED static bool test_cycle_beside(void)
{
    uint32_t before = test_stats().num_gc;
    while (test_stats().num_gc == before)
        if (!test_ask_beside()) {
            ck_assert(oaki_dirty_denies());
            oak_collect();
            return false;
        }
    return true;
}

#endif

/* tracked.h - fixtures of test cases that run once for each way to be told of written pages. */
#ifndef TESTS_TRACKED_H
#define TESTS_TRACKED_H

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

#endif

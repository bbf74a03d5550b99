/* large.h - static data of one suite's own that is large enough to be felt as roots: collections in
 * the processes of other suites, where it is all zero, don't read it. */
#ifndef TESTS_LARGE_H
#define TESTS_LARGE_H

#include <stddef.h>

/* Behind the definition of object, at file level. */
#define TEST_LARGE(suite, object) \
    __attribute__((constructor)) static void large_##object(void) \
    { \
        test_large(#suite, &(object), sizeof(object)); \
    }

void test_large(const char *suite, void *p, size_t n);

/* Once the heap is there: takes that of the others from the roots. */
void test_large_exclude(void);

#endif

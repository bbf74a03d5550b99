/* large.c - static data that only one suite uses (large.h). Noted by constructors, before there is
 * a second thread; then read only. */
#include "tests/large.h"

#include "tests/workers.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64

static struct {
    const char *suite;
    void *p;
    size_t n;
} large[MOST];
static size_t count;

void test_large(const char *suite, void *p, size_t n)
{
    if (count == MOST) abort();
    large[count].suite = suite;
    large[count].p = p;
    large[count++].n = n;
}

void test_large_exclude(void)
{
    for (size_t i = 0; i < count; i++)
        if (test_running && strcmp(large[i].suite, test_running) != 0)
            ck_assert_int_eq(oak_root_exclude(large[i].p, large[i].n), 0);
}

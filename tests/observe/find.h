/* find.h - the figures of a function in a heap profile, for tests. */
#ifndef TESTS_OBSERVE_FIND_H
#define TESTS_OBSERVE_FIND_H

#include <oakum/oakum.h>

typedef struct test_site {
    size_t sites; /* that were added up */
    int64_t inuse_bytes, inuse_objects, alloc_bytes, alloc_objects;
} test_site;

/* The sum over all sites of p that have the function among their frames, or over all for NULL. */
test_site test_sum_in(const oak_profile *p, const char *function);

/* Of a reading with these flags. */
test_site test_sum(const char *function, unsigned flags);

/* The same without flags, of sites whose innermost function it is; there is just one. */
test_site test_site_of(const char *function);

/* Is this the innermost function? Calls of oak_alloc go through a wrapper in this program. */
bool test_is_top(const oak_profile_site *s, const char *function);

#endif

/* capture.h - run a piece of a test in a forked child and look at what it wrote to stderr and how
 * it ended. */
#ifndef TESTS_CAPTURE_H
#define TESTS_CAPTURE_H

#include <stddef.h>

/* Runs fn(arg) in a child; what it writes to stderr goes to out, with a NUL. Returns waitpid's
 * status: 0 when fn returned. */
int test_capture(void (*fn)(void *arg), void *arg, char *out, size_t n);

#endif

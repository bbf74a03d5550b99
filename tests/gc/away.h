/* away.h - run a piece of a test on a thread of its own, which ends: its stack and registers leave
 * no pointers behind, so that what the piece dropped can be collected for certain. */
#ifndef TESTS_AWAY_H
#define TESTS_AWAY_H

#include <stddef.h>

void test_away(void (*fn)(void *arg), void *arg);

/* The same without collections meanwhile, which stress mode would make: for pieces that build
 * something and hold it loosely, or whose counts matter. */
void test_build(void (*fn)(void *arg), void *arg);

/* oak_finalizers_run, away. */
size_t test_run_finalizers(void);

/* Start Oakum for a test: without a finalizer thread unless asked for, collecting only when told.
 */
void test_start(int finalizer_thread);

#endif

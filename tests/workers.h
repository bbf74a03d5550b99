/* workers.h - runs suites of Check's in processes of their own, several at once. */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *name;
    Suite *(*make)(void);
} test_suite;

/* The suite that this process runs; NULL: more than one. */
extern const char *test_running;

/* How many suites run at once: OAKUM_TEST_JOBS, or as many as this process has processors. One,
 * where Check shall not fork, or writes a file of all tests. */
size_t test_jobs(void);

/* Runs the n suites. Prints what each has printed, once it has ended, then Check's closing line for
 * all of them together. true: no check failed, and each suite came to its end. */
bool test_run_suites(const test_suite *suite, size_t n, size_t jobs);

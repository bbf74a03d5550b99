/* run.h - run a command, or a piece of a test, in a child and look at all that it wrote. */
#ifndef TESTS_CMD_RUN_H
#define TESTS_CMD_RUN_H

#include <stdbool.h>
#include <stddef.h>

typedef struct test_run {
    char *out, *err; /* with a NUL; of the last run, until the next */
    int status;      /* what it exited with; -1 when a signal ended it */
} test_run;

/* main_fn(argc, argv) with its stdout and stderr in files. argv ends in NULL. */
void test_run_function(test_run *r, int (*main_fn)(int argc, char **argv), char *const *argv);

/* `oakum leaks` with up to three arguments and the scenarios of runner.c, as a function. */
void test_run_leaks(test_run *r, const char *const args[3]);

/* The built oakum command, OAKUM_BIN or the one of the build, with these arguments. */
void test_run_oakum(test_run *r, char *const *args);

/* NULL when text is one JSON value (RFC 8259) and nothing else; otherwise where it stops being
 * one. */
const char *test_json_error(const char *text);

/* How often `part` occurs in text. */
size_t test_count(const char *text, const char *part);

#endif

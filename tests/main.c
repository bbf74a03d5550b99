/* main.c - runs the suites of suites.h, or of the list SUITES, with Check: check_oakum [SUITE...]
 *
 * A suite is named layer_concept (runtime_lock); without arguments all run. Check forks for each
 * test, so that a crash is one failure. Its variables work: CK_RUN_CASE, CK_FORK=no under a
 * debugger, CK_VERBOSITY. A test may take minutes when it collects at every allocation, so the
 * time limit is there only to end a hang. */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SUITES
#define SUITES "suites.h"
#endif

#define X(name) Suite *suite_##name(void);
#include SUITES
#undef X

static const struct {
    const char *name;
    Suite *(*make)(void);
} suites[] = {
#define X(name) { #name, suite_##name },
#include SUITES
#undef X
};

#define COUNT (sizeof(suites) / sizeof(suites[0]))

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return true;
    return argc == 1;
}

static bool known(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(suites[i].name, name) == 0) return true;
    return false;
}

static int usage(const char *unknown)
{
    fprintf(stderr, "check_oakum: no suite %s; there are:\n", unknown);
    for (size_t i = 0; i < COUNT; i++) fprintf(stderr, "    %s\n", suites[i].name);
    return 2;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!known(argv[i])) return usage(argv[i]);
    setenv("CK_DEFAULT_TIMEOUT", "120", 0);
    SRunner *runner = srunner_create(NULL);
    for (size_t i = 0; i < COUNT; i++)
        if (wanted(suites[i].name, argc, argv)) srunner_add_suite(runner, suites[i].make());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* main.c - runs the suites of suites.h, or of the list SUITES, with Check: check_oakum [SUITE...]
 *
 * A suite is named layer_concept (runtime_lock); without arguments all run, as many at once as
 * there are processors (OAKUM_TEST_JOBS). Check forks for each test, so that a crash is one
 * failure. Its variables work: CK_RUN_CASE, CK_FORK=no under a debugger, CK_VERBOSITY.
 *
 * A test's limits only end a hang. A loop is ended by its processor time, which a busy machine
 * doesn't change; one that waits for ever, by a time that no load makes it reach.
 * CK_TIMEOUT_MULTIPLIER is for what runs slower, as under Valgrind. */
#include "tests/workers.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#ifndef SUITES
#define SUITES "suites.h"
#endif

#define X(name) Suite *suite_##name(void);
#include SUITES
#undef X

#define CPU_SECONDS 300 /* of one test's process */
#define BUSY 10         /* how much longer than Check's limits a test may take beside others */

static const test_suite suites[] = {
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

static void set_limits(void)
{
    const char *given = getenv("CK_TIMEOUT_MULTIPLIER");
    double slower = given && atof(given) > 0 ? atof(given) : 1;
    char multiplier[32];
    struct rlimit cpu;
    snprintf(multiplier, sizeof multiplier, "%g", slower * BUSY);
    setenv("CK_TIMEOUT_MULTIPLIER", multiplier, 1);
    setenv("CK_DEFAULT_TIMEOUT", "120", 0);
    if (getrlimit(RLIMIT_CPU, &cpu) != 0) return;
    rlim_t most = (rlim_t)(CPU_SECONDS * slower);
    if (cpu.rlim_cur > most) cpu.rlim_cur = most;
    setrlimit(RLIMIT_CPU, &cpu);
}

/* All in one process, with Check's own lines. */
static bool run_here(const test_suite *suite, size_t n)
{
    SRunner *runner = srunner_create(NULL);
    if (n == 1) test_running = suite[0].name;
    for (size_t i = 0; i < n; i++) srunner_add_suite(runner, suite[i].make());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0;
}

int main(int argc, char **argv)
{
    test_suite chosen[COUNT];
    size_t n = 0;
    for (int i = 1; i < argc; i++)
        if (!known(argv[i])) return usage(argv[i]);
    for (size_t i = 0; i < COUNT; i++)
        if (wanted(suites[i].name, argc, argv)) chosen[n++] = suites[i];
    set_limits();
    size_t jobs = test_jobs();
    bool fine = n == 1 || jobs == 1 ? run_here(chosen, n) : test_run_suites(chosen, n, jobs);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}

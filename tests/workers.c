/* workers.c - runs suites of Check's in processes of their own, several at once.
 *
 * A worker is a process that runs one suite and ends. What it prints goes to a file without a name;
 * its counts lie in memory that it shares with the parent, which has one thread and reads them when
 * the worker has ended. */
#include "tests/workers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_JOBS 64

typedef struct {
    int checks, failures, errors;
    bool done;
} counts;

typedef struct {
    pid_t pid; /* 0: none */
    size_t suite;
    FILE *out;
} worker;

static struct {
    const test_suite *suite;
    counts *counts; /* of each suite */
    worker worker[MOST_JOBS];
    size_t jobs;
} all;

const char *test_running;

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value != '\0';
}

size_t test_jobs(void)
{
    const char *fork = getenv("CK_FORK"), *jobs = getenv("OAKUM_TEST_JOBS");
    cpu_set_t set;
    size_t n = 1;
    if ((fork && strcmp(fork, "no") == 0) || is_set("CK_LOG_FILE_NAME") ||
        is_set("CK_XML_LOG_FILE_NAME") || is_set("CK_TAP_LOG_FILE_NAME"))
        return 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = (size_t)CPU_COUNT(&set);
    if (jobs && atoi(jobs) > 0) n = (size_t)atoi(jobs);
    return n < MOST_JOBS ? n : MOST_JOBS;
}

/* ---- in a worker ---- */

static void run_suite(size_t i)
{
    counts *c = &all.counts[i];
    test_running = all.suite[i].name;
    SRunner *runner = srunner_create(all.suite[i].make());
    srunner_run_all(runner, CK_SILENT);
    srunner_print(runner, CK_ENV);
    c->checks = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    TestResult **result = srunner_failures(runner);
    for (int k = 0; k < failed; k++) {
        if (tr_rtype(result[k]) == CK_ERROR) c->errors++;
        else c->failures++;
    }
    free(result);
    srunner_free(runner);
    c->done = true;
}

static void start(worker *w, size_t i)
{
    pid_t parent = getpid();
    fflush(stdout);
    *w = (worker){ .suite = i, .out = tmpfile() };
    w->pid = w->out ? fork() : -1;
    if (w->pid < 0) {
        perror("check_oakum: no worker");
        exit(EXIT_FAILURE);
    }
    if (w->pid > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(EXIT_FAILURE);
    dup2(fileno(w->out), STDOUT_FILENO);
    dup2(fileno(w->out), STDERR_FILENO);
    fclose(w->out);
    run_suite(i);
    exit(EXIT_SUCCESS);
}

/* ---- in the parent ---- */

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static bool is_closing_line(const char *line)
{
    return line[strspn(line, "0123456789")] == '%' && strstr(line, "%: Checks: ");
}

/* All but Check's closing line, which there is one of, in the end. */
static void print_file(FILE *f)
{
    char *line = NULL;
    size_t room = 0;
    rewind(f);
    for (ssize_t n; (n = getline(&line, &room, f)) > 0;)
        if (!is_closing_line(line)) fwrite(line, 1, (size_t)n, stdout);
    free(line);
}

static void finish(worker *w, int status, const struct rusage *used)
{
    counts *c = &all.counts[w->suite];
    const char *name = all.suite[w->suite].name;
    print_file(w->out);
    fclose(w->out);
    w->pid = 0;
    if (!c->done || status != 0) {
        printf("check_oakum: %s: its worker ended with status %x\n", name, (unsigned)status);
        c->errors++;
        c->checks++;
    }
    printf("%s: %s: %d checks, %.1f s\n", c->failures + c->errors ? "FAIL" : "PASS", name,
           c->checks, seconds(used->ru_utime) + seconds(used->ru_stime));
    fflush(stdout);
}

static void await_one(void)
{
    int status;
    struct rusage used;
    pid_t pid = wait4(-1, &status, 0, &used);
    if (pid < 0 && errno != EINTR) {
        perror("check_oakum: no worker to wait for");
        exit(EXIT_FAILURE);
    }
    for (size_t k = 0; pid > 0 && k < all.jobs; k++)
        if (all.worker[k].pid == pid) finish(&all.worker[k], status, &used);
}

static worker *idle_worker(void)
{
    for (;;) {
        for (size_t k = 0; k < all.jobs; k++)
            if (all.worker[k].pid == 0) return &all.worker[k];
        await_one();
    }
}

static bool any_works(void)
{
    for (size_t k = 0; k < all.jobs; k++)
        if (all.worker[k].pid != 0) return true;
    return false;
}

static bool print_sum(size_t n)
{
    counts sum = { 0 };
    for (size_t i = 0; i < n; i++) {
        sum.checks += all.counts[i].checks;
        sum.failures += all.counts[i].failures;
        sum.errors += all.counts[i].errors;
    }
    int bad = sum.failures + sum.errors;
    int percent = sum.checks > 0 ? (int)(100L * (sum.checks - bad) / sum.checks) : 0;
    printf("%d%%: Checks: %d, Failures: %d, Errors: %d\n", percent, sum.checks, sum.failures,
           sum.errors);
    return bad == 0;
}

bool test_run_suites(const test_suite *suite, size_t n, size_t jobs)
{
    all.suite = suite;
    all.jobs = jobs;
    all.counts = mmap(NULL, n * sizeof *all.counts, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all.counts == MAP_FAILED) {
        perror("check_oakum: no memory");
        return false;
    }
    for (size_t i = 0; i < n; i++) start(idle_worker(), i);
    while (any_works()) await_one();
    return print_sum(n);
}

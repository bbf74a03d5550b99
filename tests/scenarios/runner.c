/* runner.c - runs a scenario in a child process and collects its rows.
 *
 * A child that crashes, exits early or runs past its limit costs one failing row; rows that it
 * had sent stay. The parent never starts Oakum, so that each child starts it afresh. */
#include "results.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- rows ---- */

bool scn_result_ok(const scn_result *r)
{
    if (r->failure[0] != '\0') return false;
    if (r->skipped[0] != '\0') return true;
    for (unsigned i = 0; i < r->expectation_count; i++)
        if (!r->expectations[i].ok) return false;
    return r->expectation_count != 0;
}

scn_result *scn_results_add(scn_results *all)
{
    if (all->count == all->room) {
        all->room = all->room != 0 ? all->room * 2 : 32;
        all->rows = realloc(all->rows, all->room * sizeof(*all->rows));
        if (all->rows == NULL) {
            fputs("oakum: out of memory\n", stderr);
            exit(1);
        }
    }
    return memset(&all->rows[all->count++], 0, sizeof(*all->rows));
}

void scn_results_free(scn_results *all)
{
    free(all->rows);
    memset(all, 0, sizeof(*all));
}

void scn_format(char *out, size_t n, double value, scn_unit unit)
{
    switch (unit) {
    case SCN_BYTES:
    case SCN_COUNT:
        snprintf(out, n, "%s", scn_thousands(value));
        break;
    case SCN_PERCENT:
        snprintf(out, n, "%.1f %%", value);
        break;
    case SCN_RATIO:
        snprintf(out, n, "%.2f x", value);
        break;
    case SCN_MEASURE:
        if (value >= 100)
            snprintf(out, n, "%s", scn_thousands(value));
        else
            snprintf(out, n, "%.2f", value);
        break;
    }
}

/* ---- a child ---- */

typedef struct child_run {
    pid_t pid;
    int fd;
    bool done;                                  /* the body returned */
    bool late;                                  /* killed at its limit */
    char what[sizeof(((scn_result *)0)->what)]; /* of the row under way; empty: between rows */
    char failure[sizeof(((scn_result *)0)->failure)]; /* its last words */
} child_run;

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Read n bytes, or fewer at the end of the file or at the deadline. */
static size_t read_until(child_run *c, void *out, size_t n, double deadline)
{
    size_t got = 0;

    while (got < n) {
        double left = deadline - seconds_now();
        struct pollfd p = { c->fd, POLLIN, 0 };
        int ready = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;
        ssize_t r;

        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            c->late = true;
            return got;
        }
        r = read(c->fd, (char *)out + got, n - got);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) return got;
        got += (size_t)r;
    }
    return got;
}

static void take_message(child_run *c, const scn_message *m, scn_results *all)
{
    switch (m->kind) {
    case SCN_MESSAGE_BEGIN:
        memcpy(c->what, m->row.what, sizeof(c->what));
        break;
    case SCN_MESSAGE_ROW:
        *scn_results_add(all) = m->row;
        c->what[0] = '\0';
        break;
    case SCN_MESSAGE_FATAL:
        memcpy(c->failure, m->row.failure, sizeof(c->failure));
        break;
    case SCN_MESSAGE_DONE:
        c->done = true;
        break;
    }
}

/* What became of a child that did not end as it should. */
static void add_failure(const child_run *c, int status, unsigned limit_s,
                        const scn_scenario *scenario, const scn_map_policy *policy,
                        scn_results *all)
{
    scn_result *r = scn_results_add(all);
    char end[96];

    if (c->late)
        snprintf(end, sizeof(end), "no end within %u s, killed", limit_s);
    else if (WIFSIGNALED(status) && sigabbrev_np(WTERMSIG(status)) != NULL)
        snprintf(end, sizeof(end), "killed by SIG%s (%s)", sigabbrev_np(WTERMSIG(status)),
                 strsignal(WTERMSIG(status)));
    else if (WIFSIGNALED(status))
        snprintf(end, sizeof(end), "killed by signal %d", WTERMSIG(status));
    else if (WIFEXITED(status) && c->done)
        snprintf(end, sizeof(end), "reported no row");
    else
        snprintf(end, sizeof(end), "ended early with status %d",
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    r->scenario = scenario;
    r->policy = policy;
    snprintf(r->what, sizeof(r->what), "%s", c->what[0] != '\0' ? c->what : scenario->leak);
    if (c->failure[0] != '\0')
        snprintf(r->failure, sizeof(r->failure), "%.120s; %.60s", c->failure, end);
    else
        snprintf(r->failure, sizeof(r->failure), "%s", end);
}

static void start_child(child_run *c, const scn_scenario *scenario, const scn_map_policy *policy)
{
    int fds[2];

    fflush(NULL);
    if (pipe(fds) != 0 || (c->pid = fork()) < 0) {
        perror("oakum: cannot start a scenario");
        exit(1);
    }
    if (c->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        scn_child(scenario, policy, fds[1]);
    }
    close(fds[1]);
    c->fd = fds[0];
}

double scn_run(const scn_scenario *scenario, const scn_map_policy *policy, unsigned limit_s,
               scn_results *all)
{
    static scn_message message; /* too large for a small stack */
    child_run c = { 0 };
    double start = seconds_now();
    size_t before = all->count;
    int status = 0;

    start_child(&c, scenario, policy);
    while (!c.done && read_until(&c, &message, sizeof(message), start + limit_s) == sizeof(message))
        take_message(&c, &message, all);
    if (c.late) kill(c.pid, SIGKILL);
    close(c.fd);
    while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR) continue;
    if (!c.done || all->count == before || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        add_failure(&c, status, limit_s, scenario, policy, all);
    return seconds_now() - start;
}

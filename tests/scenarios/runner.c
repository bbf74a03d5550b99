/* runner.c - runs a scenario in a child process and collects its rows.
 *
 * A child that crashes, exits early or runs past its limit costs one failing row; rows that it
 * had sent stay. The parent never starts Oakum, so that each child starts it afresh. */
#include "results.h"

#include <errno.h>
#include <fcntl.h>
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

void scn_series_free(scn_series *series)
{
    free(series->samples);
    memset(series, 0, sizeof(*series));
}

/* ---- a child ---- */

#define TICK_MS 100

struct scn_run {
    const scn_scenario *scenario;
    const scn_map_policy *policy;
    unsigned limit_s;
    scn_results *all;
    size_t rows_before;
    scn_series *series;
    pid_t pid;
    int fd;
    double began;
    bool done; /* the body returned */
    bool late; /* killed at its limit */
    bool over;
    /* the message that is being read */
    scn_message_head head;
    size_t got;
    union {
        scn_result row;
        scn_sample sample;
    } body;
    char what[sizeof(((scn_result *)0)->what)]; /* of the row under way; empty: between rows */
    char failure[sizeof(((scn_result *)0)->failure)]; /* its last words */
};

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static OAK_NORETURN void out_of_memory(void)
{
    fputs("oakum: out of memory\n", stderr);
    exit(1);
}

static void add_sample(scn_run *r)
{
    scn_series *series = r->series;

    if (series->samples == NULL) {
        series->samples = calloc(SCN_SAMPLES, sizeof(*series->samples));
        if (series->samples == NULL) out_of_memory();
    }
    if (series->count < SCN_SAMPLES) series->samples[series->count++] = r->body.sample;
}

static void take_message(scn_run *r)
{
    switch (r->head.kind) {
    case SCN_MESSAGE_BEGIN:
        memcpy(r->what, r->body.row.what, sizeof(r->what));
        break;
    case SCN_MESSAGE_ROW:
        *scn_results_add(r->all) = r->body.row;
        r->what[0] = '\0';
        break;
    case SCN_MESSAGE_FATAL:
        memcpy(r->failure, r->body.row.failure, sizeof(r->failure));
        break;
    case SCN_MESSAGE_SAMPLE:
        add_sample(r);
        break;
    case SCN_MESSAGE_DONE:
        r->done = true;
        break;
    }
}

/* What can be read of the message under way. False when nothing more will come. */
static bool read_some(scn_run *r)
{
    bool in_head = r->got < sizeof(r->head);
    size_t end = in_head ? sizeof(r->head) : sizeof(r->head) + r->head.size;
    char *to = in_head ? (char *)&r->head + r->got : (char *)&r->body + r->got - sizeof(r->head);
    ssize_t n = read(r->fd, to, end - r->got);

    if (n < 0) return errno == EINTR || errno == EAGAIN;
    if (n == 0) return false;
    r->got += (size_t)n;
    if (r->got < sizeof(r->head)) return true;
    if (r->head.size > sizeof(r->body)) return false;
    if (r->got < sizeof(r->head) + r->head.size) return true;
    take_message(r);
    r->got = 0;
    return !r->done;
}

scn_run *scn_run_start(const scn_scenario *scenario, const scn_map_policy *policy, unsigned limit_s,
                       scn_results *all, scn_series *series)
{
    scn_run *r = calloc(1, sizeof(*r));
    int fds[2];

    if (r == NULL) out_of_memory();
    fflush(NULL);
    if (pipe2(fds, O_CLOEXEC) != 0 || (r->pid = fork()) < 0) {
        perror("oakum: cannot start a scenario");
        exit(1);
    }
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        scn_child(scenario, policy, fds[1]);
    }
    close(fds[1]);
    r->fd = fds[0];
    r->scenario = series->scenario = scenario;
    r->policy = series->policy = policy;
    r->limit_s = limit_s;
    r->all = all;
    r->rows_before = all->count;
    r->series = series;
    r->began = seconds_now();
    return r;
}

static void poll_runs(scn_run *const *runs, size_t count)
{
    struct pollfd fds[SCN_RUNS_MOST];
    double now;
    int ready;

    for (size_t i = 0; i < count; i++) fds[i] = (struct pollfd){ runs[i]->fd, POLLIN, 0 };
    ready = poll(fds, count, TICK_MS);
    now = seconds_now();
    for (size_t i = 0; i < count; i++) {
        scn_run *r = runs[i];

        if (ready > 0 && fds[i].revents != 0) r->over = !read_some(r);
        if (r->over || now - r->began < r->limit_s) continue;
        r->over = r->late = true;
        kill(r->pid, SIGKILL);
    }
}

size_t scn_run_wait(scn_run *const *runs, size_t count, void (*tick)(void *ctx), void *ctx)
{
    for (double last = 0;;) {
        double now = seconds_now();

        for (size_t i = 0; i < count; i++)
            if (runs[i]->over) return i;
        if (tick != NULL && now - last >= TICK_MS / 1e3) {
            last = now;
            tick(ctx);
        }
        poll_runs(runs, count);
    }
}

/* What became of a child that did not end as it should. */
static void add_failure(const scn_run *r, int status)
{
    scn_result *row = scn_results_add(r->all);
    char end[96];

    if (r->late)
        snprintf(end, sizeof(end), "no end within %u s, killed", r->limit_s);
    else if (WIFSIGNALED(status) && sigabbrev_np(WTERMSIG(status)) != NULL)
        snprintf(end, sizeof(end), "killed by SIG%s (%s)", sigabbrev_np(WTERMSIG(status)),
                 strsignal(WTERMSIG(status)));
    else if (WIFSIGNALED(status))
        snprintf(end, sizeof(end), "killed by signal %d", WTERMSIG(status));
    else if (WIFEXITED(status) && r->done)
        snprintf(end, sizeof(end), "reported no row");
    else
        snprintf(end, sizeof(end), "ended early with status %d",
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    row->scenario = r->scenario;
    row->policy = r->policy;
    snprintf(row->what, sizeof(row->what), "%s", r->what[0] != '\0' ? r->what : r->scenario->leak);
    if (r->failure[0] != '\0')
        snprintf(row->failure, sizeof(row->failure), "%.120s; %.60s", r->failure, end);
    else
        snprintf(row->failure, sizeof(row->failure), "%s", end);
}

double scn_run_end(scn_run *r)
{
    double seconds;
    int status = 0;

    close(r->fd);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR) continue;
    if (!r->done || r->all->count == r->rows_before || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0)
        add_failure(r, status);
    seconds = seconds_now() - r->began;
    free(r);
    return seconds;
}

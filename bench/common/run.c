/* run.c - runs a suite of benchmarks on every peer in turn and collects the figures.
 *
 * Order: for each round, for each benchmark, each peer once, and each round begins with the next
 * peer. A machine that slows down or speeds up in between so weighs on all of them alike, which is
 * why the answer is a ratio and not a time. Every program is a process of its own; its peak RSS is
 * what wait4 says of it. All peers must print the same `check`: else they didn't do the same work,
 * and the run fails. Afterwards each program runs once more, to count what slows it (count.h).
 * Bound: a program that is silent for LIMIT_S seconds, or what the suite says, is killed and counts
 * as failed. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/count.h"
#include "common/suite.h"

enum { LIMIT_S = 300, MAX_ARGS = 8, MAX_SPAWNS = 1000 };

extern char **environ;

static bool failed;

/* What is counted of each program. Of faults, `fresh` are the process's minor ones less those by
 * which Oakum tracks writes. What a peer doesn't count has no figure. */
static const metric counts[] = {
    { .key = "fresh", .what = "  fresh-page faults", .unit = "" },
    { .key = "tracking", .what = "  tracking faults", .unit = "" },
    { .key = "asked", .what = "  pages asked about", .unit = "" },
    { .key = "dirty", .what = "  pages found dirty", .unit = "" },
    { .key = "marked", .what = "  bytes marked", .unit = "MiB" },
    { .key = "rescanned", .what = "  bytes rescanned", .unit = "MiB" },
    { .key = "calls", .what = "  system calls", .unit = "" },
    { .key = "instructions", .what = "  instructions", .unit = "M" },
};

static void add_counts(void)
{
    for (bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++)
        if (b->program) memcpy(b->counts, counts, sizeof counts);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double figure(const options *o, const metric *m, unsigned peer)
{
    double v[MAX_ROUNDS];
    unsigned n = m->rounds[peer];
    if (n == 0) return -1;
    memcpy(v, m->value[peer], n * sizeof v[0]);
    qsort(v, n, sizeof v[0], by_value);
    if (o->minimum) return m->larger ? v[n - 1] : v[0];
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void complain(const char *program, unsigned peer, const char *what)
{
    fprintf(stderr, "%s%s: %s on %s: %s\n", isatty(2) ? "\r\033[K" : "", the_suite.name, program,
            the_suite.peers[peer], what);
    failed = true;
}

static void record_in(metric *m, const metric *end, unsigned peer, const char *key, double value)
{
    for (; m < end && m->key; m++) {
        if (strcmp(m->key, key) == 0 && m->rounds[peer] < MAX_ROUNDS)
            m->value[peer][m->rounds[peer]++] = value;
    }
}

static void record(bench *b, unsigned peer, const char *key, double value)
{
    record_in(b->metrics, b->metrics + MAX_METRICS, peer, key, value);
    record_in(b->counts, b->counts + MAX_COUNTS, peer, key, value);
}

static void record_faults(bench *b, unsigned peer, const struct rusage *u, double tracking)
{
    double minor = (double)u->ru_minflt;
    record(b, peer, "fresh", minor > tracking ? minor - tracking : 0);
}

/* Take the lines of a program's output. false when it did other work than the first peer did; its
 * figures are not taken then, as a program prints its check first. *minor_tracking: the process's
 * minor faults by which it tracks writes. */
static bool record_output(bench *b, unsigned peer, char *text, double *minor_tracking)
{
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, ' ');
        if (!value) continue;
        *value++ = '\0';
        if (strcmp(line, "check") != 0) {
            double v = strtod(value, NULL);
            record(b, peer, line, v);
            if (strcmp(line, "minor_tracking") == 0) *minor_tracking = v;
            continue;
        }
        uint64_t check = strtoull(value, NULL, 10);
        if (b->checked && check != b->check) {
            complain(b->name, peer, "its check differs from the first peer's: not the same work");
            return false;
        }
        b->check = check;
        b->checked = true;
    }
    return true;
}

/* The command line of a benchmark on a peer; `text` is where its words live. */
static void command_line(const options *o, const bench *b, unsigned peer, char *text, size_t size,
                         char *argv[MAX_ARGS])
{
    int n = snprintf(text, size, "%s/%s-%s", o->dir, b->program, the_suite.peers[peer]);
    char *words = text + n + 1, *rest;
    snprintf(words, size - (size_t)n - 1, "%s", o->quick ? b->quick : b->full);
    int argc = 0;
    argv[argc++] = text;
    for (char *w = strtok_r(words, " ", &rest); w && argc < MAX_ARGS - 1;
         w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    argv[argc] = NULL;
}

static unsigned limit_s(void)
{
    return the_suite.limit_s ? the_suite.limit_s : LIMIT_S;
}

/* Read what the program prints until it closes its end. 0, or -1 when it was silent for too
 * long. */
static int read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    int limit_ms = (int)limit_s() * 1000;
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int ready = poll(&p, 1, limit_ms);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return -1;
        ssize_t got = read(fd, text + used, size - 1 - used);
        if (got <= 0) break;
        used += (size_t)got;
    }
    text[used] = '\0';
    return 0;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void run_program(const options *o, bench *b, unsigned peer, bool taken)
{
    char words[512], text[4096], *argv[MAX_ARGS];
    int fds[2];
    command_line(o, b, peer, words, sizeof words, argv);
    if (pipe(fds)) {
        complain(b->name, peer, strerror(errno));
        return;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    posix_spawn_file_actions_addclose(&actions, fds[1]);
    pid_t pid;
    int err = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    if (err) {
        close(fds[0]);
        complain(b->name, peer, strerror(err));
        return;
    }

    int silent = read_all(fds[0], text, sizeof text);
    close(fds[0]);
    if (silent) kill(pid, SIGKILL);
    int status;
    struct rusage usage;
    while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
        ;
    if (silent || status != 0) {
        char why[80];
        if (silent)
            snprintf(why, sizeof why, "killed after %u s of silence", limit_s());
        else if (WIFSIGNALED(status))
            snprintf(why, sizeof why, "killed by signal %d", WTERMSIG(status));
        else
            snprintf(why, sizeof why, "exit status %d", WEXITSTATUS(status));
        complain(b->name, peer, why);
        return;
    }
    double tracking = 0;
    if (!taken || !record_output(b, peer, text, &tracking)) return;
    record_faults(b, peer, &usage, tracking);
    record(b, peer, "rss_mib", (double)usage.ru_maxrss / 1024);
    record(b, peer, "cpu_s", seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

/* From before the fork to after the wait, in microseconds; negative when the program failed. */
static double spawn_once(char *argv[], struct rusage *usage)
{
    pid_t pid;
    int status;
    double start = now_us();
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ)) return -1;
    while (wait4(pid, &status, 0, usage) < 0) {
        if (errno != EINTR) return -1;
    }
    double us = now_us() - start;
    return status == 0 ? us : -1;
}

/* One figure is the median of many runs. */
static void run_spawns(const options *o, bench *b, unsigned peer)
{
    char words[512], *argv[MAX_ARGS];
    double us[MAX_SPAWNS];
    struct rusage usage = { 0 };
    command_line(o, b, peer, words, sizeof words, argv);
    for (unsigned i = 0; i < o->spawns; i++) {
        us[i] = spawn_once(argv, &usage);
        if (us[i] < 0) {
            complain(b->name, peer, "doesn't run");
            return;
        }
    }
    qsort(us, o->spawns, sizeof us[0], by_value);
    record(b, peer, "spawn_us", us[o->spawns / 2]);
    record_faults(b, peer, &usage, 0);
}

/* Before the first peer there is a run that counts for nobody: whoever comes first waits for memory
 * that the system, or a virtual machine's host, has to find; those after it get what the one before
 * them has given back. */
static void run_round(const options *o, unsigned round)
{
    for (bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        if (!b->selected || !b->program || (b->once && round > 1)) continue;
        if (!isatty(2))
            fprintf(stderr, "%s: round %u of %u: %s\n", the_suite.name, round, o->rounds, b->name);
        bool warm = o->quick || strcmp(b->metrics[0].key, "spawn_us") == 0;
        for (unsigned i = 0; i < the_suite.npeers; i++) {
            unsigned peer = (i + round - 1) % the_suite.npeers;
            if (!o->title[peer] || !(b->peers & PEER_BIT(peer))) continue;
            if (!warm) run_program(o, b, peer, false);
            warm = true;
            if (isatty(2))
                fprintf(stderr, "\r\033[Kround %u of %u: %s, %s", round, o->rounds, b->name,
                        the_suite.peers[peer]);
            if (strcmp(b->metrics[0].key, "spawn_us") == 0)
                run_spawns(o, b, peer);
            else
                run_program(o, b, peer, true);
        }
    }
    if (isatty(2)) fputs("\r\033[K", stderr);
}

/* ---- what an extra run counts ---- */

static void count_program(const options *o, bench *b, unsigned peer)
{
    static bool refused;
    char words[512], *argv[MAX_ARGS];
    counted c = { -1, -1 };
    command_line(o, b, peer, words, sizeof words, argv);
    if (!refused && !count_run(argv, limit_s(), &c)) {
        fprintf(stderr, "%s: no system calls are counted from %s on %s on: it can't be traced\n",
                the_suite.name, b->name, the_suite.peers[peer]);
        refused = true;
    }
    if (c.instructions < 0 && o->counted) c.instructions = count_by_valgrind(argv, limit_s());
    if (c.calls >= 0) record(b, peer, "calls", c.calls);
    if (c.instructions >= 0) record(b, peer, "instructions", c.instructions / 1e6);
}

static void count_all(const options *o)
{
    for (bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        if (!b->selected || !b->program) continue;
        if (!isatty(2)) fprintf(stderr, "%s: system calls: %s\n", the_suite.name, b->name);
        for (unsigned peer = 0; peer < the_suite.npeers; peer++)
            if (o->title[peer] && (b->peers & PEER_BIT(peer))) count_program(o, b, peer);
    }
}

/* ---- the suite ---- */

static double figure_of(const options *o, const char *name, const char *key, unsigned peer)
{
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        if (strcmp(b->name, name) != 0) continue;
        for (const metric *m = b->metrics; m < b->metrics + MAX_METRICS && m->key; m++) {
            if (strcmp(m->key, key) == 0) return figure(o, m, peer);
        }
    }
    return -1;
}

/* The figures that are made of others. */
static void derive(const options *o, bench *b)
{
    for (metric *m = b->metrics; m < b->metrics + MAX_METRICS && m->key; m++) {
        for (unsigned peer = 0; peer < the_suite.npeers && m->over[0]; peer++) {
            double one = figure_of(o, m->over[0], m->key, peer);
            double other = figure_of(o, m->over[1], m->key, peer);
            if (one >= 0 && other > 0) record(b, peer, m->key, one / other);
        }
    }
}

static void die(const char *what, const char *arg)
{
    fprintf(stderr, "%s: %s%s\n", the_suite.name, what, arg);
    exit(2);
}

/* `name` selects the benchmarks of that name, or of that name and a dash: churn all sizes. */
static void select_benches(const char *name)
{
    size_t n = strlen(name);
    bool found = false;
    for (bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        if (strncmp(b->name, name, n) == 0 && (b->name[n] == '\0' || b->name[n] == '-'))
            b->selected = found = true;
    }
    if (found) return;
    fprintf(stderr, "%s: the benchmarks are", the_suite.name);
    for (size_t i = 0; i < the_suite.nbenches; i++)
        fprintf(stderr, " %s", the_suite.benches[i].name);
    fputc('\n', stderr);
    die("no benchmark is called ", name);
}

/* "boehm=Boehm 8.2.2" */
static void take_peer(options *o, const char *arg)
{
    const char *title = strchr(arg, '=');
    for (unsigned peer = 0; title && peer < the_suite.npeers; peer++) {
        const char *name = the_suite.peers[peer];
        if (strncmp(arg, name, (size_t)(title - arg)) == 0 && name[title - arg] == '\0') {
            o->title[peer] = title + 1;
            return;
        }
    }
    die("no such peer: ", arg);
}

static const char *value_of(char **argv, int *i)
{
    if (!argv[*i + 1]) die("a value is missing after ", argv[*i]);
    return argv[++*i];
}

static unsigned take_rounds(const char *arg)
{
    long n = strtol(arg, NULL, 10);
    if (n < 1 || n > MAX_ROUNDS) die("--rounds takes 1 to 99, not ", arg);
    return (unsigned)n;
}

static void take_arguments(options *o, char **argv)
{
    bool some = false;
    for (int i = 1; argv[i]; i++) {
        if (strcmp(argv[i], "--dir") == 0) {
            o->dir = value_of(argv, &i);
        } else if (strcmp(argv[i], "--rounds") == 0) {
            o->rounds = take_rounds(value_of(argv, &i));
        } else if (strcmp(argv[i], "--usual-rounds") == 0) {
            o->usual_rounds = take_rounds(value_of(argv, &i));
        } else if (strcmp(argv[i], "--only") == 0) {
            select_benches(value_of(argv, &i));
            some = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            o->json = value_of(argv, &i);
        } else if (strcmp(argv[i], "--markdown") == 0) {
            o->markdown = value_of(argv, &i);
        } else if (strcmp(argv[i], "--plain") == 0) {
            o->plain = value_of(argv, &i);
        } else if (strcmp(argv[i], "--quick") == 0) {
            o->quick = true;
        } else if (strcmp(argv[i], "--counted") == 0) {
            o->quick = o->counted = true;
        } else if (strcmp(argv[i], "--minimum") == 0) {
            o->minimum = true;
        } else if (argv[i][0] != '-') {
            take_peer(o, argv[i]);
        } else {
            die("unknown option ", argv[i]);
        }
    }
    for (size_t i = 0; i < the_suite.nbenches && !some; i++) the_suite.benches[i].selected = true;
}

/* An optional benchmark is built for all peers or for none. */
static void leave_out(const options *o)
{
    char words[512], *argv[MAX_ARGS];
    for (bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        if (!b->selected || !b->optional) continue;
        unsigned peer = 0;
        while (peer + 1 < the_suite.npeers && !o->title[peer]) peer++;
        command_line(o, b, peer, words, sizeof words, argv);
        b->selected = access(argv[0], X_OK) == 0;
    }
}

int main(int argc, char **argv)
{
    options o = { .dir = ".", .usual_rounds = 3 };
    (void)argc;
    take_arguments(&o, argv);
    leave_out(&o);
    if (o.rounds == 0) o.rounds = o.quick ? 1 : o.usual_rounds;
    o.spawns = o.quick ? 20 : 200;
    add_counts();
    for (unsigned round = 1; round <= o.rounds; round++) run_round(&o, round);
    count_all(&o);
    for (size_t i = 0; i < the_suite.nbenches; i++) derive(&o, &the_suite.benches[i]);
    return report(&o) || failed;
}

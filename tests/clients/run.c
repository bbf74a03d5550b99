/* run.c - runs each work of the clients on libgc and on Oakum in turn, and compares.
 *
 * Order: for each round, for each work, each side once, the other one first in every second round;
 * then the works that repeat, then the pauses, in runs of their own. A side is chosen by
 * LD_LIBRARY_PATH alone. A run is good when it ends with status 0 and prints, byte by byte, what
 * the first good run printed, which is libgc's unless none of its runs is good. What a run prints
 * goes to files in the folder that was named, and stays there: WORK.SIDE.out and .err of the last
 * run, and WORK.SIDE.bad.out and .err of the first bad one. Bound: a run that takes longer than its
 * limit is killed, with all that it started, and is bad. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clients.h"

enum { LIMIT_S = 180, REPEATED_LIMIT_S = 30, PAUSE_ROUNDS = 3, PATH_SIZE = 4096 };

typedef struct ended {
    int status; /* as of wait4; -1: killed at the limit */
    double seconds, cpu, mib;
} ended;

static void die(const char *what, const char *arg)
{
    fprintf(stderr, "check-clients: %s%s\n", what, arg);
    exit(2);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double least(const double *values, unsigned n)
{
    double v = n > 0 ? values[0] : -1;
    for (unsigned i = 1; i < n; i++) v = values[i] < v ? values[i] : v;
    return v;
}

double median(const double *values, unsigned n)
{
    double v[MAX_ROUNDS];
    if (n == 0) return -1;
    memcpy(v, values, n * sizeof v[0]);
    qsort(v, n, sizeof v[0], by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Path of a file of this work: WORK.SIDE.SUFFIX in the folder of outputs. */
static void path_of(char *path, const options *o, const work *w, const char *side,
                    const char *suffix)
{
    snprintf(path, PATH_SIZE, "%s/%s-%s.%s.%s", o->dir, w->client, w->name, side, suffix);
}

/* ---- one run ---- */

/* What the commands find in their environment, but for the library. */
static void set_environment(const options *o, const work *w, unsigned side)
{
    char from[PATH_SIZE];
    snprintf(from, sizeof from, "%s/%s", o->source, w->client);
    setenv("from", from, 1);
    setenv("made", o->dir, 1);
    setenv("size", o->quick ? w->quick : w->full, 1);
    setenv("side", side_names[side], 1);
}

/* The child's part. What it prints on stderr is kept, but not compared: libgc warns there. */
static void become(const options *o, const work *w, unsigned side, const char *pause_file)
{
    char out[PATH_SIZE], err[PATH_SIZE];
    path_of(out, o, w, side_names[side], "out");
    path_of(err, o, w, side_names[side], "err");
    int in = open("/dev/null", O_RDONLY), to = creat(out, 0666), log = creat(err, 0666);
    if (in < 0 || to < 0 || log < 0 || dup2(in, 0) < 0 || dup2(to, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    set_environment(o, w, side);
    if (side == OAKUM)
        setenv("LD_LIBRARY_PATH", o->oakum, 1);
    else
        unsetenv("LD_LIBRARY_PATH");
    if (pause_file) {
        setenv("LD_PRELOAD", o->pause, 1);
        setenv("OAKUM_PAUSE_FILE", pause_file, 1);
    }
    execl("/bin/sh", "sh", "-c", w->command, (char *)NULL);
    _exit(127);
}

static ended run_once(const options *o, const work *w, unsigned side, const char *pause_file)
{
    ended e = { 0 };
    double start = now_s(), limit = start + (w->repeats ? REPEATED_LIMIT_S : LIMIT_S);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) die("fork: ", strerror(errno));
    if (pid == 0) become(o, w, side, pause_file);
    setpgid(pid, pid);

    struct rusage usage;
    bool killed = false;
    int status;
    while (wait4(pid, &status, killed ? 0 : WNOHANG, &usage) != pid) {
        double left = limit - now_s();
        struct timespec t = { .tv_sec = (time_t)left, .tv_nsec = 100 * 1000 * 1000 };
        if (left > 0) {
            sigtimedwait(&child, NULL, &t);
        } else {
            kill(-pid, SIGKILL);
            killed = true;
        }
    }
    e.seconds = now_s() - start;
    e.cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    e.mib = (double)usage.ru_maxrss / 1024;
    e.status = killed ? -1 : status;
    return e;
}

/* ---- what it printed ---- */

typedef struct text {
    const char *bytes;
    size_t n;
} text;

static text map_file(const char *path)
{
    struct stat st;
    text t = { "", 0 };
    int fd = open(path, O_RDONLY);
    if (fd < 0) return t;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED) t = (text){ p, (size_t)st.st_size };
    }
    close(fd);
    return t;
}

static void unmap(text t)
{
    if (t.n) munmap((void *)(uintptr_t)t.bytes, t.n);
}

/* The line in which two texts differ, from 1; 0 when they don't. */
static size_t first_difference(text a, text b)
{
    size_t line = 1, i = 0;
    if (a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0) return 0;
    for (; i < a.n && i < b.n && a.bytes[i] == b.bytes[i]; i++) line += a.bytes[i] == '\n';
    return line;
}

/* Whether the run was good, or in `why` why not; the first good one becomes the reference. */
static bool judge(const options *o, work *w, unsigned side, const ended *e, char *why, size_t size)
{
    char out[PATH_SIZE], reference[PATH_SIZE];
    path_of(out, o, w, side_names[side], "out");
    path_of(reference, o, w, "reference", "out");
    if (e->status == -1) {
        snprintf(why, size, "killed after %d s", w->repeats ? REPEATED_LIMIT_S : LIMIT_S);
    } else if (WIFSIGNALED(e->status)) {
        snprintf(why, size, "%s", strsignal(WTERMSIG(e->status)));
    } else if (e->status != 0 && WEXITSTATUS(e->status) > 128) { /* the shell tells so */
        snprintf(why, size, "%s", strsignal(WEXITSTATUS(e->status) - 128));
    } else if (e->status != 0) {
        snprintf(why, size, "exit status %d", WEXITSTATUS(e->status));
    } else if (access(reference, F_OK) != 0) {
        if (link(out, reference)) die("link: ", strerror(errno));
        unlink(out);
        return true;
    } else {
        text ours = map_file(out), theirs = map_file(reference);
        size_t line = first_difference(ours, theirs);
        unmap(ours);
        unmap(theirs);
        if (line == 0) return true;
        snprintf(why, size, "line %zu of the output differs", line);
        w->side[side].differing++;
    }
    return false;
}

/* The files of a bad run are kept from the runs that follow. */
static void keep(const options *o, const work *w, unsigned side)
{
    static const char *const files[] = { "out", "err" };
    char from[PATH_SIZE], to[PATH_SIZE], suffix[16];
    for (int i = 0; i < 2; i++) {
        path_of(from, o, w, side_names[side], files[i]);
        snprintf(suffix, sizeof suffix, "bad.%s", files[i]);
        path_of(to, o, w, side_names[side], suffix);
        rename(from, to);
    }
}

static void tell(const work *w, unsigned side, const char *what)
{
    fprintf(stderr, "check-clients: %s %s on %s: %s\n", w->client, w->name, side_names[side], what);
}

static bool run_and_judge(const options *o, work *w, unsigned side, const char *pause_file,
                          ended *e)
{
    figures *f = &w->side[side];
    char why[sizeof f->why];
    *e = run_once(o, w, side, pause_file);
    f->runs++;
    if (judge(o, w, side, e, why, sizeof why)) return true;
    tell(w, side, why);
    if (f->bad++ == 0) {
        memcpy(f->why, why, sizeof why);
        keep(o, w, side);
    }
    return false;
}

/* ---- rounds ---- */

static void run_timed(const options *o, work *w, unsigned side)
{
    figures *f = &w->side[side];
    ended e;
    if (!run_and_judge(o, w, side, NULL, &e) || f->timed == MAX_ROUNDS) return;
    f->seconds[f->timed] = e.seconds;
    f->cpu[f->timed] = e.cpu;
    f->mib[f->timed++] = e.mib;
}

static void run_for_pauses(const options *o, work *w, unsigned side)
{
    figures *f = &w->side[side];
    char path[PATH_SIZE];
    pauses seen = { 0 };
    ended e;
    path_of(path, o, w, side_names[side], "pause");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, sizeof seen)) die("cannot write ", path);
    bool good = run_and_judge(o, w, side, path, &e);
    if (pread(fd, &seen, sizeof seen, 0) != sizeof seen) good = false;
    close(fd);
    if (!good) return;
    /* That the client ran on the library that it was given is seen here. */
    if (seen.library[0] && (strncmp(seen.library, o->oakum ? o->oakum : "?",
                                    strlen(o->oakum ? o->oakum : "?")) == 0) != (side == OAKUM)) {
        snprintf(f->why, sizeof f->why, "ran on %.100s", seen.library);
        tell(w, side, f->why);
        f->bad++;
        return;
    }
    if (seen.looks == 0 || f->paused == MAX_ROUNDS) return;
    f->stop_ms[f->paused] = (double)seen.stop_ns / 1e6;
    f->call_ms[f->paused++] = (double)seen.call_ns / 1e6;
}

static void run_rounds(const options *o, unsigned rounds, bool repeating, const char *what,
                       void (*run)(const options *, work *, unsigned))
{
    for (unsigned round = 0; round < rounds; round++) {
        for (work *w = works; w < works + nworks; w++) {
            if (!w->selected || !w->installed || (repeating && !w->repeats)) continue;
            if (round == 0 || !repeating)
                fprintf(stderr, "check-clients: %s %u of %u: %s %s\n", what, round + 1, rounds,
                        w->client, w->name);
            for (unsigned i = 0; i < SIDES; i++) {
                unsigned side = (i + round) % SIDES;
                if (side == LIBGC || o->oakum) run(o, w, side);
            }
        }
    }
}

bool is_wrong(const options *o, const work *w)
{
    const figures *theirs = &w->side[LIBGC], *ours = &w->side[OAKUM];
    if (!o->oakum) return theirs->bad > 0 && !w->repeats;
    bool nothing = theirs->bad == theirs->runs && ours->bad == ours->runs; /* to compare with */
    /* A crash of libgc's makes up for no wrong output. */
    return nothing || ours->differing > (w->repeats ? theirs->differing : 0) ||
           ours->bad > theirs->bad;
}

/* ---- options ---- */

static const char *program_of(const char *client)
{
    return strcmp(client, "asymptote") == 0 ? "asy" : client;
}

static bool is_installed(const char *client)
{
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null", program_of(client));
    return system(command) == 0;
}

/* A client with a path of its own to libgc would be compared with itself. What is no program (a
 * script) can't be asked. */
static bool takes_another(const options *o, const char *client)
{
    char command[3 * PATH_SIZE];
    snprintf(command, sizeof command,
             "needs=$(LD_LIBRARY_PATH='%s' ldd \"$(readlink -f \"$(command -v %s)\")\" "
             "2>/dev/null) && ! echo \"$needs\" | grep -qF 'libgc.so.1 => %s/'",
             o->oakum, program_of(client), o->oakum);
    return system(command) == 0;
}

/* `name` is a client, or CLIENT-WORK. */
static void select_works(const char *name)
{
    bool found = false;
    for (work *w = works; w < works + nworks; w++) {
        size_t n = strlen(w->client);
        if (strncmp(name, w->client, n) == 0 &&
            (name[n] == '\0' || (name[n] == '-' && strcmp(name + n + 1, w->name) == 0)))
            w->selected = found = true;
    }
    if (found) return;
    fputs("check-clients: the works are", stderr);
    for (size_t i = 0; i < nworks; i++) fprintf(stderr, " %s-%s", works[i].client, works[i].name);
    fputc('\n', stderr);
    die("neither a client nor a work: ", name);
}

static unsigned take_count(const char *option, const char *arg, long most)
{
    char *end;
    long n = strtol(arg, &end, 10);
    if (n < 1 || n > most || *end) die(option, " takes a count from 1, and not too large");
    return (unsigned)n;
}

static void take_arguments(options *o, char **argv)
{
    bool some = false;
    for (int i = 1; argv[i]; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--quick") == 0) {
            o->quick = true;
            continue;
        }
        const char *value = argv[++i];
        if (!value) die("a value is missing after ", name);
        if (strcmp(name, "--only") == 0) {
            select_works(value);
            some = true;
        } else if (strcmp(name, "--rounds") == 0) {
            o->rounds = take_count(name, value, MAX_ROUNDS);
        } else if (strcmp(name, "--runs") == 0) {
            o->runs = take_count(name, value, MAX_RUNS);
        } else if (strcmp(name, "--dir") == 0) {
            o->dir = value;
        } else if (strcmp(name, "--source") == 0) {
            o->source = value;
        } else if (strcmp(name, "--oakum") == 0) {
            o->oakum = value;
        } else if (strcmp(name, "--pause") == 0) {
            o->pause = value;
        } else if (strcmp(name, "--json") == 0) {
            o->json = value;
        } else if (strcmp(name, "--markdown") == 0) {
            o->markdown = value;
        } else {
            die("unknown option ", name);
        }
    }
    for (work *w = works; w < works + nworks && !some; w++) w->selected = true;
}

static void prepare(const options *o)
{
    char path[PATH_SIZE], command[PATH_SIZE];
    unsetenv("LD_LIBRARY_PATH");
    for (work *w = works; w < works + nworks; w++) {
        if (!w->selected) continue;
        w->installed = is_installed(w->client);
        if (!w->installed && (w == works || strcmp(w[-1].client, w->client) != 0))
            fprintf(stderr, "check-clients: %s is not installed, and left out\n", w->client);
        if (w->installed && o->oakum && takes_another(o, w->client))
            die("LD_LIBRARY_PATH gives it no other libgc: ", w->client);
        path_of(path, o, w, "reference", "out");
        unlink(path);
        if (!w->installed || !w->prepare) continue;
        fprintf(stderr, "check-clients: preparing %s %s\n", w->client, w->name);
        set_environment(o, w, LIBGC);
        path_of(path, o, w, "prepare", "log");
        setenv("log", path, 1);
        snprintf(command, sizeof command, "{ %s\n} >\"$log\" 2>&1", w->prepare);
        if (system(command) != 0) die("that failed; see ", path);
    }
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
}

int main(int argc, char **argv)
{
    options o = { .dir = ".", .source = "." };
    (void)argc;
    take_arguments(&o, argv);
    if (o.rounds == 0) o.rounds = o.quick ? 1 : 5;
    if (o.runs == 0) o.runs = o.quick ? 5 : 30;
    prepare(&o);
    run_rounds(&o, o.rounds, false, "round", run_timed);
    if (o.runs > o.rounds) run_rounds(&o, o.runs - o.rounds, true, "repeated run", run_timed);
    if (o.pause)
        run_rounds(&o, o.rounds < PAUSE_ROUNDS ? o.rounds : PAUSE_ROUNDS, false, "pauses",
                   run_for_pauses);
    int status = report(&o) ? 1 : 0;
    for (work *w = works; w < works + nworks; w++) {
        if (w->selected && w->installed && is_wrong(&o, w)) status = 1;
    }
    return status;
}

/* check.c - make check-faults: every system call that Oakum's libraries make fails, once at each
 * place and from each place on, with the errors that its manual page names, in nine programs.
 *
 * usage: check [-j JOBS] [-t SECONDS] [-p PROGRAM] [-c CALL] [-e ERROR] [-n AT] [-f] [-v] BUILDDIR
 *   -j  runs at a time (4 for each processor); -t  stop after so many seconds (600)
 *   -p, -c, -e, -n, -f  only those, -f: from AT on; -v  says each run
 *
 * judge.h says what is right and what is a fault. All runs are planned before the first one. They
 * are in order of depth: each call and error is tried at its first place, then at the next. So what
 * is tried in the time is the same in each run, but for its end; what is left is said. Where fewer
 * than LEAST places were tried, and there are more, that is a fault. So is a call that is not in
 * calls.h, also where another one's failure has led to it.
 *
 * Owns: the list of jobs; results come through a pipe from one process for each run. */
#include "asker.h"
#include "calls.h"
#include "inject.h"
#include "judge.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OFTEN 128u /* places where a call fails once with an error that a caller may tell apart */
#define OFTEN_ONWARDS 4u
#define SELDOM 8u /* ... and with others */
#define SELDOM_ONWARDS 2u
#define LEAST 4u       /* places of a program's call and error, where it has as many */
#define JOBS 4u        /* at a time for each processor, as most of a run is a wait */
#define SECONDS 100u   /* that a run may take, on a busy machine, too */
#define LIMIT_S 600u   /* that all may take */
#define REASON 160    /* bytes of a line */
#define REASONS 400

typedef struct program {
    const char *name;
    const char *argv[10]; /* "@/" is the build's folder */
    const char *env[4];   /* NAME=VALUE */
    judge_kind kind;      /* JUDGE_SERVER: the check is its client */
    bool counts_start;
    long relies; /* a call that doesn't fail for good, or 0: pages that it made read only would stay
                  * so, and the program's next write can only end it */
} program;

#define NATIVE "@/tests/faults/native"
#define LIBRARY "LD_LIBRARY_PATH=@/.libs:@/embed/libgc/.libs"

static const program programs[] = {
    { "collect",
      { NATIVE, "collect" },
      { LIBRARY, "OAKUM_DEBUG=verify=1" },
      .kind = JUDGE_PROGRAM },
    { "beside",
      { NATIVE, "collect" },
      { LIBRARY, "OAKUM_DEBUG=beside=1,twice=1" },
      .kind = JUDGE_PROGRAM },
    { "tracked",
      { NATIVE, "collect" },
      { LIBRARY, "OAKUM_DEBUG=beside=1,twice=1", "OAKUM_TRACKING=faults" },
      .relies = SYS_mprotect },
    { "threads",
      { NATIVE, "threads" },
      { LIBRARY, "OAKUM_DEBUG=beside=1" },
      .kind = JUDGE_PROGRAM },
    { "fork", { NATIVE, "fork" }, { LIBRARY }, .kind = JUDGE_PROGRAM },
    { "libgc", { "@/tests/faults/client" }, { LIBRARY }, .kind = JUDGE_PROGRAM },
    { "leaks",
      { "@/.libs/oakum", "run", "--leaks", "--error-exitcode=9", "@/tests/malloc/shapes", "cache",
        "leaky" },
      { LIBRARY },
      .kind = JUDGE_REPORT,
      .counts_start = true },
    { "malloc",
      { "@/.libs/oakum", "run", "--collect", "@/tests/faults/plain" },
      { LIBRARY },
      .counts_start = true },
    { "serve",
      { NATIVE, "serve", "1" },
      { LIBRARY },
      .kind = JUDGE_SERVER },
};

#define PROGRAMS (sizeof programs / sizeof programs[0])

static const char *const asker_answer_names[] = { "not asked", "right", "refused", "late",
                                                  "WRONG" };

typedef struct job {
    const program *program;
    size_t call, error;
    unsigned at;
    bool onwards;
    unsigned depth; /* place in the order of those of its call and error */
} job;

typedef struct reason {
    char text[REASON];
    unsigned times;
} reason;

static struct {
    const char *build;
    const char *only_program, *only_call, *only_error;
    unsigned only_at, jobs;
    bool only_onwards, verbose;
    said usual[PROGRAMS];
    unsigned count[PROGRAMS][INJECT_CALLS][INJECT_ERRORS]; /* as in struct injected */
    unsigned results[CALLS][CALL_ERRORS][OUTCOMES];
    unsigned once[CALLS][CALL_ERRORS], onwards[CALLS][CALL_ERRORS]; /* places that were tried */
    job *plan;
    size_t nplan, roomplan, tried;
    reason reasons[REASONS];
    size_t nreasons;
    bool unlisted[INJECT_CALLS];
    unsigned runs, faults, seconds;
    time_t begun;
} check;

static const char *error_name(int error)
{
    for (size_t i = 0; i < ERRORS; i++)
        if (errors[i].error == error) return errors[i].name;
    return "?";
}

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

/* ---- one run ---- */

/* The text with each "@" as the build's folder. */
static char *expand(const char *text)
{
    size_t n = strlen(check.build), room = strlen(text) + 1;
    for (const char *c = text; *c; c++) room += *c == '@' ? n : 0;
    char *result = malloc(room), *to = result;
    if (!result) die("no memory");
    for (; *text; text++) {
        if (*text == '@') {
            memcpy(to, check.build, n);
            to += n;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
    return result;
}

static void read_all(int fd, char *text)
{
    ssize_t n = pread(fd, text, JUDGE_TEXT - 1, 0);
    text[n > 0 ? n : 0] = '\0';
}

/* The calls that may be made. */
static size_t known_calls(long *known)
{
    size_t n = 0;
    for (size_t i = 0; i < CALLS; i++) known[n++] = calls[i].nr;
    for (size_t i = 0; i < HARMLESS; i++) known[n++] = harmless[i];
    return n;
}

/* In a process of its own. */
static void run_program(const program *p, const job *j, said *s, injected *result)
{
    char folder[] = "/tmp/oakum-faults.XXXXXX", remove[PATH_MAX];
    char *argv[11] = { NULL };
    int ends[2] = { -1, -1 };
    long known[INJECT_KNOWN];
    bool serves = p->kind == JUDGE_SERVER;
    if (!mkdtemp(folder)) die("no folder in /tmp");
    for (int i = 0; p->argv[i]; i++) argv[i] = expand(p->argv[i]);
    for (int i = 0; i < 4 && p->env[i]; i++) putenv(expand(p->env[i]));
    setenv("XDG_RUNTIME_DIR", folder, 1);
    asker a = { .folder = folder };
    if (serves && !asker_begin(&a)) die("no memory");
    if (serves && pipe2(ends, O_CLOEXEC) != 0) die("no pipe");
    a.input = ends[1];
    injection in = {
        .argv = argv,
        .folder = folder,
        .call = j ? calls[j->call].nr : -1,
        .known = known,
        .nknown = known_calls(known),
        .error = j ? calls[j->call].errors[j->error] : 0,
        .at = j ? j->at : 0,
        .onwards = j && j->onwards,
        .counts_start = p->counts_start,
        .seconds = SECONDS,
        .input = serves ? ends[0] : open("/dev/null", O_RDONLY | O_CLOEXEC),
        .out = memfd_create("out", MFD_CLOEXEC),
        .err = memfd_create("err", MFD_CLOEXEC),
    };
    if (inject_run(&in, result, serves ? asker_start : NULL, &a) != 0)
        die("programs can't be traced here");
    s->status = result->status;
    s->hangs = result->hangs;
    s->onwards = in.onwards;
    /* a line that is only interrupted can still be said */
    s->muted = result->muted && (in.onwards || (in.error != EINTR && in.error != EAGAIN));
    if (serves) memcpy(s->answers, a.answers, sizeof s->answers);
    read_all(in.out, s->out);
    read_all(in.err, s->err);
    snprintf(remove, sizeof remove, "rm -rf %s", folder);
    if (system(remove) != 0) die("%s is left", folder);
}

/* ---- all runs ---- */

static void describe(const job *j, outcome o, const said *s)
{
    printf("%s: %s, %s: -p %s -c %s -e %s -n %u%s\n", judge_is_fault(o) ? "FAULT" : "ok",
           j->program->name, judge_name(o), j->program->name, calls[j->call].name,
           error_name(calls[j->call].errors[j->error]), j->at, j->onwards ? " -f" : "");
    if (WIFSIGNALED(s->status))
        printf("    signal %d\n", WTERMSIG(s->status));
    else if (!s->hangs)
        printf("    status %d\n", WEXITSTATUS(s->status));
    if (o == WRONG && *s->out) printf("    says: %.60s\n", s->out);
    for (int i = 0; j->program->kind == JUDGE_SERVER && i < ASKER_QUESTIONS; i++)
        if (s->answers[i] != ASKER_RIGHT)
            printf("    %s: %s\n", asker_path(i), asker_answer_names[s->answers[i]]);
    const char *line = s->err;
    for (int i = 0; i < (check.verbose ? 100 : 4) && *line; i++) {
        int n = (int)strcspn(line, "\n");
        printf("    %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
}

typedef struct answer {
    job job;
    outcome outcome;
    long unknown; /* as in struct injected */
    char reason[REASON];
} answer;

/* The line that tells, with a 0 for each number. */
static void note_reason(answer *a, const said *s)
{
    int n = 0, to = 0;
    bool number = false;
    const char *line = a->outcome == TOLD ? judge_reason(s->err, &n) : NULL;
    for (int i = 0; line && i < n && to < REASON - 1; i++) {
        bool digit = isdigit((unsigned char)line[i]);
        number = digit || (number && isxdigit((unsigned char)line[i]));
        if (number && to > 0 && a->reason[to - 1] == '0') continue;
        a->reason[to++] = number ? '0' : line[i];
    }
}

/* The job's process: traces it, prints what is wrong, and says how it ended. */
static void do_job(const job *j, int to)
{
    said s;
    injected result;
    run_program(j->program, j, &s, &result);
    answer a = { .job = *j, .unknown = result.unknown };
    a.outcome = judge(j->program->kind, &check.usual[j->program - programs], &s);
    if (a.outcome == RIGHT && result.met == 0) a.outcome = UNMET;
    note_reason(&a, &s);
    if (check.verbose || judge_is_fault(a.outcome))
        describe(j, a.outcome, &s);
    fflush(stdout);
    if (write(to, &a, sizeof a) != sizeof a) _exit(2);
    _exit(0);
}

static struct {
    unsigned running;
    int from, to;
} pool;

static void count_reason(const char *text)
{
    size_t i = 0;
    if (!*text) return;
    while (i < check.nreasons && strcmp(check.reasons[i].text, text) != 0) i++;
    if (i == REASONS) return;
    if (i == check.nreasons) memcpy(check.reasons[check.nreasons++].text, text, REASON);
    check.reasons[i].times++;
}

static void take_answer(void)
{
    answer a;
    int status;
    while (wait(&status) < 0 && errno == EINTR) continue;
    if (status != 0) die("a run could not be made");
    if (read(pool.from, &a, sizeof a) != sizeof a) die("a run has vanished");
    pool.running--;
    check.runs++;
    check.results[a.job.call][a.job.error][a.outcome]++;
    if (a.job.onwards) check.onwards[a.job.call][a.job.error]++;
    else check.once[a.job.call][a.job.error]++;
    check.faults += judge_is_fault(a.outcome);
    if (a.unknown >= 0) check.unlisted[a.unknown] = true;
    count_reason(a.reason);
}

static void submit(const job *j)
{
    while (pool.running >= check.jobs) take_answer();
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) die("fork: %s", strerror(errno));
    if (pid == 0) do_job(j, pool.to);
    pool.running++;
}

/* Place i of n that are spread over `count`, the first ones closely. */
static unsigned place(unsigned i, unsigned n, unsigned count)
{
    if (count <= n || i < n / 2) return i + 1;
    return n / 2 + (unsigned)((uint64_t)(count - n / 2) * (i - n / 2 + 1) / (n - n / 2));
}

/* No signal interrupts every call, and a file that is waited for is ready some time. */
static bool may_last(long nr, int error)
{
    static const long waits[] = {
        SYS_read,    SYS_write,    SYS_writev, SYS_accept,  SYS_accept4,
        SYS_connect, SYS_recvfrom, SYS_sendto, SYS_sendmsg, SYS_sendfile,
    };
    bool is_wait = false;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) is_wait |= waits[i] == nr;
    return error != EINTR && !(error == EAGAIN && is_wait);
}

static void plan(const job *j)
{
    if (check.nplan == check.roomplan) {
        check.roomplan = 2 * check.roomplan + 1024;
        check.plan = realloc(check.plan, check.roomplan * sizeof *check.plan);
        if (!check.plan) die("no memory");
    }
    check.plan[check.nplan++] = *j;
}

static void plan_error(const program *p, size_t call, size_t error)
{
    unsigned count = check.count[p - programs][calls[call].nr][calls[call].errors[error]];
    bool often = error < calls[call].often;
    if (check.only_at) {
        plan(&(job){ p, call, error, check.only_at, check.only_onwards, 0 });
        return;
    }
    bool lasts = may_last(calls[call].nr, calls[call].errors[error]);
    lasts &= !p->relies || p->relies != calls[call].nr;
    for (int onwards = 0; onwards <= lasts; onwards++) {
        unsigned n = often ? OFTEN : SELDOM;
        if (onwards) n = often ? OFTEN_ONWARDS : SELDOM_ONWARDS;
        if (n > count) n = count;
        for (unsigned i = 0; i < n; i++)
            plan(&(job){ p, call, error, place(i, n, count), onwards, i });
    }
}

static int compare_jobs(const void *x, const void *y)
{
    const job *a = x, *b = y;
    if (a->depth != b->depth) return a->depth < b->depth ? -1 : 1;
    if (a->onwards != b->onwards) return a->onwards ? 1 : -1;
    if (a->program != b->program) return a->program < b->program ? -1 : 1;
    if (a->call != b->call) return a->call < b->call ? -1 : 1;
    return a->error < b->error ? -1 : a->error > b->error;
}

static bool wanted(const char *only, const char *name)
{
    return !only || !strcmp(only, name);
}

static void plan_all(void)
{
    for (const program *p = programs; p < programs + PROGRAMS; p++) {
        if (!wanted(check.only_program, p->name)) continue;
        size_t before = check.nplan;
        for (size_t c = 0; c < CALLS; c++) {
            if (!wanted(check.only_call, calls[c].name)) continue;
            for (size_t e = 0; calls[c].errors[e]; e++)
                if (wanted(check.only_error, error_name(calls[c].errors[e]))) plan_error(p, c, e);
        }
        printf("%s: %zu runs\n", p->name, check.nplan - before);
    }
    if (check.nplan) qsort(check.plan, check.nplan, sizeof *check.plan, compare_jobs);
}

static time_t seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* The last run has its own time within that of all. */
static void run_plan(void)
{
    time_t last = check.begun + check.seconds - (check.seconds > 2 * SECONDS ? SECONDS : 0);
    while (check.tried < check.nplan && seconds_now() < last) submit(&check.plan[check.tried++]);
    while (pool.running > 0) take_answer();
}

/* Without a failure: what it says, and how often it makes each call. */
static void learn(const program *p)
{
    size_t i = (size_t)(p - programs);
    struct learned {
        said usual;
        unsigned count[INJECT_CALLS][INJECT_ERRORS];
    } *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) die("no memory");
    pid_t pid = fork();
    if (pid == 0) {
        injected result;
        run_program(p, NULL, &shared->usual, &result);
        memcpy(shared->count, result.count, sizeof result.count);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    check.usual[i] = shared->usual;
    memcpy(check.count[i], shared->count, sizeof shared->count);
    munmap(shared, sizeof *shared);
    const said *s = &check.usual[i];
    int want = p->kind == JUDGE_REPORT ? 9 : 0;
    if (status != 0 || s->hangs || !WIFEXITED(s->status) || WEXITSTATUS(s->status) != want)
        die("%s does not do its work without any failure: status %x\n%s%s", p->name, s->status,
            s->out, s->err);
    for (int q = 0; p->kind == JUDGE_SERVER && q < ASKER_QUESTIONS; q++)
        if (s->answers[q] != ASKER_RIGHT)
            die("%s: %s is %s without any failure\n%s", p->name, asker_path(q),
                asker_answer_names[s->answers[q]], s->err);
}

/* How often all programs make it, without a failure, where it could give the error. */
static unsigned calls_made(size_t call, size_t error)
{
    unsigned n = 0;
    for (size_t p = 0; p < PROGRAMS; p++)
        n += check.count[p][calls[call].nr][calls[call].errors[error]];
    return n;
}

static void print_row(size_t c, size_t e)
{
    const unsigned *o = check.results[c][e];
    if (!check.once[c][e] && !check.onwards[c][e]) return;
    printf("%-18s %-15s %6u %6u %7u", calls[c].name, error_name(calls[c].errors[e]),
           calls_made(c, e), check.once[c][e], check.onwards[c][e]);
    for (int i = 0; i < OUTCOMES; i++) o[i] ? printf(" %7u", o[i]) : printf(" %7s", "-");
    putchar('\n');
}

static void print_table(void)
{
    printf("\n%-18s %-15s %6s %6s %7s", "call", "error", "calls", "once", "onwards");
    for (int o = 0; o < OUTCOMES; o++) printf(" %7s", judge_name(o));
    putchar('\n');
    for (size_t c = 0; c < CALLS; c++)
        for (size_t e = 0; calls[c].errors[e]; e++) print_row(c, e);
}

static void print_reasons(void)
{
    if (check.nreasons) printf("\nwhat was told, and how often:\n");
    for (size_t i = 0; i < check.nreasons; i++)
        printf("%6u  %s\n", check.reasons[i].times, check.reasons[i].text);
}

/* Of each program's call and error, the first place that was not tried. */
static void count_too_few(void)
{
    static bool counted[PROGRAMS][CALLS][CALL_ERRORS];
    for (size_t i = check.tried; i < check.nplan; i++) {
        const job *j = &check.plan[i];
        bool *is = &counted[j->program - programs][j->call][j->error];
        if (j->depth >= LEAST || j->onwards || *is) continue;
        printf("FAULT: only %u places tried: %s, %s, %s\n", j->depth, j->program->name,
               calls[j->call].name, error_name(calls[j->call].errors[j->error]));
        check.faults++;
        *is = true;
    }
}

/* What there was no time for. */
static void print_untried(void)
{
    if (check.tried == check.nplan) return;
    printf("\nnot tried in %u s: %zu of %zu runs\n", check.seconds, check.nplan - check.tried,
           check.nplan);
    for (size_t c = 0; c < CALLS; c++) {
        unsigned left = 0;
        for (size_t i = check.tried; i < check.nplan; i++) left += check.plan[i].call == c;
        if (left) printf("  %-18s %u\n", calls[c].name, left);
    }
    count_too_few();
}

static void print_unlisted(void)
{
    long known[INJECT_KNOWN];
    size_t n = known_calls(known);
    for (long nr = 0; nr < INJECT_CALLS; nr++) {
        bool listed = false, made = check.unlisted[nr];
        for (size_t p = 0; p < PROGRAMS; p++) made |= check.count[p][nr][0] > 0;
        for (size_t i = 0; i < n; i++) listed |= known[i] == nr;
        if (!made || listed) continue;
        printf("FAULT: system call %ld is made, and is not in tests/faults/calls.h\n", nr);
        check.faults++;
    }
}

static void parse(int argc, char **argv)
{
    int c;
    check.seconds = LIMIT_S;
    check.jobs = JOBS * (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    while ((c = getopt(argc, argv, "j:t:p:c:e:n:fv")) != -1) {
        switch (c) {
        case 'j':
            check.jobs = (unsigned)atoi(optarg);
            break;
        case 't':
            check.seconds = (unsigned)atoi(optarg);
            break;
        case 'p':
            check.only_program = optarg;
            break;
        case 'c':
            check.only_call = optarg;
            break;
        case 'e':
            check.only_error = optarg;
            break;
        case 'n':
            check.only_at = (unsigned)atoi(optarg);
            break;
        case 'f':
            check.only_onwards = true;
            break;
        case 'v':
            check.verbose = true;
            break;
        default:
            exit(2);
        }
    }
    if (optind + 1 != argc || !(check.build = realpath(argv[optind], NULL)))
        die("usage: check [-j JOBS] [-t SECONDS] [-p PROGRAM] [-c CALL] [-e ERROR] [-n AT] [-f] "
            "[-v] BUILDDIR");
    if (!check.jobs) check.jobs = 1;
}

int main(int argc, char **argv)
{
    int ends[2];
    parse(argc, argv);
    check.begun = seconds_now();
    signal(SIGPIPE, SIG_IGN);
    if (pipe2(ends, O_CLOEXEC) != 0) die("no pipe");
    pool.from = ends[0];
    pool.to = ends[1];
    for (const program *p = programs; p < programs + PROGRAMS; p++)
        if (wanted(check.only_program, p->name)) learn(p);
    plan_all();
    if (!check.nplan) die("nothing is as wanted");
    run_plan();
    print_table();
    print_reasons();
    print_untried();
    print_unlisted();
    printf("\ncheck-faults: %u runs, %u faults\n", check.runs, check.faults);
    return check.faults > 0;
}

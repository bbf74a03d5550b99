/* check.c - make check-faults: every system call that Oakum's libraries make fails, once at each
 * place and from each place on, with the errors that its manual page names, in nine programs.
 *
 * usage: check [-j JOBS] [-p PROGRAM] [-c CALL] [-e ERROR] [-n AT] [-f] [-v] BUILDDIR
 *   -j  runs at a time; -p, -c, -e, -n, -f  only those, -f: from AT on; -v  says each run
 *
 * A run is right where the program says and exits as without a failure; told where it exits with
 * another status after a line on stderr. It is a fault where it ends by a signal, hangs, says
 * something else than it should, or nothing. The table at the end has a row for each call and
 * error. Where a call is made more often than MOST times, the places are spread over all of them.
 *
 * Owns: the list of jobs; results come through a pipe from one process for each run. */
#include "asker.h"
#include "calls.h"
#include "inject.h"
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
#include <unistd.h>

#define MOST 128u       /* places where a call fails once */
#define MOST_ONWARDS 4u /* ... and from which on it fails */
#define SECONDS 30u     /* that a run may take */
#define TEXT 4096

typedef struct program {
    const char *name;
    const char *argv[10]; /* "@/" is the build's folder */
    const char *env[4];   /* NAME=VALUE */
    bool reports;         /* its stderr is a report, whose figures count */
    bool serves;          /* the check is its client */
    bool counts_start;
    long relies; /* a call that doesn't fail for good, or 0: pages that it made read only would stay
                  * so, and the program's next write can only end it */
} program;

#define NATIVE "@/tests/faults/native"
#define LIBRARY "LD_LIBRARY_PATH=@/.libs:@/embed/libgc/.libs"

static const program programs[] = {
    { "collect", { NATIVE, "collect" }, { LIBRARY, "OAKUM_DEBUG=verify=1" }, .reports = false },
    { "beside",
      { NATIVE, "collect" },
      { LIBRARY, "OAKUM_DEBUG=beside=1,twice=1" },
      .reports = false },
    { "tracked",
      { NATIVE, "collect" },
      { LIBRARY, "OAKUM_DEBUG=beside=1,twice=1", "OAKUM_TRACKING=faults" },
      .relies = SYS_mprotect },
    { "threads", { NATIVE, "threads" }, { LIBRARY, "OAKUM_DEBUG=beside=1" }, .reports = false },
    { "fork", { NATIVE, "fork" }, { LIBRARY }, .reports = false },
    { "libgc", { "@/tests/faults/client" }, { LIBRARY }, .reports = false },
    { "leaks",
      { "@/.libs/oakum", "run", "--leaks", "--error-exitcode=9", "@/tests/malloc/shapes", "cache",
        "leaky" },
      { LIBRARY },
      .reports = true,
      .counts_start = true },
    { "malloc",
      { "@/.libs/oakum", "run", "--collect", "@/tests/faults/plain" },
      { LIBRARY },
      .counts_start = true },
    { "serve",
      { NATIVE, "serve", "1" },
      { LIBRARY },
      .serves = true },
};

#define PROGRAMS (sizeof programs / sizeof programs[0])

typedef enum outcome { RIGHT, TOLD, SIGNALLED, HANGS, WRONG, SILENT, UNMET, OUTCOMES } outcome;

static const char *const outcome_names[] = { "right", "told",   "SIGNAL", "HANG",
                                             "WRONG", "SILENT", "not met" };

static const char *const asker_answer_names[] = { "not asked", "right", "refused", "late",
                                                  "WRONG" };

typedef struct said {
    int status;
    bool hangs, muted;
    unsigned char answers[ASKER_QUESTIONS]; /* asker_answer of each, of a program that serves */
    char out[TEXT], err[TEXT];
} said;

typedef struct job {
    const program *program;
    size_t call, error;
    unsigned at;
    bool onwards;
} job;

static struct {
    const char *build;
    const char *only_program, *only_call, *only_error;
    unsigned only_at, jobs;
    bool only_onwards, verbose;
    said usual[PROGRAMS];
    unsigned count[PROGRAMS][INJECT_CALLS][INJECT_ERRORS]; /* as in struct injected */
    unsigned results[CALLS][ERRORS][OUTCOMES];
    unsigned runs, faults;
} check;

static const char *error_name(int error)
{
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
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
    ssize_t n = pread(fd, text, TEXT - 1, 0);
    text[n > 0 ? n : 0] = '\0';
}

/* In a process of its own. */
static void run_program(const program *p, const job *j, said *s, injected *result)
{
    char folder[] = "/tmp/oakum-faults.XXXXXX", remove[PATH_MAX];
    char *argv[11] = { NULL };
    int ends[2] = { -1, -1 };
    if (!mkdtemp(folder)) die("no folder in /tmp");
    for (int i = 0; p->argv[i]; i++) argv[i] = expand(p->argv[i]);
    for (int i = 0; i < 4 && p->env[i]; i++) putenv(expand(p->env[i]));
    setenv("XDG_RUNTIME_DIR", folder, 1);
    asker a = { .folder = folder };
    if (p->serves && !asker_begin(&a)) die("no memory");
    if (p->serves && pipe2(ends, O_CLOEXEC) != 0) die("no pipe");
    a.input = ends[1];
    injection in = {
        .argv = argv,
        .folder = folder,
        .call = j ? calls[j->call].nr : -1,
        .error = j ? calls[j->call].errors[j->error] : 0,
        .at = j ? j->at : 0,
        .onwards = j && j->onwards,
        .counts_start = p->counts_start,
        .seconds = SECONDS,
        .input = p->serves ? ends[0] : open("/dev/null", O_RDONLY | O_CLOEXEC),
        .out = memfd_create("out", MFD_CLOEXEC),
        .err = memfd_create("err", MFD_CLOEXEC),
    };
    if (inject_run(&in, result, p->serves ? asker_start : NULL, &a) != 0)
        die("programs can't be traced here");
    s->status = result->status;
    s->hangs = result->hangs;
    s->muted = result->muted;
    if (p->serves) memcpy(s->answers, a.answers, sizeof s->answers);
    read_all(in.out, s->out);
    read_all(in.err, s->err);
    snprintf(remove, sizeof remove, "rm -rf %s", folder);
    if (system(remove) != 0) s->hangs = s->hangs;
}

/* ---- what a run shows ---- */

/* The figures of a report, in the order that it has them. */
static void figures(const char *text, char *out)
{
    size_t n = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : "") {
        const char *at = strstr(line, "lost: "), *end = strchr(line, '\n');
        if (!end) break;
        if (!at || at > end) continue;
        n += (size_t)snprintf(out + n, TEXT - n, "%.*s;", (int)(end - at), at);
    }
    out[n] = '\0';
}

/* What can't be said on standard error is told by the status alone. */
static bool tells_by_status(const said *s)
{
    return s->muted && WEXITSTATUS(s->status) != 0;
}

static outcome judge_report(const said *usual, const said *s)
{
    char was[TEXT], is[TEXT];
    figures(usual->err, was);
    figures(s->err, is);
    if (!strcmp(was, is) && s->status == usual->status) return RIGHT;
    if (!*s->err) return tells_by_status(s) ? TOLD : SILENT;
    bool excused = strstr(s->err, "was not looked at") || strstr(s->err, "told as lost");
    return *is && !excused && strcmp(was, is) ? WRONG : TOLD;
}

static unsigned answers_of(const said *s, asker_answer answer)
{
    unsigned n = 0;
    for (int i = 0; i < ASKER_QUESTIONS; i++) n += s->answers[i] == answer;
    return n;
}

/* A client that gets no answer is told by the end of its connection; one that gets neither hangs,
 * unless the server has said on standard error why clients wait.
 * Where the program itself is right and the server isn't, that is told, too. */
static outcome judge_server(const said *s, outcome program)
{
    if (answers_of(s, ASKER_WRONG)) return WRONG;
    if (answers_of(s, ASKER_LATE)) return strstr(s->err, "clients wait") ? TOLD : HANGS;
    if (program != RIGHT || answers_of(s, ASKER_RIGHT) == ASKER_QUESTIONS) return program;
    return answers_of(s, ASKER_REFUSED) ? TOLD : SILENT;
}

static outcome judge_program(const said *usual, const said *s)
{
    if (s->status == usual->status) return strcmp(s->out, usual->out) ? WRONG : RIGHT;
    return *s->err || tells_by_status(s) ? TOLD : SILENT;
}

static outcome judge(const program *p, const said *usual, const said *s)
{
    if (s->hangs) return HANGS;
    if (strstr(s->err, "WRONG")) return WRONG;
    if (WIFSIGNALED(s->status)) return SIGNALLED;
    if (p->reports) return judge_report(usual, s);
    outcome o = judge_program(usual, s);
    return p->serves ? judge_server(s, o) : o;
}

static bool is_fault(outcome o)
{
    return o != RIGHT && o != TOLD && o != UNMET;
}

static void describe(const job *j, outcome o, const said *s)
{
    printf("%s: %s, %s: -p %s -c %s -e %s -n %u%s\n", is_fault(o) ? "FAULT" : "ok",
           j->program->name, outcome_names[o], j->program->name, calls[j->call].name,
           error_name(calls[j->call].errors[j->error]), j->at, j->onwards ? " -f" : "");
    if (WIFSIGNALED(s->status))
        printf("    signal %d\n", WTERMSIG(s->status));
    else if (!s->hangs)
        printf("    status %d\n", WEXITSTATUS(s->status));
    if (o == WRONG && *s->out) printf("    says: %.60s\n", s->out);
    for (int i = 0; j->program->serves && i < ASKER_QUESTIONS; i++)
        if (s->answers[i] != ASKER_RIGHT)
            printf("    %s: %s\n", asker_path(i), asker_answer_names[s->answers[i]]);
    const char *line = s->err;
    for (int i = 0; i < (check.verbose ? 100 : 4) && *line; i++) {
        int n = (int)strcspn(line, "\n");
        printf("    %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
}

/* ---- all runs ---- */

typedef struct answer {
    job job;
    outcome outcome;
} answer;

/* The job's process: traces it, prints what is wrong, and says how it ended. */
static void do_job(const job *j, int to)
{
    said s;
    injected result;
    run_program(j->program, j, &s, &result);
    answer a = { *j, judge(j->program, &check.usual[j->program - programs], &s) };
    if (a.outcome == RIGHT && result.met == 0) a.outcome = UNMET;
    if (check.verbose || is_fault(a.outcome))
        describe(j, a.outcome, &s);
    fflush(stdout);
    if (write(to, &a, sizeof a) != sizeof a) _exit(2);
    _exit(0);
}

static struct {
    unsigned running;
    int from, to;
} pool;

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
    check.faults += is_fault(a.outcome);
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
    static const long waits[] = { SYS_read,     SYS_write,  SYS_writev,  SYS_connect,
                                  SYS_recvfrom, SYS_sendto, SYS_sendmsg, SYS_sendfile };
    bool is_wait = false;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) is_wait |= waits[i] == nr;
    return error != EINTR && !(error == EAGAIN && is_wait);
}

static void submit_all(const program *p, size_t call, size_t error)
{
    unsigned count = check.count[p - programs][calls[call].nr][calls[call].errors[error]];
    if (check.only_at) {
        submit(&(job){ p, call, error, check.only_at, check.only_onwards });
        return;
    }
    bool lasts = may_last(calls[call].nr, calls[call].errors[error]);
    lasts &= !p->relies || p->relies != calls[call].nr;
    for (int onwards = 0; onwards <= lasts; onwards++) {
        unsigned n = onwards ? MOST_ONWARDS : MOST;
        if (n > count) n = count;
        for (unsigned i = 0; i < n; i++)
            submit(&(job){ p, call, error, place(i, n, count), onwards });
    }
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
    int want = p->reports ? 9 : 0;
    if (status != 0 || s->hangs || !WIFEXITED(s->status) || WEXITSTATUS(s->status) != want)
        die("%s does not do its work without any failure: status %x\n%s%s", p->name, s->status,
            s->out, s->err);
    for (int q = 0; p->serves && q < ASKER_QUESTIONS; q++)
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

static void print_table(void)
{
    printf("\n%-18s %-12s %6s %6s", "call", "error", "calls", "runs");
    for (int o = 0; o < OUTCOMES; o++) printf(" %8s", outcome_names[o]);
    putchar('\n');
    for (size_t c = 0; c < CALLS; c++) {
        for (size_t e = 0; e < ERRORS && calls[c].errors[e]; e++) {
            unsigned all = 0;
            for (int o = 0; o < OUTCOMES; o++) all += check.results[c][e][o];
            if (!all) continue;
            printf("%-18s %-12s %6u %6u", calls[c].name, error_name(calls[c].errors[e]),
                   calls_made(c, e), all);
            for (int o = 0; o < OUTCOMES; o++)
                check.results[c][e][o] ? printf(" %8u", check.results[c][e][o])
                                       : printf(" %8s", "-");
            putchar('\n');
        }
    }
}

/* Calls that are made and not in the list: they are told, so that none is forgotten. */
static void print_unlisted(void)
{
    static const long harmless[] = {
        SYS_exit,
        SYS_exit_group,
        SYS_getpid,
        SYS_gettid,
        SYS_getuid,
        SYS_geteuid,
        SYS_getgid,
        SYS_getegid,
        SYS_sched_yield,
        SYS_execve,
        SYS_arch_prctl,
        SYS_set_tid_address,
        SYS_set_robust_list,
        SYS_rseq,
        SYS_rt_sigreturn,
        SYS_rt_sigaction,   /* these two refuse arguments only that are wrong each time */
        SYS_rt_sigprocmask,
        SYS_rt_sigpending,
        SYS_restart_syscall,
        SYS_getppid,
        SYS_clock_gettime,
        SYS_uname,
        SYS_sysinfo,
        SYS_gettimeofday,
        SYS_umask,
        SYS_getcpu,
    };
    for (long nr = 0; nr < INJECT_CALLS; nr++) {
        unsigned made = 0;
        bool listed = false;
        for (size_t p = 0; p < PROGRAMS; p++) made += check.count[p][nr][0];
        for (size_t c = 0; c < CALLS; c++) listed |= calls[c].nr == nr;
        for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) listed |= harmless[i] == nr;
        if (made && !listed) printf("system call %ld is made, but never fails here\n", nr);
    }
}

static void parse(int argc, char **argv)
{
    int c;
    check.jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    while ((c = getopt(argc, argv, "j:p:c:e:n:fv")) != -1) {
        switch (c) {
        case 'j':
            check.jobs = (unsigned)atoi(optarg);
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
        die("usage: check [-j JOBS] [-p PROGRAM] [-c CALL] [-e ERROR] [-n AT] [-f] [-v] BUILDDIR");
    if (!check.jobs) check.jobs = 1;
}

static bool wanted(const char *only, const char *name)
{
    return !only || !strcmp(only, name);
}

int main(int argc, char **argv)
{
    int ends[2];
    parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (pipe2(ends, O_CLOEXEC) != 0) die("no pipe");
    pool.from = ends[0];
    pool.to = ends[1];
    for (const program *p = programs; p < programs + PROGRAMS; p++)
        if (wanted(check.only_program, p->name)) learn(p);
    for (const program *p = programs; p < programs + PROGRAMS; p++) {
        if (!wanted(check.only_program, p->name)) continue;
        unsigned before = check.runs + pool.running;
        for (size_t c = 0; c < CALLS; c++) {
            if (!wanted(check.only_call, calls[c].name)) continue;
            for (size_t e = 0; e < ERRORS && calls[c].errors[e]; e++)
                if (wanted(check.only_error, error_name(calls[c].errors[e]))) submit_all(p, c, e);
        }
        printf("%s: %u runs\n", p->name, check.runs + pool.running - before);
        fflush(stdout);
    }
    while (pool.running > 0) take_answer();
    print_table();
    print_unlisted();
    printf("\ncheck-faults: %u runs, %u faults\n", check.runs, check.faults);
    return check.faults > 0;
}

/* count.c - runs a program once more, to count what a run that is timed can't: system calls and
 * instructions.
 *
 * Each system call stops the program: a seccomp filter reports it to this process, which traces
 * the program (ptrace). That takes some microseconds a call, so such a run has no times.
 * Instructions in user mode are perf's. Where a machine has no counter, and the caller wants them,
 * they are Valgrind's.
 * Both are counted from the last exec on, with all threads and children. */
#include "common/count.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_TRACED = 126, NOT_RUN = 127, MAX_WORDS = 16 };

static volatile sig_atomic_t late;

static void on_alarm(int sig)
{
    (void)sig;
    late = 1;
}

/* wait4 ends with EINTR when the time is up. */
static void limit_to(unsigned s)
{
    struct sigaction on = { .sa_handler = on_alarm };
    sigaction(SIGALRM, &on, NULL);
    late = 0;
    alarm(s);
}

static void silence(int err)
{
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(err >= 0 ? err : null, 2);
}

/* ---- the child, up to its exec ---- */

static void run_traced(char *const *argv)
{
    struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE) };
    struct sock_fprog filter = { .len = 1, .filter = all };
    silence(-1);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(NOT_TRACED);
    raise(SIGSTOP);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) _exit(NOT_TRACED);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) _exit(NOT_TRACED);
    execv(argv[0], argv);
    _exit(NOT_RUN);
}

/* ---- instructions ---- */

static int open_instructions(pid_t pid)
{
    struct perf_event_attr a = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof a,
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .disabled = 1,
        .inherit = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
        .enable_on_exec = 1,
    };
    return (int)syscall(SYS_perf_event_open, &a, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static double read_instructions(int fd)
{
    uint64_t n = 0;
    if (fd < 0) return -1;
    ssize_t got = read(fd, &n, sizeof n);
    close(fd);
    return got == sizeof n && n > 0 ? (double)n : -1;
}

/* "==123== Collected : 4567", of the program and of the children that it exec's not at all. */
double count_by_valgrind(char *const *argv, unsigned limit_s)
{
    const char *words[MAX_WORDS] = { "valgrind", "--tool=callgrind",
                                     "--callgrind-out-file=/dev/null" };
    int n = 3, status, ends[2];
    double count = -1;
    char line[512];
    for (int i = 0; argv[i] && n < MAX_WORDS - 1; i++) words[n++] = argv[i];
    if (pipe2(ends, O_CLOEXEC)) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        silence(ends[1]);
        execvp(words[0], (char *const *)words);
        _exit(NOT_RUN);
    }
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    limit_to(limit_s);
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, "Collected :");
        if (at) count = strtod(at + strlen("Collected :"), NULL);
    }
    if (late) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR && !late) {
    }
    alarm(0);
    if (f) fclose(f);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? count : -1;
}

/* ---- system calls ---- */

/* A thread begins with a stop of its own; no program here stops itself. */
static int signal_for(int status)
{
    int sig = WSTOPSIG(status);
    return status >> 16 || sig == SIGSTOP || sig == SIGTRAP ? 0 : sig;
}

/* Until the program has ended. Its status, or -1 when it took too long. */
static int follow(pid_t pid, uint64_t *calls)
{
    for (;;) {
        int status;
        pid_t who = waitpid(-1, &status, __WALL);
        if (late) kill(pid, SIGKILL);
        if (who < 0 && errno == EINTR) continue;
        if (who < 0) return -1;
        if (!WIFSTOPPED(status)) {
            if (who == pid) return late ? -1 : status;
            continue;
        }
        int event = status >> 16;
        if (event == PTRACE_EVENT_SECCOMP) ++*calls;
        if (event == PTRACE_EVENT_EXEC) *calls = 0;
        ptrace(PTRACE_CONT, who, NULL, (long)signal_for(status));
    }
}

/* Those that outlive it, as no program here leaves any, end with this. */
static void end_others(void)
{
    int status;
    for (pid_t who; (who = waitpid(-1, &status, __WALL | WNOHANG)) > 0;)
        if (WIFSTOPPED(status)) kill(who, SIGKILL);
}

bool count_run(char *const *argv, unsigned limit_s, counted *out)
{
    const long wants = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                       PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    int status = 0;
    uint64_t calls = 0;
    *out = (counted){ -1, -1 };
    pid_t pid = fork();
    if (pid < 0) return false;
    if (pid == 0) run_traced(argv);
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return false;
    int instructions = open_instructions(pid);
    limit_to(limit_s);
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, wants) || ptrace(PTRACE_CONT, pid, NULL, 0L))
        kill(pid, SIGKILL);
    status = follow(pid, &calls);
    alarm(0);
    end_others();
    double n = read_instructions(instructions);
    if (status != 0) return false;
    *out = (counted){ (double)calls, n };
    return true;
}

/* inject.c - makes system calls fail, raw ones included: the program's own filter (seccomp) hands
 * the wanted call to its tracer, which skips it and puts the error in its place. All other calls
 * run at full speed.
 *
 * Owns: struct run, of the one program that is traced at a time. */
#include "inject.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    const injection *in;
    injected *out;
    pid_t first;
    unsigned seen;
    bool counts;
} run;

static volatile sig_atomic_t too_long;

static void on_alarm(int sig)
{
    (void)sig;
    too_long = 1;
}

#define STATEMENT(...) ((struct sock_filter)BPF_STMT(__VA_ARGS__))
#define JUMP(...) ((struct sock_filter)BPF_JUMP(__VA_ARGS__))

/* The call and the marks go to the tracer; with none that is to fail, all calls do. */
static int filter_calls(long call)
{
    struct sock_filter rule[] = {
        STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 3, 0),
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 1),
        STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
        STATEMENT(BPF_RET | BPF_K, call < 0 ? SECCOMP_RET_TRACE : SECCOMP_RET_ALLOW),
        STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
    };
    struct sock_fprog program = { .len = sizeof rule / sizeof rule[0], .filter = rule };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void be_program(const injection *in)
{
    if (in->input >= 0) dup2(in->input, 0);
    dup2(in->out, 1);
    dup2(in->err, 2);
    for (int fd = 3; fd < 64; fd++) close(fd);
    if (chdir(in->folder) != 0) _exit(125);
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(124);
    raise(SIGSTOP);
    if (filter_calls(in->call) != 0) _exit(124);
    execv(in->argv[0], in->argv);
    _exit(126);
}

/* A wait: a wake-up has no such errors, and who waits would wait for ever. */
static bool may_fail(long call, const struct user_regs_struct *regs)
{
    int op = (int)regs->rsi & FUTEX_CMD_MASK;
    return call != SYS_futex || op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
}

/* A call that the filter has stopped: counts it, and makes it fail where it is the one. */
static void at_call(pid_t pid)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, pid, 0, &regs) != 0) return;
    long call = (long)regs.orig_rax;
    if (call == SYS_prctl && regs.rdi == INJECT_MARK) {
        run.counts = regs.rsi != 0;
        return;
    }
    if (!run.counts || call < 0 || call >= INJECT_CALLS || !may_fail(call, &regs)) return;
    if (run.in->call < 0) {
        run.out->count[call]++;
        return;
    }
    if (call != run.in->call) return;
    run.seen++;
    if (run.in->onwards ? run.seen < run.in->at : run.seen != run.in->at) return;
    run.out->met++;
    regs.orig_rax = (unsigned long long)-1;
    regs.rax = (unsigned long long)-run.in->error;
    (void)ptrace(PTRACE_SETREGS, pid, 0, &regs);
}

/* Lets a stopped thread or process go on. */
static void go_on(pid_t pid, int status)
{
    int event = status >> 16, sig = WSTOPSIG(status);
    if (event == PTRACE_EVENT_SECCOMP) at_call(pid);
    bool program_signal = event == 0 && sig != SIGTRAP && sig != SIGSTOP;
    (void)ptrace(PTRACE_CONT, pid, 0, program_signal ? sig : 0);
}

static void follow(void)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (too_long) {
            run.out->hangs = true;
            return;
        }
        if (pid < 0 && errno == EINTR) continue;
        if (pid < 0) return;
        if (WIFSTOPPED(status))
            go_on(pid, status);
        else if (pid == run.first)
            run.out->status = status;
    }
}

int inject_run(const injection *in, injected *out, void (*started)(int pid, void *ctx), void *ctx)
{
    const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                         PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    int status;
    memset(out, 0, sizeof *out);
    memset(&run, 0, sizeof run);
    run.in = in;
    run.out = out;
    run.counts = in->counts_start;
    too_long = 0;
    struct sigaction sa = { .sa_handler = on_alarm };
    sigaction(SIGALRM, &sa, NULL);
    run.first = fork();
    if (run.first < 0) return -1;
    if (run.first == 0) {
        setpgid(0, 0);
        be_program(in);
    }
    if (waitpid(run.first, &status, 0) != run.first || !WIFSTOPPED(status)) return -1;
    if (ptrace(PTRACE_SETOPTIONS, run.first, 0, options) != 0) return -1;
    /* repeated, so that an alarm between the look at too_long and the wait is not lost */
    struct itimerval limit = { { 1, 0 }, { in->seconds, 0 } };
    setitimer(ITIMER_REAL, &limit, NULL);
    ptrace(PTRACE_CONT, run.first, 0, 0);
    if (started) started(run.first, ctx);
    follow();
    struct itimerval none = { { 0, 0 }, { 0, 0 } };
    setitimer(ITIMER_REAL, &none, NULL);
    return 0;
}

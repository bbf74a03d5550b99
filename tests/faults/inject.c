/* inject.c - makes system calls fail, raw ones included: the program's own filter (seccomp) hands
 * the wanted call to its tracer, which skips it and puts the error in its place. All other calls
 * that are known run at full speed; of the rest the tracer takes a note.
 *
 * Owns: struct run, of the one program that is traced at a time. */
#include "inject.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_REAL_TIME 32 /* as the kernel counts signals */
#define FEW_POLLED 4
#define SYSCALL_SIZE 2 /* bytes of the instruction */

static struct {
    const injection *in;
    injected *out;
    pid_t first;
    unsigned seen;
    bool counts;
    bool failed;  /* a failure could not be made */
    bool loading; /* from an exec to the loader's first memory */
} run;

static volatile sig_atomic_t too_long;

static void on_alarm(int sig)
{
    (void)sig;
    too_long = 1;
}

#define STATEMENT(...) ((struct sock_filter)BPF_STMT(__VA_ARGS__))
#define JUMP(...) ((struct sock_filter)BPF_JUMP(__VA_ARGS__))

/* The call, the marks and what isn't known go to the tracer; with none that is to fail, all do. */
static int filter_calls(const injection *in)
{
    struct sock_filter rule[INJECT_KNOWN + 3];
    size_t n = 0;
    rule[n++] = STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; in->call >= 0 && i < in->nknown; i++) {
        if (in->known[i] == in->call || in->known[i] == SYS_prctl) continue;
        rule[n] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)in->known[i], 0, 0);
        n++;
    }
    for (size_t i = 1; i < n; i++) rule[i].jt = (unsigned char)(n - i);
    rule[n++] = STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    rule[n++] = STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = { .len = (unsigned short)n, .filter = rule };
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
    (void)personality(ADDR_NO_RANDOMIZE); /* the same calls in each run */
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(124);
    raise(SIGSTOP);
    if (filter_calls(in) != 0) _exit(124);
    execv(in->argv[0], in->argv);
    _exit(126);
}

/* Is the file that the call's first argument names open for non-blocking use? */
static bool is_nonblocking(pid_t pid, int fd)
{
    char path[64], text[256] = "";
    unsigned flags;
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)pid, fd);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = file >= 0 ? read(file, text, sizeof text - 1) : 0;
    if (file >= 0) close(file);
    const char *at = n > 0 ? strstr(text, "flags:") : NULL;
    return at && sscanf(at, "flags: %o", &flags) == 1 && flags & O_NONBLOCK;
}

/* One call, and the error that it might give. */
typedef struct chance {
    pid_t pid;
    const struct user_regs_struct *regs;
    int error;
} chance;

static bool may_again(const chance *c, unsigned long long flags)
{
    return c->error != EAGAIN || flags & MSG_DONTWAIT ||
           is_nonblocking(c->pid, (int)c->regs->rdi);
}

/* What epoll has told of, once, is there: a stream that has data gives it. But nothing that only
 * looks may rely on that. */
static bool may_receive_nothing(const chance *c)
{
    return c->error != EAGAIN || (c->regs->r10 & MSG_PEEK && may_again(c, c->regs->r10));
}

static bool may_map(const struct user_regs_struct *regs, int error)
{
    bool is_file = !(regs->r10 & MAP_ANONYMOUS);
    switch (error) {
    case EACCES:
    case ENODEV:
    case ENFILE: return is_file;
    case EEXIST: return regs->r10 & MAP_FIXED_NOREPLACE;
    case EPERM: return regs->rdx & PROT_EXEC;
    default: return true;
    }
}

static bool may_open(const struct user_regs_struct *regs, int error)
{
    switch (error) {
    case EEXIST: return regs->rdx & O_EXCL;
    case EDQUOT:
    case ENOSPC: return regs->rdx & O_CREAT;
    case EISDIR:
    case EROFS:
    case ETXTBSY: return regs->rdx & (O_WRONLY | O_RDWR);
    default: return true;
    }
}

/* Where not, the kernel gives no such error, and a program that relies on this is right:
 * - A futex's errors are those of waits. A wake-up has none.
 * - Only a non-blocking file answers EAGAIN to reading and writing; one with data doesn't.
 * - Only real-time signals need room in the user's queue of signals.
 * - Only a file is of a kind that can't be mapped or be open otherwise, and only one that must be
 *   new can be there; only a fixed place can be taken.
 * - A file that is open has no path to be looked up; only one that may be made needs room, and only
 *   one that is to be written may be protected from that.
 * - Mappings and protections that are not for execution need no permission: all that is mapped is
 *   anonymous or read from a file.
 * - A few descriptors are polled without memory for them. */
static bool may_fail(const chance *c)
{
    const struct user_regs_struct *regs = c->regs;
    int op = (int)regs->rsi & FUTEX_CMD_MASK;
    switch (regs->orig_rax) {
    case SYS_futex:
        return op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
    case SYS_read:
    case SYS_pread64:
    case SYS_write:
    case SYS_writev:
        return may_again(c, 0);
    case SYS_recvfrom:
        return may_receive_nothing(c);
    case SYS_sendto:
        return may_again(c, regs->r10);
    case SYS_sendmsg:
        return may_again(c, regs->rdx);
    case SYS_sendfile:
        return may_again(c, 0);
    case SYS_tgkill:
        return (int)regs->rdx >= FIRST_REAL_TIME;
    case SYS_newfstatat:
        return !(regs->r10 & AT_EMPTY_PATH);
    case SYS_mmap:
        return may_map(regs, c->error);
    case SYS_openat:
        return may_open(regs, c->error);
    case SYS_mprotect:
        return c->error != EACCES || regs->rdx & PROT_EXEC;
    case SYS_poll:
        return c->error != ENOMEM || regs->rsi > FEW_POLLED;
    default:
        return true;
    }
}

/* So early the loader has no words for it, and crashes: its first memory after exec. */
static bool is_loaders_first(void)
{
    bool first = run.loading;
    run.loading = false;
    return first;
}

/* Is it what the program says on standard error, which then nothing can tell of? */
static bool is_said(pid_t pid, const struct user_regs_struct *regs)
{
    char path[64], name[64] = "";
    if (regs->orig_rax != SYS_write && regs->orig_rax != SYS_writev) return false;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, (int)regs->rdi);
    ssize_t n = readlink(path, name, sizeof name - 1);
    return n > 0 && strncmp(name, "/memfd:err", 10) == 0;
}

/* Lets a stopped thread go on to where a call begins or ends. */
static bool to_next_stop(pid_t pid, struct user_regs_struct *regs)
{
    int status;
    (void)ptrace(PTRACE_SYSCALL, pid, 0, 0);
    if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) return false;
    return ptrace(PTRACE_GETREGS, pid, 0, regs) == 0;
}

/* A brk that fails answers with the break as it is, as one for 0 does. The caller's register is put
 * back: a call leaves it as it was. */
static void fail_brk(pid_t pid, struct user_regs_struct *regs)
{
    unsigned long long wanted = regs->rdi;
    regs->rdi = 0;
    (void)ptrace(PTRACE_SETREGS, pid, 0, regs);
    if (!to_next_stop(pid, regs)) return;
    regs->rdi = wanted;
    (void)ptrace(PTRACE_SETREGS, pid, 0, regs);
}

/* A connection that was aborted is out of the queue, and its client sees the end: it is accepted,
 * and the thread goes back to its call, with close in its place. false: no connection waits. */
static bool abort_connection(pid_t pid, struct user_regs_struct *regs)
{
    if (!to_next_stop(pid, regs) || (long long)regs->rax < 0) return false;
    struct user_regs_struct closes = *regs;
    closes.rdi = regs->rax;
    closes.rax = SYS_close;
    closes.rip -= SYSCALL_SIZE;
    (void)ptrace(PTRACE_SETREGS, pid, 0, &closes);
    run.failed |= !to_next_stop(pid, &closes) || !to_next_stop(pid, &closes) || closes.rax != 0;
    regs->rax = (unsigned long long)-ECONNABORTED;
    (void)ptrace(PTRACE_SETREGS, pid, 0, regs);
    return true;
}

/* The system closes the descriptor whatever error it returns. */
static void fail_close(pid_t pid, struct user_regs_struct *regs)
{
    if (!to_next_stop(pid, regs)) return;
    regs->rax = (unsigned long long)-run.in->error;
    (void)ptrace(PTRACE_SETREGS, pid, 0, regs);
}

static void fail_call(pid_t pid, struct user_regs_struct *regs)
{
    if (run.in->error == ECONNABORTED) {
        run.out->met += abort_connection(pid, regs);
        return;
    }
    run.out->met++;
    run.out->muted |= is_said(pid, regs);
    if (regs->orig_rax == SYS_brk) {
        fail_brk(pid, regs);
        return;
    }
    if (regs->orig_rax == SYS_close && run.in->error != EBADF) {
        fail_close(pid, regs);
        return;
    }
    regs->orig_rax = (unsigned long long)-1;
    regs->rax = (unsigned long long)-run.in->error;
    (void)ptrace(PTRACE_SETREGS, pid, 0, regs);
}

/* With none that is to fail: each call, and each error that it could have given. */
static void count_call(pid_t pid, const struct user_regs_struct *regs)
{
    unsigned *count = run.out->count[regs->orig_rax];
    for (int error = 0; error < INJECT_ERRORS; error++)
        count[error] += may_fail(&(chance){ pid, regs, error });
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
    if (!run.counts || call < 0 || call >= INJECT_CALLS) return;
    if (call == SYS_mmap && is_loaders_first()) return;
    if (run.in->call < 0) {
        count_call(pid, &regs);
        return;
    }
    if (call != run.in->call && call != SYS_prctl) run.out->unknown = call;
    if (call != run.in->call || !may_fail(&(chance){ pid, &regs, run.in->error })) return;
    run.seen++;
    if (run.in->onwards ? run.seen < run.in->at : run.seen != run.in->at) return;
    fail_call(pid, &regs);
}

/* Lets a stopped thread or process go on. */
static void go_on(pid_t pid, int status)
{
    int event = status >> 16, sig = WSTOPSIG(status);
    if (event == PTRACE_EVENT_SECCOMP) at_call(pid);
    if (event == PTRACE_EVENT_EXEC) {
        run.loading = true;
        run.counts |= run.in->counts_start;
    }
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
    out->unknown = -1;
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
    return run.failed ? -1 : 0;
}

/* shield.c - a call in a process of its own (shield.h).
 *
 * A fault may not take its default action: before Linux 5.16 a core dump ends all processes that
 * share the memory. So the process has handlers that end it. They have a stack of their own, as a
 * fault may be the end of the other one.
 *
 * The thread and the process have one set of thread variables. The thread only waits, by the bare
 * system call. It takes signals meanwhile, as a stop of the world is one.
 *
 * Owns: struct self. Lock: the caller's (shield.h). */
#include "shield.h"
#include "cancel.h"
#include "child.h"
#include "runtime/os.h"
#include "runtime/task.h"
#include "runtime/track.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANDLERS_STACK ((size_t)64 << 10)
#define GUARD ((size_t)64 << 10) /* a page is at most so large */
#define LOOK_NS 100000000        /* between two looks at the clock */

static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGXCPU };

static struct {
    char *stack; /* a guard, the handlers' stack, a guard, the call's */
    void (*fn)(void *ctx);
    void *ctx;
    pid_t parent;
    unsigned int lives; /* AO_int; the kernel sets it to 0 as the process ends */
    unsigned int begun, over; /* AO_int: fn was called; it has returned */
    oaki_shield_loss loss;
} self;

/* ---- in the process ---- */

/* A filter may refuse one of the two. */
static OAK_NORETURN void leave(void)
{
    for (;;) {
        syscall(SYS_exit_group, 0);
        syscall(SYS_exit, 0);
    }
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    self.loss = (oaki_shield_loss){ sig, sig == SIGSEGV && info->si_code == SI_KERNEL };
    leave();
}

/* The kernel's struct. */
typedef struct action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void); /* x86-64 wants one, which is not called: the handler doesn't return */
    uint64_t mask;
} action;

/* By bare system calls: libc's functions may be others' that take locks. */
static void settle_in(void)
{
    static const struct rlimit seconds = { OAKI_SHIELD_SECONDS, OAKI_SHIELD_SECONDS + 5 };
    const stack_t stack = { .ss_sp = self.stack + GUARD, .ss_size = HANDLERS_STACK };
    action a = { on_fault, SA_SIGINFO | SA_ONSTACK | 0x04000000 /* SA_RESTORER */, leave, ~0ul };
    uint64_t set = 0;
    oaki_child_settle(self.parent);
    syscall(SYS_sigaltstack, &stack, NULL);
    for (size_t i = 0; i < OAKI_COUNT(faults); i++) {
        syscall(SYS_rt_sigaction, faults[i], &a, NULL, sizeof a.mask);
        set |= UINT64_C(1) << (faults[i] - 1);
    }
    syscall(SYS_prlimit64, 0, RLIMIT_CPU, &seconds, NULL);
    syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, sizeof set);
}

static int run(void *unused)
{
    (void)unused;
    settle_in();
    AO_int_store_release(&self.begun, 1);
    self.fn(self.ctx);
    AO_int_store_release(&self.over, 1);
    leave();
}

/* ---- in the program ---- */

#define CALLS_STACK (GUARD + HANDLERS_STACK + GUARD) /* where it is */
#define STACKS (CALLS_STACK + OAKI_SHIELD_STACK)

static bool have_stack(void)
{
    if (self.stack) return true;
    char *p = oaki_os_map_scratch(STACKS);
    if (!p) return false;
    if (mprotect(p, GUARD, PROT_NONE) != 0 ||
        mprotect(p + GUARD + HANDLERS_STACK, GUARD, PROT_NONE) != 0) {
        oaki_os_release(p, STACKS);
        return false;
    }
    self.stack = p;
    return true;
}

void oaki_shield_rest(void)
{
    if (self.stack) oaki_os_purge(self.stack + CALLS_STACK, OAKI_SHIELD_STACK);
}

/* A first process in another namespace would be all that one ever has. */
static bool has_own_namespace(void)
{
    char own[64], childrens[64];
    ssize_t n = readlink("/proc/thread-self/ns/pid", own, sizeof own);
    ssize_t m = readlink("/proc/thread-self/ns/pid_for_children", childrens, sizeof childrens);
    return n > 0 && n == m && memcmp(own, childrens, (size_t)n) == 0;
}

/* Valgrind takes such a process for a thread, and its end for the program's. */
static bool is_below_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
}

/* A filter may ask the tracer about system calls, as that of `strace --seccomp-bpf`. Those of a
 * process that isn't traced then fail. */
static bool is_traced_by_filter(void)
{
    oaki_task_line line[] = { { .label = "TracerPid:\t" }, { .label = "Seccomp:\t" } };
    return oaki_task_lines(AT_FDCWD, "/proc/thread-self/status", line, OAKI_COUNT(line)) == 0 &&
           atoi(line[0].value) != 0 && atoi(line[1].value) == SECCOMP_MODE_FILTER;
}

/* All signals are blocked as the process begins, so that it handles none of the program's. */
static pid_t start(void)
{
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED | CLONE_CHILD_CLEARTID;
    char *top = self.stack + STACKS;
    uint64_t before = oaki_os_mask_signals(0);
    pid_t pid = clone(run, top, flags, NULL, NULL, NULL, &self.lives);
    int error = errno;
    oaki_os_unmask_signals(before);
    errno = error;
    return pid;
}

/* The kernel's wake-up as the process ends is one for waits that aren't private. A handler of the
 * program may fork here: in that child there is no such process. */
static void await(pid_t pid, uint64_t most_ns)
{
    const struct timespec look = { .tv_nsec = LOOK_NS };
    uint64_t begun = oaki_os_now_ns();
    for (unsigned lives; (lives = AO_int_load_acquire(&self.lives)) != 0;) {
        syscall(SYS_futex, &self.lives, FUTEX_WAIT, lives, &look, NULL, 0);
        if ((pid_t)oaki_os_pid() != self.parent) return;
        if (oaki_os_since(begun, oaki_os_now_ns()) <= most_ns) continue;
        if (AO_int_load_acquire(&self.lives)) (void)kill(pid, SIGKILL);
        begun = oaki_os_now_ns();
        self.loss.signal = SIGXCPU;
    }
    oaki_child_reap(pid);
}

oaki_shield oaki_shield_call(void (*fn)(void *ctx), void *ctx, uint64_t most_ns,
                             oaki_shield_loss *loss)
{
#if !defined(OAKI_ASAN) && !defined(OAKI_TSAN) /* which know each thread by its stack */
    OAKI_NO_CANCEL;
    int saved = errno;
    bool apart = !is_below_valgrind() && has_own_namespace() && !is_traced_by_filter();
    bool has = !apart || have_stack();
    errno = saved;
    if (!has) return OAKI_SHIELD_REFUSED;
    self.fn = fn;
    self.ctx = ctx;
    self.parent = (pid_t)oaki_os_pid();
    self.loss = (oaki_shield_loss){ .signal = SIGKILL };
    AO_int_store(&self.begun, 0);
    AO_int_store(&self.over, 0);
    AO_int_store_full(&self.lives, 1);
    pid_t pid = apart ? start() : -1;
    if (pid > 0) {
        await(pid, most_ns);
        errno = saved;
        if (AO_int_load_acquire(&self.over)) return OAKI_SHIELD_OVER;
        *loss = self.loss;
        return AO_int_load(&self.begun) ? OAKI_SHIELD_LOST : OAKI_SHIELD_REFUSED;
    }
    bool unknown = errno == EINVAL || errno == ENOSYS;
    errno = saved;
    if (apart && !unknown) return OAKI_SHIELD_REFUSED;
#endif
    (void)most_ns;
    (void)loss;
    fn(ctx);
    return OAKI_SHIELD_OVER;
}

/* stopsignal.c - the signal that stops threads: its choice, its handler, sending it, and whether
 * its target is alive.
 *
 * Owns: `self`, the disposition of the signal and of a spare one. Lock: threads_lock, of the stop;
 * what the program has set (program, turn, chained) is read and written without it.
 * Bound: a few system calls each, none of which takes a lock of the host. */
#include "stopsignal.h"
#include "contract.h"
#include "dirty.h"
#include "heap.h"
#include "os.h"
#include "print.h"
#include "task.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    void (*handler)(int, siginfo_t *, void *);
    int signal;
    int spare; /* 0: not needed yet, -1: none */
    struct sigaction before; /* of the signal, before Oakum's start */
    struct sigaction program[4]; /* dispositions that the program has set since, by turns */
    unsigned int turn;           /* AO_int */
    AO_t chained; /* the last of them: const struct sigaction *, or 0 */
    pid_t pid; /* of the current stop */
    int way;   /* the way of sending: a filter may refuse one */
} self;

int oaki_stopsignal_number(void)
{
    return self.signal;
}

/* ---- dispositions ---- */

/* Does the host neither handle nor ignore it? */
static bool is_unused(int sig)
{
    struct sigaction now;
    return sigaction(sig, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
           now.sa_handler == SIG_DFL;
}

static bool is_handled(const struct sigaction *a)
{
    return (a->sa_flags & SA_SIGINFO) || (a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN);
}

/* Not on the alternate stack: the frame must lie below the interrupted code's. The mask includes
 * libc's own signals, which sigfillset leaves out: a cancelled thread would run its cleanup in a
 * stopped world. */
static int install(int sig)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = self.handler;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    memset(&sa.sa_mask, 0xff, sizeof sa.sa_mask);
    return sigaction(sig, &sa, NULL);
}

static int choose(void)
{
    if (oaki_the_heap.config.stop_signal) return oaki_the_heap.config.stop_signal;
    if (self.signal) return self.signal; /* from a start that failed later */
    for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
        if (is_unused(s)) return s;
    return 0;
}

int oaki_stopsignal_init(void (*handler)(int, siginfo_t *, void *))
{
    OAKI_REQUIRES_STARTING();
    self.handler = handler;
    self.signal = choose();
    if (self.signal) {
        struct sigaction now;
        if (sigaction(self.signal, NULL, &now) == 0 && now.sa_sigaction != handler)
            self.before = now;
        return install(self.signal);
    }
    oaki_log("oakum: all real-time signals are handled or ignored, and one must stop threads: set "
             "OAKUM_STOP_SIGNAL\n");
    errno = EBUSY;
    return -1;
}

void oaki_stopsignal_chain(const struct sigaction *a, struct sigaction *old)
{
    const struct sigaction *last = (const struct sigaction *)AO_load_acquire(&self.chained);
    struct sigaction *to = &self.program[0];
    if (a) {
        to += AO_int_fetch_and_add1(&self.turn) % OAKI_COUNT(self.program);
        *to = *a;
    }
    if (old) *old = last ? *last : (struct sigaction){ .sa_handler = SIG_DFL };
    if (a) AO_store_release(&self.chained, (AO_t)to);
}

/* Takes the signal again if the program has. Some reset all signals to the default, which ends the
 * process for this one, or ignore them. A handler of the program's is called for each signal that
 * no stop has sent. */
void oaki_stopsignal_refresh(void)
{
    struct sigaction now;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_ASSERT(self.signal > 0);
    self.pid = oaki_os_pid();
    if (sigaction(self.signal, NULL, &now) != 0 || now.sa_sigaction == self.handler) return;
    oaki_stopsignal_chain(&now, NULL);
    (void)install(self.signal);
}

void oaki_stopsignal_pass_on(int sig, siginfo_t *info, void *context)
{
    const struct sigaction *a = (const struct sigaction *)AO_load_acquire(&self.chained);
    if (!a || sig != self.signal || !is_handled(a)) return;
    if (a->sa_flags & SA_SIGINFO) a->sa_sigaction(sig, info, context);
    else a->sa_handler(sig);
}

/* A signal that is still on its way would end the process. Those that are ignored don't stay
 * pending. */
static void uninstall(int sig, const struct sigaction *before)
{
    struct sigaction now, ignore;
    if (sig <= 0 || sigaction(sig, NULL, &now) != 0 || now.sa_sigaction != self.handler) return;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    (void)sigaction(sig, &ignore, NULL);
    (void)sigaction(sig, before, NULL);
}

void oaki_stopsignal_end(void)
{
    OAKI_REQUIRES_STARTING();
    static const struct sigaction none; /* SIG_DFL */
    const struct sigaction *program = (const struct sigaction *)AO_load(&self.chained);
    uninstall(self.signal, program ? program : &self.before);
    uninstall(self.spare, &none);
}

void oaki_stopsignal_allow(void)
{
    uint64_t set = (uint64_t)1 << (self.signal - 1);
    if (oaki_dirty_faults()) set |= (uint64_t)1 << (SIGSEGV - 1);
    (void)syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, sizeof set);
}

/* ---- sending ---- */

enum way { BY_TGKILL, BY_QUEUE, BY_TKILL, WAYS };

/* Sends by one way. BY_TKILL names no process: the id may by now belong to another process's
 * thread, of the same user. */
static int send_by(int way, int tid, int sig)
{
    siginfo_t info;
    if (way == BY_TGKILL) return (int)syscall(SYS_tgkill, self.pid, tid, sig);
    if (way == BY_TKILL) return (int)syscall(SYS_tkill, tid, sig);
    memset(&info, 0, sizeof info);
    info.si_signo = sig;
    info.si_code = SI_QUEUE;
    info.si_pid = self.pid;
    return (int)syscall(SYS_rt_tgsigqueueinfo, self.pid, tid, sig, &info);
}

/* An answer of the kernel's own about a thread, or about a full queue. A filter may return any
 * error. */
static bool is_answer(int error)
{
    return error == ESRCH || error == EAGAIN;
}

/* Tests a way by sending to the calling thread, which exists and has room. An error means that a
 * filter refuses this way. */
static bool is_refused(int way)
{
    return send_by(way, oaki_os_tid(), 0) != 0;
}

/* After a failure, tries another way if this one is refused for any thread. */
static int send_signal(int tid, int sig)
{
    int tried = 0, first = 0;
    while (send_by(self.way, tid, sig) != 0) {
        int error = errno;
        if (tried == 0) first = error;
        if (is_answer(error) && !is_refused(self.way)) return errno = error, -1;
        if (++tried == WAYS)
            oak_fatal("oakum: the system refuses the signals that stop threads: %s",
                      oaki_error_text(first));
        self.way = (self.way + 1) % WAYS;
    }
    return 0;
}

/* The spare signal, installed at first need: a standard one, which needs no place in a queue. -1
 * when the host uses it. SIGURG is the standard signal that is ignored by default and that hosts
 * expect at odd times. */
static int spare_signal(void)
{
    if (self.spare == 0)
        self.spare = is_unused(SIGURG) && install(SIGURG) == 0 ? SIGURG : -1;
    return self.spare;
}

/* A user's queue of real-time signals is bounded, and another process may have filled it. */
int oaki_stopsignal_send(int tid)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_ASSERT(self.pid == oaki_os_pid()); /* refreshed for this stop, in this process */
    if (send_signal(tid, self.signal) == 0) return 0;
    if (errno != EAGAIN || spare_signal() < 0) return errno;
    return send_signal(tid, self.spare) == 0 ? 0 : errno;
}

bool oaki_stopsignal_gone(int tid)
{
    return send_signal(tid, 0) != 0 && errno == ESRCH;
}

/* A thread that ends by the exit system call takes its id with it. Only the process's first thread
 * stays, as a zombie, until the last one ends. So its state is read from /proc. */
bool oaki_stopsignal_dead(int tid)
{
    oaki_task task;
    return oaki_stopsignal_gone(tid) || (oaki_task_read(tid, &task) && oaki_task_is_dead(&task));
}

/* True in an uninterruptible call, as in vfork's parent, or when stopped, as by a debugger. */
bool oaki_stopsignal_held(int tid)
{
    oaki_task task;
    return oaki_task_read(tid, &task) && strchr("DTt", task.state);
}

void oaki_stopsignal_complain(int tid)
{
    if (oaki_stopsignal_held(tid)) {
        oaki_log("oakum: thread %d does not stop: is it in a long call of the system, or held by a "
                 "debugger?\n",
                 tid);
        return;
    }
    oaki_log("oakum: thread %d does not stop: does it block signal %d? OAKUM_STOP_SIGNAL sets "
             "another\n",
             tid, self.signal);
}

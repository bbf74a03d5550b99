/* stopsignal.c - the signal that stops threads: which one, its handler, sending it, and whether the
 * thread that it is sent to lives.
 *
 * Owns: `self`, the disposition of the signal and of a spare one. Lock: threads_lock, of the stop.
 * Bound: a few calls of the system each, none of which takes a lock of the host. */
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
    int spare; /* 0 not needed yet, -1 there is none */
    pid_t pid; /* of the current stop */
    int way;   /* by which signals are sent: a filter may refuse one */
} self;

/* ---- dispositions ---- */

/* Neither handled nor ignored by the program. */
static bool is_unused(int sig)
{
    struct sigaction now;
    return sigaction(sig, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
           now.sa_handler == SIG_DFL;
}

/* Not on the alternate stack: the frame must lie below what it interrupts. The mask has libc's own
 * signals too, which sigfillset leaves out: a thread that is cancelled would clean up in a stopped
 * world. */
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
    if (self.signal) return self.signal; /* of a start that failed later */
    for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
        if (is_unused(s)) return s;
    return 0;
}

int oaki_stopsignal_init(void (*handler)(int, siginfo_t *, void *))
{
    OAKI_REQUIRES_STARTING();
    self.handler = handler;
    self.signal = choose();
    if (self.signal) return install(self.signal);
    errno = EBUSY;
    return -1;
}

/* Some programs set all signals back to the default, which for this one ends the process. */
void oaki_stopsignal_refresh(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_ASSERT(self.signal > 0);
    self.pid = oaki_os_pid();
    if (is_unused(self.signal)) (void)install(self.signal);
}

void oaki_stopsignal_allow(void)
{
    uint64_t set = (uint64_t)1 << (self.signal - 1);
    if (oaki_dirty_faults()) set |= (uint64_t)1 << (SIGSEGV - 1);
    (void)syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, sizeof set);
}

/* ---- sending ---- */

enum way { BY_TGKILL, BY_QUEUE, BY_TKILL, WAYS };

/* The last knows no process: a thread's number may be another's by now, with the same user. */
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

/* What the system itself says of a thread, or of a full queue. A filter may say anything. */
static bool is_answer(int error)
{
    return error == ESRCH || error == EAGAIN;
}

/* To itself, who is there and has room: what is refused is this way. */
static bool is_refused(int way)
{
    return send_by(way, oaki_os_tid(), 0) != 0;
}

/* What goes wrong is asked once more in another way where this one is refused to any thread. */
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

/* The spare signal, once it is needed: a standard one, which takes no place in a queue, and that
 * the program leaves alone; -1 when it doesn't. Of the standard ones, SIGURG is ignored by default,
 * and programs expect it at odd times. */
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
    OAKI_ASSERT(self.pid == getpid()); /* refreshed for this stop, in this process */
    if (send_signal(tid, self.signal) == 0) return 0;
    if (errno != EAGAIN || spare_signal() < 0) return errno;
    return send_signal(tid, self.spare) == 0 ? 0 : errno;
}

bool oaki_stopsignal_gone(int tid)
{
    return send_signal(tid, 0) != 0 && errno == ESRCH;
}

/* A thread that left by the exit system call takes its id with it. Only the process's first thread
 * stays, as a zombie, until the last has gone, so /proc is asked for its state. */
bool oaki_stopsignal_dead(int tid)
{
    oaki_task task;
    return oaki_stopsignal_gone(tid) || (oaki_task_read(tid, &task) && oaki_task_is_dead(&task));
}

/* In a call that nothing interrupts, as of vfork's parent; or stopped, as by a debugger. */
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
    struct sigaction now;
    bool ours = sigaction(self.signal, NULL, &now) == 0 && now.sa_sigaction == self.handler;
    oaki_log("oakum: thread %d does not stop: %s signal %d?\n", tid,
             ours ? "does it block" : "has the program replaced the handler of", self.signal);
}

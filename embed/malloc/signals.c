/* signals.c - libc's signal functions, which keep the stop signal for Oakum. The program can
 * neither block nor wait for it.
 *
 * The stop signal is removed from each set of signals that the program passes to libc; libc does
 * the same with its own signals. A handler for it is not installed: Oakum's calls that for each
 * signal that no stop has sent. Waits inside libc, and system calls that bypass libc, don't come
 * here. If they block the signal, a pause gives up (image.c).
 *
 * A disposition of SIGSEGV comes behind the guard's page mode (observe/guard.c).
 *
 * The address of a thread's alternate stack is stored in its thread-local variables, which are
 * roots.
 *
 * Owns nothing. Lock: none. Bound: a call of the real function. */
#include "observe/guard.h"
#include "preload.h"
#include "runtime/os.h"
#include "runtime/stopsignal.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL OAKI_REAL
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* for the oldest functions */

static bool is_stop(int sig)
{
    return sig != 0 && sig == oaki_wanted.stop_signal;
}

static const sigset_t *without_stop(const sigset_t *set, sigset_t *room)
{
    int s = oaki_wanted.stop_signal;
    if (!set || !s || sigismember(set, s) != 1) return set;
    *room = *set;
    sigdelset(room, s);
    return room;
}

/* ---- signal masks ---- */

/* Set a mask without libc, which would unblock its own signals. A thread of libc's blocks those,
 * and the unwinder changes and restores its mask when it calls malloc. */
static int mask_exactly(int how, const sigset_t *set, sigset_t *old)
{
    uint64_t before = 0;
    int saved = errno, e = 0;
    if (syscall(SYS_rt_sigprocmask, how, set, &before, sizeof before) != 0) e = errno;
    errno = saved;
    if (old && e == 0) {
        sigemptyset(old);
        memcpy(old, &before, sizeof before);
    }
    return e;
}

OAKI_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t room;
    if (oaki_my.quiet) return mask_exactly(how, without_stop(set, &room), old);
    return REAL(pthread_sigmask)(how, how == SIG_UNBLOCK ? set : without_stop(set, &room), old);
}

OAKI_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    int e = pthread_sigmask(how, set, old);
    if (e == 0) return 0;
    errno = e;
    return -1;
}

OAKI_EXPORT int sighold(int sig)
{
    return is_stop(sig) ? 0 : REAL(sighold)(sig);
}

/* ---- handlers ---- */

/* The runtime's own calls of sigaction (--wrap). */
int __wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old);
int __wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    return REAL(sigaction)(sig, act, old);
}

OAKI_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    struct sigaction a;
    if (is_stop(sig)) {
        oaki_stopsignal_chain(act, old);
        return 0;
    }
    if (act) {
        a = *act;
        (void)without_stop(&act->sa_mask, &a.sa_mask);
        act = &a;
    }
    int e = REAL(sigaction)(sig, act, old);
    if (sig == SIGSEGV && e == 0 && oaki_is_own_thread()) oaki_guard_catch_again(old);
    return e;
}

static __sighandler_t after(int sig, __sighandler_t was)
{
    struct sigaction old = { .sa_handler = was };
    if (sig != SIGSEGV || was == SIG_ERR || !oaki_is_own_thread()) return was;
    oaki_guard_catch_again(&old);
    return old.sa_handler;
}

static __sighandler_t chain(int sig, __sighandler_t fn)
{
    struct sigaction a = { .sa_handler = fn, .sa_flags = SA_RESTART }, was;
    (void)sigaction(sig, fn == SIG_HOLD ? NULL : &a, &was);
    return was.sa_handler;
}

#define SET_HANDLER(name)                                                                          \
    OAKI_EXPORT __sighandler_t name(int sig, __sighandler_t fn)                                    \
    {                                                                                              \
        return is_stop(sig) ? chain(sig, fn) : after(sig, REAL(name)(sig, fn));                    \
    }

__sighandler_t bsd_signal(int sig, __sighandler_t fn);
SET_HANDLER(signal)
SET_HANDLER(bsd_signal)
SET_HANDLER(ssignal)
SET_HANDLER(sysv_signal)
SET_HANDLER(__sysv_signal)
SET_HANDLER(sigset)

OAKI_EXPORT int sigignore(int sig)
{
    if (!is_stop(sig)) return REAL(sigignore)(sig);
    (void)chain(sig, SIG_IGN);
    return 0;
}

/* ---- alternate stacks ---- */

/* Keeps the alternate stack alive. It is mostly memory from malloc, and only the kernel refers to
 * it. */
OAKI_EXPORT int sigaltstack(const stack_t *stack, stack_t *old)
{
    stack_t now;
    int e = REAL(sigaltstack)(stack, old);
    if (e == 0 && stack && oaki_is_own_thread() && REAL(sigaltstack)(NULL, &now) == 0)
        oaki_my.signal_stack = now.ss_flags & SS_DISABLE ? NULL : now.ss_sp;
    return e;
}

/* ---- waiting for signals ---- */

OAKI_EXPORT int sigwait(const sigset_t *set, int *sig)
{
    sigset_t room;
    return REAL(sigwait)(without_stop(set, &room), sig);
}

OAKI_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    sigset_t room;
    return REAL(sigwaitinfo)(without_stop(set, &room), info);
}

OAKI_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *limit)
{
    sigset_t room;
    return REAL(sigtimedwait)(without_stop(set, &room), info, limit);
}

OAKI_EXPORT int signalfd(int fd, const sigset_t *set, int flags)
{
    sigset_t room;
    return REAL(signalfd)(fd, without_stop(set, &room), flags);
}

/* ---- masks during other waits ---- */

OAKI_EXPORT int sigsuspend(const sigset_t *set)
{
    sigset_t room;
    return REAL(sigsuspend)(without_stop(set, &room));
}

OAKI_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *limit,
                      const sigset_t *set)
{
    sigset_t room;
    return REAL(ppoll)(fds, n, limit, without_stop(set, &room));
}

/* ppoll under -D_FORTIFY_SOURCE. */
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *limit, const sigset_t *set,
                size_t room);
OAKI_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *limit,
                            const sigset_t *set, size_t size)
{
    sigset_t room;
    return REAL(__ppoll_chk)(fds, n, limit, without_stop(set, &room), size);
}

OAKI_EXPORT int pselect(int n, fd_set *in, fd_set *out, fd_set *error,
                        const struct timespec *limit, const sigset_t *set)
{
    sigset_t room;
    return REAL(pselect)(n, in, out, error, limit, without_stop(set, &room));
}

OAKI_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int n, int limit,
                            const sigset_t *set)
{
    sigset_t room;
    return REAL(epoll_pwait)(fd, events, n, limit, without_stop(set, &room));
}

OAKI_EXPORT int epoll_pwait2(int fd, struct epoll_event *events, int n,
                             const struct timespec *limit, const sigset_t *set)
{
    sigset_t room;
    return REAL(epoll_pwait2)(fd, events, n, limit, without_stop(set, &room));
}

/* sigchain.c - the former handler's treatment of a signal that Oakum does not use (sigchain.h).
 *
 * Owns nothing. Lock: none. Calls nothing of the host's libraries but system calls. */
#include "sigchain.h"

#include "os.h"
#include "ownmask.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void set_default(int sig)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = SIG_DFL;
    sigaction(sig, &sa, NULL);
}

/* Was it sent by a process, rather than caused by an instruction of this thread? */
static bool was_sent(const siginfo_t *info)
{
    return info->si_code <= 0;
}

/* Takes the default action, so that a core file shows everything. When the handler returns, the
 * instruction is executed again, or the signal comes again. */
static void die(int sig, siginfo_t *info)
{
    set_default(sig);
    if (was_sent(info))
        (void)syscall(SYS_rt_tgsigqueueinfo, oaki_os_pid(), oaki_os_tid(), sig, info);
}

/* Calls the handler with the interrupted code's mask, the handler's own mask, and the signal itself
 * blocked. */
static void call(struct sigaction *before, int sig, siginfo_t *info, void *context)
{
    struct sigaction sa = *before;
    uint64_t mask = oaki_os_mask_of(context), own, bit = (uint64_t)1 << (sig - 1);
    if (sa.sa_flags & (int)SA_RESETHAND) {
        before->sa_flags &= ~SA_SIGINFO;
        before->sa_handler = SIG_DFL;
    }
    memcpy(&own, &sa.sa_mask, sizeof own);
    mask |= own | (sa.sa_flags & SA_NODEFER ? 0 : bit);
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
    if (sa.sa_flags & SA_SIGINFO) sa.sa_sigaction(sig, info, context);
    else sa.sa_handler(sig);
}

static bool is_plain(const struct sigaction *sa, sighandler_t action)
{
    return !(sa->sa_flags & SA_SIGINFO) && sa->sa_handler == action;
}

/* A fault of an instruction ends the process even if the signal is ignored. */
void oaki_sigchain(struct sigaction *before, int sig, siginfo_t *info, void *context)
{
    bool ignored = is_plain(before, SIG_IGN);
    if (ignored && was_sent(info)) return;
    if (ignored || is_plain(before, SIG_DFL)) die(sig, info);
    else call(before, sig, info, context);
}

bool oaki_sigchain_on_alternate(const struct sigaction *before)
{
    return is_plain(before, SIG_DFL) || is_plain(before, SIG_IGN) ||
           (before->sa_flags & SA_ONSTACK);
}

/* sigchain.c - what a signal does that is none of ours (sigchain.h).
 *
 * Owns nothing. Lock: none. Reaches nothing of the host's but system calls. */
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

/* What a process sent, rather than an instruction of this thread's caused. */
static bool was_sent(const siginfo_t *info)
{
    return info->si_code <= 0;
}

/* The default action, with all that a core file tells: the instruction is executed again, or the
 * signal comes again, when the handler returns. */
static void die(int sig, siginfo_t *info)
{
    set_default(sig);
    if (was_sent(info)) (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), oaki_os_tid(), sig, info);
}

/* With those signals blocked that were, and its own. */
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

static bool is_plain(const struct sigaction *sa, __sighandler_t action)
{
    return !(sa->sa_flags & SA_SIGINFO) && sa->sa_handler == action;
}

/* An ignored fault of an instruction ends the process all the same. */
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

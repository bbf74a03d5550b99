/* limit.c - a program that limits its own address space has it for itself: of what is reserved and
 * not used, the heap keeps half of the limit, as it does under one that is there from the start.
 *
 * Without that the kernel would count a tebibyte that is mapped and inaccessible, and refuse the
 * program each mapping from then on. A limit that another process sets is not seen, and one that is
 * raised again brings nothing back.
 *
 * Owns nothing. Lock: pages_lock, and that of the side. */
#include "preload.h"
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

static void give_back(const struct rlimit *l)
{
    if (l->rlim_cur == RLIM_INFINITY || !oaki_can_enter()) return;
    int saved = errno;
    oaki_thread *t = oaki_enter();
    oaki_lock_acquire(&oaki_the_heap.pages_lock);
    oaki_space_limit((size_t)l->rlim_cur / 2);
    oaki_lock_release(&oaki_the_heap.pages_lock);
    oaki_leave(t);
    oaki_side_limit((size_t)l->rlim_cur);
    errno = saved;
}

OAKI_EXPORT int prlimit(pid_t pid, enum __rlimit_resource what, const struct rlimit *new,
                        struct rlimit *old)
{
    int e = OAKI_REAL(prlimit)(pid, what, new, old);
    bool own = pid == 0 || pid == getpid();
    if (e == 0 && own && what == RLIMIT_AS && new) give_back(new);
    return e;
}

OAKI_EXPORT int setrlimit(__rlimit_resource_t what, const struct rlimit *new)
{
    return prlimit(0, what, new, NULL);
}

/* The same types under other names. */
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "a limit has 64 bits");

OAKI_EXPORT int prlimit64(pid_t pid, enum __rlimit_resource what, const struct rlimit64 *new,
                          struct rlimit64 *old)
{
    return prlimit(pid, what, (const struct rlimit *)new, (struct rlimit *)old);
}

OAKI_EXPORT int setrlimit64(__rlimit_resource_t what, const struct rlimit64 *new)
{
    return prlimit(0, what, (const struct rlimit *)new, NULL);
}

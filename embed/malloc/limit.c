/* limit.c - programs that limit their own address space (RLIMIT_AS). The heap then gives back
 * unused reserved space, until it has half of the limit. It has as much under a limit from the
 * start.
 *
 * Otherwise the kernel would count the tebibyte of reserved space, and refuse the program each
 * further mapping. A limit that another process sets goes unnoticed. A limit that is raised again
 * doesn't bring the space back.
 *
 * Owns nothing. Lock: pages_lock, and that of the side range. */
#include "preload.h"
#include "runtime/os.h"
#include "tell.h"
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

static void give_back(const struct rlimit *l)
{
    /* the limit of a child of vfork isn't that of the memory, which is its parent's */
    if (l->rlim_cur == RLIM_INFINITY || !oaki_is_own_thread() || !oaki_can_enter()) return;
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
    bool own = pid == 0 || pid == oaki_os_pid();
    if (e == 0 && own && what == RLIMIT_AS && new) give_back(new);
    if (e == 0 && own && what == RLIMIT_FSIZE && new && oaki_is_own_thread())
        oaki_tell_limit(new->rlim_cur);
    return e;
}

OAKI_EXPORT int setrlimit(__rlimit_resource_t what, const struct rlimit *new)
{
    return prlimit(0, what, new, NULL);
}

/* struct rlimit and struct rlimit64 are the same type under two names. */
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

/* child.h - a child process that only Oakum knows of: image.c, shield.c. It has exit signal 0, so
 * that wait() doesn't see it. */
#ifndef OAKI_CHILD_H
#define OAKI_CHILD_H

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: it dies with its parent, and leaves no core. By bare system calls, as libc's
 * functions may be replaced by ones that look up a symbol: the loader's lock may be held here. */
static inline void oaki_child_settle(pid_t parent)
{
    static const struct rlimit none;
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    pid_t now = (pid_t)syscall(SYS_getppid);
    if (now > 0 && parent > 0 && now != parent) syscall(SYS_exit_group, 1); /* the parent died */
    syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, NULL);
}

/* Waits for its end. A program that waits for any child with __WALL may have reaped it. */
static inline void oaki_child_reap(pid_t pid)
{
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) {}
}

#endif

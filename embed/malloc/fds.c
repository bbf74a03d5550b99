/* fds.c - descriptors that aren't the program's: those of the unwinder's pipe, which would be the
 * lowest that are free.
 *
 * A program that closes what it hasn't opened, as daemons do, and opens files then, would get the
 * same ones, and the unwinder would read from its files and write to them; and one that was started
 * without standard streams would have the pipe for them. So they get high numbers, here also
 * whenever the unwinder makes another pipe, as it finds the last one closed.
 *
 * Owns nothing. Any thread. Bound: O(1). */
#include "observe/stack.h"
#include "preload.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIGH 1000
#define SPARE 8 /* below the limit, where that is low */

static int lowest(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > HIGH) return HIGH;
    return (int)OAKI_MAX(limit.rlim_cur, (rlim_t)SPARE) - SPARE;
}

static void move_up(int *fd)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, lowest());
    if (high < 0) return;
    (void)syscall(SYS_close, *fd);
    *fd = high;
}

OAKI_EXPORT int pipe2(int fd[2], int flags)
{
    int result = (int)syscall(SYS_pipe2, fd, flags), saved = errno;
    if (result == 0 && oaki_stack_is_unwinder(__builtin_return_address(0))) {
        move_up(&fd[0]);
        move_up(&fd[1]);
        errno = saved;
    }
    return result;
}

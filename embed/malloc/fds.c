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
#include "runtime/fd.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Both or neither: the unwinder's checks (observe/stack.c) take them to lie side by side. */
static void move_both(int fd[2])
{
    int high[2] = { oaki_fd_copy_high(fd[0]), -1 };
    if (high[0] >= 0) high[1] = oaki_fd_copy_high(fd[1]);
    const int *waste = high[1] >= 0 ? fd : high;
    for (int i = 0; i < 2; i++)
        if (waste[i] >= 0) (void)syscall(SYS_close, waste[i]);
    if (waste == fd) memcpy(fd, high, sizeof high);
}

OAKI_EXPORT int pipe2(int fd[2], int flags)
{
    int result = (int)syscall(SYS_pipe2, fd, flags), saved = errno;
    if (result == 0 && oaki_stack_is_unwinder(__builtin_return_address(0))) {
        move_both(fd);
        errno = saved;
    }
    return result;
}

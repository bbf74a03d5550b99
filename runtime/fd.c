/* fd.c - descriptors of Oakum (fd.h). Owns nothing. */
#include "fd.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIGH 1000
#define SPARE 8 /* kept free below a lower limit */

bool oaki_fd_note(int fd, oaki_fd_file *file)
{
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0) return false;
    *file = (oaki_fd_file){ .dev = s.st_dev, .ino = s.st_ino };
    return true;
}

bool oaki_fd_is(int fd, const oaki_fd_file *file)
{
    oaki_fd_file now;
    return oaki_fd_note(fd, &now) && now.dev == file->dev && now.ino == file->ino;
}

void oaki_fd_close(int fd, const oaki_fd_file *file)
{
    if (oaki_fd_is(fd, file)) (void)syscall(SYS_close, fd);
}

/* The lowest number for a copy; never that of a standard stream. */
static int lowest(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= HIGH + SPARE)
        return HIGH;
    return (int)OAKI_MAX(limit.rlim_cur, (rlim_t)SPARE + STDERR_FILENO + 1) - SPARE;
}

int oaki_fd_copy_high(int fd)
{
    return (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, lowest());
}

/* To enlarge a table shared by threads, the system waits until no processor can still use the old
 * one. The descriptor used here is a new one. Closing a copy of the program's would release the
 * process's locks of that file. */
void oaki_fd_make_room(void)
{
    int saved = errno;
    int fd = oaki_os_alone() ? (int)syscall(SYS_eventfd2, 0, O_CLOEXEC) : -1;
    if (fd >= 0) (void)syscall(SYS_close, oaki_fd_move_high(fd));
    errno = saved;
}

int oaki_fd_move_high(int fd)
{
    int high = oaki_fd_copy_high(fd);
    if (high < 0) return fd;
    (void)syscall(SYS_close, fd);
    return high;
}

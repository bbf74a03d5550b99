/* gclog.h - a log of collections in JSON: one line, with one object, for each cycle.
 *
 * A line has the figures of the gctrace line and more, as whole numbers: times in nanoseconds,
 * sizes in bytes. docs/formats.md lists the members. The thread that has collected writes the line
 * after the pause, in one piece.
 *
 * Any thread may call these functions, but neither a signal handler nor a mark function. Calls take
 * turns. None collects. */
#ifndef OAKUM_GCLOG_H
#define OAKUM_GCLOG_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** Start a log: from now on, each cycle appends a line to the file at `path`. The file is created
 * if need be. A log that is under way ends, even when the call fails. The variable
 * OAKUM_GC_LOG=FILE starts a log together with Oakum. Returns 0; or -1 with errno, and there is no
 * log. EINVAL: path is NULL. ENOMEM. Otherwise that of open(2): ENOENT, EACCES, and so on. */
OAK_API int oak_gclog_start(const char *path);

/** As oak_gclog_start, to a file descriptor. The caller owns fd, and must keep it open until
 * oak_gclog_stop has returned. A line that a pipe or a socket can't take at once is lost; the next
 * line has the number of lost ones. Returns 0, or -1 with errno: EBADF if fd is not open; ENOMEM.
 */
OAK_API int oak_gclog_start_fd(int fd);

/** End the log. The lines of all ended cycles are written before the call returns. Returns 0, also
 * when there is no log. Returns -1 if lines were lost. errno is then that of the first write(2)
 * that has failed since the start, or else of close(2): ENOSPC, EIO, EPIPE, EAGAIN and so on. */
OAK_API int oak_gclog_stop(void);

OAK_END_DECLS

#endif

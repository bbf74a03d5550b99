/* gclog.h - a log of collections in JSON: an object a cycle, each in a line of its own.
 *
 * A line tells what the gctrace line tells, and more, in whole numbers: times in nanoseconds, sizes
 * in bytes. docs/observe.md lists the members. It is written in one piece, once the world runs
 * again, by the thread that has collected. */
#ifndef OAKUM_GCLOG_H
#define OAKUM_GCLOG_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** From now on each cycle appends a line to the file at `path`, which is made if need be. Replaces
 * a log that is under way. The variable OAKUM_GC_LOG=FILE does this when Oakum starts. 0, or -1
 * with errno: the log that was under way has ended. Any thread. */
OAK_API int oak_gclog_start(const char *path);

/** The same to a descriptor of the caller's, which stays open until oak_gclog_stop has returned. A
 * pipe or socket that takes no line at once gets none: the next line says how many were lost. */
OAK_API int oak_gclog_start_fd(int fd);

/** No more, and the lines of all cycles that are over are written. 0; or -1 with the errno of the
 * first line that could not be written since the start: lines are lost then, and the next that can
 * be written says how many. 0 when there is no log. */
OAK_API int oak_gclog_stop(void);

OAK_END_DECLS

#endif

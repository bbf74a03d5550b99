/* task.h - what /proc tells of a thread of this process. No locks and no memory, only system
 * calls: for signal handlers and stopped worlds, too. */
#ifndef OAKI_TASK_H
#define OAKI_TASK_H

#include <errno.h>
#include <stdbool.h>

typedef struct oaki_task {
    char name[16];
    char state; /* as in /proc/PID/stat */
    /* The kernel's own, which io_uring, KVM or vhost start in the process: it runs none of the
     * program's code, and blocks signals. */
    bool worker;
} oaki_task;

/* false: it is gone, or /proc can't be read just now; errno tells which. */
bool oaki_task_read(int tid, oaki_task *task);

/* The error of a look at a thread that is gone, by oaki_task_read or in its folder. After any other
 * error the thread may be there. */
static inline bool oaki_task_none(int error)
{
    return error == ENOENT || error == ESRCH;
}

/* What is left of one that has ended: the process's first stays until the last has gone. */
static inline bool oaki_task_is_dead(const oaki_task *task)
{
    return task->state == 'Z' || task->state == 'X';
}

#endif

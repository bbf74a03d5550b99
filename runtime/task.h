/* task.h - the state of a thread of this process, as /proc shows it. No locks and no memory, only
 * system calls: usable in signal handlers and in a stop. */
#ifndef OAKI_TASK_H
#define OAKI_TASK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct oaki_task {
    char name[16];
    char state; /* as in /proc/PID/stat */
    /* A thread of the kernel's, which io_uring, KVM or vhost start in the process. It runs no code
     * of the host's, and blocks signals. */
    bool worker;
} oaki_task;

/* false: the thread is gone, or /proc can't be read now; errno tells which. */
bool oaki_task_read(int tid, oaki_task *task);

/* A line "label value" of a text of /proc, as status. `label` ends before the value begins. */
typedef struct oaki_task_line {
    const char *label;
    char value[24]; /* "" where there is no such line; cut */
} oaki_task_line;

/* Reads the values of these lines. The text is read in small pieces, so that it needs little stack
 * however long it is. 0, or -1 with errno. */
int oaki_task_lines(int folder, const char *name, oaki_task_line *line, size_t n);

/* Is this errno the one for a thread that is gone, from oaki_task_read or from its folder? After
 * any other error the thread may exist. */
static inline bool oaki_task_none(int error)
{
    return error == ENOENT || error == ESRCH;
}

/* Has the thread ended? The record of the process's first thread stays until the last thread
 * ends. */
static inline bool oaki_task_is_dead(const oaki_task *task)
{
    return task->state == 'Z' || task->state == 'X';
}

#endif

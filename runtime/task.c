/* task.c - the state of a thread of this process, from /proc (task.h). The file's fields:
 * proc_pid_stat(5). Owns: nothing. Lock: none. */
#include "task.h"

#include "base.h"
#include "print.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIELDS_TO_FLAGS 6 /* counted from the state */
/* Flags of the kernel's include/linux/sched.h: PF_IO_WORKER, since 5.12, and PF_USER_WORKER, since
 * 6.4, for KVM's and vhost's threads. Before 6.4, the second bit marks threads that load
 * modules. */
#define WORKER (0x10u | 0x4000u)

static ssize_t read_stat(int tid, char *text, size_t n)
{
    char path[64];
    oaki_format(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t got;
    do got = syscall(SYS_read, fd, text, n);
    while (got < 0 && errno == EINTR);
    int saved = errno;
    syscall(SYS_close, fd);
    errno = saved;
    return got;
}

/* The text is "12 (name) S 1 12 12 0 -1 4194368 ...", where the name may contain any character. */
bool oaki_task_read(int tid, oaki_task *task)
{
    char text[512];
    ssize_t got = read_stat(tid, text, sizeof text - 1);
    if (got < 0) return false;
    text[got] = '\0';
    const char *name = strchr(text, '('), *end = strrchr(text, ')');
    if (!name || !end || end + 2 >= text + got) return errno = EIO, false;
    size_t n = OAKI_MIN((size_t)(end - name - 1), sizeof task->name - 1);
    memcpy(task->name, name + 1, n);
    task->name[n] = '\0';
    task->state = end[2];
    const char *flags = end + 2;
    for (int i = 0; i < FIELDS_TO_FLAGS && flags; i++) {
        flags = strchr(flags, ' ');
        if (flags) flags++;
    }
    task->worker = flags && strtoul(flags, NULL, 10) & WORKER;
    return true;
}

/* ---- texts of lines ---- */

#define HEAD 64    /* bytes that are kept of a line: a label and its value */
#define BUFFER 256 /* bytes that are read at a time */

static void match(const char *head, oaki_task_line *line, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(line[i].label);
        if (strncmp(head, line[i].label, len) != 0) continue;
        strncpy(line[i].value, head + len, sizeof line[i].value - 1);
        line[i].value[sizeof line[i].value - 1] = '\0';
    }
}

int oaki_task_lines(int folder, const char *name, oaki_task_line *line, size_t n)
{
    char head[HEAD], piece[BUFFER];
    size_t len = 0;
    ssize_t got;
    for (size_t i = 0; i < n; i++) line[i].value[0] = '\0';
    int fd = (int)syscall(SYS_openat, folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    while ((got = syscall(SYS_read, fd, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR))
        for (ssize_t i = 0; i < got; i++) {
            if (piece[i] != '\n') {
                if (len < HEAD - 1) head[len++] = piece[i];
                continue;
            }
            head[len] = '\0';
            len = 0;
            match(head, line, n);
        }
    int saved = errno;
    syscall(SYS_close, fd);
    errno = saved;
    return got < 0 ? -1 : 0;
}

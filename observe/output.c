/* output.c - whole files, and complete writes (output.h).
 *
 * Owns: nothing. Invariant: the file at the path is the old one or the complete new one.
 * oaki_output_close leaves no temporary file. */
#include "output.h"

#include "runtime/os.h"
#include "target.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRIES 100 /* most names tried for a temporary file */

/* ---- writing ---- */

/* Waits for a descriptor that can't be written to now. */
int oaki_write_counted(int fd, const void *p, size_t n, size_t *done)
{
    *done = 0;
    while (*done < n) {
        size_t piece = OAKI_MIN(n - *done, (size_t)1 << 30);
        ssize_t w = oaki_os_write(fd, (const char *)p + *done, piece);
        if (w >= 0) {
            *done += (size_t)w;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd f = { .fd = fd, .events = POLLOUT };
            (void)poll(&f, 1, -1);
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

int oaki_write_all(int fd, const void *p, size_t n)
{
    size_t done;
    return oaki_write_counted(fd, p, n, &done);
}

/* ---- files ---- */

static int open_temporary(oaki_output *o, size_t room)
{
    for (unsigned i = 0; i < TRIES; i++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(o->temporary, room, "%s.%d.%lx.tmp", o->path, oaki_os_pid(),
                 ((unsigned long)now.tv_nsec << 7) + i);
        o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (o->fd >= 0 || errno != EEXIST) break;
    }
    return o->fd >= 0 ? 0 : -1;
}

static void forget(oaki_output *o)
{
    free(o->path);
    free(o->temporary);
    o->path = o->temporary = NULL;
    o->fd = -1;
}

/* Cleans up and keeps errno: the first error counts. */
static int fail(oaki_output *o)
{
    int saved = errno;
    forget(o);
    errno = saved;
    return -1;
}

int oaki_output_open(oaki_output *o, const char *path)
{
    if (!path) return errno = EINVAL, -1;
    struct stat st;
    *o = (oaki_output){ .fd = -1 };
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    o->fd = oaki_target_descriptor(path);
    o->lent = o->fd >= 0;
    if (o->lent) return 0;
    if (there && !S_ISREG(st.st_mode)) {
        o->fd = oaki_target_open(path, 0);
        return o->fd >= 0 ? 0 : -1;
    }
    o->path = oaki_target_path(path);
    if (!o->path) return fail(o);
    size_t room = strlen(o->path) + 64;
    o->temporary = malloc(room);
    if (!o->temporary || open_temporary(o, room) != 0) return fail(o);
    if (there) (void)fchmod(o->fd, st.st_mode & 07777);
    return 0;
}

int oaki_output_close(oaki_output *o, int result)
{
    int saved = errno;
    if (!o->lent && close(o->fd) != 0 && result == 0) {
        result = -1;
        saved = errno;
    }
    if (result == 0 && o->temporary && rename(o->temporary, o->path) != 0) {
        result = -1;
        saved = errno;
    }
    if (result != 0 && o->temporary) (void)unlink(o->temporary);
    forget(o);
    errno = saved;
    return result;
}

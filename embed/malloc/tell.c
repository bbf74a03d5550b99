/* tell.c - the destination of reports, which works even if the program closes its descriptors.
 *
 * Without --log, reports go to a copy of standard error. It is made before main, with a high number
 * that programs don't use. With --log, the file is opened for each text. If that fails, the first
 * report says so, and reports go to the copy.
 *
 * The program may close all descriptors, and reuse the copy's number. So the copy is checked by its
 * file before each use. If it is gone, standard error is used if it still is the same file.
 * Otherwise the file is opened again by its name, if it has one.
 *
 * Owns: struct self. Lock: none; a line is one write. */
#include "observe/cancel.h"
#include "observe/output.h"
#include "preload.h"
#include "runtime/fd.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "tell.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A FIFO without a reader is no destination, and waited for by nobody. */
#define OPEN_FLAGS (O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
#define NAME_MOST 4096              /* bytes of a file's name, with its NUL */
#define NAME_ROOM (NAME_MOST + 4096) /* and of a line with it */

static struct {
    int fd; /* the copy; -1: none */
    oaki_fd_file file; /* of standard error at the start */
    char name[256];
    bool is_plain;           /* standard error was that file, and not broken, when last checked */
    bool is_sized;           /* it is a file whose size RLIMIT_FSIZE may limit */
    AO_t most;               /* RLIMIT_FSIZE */
    unsigned int complained; /* AO_int: an error of the log was reported */
} self = { .fd = -1 };

static bool is_it(int fd)
{
    return oaki_fd_is(fd, &self.file);
}

/* Whether no reader is left of a pipe or socket. A write would bring SIGPIPE, and a filter may
 * refuse what keeps that from the program. */
static bool is_broken(int fd)
{
    static const struct timespec now;
    struct pollfd f = { .fd = fd, .events = POLLOUT };
    return syscall(SYS_ppoll, &f, 1, &now, NULL, 0) == 1 && (f.revents & (POLLERR | POLLHUP)) != 0;
}

/* Writes the text. Returns 0 or an error number. */
static int put(int fd, const char *text, size_t n)
{
    if (is_broken(fd)) return EPIPE;
    return oaki_write_all(fd, text, n) == 0 ? 0 : errno;
}

void oaki_tell_limit(rlim_t most)
{
    AO_store(&self.most, (AO_t)most);
}

void oaki_tell_start(void)
{
    struct rlimit l = { .rlim_cur = RLIM_INFINITY };
    struct stat st;
    (void)getrlimit(RLIMIT_FSIZE, &l);
    oaki_tell_limit(l.rlim_cur);
    self.is_sized = fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    if (!oaki_fd_note(STDERR_FILENO, &self.file)) return;
    self.fd = oaki_fd_copy_high(STDERR_FILENO);
    ssize_t n = readlink("/proc/self/fd/2", self.name, sizeof self.name - 1);
    self.name[OAKI_MAX(n, 0)] = '\0';
    if (self.name[0] != '/') self.name[0] = '\0';
}

void oaki_tell_release(void)
{
    oaki_fd_close(self.fd, &self.file);
    self.fd = -1;
}

void oaki_tell_name(const char *pattern, char *out, size_t n)
{
    size_t at = 0;
    for (const char *p = pattern; *p && at + 1 < n; p++) {
        if (p[0] == '%' && p[1] == 'p')
            at += OAKI_MIN(oaki_format(out + at, n - at, "%d", oaki_os_pid()), n - at - 1);
        else
            out[at++] = *p;
        p += p[0] == '%' && (p[1] == 'p' || p[1] == '%');
    }
    out[at] = '\0';
}

/* Room for a name, off the stack: a thread whose stack is small may report. NULL with errno. */
static char *name_room(void)
{
    return oaki_os_map_scratch(NAME_ROOM);
}

static int open_log(void)
{
    char *name = name_room();
    if (!name) return -1;
    oaki_tell_name(oaki_wanted.log, name, NAME_MOST);
    int mode = oaki_wanted.serve ? 0600 : 0666; /* the address may have a token */
    int fd = open(name, OPEN_FLAGS | O_CREAT, mode);
    int saved = errno;
    oaki_os_release(name, NAME_ROOM);
    errno = saved;
    return fd;
}

/* Report an error of the log, once: it would be the same for each report. */
static void complain(int fd, const char *what, int error)
{
    if (!AO_int_compare_and_swap_full(&self.complained, 0, 1)) return;
    char *line = name_room();
    if (!line) return;
    size_t n = oaki_format(line, NAME_ROOM, "==%d== oakum: the log ", oaki_os_pid());
    oaki_tell_name(oaki_wanted.log, line + n, NAME_MOST);
    n += strlen(line + n);
    n += oaki_format(line + n, NAME_ROOM - n, " can't be %s: %.100s\n", what,
                     oaki_error_text(error));
    (void)put(fd, line, n);
    oaki_os_release(line, NAME_ROOM);
}

/* A descriptor of standard error's file. *close_it: the caller closes it. */
static int find_other(bool *close_it)
{
    int fd;
    *close_it = false;
    if (is_it(self.fd)) return self.fd;
    if (is_it(STDERR_FILENO)) return STDERR_FILENO;
    *close_it = true;
    fd = self.name[0] ? open(self.name, OPEN_FLAGS) : -1;
    if (is_it(fd)) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static int find(bool *close_it)
{
    int fd = oaki_wanted.log ? open_log() : -1, error = errno;
    *close_it = fd >= 0;
    if (fd >= 0) return fd;
    fd = find_other(close_it);
    if (fd >= 0 && oaki_wanted.log) complain(fd, "opened", error);
    return fd;
}

static void say_elsewhere(int error)
{
    bool close_it;
    int fd = find_other(&close_it);
    if (fd < 0) return;
    complain(fd, "written", error);
    if (close_it) close(fd);
}

bool oaki_tell(const char *text, size_t n)
{
    OAKI_NO_CANCEL;
    int saved = errno;
    bool close_it;
    if (n == 0) return true;
    int fd = find(&close_it), error = errno;
    if (fd >= 0) {
        error = put(fd, text, n);
        if (close_it) close(fd);
        if (error != 0 && oaki_wanted.log) say_elsewhere(error);
    }
    errno = saved;
    return fd >= 0 && error == 0;
}

/* An earlier filter may refuse to poll. */
void oaki_tell_seal(void)
{
    bool sound = oaki_sealed_as_noted() ? self.is_plain : !is_broken(STDERR_FILENO);
    self.is_plain = sound && is_it(STDERR_FILENO);
}

bool oaki_tell_is_private(void)
{
    struct stat st;
    OAKI_NO_CANCEL;
    int fd = oaki_wanted.log ? open_log() : -1;
    bool open_to_others = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                          (st.st_mode & (S_IRGRP | S_IROTH)) != 0;
    if (fd >= 0) close(fd);
    return !open_to_others;
}

/* Only the system call write may be allowed here. It must not bring SIGXFSZ. */
void oaki_tell_plainly(const char *text)
{
    if (self.is_sized && (rlim_t)AO_load(&self.most) != RLIM_INFINITY) return;
    if (!oaki_sealed_as_noted()) oaki_tell_seal();
    if (self.is_plain) (void)syscall(SYS_write, STDERR_FILENO, text, strlen(text));
}

bool oaki_say(const char *format, ...)
{
    char line[1024];
    size_t n = oaki_format(line, sizeof line, "==%d== ", oaki_os_pid());
    va_list ap;
    va_start(ap, format);
    n += oaki_vformat(line + n, sizeof line - n, format, ap);
    va_end(ap);
    n = OAKI_MIN(n, sizeof line - 2);
    line[n++] = '\n';
    return oaki_tell(line, n);
}

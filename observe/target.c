/* target.c - where the output to a path goes (target.h). Owns: nothing. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MOST 40 /* as in the kernel */

static bool writes_to(int fd, const struct stat *file)
{
    struct stat s;
    return fd >= 0 && fstat(fd, &s) == 0 && s.st_dev == file->st_dev && s.st_ino == file->st_ino &&
           (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
}

int oaki_target_named(const char *path)
{
    static const char *const folders[] = { "/dev/fd/", "/proc/self/fd/" };
    if (strcmp(path, "/dev/stdout") == 0) return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0) return STDERR_FILENO;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        size_t n = strlen(folders[i]);
        if (strncmp(path, folders[i], n) == 0 && path[n] >= '0' && path[n] <= '9')
            return atoi(path + n);
    }
    return -1;
}

int oaki_target_descriptor(const char *path)
{
    const int fds[] = { oaki_target_named(path), STDOUT_FILENO, STDERR_FILENO };
    struct stat file;
    if (stat(path, &file) != 0 || !S_ISREG(file.st_mode)) return -1;
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (writes_to(fds[i], &file)) return fds[i];
    return -1;
}

int oaki_target_open(const char *path, int flags)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | flags, 0666);
    if (fd >= 0) (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

/* Replace a link's path by what it leads to, which is relative to the link's folder. Returns false
 * if that is too long. */
static bool follow(char *path, const char *link, size_t n)
{
    const char *slash = strrchr(path, '/');
    size_t folder = link[0] != '/' && slash ? (size_t)(slash + 1 - path) : 0;
    if (folder + n >= PATH_MAX) return false;
    memcpy(path + folder, link, n);
    path[folder + n] = '\0';
    return true;
}

char *oaki_target_path(const char *path)
{
    char *at = calloc(2, PATH_MAX), *link = at ? at + PATH_MAX : NULL;
    if (!at) return NULL;
    int error = follow(at, path, strlen(path)) ? ELOOP : ENAMETOOLONG;
    for (int i = 0; i < LINKS_MOST && error == ELOOP; i++) {
        ssize_t n = readlink(at, link, PATH_MAX);
        if (n < 0) return at;
        if (!follow(at, link, (size_t)n)) error = ENAMETOOLONG;
    }
    free(at);
    errno = error;
    return NULL;
}

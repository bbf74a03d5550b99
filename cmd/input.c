/* input.c - reads whole files. */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_regular(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* don't wait at a named pipe */
    struct stat st;
    int error = 0;

    if (fd < 0) return -1;
    if (fstat(fd, &st) != 0) error = errno;
    else if (S_ISDIR(st.st_mode)) error = EISDIR;
    else if (!S_ISREG(st.st_mode)) error = ESPIPE;
    if (error == 0) return fd;
    close(fd);
    errno = error;
    return -1;
}

char *cmd_read_file(const char *path, size_t *n)
{
    int fd = open_regular(path), error = 0;
    char *text = NULL;
    size_t cap = 0;
    ssize_t got = 1;

    if (fd < 0) return NULL;
    for (*n = 0; error == 0 && got != 0; *n += got > 0 ? (size_t)got : 0) {
        if (*n + 1 >= cap) {
            char *more = realloc(text, cap = cap != 0 ? 2 * cap : 4096);

            if (more == NULL) {
                error = ENOMEM;
                break;
            }
            text = more;
        }
        got = read(fd, text + *n, cap - *n - 1);
        if (got < 0 && errno != EINTR) error = errno;
    }
    close(fd);
    if (error != 0) {
        free(text);
        errno = error;
        return NULL;
    }
    text[*n] = '\0';
    return text;
}

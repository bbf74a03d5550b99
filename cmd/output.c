/* output.c - writing files: whole, or not at all. */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_special(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* A new file beside `path`, readable as the umask says; its name in *name, to be freed. */
static int open_beside(const char *path, char **name)
{
    mode_t mask = umask(0);
    int fd;

    umask(mask);
    if (asprintf(name, "%s.XXXXXX", path) < 0) {
        *name = NULL;
        errno = ENOMEM;
        return -1;
    }
    fd = mkostemp(*name, O_CLOEXEC);
    if (fd >= 0) fchmod(fd, 0666 & ~mask);
    return fd;
}

/* Nothing is left of it. -1, and errno stays. */
static int forget(cmd_output *o, bool there)
{
    int error = errno;

    if (there && o->name != NULL) unlink(o->name);
    free(o->name);
    errno = error;
    return -1;
}

int cmd_output_open(cmd_output *o, const char *path)
{
    int fd;

    *o = (cmd_output){ NULL, path, NULL };
    fd = is_special(path) ? open(path, O_WRONLY | O_CLOEXEC) : open_beside(path, &o->name);
    if (fd >= 0) o->stream = fdopen(fd, "w");
    if (o->stream != NULL) return 0;
    if (fd >= 0) close(fd);
    return forget(o, fd >= 0);
}

int cmd_output_close(cmd_output *o, int result)
{
    int error = errno, failed = result != 0;

    if (!failed && (fflush(o->stream) != 0 || ferror(o->stream))) {
        failed = 1;
        error = errno;
    }
    if (fclose(o->stream) != 0 && !failed) {
        failed = 1;
        error = errno;
    }
    errno = error;
    if (!failed && o->name != NULL) failed = rename(o->name, o->path) != 0;
    if (failed) return forget(o, true);
    free(o->name);
    return 0;
}

int cmd_output_put(const char *command, const char *path, const char *p, size_t n)
{
    cmd_output o;

    if (path == NULL || strcmp(path, "-") == 0) {
        fwrite(p, 1, n, stdout);
        return CMD_OK;
    }
    if (cmd_output_open(&o, path) == 0) {
        fwrite(p, 1, n, o.stream);
        if (cmd_output_close(&o, 0) == 0) return CMD_OK;
    }
    cmd_say(stderr, "%s: %s: %s\n", command, path, strerror(errno));
    return CMD_FAILED;
}

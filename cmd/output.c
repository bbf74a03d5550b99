/* output.c - writes files: a file is complete, or isn't there.
 *
 * A file is written under a temporary name. If a signal or exit ends the command meanwhile, the
 * temporary file is removed. At most one file is open at a time. */
#include "cmd.h"
#include "observe/target.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the temporary file ---- */

static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGXFSZ };

#define ENDING (sizeof(ending) / sizeof(ending[0]))

static struct {
    const char *name;
    pid_t owner; /* only this process removes the file: its children inherit the handler */
    struct sigaction before[ENDING];
} begun;

static void remove_begun(void)
{
    if (begun.name != NULL && begun.owner == getpid()) unlink(begun.name);
}

static void end(int sig)
{
    remove_begun();
    signal(sig, SIG_DFL);
    raise(sig); /* takes effect when the handler returns */
}

/* Remove the file at exit and at signals that end the process; ignored signals stay ignored. */
static void guard(const char *name)
{
    static bool at_exit;

    if (!at_exit) atexit(remove_begun);
    at_exit = true;
    begun.owner = getpid();
    begun.name = name;
    for (size_t i = 0; i < ENDING; i++) {
        struct sigaction action = { .sa_handler = end };

        sigaction(ending[i], NULL, &begun.before[i]);
        if (begun.before[i].sa_handler == SIG_DFL) sigaction(ending[i], &action, NULL);
    }
}

static void unguard(void)
{
    for (size_t i = 0; i < ENDING; i++) sigaction(ending[i], &begun.before[i], NULL);
    begun.name = NULL;
}

static void hold_signals(sigset_t *before)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ENDING; i++) sigaddset(&set, ending[i]);
    sigprocmask(SIG_BLOCK, &set, before);
}

/* ---- files ---- */

static bool is_special(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* Create a temporary file in the folder of `path`, with the permissions of the file that it
 * replaces, or the umask's. *name gets its name, which the caller frees. */
static int open_beside(const char *path, char **name)
{
    mode_t mask = umask(0), mode = 0666 & ~mask;
    sigset_t before;
    struct stat old;
    int fd;

    umask(mask);
    if (stat(path, &old) == 0 && S_ISREG(old.st_mode)) mode = old.st_mode & 0777;
    if (asprintf(name, "%s.XXXXXX", path) < 0) {
        *name = NULL;
        errno = ENOMEM;
        return -1;
    }
    hold_signals(&before);
    fd = mkostemp(*name, O_CLOEXEC);
    if (fd >= 0) {
        fchmod(fd, mode);
        guard(*name);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return fd;
}

/* Remove the temporary file, if it is there. Returns -1, and keeps errno. */
static int forget(cmd_output *o, bool there)
{
    int error = errno;

    if (there && o->name != NULL) {
        unlink(o->name);
        unguard();
    }
    free(o->name);
    free(o->path);
    errno = error;
    return -1;
}

static int open_target(cmd_output *o, const char *path)
{
    int fd = oaki_target_descriptor(path);

    if (fd >= 0) return fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (is_special(path)) return open(path, O_WRONLY | O_CLOEXEC);
    o->path = oaki_target_path(path);
    return o->path != NULL ? open_beside(o->path, &o->name) : -1;
}

int cmd_output_open(cmd_output *o, const char *path)
{
    int fd;

    *o = (cmd_output){ NULL, NULL, NULL };
    fd = open_target(o, path);
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
    if (o->name != NULL) unguard();
    free(o->name);
    free(o->path);
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
    cmd_say(stderr, "%s: %s: %s; %s\n", command, path, strerror(errno), cmd_remedy(errno));
    return CMD_FAILED;
}

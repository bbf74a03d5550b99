/* profile_start.c - the profile that the environment asks for: OAKUM_PROFILE_RATE, OAKUM_PROFILE.
 *
 * Owns: struct self: written once, at the heap's start; read at exit. */
#include "profile.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/thread.h"
#include <errno.h>
#include <oakum/gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *file;
    pid_t pid; /* the process that read the environment */
} self;

/* The file's name, with the process id in place of %p. NULL if this process must not write one. */
static char *file_name(void)
{
    const char *id = strstr(self.file, "%p");
    size_t room = strlen(self.file) + 32;
    char *name = malloc(room);
    if (!name || (!id && oaki_os_pid() != self.pid)) {
        free(name);
        return NULL;
    }
    if (id)
        snprintf(name, room, "%.*s%d%s", (int)(id - self.file), self.file, oaki_os_pid(), id + 2);
    else
        memcpy(name, self.file, strlen(self.file) + 1);
    return name;
}

/* The program may call exit anywhere, even in a signal handler that interrupted Oakum. */
static void at_exit(void)
{
    const oaki_thread *t = oaki_thread_self();
    if (!self.file || (t && t->in_runtime != 0)) return;
    char *name = file_name();
    if (!name) return;
    oak_collect();
    if (oak_profile_save(NULL, name) != 0)
        oaki_log("oakum: OAKUM_PROFILE=%.200s: the heap profile can't be saved: %.80s\n", name,
                 oaki_error_text(errno));
    free(name);
}

void oaki_profile_end(void)
{
    free((char *)self.file);
    self.file = NULL;
}

OAKI_AT_START void oaki_profile_start(size_t rate)
{
    int saved = errno;
    const char *file = oaki_options_variable("OAKUM_PROFILE");
    if (file && *file) {
        self.file = strdup(file);
        self.pid = oaki_os_pid();
        if (self.file && atexit(at_exit) == 0 && rate == 0) rate = OAK_PROFILE_RATE;
    }
    if (rate && oak_profile_set_rate(rate) != 0)
        oaki_log("oakum: no memory for a heap profile\n");
    errno = saved;
}

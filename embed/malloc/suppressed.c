/* suppressed.c - which leaks the files of --suppressions suppress.
 *
 * Owns: the list, which is read before main and then only counts matches. Lock: none; reports are
 * made one at a time, and a count of matches may be too low if two overlap.
 * Bound: O(leaks * suppressions) matches for each report. */
#include "observe/cancel.h"
#include "observe/suppress.h"
#include "report.h"
#include "runtime/options.h"
#include "runtime/print.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static oaki_suppressions self;

/* All of a file, with a NUL; NULL with errno. */
static char *read_file(const char *path)
{
    OAKI_NO_CANCEL;
    size_t n = 0, cap = 4096;
    char *text = malloc(cap);
    int fd = text ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = -1;
    while (fd >= 0 && (got = read(fd, text + n, cap - n - 1)) > 0) {
        n += (size_t)got;
        char *more = n + 1 == cap ? realloc(text, cap *= 2) : text;
        if (!more) {
            got = -1;
            break;
        }
        text = more;
    }
    int error = errno;
    if (fd >= 0) close(fd);
    if (got < 0) free(text);
    else text[n] = '\0';
    errno = error;
    return got < 0 ? NULL : text;
}

/* `oakum run` has read the files already, and numbered the variables. */
void oaki_suppressed_start(void)
{
    for (unsigned i = 0;; i++) {
        char name[40];
        unsigned line;
        (void)oaki_format(name, sizeof name, "OAKUM_MALLOC_SUPPRESSIONS_%u", i);
        const char *path = oaki_options_variable(name);
        if (!path) return;
        char *file = strdup(path), *text = read_file(path);
        const char *error = text ? NULL : oaki_error_text(errno);
        if (!file) error = oaki_error_text(ENOMEM);
        if (error) oaki_say("oakum: %.900s can't be read: %s", path, error);
        else if ((error = oaki_suppress_read(&self, file, text, &line)))
            oaki_say("oakum: %.800s:%u: %s", path, line, error);
    }
}

static void take(oaki_sum *from, const oaki_sum *s, oaki_sum *to)
{
    from->blocks -= s->blocks;
    from->bytes -= s->bytes;
    to->blocks += s->blocks;
    to->bytes += s->bytes;
}

bool oaki_suppressed_note(oaki_leaks *l, oaki_lost *sums)
{
    for (size_t i = 0; i < l->n && self.n > 0; i++) {
        oaki_leak *one = &l->list[i];
        if (!oaki_leak_name(one)) return false;
        for (int k = 0; k < OAKI_LOSSES; k++) {
            if (!one->of[k].blocks) continue;
            oaki_suppression *s = oaki_suppress_find(&self, 1u << k, one->frame, one->nframes);
            if (!s) continue;
            s->used++;
            one->by[k] = s;
            take(&sums->of[k], &one->of[k], &l->suppressed);
        }
    }
    return true;
}

void oaki_suppressed_unused(void (*fn)(void *ctx, const oaki_suppression *s), void *ctx)
{
    for (size_t i = 0; i < self.n; i++)
        if (!self.list[i].used) fn(ctx, &self.list[i]);
}

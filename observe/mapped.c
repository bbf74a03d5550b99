/* mapped.c - the files that the process has mapped (mapped.h).
 *
 * A file may be mapped twice, as libc is when a second link namespace has its own copy. The
 * mappings of the two copies can be adjacent, or have only anonymous memory between them. So a copy
 * begins where the offset in the file falls, or is 0.
 *
 * Owns: nothing. Any thread. Bound: linear in the mappings. */
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STEP ((size_t)16 << 10) /* first size of the text's buffer, in bytes */

/* Reads all of /proc/thread-self/maps, with a NUL at the end; for the caller to free. Uses syscall,
 * which is no cancellation point. */
static char *read_maps(void)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
    size_t n = 0, room = STEP;
    char *text = fd >= 0 ? malloc(room) : NULL;
    while (text) {
        ssize_t got = syscall(SYS_read, fd, text + n, room - n - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
        if (room - n > STEP / 2) continue;
        char *larger = realloc(text, room *= 2);
        if (!larger) free(text);
        text = larger;
    }
    if (fd >= 0) (void)syscall(SYS_close, fd);
    if (text) text[n] = '\0';
    return text;
}

/* "lo-hi rwxp offset device inode name" */
typedef struct line {
    uintptr_t lo, hi;
    uint64_t offset;
    char *file; /* device, inode and name; NULL: neither a file nor the vdso */
    char *name;
} line;

static bool read_line(char *text, line *out)
{
    char *at;
    out->lo = strtoull(text, &at, 16);
    if (*at++ != '-') return false;
    out->hi = strtoull(at, &at, 16);
    if (*at++ != ' ' || !(at = strchr(at, ' '))) return false;
    out->offset = strtoull(at + 1, &at, 16);
    if (*at++ != ' ') return false;
    out->file = at;
    out->name = strchr(at, '/');
    if (!out->name) out->name = strstr(at, "[vdso]");
    if (!out->name) out->file = NULL;
    return true;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++) n++;
    return n;
}

int oaki_mappings_read(oaki_mappings *out)
{
    *out = (oaki_mappings){ .text = read_maps() };
    if (out->text) out->item = malloc((count_lines(out->text) + 1) * sizeof *out->item);
    if (!out->item) {
        oaki_mappings_free(out);
        return -1;
    }
    line now, last = { .file = NULL };
    for (char *text = out->text, *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        *end = '\0';
        if (!read_line(text, &now) || !now.file) continue;
        bool goes_on = last.file && now.offset > 0 && now.offset >= last.offset &&
                       strcmp(now.file, last.file) == 0;
        if (!goes_on) out->item[out->n++] = (oaki_mapped){ .name = now.name, .lo = now.lo };
        out->item[out->n - 1].hi = now.hi;
        last = now;
    }
    return 0;
}

void oaki_mappings_free(oaki_mappings *m)
{
    free(m->item);
    free(m->text);
    *m = (oaki_mappings){ .n = 0 };
}

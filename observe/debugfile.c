/* debugfile.c - the search for separate files of debugging information (debugfile.h).
 *
 * Owns: nothing. A file is used only if its build id or checksum shows that it belongs to the
 * object.
 * Bound: the number of places; plus the file's bytes if only a checksum decides. */
#include "debugfile.h"
#include "elfsym.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool belongs(const oaki_debugfile *d, const char *path)
{
    oaki_elf e;
    if (oaki_elf_open(&e, path) != 0) return false;
    bool same = d->id_len > 0 ? oaki_elf_has_build_id(&e, d->id, d->id_len)
                              : oaki_elf_has_checksum(&e, d->crc);
    oaki_elf_close(&e);
    return same;
}

int oaki_debugfile_open(const oaki_debugfile *d, char path[OAKI_DEBUGFILE_PATH])
{
    static const char *const place[][2] = { { "", "" },
                                            { "", ".debug/" },
                                            { "/usr/lib/debug", "" } };
    const char *slash = strrchr(d->object, '/');
    if (!slash || strchr(d->link, '/')) return -1;
    for (size_t i = 0; i < OAKI_COUNT(place); i++) {
        int n = snprintf(path, OAKI_DEBUGFILE_PATH, "%s%.*s/%s%s", place[i][0],
                         (int)(slash - d->object), d->object, place[i][1], d->link);
        if (n < 0 || n >= OAKI_DEBUGFILE_PATH || strcmp(path, d->object) == 0) continue;
        if (belongs(d, path)) return open(path, O_RDONLY | O_CLOEXEC);
    }
    return -1;
}

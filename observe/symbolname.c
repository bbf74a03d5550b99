/* symbolname.c - names of root words: code and data by symbol.h, thread-local variables from the
 * symbol table of their file.
 *
 * The file is opened for each look-up, as few such roots are named at a time.
 *
 * Owns nothing. Bound: linear in a file's symbols. */
#include "symbolname.h"

#include "elfsym.h"
#include "runtime/print.h"
#include "symbol.h"
#include <string.h>
#include <unistd.h>

#define PROGRAM "/proc/self/exe"

void oaki_name_of_code(uintptr_t pc, char *name, size_t n, char *file, size_t file_n)
{
    oak_frame frame[OAKI_SYMBOL_INLINED];
    size_t frames = oaki_symbol_of_code(pc, frame);
    const oak_frame *f = &frame[frames - 1]; /* the owner of the frame, not inlined */
    oaki_format(name, n, "%s", f->function ? f->function : "");
    if (f->object) oaki_format(file, file_n, "%s", f->object);
}

void oaki_name_of_data(uintptr_t addr, char *name, size_t n, char *file, size_t file_n,
                       size_t *offset)
{
    oaki_symbol s = { .name = NULL };
    bool named = oaki_symbol_of_data(addr, &s);
    oaki_format(name, n, "%s", named && s.name ? s.name : "");
    if (s.object) {
        oaki_format(file, file_n, "%s", s.object);
        *offset = s.offset;
    }
}

void oaki_name_of_file(const char *path, char *out, size_t n)
{
    oaki_format(out, n, "%s", path);
    if (strcmp(path, PROGRAM) != 0) return;
    ssize_t got = readlink(PROGRAM, out, n - 1);
    if (got > 0) out[got] = '\0';
}

/* ---- thread-local variables ---- */

void oaki_name_of_tls(const char *file, size_t at, char *name, size_t n, size_t *offset)
{
    oaki_elf e;
    uintptr_t start = 0;
    size_t size;
    *offset = at;
    if (oaki_elf_open(&e, file) != 0) return;
    const char *found = oaki_elf_symbol(&e, at, OAKI_ELF_THREAD_LOCAL, &start, &size);
    if (found) {
        oaki_format(name, n, "%s", found);
        *offset = at - start;
    }
    oaki_elf_close(&e);
}

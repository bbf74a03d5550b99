/* symbolname.c - names of root words: code and data by symbol.h, thread-local variables from the
 * symbol table of their file.
 *
 * The file is mapped for each look-up, as few such roots are named at a time. Its contents are
 * checked against its size.
 *
 * Owns nothing. Bound: linear in a file's symbols. */
#include "symbolname.h"

#include "elfsym.h"
#include "runtime/print.h"
#include "symbol.h"
#include <link.h>
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

/* n items of `size` bytes at offset `at` of the file; NULL if they don't fit. */
static const void *piece(const oaki_elf *e, size_t at, size_t n, size_t size)
{
    if (at > e->size || n > (e->size - at) / size || at % 8 != 0) return NULL;
    return e->map + at;
}

/* The name of the variable that contains the offset `at`, from one table; or NULL. */
static const char *search_table(const oaki_elf *e, const ElfW(Shdr) *s, const ElfW(Shdr) *strings,
                                size_t at, size_t *offset)
{
    size_t n = s->sh_size / sizeof(ElfW(Sym));
    const ElfW(Sym) *sym = piece(e, s->sh_offset, n, sizeof *sym);
    if (!sym || strings->sh_size == 0 || strings->sh_offset > e->size ||
        strings->sh_size > e->size - strings->sh_offset)
        return NULL;
    const char *text = (const char *)e->map + strings->sh_offset;
    if (text[strings->sh_size - 1] != '\0') return NULL;
    for (size_t i = 0; i < n; i++) {
        const ElfW(Sym) *y = &sym[i];
        if ((y->st_info & 0xf) != STT_TLS || y->st_shndx == SHN_UNDEF ||
            at - y->st_value >= OAKI_MAX((size_t)y->st_size, (size_t)1) ||
            y->st_name >= strings->sh_size)
            continue;
        *offset = at - y->st_value;
        return text + y->st_name;
    }
    return NULL;
}

static const char *search(const oaki_elf *e, size_t at, size_t *offset)
{
    static const unsigned tables[] = { SHT_SYMTAB, SHT_DYNSYM };
    const ElfW(Ehdr) *h = piece(e, 0, 1, sizeof *h);
    if (!h || h->e_shentsize != sizeof(ElfW(Shdr))) return NULL;
    const ElfW(Shdr) *s = piece(e, h->e_shoff, h->e_shnum, sizeof *s);
    const char *name = NULL;
    for (size_t k = 0; s && !name && k < OAKI_COUNT(tables); k++)
        for (size_t i = 0; i < h->e_shnum && !name; i++)
            if (s[i].sh_type == tables[k] && s[i].sh_link < h->e_shnum)
                name = search_table(e, &s[i], &s[s[i].sh_link], at, offset);
    return name;
}

void oaki_name_of_tls(const char *file, size_t at, char *name, size_t n, size_t *offset)
{
    oaki_elf e;
    *offset = at;
    if (oaki_elf_open(&e, file) != 0) return;
    const char *found = search(&e, at, offset);
    if (found) oaki_format(name, n, "%s", found);
    oaki_elf_close(&e);
}

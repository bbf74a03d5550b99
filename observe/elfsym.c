/* elfsym.c - a reader of symbol tables of ELF files (elfsym.h).
 *
 * Owns: nothing.
 * Invariant: contents are read piece by piece into one window. They are not mapped, as a page of a
 *   file that was cut short is a SIGBUS: then a piece is missing, and what needs it isn't found. */
#include "elfsym.h"
#include "crc.h"
#include "runtime/os.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes read at once; and the longest name, and the most notes, that are found. */
#define WINDOW ((size_t)64 << 10)
#define NAME_STEP ((size_t)256) /* most names are shorter */
#define SYMBOLS_MOST ((size_t)1 << 26) /* that a search looks at: a hostile file repeats tables */

typedef ElfW(Ehdr) header;
typedef ElfW(Shdr) section;
typedef ElfW(Sym) symbol;

static bool fits(const oaki_elf *e, size_t off, size_t n)
{
    return off <= e->size && n <= e->size - off;
}

/* false: the file doesn't have them, or not any more. */
static bool read_at(const oaki_elf *e, size_t off, void *to, size_t n)
{
    if (!fits(e, off, n)) return false;
    while (n > 0) {
        ssize_t got = pread(e->fd, to, n, (off_t)off);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to = (char *)to + got;
        off += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

static bool read_header(oaki_elf *e)
{
    header h;
    if (!read_at(e, 0, &h, sizeof h)) return false;
    e->sections = h.e_shoff;
    e->nsections = h.e_shnum;
    e->names = h.e_shstrndx;
    return memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 && h.e_ident[EI_CLASS] == ELFCLASS64 &&
           h.e_shentsize == sizeof(section);
}

int oaki_elf_open(oaki_elf *e, const char *path)
{
    struct stat st = { 0 };
    *e = (oaki_elf){ .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) };
    if (e->fd < 0) return -1;
    bool file = fstat(e->fd, &st) == 0 && S_ISREG(st.st_mode);
    e->file = (oaki_fd_file){ st.st_dev, st.st_ino };
    if (file) e->size = (size_t)st.st_size;
    int error = file && read_header(e) ? 0 : ENOEXEC;
    if (!error && (e->window = oaki_os_map_scratch(WINDOW)) != NULL) return 0;
    oaki_fd_close(e->fd, &e->file);
    errno = error ? error : ENOMEM;
    return -1;
}

void oaki_elf_close(oaki_elf *e)
{
    oaki_os_release(e->window, WINDOW);
    oaki_fd_close(e->fd, &e->file);
}

static bool section_at(const oaki_elf *e, size_t i, section *out)
{
    return i < e->nsections && read_at(e, e->sections + i * sizeof *out, out, sizeof *out);
}

/* A string of a string table, in the window; NULL: it does not end within the table. */
static const char *string_at(const oaki_elf *e, const section *strings, size_t i)
{
    size_t most = i < strings->sh_size ? OAKI_MIN(strings->sh_size - i, WINDOW) : 0;
    for (size_t at = 0; at < most; at += NAME_STEP) {
        char *to = e->window + at;
        size_t n = OAKI_MIN(most - at, NAME_STEP);
        if (!read_at(e, strings->sh_offset + i + at, to, n)) return NULL;
        if (memchr(to, '\0', n)) return e->window;
    }
    return NULL;
}

static bool is_wanted(const symbol *s, oaki_elf_kind kind)
{
    unsigned type = ELF64_ST_TYPE(s->st_info);
    if (s->st_shndx == SHN_UNDEF || s->st_shndx >= SHN_LORESERVE) return false;
    if (kind == OAKI_ELF_FUNCTION) return type == STT_FUNC || type == STT_GNU_IFUNC;
    return type == (kind == OAKI_ELF_THREAD_LOCAL ? STT_TLS : STT_OBJECT);
}

/* Does s cover addr, and begin later than the best so far? A symbol of size 0 covers all up to the
 * next one, but for a thread-local one: that stands for a block. It is a label perhaps, so one with
 * a size is better. */
static bool is_better(const symbol *s, const symbol *best, uintptr_t addr, oaki_elf_kind kind)
{
    uintptr_t size = s->st_size ? s->st_size : kind == OAKI_ELF_THREAD_LOCAL ? 1 : UINTPTR_MAX;
    if (s->st_value > addr || addr - s->st_value >= size) return false;
    if (best->st_name == 0) return true;
    if ((s->st_size == 0) != (best->st_size == 0)) return s->st_size > 0;
    return s->st_value > best->st_value ||
           (s->st_value == best->st_value && s->st_size > best->st_size);
}

/* false: none, or its name is in no table; or the table has more symbols than *most. */
static bool best_in(const oaki_elf *e, const section *table, uintptr_t addr, oaki_elf_kind kind,
                    symbol *best, size_t *most)
{
    const symbol *s = (const symbol *)(void *)e->window;
    size_t left = table->sh_size / sizeof *s, off = table->sh_offset;
    *best = (symbol){ .st_name = 0 };
    if (!fits(e, off, table->sh_size) || left > *most) return false;
    *most -= left;
    while (left > 0) {
        size_t n = OAKI_MIN(left, WINDOW / sizeof *s);
        if (!read_at(e, off, e->window, n * sizeof *s)) return false;
        for (size_t i = 0; i < n; i++)
            if (s[i].st_name && is_wanted(&s[i], kind) && is_better(&s[i], best, addr, kind))
                *best = s[i];
        off += n * sizeof *s;
        left -= n;
    }
    return best->st_name != 0;
}

const char *oaki_elf_symbol(const oaki_elf *e, uintptr_t addr, oaki_elf_kind kind,
                            uintptr_t *start, size_t *size)
{
    static const unsigned kinds[] = { SHT_SYMTAB, SHT_DYNSYM };
    section table, strings;
    symbol s;
    size_t most = SYMBOLS_MOST;
    for (size_t k = 0; k < OAKI_COUNT(kinds); k++)
        for (size_t i = 0; section_at(e, i, &table); i++) {
            if (table.sh_type != kinds[k] || !best_in(e, &table, addr, kind, &s, &most))
                continue;
            if (!section_at(e, table.sh_link, &strings)) continue;
            const char *name = string_at(e, &strings, s.st_name);
            if (!name || !*name) continue;
            *start = s.st_value;
            *size = s.st_size;
            return name;
        }
    return NULL;
}

bool oaki_elf_section(const oaki_elf *e, const char *name, uintptr_t *addr, size_t *size)
{
    section s, names;
    if (!section_at(e, e->names, &names)) return false;
    for (size_t i = 0; section_at(e, i, &s); i++) {
        if (!(s.sh_flags & SHF_ALLOC)) continue;
        const char *is = string_at(e, &names, s.sh_name);
        if (!is || strcmp(is, name) != 0) continue;
        *addr = s.sh_addr;
        *size = s.sh_size;
        return true;
    }
    return false;
}

/* Do the notes contain this build id? They follow one another, with parts padded to 4 bytes. */
static bool notes_have(const unsigned char *p, size_t size, const unsigned char *id, size_t n)
{
    ElfW(Nhdr) h;
    while (size >= sizeof h) {
        memcpy(&h, p, sizeof h);
        size_t name = OAKI_ALIGN_UP((size_t)h.n_namesz, 4);
        size_t desc = OAKI_ALIGN_UP((size_t)h.n_descsz, 4);
        if (name > size || desc > size || sizeof h + name + desc > size) return false;
        const unsigned char *at = p + sizeof h;
        if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && memcmp(at, "GNU", 4) == 0)
            return h.n_descsz == n && memcmp(at + name, id, n) == 0;
        p += sizeof h + name + desc;
        size -= sizeof h + name + desc;
    }
    return false;
}

bool oaki_elf_has_build_id(const oaki_elf *e, const unsigned char *id, size_t n)
{
    section s;
    for (size_t i = 0; section_at(e, i, &s); i++) {
        size_t size = OAKI_MIN(s.sh_size, WINDOW);
        if (s.sh_type != SHT_NOTE || !read_at(e, s.sh_offset, e->window, size)) continue;
        if (notes_have((const unsigned char *)e->window, size, id, n)) return true;
    }
    return false;
}

bool oaki_elf_has_checksum(const oaki_elf *e, uint32_t crc)
{
    uint32_t is = 0;
    for (size_t n, at = 0; at < e->size; at += n) {
        n = OAKI_MIN(e->size - at, WINDOW);
        if (!read_at(e, at, e->window, n)) return false;
        is = oaki_crc32(is, (const unsigned char *)e->window, n);
    }
    return is == crc;
}

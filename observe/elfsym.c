/* elfsym.c - a reader of symbol tables of ELF files (elfsym.h).
 *
 * Owns: nothing.
 * Invariant: no read is outside of the mapping, as each offset is checked where it is used. A file
 *   truncated while it is mapped would still be fatal. But a running program can't be written to
 *   (ETXTBSY), and libraries are replaced by rename. */
#include "elfsym.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef ElfW(Ehdr) header;
typedef ElfW(Shdr) section;
typedef ElfW(Sym) symbol;

static const header *header_of(const oaki_elf *e)
{
    return (const header *)e->map;
}

int oaki_elf_open(oaki_elf *e, const char *path)
{
    struct stat st;
    *e = (oaki_elf){ .map = NULL };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size >= sizeof(header)) {
        e->size = (size_t)st.st_size;
        void *map = mmap(NULL, e->size, PROT_READ, MAP_PRIVATE, fd, 0);
        e->map = map == MAP_FAILED ? NULL : map;
    }
    close(fd);
    if (e->map && memcmp(e->map, ELFMAG, SELFMAG) == 0 && e->map[EI_CLASS] == ELFCLASS64 &&
        header_of(e)->e_shentsize == sizeof(section))
        return 0;
    oaki_elf_close(e);
    errno = ENOEXEC;
    return -1;
}

void oaki_elf_close(oaki_elf *e)
{
    if (e->map) munmap((void *)e->map, e->size);
    *e = (oaki_elf){ .map = NULL };
}

/* n bytes at an offset; NULL: not aligned to 8 bytes, or out of the file. */
static const void *bytes_at(const oaki_elf *e, size_t off, size_t n)
{
    return off % 8 == 0 && off <= e->size && n <= e->size - off ? e->map + off : NULL;
}

static const section *section_at(const oaki_elf *e, size_t i)
{
    const header *h = header_of(e);
    return i < h->e_shnum ? bytes_at(e, h->e_shoff + i * sizeof(section), sizeof(section)) : NULL;
}

/* A string of a string table; NULL: it does not end within the table. */
static const char *string_at(const oaki_elf *e, const section *strings, size_t i)
{
    if (strings->sh_offset > e->size || strings->sh_size > e->size - strings->sh_offset ||
        i >= strings->sh_size)
        return NULL;
    const char *s = (const char *)e->map + strings->sh_offset + i;
    return memchr(s, '\0', strings->sh_size - i) ? s : NULL;
}

static bool is_wanted(const symbol *s, bool data)
{
    unsigned type = ELF64_ST_TYPE(s->st_info);
    if (s->st_shndx == SHN_UNDEF || s->st_shndx >= SHN_LORESERVE) return false;
    return data ? type == STT_OBJECT : type == STT_FUNC || type == STT_GNU_IFUNC;
}

/* The symbol that begins last at or below addr and covers it. A symbol of size 0 covers all up to
 * the next one. */
static const symbol *best_in(const oaki_elf *e, const section *table, uintptr_t addr, bool data)
{
    size_t n = table->sh_size / sizeof(symbol);
    const symbol *s = bytes_at(e, table->sh_offset, n * sizeof *s), *best = NULL;
    for (size_t i = 0; s && i < n; i++) {
        if (!is_wanted(&s[i], data) || s[i].st_value > addr) continue;
        if (s[i].st_size && addr - s[i].st_value >= s[i].st_size) continue;
        if (!best || s[i].st_value > best->st_value ||
            (s[i].st_value == best->st_value && s[i].st_size > best->st_size))
            best = &s[i];
    }
    return best;
}

const char *oaki_elf_symbol(const oaki_elf *e, uintptr_t addr, bool data, uintptr_t *start,
                            size_t *size)
{
    static const unsigned kinds[] = { SHT_SYMTAB, SHT_DYNSYM };
    for (size_t k = 0; k < OAKI_COUNT(kinds); k++)
        for (size_t i = 0; i < header_of(e)->e_shnum; i++) {
            const section *table = section_at(e, i), *strings;
            if (!table || table->sh_type != kinds[k]) continue;
            const symbol *s = best_in(e, table, addr, data);
            if (!s || !(strings = section_at(e, table->sh_link))) continue;
            const char *name = string_at(e, strings, s->st_name);
            if (!name || !*name) continue;
            *start = s->st_value;
            *size = s->st_size;
            return name;
        }
    return NULL;
}

bool oaki_elf_section(const oaki_elf *e, const char *name, uintptr_t *addr, size_t *size)
{
    const section *s, *names = section_at(e, header_of(e)->e_shstrndx);
    for (size_t i = 0; names && (s = section_at(e, i)) != NULL; i++) {
        const char *is = string_at(e, names, s->sh_name);
        if (!is || strcmp(is, name) != 0 || !(s->sh_flags & SHF_ALLOC)) continue;
        *addr = s->sh_addr;
        *size = s->sh_size;
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
    for (size_t i = 0; i < header_of(e)->e_shnum; i++) {
        const section *s = section_at(e, i);
        if (!s || s->sh_type != SHT_NOTE) continue;
        if (s->sh_offset > e->size || s->sh_size > e->size - s->sh_offset) continue;
        if (notes_have(e->map + s->sh_offset, s->sh_size, id, n)) return true;
    }
    return false;
}

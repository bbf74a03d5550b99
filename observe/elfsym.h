/* elfsym.h - symbols of a file, as its own table has them.
 *
 * A file is mapped while it is looked at, and trusted in nothing: whatever is damaged is no symbol.
 * Outside of oaki_enter. */
#ifndef OAKI_ELFSYM_H
#define OAKI_ELFSYM_H

#include "runtime/base.h"

typedef struct oaki_elf {
    const unsigned char *map;
    size_t size;
} oaki_elf;

/* 0 or -1 with errno; ENOEXEC when it is no ELF file of this machine's word size. */
int oaki_elf_open(oaki_elf *e, const char *path);
void oaki_elf_close(oaki_elf *e);

/* The function, or with data the static object, that has the address `addr` of the file. Its name,
 * which is in the mapping and not trusted to be short, with its address and size; or NULL. Prefers
 * .symtab to .dynsym. O(symbols). */
const char *oaki_elf_symbol(const oaki_elf *e, uintptr_t addr, bool data, uintptr_t *start,
                            size_t *size);

/* Where the section of that name lies when the file is loaded at 0. */
bool oaki_elf_section(const oaki_elf *e, const char *name, uintptr_t *addr, size_t *size);

/* Is this its build id? */
bool oaki_elf_has_build_id(const oaki_elf *e, const unsigned char *id, size_t n);

#endif

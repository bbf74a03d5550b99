/* elfsym.h - symbols of an ELF file, from its own symbol table.
 *
 * A file is mapped while it is open. Nothing in it is trusted: a damaged entry is no symbol.
 * Outside of oaki_enter. */
#ifndef OAKI_ELFSYM_H
#define OAKI_ELFSYM_H

#include "runtime/base.h"

typedef struct oaki_elf {
    const unsigned char *map;
    size_t size;
} oaki_elf;

/* Returns 0, or -1 with errno; ENOEXEC: no ELF file of this machine's word size. */
int oaki_elf_open(oaki_elf *e, const char *path);
void oaki_elf_close(oaki_elf *e);

/* The function, or with `data` the static object, that covers the file's address `addr`. Returns
 * its name, or NULL, and sets its address and size. The name is in the mapping and may be of any
 * length. Prefers .symtab to .dynsym. O(symbols). */
const char *oaki_elf_symbol(const oaki_elf *e, uintptr_t addr, bool data, uintptr_t *start,
                            size_t *size);

/* The address of the section of that name when the file is loaded at 0. */
bool oaki_elf_section(const oaki_elf *e, const char *name, uintptr_t *addr, size_t *size);

/* Is this the file's build id? */
bool oaki_elf_has_build_id(const oaki_elf *e, const unsigned char *id, size_t n);

#endif

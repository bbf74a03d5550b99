/* elfsym.h - symbols of an ELF file, from its own symbol table.
 *
 * The file is open until oaki_elf_close. Nothing in it is trusted, and it may change or be cut
 * short meanwhile: a damaged or missing entry is no symbol. An oaki_elf belongs to one thread.
 * Outside of oaki_enter. */
#ifndef OAKI_ELFSYM_H
#define OAKI_ELFSYM_H

#include "runtime/base.h"
#include "runtime/fd.h"

typedef struct oaki_elf {
    int fd;
    oaki_fd_file file; /* behind fd: the program may close that, and reuse its number */
    char *window; /* of elfsym.c: what was read last */
    size_t size; /* of the file */
    size_t sections, nsections; /* the offset of their headers, their number */
    size_t names; /* the section that has the sections' names */
} oaki_elf;

/* Returns 0, or -1 with errno; ENOEXEC: no ELF file of this machine's word size. */
int oaki_elf_open(oaki_elf *e, const char *path);
void oaki_elf_close(oaki_elf *e);

typedef enum oaki_elf_kind {
    OAKI_ELF_FUNCTION,
    OAKI_ELF_DATA,
    OAKI_ELF_THREAD_LOCAL /* its address is its offset in the file's block */
} oaki_elf_kind;

/* The symbol of that kind that covers the file's address `addr`. Returns its name, or NULL, and
 * sets its address and size. The name is valid until the next call with `e`; one of 64 KiB or more
 * isn't found. Prefers .symtab to .dynsym. O(symbols). */
const char *oaki_elf_symbol(const oaki_elf *e, uintptr_t addr, oaki_elf_kind kind,
                            uintptr_t *start, size_t *size);

/* The address of the section of that name when the file is loaded at 0. */
bool oaki_elf_section(const oaki_elf *e, const char *name, uintptr_t *addr, size_t *size);

/* Is this the file's build id? */
bool oaki_elf_has_build_id(const oaki_elf *e, const unsigned char *id, size_t n);

/* Is this the checksum of the whole file (crc.h)? */
bool oaki_elf_has_checksum(const oaki_elf *e, uint32_t crc);

#endif

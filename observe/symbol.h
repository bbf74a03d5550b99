/* symbol.h - names of addresses: functions, lines, inlined functions, data.
 *
 * libdw reads debugging information. It brings many dependencies, so it is loaded at first use and
 * never linked. Without it or the information, names come from ELF symbol tables (elfsym.h), then
 * from the loader. An address may stay without a name.
 *
 * Returned strings live as long as the process; each is stored once. The result for an address is
 * cached until another object is loaded there. So code that was unloaded keeps a name that was
 * looked up before. Any thread, but not in a pause, inside oaki_enter, or in the child of a bare
 * fork: it calls malloc and opens files. */
#ifndef OAKI_SYMBOL_H
#define OAKI_SYMBOL_H

#include "runtime/base.h"
#include <oakum/profile.h>

#define OAKI_SYMBOL_INLINED 16 /* most frames of one address */

#define OAKI_SYMBOL_GONE 0xfbu /* the top byte of an address whose object was unloaded */

/* The number for an address whose object was replaced by another: it has no name. */
OAKI_INLINE uintptr_t oaki_symbol_gone(uintptr_t pc)
{
    return pc | (uintptr_t)OAKI_SYMBOL_GONE << 56;
}

OAKI_INLINE bool oaki_symbol_is_gone(uintptr_t pc)
{
    return pc >> 56 == OAKI_SYMBOL_GONE;
}

/* The address itself. */
OAKI_INLINE uintptr_t oaki_symbol_address(uintptr_t pc)
{
    return oaki_symbol_is_gone(pc) ? pc ^ (uintptr_t)OAKI_SYMBOL_GONE << 56 : pc;
}

/* The functions that contain the instruction at pc: the innermost inlined one first, the one with
 * its own code last. At least one; its function is NULL if there is no name. For a return address,
 * pass pc - 1. */
size_t oaki_symbol_of_code(uintptr_t pc, oak_frame out[OAKI_SYMBOL_INLINED]);

/* The frame's function; without one, its place in the object: libc.so.6+0x27249, as addr2line takes
 * it; or its address. What isn't stored is written to buf, which is cut to n bytes. */
const char *oaki_symbol_of_frame(const oak_frame *f, char *buf, size_t n);

typedef struct oaki_symbol {
    const char *name;
    const char *object; /* the program or library that contains it */
    size_t offset;      /* of the address in the symbol */
    size_t size;        /* 0: unknown */
} oaki_symbol;

/* The static data that contains this address, static variables included. false if there is no name.
 * Then object is set if the address is in a loaded object, and offset is from its base. */
bool oaki_symbol_of_data(uintptr_t addr, oaki_symbol *out);

/* Frees the data that libdw has read. To be called after many look-ups; the next one reads it
 * anew. */
void oaki_symbols_release(void);

/* Frees all names: nobody uses one any more. */
void oaki_symbols_end(void);

#endif

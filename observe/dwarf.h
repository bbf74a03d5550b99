/* dwarf.h - debugging information of what is loaded, read by libdw.
 *
 * libdw is never unloaded. One thread at a time: symbol.c's lock.
 * Strings are libdw's, valid until the closing. */
#ifndef OAKI_DWARF_H
#define OAKI_DWARF_H

#include "symbol.h"

/* Load libdw, the first time; false when there is none. Not while a fork is held off. */
bool oaki_dwarf_load(void);

/* Read what is loaded now. false when that fails. libdw has been loaded. */
bool oaki_dwarf_open(void);
bool oaki_dwarf_is_open(void);
void oaki_dwarf_close(void);

/* Is there an object at this address for which the opening knows of? One that was loaded since is
 * seen after another opening. */
bool oaki_dwarf_covers(uintptr_t addr);

/* As oaki_symbol_of_code, `address` and `object` left alone; 0 when nothing is known. */
size_t oaki_dwarf_code(uintptr_t pc, oak_frame out[OAKI_SYMBOL_INLINED]);

/* Static data by the symbol tables, separate debugging files included. Its name or NULL. */
const char *oaki_dwarf_data(uintptr_t addr, size_t *offset, size_t *size);

#endif

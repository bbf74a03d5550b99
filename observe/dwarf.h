/* dwarf.h - debugging information of the loaded objects, read by libdw.
 *
 * libdw is never unloaded.
 * Lock: symbol.c's; one thread at a time. Strings are libdw's, valid until the next call. */
#ifndef OAKI_DWARF_H
#define OAKI_DWARF_H

#include "symbol.h"

/* Loads libdw at the first call that has the stack for it: then that is tried, whether or not it is
 * found. One thread at a time, and not while a fork is held off. */
void oaki_dwarf_load(void);
bool oaki_dwarf_is_tried(void);

typedef enum oaki_dwarf_state {
    OAKI_DWARF_NONE,     /* there is none, or it fails */
    OAKI_DWARF_NO_STACK, /* the calling thread has too little stack for it */
    OAKI_DWARF_REFUSED,  /* the last questions were refused, and the next one waits */
    OAKI_DWARF_READY
} oaki_dwarf_state;

/* Asked by each thread before it calls what follows. */
oaki_dwarf_state oaki_dwarf_here(void);

bool oaki_dwarf_is_open(void);
void oaki_dwarf_close(void);

/* An object has been loaded. */
void oaki_dwarf_note_load(void);

/* As oaki_symbol_of_code, but leaves `address` and `object` alone. 0: nothing is known. Opens the
 * loaded objects; and again if others were loaded and none that was opened is at the address. */
size_t oaki_dwarf_code(uintptr_t pc, oak_frame out[OAKI_SYMBOL_INLINED]);

/* The name of static data by the symbol tables, those of separate debugging files included; or
 * NULL. Opens objects as above. */
const char *oaki_dwarf_data(uintptr_t addr, size_t *offset, size_t *size);

/* The last question was refused: the system gave no process for it (shield.h), or no memory. After
 * some in a row, the next waits for a second. */
bool oaki_dwarf_is_refused(void);

#endif

/* symbol.h - names of addresses: functions, lines, inlined functions, data.
 *
 * libdw reads debugging information; it is loaded at first use and drags in much, so it is never
 * linked. Without it, or where there is no such information, ELF symbol tables tell names
 * (elfsym.h), then the loader's, and otherwise an address is all there is.
 *
 * Strings that are handed out live as long as the process: each is kept once. What was found for
 * an address is kept too, until another object is loaded there: code that has gone keeps the name
 * that was asked for while it was there. Not in a stop, nor inside oaki_enter, nor in the child of
 * a bare fork: this calls malloc and opens files. Any thread. */
#ifndef OAKI_SYMBOL_H
#define OAKI_SYMBOL_H

#include "runtime/base.h"
#include <oakum/profile.h>

#define OAKI_SYMBOL_INLINED 16 /* frames of one address, at most */

/* The functions that the instruction at pc is in: the innermost inlined one first, the one that has
 * the code last. At least 1, with function NULL when there is no name. For a return address ask for
 * pc - 1. */
size_t oaki_symbol_of_code(uintptr_t pc, oak_frame out[OAKI_SYMBOL_INLINED]);

typedef struct oaki_symbol {
    const char *name;
    const char *object; /* the program or library that it is in */
    size_t offset;      /* of the address in it */
    size_t size;        /* 0 when not known */
} oaki_symbol;

/* The static data that this address is in, names of static variables included. false when there is
 * no name; then object is set if the address is in a loaded object, and offset is from its base. */
bool oaki_symbol_of_data(uintptr_t addr, oaki_symbol *out);

/* Give back what libdw has read: after many look-ups, the next of which reads it anew. */
void oaki_symbols_release(void);

#endif

/* unwind_cfi.h - an entry of .eh_frame (an FDE) with the part that it shares with others (its
 * CIE). */
#ifndef OAKI_UNWIND_CFI_H
#define OAKI_UNWIND_CFI_H

#include "unwind_read.h"

typedef struct oaki_cfi {
    uintptr_t entry;       /* its address */
    uintptr_t start, size; /* of the code that it covers */
    oaki_cursor common;    /* the CIE's program, which runs first */
    oaki_cursor own;       /* the entry's own program */
    uint64_t code_unit;
    int64_t data_unit;
    unsigned return_column;
    unsigned encoding; /* of addresses */
    bool sized;        /* its extras have a length ('z') */
    bool signal;       /* a frame that the kernel made: the pc above it is not a return address */
} oaki_cfi;

/* Reads the entry at `at`; the tables end at `end`. False if there is none, or none in a known
 * format. The cursors of *out use w. */
bool oaki_cfi_read(uintptr_t at, uintptr_t end, oaki_window *w, oaki_cfi *out);

/* The address of the entry after the one at `at`; 0: none. */
uintptr_t oaki_cfi_next(uintptr_t at, uintptr_t end, oaki_window *w);

#endif

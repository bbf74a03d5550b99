/* unwind_cfi.h - an entry of .eh_frame (an FDE) with what it shares with others (its CIE). */
#ifndef OAKI_UNWIND_CFI_H
#define OAKI_UNWIND_CFI_H

#include "unwind_read.h"

typedef struct oaki_cfi {
    uintptr_t entry;       /* where it is */
    uintptr_t start, size; /* of the code that it tells of */
    oaki_cursor common;    /* the two programs: that of the CIE, which comes first, ... */
    oaki_cursor own;       /* ... and that of the entry */
    uint64_t code_unit;
    int64_t data_unit;
    unsigned return_column;
    unsigned encoding; /* of addresses */
    bool sized;        /* its extras have a length ('z') */
    bool signal;       /* a frame that the kernel made: the pc above it is no return address */
} oaki_cfi;

/* The entry at `at` of tables that end at `end`. False when it is none, or isn't understood. The
 * cursors use w. */
bool oaki_cfi_read(uintptr_t at, uintptr_t end, oaki_window *w, oaki_cfi *out);

/* What comes behind the entry at `at`; 0: nothing. */
uintptr_t oaki_cfi_next(uintptr_t at, uintptr_t end, oaki_window *w);

#endif

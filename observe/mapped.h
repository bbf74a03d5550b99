/* mapped.h - which files the process has mapped, each from its first mapping to its last.
 *
 * Calls malloc and reads /proc: not in a stop, nor inside oaki_enter. */
#ifndef OAKI_MAPPED_H
#define OAKI_MAPPED_H

#include "runtime/base.h"

typedef struct oaki_mapped {
    const char *name; /* a path, or "[vdso]" */
    uintptr_t lo, hi;
} oaki_mapped;

typedef struct oaki_mappings {
    oaki_mapped *item;
    size_t n;
    char *text; /* that the names are in */
} oaki_mappings;

/* 0, or -1 without memory, or where /proc can't be read. Rising addresses. */
int oaki_mappings_read(oaki_mappings *out);
void oaki_mappings_free(oaki_mappings *m);

#endif

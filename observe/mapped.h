/* mapped.h - the files that the process has mapped, each from its first mapping to its last.
 *
 * Calls malloc and reads /proc: not in a pause, and outside of oaki_enter. */
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
    char *text; /* contains the names */
} oaki_mappings;

/* Returns 0, or -1: no memory, or /proc can't be read. Items are in ascending order of
 * addresses. */
int oaki_mappings_read(oaki_mappings *out);
void oaki_mappings_free(oaki_mappings *m);

#endif

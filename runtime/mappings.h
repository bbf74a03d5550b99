/* mappings.h - the table of all memory that Oakum has mapped and holds, so that it can be given
 * back at once. os_linux.c and os_release.c keep it. May be used with the world stopped, and in a
 * signal handler. */
#ifndef OAKI_MAPPINGS_H
#define OAKI_MAPPINGS_H

#include "base.h"

bool oaki_mapping_add(void *p, size_t size); /* false: no memory for the table */
void oaki_mapping_remove(const void *p);     /* ignored for what is not in the table */
void oaki_mapping_change(const void *p, void *to, size_t size); /* it has moved, or shrunk */

size_t oaki_mappings_count(void);

/* Unmaps all, and the table. Nobody may use any of it. Returns how many the system refused. */
size_t oaki_mappings_release(void);

#endif

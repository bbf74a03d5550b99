/* reading.h - how the marker reads the words of objects, data and ranges.
 *
 * Lock: oaki_gc.host.displacements and .words_read change under gc_lock or at start-up (host.c). */
#ifndef OAKI_TRACE_READING_H
#define OAKI_TRACE_READING_H

#include "gc/collector.h"

/* Computes words_read anew from the displacements and oaki_tags. */
void oaki_reading_update(void);

OAKI_INLINE bool oaki_reads_tags(oaki_reading how)
{
    return how >= OAKI_READ_ADDED;
}

/* Do words count only at allowed displacements? */
OAKI_INLINE bool oaki_reads_strictly(oaki_reading how)
{
    return how == OAKI_READ_STRICT ||
           (how == OAKI_READ_ANY && oaki_gc.host.displacements.strict);
}

bool oaki_mark_counts_strictly(size_t off);

/* Does a word that leads to offset off < used count as a reference? The word is in an object, in
 * data or in a registered range. If it leads to no object, the result means nothing. */
OAKI_INLINE bool oaki_mark_counts(size_t off)
{
    return OAKI_LIKELY(!oaki_gc.host.displacements.strict) || oaki_mark_counts_strictly(off);
}

#endif

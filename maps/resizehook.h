/* resizehook.h - for who wants to know when maps are resized.
 *
 * The hook is looked at once a resize, not once a step. It is called by the thread that writes the
 * map, in the middle of that write: it may not touch the map, nor anything of Oakum's that
 * allocates from the heap.
 * Owns: the hook. Lock: none. */
#ifndef OAKI_RESIZEHOOK_H
#define OAKI_RESIZEHOOK_H

#include "runtime/base.h"

typedef struct oaki_resize {
    const void *map;
    bool classic, begins; /* or it is over */
    size_t len, from, to; /* entries; slots of the two arrays: 0 when it is over */
} oaki_resize;

typedef void (*oaki_resize_fn)(const oaki_resize *r);

extern OAKI_HIDDEN AO_t oaki_resize_hook; /* oaki_resize_fn, or 0 */

/* From now on fn is told of resizes of maps of both kinds; NULL: no more. */
void oaki_maps_on_resize(oaki_resize_fn fn);

OAKI_INLINE void oaki_resize_begins(const void *map, bool classic, size_t len, size_t from,
                                    size_t to)
{
    oaki_resize_fn fn = (oaki_resize_fn)AO_load(&oaki_resize_hook);
    if (OAKI_LIKELY(!fn)) return;
    oaki_resize r = { map, classic, true, len, from, to };
    fn(&r);
}

OAKI_INLINE void oaki_resize_ends(const void *map, bool classic, size_t len)
{
    oaki_resize_fn fn = (oaki_resize_fn)AO_load(&oaki_resize_hook);
    if (OAKI_LIKELY(!fn)) return;
    oaki_resize r = { map, classic, false, len, 0, 0 };
    fn(&r);
}

#endif

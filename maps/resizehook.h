/* resizehook.h - a hook that is called when the resize of a map begins or ends.
 *
 * The hook is read once a resize, not once a step. The thread that writes the map calls it, in the
 * middle of that write. It must not call the map's functions, nor allocate from the heap.
 * Owns: the hook. Lock: none. */
#ifndef OAKI_RESIZEHOOK_H
#define OAKI_RESIZEHOOK_H

#include "runtime/base.h"

typedef struct oaki_resize {
    const void *map;
    bool classic, begins; /* a classic map; the resize begins, else it is over */
    size_t len, from, to; /* entries; slots of the two arrays: 0 when it is over */
} oaki_resize;

typedef void (*oaki_resize_fn)(const oaki_resize *r);

extern OAKI_HIDDEN AO_t oaki_resize_hook; /* oaki_resize_fn, or 0 */

/* Sets the hook, for maps of both kinds. NULL: none. It takes no context, as a map reads it without
 * a lock, as one word. */
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

/* held.h - functions of the program that an allocation would call, held back for a while.
 *
 * An allocation may end a collection: then listeners, the notifier or finalizers run. Or it fails,
 * and on_full of its zone runs. None may run while a map is halfway through a write, or the lock of
 * a structure is held. So these hold the functions back, and call them as soon as they can
 * (maps/held.h).
 *
 * Owns: struct oaki_held, one for each thread. Lock: none, it is the thread's own. */
#ifndef OAKI_HELD_H
#define OAKI_HELD_H

#include "base.h"

typedef struct oaki_held {
    unsigned depth; /* not 0: functions are held back; the nesting of those that do so */
    unsigned asks;  /* code of the program runs at this depth: its allocations ask for on_full */
    size_t full;    /* held back: on_full, for so many bytes; 0: not */
    bool over;      /* held back: what follows a collection (gc/event.h) */
    bool ran;       /* finalizers have run among what was called since */
    unsigned tries; /* of one write, for that reason */
} oaki_held;

/* Is on_full held back, too? */
OAKI_INLINE bool oaki_held_full(const oaki_held *h)
{
    OAKI_ASSERT(h->depth >= h->asks);
    return h->depth > h->asks;
}

#endif

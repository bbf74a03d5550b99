/* offqueue.h - a queue of offsets in the heap, first in, first out, that grows.
 *
 * Owns its ring. Lock: the owner's. Bound: O(1) on the average. */
#ifndef OAKI_OFFQUEUE_H
#define OAKI_OFFQUEUE_H

#include "base.h"

typedef struct oaki_offqueue {
    size_t *ring; /* of `room`, a power of two or 0 */
    size_t room, first, len;
} oaki_offqueue;

bool oaki_offqueue_reserve(oaki_offqueue *q); /* room for one more; false: no memory */
void oaki_offqueue_put(oaki_offqueue *q, size_t off); /* there is room */
size_t oaki_offqueue_take(oaki_offqueue *q);          /* the eldest; there is one */

#endif

/* offqueue.h - a growing first-in, first-out queue of offsets in the heap.
 *
 * Owns its ring. Lock: the owner's. Bound: O(1) amortized. */
#ifndef OAKI_OFFQUEUE_H
#define OAKI_OFFQUEUE_H

#include "base.h"

typedef struct oaki_offqueue {
    size_t *ring; /* `room` entries: a power of two, or 0 */
    size_t room, first, len;
} oaki_offqueue;

bool oaki_offqueue_reserve(oaki_offqueue *q); /* makes room for one more; false: no memory */
void oaki_offqueue_put(oaki_offqueue *q, size_t off); /* requires room */
size_t oaki_offqueue_take(oaki_offqueue *q);          /* the oldest; requires a non-empty queue */

#endif

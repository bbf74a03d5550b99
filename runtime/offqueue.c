/* offqueue.c - a ring of offsets. Owner, lock and bound: offqueue.h.
 * Invariant: `room` is 0 or a power of two, and at least `len`. */
#include "offqueue.h"

#include "meta.h"

#define FIRST 4096 /* places */

bool oaki_offqueue_reserve(oaki_offqueue *q)
{
    if (q->len < q->room) return true;
    size_t room = q->room ? q->room * 2 : FIRST;
    size_t *ring = oaki_meta_alloc(room * sizeof *ring, OAKI_META_OTHER);
    if (!ring) return false;
    for (size_t i = 0; i < q->len; i++) ring[i] = q->ring[(q->first + i) & (q->room - 1)];
    oaki_meta_free(q->ring, q->room * sizeof *ring, OAKI_META_OTHER);
    q->ring = ring;
    q->room = room;
    q->first = 0;
    return true;
}

void oaki_offqueue_put(oaki_offqueue *q, size_t off)
{
    OAKI_ASSERT(q->len < q->room);
    q->ring[(q->first + q->len++) & (q->room - 1)] = off;
}

size_t oaki_offqueue_take(oaki_offqueue *q)
{
    OAKI_ASSERT(q->len > 0);
    size_t off = q->ring[q->first];
    q->first = (q->first + 1) & (q->room - 1);
    q->len--;
    return off;
}

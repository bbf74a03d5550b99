/* info.c - the heap's location, for tools.
 *
 * Owns nothing. The fields that it reads are constant after start-up, so it needs no lock. */
#include "heap.h"
#include "meta.h"
#include <oakum/heap.h>

void oak_heap_info_read(oak_heap_info *out)
{
    if (!out) return;
    const oaki_heap *h = &oaki_the_heap;
    *out = (oak_heap_info){ 0 };
    if (!h->started) return;
    out->base = (void *)h->base;
    out->reserved = h->reserved;
    out->metadata = oaki_meta_backend();
}

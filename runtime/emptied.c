/* emptied.c - finds spans that were emptied by hand, and frees them (emptied.h).
 *
 * Owns nothing. Lock: each mcentral's, pages_lock. Bound: O(spans). */
#include "emptied.h"
#include "collector.h"
#include "heap.h"
#include "phase.h"

uint32_t oaki_emptied_take(void)
{
    OAKI_REQUIRES_INSIDE();
    uint32_t first = 0;
    oaki_gc_sweep_all();
    for (uint32_t id = 0; id < AO_load(&oaki_the_heap.zones.used); id++)
        first = oaki_central_take_empty(oaki_zone_by_id(id), first);
    return first;
}

void oaki_emptied_free(uint32_t first)
{
    const oaki_heap *h = &oaki_the_heap;
    bool marking = oaki_is_marking(); /* concurrently: no page is freed meanwhile */
    while (first) {
        oaki_span *s = &h->spans[first - 1];
        first = s->next;
        OAKI_ASSERT(s->list == OAKI_LIST_NONE && AO_int_load(&s->nalloc) == 0);
        if (marking) {
            /* while in no list, it may have missed the new cycle */
            s->swept = (uint32_t)AO_load(&h->cycle);
            oaki_central_give(s);
            continue;
        }
        if (s->types) oaki_span_free_types(s);
        oaki_pages_free(s);
    }
}

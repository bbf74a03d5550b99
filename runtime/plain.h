/* plain.h - the fast check of an object that is to be freed or resized.
 *
 * Lock: none. The caller holds a reference to the object, so it is not collected meanwhile. */
#ifndef OAKI_PLAIN_H
#define OAKI_PLAIN_H

#include "heap.h"

/* The span of the small object that begins at p, if it is swept and A alone decides whether its
 * objects are live. Then no other table need be consulted, which is nearly always so. NULL proves
 * nothing. Inside oaki_enter, where there are zones. */
OAKI_INLINE oaki_span *oaki_plain_span(const void *p)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t off = oaki_heap_offset(p), page = off >> OAKI_PAGE_SHIFT;
    OAKI_ASSERT(oaki_is_inside() || AO_load(&h->zones.count) == 0);
    if (OAKI_UNLIKELY(off >= AO_load(&h->used))) return NULL;
    oaki_pte e = h->pte[page];
    unsigned cls = e & OAKI_PTE_CLASS;
    if (OAKI_UNLIKELY(cls == 0 || cls == OAKI_CLASS_LARGE)) return NULL;
    page -= e >> OAKI_PTE_OFFSET_SHIFT;
    oaki_span *s = &h->spans[page];
    const oaki_class *c = &oaki_classes[cls];
    size_t in = off - (page << OAKI_PAGE_SHIFT), slot = (in * c->magic) >> 32;
    if (OAKI_UNLIKELY(slot * c->size != in || slot >= c->nslots)) return NULL;
    if (OAKI_UNLIKELY(oaki_zone_is_gone(s->zone))) return NULL;
    if (!oaki_bit_get(h->alloc, off) || s->swept != (uint32_t)AO_load(&h->cycle)) return NULL;
    if (s->special || AO_char_load(&s->sampled)) return NULL;
    if (s->list != OAKI_LIST_CACHED) return s;
    const oaki_mcache *mc = oaki_tls_mcache;
    unsigned sc = OAKI_SPANCLASS(s->kind, cls);
    if (OAKI_UNLIKELY(mc->span[sc] != s)) return oaki_zones_hold_back(s, p) ? NULL : s;
    bool unused = (const char *)p >= mc->run[sc].next && (const char *)p < mc->run_end[sc];
    return OAKI_LIKELY(!unused) ? s : NULL;
}

#endif

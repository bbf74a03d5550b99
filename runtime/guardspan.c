/* guardspan.c - fills and gives back the gaps and pages of guarded spans (guard.h).
 *
 * Owns nothing: a span belongs to its caller while it is filled or released. */
#include "contract.h"
#include "guard.h"
#include "heap.h"
#include <string.h>
#include <sys/mman.h>

#define GAP OAKI_GUARD_PATTERN

size_t oaki_guard_cost(size_t off)
{
    const oaki_span *s = oaki_span_of_offset(off);
    size_t bytes = (size_t)s->npages << OAKI_PAGE_SHIFT;
    if (s->cls != OAKI_CLASS_LARGE) return bytes / oaki_span_slots(s);
    return bytes + ((s->guarded & OAKI_GUARDED_HEAD) != 0) * OAKI_PAGE +
           ((s->guarded & OAKI_GUARDED_TAIL) != 0) * OAKI_PAGE;
}

size_t oaki_guard_front(const oaki_span *s)
{
    if (s->cls == OAKI_CLASS_LARGE)
        return (s->guarded & OAKI_GUARDED_HEAD ? OAKI_PAGE : 0) + s->shift;
    return oaki_classes[s->cls].nslots > 1 ? OAKI_GUARD_GAP : 0;
}

void oaki_guard_fill(oaki_span *s)
{
    OAKI_REQUIRES_INSIDE();
    unsigned char *p = (unsigned char *)oaki_span_start(s), *end = p;
    if (s->cls == OAKI_CLASS_LARGE) {
        if (s->guarded & OAKI_GUARDED_HEAD) memset(p - OAKI_PAGE, GAP, OAKI_PAGE);
        memset(p, GAP, s->shift);
        if (s->guarded & OAKI_GUARDED_TAIL)
            (void)mprotect(p + s->shift + s->size, OAKI_PAGE, PROT_NONE);
        return;
    }
    const oaki_class *c = &oaki_classes[s->cls];
    if (c->nslots == 1) return;
    s->guarded = OAKI_GUARDED;
    s->special = 1; /* makes the free of its objects take the slow path */
    for (size_t i = 0; i < c->nslots; i++) {
        end += c->size;
        memset(end - OAKI_GUARD_GAP, GAP, OAKI_GUARD_GAP);
    }
}

void oaki_guard_release(oaki_span *s)
{
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE);
    size_t page = oaki_span_page(s);
    if (s->guarded & OAKI_GUARDED_TAIL) {
        oaki_span *tail = s + s->npages;
        (void)mprotect(oaki_span_start(tail), OAKI_PAGE, PROT_READ | PROT_WRITE);
        oaki_pages_free(tail);
    }
    if (s->guarded & OAKI_GUARDED_HEAD) oaki_pages_free(&oaki_the_heap.spans[page - 1]);
    s->guarded = 0;
}

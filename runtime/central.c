/* central.c - mcentral: the spans of one span class that no thread has cached, swept and unswept.
 *
 * Owns: the lists. There are two sets of them: one for the spans swept in this cycle, the other for
 * those still unswept. The parity of the cycle selects which is which. The end of a mark increments
 * the cycle, which turns all swept spans into unswept ones. The unswept lists are empty then, as a
 * cycle starts by sweeping the rest. Large objects are spans of class OAKI_CLASS_LARGE in the list
 * FULL.
 * Lock: the central's own, for its lists and its spans' list, parity, next and prev. */
#include "collector.h"
#include "guard.h"
#include "heap.h"
#include "os.h"
#include "type.h"

#define SWEEP_TRIES 64 /* full spans swept without finding room before new pages are taken */

static unsigned swept_parity(void)
{
    return (unsigned)AO_load(&oaki_the_heap.cycle) & 1;
}

oaki_central *oaki_central_of(const oaki_span *s)
{
    return (oaki_central *)AO_load(&oaki_zone_by_id(s->zone)->central[s->kind]) + s->cls;
}

/* NULL while the zone has never had a span of that kind. */
static oaki_central *central_at(const oak_zone *z, unsigned spanclass)
{
    oaki_central *c = (oaki_central *)AO_load_acquire(&z->central[spanclass / OAKI_CLASSES]);
    return c ? c + spanclass % OAKI_CLASSES : NULL;
}

static void push(oaki_central *c, oaki_span *s, oaki_span_list list, unsigned parity)
{
    uint32_t *head = &c->head[parity][list];
    OAKI_REQUIRES_LOCK(&c->lock);
    OAKI_ASSERT(c == oaki_central_of(s));
    OAKI_ASSERT(list == OAKI_LIST_PARTIAL || list == OAKI_LIST_FULL);
    OAKI_ASSERT(s->list == OAKI_LIST_NONE || s->list == OAKI_LIST_CACHED);
    s->list = (uint8_t)list;
    s->parity = (uint8_t)parity;
    s->prev = 0;
    s->next = *head;
    uint32_t me = (uint32_t)oaki_span_page(s) + 1;
    if (s->next) oaki_the_heap.spans[s->next - 1].prev = me;
    *head = me;
}

static void unlink_span(oaki_central *c, oaki_span *s)
{
    oaki_span *spans = oaki_the_heap.spans;
    OAKI_REQUIRES_LOCK(&c->lock);
    OAKI_ASSERT(s->list == OAKI_LIST_PARTIAL || s->list == OAKI_LIST_FULL);
    OAKI_ASSERT((s->prev ? spans[s->prev - 1].next : c->head[s->parity][s->list]) ==
                oaki_span_page(s) + 1);
    if (s->next) spans[s->next - 1].prev = s->prev;
    if (s->prev)
        spans[s->prev - 1].next = s->next;
    else
        c->head[s->parity][s->list] = s->next;
    s->next = s->prev = 0;
    s->list = OAKI_LIST_NONE;
}

static oaki_span *pop(oaki_central *c, oaki_span_list list, unsigned parity)
{
    uint32_t i = c->head[parity][list];
    if (!i) return NULL;
    oaki_span *s = &oaki_the_heap.spans[i - 1];
    unlink_span(c, s);
    return s;
}

static oaki_span *locked_pop(oaki_central *c, oaki_span_list list, unsigned parity)
{
    if (!AO_int_load(&c->head[parity][list])) return NULL; /* a hint; the lock decides */
    oaki_lock_acquire(&c->lock);
    oaki_span *s = pop(c, list, parity);
    oaki_lock_release(&c->lock);
    return s;
}

static bool has_room(const oaki_span *s)
{
    return s->cls != OAKI_CLASS_LARGE && s->nalloc < oaki_span_slots(s);
}

/* Is a free slot to be handed out? With the guard on, none of a span without gaps: it is kept with
 * the full ones. */
static bool is_offered(const oaki_span *s)
{
    bool bare = OAKI_UNLIKELY(oaki_guard.on) && !s->guarded;
    return has_room(s) && !(bare && oaki_classes[s->cls].nslots > 1);
}

static bool is_swept(const oaki_span *s)
{
    return s->swept == (uint32_t)AO_load_acquire(&oaki_the_heap.cycle);
}

void oaki_central_give(oaki_span *s)
{
    oaki_central_put(s, is_offered(s) ? OAKI_LIST_PARTIAL : OAKI_LIST_FULL);
}

void oaki_central_put(oaki_span *s, oaki_span_list list)
{
    oaki_central *c = oaki_central_of(s);
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(is_swept(s));
    oaki_lock_acquire(&c->lock);
    push(c, s, list, swept_parity());
    oaki_lock_release(&c->lock);
}

/* Only a span that another thread is sweeping right now is unswept and in no list. That takes
 * microseconds, unless functions of the program decide on its objects (gc/disclaim.c). The state
 * is read again under the lock. The other thread may have given the span back with new objects in
 * it, which a second sweep would free. */
void oaki_central_ensure_swept(oaki_span *s)
{
    OAKI_REQUIRES_INSIDE();
    while (!is_swept(s)) {
        oaki_central *c = oaki_central_of(s);
        oaki_lock_acquire(&c->lock);
        bool waits = !is_swept(s) && (s->list == OAKI_LIST_PARTIAL || s->list == OAKI_LIST_FULL);
        if (waits) unlink_span(c, s);
        oaki_lock_release(&c->lock);
        if (!waits) {
            if (AO_load(&oaki_the_heap.disclaiming)) oaki_os_yield();
            continue;
        }
        (void)oaki_gc_sweep_span(s, true);
        oaki_central_give(s);
    }
}

void oaki_central_remove(oaki_span *s)
{
    OAKI_REQUIRES_INSIDE();
    oaki_central *c = oaki_central_of(s);
    for (bool listed = false; !listed;) {
        oaki_lock_acquire(&c->lock);
        listed = s->list != OAKI_LIST_NONE;
        if (listed) unlink_span(c, s);
        oaki_lock_release(&c->lock);
    }
}

/* Sweeps unswept spans of this list until one has room. An empty one is used as well, without a
 * detour through the page heap. */
static oaki_span *sweep_for(oaki_central *c, oaki_span_list list, unsigned tries)
{
    unsigned waiting = swept_parity() ^ 1;
    for (oaki_span *s; tries-- > 0 && (s = locked_pop(c, list, waiting)) != NULL;) {
        (void)oaki_gc_sweep_span(s, true);
        if (is_offered(s)) return s;
        oaki_central_give(s);
    }
    return NULL;
}

static oaki_span *pop_partial(oaki_central *c)
{
    oaki_span *s = locked_pop(c, OAKI_LIST_PARTIAL, swept_parity());
    while (s && OAKI_UNLIKELY(!is_offered(s))) {
        oaki_central_put(s, OAKI_LIST_FULL);
        s = locked_pop(c, OAKI_LIST_PARTIAL, swept_parity());
    }
    return s;
}

static oaki_span *new_span(oak_zone *z, unsigned spanclass)
{
    unsigned cls = spanclass % OAKI_CLASSES;
    oaki_kind kind = (oaki_kind)(spanclass / OAKI_CLASSES);
    if (!oaki_zone_charge(z, oaki_classes[cls].npages)) return NULL;
    oaki_span *s = oaki_pages_alloc(oaki_classes[cls].npages, 1, cls, kind);
    if (!s) {
        oaki_zone_uncharge(z->id, oaki_classes[cls].npages);
        return NULL;
    }
    s->zone = z->id;
    s->size = oaki_classes[cls].size;
    s->swept = (uint32_t)AO_load(&oaki_the_heap.cycle);
    if (OAKI_UNLIKELY(oaki_guard.on)) (void)oaki_guard_fill(s);
    if (kind == OAKI_TYPED && !oaki_span_make_types(s)) {
        oaki_pages_free(s);
        return NULL;
    }
    return s;
}

oaki_span *oaki_central_take(oak_zone *z, unsigned spanclass)
{
    OAKI_REQUIRES_INSIDE();
    oaki_central *c = oaki_zone_make_centrals(z, (oaki_kind)(spanclass / OAKI_CLASSES));
    if (!c) return NULL;
    c += spanclass % OAKI_CLASSES;
    oaki_span *s = pop_partial(c);
    if (!s) s = sweep_for(c, OAKI_LIST_PARTIAL, ~0u);
    if (!s) s = sweep_for(c, OAKI_LIST_FULL, SWEEP_TRIES);
    if (!s) s = new_span(z, spanclass);
    if (!s) return NULL;
    OAKI_ASSERT(s->list == OAKI_LIST_NONE && is_swept(s) && has_room(s));
    OAKI_ASSERT(s->zone == z->id && OAKI_SPANCLASS(s->kind, s->cls) == spanclass);
    s->list = OAKI_LIST_CACHED;
    return s;
}

static oaki_span *pop_either(oaki_central *c, unsigned parity)
{
    oaki_span *s = locked_pop(c, OAKI_LIST_PARTIAL, parity);
    return s ? s : locked_pop(c, OAKI_LIST_FULL, parity);
}

oaki_span *oaki_central_next_waiting(const oak_zone *z, unsigned spanclass)
{
    OAKI_REQUIRES_INSIDE();
    oaki_central *c = central_at(z, spanclass);
    return c ? pop_either(c, swept_parity() ^ 1) : NULL;
}

oaki_span *oaki_central_pop_any(const oak_zone *z, unsigned *spanclass)
{
    OAKI_REQUIRES_INSIDE();
    for (; *spanclass < OAKI_SPANCLASSES; ++*spanclass) {
        oaki_central *c = central_at(z, *spanclass);
        oaki_span *s = c ? pop_either(c, 0) : NULL;
        if (c && !s) s = pop_either(c, 1);
        if (s) return s;
    }
    return NULL;
}

void oaki_central_freed(oaki_span *s)
{
    oaki_central *c = oaki_central_of(s);
    oaki_lock_acquire(&c->lock);
    if (s->list == OAKI_LIST_FULL && s->parity == swept_parity() && is_offered(s)) {
        unlink_span(c, s);
        AO_int_store(&s->nfreed, 0);
        s->cursor = 0;
        s->needzero = 1;
        push(c, s, OAKI_LIST_PARTIAL, swept_parity());
    }
    oaki_lock_release(&c->lock);
}

void oaki_central_filled(oaki_span *s)
{
    OAKI_REQUIRES_STOPPED();
    oaki_central *c = oaki_central_of(s);
    oaki_lock_acquire(&c->lock);
    if (s->list == OAKI_LIST_PARTIAL && !has_room(s)) {
        unlink_span(c, s);
        push(c, s, OAKI_LIST_FULL, s->parity);
    }
    oaki_lock_release(&c->lock);
}

uint32_t oaki_central_take_empty(const oak_zone *z, uint32_t first)
{
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
        oaki_central *c = central_at(z, sc);
        if (!c) continue;
        oaki_lock_acquire(&c->lock);
        unsigned parity = swept_parity();
        for (int list = OAKI_LIST_PARTIAL; list <= OAKI_LIST_FULL; list++)
            for (uint32_t i = c->head[parity][list], next; i; i = next) {
                oaki_span *s = &oaki_the_heap.spans[i - 1];
                next = s->next;
                if (AO_int_load(&s->nalloc) > 0) continue;
                unlink_span(c, s);
                s->next = first;
                first = i;
            }
        oaki_lock_release(&c->lock);
    }
    return first;
}

/* May the span have an object with a disclaim function? A large object is alone in its span, so its
 * type decides. */
static bool disclaims(const oaki_span *s)
{
    if (s->cls != OAKI_CLASS_LARGE) return s->disclaims;
    const oak_type *t = oaki_type_by_id(s->type);
    return t && t->disclaim;
}

uint32_t oaki_central_take_disclaiming(const oak_zone *z, uint32_t first)
{
    OAKI_REQUIRES_STOPPED();
    unsigned waiting = swept_parity() ^ 1;
    for (unsigned cls = 0; cls < OAKI_CLASSES; cls++) {
        oaki_central *c = central_at(z, OAKI_SPANCLASS(OAKI_TYPED, cls));
        if (!c) return first;
        oaki_lock_acquire(&c->lock);
        for (int list = OAKI_LIST_PARTIAL; list <= OAKI_LIST_FULL; list++)
            for (uint32_t i = c->head[waiting][list], next; i; i = next) {
                oaki_span *s = &oaki_the_heap.spans[i - 1];
                next = s->next;
                if (!disclaims(s)) continue;
                unlink_span(c, s);
                s->next = first;
                first = i;
            }
        oaki_lock_release(&c->lock);
    }
    return first;
}

static bool each_in_list(uint32_t i, bool (*fn)(oaki_span *s, void *ctx), void *ctx)
{
    for (; i; i = oaki_the_heap.spans[i - 1].next)
        if (!fn(&oaki_the_heap.spans[i - 1], ctx)) return false;
    return true;
}

typedef struct disclaiming {
    bool (*fn)(oaki_span *s, void *ctx);
    void *ctx;
} disclaiming;

static bool if_disclaiming(oaki_span *s, void *ctx)
{
    const disclaiming *d = ctx;
    return !disclaims(s) || d->fn(s, d->ctx);
}

void oaki_central_each_disclaiming(const oak_zone *z, bool (*fn)(oaki_span *s, void *ctx),
                                   void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    disclaiming d = { fn, ctx };
    const oaki_central *c = central_at(z, OAKI_SPANCLASS(OAKI_TYPED, 0));
    for (unsigned cls = 0; c && cls < OAKI_CLASSES; cls++)
        for (unsigned parity = 0; parity < 2; parity++)
            for (int list = OAKI_LIST_PARTIAL; list <= OAKI_LIST_FULL; list++)
                if (!each_in_list(c[cls].head[parity][list], if_disclaiming, &d)) return;
}

void oaki_central_each(const oak_zone *z, bool (*fn)(oaki_span *s, void *ctx), void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
        const oaki_central *c = central_at(z, sc);
        for (unsigned parity = 0; c && parity < 2; parity++)
            for (int list = OAKI_LIST_PARTIAL; list <= OAKI_LIST_FULL; list++)
                if (!each_in_list(c->head[parity][list], fn, ctx)) return;
    }
}

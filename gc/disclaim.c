/* disclaim.c - calls the functions of types before dead objects of theirs are reclaimed.
 *
 * Spans with such objects are not swept lazily. The final pause takes them off the lists. Then the
 * thread that ends the cycle sweeps them, one after the other, while mutators run. It calls the
 * function of each dead object, in ascending order of address. An object that is kept gets a mark,
 * and survives the sweep.
 *
 * A protecting type's objects also keep what they refer to, for their function to read. So the
 * final pause traces the contents of unmarked ones, but doesn't mark them. A chain of such objects
 * goes one in each cycle, and a circle of them never. As in libgc, an object protects while one of
 * the two lowest bits of its first word is set.
 *
 * No function is called for an object that is freed by hand, or with its zone. Where its memory
 * had to stay, it has lost its type by then (refs/deferred_free.c).
 *
 * Owns: oaki_gc.disclaim. Invariant: no span is detached when a mark begins, nor in a pause but for
 *   the end of the final one. Lock: gc_lock; the functions are called under it.
 * Bound: O(spans of typed objects) in each cycle, the slots of those with such objects, and a sort
 *   of these. */
#include "disclaim.h"

#include "contract.h"
#include "gc/trace/trace.h"
#include "host.h"
#include "runtime/contain.h"
#include "tuning.h"

static oaki_disclaim *const self = &oaki_gc.disclaim;

static const oak_type *type_at(size_t slot)
{
    return oaki_type_by_id(oaki_type_id_at(slot));
}

static size_t slots_of(const oaki_span *s)
{
    return s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
}

static bool is_dead(size_t slot)
{
    return oaki_bit_get(oaki_the_heap.alloc, slot) && !oaki_mark_get(slot);
}

/* ---- in the pause ---- */

static bool protects(const oak_type *t, size_t slot)
{
    const uintptr_t *first = (const uintptr_t *)(oaki_the_heap.base + slot);
    return t->disclaim && t->protects && (*first & 3) != 0;
}

typedef struct each {
    void (*fn)(void *ctx, size_t slot);
    void *ctx;
} each;

static bool each_protecting(oaki_span *s, void *ctx)
{
    const each *e = ctx;
    size_t base = oaki_span_slot(s);
    for (size_t i = 0; i < slots_of(s); i++) {
        size_t slot = base + i * s->size;
        const oak_type *t = is_dead(slot) ? type_at(slot) : NULL;
        if (t && protects(t, slot)) e->fn(e->ctx, slot);
    }
    return true;
}

void oaki_disclaim_each(void (*fn)(void *ctx, size_t slot), void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    if (OAKI_LIKELY(!AO_load(&self->any))) return;
    for (uint32_t id = 0; id < AO_load(&oaki_the_heap.zones.used); id++)
        oaki_central_each_disclaiming(oaki_zone_by_id(id), each_protecting, &(each){ fn, ctx });
}

/* Others may be marked by that. Then they were traced in vain. */
static void trace(void *ctx, size_t slot)
{
    size_t *traced = ctx;
    oaki_trace_live((char *)oaki_the_heap.base + slot);
    if (++*traced % OAKI_TUNE_DRAIN_EVERY == 0) oaki_mark_drain();
}

void oaki_disclaim_protect(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    if (OAKI_LIKELY(!AO_load(&self->any))) return;
    oaki_disclaim_each(trace, &self->traced);
    oaki_mark_drain();
}

void oaki_disclaim_detach(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(RECLAIM);
    OAKI_INVARIANT(self->detached == 0, "spans of the last cycle were not swept");
    if (OAKI_LIKELY(!AO_load(&self->any))) return;
    for (uint32_t id = 0; id < AO_load(&oaki_the_heap.zones.used); id++)
        self->detached = oaki_central_take_disclaiming(oaki_zone_by_id(id), self->detached);
}

/* ---- after it ---- */

static void call_for(const oak_type *t, size_t slot)
{
    oaki_heap *h = &oaki_the_heap;
    bool keep;
    OAKI_CALL_INSIDE(keep = t->disclaim((char *)h->base + slot, t->data));
    if (!keep) {
        AO_store(&self->reclaimed, AO_load(&self->reclaimed) + 1);
        return;
    }
    oaki_mark_set(slot);
    AO_fetch_and_add(&h->live, oaki_object_size(slot));
}

static oaki_span *span_at(uint32_t i)
{
    return &oaki_the_heap.spans[i - 1];
}

static uint32_t merge(uint32_t a, uint32_t b)
{
    uint32_t first = 0, *end = &first;
    while (a && b) {
        uint32_t *lower = oaki_span_slot(span_at(a)) < oaki_span_slot(span_at(b)) ? &a : &b;
        *end = *lower;
        end = &span_at(*end)->next;
        *lower = *end;
    }
    *end = a ? a : b;
    return first;
}

/* Into ascending order of address. sorted[i] has 2^i spans, or none. */
static uint32_t sort(uint32_t list)
{
    uint32_t sorted[32] = { 0 }, all = 0;
    while (list) {
        uint32_t one = list, i = 0;
        list = span_at(one)->next;
        span_at(one)->next = 0;
        for (; sorted[i]; sorted[i++] = 0) one = merge(sorted[i], one);
        sorted[i] = one;
    }
    for (size_t i = 0; i < OAKI_COUNT(sorted); i++) all = merge(all, sorted[i]);
    return all;
}

static OAKI_NOINLINE void call_for_dead(const oaki_span *s)
{
    size_t base = oaki_span_slot(s);
    for (size_t i = 0; i < slots_of(s); i++) {
        size_t slot = base + i * s->size;
        const oak_type *t = is_dead(slot) ? type_at(slot) : NULL;
        if (t && t->disclaim) call_for(t, slot);
    }
}

void oaki_disclaim_sweep(void)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->gc_lock);
    OAKI_REQUIRES_RUNNING();
    OAKI_REQUIRES_PHASE(RECLAIM);
    if (OAKI_LIKELY(self->detached == 0)) return;
    AO_store(&h->disclaiming, (AO_t)oaki_thread_self());
    self->detached = sort(self->detached);
    while (self->detached != 0) {
        oaki_span *s = span_at(self->detached);
        call_for_dead(s);
        self->detached = s->next;
        s->next = 0;
        if (oaki_gc_sweep_span(s, false)) oaki_central_give(s);
    }
    AO_store(&h->disclaiming, 0);
}

size_t oaki_gc_disclaimed(void)
{
    return AO_load(&self->reclaimed);
}

/* ---- of the host ---- */

static void flag_if_of(oaki_span *s, uint32_t type)
{
    if (s->cls == OAKI_CLASS_LARGE || !s->types) return;
    for (size_t i = 0; i < slots_of(s) && !s->disclaims; i++) s->disclaims = s->types[i] == type;
}

static void flag_spans(uint32_t type)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += OAKI_MAX(h->spans[page].npages, 1))
        if ((h->pte[page] & OAKI_PTE_CLASS) && oaki_pte_kind(h->pte[page]) == OAKI_TYPED)
            flag_if_of(&h->spans[page], type);
}

/* With the world stopped, as objects of the type may be there already. */
int oaki_type_disclaim(const oak_type *type, oaki_disclaim_fn *fn, bool protects)
{
    oak_type *t = (oak_type *)(uintptr_t)type;
    OAKI_ASSERT(oaki_type_waits(t));
    oaki_thread *self_thread = oaki_gc_stop_begin();
    if (!self_thread) return -1;
    t->disclaim = fn;
    t->protects = protects;
    AO_store(&self->any, 1);
    flag_spans(t->id);
    oaki_gc_stop_end(self_thread);
    return 0;
}

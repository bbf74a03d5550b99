/* precise.c - OAKUM_DEBUG=verify=1: finds objects that are marked although unreachable.
 *
 * It marks again in the same pause, from the roots that verify.c has checked, with bits of its
 * own. An object in M and not in these bits was marked without a path to it now.
 *
 * A mark that was wholly in one pause leaves no such object. Cleared references led to no marked
 * object. Each object of a finalizer is marked in the end, as it is ready or another one leads
 * to it. Only ephemerons whose values it marked remain.
 *
 * But a root may have changed meanwhile. The kernel, a signal handler or a thread outside of
 * Oakum may do that, and so may a collector that is linked into the program. Or a mark function
 * may give another answer. So such objects are counted, and are not fatal.
 *
 * A slot that a thread is about to take lies at its span's cursor (mcache.c). No word need lead
 * to it, so it doesn't count.
 * Owns: the bits, the stack, the count. Lock: the world is stopped. Bound: a bit for each
 * granule of the range in use and a word for each slot; linear in reached objects and slots. */
#include "edges.h"
#include "gc/contract.h"
#include "gc/host.h"
#include "runtime/os.h"
#include "verify.h"

static oaki_precise *const self = &oaki_gc.debug.precise;

static bool is_seen(const oaki_precise *p, const void *obj)
{
    return oaki_bit_get(p->seen, oaki_heap_offset(obj));
}

static void reach(oaki_precise *p, size_t off)
{
    if (!p->seen || off >= AO_load(&oaki_the_heap.used)) return;
    size_t slot = oaki_slot_offset(off), bit = slot >> OAKI_GRANULE_SHIFT;
    if (slot == SIZE_MAX || !oaki_bit_get(oaki_the_heap.alloc, slot)) return;
    if (oaki_bit_get(p->seen, slot)) return;
    OAKI_ASSERT(p->depth < p->stack_bytes / sizeof *p->stack);
    p->seen[bit / 64] |= (uint64_t)1 << bit % 64;
    p->stack[p->depth++] = slot;
}

void oaki_precise_reach(size_t off)
{
    reach(self, off);
}

static void reach_edges(void *ctx, const oaki_edge *edge, size_t n)
{
    for (size_t i = 0; i < n; i++) reach(ctx, edge[i].to);
}

static void reach_value(void *ctx, void *handle, void *key, void *value)
{
    oaki_precise *p = ctx;
    if (is_seen(p, handle) && is_seen(p, key)) reach(p, oaki_heap_offset(value));
}

static void drain(void)
{
    while (self->depth > 0) {
        size_t slot = self->stack[--self->depth];
        oaki_edges_of(slot, false, reach_edges, self);
        oaki_ephemerons_of((const char *)oaki_the_heap.base + slot, reach_value, self);
    }
}

static size_t slots_of(const oaki_span *s)
{
    return s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
}

static size_t count_unreached(const oaki_span *s)
{
    size_t base = oaki_span_slot(s), n = 0;
    bool large = s->cls == OAKI_CLASS_LARGE;
    for (size_t i = 0; i < slots_of(s); i++) {
        size_t off = base + i * s->size;
        if (!oaki_bit_get(oaki_the_heap.alloc, off) || !oaki_mark_get(off)) continue;
        n += !oaki_bit_get(self->seen, off) && (large || i * s->size != s->cursor);
    }
    return n;
}

static size_t sum(size_t (*of)(const oaki_span *s))
{
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, n = 0;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) n += of(&h->spans[page]);
    return n;
}

static void end(void)
{
    if (self->seen) oaki_os_release(self->seen, self->seen_bytes);
    if (self->stack) oaki_os_release(self->stack, self->stack_bytes);
    self->seen = NULL;
    self->stack = NULL;
}

void oaki_precise_begin(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_ASSERT(!self->seen);
    self->unreached = self->depth = 0;
    if (oaki_host_has_unscanned()) return; /* the host decides how to trace from those */
    self->seen_bytes = AO_load(&oaki_the_heap.used) / OAKI_GRANULE / 8;
    self->stack_bytes = OAKI_ALIGN_UP(sum(slots_of) * sizeof *self->stack, OAKI_PAGE);
    if (self->stack_bytes == 0) return;
    self->seen = oaki_os_map(self->seen_bytes);
    self->stack = oaki_os_map(self->stack_bytes);
    if (!self->seen || !self->stack) end();
}

void oaki_precise_end(void)
{
    if (!self->seen) return;
    drain();
    self->unreached = sum(count_unreached);
    end();
}

size_t oaki_verify_unreached(void)
{
    return self->unreached;
}

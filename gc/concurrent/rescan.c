/* rescan.c - rescanning the words of marked objects on pages that became dirty during a mark.
 *
 * Unmarked objects are not rescanned: if one is marked later, all of it is traced. So a page costs
 * the mark bits of its slots, and the words of marked objects.
 * Lock: the worker belongs to the caller. Bound: linear in the pages. An object whose mark function
 * knows no parts is marked as a whole, once a batch (dirty.h). */
#include "gc/contract.h"
#include "gc/trace/sift.h"
#include "gc/tuning.h"
#include "runtime/contain.h"
#include "runtime/guard.h"
#include "runtime/os.h"

static bool is_marked(size_t slot)
{
    return oaki_bit_get(oaki_the_heap.alloc, slot) && oaki_mark_get(slot);
}

OAKI_NO_ASAN OAKI_INLINE void sift(oak_marker *m, const uintptr_t *p, const uintptr_t *end,
                                   oaki_reading how)
{
    OAKI_REQUIRES_WORKER(m);
    const oaki_reader r = oaki_reader_load(how);
    const ptrdiff_t most = (ptrdiff_t)oaki_sift_words(how);
    size_t found[OAKI_SIFT];
    for (const uintptr_t *stop; p < end; p = stop) {
        stop = end - p > most ? p + most : end;
        size_t n = oaki_sift(m, p, stop, found, r);
        for (size_t i = 0; i < n; i++) oaki_mark_push(m, m->base + found[i]);
    }
}

OAKI_NO_ASAN void oaki_trace_sift(oak_marker *m, const uintptr_t *p, const uintptr_t *end)
{
    sift(m, p, end, OAKI_READ_PLAIN);
}

OAKI_NO_ASAN void oaki_trace_sift_tagged(oak_marker *m, const uintptr_t *p, const uintptr_t *end)
{
    if (oaki_gc.host.words_read == OAKI_READ_ADDED) sift(m, p, end, OAKI_READ_ADDED);
    else if (oaki_gc.host.words_read == OAKI_READ_MASKED) sift(m, p, end, OAKI_READ_MASKED);
    else sift(m, p, end, OAKI_READ_ANY);
}

/* Sifts the words of the objects of word w of A, up to hi. Each has `size` bytes. */
OAKI_INLINE void sift_slots(oak_marker *m, size_t w, uint64_t objects, size_t size, size_t hi,
                            bool tagged)
{
    for (; objects; objects &= objects - 1) {
        uintptr_t p = m->base + oaki_slot_of(w, objects);
        oaki_trace_sift_as(m, (const uintptr_t *)p,
                           (const uintptr_t *)OAKI_MIN(p + size, m->base + hi), tagged);
    }
}

/* In a pause, leaves a part of a large object to all workers. false: the caller rescans it. */
static bool share(oak_marker *m, size_t lo, size_t hi, bool typed)
{
    const char *base = (const char *)m->base;
    if (m->concurrent || lo + OAKI_TUNE_RESCAN_SHARED > hi) return false;
    OAKI_REQUIRES_STOPPED();
    if (!oaki_ranges_add(base + lo, base + hi, typed)) return false;
    m->left += hi - lo;
    return true;
}

/* Rescans the part of the page [lo, hi) of a span of small objects. An object may reach into pages
 * of other calls. Most pages of a minor cycle have no marked objects, and cost only the test of
 * their mark bits. */
OAKI_INLINE void rescan_slots(oak_marker *m, size_t first, unsigned cls, bool typed, size_t lo,
                              size_t hi, bool tagged)
{
    const oaki_class *c = &oaki_classes[cls];
    const uint64_t *starts = oaki_class_starts[cls] + ((lo - first) >> 10);
    size_t i = ((lo - first) * c->magic) >> 32, slot = first + i * c->size;
    if (i < c->nslots && slot < lo && is_marked(slot))
        oaki_rescan_part_as(m, slot, c->size, lo, hi, tagged);
    if (oaki_mark_none(lo >> OAKI_PAGE_SHIFT)) return;
    for (size_t w = lo >> 10; w < hi >> 10; w++, starts++) {
        uint64_t x = oaki_marked_of(w, oaki_objects_in(w, *starts));
        if (x && !typed) sift_slots(m, w, x, c->size, hi, tagged);
        for (; x && typed; x &= x - 1)
            oaki_rescan_part_as(m, oaki_slot_of(w, x), c->size, lo, hi, tagged);
    }
}

/* Is the large object marked by a function? */
static bool is_called(size_t slot, unsigned kind)
{
    const oak_type *t = kind == OAKI_TYPED ? oaki_type_by_id(oaki_type_id_at(slot)) : NULL;
    return t && t->mark;
}

OAKI_INLINE void rescan_pages(oak_marker *m, size_t from, size_t to, bool tagged)
{
    const oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER(m);
    for (size_t lo = from, hi; lo < to; lo = hi) {
        size_t page = lo >> OAKI_PAGE_SHIFT;
        oaki_pte e = AO_int_load(&h->pte[page]);
        unsigned cls = e & OAKI_PTE_CLASS, kind = oaki_pte_kind(e);
        hi = OAKI_MIN(to, (page + 1) << OAKI_PAGE_SHIFT);
        if (cls == 0 || kind == OAKI_NOSCAN || kind >= OAKI_KINDS) continue;
        size_t first = oaki_page_first(page) << OAKI_PAGE_SHIFT;
        if (cls == OAKI_CLASS_LARGE) first = oaki_span_slot(oaki_span_of_offset(first));
        if (cls != OAKI_CLASS_LARGE) {
            rescan_slots(m, first, cls, kind == OAKI_TYPED, lo, hi, tagged);
            continue;
        }
        OAKI_ASSERT(lo >= OAKI_ALIGN_DOWN(first, OAKI_PAGE)); /* a guarded one may begin in it */
        if (!is_marked(first)) continue;
        size_t size = oaki_object_size(first);
        hi = OAKI_MIN(to, OAKI_MAX(first + size, hi));
        lo = OAKI_MAX(lo, first);
        if (lo >= hi) continue;
        if (is_called(first, kind) || !share(m, lo, OAKI_MIN(hi, first + size), kind == OAKI_TYPED))
            oaki_rescan_part_as(m, first, size, lo, hi, tagged);
    }
}

void oaki_rescan_pages(size_t from, size_t to, void *ctx)
{
    oak_marker *m = ctx;
    size_t scanned = m->scanned, left = m->left;
    if (OAKI_UNLIKELY(oaki_tags.n > 0)) rescan_pages(m, from, to, true);
    else rescan_pages(m, from, to, false);
    m->redone += (m->scanned - scanned) * sizeof(uintptr_t) + m->left - left;
}

size_t oaki_rescan_bytes(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < oaki_workers_count(); i++) n += oaki_worker(i)->redone;
    return n;
}

/* ---- what was left out ---- */

static bool has_left_out(const oaki_span *s)
{
    return s->kind == OAKI_TYPED && (s->cls == OAKI_CLASS_LARGE || s->waits);
}

/* A slot of a thread's run that was taken during the mark, and not handed out yet, has no type. */
static bool mark_left_out(oaki_span *s, void *ctx)
{
    oak_marker *m = ctx;
    if (!has_left_out(s)) return true;
    size_t base = oaki_span_slot(s);
    size_t n = s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
    for (size_t i = 0; i < n; i++) {
        size_t slot = base + i * s->size;
        if (!is_marked(slot)) continue;
        const oak_type *t = oaki_type_by_id(oaki_type_id_at(slot));
        char *p = (char *)oaki_the_heap.base + slot;
        if (oaki_type_waits(t) && oaki_deferred_may_call(s, p))
            OAKI_CALL_INSIDE(t->mark(m, p, oaki_guard_asked(s, p)));
    }
    return true;
}

bool oaki_mark_leaves_out(void)
{
    bool any = false;
    for (uint32_t id = oaki_type_count(); id > 0 && !any; id--)
        any = oaki_type_waits(oaki_type_by_id(id));
    return any;
}

void oaki_mark_left_out_until(oak_marker *m, size_t *page, size_t end, uint64_t ns)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_WORKER_ZERO();
    oaki_heap *h = &oaki_the_heap;
    bool late = false;
    for (size_t at = *page; at < end && !late; *page = ++at) {
        if (at % OAKI_TUNE_LEFT_OUT_PAGES == 0) late = oaki_os_now_ns() > ns;
        oaki_pte e = h->pte[at];
        if (!(e & OAKI_PTE_CLASS) || oaki_pte_kind(e) != OAKI_TYPED) continue;
        oaki_span *s = &h->spans[oaki_page_first(at)];
        if (oaki_span_page(s) != at || !has_left_out(s)) continue;
        (void)mark_left_out(s, m);
        late = oaki_os_now_ns() > ns;
    }
}

void oaki_mark_left_out(oak_marker *m)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER(m);
    if (!oaki_mark_leaves_out()) return;
    for (uint32_t id = 0; id < AO_load(&oaki_the_heap.zones.used); id++)
        oaki_central_each(oaki_zone_by_id(id), mark_left_out, m);
}

/* mark.c - marking: from a word to an object, from an object to its words.
 *
 * Owns: M while the world is stopped. Invariant: an object whose bit this worker set is on its stack or was scanned by it; two
 * workers that race for one object may both scan it, which is harmless. Bound: each object is scanned once, twice when raced for. */
#include "mark.h"
#include "runtime/track.h"

#define SPLIT ((size_t)64 << 10) /* larger objects are scanned by all workers together */
#define HUNGRY_EVERY 128         /* objects between two looks at whether others have nothing to do */

/* ---- the stack ---- */

OAKI_INLINE void push_entry(oak_marker *m, uintptr_t entry)
{
    oaki_mark_chunk *c = m->top;
    if (OAKI_UNLIKELY(!c || c->n == OAKI_CHUNK_ENTRIES)) {
        oaki_mark_offer(m);
        c = m->top;
        if (!c) return; /* no memory: noted as an overflow */
    }
    c->entry[c->n++] = entry;
}

/* ---- words ---- */

/* Mark the object that offset off is in, if there is one, allocated and unmarked. */
OAKI_INLINE void mark_offset(oak_marker *m, size_t off)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t page = off >> OAKI_PAGE_SHIFT, slot, size;
    oaki_pte e = h->pte[page];
    unsigned cls = e & OAKI_PTE_CLASS, kind = (e & OAKI_PTE_SPANCLASS) >> 6;
    if (cls == 0) return;
    if (OAKI_LIKELY(cls != OAKI_CLASS_LARGE)) {
        const oaki_class *c = &oaki_classes[cls];
        size_t first = (page - (e >> OAKI_PTE_OFFSET_SHIFT)) << OAKI_PAGE_SHIFT;
        size_t i = ((off - first) * c->magic) >> 32;
        if (OAKI_UNLIKELY(i >= c->nslots)) return;
        size = c->size;
        slot = first + i * size;
    } else {
        slot = oaki_page_first(page) << OAKI_PAGE_SHIFT;
        size = 0;
    }
    uint64_t *word = &h->mark[slot >> (OAKI_GRANULE_SHIFT + 6)];
    uint64_t bit = (uint64_t)1 << ((slot >> OAKI_GRANULE_SHIFT) & 63);
    if (*word & bit) return;
    if (m->shared_bits) AO_or((AO_t *)word, bit);
    else *word |= bit;
    m->bytes += OAKI_LIKELY(size) ? size : h->spans[slot >> OAKI_PAGE_SHIFT].size;
    if (kind == OAKI_NOSCAN) return;
    uintptr_t code = size < 16 * OAKI_GRANULE && kind != OAKI_TYPED ? size >> OAKI_GRANULE_SHIFT : 0;
    push_entry(m, (h->base + slot) | code);
}

OAKI_INLINE void push_offset(oak_marker *m, size_t off)
{
    __builtin_prefetch((const char *)oaki_the_heap.mark + (off >> 7), 1);
    __builtin_prefetch((const void *)(m->base + off));
    unsigned at = m->fifo_head++ % OAKI_FIFO;
    size_t old = m->fifo[at];
    m->fifo[at] = off + 1; /* 0: empty */
    if (OAKI_LIKELY(old)) mark_offset(m, old - 1);
}

OAKI_INLINE void push_word(oak_marker *m, uintptr_t word)
{
    size_t off = word - m->base;
    if (off < m->used) push_offset(m, off);
}

static void drain_fifo(oak_marker *m)
{
    for (unsigned i = 0; i < OAKI_FIFO; i++) {
        unsigned at = m->fifo_head++ % OAKI_FIFO;
        size_t old = m->fifo[at];
        m->fifo[at] = 0;
        if (old) mark_offset(m, old - 1);
    }
}

OAKI_NO_ASAN void oaki_mark_scan(oak_marker *m, const char *lo, const char *hi)
{
    const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof(uintptr_t));
    const uintptr_t *end = (const uintptr_t *)OAKI_ALIGN_DOWN((uintptr_t)hi, sizeof(uintptr_t));
    for (; p < end; p++) push_word(m, *p);
}

void oaki_mark_ambiguous(oak_marker *m, uintptr_t word)
{
    push_word(m, word);
    push_word(m, word - 1);
}

/* ---- objects ---- */

static void scan_bitmap(oak_marker *m, const oak_type *t, const char *p, size_t size)
{
    for (size_t left = size; left >= t->elem_size; left -= t->elem_size, p += t->elem_size)
        for (size_t i = 0; i < t->nwords; i += 64)
            for (uint64_t set = t->bitmap[i / 64]; set; set &= set - 1)
                push_word(m, ((const uintptr_t *)p)[i + oaki_ctz(set)]);
}

static void scan_typed(oak_marker *m, const char *p, size_t size)
{
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(p)));
    if (!t) oaki_mark_scan(m, p, p + size);
    else if (t->mark) t->mark(m, (void *)p, size);
    else scan_bitmap(m, t, p, size);
}

static OAKI_NOINLINE void scan_by_page(oak_marker *m, char *p)
{
    size_t off = oaki_heap_offset(p);
    oaki_pte e = oaki_the_heap.pte[off >> OAKI_PAGE_SHIFT];
    oaki_kind kind = (oaki_kind)((e & OAKI_PTE_SPANCLASS) >> 6);
    size_t size = oaki_object_size(off), head = 0;
    if (kind == OAKI_NOSCAN) return;
    if ((e & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE)
        head = (size_t)oaki_span_of_offset(off)->cursor << OAKI_PAGE_SHIFT;
    if (kind == OAKI_TYPED) {
        scan_typed(m, p, size);
        return;
    }
    if (size > SPLIT && oaki_ranges_add(p + head, p + size)) return;
    oaki_mark_scan(m, p + head, p + size);
}

OAKI_NO_ASAN OAKI_INLINE void scan_entry(oak_marker *m, uintptr_t entry)
{
    size_t granules = entry & 15;
    if (OAKI_UNLIKELY(!granules)) {
        scan_by_page(m, (char *)entry);
        return;
    }
    const uintptr_t *p = (const uintptr_t *)(entry - granules), *end = p + granules * 2;
    do {
        uintptr_t a = p[0], b = p[1];
        push_word(m, a);
        push_word(m, b);
        p += 2;
    } while (p < end);
}

OAKI_NO_ASAN void oaki_mark_local(oak_marker *m)
{
    unsigned look = HUNGRY_EVERY;
    for (;;) {
        oaki_mark_chunk *c = m->top;
        if (!c || c->n == 0) {
            if (c && m->full) {
                oaki_mark_take(m);
                continue;
            }
            drain_fifo(m);
            if (!m->top || m->top->n == 0) return;
            continue;
        }
        uintptr_t entry = c->entry[--c->n];
        if (c->n >= 2) __builtin_prefetch((const void *)c->entry[c->n - 2]);
        scan_entry(m, entry);
        if (OAKI_UNLIKELY(--look == 0)) {
            look = HUNGRY_EVERY;
            m->scanned += HUNGRY_EVERY;
            if (oaki_others_hungry()) oaki_mark_share(m);
        }
    }
}

/* ---- for the rest of the collector, and for mark functions ---- */

void oaki_mark_pointer(const void *p)
{
    push_word(oaki_worker(0), (uintptr_t)p);
}

void oaki_mark_contents(void *obj)
{
    scan_by_page(oaki_worker(0), obj);
}

void oak_mark_ptr(oak_marker *m, const void *p)
{
    push_word(m, (uintptr_t)p);
}

void oak_mark_range(oak_marker *m, const void *p, size_t n)
{
    oaki_mark_scan(m, p, (const char *)p + n);
}

/* ---- overflow ---- */

static void rescan_span(oak_marker *m, oaki_span *s)
{
    const oaki_heap *h = &oaki_the_heap;
    if (s->kind == OAKI_NOSCAN) return;
    size_t base = oaki_heap_offset(oaki_span_start(s));
    size_t words = s->cls == OAKI_CLASS_LARGE ? 1 : (size_t)s->npages * OAKI_PAGE_WORDS;
    for (size_t w = 0; w < words; w++) {
        size_t at = (base >> (OAKI_GRANULE_SHIFT + 6)) + w;
        for (uint64_t set = h->alloc[at] & h->mark[at]; set; set &= set - 1) {
            scan_by_page(m, (char *)(h->base + ((at * 64 + oaki_ctz(set)) << OAKI_GRANULE_SHIFT)));
            oaki_mark_local(m);
        }
    }
}

void oaki_mark_rescan(oak_marker *m)
{
    oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) rescan_span(m, &h->spans[page]);
}

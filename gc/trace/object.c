/* object.c - scanning an object as its kind and type say: conservatively, by a bitmap, or by a
 * mark function.
 *
 * The marker's loops scan small conservative objects themselves. Owns nothing. Lock: as the
 * marker that is given. Bound: the object's words. */
#include "gc/contract.h"
#include "runtime/contain.h"
#include "runtime/dirty.h"
#include "runtime/guard.h"
#include "runtime/track.h"
#include "trace.h"

/* Scans the words of an element from the ith to before the nth. sift: most lead to marked
 * objects. */
OAKI_NO_ASAN OAKI_INLINE void scan_element(oak_marker *m, const oak_type *t, const char *element,
                                           size_t i, size_t n, bool sift, bool tagged)
{
    const uintptr_t *word = (const uintptr_t *)element;
    uintptr_t found[64];
    for (size_t at = i & ~(size_t)63; at < n; at += 64) {
        uint64_t set = t->bitmap[at / 64];
        size_t nfound = 0;
        if (at < i) set &= ~(uint64_t)0 << (i - at);
        if (n - at < 64) set &= ((uint64_t)1 << (n - at)) - 1;
        for (; set; set &= set - 1) {
            if (sift) found[nfound++] = word[at + oaki_ctz(set)];
            else oaki_mark_push(m, word[at + oaki_ctz(set)]);
            if (!sift && tagged) oaki_mark_push_tagged(m, word[at + oaki_ctz(set)]);
        }
        if (sift) oaki_trace_sift_as(m, found, found + nfound, tagged);
    }
}

/* Scans the words of [from, to), a part of an object. */
OAKI_NO_ASAN OAKI_INLINE void scan_bitmap(oak_marker *m, const oak_type *t, const char *obj,
                                          size_t size, size_t from, size_t to, bool sift,
                                         bool tagged)
{
    const size_t each = t->elem_size, w = sizeof(uintptr_t);
    to = OAKI_MIN(to, size); /* the object may have shrunk since the part was taken */
    for (size_t at = from - from % each; at < to && size - at >= each; at += each) {
        size_t i = at < from ? (from - at) / w : 0;
        scan_element(m, t, obj + at, i, OAKI_MIN(to - at, each) / w, sift, tagged);
    }
}

/* The place of the type's id of an object in a typed span, which begins at off; or NULL. */
OAKI_INLINE const uint32_t *type_id(const oaki_span *s, size_t off)
{
    if (s->cls == OAKI_CLASS_LARGE) return &s->type;
    size_t in_span = off - (oaki_span_page(s) << OAKI_PAGE_SHIFT);
    return s->types ? &s->types[(in_span * oaki_classes[s->cls].magic) >> 32] : NULL;
}

OAKI_INLINE const oak_type *type_of(const oaki_span *s, size_t off)
{
    const uint32_t *id = type_id(s, off);
    return id ? oaki_type_by_id(*id) : NULL;
}

/* Scans [from, to) of the object at p; all of it if a mark function without parts marks it. Some
 * mark functions need a stopped world. */
OAKI_NO_ASAN OAKI_INLINE void scan_typed(oak_marker *m, const oaki_span *s, const oak_type *t,
                                         const char *p, size_t from, size_t to, bool tagged)
{
    size_t size = t ? oaki_guard_asked(s, p) : s->size;
    if (!t)
        oaki_trace_range(m, p + from, p + to);
    else if (!t->mark)
        scan_bitmap(m, t, p, size, from, to, false, tagged);
    else if (t->part)
        t->part(m, (void *)p, size, from, to);
    else if ((!m->concurrent || t->anytime) && oaki_deferred_may_call(s, p))
        OAKI_CALL_INSIDE(t->mark(m, (void *)p, size));
}

OAKI_NO_ASAN OAKI_INLINE void trace_object(oak_marker *m, char *p, bool tagged)
{
    size_t off = oaki_heap_offset(p);
    const oaki_span *s = oaki_span_of_offset(off);
    size_t size = s->size, head = 0;
    OAKI_REQUIRES_WORKER(m);
    OAKI_ASSERT(off < m->used && oaki_slot_offset(off) == off);
    if (s->kind == OAKI_NOSCAN) return;
    const oak_type *t = s->kind == OAKI_TYPED ? type_of(s, off) : NULL;
    bool called = t && t->mark && !t->part; /* the function takes the whole object */
    if (s->kind != OAKI_TYPED && s->cls == OAKI_CLASS_LARGE)
        head = (size_t)s->cursor << OAKI_PAGE_SHIFT;
    OAKI_ASSERT(head < size);
    if (!called && size > OAKI_TUNE_SPLIT && oaki_ranges_add(p + head, p + size, t != NULL)) return;
    if (!called && size > OAKI_TUNE_LAZY && m->range_lo >= m->range_hi) {
        oaki_trace_range_later(m, p + head, p + size, t != NULL);
        return;
    }
    scan_typed(m, s, t, p, head, size, tagged);
    if (size <= OAKI_TUNE_LAZY) return;
    m->heavy = true;
    m->scanned += size / sizeof(uintptr_t) / OAKI_TUNE_SPARSE;
}

OAKI_NO_ASAN void oaki_trace_object(oak_marker *m, char *p)
{
    trace_object(m, p, false);
}

OAKI_NO_ASAN void oaki_trace_object_tagged(oak_marker *m, char *p)
{
    trace_object(m, p, true);
}

void oaki_trace_noted(oak_marker *m, char *p)
{
    if (oaki_tags.n > 0) oaki_trace_object_tagged(m, p);
    else oaki_trace_object(m, p);
}

/* A small object may have been freed since, and another one, of another type, may be in its
 * place. That one is marked by itself if it is reachable. */
OAKI_NO_ASAN OAKI_INLINE void trace_words(oak_marker *m, const char *lo, const char *hi,
                                          bool tagged)
{
    OAKI_ASSERT(!m->range_typed || (oaki_heap_contains(lo) && oaki_heap_contains(hi - 1)));
    size_t slot = m->range_typed ? oaki_slot_offset(oaki_heap_offset(lo)) : SIZE_MAX;
    const oaki_span *s = slot != SIZE_MAX ? oaki_span_of_offset(slot) : NULL;
    const oak_type *t = s && s->kind == OAKI_TYPED ? type_of(s, slot) : NULL;
    const char *p = (const char *)m->base + slot;
    if (t && t->part)
        t->part(m, (void *)(uintptr_t)p, oaki_guard_asked(s, p), (size_t)(lo - p),
                OAKI_MIN((size_t)(hi - p), oaki_guard_asked(s, p)));
    else if (t && !t->mark)
        scan_bitmap(m, t, p, oaki_guard_asked(s, p), (size_t)(lo - p), (size_t)(hi - p), true,
                    tagged);
    else if (!t)
        oaki_trace_sift_as(m, (const uintptr_t *)lo, (const uintptr_t *)hi, tagged);
}

OAKI_NO_ASAN void oaki_trace_words(oak_marker *m, const char *lo, const char *hi)
{
    if (OAKI_UNLIKELY(oaki_tags.n > 0)) trace_words(m, lo, hi, true);
    else trace_words(m, lo, hi, false);
}

OAKI_NO_ASAN OAKI_INLINE void rescan_part(oak_marker *m, size_t slot, size_t size, size_t lo,
                                          size_t hi, bool tagged)
{
    OAKI_ASSERT(lo < hi && slot < hi && oaki_slot_offset(slot) == slot);
    const char *p = (const char *)m->base + slot;
    const oaki_span *s = oaki_span_of_offset(slot);
    size_t from = lo > slot ? lo - slot : 0, to = OAKI_MIN(hi - slot, size);
    if (s->kind != OAKI_TYPED) {
        const uintptr_t *begin = (const uintptr_t *)(p + from), *end = (const uintptr_t *)(p + to);
        oaki_trace_sift_as(m, begin, end, tagged);
        return;
    }
    const oak_type *t = type_of(s, slot);
    bool whole = t && t->mark && !t->part;
    bool done = m->whole == slot && (m->rescans || m->batch == AO_load(&oaki_dirty_batch));
    if (whole && (done || (m->rescans && !t->anytime))) return; /* left to oaki_mark_left_out */
    scan_typed(m, s, t, p, from, to, tagged);
    m->scanned += (whole ? size : to - from) / sizeof(uintptr_t);
    m->whole = whole ? slot : SIZE_MAX;
    m->batch = AO_load(&oaki_dirty_batch);
}

OAKI_NO_ASAN void oaki_rescan_part(oak_marker *m, size_t slot, size_t size, size_t lo, size_t hi)
{
    rescan_part(m, slot, size, lo, hi, false);
}

OAKI_NO_ASAN void oaki_rescan_part_tagged(oak_marker *m, size_t slot, size_t size, size_t lo,
                                          size_t hi)
{
    rescan_part(m, slot, size, lo, hi, true);
}

void oaki_trace_range_later(oak_marker *m, const char *lo, const char *hi, bool typed)
{
    OAKI_REQUIRES_WORKER(m);
    OAKI_ASSERT(m->range_lo >= m->range_hi); /* or the rest of that range would be lost */
    m->range_typed = typed;
    m->range_lo = (const char *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof(uintptr_t));
    m->range_hi = (const char *)OAKI_ALIGN_DOWN((uintptr_t)hi, sizeof(uintptr_t));
}

void oaki_trace_prefetch(size_t slot)
{
    const oaki_span *s = oaki_span_of_offset(slot);
    __builtin_prefetch((const void *)(oaki_the_heap.base + slot));
    if (s->kind == OAKI_TYPED) __builtin_prefetch(type_id(s, slot));
}

void oaki_trace_live(void *obj)
{
    OAKI_REQUIRES_STOPPED();
    oaki_trace_noted(oaki_worker(0), obj);
}

OAKI_NO_ASAN bool oaki_trace_but_self(const void *obj)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_WORKER_ZERO();
    const size_t off = oaki_heap_offset(obj);
    const oaki_span *s = oaki_span_of_offset(off);
    const uintptr_t *p = obj, *end = p + s->size / sizeof *p;
    oak_marker *m = oaki_worker(0);
    if (s->kind == OAKI_TYPED || s->cls == OAKI_CLASS_LARGE) return false;
    if (s->kind == OAKI_NOSCAN) return true;
    size_t to[OAKI_WORD_REFS];
    for (; p < end; p++)
        for (unsigned n = oaki_word_refs(*p, m->used, to); n > 0; n--)
            if (to[n - 1] - off >= s->size) oaki_mark_push(m, m->base + to[n - 1]);
    return true;
}

/* span.c - the bitmaps of spans, and the way from an address to its object.
 *
 * Owns: A and M (span.h). Neighbouring spans share words of A, and other threads change them as
 * they free by hand. So words at the edges of a range are changed atomically, those inside it
 * plainly.
 * Bound: O(bytes / 1024). */
#include "contract.h"
#include "guard.h"
#include "heap.h"
#include "markbits.h"
#include "meta.h"
#include "phase.h"
#include "type.h"
#include <string.h>

oaki_heap oaki_the_heap;

#ifdef OAKI_DEBUG

/* Is it whole granules of the used range? */
static bool in_heap(size_t off, size_t bytes)
{
    size_t used = AO_load(&oaki_the_heap.used);
    return (off | bytes) % OAKI_GRANULE == 0 && off <= used && bytes <= used - off;
}

#endif

/* A mask of the bits [from, to) of a word. */
static uint64_t edge_mask(size_t from, size_t to)
{
    OAKI_ASSERT(from < to && to <= 64);
    return (~(uint64_t)0 << from) & (~(uint64_t)0 >> (64 - to));
}

/* Sets the words that lie wholly in bits [g, end) to `all`, by memset, as a large object has
 * hundreds. The words at the edges are left to the caller: the first word's bits in *head, the last
 * word's in *tail; 0 for none. Returns the first word. */
OAKI_INLINE size_t fill_whole(uint64_t *map, size_t g, size_t end, int all, uint64_t *head,
                              uint64_t *tail)
{
    size_t w = g / 64, last = end / 64;
    *head = *tail = 0;
    if (g == end) return w;
    if (w == last) {
        *head = edge_mask(g % 64, end % 64);
        return w;
    }
    if (g % 64) *head = edge_mask(g % 64, 64);
    if (end % 64) *tail = edge_mask(0, end % 64);
    size_t from = w + (*head != 0);
    if (last > from) memset(map + from, all, (last - from) * sizeof *map);
    return w;
}

bool oaki_bits_none(const uint64_t *map, size_t off, size_t bytes)
{
    size_t g = off >> OAKI_GRANULE_SHIFT, end = (off + bytes) >> OAKI_GRANULE_SHIFT;
    for (size_t w = g / 64; w * 64 < end; w++) {
        size_t from = w * 64 < g ? g % 64 : 0, to = OAKI_MIN(end - w * 64, 64);
        if (from < to && (map[w] & edge_mask(from, to))) return false;
    }
    return true;
}

void oaki_bits_set(uint64_t *map, size_t off, size_t bytes)
{
    OAKI_ASSERT(map != oaki_the_heap.alloc || in_heap(off, bytes));
    size_t g = off >> OAKI_GRANULE_SHIFT, end = (off + bytes) >> OAKI_GRANULE_SHIFT;
    uint64_t head, tail;
    size_t w = fill_whole(map, g, end, 0xff, &head, &tail);
    if (head) AO_or((AO_t *)&map[w], head);
    if (tail) AO_or((AO_t *)&map[end / 64], tail);
}

void oaki_bits_clear(uint64_t *map, size_t off, size_t bytes)
{
    OAKI_ASSERT(map != oaki_the_heap.alloc || in_heap(off, bytes));
    size_t g = off >> OAKI_GRANULE_SHIFT, end = (off + bytes) >> OAKI_GRANULE_SHIFT;
    uint64_t head, tail;
    size_t w = fill_whole(map, g, end, 0, &head, &tail);
    if (head) AO_and((AO_t *)&map[w], ~head);
    if (tail) AO_and((AO_t *)&map[end / 64], ~tail);
}

typedef enum change { PREPARE, PREPARE_MINOR, RETAIN } change;

OAKI_INLINE void change_word(uint64_t *m, uint64_t a, change how)
{
    if (how == PREPARE) *m = ~a;
    else if (how == RETAIN) *m = a;
    else *m |= ~a;
}

#define RUN 32 /* words of A for one cache line of each plane; they are permuted in larger units */

/* Changes M for RUN words of A from w on, if all are full, as within a large object, or all empty.
 * Otherwise returns false. */
OAKI_INLINE bool change_run(size_t w, change how)
{
    const uint64_t *a = oaki_the_heap.alloc + w, first = a[0];
    uint64_t differ = 0;
    if (first + 1 > 1) return false;
    for (size_t i = 0; i < RUN; i++) differ |= a[i] ^ first;
    if (differ) return false;
    for (size_t p = 0; p < OAKI_PLANES; p++) {
        uint64_t *m = &oaki_the_heap.mark[p][oaki_mark_index(p, w / 4)];
        for (size_t i = 0; i < RUN / 4; i++) change_word(&m[i], first, how);
    }
    return true;
}

OAKI_INLINE void change_marks(size_t w, size_t n, change how)
{
    OAKI_ASSERT(w % 4 == 0 && n % 4 == 0); /* n covers whole words of each plane */
    const uint64_t *a = oaki_the_heap.alloc + w;
    uint64_t *const *plane = oaki_the_heap.mark;
    for (size_t i = 0; i < n; i += 4) {
        if ((w + i) % RUN == 0 && n - i >= RUN && change_run(w + i, how)) {
            i += RUN - 4;
            continue;
        }
        uint64_t x[OAKI_PLANES] = { 0 };
        uint64_t all = a[i] & a[i + 1] & a[i + 2] & a[i + 3];
        uint64_t any = a[i] | a[i + 1] | a[i + 2] | a[i + 3];
        if (all == ~(uint64_t)0 || any == 0) { /* full or empty, as most are */
            for (size_t p = 0; p < OAKI_PLANES; p++)
                change_word(&plane[p][oaki_mark_index(p, (w + i) / 4)], all, how);
            continue;
        }
        for (size_t k = 0; k < 4; k++)
            for (size_t p = 0; p < OAKI_PLANES; p++)
                x[p] |= oaki_mark_pack(a[i + k] >> p) << 16 * k;
        for (size_t p = 0; p < OAKI_PLANES; p++)
            change_word(&plane[p][oaki_mark_index(p, (w + i) / 4)], x[p], how);
    }
}

void oaki_mark_prepare(size_t w, size_t n, bool minor)
{
    if (minor) change_marks(w, n, PREPARE_MINOR);
    else change_marks(w, n, PREPARE);
}

void oaki_mark_retain(size_t w, size_t n)
{
    change_marks(w, n, RETAIN);
}

void oaki_mark_prepare_all(bool minor)
{
    const oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_STOPPED();
    for (size_t c = 0; c < oaki_chunks(AO_load(&h->used)); c++)
        if (h->chunk_inuse[c]) oaki_mark_prepare(c * OAKI_CHUNK_WORDS, OAKI_CHUNK_WORDS, minor);
}

#define PREPARE_WORDS ((size_t)64) /* words of A per hold of the lock */

void oaki_mark_prepare_chunk(size_t chunk, bool minor)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(chunk < oaki_chunks(AO_load(&oaki_the_heap.used)));
    if (!oaki_the_heap.chunk_inuse[chunk]) return;
    for (size_t i = 0; i < OAKI_CHUNK_WORDS; i += PREPARE_WORDS) {
        oaki_lock_acquire(&oaki_the_heap.bits_lock);
        oaki_mark_prepare(chunk * OAKI_CHUNK_WORDS + i, PREPARE_WORDS, minor);
        oaki_lock_release(&oaki_the_heap.bits_lock);
    }
}

void oaki_mark_empty(size_t off, size_t bytes)
{
    OAKI_ASSERT(in_heap(off, bytes) && (off | bytes) % OAKI_PLANE_WORD == 0);
    uint64_t *const *plane = oaki_the_heap.mark;
    for (size_t n = off / OAKI_PLANE_WORD; n < (off + bytes) / OAKI_PLANE_WORD; n++)
        for (size_t p = 0; p < OAKI_PLANES; p++) plane[p][oaki_mark_index(p, n)] = 0;
}

OAKI_INLINE void change_bits(size_t off, size_t bytes, bool set)
{
    OAKI_ASSERT(in_heap(off, bytes));
    uint64_t *const *plane = oaki_the_heap.mark;
    size_t g = off >> OAKI_GRANULE_SHIFT, end = (off + bytes) >> OAKI_GRANULE_SHIFT;
    for (size_t w = g / 64; w * 64 < end; w++) {
        uint64_t all = edge_mask(w * 64 < g ? g % 64 : 0, OAKI_MIN(end - w * 64, 64));
        for (size_t p = 0; p < OAKI_PLANES; p++) {
            uint64_t bits = oaki_mark_pack(all >> p) << w % 4 * 16;
            AO_t *word = (AO_t *)&plane[p][oaki_mark_index(p, w / 4)];
            if (!bits) continue;
            if (set) AO_or(word, bits);
            else AO_and(word, ~bits);
        }
    }
}

void oaki_mark_fill(size_t off, size_t bytes)
{
    change_bits(off, bytes, true);
}

void oaki_mark_wipe(size_t off, size_t bytes)
{
    change_bits(off, bytes, false);
}

/* Sets A before it clears bits of M: a clear bit of M means an object. */
static OAKI_NOINLINE void allocate_in_mark(size_t off, size_t bytes)
{
    OAKI_REQUIRES_RUNNING();
    oaki_heap *h = &oaki_the_heap;
    bool preparing = oaki_is_preparing();
    if (preparing) oaki_lock_acquire(&h->bits_lock);
    oaki_bits_set(h->alloc, off, bytes);
    AO_nop_full();
    change_bits(off, bytes, false);
    if (preparing) oaki_lock_release(&h->bits_lock);
}

void oaki_bits_allocate(size_t off, size_t bytes)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_CHECK_SLOW(oaki_bits_none(oaki_the_heap.alloc, off, bytes)); /* handed out once */
    if (OAKI_UNLIKELY(oaki_is_marking()))
        allocate_in_mark(off, bytes);
    else
        oaki_bits_set(oaki_the_heap.alloc, off, bytes);
}

size_t oaki_object_size(size_t off)
{
    unsigned cls = oaki_the_heap.pte[off >> OAKI_PAGE_SHIFT] & OAKI_PTE_CLASS;
    OAKI_ASSERT(cls != 0);
    return cls == OAKI_CLASS_LARGE ? oaki_span_of_offset(off)->size : oaki_classes[cls].size;
}

/* In the calling thread's own run, not handed out yet? A covers the whole run before its slots are
 * handed out. Runs of other threads are not known here. */
static bool in_own_run(const oaki_span *s, size_t slot)
{
    const oaki_mcache *mc = oaki_tls_mcache;
    unsigned sc = OAKI_SPANCLASS(s->kind, s->cls);
    const char *p = (const char *)oaki_the_heap.base + slot;
    return s->list == OAKI_LIST_CACHED && p >= mc->run[sc].next && p < mc->run_end[sc];
}

/* Is the calling thread about to call the object's disclaim function? Then the object still
 * exists. */
static bool is_asked_for(const oaki_span *s, size_t slot)
{
    if (OAKI_LIKELY(!AO_load(&oaki_the_heap.disclaiming))) return false;
    if (AO_load(&oaki_the_heap.disclaiming) != (AO_t)oaki_tls_thread) return false;
    const oak_type *t = s->kind == OAKI_TYPED ? oaki_type_by_id(oaki_type_id_at(slot)) : NULL;
    return t && t->disclaim;
}

/* A slot in an unswept span is live only if the last cycle marked it. The order of reads matters. A
 * sweep changes A before it sets `swept`, and every span is swept before the next mark clears M. A
 * thread can be stopped between any two of these reads; in a region, it does not stop at all. So a
 * missing mark counts only if the span is still unswept, and A is read last. */
static bool is_live(size_t slot)
{
    oaki_heap *h = &oaki_the_heap;
    const oaki_span *s = oaki_span_of_offset(slot);
    if (oaki_zone_is_gone(s->zone)) return false;
    while (oaki_bit_get(h->alloc, slot)) {
        AO_nop_read();
        unsigned swept = AO_int_load_acquire(&s->swept);
        bool waits = swept != (unsigned)AO_load_acquire(&h->cycle);
        bool lives = waits ? oaki_mark_get(slot) : !in_own_run(s, slot);
        AO_nop_read();
        if (lives) return oaki_bit_get(h->alloc, slot);
        if (!waits || AO_int_load(&s->swept) == swept) return waits && is_asked_for(s, slot);
    }
    return false;
}

void *oaki_object_base(const void *p)
{
    oaki_heap *h = &oaki_the_heap;
    if (!oaki_heap_contains(p)) return NULL;
    size_t slot = oaki_slot_offset(oaki_heap_offset(p));
    if (slot == SIZE_MAX || !is_live(slot)) return NULL;
    void *obj = (void *)(h->base + slot);
    return OAKI_UNLIKELY(oaki_guard.on) && oaki_guard_is_freed(obj) ? NULL : obj;
}

bool oaki_span_make_types(oaki_span *s)
{
    OAKI_ASSERT(s->kind == OAKI_TYPED && s->cls != OAKI_CLASS_LARGE && !s->types);
    s->types = oaki_meta_zalloc(oaki_classes[s->cls].nslots * sizeof *s->types, OAKI_META_MSPAN);
    return s->types != NULL;
}

void oaki_span_free_types(oaki_span *s)
{
    OAKI_ASSERT(s->kind == OAKI_TYPED && s->cls != OAKI_CLASS_LARGE);
    oaki_meta_free(s->types, oaki_classes[s->cls].nslots * sizeof *s->types, OAKI_META_MSPAN);
    s->types = NULL;
}

void oaki_pinned_visit(void (*fn)(size_t off, void *ctx), void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, left = AO_load(&h->npinned);
    for (size_t page = 0, n; page < end && left > 0; page += n) {
        const oaki_span *s = &h->spans[page];
        oaki_pte e = h->pte[page]; /* nothing else is read of spans that aren't pinned */
        n = 1;
        if ((e & OAKI_PTE_CLASS) == 0 || oaki_pte_kind(e) != OAKI_PINNED) continue;
        size_t base = oaki_span_slot(s),
               slots = s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
        for (size_t i = 0; i < slots; i++)
            if (oaki_bit_get(h->alloc, base + i * s->size)) fn(base + i * s->size, ctx);
        n = s->npages;
        left--;
    }
    OAKI_ASSERT(left == 0);
}

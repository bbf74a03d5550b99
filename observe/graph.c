/* graph.c - breadth-first search of the heap, and numbers for the found objects (graph.h).
 *
 * Every word costs an access to its bit in M, and every object one to its memory. Both are
 * prefetched. Words wait in a ring for their bits. Objects are known long before they are scanned,
 * as the queue is in order. (Bits of M alone decide for the same reason as in a mark: see span.h.)
 *
 * Owns: its tables, which are mapped; M, in an image.
 * Bound: linear in the words of live objects. */
#include "graph.h"

#include "gc/debug/edges.h"
#include "gc/trace/reading.h"
#include "gc/trace/trace.h"
#include "runtime/os.h"
#include "runtime/track.h"

#define AHEAD 12         /* objects prefetched before they are scanned */
#define LOOK_EVERY 4096  /* objects between two reads of the clock */
#define HIGH_FROM ((size_t)64 << 30)

/* ---- M ---- */

/* Marks the slots of threads' runs. They are no objects, so a word that points there finds
 * nothing. */
static void hide_runs(const oaki_image *im)
{
    for (size_t i = 0; i < oaki_image_runs(im); i++) {
        size_t lo, hi;
        oaki_image_run(im, i, &lo, &hi);
        for (; lo < hi; lo += OAKI_GRANULE) oaki_mark_set(lo);
    }
}

OAKI_INLINE void set_mark(size_t slot)
{
    *oaki_mark_word(oaki_the_heap.mark, slot) |= (uint64_t)1 << oaki_mark_shift(slot);
}

/* ---- objects ---- */

size_t oaki_graph_object(const oaki_image *im, uintptr_t value)
{
    size_t off = value - oaki_the_heap.base;
    if (off >= AO_load(&oaki_the_heap.used)) return SIZE_MAX;
    size_t slot = oaki_slot_offset(off);
    if (slot == SIZE_MAX || !oaki_bit_get(oaki_the_heap.alloc, slot)) return SIZE_MAX;
    return oaki_image_run_has(im, slot) ? SIZE_MAX : slot;
}

size_t oaki_graph_bytes(size_t slot)
{
    oaki_pte e = oaki_the_heap.pte[slot >> OAKI_PAGE_SHIFT];
    if ((e & OAKI_PTE_CLASS) != OAKI_CLASS_LARGE) return oaki_classes[e & OAKI_PTE_CLASS].size;
    const oaki_span *s = oaki_span_of_offset(slot);
    return s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT);
}

/* ---- the search ---- */

/* An upper bound of the number of objects. */
static size_t objects_at_most(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t n = 0, end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages) {
        unsigned cls = h->pte[page] & OAKI_PTE_CLASS;
        if (cls) n += cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[cls].nslots;
    }
    return n;
}

bool oaki_search_begin(oaki_search *s, oaki_image *im, bool parents)
{
    *s = (oaki_search){ .im = im, .target = SIZE_MAX, .pairs = oaki_ephemerons_count() > 0 };
    s->cap = OAKI_MAX(objects_at_most(), (size_t)1);
    if (s->cap >= OAKI_FROM_ROOT) return false;
    bool high = AO_load(&oaki_the_heap.used) > HIGH_FROM;
    s->queue = oaki_os_map_scratch(s->cap * sizeof *s->queue);
    if (high) s->high = oaki_os_map_scratch(s->cap);
    if (parents) s->parent = oaki_os_map_scratch(s->cap * sizeof *s->parent);
    if (!s->queue || (high && !s->high) || (parents && !s->parent)) {
        oaki_search_end(s);
        return false;
    }
    oaki_search_reset(s);
    return true;
}

void oaki_search_reset(oaki_search *s)
{
    s->n = s->next = s->bytes = 0;
    s->head = s->tail = 0;
    s->found = false;
    oaki_mark_prepare_all(false);
    hide_runs(s->im);
    for (size_t i = 0; i < s->nblocked; i++) set_mark(s->blocked[i]);
}

void oaki_search_end(oaki_search *s)
{
    if (s->queue) oaki_os_release(s->queue, s->cap * sizeof *s->queue);
    if (s->high) oaki_os_release(s->high, s->cap);
    if (s->parent) oaki_os_release(s->parent, s->cap * sizeof *s->parent);
    s->queue = s->parent = NULL;
    s->high = NULL;
    oaki_edges_trim();
}

static void enter(oaki_search *s, size_t to, uint32_t from)
{
    if (oaki_mark_get(to)) return;
    size_t slot = oaki_slot_offset(to);
    if (slot == SIZE_MAX || oaki_mark_get(slot)) return;
    set_mark(slot);
    size_t g = slot >> OAKI_GRANULE_SHIFT;
    s->queue[s->n] = (uint32_t)g;
    if (s->high) s->high[s->n] = (uint8_t)(g >> 32);
    if (s->parent) s->parent[s->n] = from;
    if (slot == s->target) {
        s->found = true;
        s->found_at = s->n;
    }
    s->n++;
    s->bytes += oaki_graph_bytes(slot);
}

OAKI_INLINE void leave_ring(oaki_search *s)
{
    unsigned i = s->head++ % OAKI_SEARCH_RING;
    enter(s, s->ring[i].to, s->ring[i].from);
}

/* A scanned word points to offset `to`, which is below `used`. Prefetches its mark bits. */
OAKI_INLINE void look(oaki_search *s, size_t to)
{
    if (s->tail - s->head == OAKI_SEARCH_RING) leave_ring(s);
    unsigned i = s->tail++ % OAKI_SEARCH_RING;
    __builtin_prefetch(oaki_mark_word(oaki_the_heap.mark, to));
    s->ring[i].to = to;
    s->ring[i].from = s->from;
}

static void look_all(void *ctx, const oaki_edge *edge, size_t n)
{
    for (size_t i = 0; i < n; i++) look(ctx, edge[i].to);
}

static bool is_blocked(const oaki_search *s, size_t slot)
{
    size_t lo = 0, hi = s->nblocked;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->blocked[mid] < slot)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->nblocked && s->blocked[lo] == slot;
}

static void look_at_pair(void *ctx, void *handle, void *key, void *value)
{
    oaki_search *s = ctx;
    size_t h = oaki_heap_offset(handle), k = oaki_heap_offset(key), to[OAKI_WORD_REFS];
    if (!oaki_mark_get(h) || !oaki_mark_get(k)) return;
    if (s->nblocked > 0 && (is_blocked(s, h) || is_blocked(s, k))) return;
    unsigned n = oaki_word_refs((uintptr_t)value, AO_load(&oaki_the_heap.used), to);
    for (; n > 0; n--) look(s, to[n - 1]);
}

OAKI_NO_ASAN static void scan(oaki_search *s, size_t slot)
{
    oaki_pte e = oaki_the_heap.pte[slot >> OAKI_PAGE_SHIFT];
    unsigned cls = e & OAKI_PTE_CLASS, kind = oaki_pte_kind(e);
    if (kind == OAKI_NOSCAN) return;
    if (cls == OAKI_CLASS_LARGE || kind == OAKI_TYPED) {
        oaki_edges_of(slot, false, look_all, s);
        return;
    }
    size_t used = AO_load(&oaki_the_heap.used), to[OAKI_WORD_REFS];
    const uintptr_t *p = (const uintptr_t *)(oaki_the_heap.base + slot),
                    *end = p + oaki_classes[cls].size / sizeof *p;
    for (; p < end; p++)
        for (unsigned n = oaki_word_refs(*p, used, to); n > 0; n--)
            if (oaki_mark_counts(to[n - 1])) look(s, to[n - 1]);
}

void oaki_search_run(oaki_search *s)
{
    while (!s->found) {
        if (s->next == s->n) {
            if (s->head == s->tail) return;
            leave_ring(s);
            continue;
        }
        if (s->next % LOOK_EVERY == 0 && oaki_image_late(s->im)) return;
        if (s->next + AHEAD < s->n)
            __builtin_prefetch((const void *)(oaki_the_heap.base +
                                              oaki_search_at(s, s->next + AHEAD)));
        s->from = (uint32_t)s->next;
        size_t slot = oaki_search_at(s, s->next++);
        scan(s, slot);
        if (s->pairs)
            oaki_ephemerons_of((void *)(oaki_the_heap.base + slot), look_at_pair, s);
    }
}

void oaki_search_value(oaki_search *s, uintptr_t value)
{
    size_t to = value - oaki_the_heap.base;
    if (to >= AO_load(&oaki_the_heap.used)) return;
    s->from = OAKI_FROM_ROOT;
    look(s, to);
}

void oaki_search_unblock(oaki_search *s)
{
    size_t n = s->nblocked;
    s->nblocked = 0;
    for (size_t i = 0; i < n; i++) {
        size_t slot = s->blocked[i];
        *oaki_mark_word(oaki_the_heap.mark, slot) &= ~((uint64_t)1 << oaki_mark_shift(slot));
        oaki_search_value(s, oaki_the_heap.base + slot);
    }
}

void oaki_search_root(oaki_search *s, const oaki_root_word *w)
{
    oaki_search_value(s, w->value);
    if (w->past_end) oaki_search_value(s, w->value - 1);
}

static void add_root(void *ctx, const oaki_root_word *w)
{
    oaki_search_root(ctx, w);
}

void oaki_search_all(oaki_search *s)
{
    oaki_root_words(s->im, add_root, s);
    oaki_search_run(s);
}

/* ---- sorting ---- */

static void sift(size_t *a, size_t i, size_t n)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && a[child + 1] > a[child]) child++;
        if (a[i] >= a[child]) return;
        size_t x = a[i];
        a[i] = a[child];
        a[child] = x;
    }
}

void oaki_sort_sizes(size_t *a, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sift(a, i, n);
    while (n-- > 1) {
        size_t x = a[0];
        a[0] = a[n];
        a[n] = x;
        sift(a, 0, n);
    }
}

/* ---- numbers ---- */

/* Sets r->bits to A & M in the chunks that are in use. */
static void gather_bits(oaki_ranks *r)
{
    const oaki_heap *h = &oaki_the_heap;
    for (size_t w = 0; w < r->words; w++) {
        if (w % OAKI_CHUNK_WORDS == 0 && !h->chunk_inuse[w / OAKI_CHUNK_WORDS]) {
            w += OAKI_CHUNK_WORDS - 1;
            continue;
        }
        uint64_t a = h->alloc[w];
        if (a) r->bits[w] = a & oaki_mark_gather(w);
    }
}

bool oaki_ranks_make(oaki_ranks *r, const oaki_image *im)
{
    size_t words = AO_load(&oaki_the_heap.used) / OAKI_GRANULE / 64;
    *r = (oaki_ranks){ .words = words };
    r->mapped = words * sizeof *r->bits + (words + 1) * sizeof *r->before;
    r->bits = oaki_os_map_scratch(OAKI_MAX(r->mapped, (size_t)1));
    if (!r->bits) return false;
    r->before = (uint32_t *)(void *)(r->bits + words);
    gather_bits(r);
    for (size_t i = 0; i < oaki_image_runs(im); i++) {
        size_t lo, hi;
        oaki_image_run(im, i, &lo, &hi);
        oaki_bits_clear(r->bits, lo, hi - lo);
    }
    for (size_t w = 0; w < words; w++) {
        r->before[w] = (uint32_t)r->n;
        r->n += oaki_popcount(r->bits[w]);
    }
    r->before[words] = (uint32_t)r->n;
    if (r->n < OAKI_FROM_ROOT) return true;
    oaki_ranks_free(r);
    return false;
}

void oaki_ranks_free(oaki_ranks *r)
{
    if (r->bits) oaki_os_release(r->bits, OAKI_MAX(r->mapped, (size_t)1));
    r->bits = NULL;
}

size_t oaki_ranks_object(const oaki_ranks *r, uint32_t n)
{
    size_t lo = 0, hi = r->words; /* before[lo] <= n < before[hi] */
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (r->before[mid] <= n)
            lo = mid;
        else
            hi = mid;
    }
    uint64_t set = r->bits[lo];
    for (uint32_t left = n - r->before[lo]; left > 0; left--) set &= set - 1;
    return (lo * 64 + oaki_ctz(set)) << OAKI_GRANULE_SHIFT;
}

bool oaki_ranks_each(const oaki_ranks *r, bool (*fn)(void *ctx, size_t slot), void *ctx)
{
    for (size_t w = 0; w < r->words; w++)
        for (uint64_t set = r->bits[w]; set; set &= set - 1)
            if (!fn(ctx, (w * 64 + oaki_ctz(set)) << OAKI_GRANULE_SHIFT)) return false;
    return true;
}

/* edges.c - marking that reports each marked object, slow and for few callers; and the edges of
 * an object.
 *
 * The marker does not report the objects it marks, as that would slow every collection. This
 * code does, for small conservative objects: it sets their bits in M itself and keeps its own
 * stack. It leaves other objects to the marker.
 *
 * Edges follow the marker's rules, but not its code. Only mark functions need an oak_marker:
 * they get one that is no worker. The words that they mark enter its queue, as in a worker's.
 * Where a worker would take a new segment, this marker hands on the entries of its segment
 * (oak_marker.record). So the marker itself needs no test for it. Mark functions report values,
 * not places. The places are found by looking up the object's words in a hash table of the
 * values.
 *
 * Owns: a stack of fixed size, used in a pause; when it is full, objects are left to the marker.
 * The recorder and its table.
 * Lock: the world is stopped, or the heap is an image (observe/image.h).
 * Bound: linear in the marked objects; edges: linear in the object's words. */
#include "edges.h"

#include "gc/contract.h"
#include "gc/trace/reading.h"
#include "gc/trace/trace.h"
#include "runtime/contain.h"
#include "runtime/guard.h"
#include "runtime/os.h"
#include "runtime/track.h"

static oaki_reached *const self = &oaki_gc.debug.reached;

/* Marks the object that contains offset `off`, and notes it for scanning. */
static void visit(size_t off)
{
    oaki_heap *h = &oaki_the_heap;
    oak_marker *m = oaki_worker(0);
    if (off >= m->used) return;
    size_t slot = oaki_slot_offset(off);
    if (slot == SIZE_MAX || oaki_mark_get(slot)) return;
    void *obj = (void *)(h->base + slot);
    oaki_pte e = h->pte[slot >> OAKI_PAGE_SHIFT];
    unsigned cls = e & OAKI_PTE_CLASS, kind = oaki_pte_kind(e);
    bool scanned = kind == OAKI_SCAN || kind == OAKI_PINNED;
    if (cls == OAKI_CLASS_LARGE || kind == OAKI_TYPED || (scanned && self->n == OAKI_REACHED)) {
        oaki_mark_pointer(obj);
    } else {
        oaki_mark_set(slot);
        m->bytes += oaki_classes[cls].size;
        if (scanned) self->stack[self->n++] = slot;
    }
    self->found(self->ctx, obj);
}

OAKI_NO_ASAN static void scan(size_t slot)
{
    const uintptr_t *p = (const uintptr_t *)(oaki_the_heap.base + slot);
    const uintptr_t *end = p + oaki_object_size(slot) / sizeof *p;
    size_t used = AO_load(&oaki_the_heap.used), to[OAKI_WORD_REFS];
    for (; p < end; p++)
        for (unsigned n = oaki_word_refs(*p, used, to); n > 0; n--)
            if (oaki_mark_counts(to[n - 1])) visit(to[n - 1]);
}

void oaki_edges_mark(const void *p, void (*found)(void *ctx, void *obj), void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER_ZERO();
    OAKI_ASSERT(self->n == 0);
    self->found = found;
    self->ctx = ctx;
    visit(oaki_heap_offset(p));
    while (self->n > 0) scan(self->stack[--self->n]);
    oaki_mark_drain();
}

/* ---- edges ---- */

static void flush_edges(oaki_edges *out)
{
    if (out->n > 0) out->fn(out->ctx, out->batch, out->n);
    out->n = 0;
}

OAKI_INLINE void report(oaki_edges *out, size_t to, size_t at)
{
    OAKI_ASSERT(out->n < OAKI_EDGES);
    out->batch[out->n].to = to;
    out->batch[out->n].at = at;
    if (++out->n == OAKI_EDGES) flush_edges(out);
}

/* Reports the references of the word at `at` in the object at p. */
OAKI_NO_ASAN OAKI_INLINE void report_word(oaki_edges *out, const char *p, size_t at,
                                          size_t used)
{
    size_t to[OAKI_WORD_REFS];
    unsigned n = oaki_word_refs(*(const uintptr_t *)(p + at), used, to);
    for (unsigned i = 0; i < n; i++)
        if (oaki_mark_counts(to[i])) report(out, to[i], at);
}

/* Reports the words of [from, to) in the object at p. */
static void report_words(oaki_edges *out, const char *p, size_t from, size_t to)
{
    size_t used = AO_load(&oaki_the_heap.used);
    for (; from + sizeof(uintptr_t) <= to; from += sizeof(uintptr_t))
        report_word(out, p, from, used);
}

static void report_bitmap(oaki_edges *out, const oak_type *t, const char *p, size_t size)
{
    size_t used = AO_load(&oaki_the_heap.used);
    for (size_t at = 0; at + t->elem_size <= size; at += t->elem_size)
        for (size_t i = 0; i < t->nwords; i += 64)
            for (uint64_t set = t->bitmap[i / 64]; set; set &= set - 1)
                report_word(out, p, at + (i + oaki_ctz(set)) * sizeof(uintptr_t), used);
}

/* ---- edges from a mark function ---- */

#define SET_MIN 512

static size_t place_of(const oaki_edges *out, size_t to)
{
    return (size_t)(to * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (out->cap - 1);
}

/* The slot of the value, or the free slot for it. */
static size_t *look_up(oaki_edges *out, size_t to)
{
    size_t i = place_of(out, to), key = to + 1;
    while (out->set[i] != 0 && out->set[i] != key && out->set[i] != ~key)
        i = (i + 1) & (out->cap - 1);
    return &out->set[i];
}

static bool grow(oaki_edges *out, size_t cap)
{
    size_t *old = out->set, old_cap = out->cap, old_mapped = out->mapped;
    size_t bytes = cap * sizeof *old;
    size_t *fresh = oaki_os_map_scratch(bytes);
    if (!fresh) return false;
    out->set = out->memory = fresh;
    out->cap = cap;
    out->mapped = bytes;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i] != 0) *look_up(out, old[i] - 1) = old[i];
    if (old) oaki_os_release(old, old_mapped);
    return true;
}

/* Without memory to grow the set: reports its values, and from here on all values, without
 * places. */
static void give_up_places(oaki_edges *out)
{
    for (size_t i = 0; i < out->cap; i++) {
        if (out->set[i] != 0) report(out, out->set[i] - 1, SIZE_MAX);
        out->set[i] = 0;
    }
    out->set = NULL;
}

static void note(oaki_edges *out, size_t to)
{
    if (!oaki_mark_counts(to)) return;
    if (out->set && (out->used + 1) * 2 > out->cap && !grow(out, out->cap * 2))
        give_up_places(out);
    if (!out->set) {
        report(out, to, SIZE_MAX);
        return;
    }
    size_t *place = look_up(out, to);
    out->used += *place == 0;
    *place = to + 1;
}

static void record(void *ctx, oak_marker *m)
{
    oaki_edges *out = ctx;
    OAKI_ASSERT(m == &out->recorder && m->top == &out->segment);
    for (size_t i = 0; i < m->top->n; i++) note(out, m->top->entry[i]);
    m->top->n = 0;
}

/* Reports the object's words that hold noted values, then the values that no word holds. */
OAKI_NO_ASAN static void report_places(oaki_edges *out, const char *p, size_t size)
{
    size_t used = AO_load(&oaki_the_heap.used), to[OAKI_WORD_REFS];
    size_t step = sizeof(uintptr_t);
    for (size_t at = 0; out->used > 0 && at + step <= size; at += step)
        for (unsigned n = oaki_word_refs(*(const uintptr_t *)(p + at), used, to); n > 0; n--) {
            size_t *place = look_up(out, to[n - 1]);
            if (*place == 0) continue;
            *place = ~(to[n - 1] + 1);
            report(out, to[n - 1], at);
        }
    for (size_t i = 0; i < out->cap; i++) {
        size_t key = out->set[i];
        if (key != 0 && key >> 63 == 0) report(out, key - 1, SIZE_MAX);
        out->set[i] = 0;
    }
}

static void trim(oaki_edges *out)
{
    if (out->memory) oaki_os_release(out->memory, out->mapped);
    out->set = out->memory = NULL;
    out->cap = out->mapped = 0;
}

void oaki_edges_trim(void)
{
    trim(&oaki_gc.debug.edges);
}

static oak_marker *recorder_begin(oaki_edges *out)
{
    oak_marker *m = &out->recorder;
    m->base = oaki_the_heap.base;
    m->used = AO_load(&oaki_the_heap.used);
    m->top = &out->segment;
    m->head = m->tail = 0;
    m->record = record;
    m->record_ctx = out;
    out->segment.n = out->used = 0;
    out->set = NULL;
    return m;
}

static void recorder_end(oaki_edges *out, oak_marker *m)
{
    record(out, m);
    for (unsigned i = m->head; i < m->tail; i++) note(out, m->queue[i]);
}

static void report_marked(oaki_edges *out, const oak_type *t, char *p, size_t size, bool where)
{
    oak_marker *m = recorder_begin(out);
    if (where) out->set = out->memory;
    if (where && !out->memory) {
        out->cap = 0;
        (void)grow(out, SET_MIN);
    }
    if (oaki_deferred_may_call(oaki_span_of_offset(oaki_heap_offset(p)), p))
        OAKI_CALL_INSIDE(t->mark(m, p, size));
    recorder_end(out, m);
    if (out->set) report_places(out, p, size);
    if (out->cap > SET_MIN) trim(out); /* clearing costs time in proportion to its size */
}

void oaki_edges_of_host_roots(oaki_edge_fn fn, void *ctx)
{
    oaki_edges *out = &oaki_gc.debug.edges;
    OAKI_REQUIRES_STOPPED();
    out->fn = fn;
    out->ctx = ctx;
    out->n = 0;
    oak_marker *m = recorder_begin(out);
    oaki_host_call_roots(m);
    recorder_end(out, m);
    flush_edges(out);
}

void oaki_edges_of(size_t slot, bool where, oaki_edge_fn fn, void *ctx)
{
    oaki_edges *out = &oaki_gc.debug.edges;
    OAKI_REQUIRES_STOPPED();
    OAKI_ASSERT(oaki_slot_offset(slot) == slot);
    oaki_pte e = oaki_the_heap.pte[slot >> OAKI_PAGE_SHIFT];
    oaki_kind kind = oaki_pte_kind(e);
    if (kind == OAKI_NOSCAN) return;
    char *p = (char *)oaki_the_heap.base + slot;
    size_t size = oaki_object_size(slot), head = 0;
    out->fn = fn;
    out->ctx = ctx;
    out->n = 0;
    if ((e & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE)
        head = (size_t)oaki_span_of_offset(slot)->cursor << OAKI_PAGE_SHIFT;
    const oak_type *t = kind == OAKI_TYPED ? oaki_type_by_id(oaki_type_id_at(slot)) : NULL;
    if (t) size = oaki_guard_asked(oaki_span_of_offset(slot), p);
    if (!t)
        report_words(out, p, kind == OAKI_TYPED ? 0 : head, size);
    else if (t->mark)
        report_marked(out, t, p, size, where);
    else
        report_bitmap(out, t, p, size);
    flush_edges(out);
}

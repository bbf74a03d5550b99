/* verify.c - an independent check of a mark: one thread, no prefetching.
 *
 * Of the marker it uses the decisions which finalizers run and which words count, and the queue of
 * what mark functions mark. It checks that M is closed. In M are the objects of roots, pinned and
 * held objects, and the objects that those in M refer to. So are values of ephemerons, objects that
 * finalizers have yet to see, and the finalizers' ctx.
 * Nothing that clearing has left dangles. In M are the targets of weak handles, the objects of
 * links, the keys of ephemerons, and the objects of waiting cleanups. So are the handles, and
 * the objects that links lie in.
 * Objects that a hook of the host has unmarked may be referred to and be dead (oaki_unmark).
 * precise.c checks that M has no more than the reachable objects. Mark functions get a marker
 * that only records the words they mark (edges.c).
 *
 * Owns: oaki_gc.debug.verifier. Invariant: the first error found is kept. Lock: the world is
 * stopped. */
#include "verify.h"
#include "edges.h"
#include "gc/contract.h"
#include "gc/refs/link.h"
#include "gc/trace/reading.h"
#include "gc/trace/trace.h"
#include "runtime/track.h"
#include <oakum/gc.h>

static void report(oaki_verifier *v, const char *by, const void *at, const char *how)
{
    if (v->by) return;
    v->by = by;
    v->at = at;
    v->how = how;
}

static OAKI_NOINLINE void find_own(oaki_verifier *v)
{
    const char *here = __builtin_frame_address(0);
    v->own_lo = here - OAK_STACK_MIN;
    v->own_hi = oaki_thread_self()->sp;
}

/* May the word be older than the object that it now refers to (freed.c)? Not in a full mark in one
 * pause: that finds what stale words refer to. */
static bool is_stale(size_t to)
{
    bool whole = oaki_gc.kind == OAKI_FULL && oaki_gc.mode == OAKI_STOPPED;
    return !whole && oaki_freed_has(to);
}

/* A reference to offset `to`. any: it counts whichever byte of an object that is. */
static void check_reference(oaki_verifier *v, size_t to, bool any, const char *by, const void *at)
{
    size_t slot = any || oaki_mark_counts(to) ? oaki_slot_offset(to) : SIZE_MAX;
    bool counts = slot != SIZE_MAX && !oaki_mark_get(slot);
    if (counts && !is_stale(to) && !oaki_host_is_unmarked(slot))
        report(v, by, at, "refers to an object that is not marked");
}

OAKI_NO_ASAN static void check_word(oaki_verifier *v, uintptr_t w, bool any, const char *by,
                                    const void *at)
{
    size_t to[OAKI_WORD_REFS];
    unsigned n = oaki_word_refs(w, AO_load(&oaki_the_heap.used), to);
    if (n == 0 || ((const char *)at >= v->own_lo && (const char *)at < v->own_hi)) return;
    for (; n > 0; n--) check_reference(v, to[n - 1], any, by, at);
}

/* Is the object that contains off marked and allocated? A slot that is not allocated may be
 * marked. */
static bool is_alive(size_t off)
{
    size_t slot = oaki_slot_offset(off);
    return slot != SIZE_MAX && oaki_bit_get(oaki_the_heap.alloc, slot) && oaki_mark_get(slot);
}

/* The collector's own records name live objects, or addresses outside of the heap. */
static void check_named(oaki_verifier *v, const void *p, const char *by, const void *at)
{
    if (oaki_heap_contains(p) && !is_alive(oaki_heap_offset(p)))
        report(v, by, at, "refers to an object that is not alive");
}

static void check_itself(oaki_verifier *v, const void *obj, const char *what)
{
    if (!is_alive(oaki_heap_offset(obj))) report(v, what, obj, "is not alive");
}

OAKI_NO_ASAN static void check_range(oaki_verifier *v, const char *lo, const char *hi)
{
    for (; lo + sizeof(uintptr_t) <= hi; lo += sizeof(uintptr_t))
        check_word(v, *(const uintptr_t *)lo, false, "an object", lo);
}

/* ---- roots ---- */

/* The second mark starts from the word, too (precise.c). */
static void reach_word(uintptr_t w, bool any)
{
    size_t to[OAKI_WORD_REFS];
    for (unsigned n = oaki_word_refs(w, AO_load(&oaki_the_heap.used), to); n > 0; n--)
        if (any || oaki_mark_counts(to[n - 1])) oaki_precise_reach(to[n - 1]);
}

/* May the word have changed in this pause? With the static library, Oakum's counters are data of
 * the program. By a loose tag a small number is a reference. */
static bool may_be_counter(const oaki_root *r, uintptr_t w)
{
    return oaki_tags.loose && r->kind == OAKI_ROOT_DATA &&
           !oaki_heap_contains((const void *)w);
}

/* The byte before an address on a stack, whatever a word of that value would mean. */
static void check_before(oaki_verifier *v, uintptr_t address, const void *at)
{
    size_t off = address - 1 - oaki_the_heap.base;
    if (off >= AO_load(&oaki_the_heap.used)) return;
    check_word(v, oaki_the_heap.base + off, true, "a root", at);
    oaki_precise_reach(off);
}

/* The word leads nowhere; on a stack a pointer to the end of an object leads to it, too. */
static bool is_nothing(uintptr_t w, bool past_end)
{
    size_t used = AO_load(&oaki_the_heap.used), to[OAKI_WORD_REFS];
    return oaki_word_refs(w, used, to) == 0 && (!past_end || w - 1 - oaki_the_heap.base >= used);
}

/* A program's data are mostly zero: a word like the one before it, which leads nowhere, is passed
 * over. */
OAKI_NO_ASAN static void check_root(const oaki_root *r, void *ctx)
{
    oaki_verifier *v = ctx;
    const char *p = (const char *)OAKI_ALIGN_UP((uintptr_t)r->lo, sizeof(uintptr_t));
    uintptr_t before = 0;
    for (bool nothing = false; p + sizeof(uintptr_t) <= r->hi; p += sizeof(uintptr_t)) {
        uintptr_t w = *(const uintptr_t *)p;
        if (nothing && w == before) continue;
        before = w;
        nothing = is_nothing(w, r->past_end);
        if (nothing) continue;
        reach_word(w, r->past_end);
        if (!may_be_counter(r, w)) check_word(v, w, r->past_end, "a root", p);
        if (r->past_end) check_before(v, w, p);
    }
}

/* An edge is a reference already: it is not decoded as a word again. */
static void check_root_edges(oaki_verifier *v, const oaki_edge *edge, size_t n, const char *by)
{
    for (size_t i = 0; i < n; i++) {
        check_reference(v, edge[i].to, true, by, NULL);
        oaki_precise_reach(edge[i].to);
    }
}

static void check_host_root(void *ctx, const oaki_edge *edge, size_t n)
{
    check_root_edges(ctx, edge, n, "a host's root");
}

static void check_held(void *ctx, void *obj)
{
    oaki_verifier *v = ctx;
    check_itself(v, obj, "a held object");
    oaki_precise_reach(oaki_heap_offset(obj));
}

static void check_pinned(size_t off, void *ctx)
{
    oaki_verifier *v = ctx;
    check_itself(v, (char *)oaki_the_heap.base + off, "a pinned object");
    oaki_precise_reach(off);
}

static void check_protected(void *ctx, const oaki_edge *edge, size_t n)
{
    check_root_edges(ctx, edge, n, "an object to be disclaimed");
}

static void check_protecting(void *ctx, size_t slot)
{
    oaki_edges_of(slot, false, check_protected, ctx);
}

/* ---- references that are cleared ---- */

/* After clearing, an ephemeron's handle is alive, and so is its key. */
static void check_pair(void *ctx, void *handle, void *key, void *value)
{
    oaki_verifier *v = ctx;
    check_itself(v, handle, "the handle of an ephemeron");
    check_named(v, key, "the key of an ephemeron", handle);
    check_word(v, (uintptr_t)value, true, "an ephemeron", handle);
}

static void check_weak(void *ctx, const void *handle, const void *obj, const void *target)
{
    oaki_verifier *v = ctx;
    check_itself(v, handle, "a weak handle");
    check_named(v, target, "a weak handle", handle);
    check_named(v, obj, "the record of a weak handle", handle);
}

/* Checks the object, and the holder, where the link will be cleared later. */
static void check_link(void *ctx, void **link, const void *obj, bool is_long)
{
    oaki_verifier *v = ctx;
    check_named(v, obj, is_long ? "a long link" : "a short link", link);
    check_word(v, (uintptr_t)link, true, "the record of a link", link);
}

/* Waiting records have an object, also those of cleanups. */
static void check_finalizer(void *ctx, const oaki_finalizer_record *r)
{
    oaki_verifier *v = ctx;
    check_word(v, (uintptr_t)r->ctx, true, "the ctx of a finalizer", r->obj);
    reach_word((uintptr_t)r->ctx, true);
    if (r->cleanup && r->ready) return;
    check_named(v, r->obj, r->cleanup ? "a cleanup" : "a finalizer", r->obj);
    if (!r->cleanup) oaki_precise_reach(oaki_heap_offset(r->obj));
}

/* ---- objects ---- */

/* The edges of a mark function's object. slot: an offset, as a pointer would keep the object
 * alive. */
typedef struct from_marked {
    oaki_verifier *v;
    size_t slot;
} from_marked;

static void check_marked(void *ctx, const oaki_edge *edge, size_t n)
{
    const from_marked *from = ctx;
    const char *p = (char *)oaki_the_heap.base + from->slot;
    for (size_t i = 0; i < n; i++)
        check_reference(from->v, edge[i].to, true, "a mark function's object", p);
}

OAKI_NO_ASAN static void check_typed(oaki_verifier *v, const char *p, size_t size)
{
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(p)));
    from_marked from = { v, oaki_heap_offset(p) };
    if (!t)
        check_range(v, p, p + size);
    else if (t->mark)
        oaki_edges_of(from.slot, false, check_marked, &from);
    else
        for (size_t left = size; left >= t->elem_size; left -= t->elem_size, p += t->elem_size)
            for (size_t i = 0; i < t->nwords; i++)
                if (t->bitmap[i / 64] >> (i % 64) & 1)
                    check_word(v, ((const uintptr_t *)p)[i], false, "a typed object", p);
}

static void check_span(oaki_verifier *v, const oaki_span *s)
{
    const oaki_heap *h = &oaki_the_heap;
    if (s->kind == OAKI_NOSCAN) return;
    size_t base = oaki_span_slot(s);
    bool large = s->cls == OAKI_CLASS_LARGE;
    size_t head = large ? (size_t)s->cursor << OAKI_PAGE_SHIFT : 0;
    size_t slots = large ? 1 : oaki_classes[s->cls].nslots;
    for (size_t i = 0; i < slots; i++) {
        size_t off = base + i * s->size;
        const char *p = (const char *)h->base + off;
        if (!oaki_bit_get(h->alloc, off) || !oaki_mark_get(off) || oaki_host_is_unscanned(off))
            continue;
        if (s->kind == OAKI_TYPED)
            check_typed(v, p, s->size);
        else
            check_range(v, p + head, p + s->size);
    }
}

void oaki_verify_rule(const char *(*check)(void))
{
    const char *rule = OAKI_UNLIKELY(oaki_debug_switches.verify) ? check() : NULL;
    if (rule) oak_fatal("oakum: verify: %s", rule);
}

void oaki_verify(bool whole)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_HELPER();
    oaki_heap *h = &oaki_the_heap;
    oaki_verifier *v = &oaki_gc.debug.verifier;
    v->by = NULL;
    find_own(v);
    oaki_heap_check();
    if (whole) oaki_precise_begin();
    oaki_ephemerons_each(check_pair, v);
    oaki_finalizers_each(check_finalizer, v);
    oaki_weak_each(check_weak, v);
    oaki_links_each(check_link, v);
    oaki_pinned_visit(check_pinned, v);
    oaki_held_each(check_held, v);
    oaki_disclaim_each(check_protecting, v);
    oaki_roots_visit(check_root, v);
    oaki_edges_of_host_roots(check_host_root, v);
    oaki_precise_end();
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) check_span(v, &h->spans[page]);
    if (v->by) oak_fatal("oakum: verify: %s at %p %s", v->by, v->at, v->how);
}

/* verify.c - the second opinion on a mark: one thread, one stack, no prefetching, bits of its
 * own.
 *
 * It asks nothing of the marker but which finalizers are to run; what is checked is that M is
 * closed: the roots' objects are in M, and the objects that those in M refer to; the value of each
 * pair whose handle and key are; the objects that finalizers have yet to see, and what these are
 * called with. Mark functions are called with a marker that only notes what they mark (follow.c).
 */
#include "verify.h"
#include "follow.h"
#include "mark.h"
#include "runtime/track.h"

/* The first that is found: what is noted here may itself be a root. */
static const char *broken_by;
static const void *broken_at;

/* any: whichever byte of an object it points to. */
OAKI_NO_ASAN static void check_word(uintptr_t w, bool any, const char *by, const void *at)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t off = w - h->base;
    if (off >= AO_load(&h->used) || !(any || oaki_mark_counts(off))) return;
    size_t slot = oaki_slot_offset(off);
    if (slot == SIZE_MAX || oaki_mark_get(slot) || broken_by) return;
    broken_by = by;
    broken_at = at;
}

OAKI_NO_ASAN static void check_range(const char *lo, const char *hi, bool any, const char *by)
{
    lo = (const char *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof(uintptr_t));
    for (; lo + sizeof(uintptr_t) <= hi; lo += sizeof(uintptr_t))
        check_word(*(const uintptr_t *)lo, any, by, lo);
}

static void check_root(const oaki_root *r, void *ctx)
{
    (void)ctx;
    check_range(r->lo, r->hi, r->past_end, "a root");
}

static void check_host_root(void *ctx, const oaki_edge *edge, size_t n)
{
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        check_word(oaki_the_heap.base + edge[i].to, true, "a host's root", NULL);
}

static void check_held(void *ctx, void *obj)
{
    (void)ctx;
    check_word((uintptr_t)obj, true, "what is held", NULL);
}

static void check_pair(void *ctx, void *handle, void *key, void *value)
{
    (void)ctx;
    if (oaki_is_marked(handle) && oaki_is_marked(key))
        check_word((uintptr_t)value, true, "an ephemeron", handle);
}

static void check_finalizer(void *ctx, const oaki_finalizer_record *r)
{
    (void)ctx;
    check_word((uintptr_t)r->ctx, true, "the ctx of a finalizer", r->obj);
    if (!r->cleanup) check_word((uintptr_t)r->obj, true, "a finalizer", r->obj);
}

/* slot: as an offset, as it is kept, where a pointer would keep the object. */
static void check_marked(void *slot, const oaki_edge *edge, size_t n)
{
    const char *p = (char *)oaki_the_heap.base + (uintptr_t)slot;
    for (size_t i = 0; i < n; i++)
        check_word(oaki_the_heap.base + edge[i].to, false, "a mark function's object", p);
}

OAKI_NO_ASAN static void check_typed(const char *p, size_t size)
{
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(p)));
    if (!t)
        check_range(p, p + size, false, "an object");
    else if (t->mark)
        oaki_follow_edges(oaki_heap_offset(p), false, check_marked, (void *)oaki_heap_offset(p));
    else
        for (size_t left = size; left >= t->elem_size; left -= t->elem_size, p += t->elem_size)
            for (size_t i = 0; i < t->nwords; i++)
                if (t->bitmap[i / 64] >> (i % 64) & 1)
                    check_word(((const uintptr_t *)p)[i], false, "a typed object", p);
}

static void check_span(const oaki_span *s)
{
    const oaki_heap *h = &oaki_the_heap;
    if (s->kind == OAKI_NOSCAN) return;
    size_t base = oaki_heap_offset(oaki_span_start(s));
    bool large = s->cls == OAKI_CLASS_LARGE;
    size_t head = large ? (size_t)s->cursor << OAKI_PAGE_SHIFT : 0;
    size_t slots = large ? 1 : oaki_classes[s->cls].nslots;
    for (size_t i = 0; i < slots; i++) {
        size_t off = base + i * s->size;
        const char *p = (const char *)h->base + off;
        if (!oaki_bit_get(h->alloc, off) || !oaki_mark_get(off) || oaki_host_is_unscanned(off))
            continue;
        if (s->kind == OAKI_TYPED)
            check_typed(p, s->size);
        else
            check_range(p + head, p + s->size, false, "an object");
    }
}

void oaki_verify(void)
{
    oaki_heap *h = &oaki_the_heap;
    broken_by = NULL;
    const char *rule = oaki_pages_check();
    if (rule) oak_fatal("oakum: verify: %s", rule);
    oaki_ephemerons_each(check_pair, NULL);
    oaki_finalizers_each(check_finalizer, NULL);
    oaki_roots_visit(check_root, NULL);
    oaki_follow_host_roots(check_host_root, NULL);
    oaki_hold_each(check_held, NULL);
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) check_span(&h->spans[page]);
    if (broken_by)
        oak_fatal("oakum: verify: %s at %p refers to an object that is not marked", broken_by,
                  broken_at);
}

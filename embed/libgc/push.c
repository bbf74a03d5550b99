/* push.c - roots that the program itself pushes in each mark.
 *
 * Each root phase calls GC_push_other_roots, with the world stopped. The functions here then mark
 * with worker 0's marker. Outside of a root phase they do nothing, as there is no mark stack. Lock:
 * the world is stopped. */
#include "libgc.h"
#include "runtime/phase.h"

static void push_roots(void *ctx, oak_marker *m)
{
    (void)ctx;
    GC_push_other_roots_proc fn = GC_push_other_roots;
    lgc_toggle_mark(m);
    lgc_roots_mark(m);
    if (!fn) return;
    lgc.marker = m;
    fn();
    lgc.marker = NULL;
}

void lgc_push_init(void)
{
    if (oaki_gc_at_roots(push_roots, NULL) != 0)
        lgc_start_fails("not enough memory");
}

void GC_push_all(void *bottom, void *top)
{
    if (lgc.marker && top > bottom)
        oak_mark_range(lgc.marker, bottom, (size_t)((char *)top - (char *)bottom));
}

void GC_push_all_eager(void *bottom, void *top)
{
    if (lgc.marker && top > bottom) oaki_mark_range_ambiguous(lgc.marker, bottom, top);
}

/* Push all pages: which of them are dirty is not known here. */
void GC_push_conditional(void *bottom, void *top, int all)
{
    (void)all;
    GC_push_all(bottom, top);
}

/* Does nothing: the collector marks its own tables. */
void GC_push_finalizer_structures(void)
{
}

/* The object's slot, if the last collection has decided about it and no sweep has come by since;
 * otherwise SIZE_MAX. Under the allocation lock no collection begins. */
static size_t unswept_slot(const void *p)
{
    const oaki_heap *h = &oaki_the_heap;
    if (!oaki_heap_contains(p) || oaki_is_marking()) return SIZE_MAX;
    size_t slot = oaki_slot_offset(oaki_heap_offset(p));
    if (slot == SIZE_MAX || !oaki_bit_get(h->alloc, slot)) return SIZE_MAX;
    const oaki_span *s = oaki_span_of_offset(slot);
    return AO_int_load_acquire(&s->swept) != (unsigned)AO_load(&h->cycle) ? slot : SIZE_MAX;
}

/* Mark the object that begins at p, even if it is unreachable. Between two marks this keeps an
 * object that is yet to be reclaimed. */
void GC_set_mark_bit(const void *p)
{
    void *obj = lgc.marker ? oaki_object_base(p) : NULL;
    size_t slot = lgc.marker ? SIZE_MAX : unswept_slot(p);
    if (obj) oaki_mark_unscanned(lgc.marker, obj);
    if (slot != SIZE_MAX) oaki_mark_set(slot);
}

/* The inverse. An object in a swept span has no mark. */
void GC_clear_mark_bit(const void *p)
{
    size_t slot = lgc.marker ? SIZE_MAX : unswept_slot(p);
    if (lgc.marker) oaki_unmark(lgc.marker, p);
    if (slot != SIZE_MAX) oaki_mark_clear(slot);
}

/* In a pause that marks: whether the object is marked so far. Otherwise, also during a concurrent
 * mark: whether the object exists, as unmarked objects of the last collection are freed. */
int GC_is_marked(const void *p)
{
    size_t slot = unswept_slot(p);
    if (slot != SIZE_MAX) return oaki_mark_get(slot);
    const void *obj = oaki_object_base(p);
    if (!obj) return 0;
    bool in_mark = oaki_is_marking() && oaki_world_stopped();
    return in_mark ? oaki_is_marked(obj) : 1;
}

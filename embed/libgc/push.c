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

/* Mark the object that begins at p, even if it is unreachable. */
void GC_set_mark_bit(const void *p)
{
    void *obj = lgc.marker ? oaki_object_base(p) : NULL;
    if (obj) oaki_mark_unscanned(lgc.marker, obj);
}

/* In a pause that marks: whether the object is marked so far. Otherwise, also during a concurrent
 * mark: whether the object exists, as unmarked objects of the last collection are freed. */
int GC_is_marked(const void *p)
{
    const void *obj = oaki_object_base(p);
    if (!obj) return 0;
    bool in_mark = oaki_is_marking() && oaki_world_stopped();
    return in_mark ? oaki_is_marked(obj) : 1;
}

/* push.c - roots that the program pushes itself, in each mark.
 *
 * GC_push_other_roots is read in every root phase, with the world stopped, and called; what it
 * calls here marks with worker 0's marker. Outside of a root phase the calls do nothing, as
 * there is no mark stack that would keep what they push.
 * Lock: the world is stopped. */
#include "libgc.h"

static void push_roots(oak_marker *m)
{
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
    if (oaki_gc_at_roots(push_roots) != 0)
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

/* Which pages were written since the last collection isn't told, so all may have been. */
void GC_push_conditional(void *bottom, void *top, int all)
{
    (void)all;
    GC_push_all(bottom, top);
}

/* They are the collector's, and marked by it. */
void GC_push_finalizer_structures(void)
{
}

/* Of the object that begins at p, to which nothing need lead. */
void GC_set_mark_bit(const void *p)
{
    void *obj = lgc.marker ? oaki_object_base(p) : NULL;
    if (obj) oaki_mark_unscanned(lgc.marker, obj);
}

/* In a mark, whether it is marked so far. Outside of one, and while one goes on beside the program,
 * whether the object is there: what the last collection did not mark is gone. */
int GC_is_marked(const void *p)
{
    const void *obj = oaki_object_base(p);
    if (!obj) return 0;
    bool in_mark = AO_load(&oaki_the_heap.marking) && oaki_world_stopped();
    return in_mark ? oaki_is_marked(obj) : 1;
}

/* toggle.c - toggle references, which are strong or weak: a function of the program decides that
 * before each collection. Its answer has to hold in the pause that follows. So if there are such
 * references, all marking is in a pause, on the thread that has called the function.
 *
 * Owns: the table of references, whose addresses are hidden from the collector. Lock: `lock`,
 * inside the runtime; in a pause, none. Bound: O(references) for each collection. */
#include "libgc.h"

#include "gc/settings.h"
#include "runtime/meta.h"

typedef struct ref {
    uintptr_t hidden; /* the object's address, inverted */
    bool strong; /* the last answer; a new reference is strong */
} ref;

static struct {
    oaki_lock lock;
    bool started;
    oaki_vec refs;
} self = { .lock = OAKI_LOCK_INIT(OAKI_RANK_TYPES) };

static void *object_of(const ref *r)
{
    return (void *)~r->hidden;
}

LGC_OUTSIDE(int, GC_toggleref_add, (void *obj, int is_strong), (obj, is_strong))

int GC_toggleref_add(void *obj, int is_strong)
{
    (void)is_strong;
    lgc_ready();
    if (lgc_is_blocked()) return GC_toggleref_add_outside(obj, is_strong);
    if (!lgc.toggleref) return GC_SUCCESS;
    oaki_gc_set_concurrent(false);
    oaki_thread *t = oaki_enter();
    if (!t) return GC_NO_MEMORY;
    oaki_lock_acquire(&self.lock);
    if (!self.started) oaki_vec_init(&self.refs, sizeof(ref), OAKI_META_OTHER);
    self.started = true;
    ref *r = oaki_vec_push(&self.refs);
    if (r) *r = (ref){ ~(uintptr_t)obj, true };
    oaki_lock_release(&self.lock);
    oaki_leave(t);
    return r ? GC_SUCCESS : GC_NO_MEMORY;
}

/* Ask the program's function about each reference. With gc_lock held, no object dies meanwhile.
 * Mutators run, and may append references. */
void lgc_toggle_start(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    GC_toggleref_func fn = lgc.toggleref;
    if (!fn) return;
    oaki_lock_acquire(&self.lock);
    size_t n = self.refs.len, kept = 0;
    oaki_lock_release(&self.lock);
    for (size_t i = 0; i < n; i++) {
        oaki_lock_acquire(&self.lock);
        ref r = ((ref *)self.refs.items)[i];
        oaki_lock_release(&self.lock);
        GC_ToggleRefStatus status = fn(object_of(&r));
        if (status == GC_TOGGLE_REF_DROP) continue;
        r.strong = status == GC_TOGGLE_REF_STRONG;
        oaki_lock_acquire(&self.lock);
        ((ref *)self.refs.items)[kept++] = r;
        oaki_lock_release(&self.lock);
    }
    oaki_lock_acquire(&self.lock);
    ref *all = self.refs.items;
    for (size_t i = n; i < self.refs.len; i++) all[kept++] = all[i];
    self.refs.len = kept;
    oaki_lock_release(&self.lock);
}

void lgc_toggle_mark(oak_marker *m)
{
    const ref *r = self.refs.items;
    for (size_t i = 0; i < self.refs.len; i++)
        if (r[i].strong) oak_mark_ptr(m, object_of(&r[i]));
}

/* Drop references to dead objects. */
void lgc_toggle_marked(void)
{
    ref *r = self.refs.items;
    size_t kept = 0;
    for (size_t i = 0; i < self.refs.len; i++)
        if (oaki_is_marked(object_of(&r[i]))) r[kept++] = r[i];
    self.refs.len = kept;
}

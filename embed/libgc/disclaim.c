/* disclaim.c - functions that are called before the objects of a kind are reclaimed, and finalized
 * objects, which are built on them.
 *
 * The heap calls them (gc/disclaim.c) after the pause, with the allocation lock held. As in libgc,
 * none is called while leaks are searched, nor for objects that GC_free frees.
 *
 * The kinds 0 and 1 have no type that could have a function. So with a function they get one, and
 * objects of these kinds are made with it as soon as the threads' runs are used up. As in libgc,
 * earlier objects are not asked for, and the library's own may be. Uncollectable objects are never
 * reclaimed.
 *
 * A finalized object has its closure in its first word, marked by the lowest bit. The program gets
 * the address after that word. The word is zero in an object that has no closure yet.
 *
 * Owns: the kind of finalized objects. Lock: `once`; a kind's function is set while the world is
 * stopped. */
#include "libgc.h"

#define FLAG 1u /* in the address of a closure */

static struct {
    pthread_once_t once;
    AO_t kind; /* or 0 */
} self = { .once = PTHREAD_ONCE_INIT };

static bool ask(void *obj, const void *layout)
{
    return ((const lgc_layout *)layout)->disclaim(obj) != 0;
}

/* Of kinds 0 and 1. */
static lgc_layout predefined[2] = { { .descr = GC_DS_LENGTH, .kind = GC_KIND_ATOMIC },
                                    { .plain = true, .kind = GC_KIND_NORMAL } };

LGC_OUTSIDE(void, GC_register_disclaim_proc, (int kind, GC_disclaim_proc fn, int protects),
            (kind, fn, protects))

void GC_register_disclaim_proc(int kind, GC_disclaim_proc fn, int protects)
{
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_register_disclaim_proc_outside(kind, fn, protects);
        return;
    }
    if (GC_find_leak || kind == GC_KIND_UNCOLLECTABLE || kind == GC_KIND_ATOMIC_UNCOLLECTABLE)
        return;
    bool own = kind != GC_KIND_ATOMIC && kind != GC_KIND_NORMAL;
    lgc_layout *l = own ? lgc_kind(kind) : &predefined[kind];
    const oak_type *t = oaki_type_by_id(lgc_layout_type(l));
    l->disclaim = fn; /* before the type asks */
    if (!t || oaki_type_disclaim(t, ask, protects != 0) != 0)
        oak_fatal("oakum: GC_register_disclaim_proc: out of memory");
    if (!own) AO_store_release(&lgc.disclaiming[kind], t->id);
}

/* ---- finalized objects ---- */

static int finalize(void *obj)
{
    uintptr_t word = *(const uintptr_t *)obj;
    const struct GC_finalizer_closure *c = (const void *)(word & ~(uintptr_t)FLAG);
    if (word & FLAG) c->proc((void **)obj + 1, c->cd);
    return 0;
}

static void make_kind(void)
{
    GC_register_displacement(sizeof(void *));
    GC_register_displacement(FLAG);
    unsigned kind = GC_new_kind(GC_new_free_list_inner(), GC_DS_LENGTH, 1, 1);
    GC_register_disclaim_proc((int)kind, finalize, 1);
    AO_store_release(&self.kind, kind);
}

void GC_init_finalized_malloc(void)
{
    lgc_ready();
    pthread_once(&self.once, make_kind);
}

void *GC_finalized_malloc(size_t n, const struct GC_finalizer_closure *closure)
{
    size_t want;
    int kind = (int)AO_load_acquire(&self.kind);
    if (kind == 0) oak_fatal("oakum: GC_finalized_malloc: without GC_init_finalized_malloc");
    if (__builtin_add_overflow(n, sizeof(void *), &want)) return lgc_out_of_memory(n);
    void **p = lgc_alloc_layout(want, lgc_kind(kind));
    if (!p) return NULL;
    *p = (char *)(uintptr_t)closure + FLAG;
    return p + 1;
}

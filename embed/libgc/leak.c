/* leak.c - GC_find_leak: reports objects that a collection finds unreachable as leaked.
 *
 * Leaked objects are recorded between the mark and the sweep, and kept until they are reported.
 * That is after the collection, in GC_gcollect or at exit, outside of the runtime: the program's
 * describing function may allocate, wait and collect. Then they are freed. As in libgc, an object
 * is kept without what it refers to. Uncollectable objects are roots, and so never leak.
 *
 * Owns: the addresses of the recorded objects, inverted, as static data are roots. Lock: the world
 * is stopped, or gc_lock. */
#include "libgc.h"

#include "gc/trace/trace.h"
#include "runtime/markbits.h"
#include <stdlib.h>

#define LEAKS_MAX 64

static struct {
    size_t n, more;
    uintptr_t hidden[LEAKS_MAX];
} self;

static void *leaked(size_t i)
{
    return (void *)~self.hidden[i];
}

/* The kind's number of an object that is neither pinned nor held. */
static int kind_of(const void *p)
{
    const oaki_span *s = oaki_span_of_offset(oaki_heap_offset(p));
    const lgc_layout *l = s->kind == OAKI_TYPED ? oaki_type_data_of(p) : NULL;
    if (l) return l->kind;
    return s->kind == OAKI_NOSCAN ? GC_KIND_ATOMIC : GC_KIND_NORMAL;
}

static void keep(void *p)
{
    oaki_mark_unscanned(oaki_worker(0), p);
}

static void note(char *p)
{
    if (self.n == LEAKS_MAX) {
        self.more++;
        return;
    }
    self.hidden[self.n++] = ~(uintptr_t)p;
    keep(p);
}

static void look_in(const oaki_span *s)
{
    char *start = oaki_span_start(s);
    size_t count = s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
    for (size_t i = 0; i < count; i++) {
        char *p = start + i * s->size;
        size_t off = oaki_heap_offset(p);
        if (oaki_bit_get(oaki_the_heap.alloc, off) && !oaki_mark_get(off)) note(p);
    }
}

/* Those that are not reported yet are kept again. */
void lgc_leak_marked(void)
{
    const oaki_heap *h = &oaki_the_heap;
    if (!GC_find_leak) self.n = self.more = 0;
    if (!GC_find_leak) return;
    for (size_t i = 0; i < self.n; i++) keep(leaked(i));
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) look_in(&h->spans[page]);
}

static void tell(void *p)
{
    int kind = kind_of(p), line = 0;
    size_t size = GC_size(p);
    const char *what = kind == GC_KIND_ATOMIC ? "atomic" : "composite", *file = NULL;
    char described[GC_TYPE_DESCR_LEN + 1];
    lgc_describe(p, kind, described);
    const char *comma = described[0] ? ", " : "";
    if (lgc_debug_where(p, &file, &line, &size))
        lgc_err("Leaked %s object at %p (%s:%d, sz=%zu%s%s)\n", what, p, file, line, size, comma,
                described);
    else
        lgc_err("Leaked %s object at %p (appr. size = %zu%s%s)\n", what, p, size, comma, described);
}

/* Take the recorded objects into `out`, which keeps them from then on. Returns how many. */
static size_t take(void *out[LEAKS_MAX], size_t *more)
{
    size_t n = 0;
    if (oaki_gc_exclude() != 0) return 0;
    for (; n < self.n; n++) out[n] = leaked(n);
    *more = self.more;
    self.n = self.more = 0;
    oaki_gc_release();
    return n;
}

void lgc_leak_report(void)
{
    void *found[LEAKS_MAX];
    size_t more, n = GC_find_leak ? take(found, &more) : 0;
    if (n == 0) return;
    for (size_t i = 0; i < n; i++) tell(found[i]);
    if (more) lgc_err("... and %zu more\n", more);
    for (size_t i = 0; i < n; i++) GC_free(found[i]);
    if (lgc.abort_on_leak) abort();
}

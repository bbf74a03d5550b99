/* leak.c - GC_find_leak: reports objects that a collection finds unreachable as leaked.
 *
 * Leaked objects are recorded between the mark and the sweep, with the text that the program's
 * describing function gives for them. They are reported after the collection, in GC_gcollect or at
 * exit. Uncollectable objects are roots, and so never leak.
 *
 * Owns: the recorded objects. Lock: the world is stopped, or none. */
#include "libgc.h"

#include "runtime/markbits.h"
#include <stdlib.h>

#define LEAKS_MAX 64

typedef struct leak {
    uintptr_t hidden; /* the object's address, inverted */
    size_t size;
    const char *file; /* NULL: not known */
    int line;
    bool composite;
    char described[GC_TYPE_DESCR_LEN + 1];
} leak;

static struct {
    size_t n, more;
    leak found[LEAKS_MAX];
} self;

/* The kind's number of an object that is neither pinned nor held. */
static int kind_of(const void *p, const oaki_span *s)
{
    const lgc_layout *l = s->kind == OAKI_TYPED ? oaki_type_data_of(p) : NULL;
    if (l) return l->kind;
    return s->kind == OAKI_NOSCAN ? GC_KIND_ATOMIC : GC_KIND_NORMAL;
}

static void note(char *p, const oaki_span *s)
{
    if (self.n == LEAKS_MAX) {
        self.more++;
        return;
    }
    leak *l = &self.found[self.n++];
    int kind = kind_of(p, s);
    *l = (leak){ .hidden = ~(uintptr_t)p, .size = s->size, .composite = kind != GC_KIND_ATOMIC };
    lgc_describe(p, kind, l->described);
    (void)lgc_debug_where(p, &l->file, &l->line, &l->size);
}

static void look_in(const oaki_span *s)
{
    char *start = oaki_span_start(s);
    size_t count = s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
    for (size_t i = 0; i < count; i++) {
        char *p = start + i * s->size;
        size_t off = oaki_heap_offset(p);
        if (oaki_bit_get(oaki_the_heap.alloc, off) && !oaki_mark_get(off)) note(p, s);
    }
}

void lgc_leak_marked(void)
{
    const oaki_heap *h = &oaki_the_heap;
    if (!GC_find_leak) return;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) look_in(&h->spans[page]);
}

static void tell(const leak *l)
{
    const void *p = (const void *)~l->hidden;
    const char *what = l->composite ? "composite" : "atomic", *comma = l->described[0] ? ", " : "";
    if (l->file)
        lgc_err("Leaked %s object at %p (%s:%d, sz=%zu%s%s)\n", what, p, l->file, l->line, l->size,
                comma, l->described);
    else
        lgc_err("Leaked %s object at %p (appr. size = %zu%s%s)\n", what, p, l->size, comma,
                l->described);
}

void lgc_leak_report(void)
{
    if (self.n == 0) return;
    for (size_t i = 0; i < self.n; i++) tell(&self.found[i]);
    if (self.more) lgc_err("... and %zu more\n", self.more);
    self.n = self.more = 0;
    if (lgc.abort_on_leak) abort();
}

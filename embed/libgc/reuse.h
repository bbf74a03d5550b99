/* reuse.h - small objects that GC_free gave back: kept by the thread, for its next requests
 * of the same size and kind.
 *
 * A program that frees much of what it allocates would otherwise pay the heap's bitmaps and counts,
 * which other threads may look at, for each object. Here an object stays allocated for the heap,
 * and its address is in the thread's table, which is a root: so it can't be collected, and a stop
 * may come at any moment. It is cleared when it comes, and so refers to nothing.
 *
 * A request is served from here when the thread's run is empty (the slow path of GC_malloc): so a
 * program that frees as much as it allocates never gets a new run.
 *
 * Owns: the thread's table, oaki_thread.kept: not in thread-local storage, of which a library that
 * is dlopen'ed gets some hundred bytes; it goes when the thread detaches, and leaves its objects to
 * the collector. Lock: none. Bound: LGC_REUSE_DEPTH looks, for an object that is given back twice
 * by this thread; that another one has kept it is not noticed. */
#ifndef LIBGC_REUSE_H
#define LIBGC_REUSE_H

#include "libgc.h"

#include "runtime/plain.h"
#include <string.h>

#define LGC_REUSE_CLASSES 32
#define LGC_REUSE_DEPTH 16

typedef struct lgc_reuse {
    uint8_t n[2][LGC_REUSE_CLASSES]; /* by OAKI_SCAN or OAKI_NOSCAN, and size class */
    char *slot[2][LGC_REUSE_CLASSES][LGC_REUSE_DEPTH];
} lgc_reuse;

/* The calling thread gets one. NULL without memory. */
lgc_reuse *lgc_reuse_new(void);

/* One of this kind and class, or NULL. What it holds is zero, unless it is not scanned. */
OAKI_INLINE void *lgc_reuse_take(oaki_kind kind, unsigned cls)
{
    const oaki_thread *t = oaki_tls_thread;
    lgc_reuse *r = t ? t->kept : NULL;
    if (!r || cls >= LGC_REUSE_CLASSES || r->n[kind][cls] == 0) return NULL;
    char **slot = &r->slot[kind][cls][r->n[kind][cls] - 1], *p = *slot;
    *slot = NULL;
    r->n[kind][cls]--;
    return p;
}

/* Keep the object that begins at p, whose span is plain. false: it has to be freed. */
OAKI_INLINE bool lgc_reuse_give(const oaki_span *s, char *p)
{
    const oaki_thread *t = oaki_tls_thread;
    unsigned kind = s->kind, cls = s->cls;
    if (kind > OAKI_NOSCAN || cls >= LGC_REUSE_CLASSES) return false;
    lgc_reuse *r = OAKI_LIKELY(t && t->kept) ? t->kept : lgc_reuse_new();
    if (!r) return false;
    unsigned n = r->n[kind][cls];
    char **slot = r->slot[kind][cls];
    for (unsigned i = 0; i < n; i++)
        if (OAKI_UNLIKELY(slot[i] == p))
            oak_fatal("oakum: GC_free: %p is not in a live object: was it freed already?", p);
    if (n == LGC_REUSE_DEPTH) return false;
    if (kind == OAKI_SCAN) memset(p, 0, s->size);
    slot[n] = p;
    r->n[kind][cls] = (uint8_t)(n + 1);
    return true;
}

#endif

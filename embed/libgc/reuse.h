/* reuse.h - a thread's table of small objects that GC_free has freed, for the thread's next
 * requests of the same size and kind.
 *
 * Otherwise each free would have to update the heap's bitmaps and counts, which other threads read.
 * An object in the table stays allocated for the heap. The table is a root, so its objects can't be
 * collected, and a pause may happen at any moment. GC_free clears the object, so it refers to
 * nothing.
 *
 * The table serves a request when the thread's run is empty, in the slow path of GC_malloc. So a
 * program that frees as much as it allocates never needs a new run.
 *
 * Owns: the thread's table, oaki_thread.kept. It is not in thread-local storage, as a dlopen'ed
 * library gets only some hundred bytes of that. The table ends when the thread detaches; its
 * objects are left to the collector. A collection that allocations at a limit wait for empties all
 * tables, so a slot below n may be NULL. Lock: none; others change it in a stop. Bound: a double
 * free by this thread is found in LGC_REUSE_DEPTH steps. An object in another thread's table is not
 * noticed. */
#ifndef LIBGC_REUSE_H
#define LIBGC_REUSE_H

#include "libgc.h"

#include "runtime/plain.h"
#include <string.h>

#define LGC_REUSE_CLASSES 32
#define LGC_REUSE_DEPTH 16

typedef struct lgc_reuse {
    unsigned char n[2][LGC_REUSE_CLASSES]; /* AO_char; by kind, and size class */
    char *slot[2][LGC_REUSE_CLASSES][LGC_REUSE_DEPTH];
} lgc_reuse;

/* Make the calling thread's table. NULL without memory. */
lgc_reuse *lgc_reuse_new(void);

/* World stopped, before the mark: the objects of all tables are left to it. */
void lgc_reuse_empty(void);

/* Take an object of this kind and class, or NULL. It is zero, unless it is of the unscanned kind.
 */
OAKI_INLINE void *lgc_reuse_take(oaki_kind kind, unsigned cls)
{
    const oaki_thread *t = oaki_tls_thread;
    lgc_reuse *r = t ? t->kept : NULL;
    if (!r || cls >= LGC_REUSE_CLASSES) return NULL;
    unsigned n = AO_char_load(&r->n[kind][cls]); /* read once: a stop may set it to 0 */
    if (n == 0) return NULL;
    char **slot = &r->slot[kind][cls][n - 1], *p = *slot;
    *slot = NULL;
    AO_char_store(&r->n[kind][cls], (unsigned char)(n - 1));
    return p;
}

/* Put the object that begins at p into the table; its span is plain. Returns false if the caller
 * has to free it. */
OAKI_INLINE bool lgc_reuse_give(const oaki_span *s, char *p)
{
    const oaki_thread *t = oaki_tls_thread;
    unsigned kind = s->kind, cls = s->cls;
    if (kind > OAKI_NOSCAN || cls >= LGC_REUSE_CLASSES) return false;
    lgc_reuse *r = OAKI_LIKELY(t && t->kept) ? t->kept : lgc_reuse_new();
    if (!r) return false;
    unsigned n = AO_char_load(&r->n[kind][cls]);
    char **slot = r->slot[kind][cls];
    for (unsigned i = 0; i < n; i++)
        if (OAKI_UNLIKELY(slot[i] == p))
            oak_fatal("oakum: GC_free: %p is not in a live object: was it freed already?", p);
    if (n == LGC_REUSE_DEPTH) return false;
    if (kind == OAKI_SCAN) memset(p, 0, s->size);
    slot[n] = p;
    AO_char_store(&r->n[kind][cls], (unsigned char)(n + 1));
    return true;
}

#endif

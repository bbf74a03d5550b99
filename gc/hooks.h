/* hooks.h - Oakum's own functions that a cycle calls. oaki_collector has a list for each place.
 *
 * Lock: gc_lock guards the lists. */
#ifndef OAKI_GC_HOOKS_H
#define OAKI_GC_HOOKS_H

#include "runtime/contain.h"
#include "runtime/contract.h"
#include "runtime/heap.h"

#define OAKI_HOOKS 8

typedef void oaki_hook_fn(void *ctx);

typedef struct oaki_hooks {
    struct {
        oaki_hook_fn *fn;
        void *ctx;
    } at[OAKI_HOOKS];
    size_t n;
} oaki_hooks;

OAKI_INLINE void oaki_hooks_call(const oaki_hooks *list)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    for (size_t i = 0; i < list->n; i++) OAKI_CALL_INSIDE(list->at[i].fn(list->at[i].ctx));
}

/* Adds a function, unless it is in the list already with this context. 0, or -1 without memory for
 * the thread. */
OAKI_INLINE int oaki_hook_add(oaki_hooks *list, oaki_hook_fn *fn, void *ctx)
{
    size_t i = 0;
    OAKI_REQUIRES_OUTSIDE();
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
    while (i < list->n && (list->at[i].fn != fn || list->at[i].ctx != ctx)) i++;
    OAKI_INVARIANT(i < OAKI_HOOKS, "more hooks than places");
    list->at[i].fn = fn;
    list->at[i].ctx = ctx;
    list->n = OAKI_MAX(list->n, i + 1);
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_leave(t);
    return 0;
}

#endif

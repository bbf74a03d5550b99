/* starthook.c - the program's functions that are called when a collection begins.
 *
 * Owns: oaki_gc.start_hooks, their list, which is read in a pause. Lock: gc_lock. Memory comes from
 * metadata, before the pause. */
#include "collector.h"
#include "contract.h"
#include "gc.h"
#include "runtime/contain.h"
#include "runtime/meta.h"

#include <errno.h>
#include <oakum/gc.h>
#include <string.h>

typedef struct hook {
    oak_start_fn fn;
    void *ctx;
} hook;

static oaki_vec *const hooks = &oaki_gc.start_hooks;

static void call_all(void *unused)
{
    (void)unused;
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    const hook *h = hooks->items;
    for (size_t i = 0; i < hooks->len; i++) OAKI_CALL_INSIDE(h[i].fn(h[i].ctx));
}

/* Its place, or the number of all. */
static size_t find(oak_start_fn fn, const void *ctx)
{
    const hook *h = hooks->items;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    size_t i = 0;
    while (i < hooks->len && (h[i].fn != fn || h[i].ctx != ctx)) i++;
    return i;
}

static oaki_thread *lock(void)
{
    oaki_thread *t = oaki_enter();
    if (t) oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
    return t;
}

static void unlock(oaki_thread *t)
{
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_leave(t);
}

static bool add(oak_start_fn fn, void *ctx)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (!hooks->item) oaki_vec_init(hooks, sizeof(hook), OAKI_META_OTHER);
    if (find(fn, ctx) < hooks->len) return true;
    hook *h = oaki_vec_push(hooks);
    if (h) *h = (hook){ fn, ctx };
    return h != NULL;
}

int oak_gc_at_start(oak_start_fn fn, void *ctx)
{
    if (!fn) {
        errno = EINVAL;
        return -1;
    }
    if (oaki_gc_at_cycle(call_all, NULL) != 0) return -1;
    oaki_thread *t = lock();
    if (!t) return -1;
    bool added = add(fn, ctx);
    unlock(t);
    if (!added) errno = ENOMEM;
    return added ? 0 : -1;
}

int oak_gc_at_start_remove(oak_start_fn fn, void *ctx)
{
    oaki_thread *t = lock();
    if (!t) return -1;
    hook *h = hooks->items;
    size_t i = find(fn, ctx);
    bool found = i < hooks->len;
    if (found) {
        hooks->len--;
        memmove(&h[i], &h[i + 1], (hooks->len - i) * sizeof *h);
    }
    unlock(t);
    if (!found) errno = ENOENT;
    return found ? 0 : -1;
}

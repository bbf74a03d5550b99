/* worldstop.c - a pause for functions that inspect the heap or change a part of it.
 *
 * Lock: gc_lock, from the stop to the restart. */
#include "contract.h"
#include "gc.h"
#include "runtime/collector.h"
#include "runtime/mcache.h"
#include "runtime/track.h"
#include "sweep.h"

OAKI_NOINLINE oaki_thread *oaki_gc_stop_begin(void)
{
    oaki_thread *t = oaki_enter(); /* fatal inside, in every build */
    if (!t) return NULL;
    for (;;) {
        if (!oaki_roots_refresh(t)) {
            oaki_leave(t);
            return NULL;
        }
        oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
        oaki_thread_save_context(t);
        oaki_helpers_hold();
        if (oaki_world_stop(t)) return t;
        oaki_helpers_release();
        oaki_lock_release(&oaki_the_heap.gc_lock);
    }
}

void oaki_gc_stop_end(oaki_thread *t)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_world_start(t);
    oaki_helpers_release();
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_leave(t);
}

void oaki_caches_flush(void)
{
    OAKI_REQUIRES_STOPPED();
    for (oaki_mcache *mc = oaki_the_heap.mcaches; mc; mc = mc->next) oaki_mcache_flush(mc);
}

/* Only a thread stopped by a signal can be half way through a fast path; elsewhere a word that says
 * so is stale. */
OAKI_NO_ASAN bool oaki_caches_keep_in_flight(const oaki_root *r)
{
    OAKI_REQUIRES_STOPPED();
    if (!r->past_end || !r->thread || !r->thread->pc) return false;
    bool in_flight = false;
    for (const char *p = r->lo; p + sizeof(uintptr_t) <= r->hi; p += sizeof(uintptr_t))
        in_flight |= oaki_mcache_is_fast_path(*(const uintptr_t *)p);
    if (in_flight) oaki_mcache_in_flight(r->thread->mcache);
    return in_flight;
}

static void keep_in_flight(const oaki_root *r, void *ctx)
{
    (void)ctx;
    (void)oaki_caches_keep_in_flight(r);
}

void oaki_gc_flush_caches(void)
{
    oaki_caches_flush();
    oaki_roots_visit(keep_in_flight, NULL);
}

/* settings.c - settings of the collector that change at run time.
 *
 * Owns: oaki_gc.settings. Lock: its own, held for a few instructions, with gc_lock held or not; no
 * other lock is acquired under it. */
#include "settings.h"

#include "collector.h"
#include "pace.h"
#include "runtime/contract.h"
#include "runtime/heap.h"

static oaki_settings *const self = &oaki_gc.settings;

/* The heap is started first, which sets all of them. A thread that a stop may find is inside while
 * it holds the lock; returns it then. */
static oaki_thread *lock(void)
{
    (void)oaki_heap_ready();
    oaki_thread *t = oaki_thread_self();
    t = t && !t->in_runtime ? oaki_enter() : NULL;
    oaki_lock_acquire(&self->lock);
    return t;
}

static void unlock(oaki_thread *t)
{
    oaki_lock_release(&self->lock);
    if (t) oaki_leave(t);
}

void oaki_gc_set_concurrent(bool may)
{
    oaki_thread *t = lock();
    AO_store(&self->concurrent, may);
    unlock(t);
}

void oaki_gc_set_markers(unsigned n)
{
    oaki_thread *t = lock();
    AO_store(&self->markers, n);
    unlock(t);
}

void oaki_gc_set_min_heap(size_t bytes)
{
    oaki_thread *t = lock();
    AO_store(&self->min_heap, bytes);
    unlock(t);
    oaki_pace_refresh();
}

void oaki_gc_set_prefer_stops(bool prefer)
{
    oaki_thread *t = lock();
    AO_store(&self->prefer_stops, prefer);
    unlock(t);
}

void oaki_gc_set_notify_each(bool each)
{
    oaki_thread *t = lock();
    AO_store(&self->notify_each, each);
    unlock(t);
}

void oaki_gc_set_pace_by_finalizers(bool by)
{
    oaki_thread *t = lock();
    AO_store(&self->pace_by_finalizers, by);
    unlock(t);
}

bool oaki_gc_set_finalizer_thread(bool may)
{
    oaki_thread *t = lock();
    bool before = AO_load(&self->finalizer_thread) != 0;
    AO_store(&self->finalizer_thread, may);
    unlock(t);
    return before;
}

bool oaki_gc_has_finalizer_thread(void)
{
    return AO_load(&self->finalizer_thread) != 0;
}

OAKI_AT_START bool oaki_gc_may_be_concurrent(void)
{
    return AO_load(&self->concurrent) != 0;
}

OAKI_AT_START bool oaki_gc_prefers_stops(void)
{
    return AO_load(&self->prefer_stops) != 0;
}

OAKI_AT_START bool oaki_gc_paces_by_finalizers(void)
{
    return AO_load(&self->pace_by_finalizers) != 0;
}

bool oaki_gc_notifies_each(void)
{
    return AO_load(&self->notify_each) != 0;
}

unsigned oaki_gc_markers(void)
{
    return (unsigned)AO_load(&self->markers);
}

OAKI_AT_START size_t oaki_gc_min_heap(void)
{
    return AO_load(&self->min_heap);
}

OAKI_AT_START void oaki_settings_init(void)
{
    const oak_config *c = &oaki_the_heap.config;
    OAKI_REQUIRES_STARTING();
    oaki_lock_init(&self->lock, OAKI_RANK_SETTINGS);
    AO_store(&self->concurrent, c->concurrent != 0);
    AO_store(&self->markers, (AO_t)c->gc_threads);
    AO_store(&self->finalizer_thread, c->finalizer_thread != 0);
    AO_store(&self->min_heap, c->min_heap);
    AO_store(&self->prefer_stops, 0);
    AO_store(&self->notify_each, 0);
    AO_store(&self->pace_by_finalizers, 0);
}

void oaki_settings_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_lock_reset(&self->lock);
}

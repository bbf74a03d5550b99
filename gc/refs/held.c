/* held.c - objects that are kept alive by hand, whatever their kind: a root for each.
 *
 * Pinned objects (span.h) are scanned conservatively and need no record. Held objects may be noscan
 * or typed, and have one.
 *
 * Owns: the table of them by their address.
 * Lock: finalizer_lock, or the world is stopped. Bounds: O(1); in a final pause, O(records that
 *   are not certain). */
#include "gc/contract.h"
#include "gc/gc.h"
#include "gc/host.h"

#include "objtable.h"
#include "tables.h"

static oaki_objtable held;

static oaki_thread *lock(void)
{
    oaki_thread *t = oaki_enter();
    if (t) oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    return t;
}

static void unlock(oaki_thread *t)
{
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
}

int oaki_hold(void *obj)
{
    if (!obj || oaki_object_base(obj) != obj)
        oak_fatal("oakum: hold: %p is not the start of a live object", obj);
    oaki_thread *t = lock();
    if (!t) return -1;
    bool is_new = oaki_objtable_first(&held, obj) == OAKI_RECORD_NONE;
    int result = is_new ? oaki_objtable_reserve(&held) : 0;
    if (is_new && result == 0) {
        (void)oaki_objtable_add(&held, obj, OAKI_RECORD_NONE);
        oaki_special_note(obj);
    }
    unlock(t);
    return result;
}

bool oaki_drop(void *obj)
{
    oaki_thread *t = lock();
    if (!t) return false;
    uint32_t i = oaki_objtable_first(&held, obj);
    if (i != OAKI_RECORD_NONE) oaki_objtable_remove(&held, i);
    unlock(t);
    return i != OAKI_RECORD_NONE;
}

/* Also from inside the runtime: a collection calls functions of the host, which may ask. */
bool oaki_is_held(const void *obj)
{
    if (!oaki_special_possible(obj)) return false;
    const oaki_thread *self = oaki_thread_self();
    bool inside = self && self->in_runtime == OAKI_IN_RUNTIME;
    oaki_thread *t = inside ? NULL : oaki_enter();
    if (!inside && !t) return false;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    bool is_there = oaki_objtable_first(&held, obj) != OAKI_RECORD_NONE;
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    if (t) oaki_leave(t);
    return is_there;
}

/* ---- for the collector ---- */

static void *object_of(uint32_t i)
{
    return ((const oaki_record *)oaki_objtable_at(&held, i))->obj;
}

void oaki_held_mark_roots(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    for (uint32_t i = oaki_objtable_next_uncertain(&held, 0); i < held.records.len;
         i = oaki_objtable_next_uncertain(&held, i + 1))
        oaki_mark_pointer(object_of(i));
}

static void expect(void *ctx, uint32_t i)
{
    (void)ctx;
    oaki_mark_fetch(object_of(i));
}

/* An unmarked object is queued, and will be marked when its record is examined again. */
static bool is_certain(void *ctx, uint32_t i)
{
    (void)ctx;
    if (oaki_is_marked(object_of(i))) return true;
    oaki_mark_pointer(object_of(i));
    return false;
}

static uint32_t table_note_certain(uint32_t from, unsigned most)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    return oaki_objtable_note_certain(&held, from, most, expect, is_certain, NULL);
}

void oaki_held_each(void (*fn)(void *ctx, void *obj), void *ctx)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < held.records.len; i++) fn(ctx, object_of(i));
}

static void table_forget(void *obj)
{
    if (!oaki_special_possible(obj)) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = oaki_objtable_first(&held, obj);
    if (i != OAKI_RECORD_NONE) oaki_objtable_remove(&held, i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

static void table_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < held.records.len;)
        if (oaki_zone_id_of(object_of(i)) == zone)
            oaki_objtable_remove(&held, i);
        else
            i++;
}

const oaki_table_ops oaki_held_table = {
    .table = &held,
    .record = sizeof(oaki_record),
    .keeps = true,
    .note_certain = table_note_certain,
    .forget = table_forget,
    .forget_zone = table_forget_zone,
};

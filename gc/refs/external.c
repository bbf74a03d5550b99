/* external.c - external bytes: memory outside the heap that goes with an object, as the program
 * says.
 *
 * They count as live bytes of the object: in the pacing, in the goal, in its zone's limit. A call
 * that adds some is as an allocation: it pays for a collection that is due, and the heap profile
 * may sample it. Then all the object's bytes are one sample, while it has more than before the
 * call.
 *
 * Owns: the table of objects with such bytes, by their address; the sums `total` and
 *   oak_zone.external.
 * Invariants: an object has at most one record that isn't flagged, and a record has bytes. `total`
 *   is the sum over records that aren't flagged. A zone's `pages` include its external bytes,
 *   rounded up to whole pages.
 * Lock: finalizer_lock, or the world is stopped. Bounds: O(1); in a final pause, O(records that are
 *   not certain). */
#include "gc/contract.h"
#include "gc/gc.h"
#include "gc/tuning.h"
#include "objtable.h"
#include "runtime/collector.h"
#include "runtime/room.h"
#include "tables.h"

#include <errno.h>
#include <oakum/gc.h>

#define MOST (SIZE_MAX / 4) /* bytes in all: sums with the heap's own don't overflow */

typedef struct record {
    oaki_record link;
    size_t bytes;
    /* The heap profile shows the bytes while there are more than this; SIZE_MAX: it doesn't. */
    size_t unsampled;
    uint32_t zone;
} record;

static struct {
    oaki_objtable table;
    AO_t total;         /* bytes */
    size_t marked;      /* total at the end of the last mark */
    AO_t note, changed; /* the heap profile's functions */
} self;

static record *at(uint32_t i)
{
    return oaki_objtable_at(&self.table, i);
}

/* The object's record, or OAKI_RECORD_NONE. A new one is before one of the object that had its
 * place. */
static uint32_t find(const char *obj)
{
    uint32_t i = oaki_objtable_first(&self.table, obj);
    bool is_its = i != OAKI_RECORD_NONE && oaki_objtable_is_unflagged(&self.table, i);
    return is_its ? i : OAKI_RECORD_NONE;
}

/* ---- counting ---- */

/* Has the zone room for them? */
static bool charge(uint32_t zone, size_t bytes)
{
    if (zone == 0) return true;
    oak_zone *z = oaki_zone_by_id(zone);
    size_t had = AO_load(&z->external);
    if (!oaki_zone_charge(z, oaki_external_pages(had + bytes) - oaki_external_pages(had)))
        return false;
    AO_store(&z->external, had + bytes);
    return true;
}

static void uncharge(uint32_t zone, size_t bytes)
{
    if (zone == 0) return;
    oak_zone *z = oaki_zone_by_id(zone);
    size_t had = AO_load(&z->external);
    OAKI_ASSERT(had >= bytes);
    AO_store(&z->external, had - bytes);
    oaki_zone_uncharge(zone, oaki_external_pages(had) - oaki_external_pages(had - bytes));
}

static void count_gone(const record *r, size_t bytes)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    OAKI_ASSERT(AO_load(&self.total) >= bytes);
    AO_store(&self.total, AO_load(&self.total) - bytes);
    oaki_count_sub_most(&oaki_the_heap.live, bytes);
    uncharge(r->zone, bytes);
}

static void record_remove(uint32_t i)
{
    count_gone(at(i), at(i)->bytes);
    oaki_objtable_remove(&self.table, i);
}

/* ---- the call ---- */

typedef struct charge_want {
    oaki_want want;
    uint32_t zone;
    size_t bytes;
} charge_want;

static bool take(oaki_want *w)
{
    const charge_want *cw = (const charge_want *)w;
    bool stopped = oaki_world_stopped();
    if (!stopped) oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    bool taken = charge(cw->zone, cw->bytes);
    if (!stopped) oaki_lock_release(&oaki_the_heap.finalizer_lock);
    return taken;
}

static void note_profile(record *r)
{
    if (OAKI_LIKELY(r->unsampled == SIZE_MAX)) return;
    if (r->bytes <= r->unsampled) r->unsampled = SIZE_MAX;
    ((oaki_external_changed *)AO_load(&self.changed))(r->link.obj,
                                                      r->unsampled == SIZE_MAX ? 0 : r->bytes);
}

/* Counts bytes that are charged. *rate: the profile's, if a byte of them is sampled; 0 then where
 * the object's are shown already. */
static int count(char *obj, size_t bytes, size_t *rate)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    uint32_t i = find(obj), zone = oaki_zone_id_of(obj);
    if (bytes > MOST - OAKI_MIN(AO_load(&self.total), MOST)) return EOVERFLOW;
    if (i == OAKI_RECORD_NONE) {
        if (oaki_objtable_reserve(&self.table) != 0) return ENOMEM;
        i = oaki_objtable_add(&self.table, obj, OAKI_RECORD_NONE);
        at(i)->zone = zone;
        at(i)->unsampled = SIZE_MAX;
        oaki_special_note(obj);
    }
    if (at(i)->unsampled != SIZE_MAX)
        *rate = 0;
    else if (*rate)
        at(i)->unsampled = at(i)->bytes;
    at(i)->bytes += bytes;
    note_profile(at(i));
    AO_store(&self.total, AO_load(&self.total) + bytes);
    oaki_count_add(&oaki_the_heap.live, bytes);
    return 0;
}

/* The rate if the heap profile is to note them, else 0. */
static size_t sampled(oaki_thread *t, size_t bytes)
{
    if (OAKI_LIKELY(AO_load(&oaki_the_heap.sampler.rate) == 0)) return 0;
    if (!AO_load_acquire(&self.note)) return 0;
    return oaki_sample_large(t->mcache, bytes);
}

/* Where the zone is full, collections make room as for an allocation. The want names no pages, as
 * the thread may be in another zone than the object. */
static int add(oaki_thread *t, char *obj, size_t bytes, size_t *rate)
{
    charge_want w = { .want = { .take = take, .thread = t },
                      .zone = oaki_zone_id_of(obj),
                      .bytes = bytes };
    if (bytes > MOST) return EOVERFLOW;
    if (w.zone && oaki_external_pages(bytes) > AO_load(&oaki_zone_by_id(w.zone)->limit))
        return ENOMEM;
    oaki_gc_before_alloc(t, OAKI_MIN(bytes, OAKI_TUNE_EXTERNAL_MOST));
    if (!take(&w.want) && !oaki_room_make(t, &w.want)) return ENOMEM;
    *rate = sampled(t, bytes);
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    int error = count(obj, bytes, rate);
    if (error) uncharge(w.zone, bytes);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    return error;
}

static int sub(const char *obj, size_t bytes)
{
    int error = EINVAL;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = find(obj);
    if (i != OAKI_RECORD_NONE && at(i)->bytes >= bytes) {
        error = 0;
        count_gone(at(i), bytes);
        at(i)->bytes -= bytes;
        note_profile(at(i));
        if (at(i)->bytes == 0) oaki_objtable_remove(&self.table, i);
    }
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    return error;
}

/* The stack is taken outside. Changes that other threads made
 * meanwhile are reported after it. */
static void note_sample(char *obj, size_t bytes, size_t rate)
{
    ((oaki_external_note *)AO_load(&self.note))(obj, bytes, rate);
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = find(obj);
    if (i != OAKI_RECORD_NONE && at(i)->unsampled != SIZE_MAX)
        note_profile(at(i));
    else
        ((oaki_external_changed *)AO_load(&self.changed))(obj, 0);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
}

int oak_external_add(void *p, ptrdiff_t bytes)
{
    char *obj = oaki_object_base(p);
    if (!obj) oak_fatal("oakum: oak_external_add: %p is not in a live object", p);
    size_t n = bytes < 0 ? 0 - (size_t)bytes : (size_t)bytes, rate = 0;
    if (n == 0) return 0;
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    int error = bytes < 0 ? sub(obj, n) : add(t, obj, n, &rate);
    oaki_leave(t);
    if (OAKI_UNLIKELY(rate != 0 && error == 0)) note_sample(obj, n, rate);
    OAKI_HOLD(obj);
    if (error == 0) return 0;
    errno = error;
    return -1;
}

size_t oak_external_bytes(const void *p)
{
    const char *obj = oaki_object_base(p);
    size_t bytes = 0;
    if (!obj || !oaki_special_possible(obj)) return 0;
    oaki_thread *t = oaki_enter();
    if (!t) return 0;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = find(obj);
    if (i != OAKI_RECORD_NONE) bytes = at(i)->bytes;
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
    return bytes;
}

void oaki_external_on_sample(oaki_external_note *note, oaki_external_changed *changed)
{
    AO_store(&self.changed, (AO_t)changed);
    AO_store_release(&self.note, (AO_t)note);
}

/* ---- in a collection ---- */

size_t oaki_external_total(void)
{
    return AO_load(&self.total);
}

size_t oaki_external_marked(bool minor)
{
    OAKI_REQUIRES_STOPPED();
    size_t total = AO_load(&self.total), before = minor ? self.marked : 0;
    self.marked = total;
    return total > before ? total - before : 0;
}

static void expect(void *ctx, uint32_t i)
{
    (void)ctx;
    oaki_mark_fetch(at(i)->link.obj);
}

static bool is_certain(void *ctx, uint32_t i)
{
    (void)ctx;
    return oaki_is_marked(at(i)->link.obj);
}

static uint32_t table_note_certain(uint32_t from, unsigned most)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    return oaki_objtable_note_certain(&self.table, from, most, expect, is_certain, NULL);
}

static void flag_dead(void *ctx, uint32_t i)
{
    (void)ctx;
    if (oaki_is_marked(at(i)->link.obj)) return;
    count_gone(at(i), at(i)->bytes);
    oaki_objtable_flag(&self.table, i, OAKI_RECORD_GONE);
}

/* After finalizers are decided: an object that one is called for keeps its bytes. */
static void table_clear(bool decided)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    if (decided) oaki_objtable_each_uncertain(&self.table, expect, flag_dead, NULL);
}

static void table_reclaim(uint32_t i)
{
    oaki_objtable_remove(&self.table, i);
}

static void table_forget(void *obj)
{
    if (!oaki_special_possible(obj)) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = find(obj);
    if (i != OAKI_RECORD_NONE) record_remove(i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

static void table_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < self.table.records.len;)
        if (at(i)->zone == zone && oaki_objtable_is_unflagged(&self.table, i))
            record_remove(i);
        else
            i++;
}

static const char *table_check(void)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < self.table.records.len; i++) {
        if (at(i)->bytes == 0) return "external: a record has bytes";
        sum += at(i)->bytes;
    }
    return sum == AO_load(&self.total) ? NULL : "external: total == the sum of all records";
}

const oaki_table_ops oaki_external_table = {
    .table = &self.table,
    .record = sizeof(record),
    .note_certain = table_note_certain,
    .clear = table_clear,
    .reclaim = table_reclaim,
    .forget = table_forget,
    .forget_zone = table_forget_zone,
    .check = table_check,
};

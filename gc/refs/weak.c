/* weak.c - weak references: cleared when their object can't be reached.
 *
 * Owns: struct oak_weak, a small noscan object, so that its word keeps nothing alive; and the table
 *   of handles by the object that they refer to.
 *
 * A reference is cleared in the final pause that finds its object unreachable, before finalizers
 * are decided. A reference that was read before is in a register or a stack of an attached thread,
 * which that pause scans. So oak_weak_get needs no lock. A finalizer that makes its object
 * reachable again does not restore weak references to it.
 * The start of an object has one handle, which oak_weak_new returns to each caller. Each reference
 * into an object has a handle of its own.
 * The pause flags records whose object or handle is dead. They are reclaimed with the world running
 * (tables.c), when another object may have their object's place, or their handle's.
 *
 * Invariants: a handle that has a record knows its number; the record of a reference to the start
 *   of an object is the first of its chain. A record's handle was allocated or marked since the
 *   last collection began, or the record is flagged as lost.
 * Lock: finalizer_lock, or the world is stopped. */
#include "finalizer.h"
#include "gc/contract.h"
#include "objtable.h"
#include "tables.h"

struct oak_weak {
    AO_t target;     /* as given; 0 once it has gone */
    uint32_t record; /* its number; meaningless once it is cleared */
};

/* A record whose object is dead is in no chain. It stays to count handles that are still held. */
typedef struct record {
    oaki_record link;
    oak_weak *handle;
} record;

static struct {
    oaki_objtable table;
    AO_t count, cleared; /* records with an object, and without */
} self;

static record *at(uint32_t i)
{
    return oaki_objtable_at(&self.table, i);
}

/* The handle of the start of the object, or NULL. */
static oak_weak *find(const char *obj)
{
    uint32_t i = oaki_objtable_first(&self.table, obj);
    if (i == OAKI_RECORD_NONE || !oaki_objtable_is_unflagged(&self.table, i)) return NULL;
    return (char *)AO_load(&at(i)->handle->target) == obj ? at(i)->handle : NULL;
}

static bool is_lost(uint32_t i)
{
    return oaki_objtable_state(&self.table, i) & OAKI_RECORD_LOST;
}

static void record_remove(uint32_t i)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_ASSERT(oaki_count_get(at(i)->link.obj ? &self.count : &self.cleared) > 0);
    oaki_count_step(at(i)->link.obj ? &self.count : &self.cleared, (size_t)-1);
    oaki_objtable_remove(&self.table, i);
    if (i < self.table.records.len && !is_lost(i)) at(i)->handle->record = i;
}

static void record_clear(uint32_t i)
{
    if (is_lost(i)) {
        record_remove(i);
        return;
    }
    AO_store(&at(i)->handle->target, 0);
    oaki_objtable_unlink(&self.table, i);
    oaki_objtable_unflag(&self.table, i);
    oaki_count_step(&self.count, (size_t)-1);
    oaki_count_step(&self.cleared, 1);
}

/* Make w a handle of p, in the object that begins at obj, or find the one that there is. NULL when
 * out of memory. */
static oak_weak *record_add(char *obj, char *p, oak_weak *w)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_ASSERT(oaki_slot_offset(oaki_heap_offset(p)) == oaki_heap_offset(obj));
    uint32_t first = oaki_objtable_first(&self.table, obj);
    oak_weak *old = find(obj);
    if (old && p == obj) return old;
    if (!w || oaki_objtable_reserve(&self.table) != 0) return NULL;
    AO_store(&w->target, (AO_t)p);
    w->record = oaki_objtable_add(&self.table, obj, p == obj ? OAKI_RECORD_NONE : first);
    at(w->record)->handle = w;
    oaki_count_step(&self.count, 1);
    oaki_special_note(obj);
    oaki_special_note(w);
    return w;
}

static oak_weak *locked_add(char *obj, char *p, oak_weak *w)
{
    oaki_thread *t = oaki_enter();
    if (!t) return NULL;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    w = record_add(obj, p, w);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
    return w;
}

oak_weak *oak_weak_new(void *p)
{
    char *obj = oaki_object_base(p);
    if (!obj) oak_fatal("oakum: oak_weak_new: %p is not in a live object", p);
    oak_weak *w = obj == p ? locked_add(obj, p, NULL) : NULL;
    if (w) return w;
    w = oak_zone_alloc_noscan(NULL, sizeof *w); /* others share it, so it outlives any zone */
    return w ? locked_add(obj, p, w) : NULL;
}

void *oak_weak_get(oak_weak *w)
{
    if (OAKI_UNLIKELY(!w)) return NULL;
    /* the word read must be in a stack that is scanned */
    if (OAKI_UNLIKELY(oaki_tls_mcache == &oaki_mcache_none) && !oaki_thread_attach_self())
        return NULL;
    return (void *)AO_load(&w->target);
}

/* ---- in a collection ---- */

static bool is_there(const record *r)
{
    return !r->link.obj || oaki_is_marked(r->link.obj);
}

static void expect(void *ctx, uint32_t i)
{
    (void)ctx;
    const record *r = at(i);
    if (r->link.obj) oaki_mark_fetch(r->link.obj);
    oaki_mark_fetch(r->handle);
}

static void expect_both(void *ctx, uint32_t i)
{
    expect(ctx, i);
    __builtin_prefetch(at(i)->handle, 1);
}

static bool is_certain(void *ctx, uint32_t i)
{
    (void)ctx;
    return is_there(at(i)) && oaki_is_marked(at(i)->handle);
}

static uint32_t table_note_certain(uint32_t from, unsigned most)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    return oaki_objtable_note_certain(&self.table, from, most, expect, is_certain, NULL);
}

static void expect_handle(void *ctx, uint32_t i)
{
    (void)ctx;
    oaki_mark_fetch(at(i)->handle);
}

static void clear(void *ctx, uint32_t i)
{
    (void)ctx;
    if (is_there(at(i))) return;
    AO_store(&at(i)->handle->target, 0);
    oaki_objtable_flag(&self.table, i, OAKI_RECORD_GONE);
}

static void lose(void *ctx, uint32_t i)
{
    (void)ctx;
    if (!oaki_is_marked(at(i)->handle)) oaki_objtable_flag(&self.table, i, OAKI_RECORD_LOST);
}

static void clear_gone(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    oaki_objtable_each_uncertain(&self.table, expect_both, clear, NULL);
}

static void flag_lost(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    oaki_objtable_each_uncertain(&self.table, expect_handle, lose, NULL);
}

/* Before finalizers are decided the words of handles; afterwards records whose handle died. */
static void table_clear(bool decided)
{
    if (decided) flag_lost();
    else clear_gone();
}

/* ---- the rest ---- */

/* The record of obj when it is a handle itself, or OAKI_RECORD_NONE: only the table says whether it
 * is one. */
static uint32_t record_of_handle(const void *obj)
{
    uint32_t i = ((const oak_weak *)obj)->record;
    return i < self.table.records.len && at(i)->handle == obj && !is_lost(i) ? i : OAKI_RECORD_NONE;
}

static void table_forget(void *obj)
{
    uint32_t i;
    if (!oaki_special_possible(obj)) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    while ((i = oaki_objtable_first(&self.table, obj)) != OAKI_RECORD_NONE) {
        record_clear(i);
    }
    if ((i = record_of_handle(obj)) != OAKI_RECORD_NONE) record_remove(i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

static void table_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < self.table.records.len;) {
        bool unflagged = oaki_objtable_is_unflagged(&self.table, i);
        if (unflagged && oaki_zone_id_of(at(i)->link.obj) == zone) record_clear(i);
        if (unflagged && oaki_zone_id_of(at(i)->handle) == zone)
            record_remove(i);
        else
            i++;
    }
}

void oaki_weak_each(oaki_weak_fn fn, void *ctx)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < self.table.records.len; i++) {
        const record *r = at(i);
        unsigned state = oaki_objtable_state(&self.table, i);
        if (state & OAKI_RECORD_LOST) continue;
        fn(ctx, r->handle, state & OAKI_RECORD_GONE ? NULL : r->link.obj,
           (const void *)AO_load(&r->handle->target));
    }
}

size_t oaki_weak_count(void)
{
    return oaki_count_get(&self.count);
}

size_t oaki_weak_cleared(void)
{
    return oaki_count_get(&self.cleared);
}

static const char *table_check(void)
{
    size_t there = 0;
    for (uint32_t i = 0; i < self.table.records.len; i++) {
        there += at(i)->link.obj != NULL;
        if (at(i)->handle->record != i) return "weak: a handle knows its record";
    }
    if (there != oaki_weak_count()) return "weak: count == records with an object";
    if (self.table.records.len - there != oaki_weak_cleared())
        return "weak: cleared == records without an object";
    return NULL;
}

const oaki_table_ops oaki_weak_table = {
    .table = &self.table,
    .record = sizeof(record),
    .note_certain = table_note_certain,
    .clear = table_clear,
    .reclaim = record_clear,
    .forget = table_forget,
    .forget_zone = table_forget_zone,
    .check = table_check,
};

/* finalizer.c - finalizers and cleanups: the records of objects that have one, and the queue.
 *
 * Owns: the table of records and the queue of those that are ready. A queued record stays in the
 *   table, linked into the queue by number, so that a collection allocates nothing.
 *
 * Every record keeps its ctx alive. A queued finalizer keeps its object alive too, until it is
 * popped; a waiting one does not.
 *
 * Invariants: a waiting finalizer's record is the first of its object's chain; an object has at
 *   most one. A queued cleanup of a dead object leaves its chain once the world runs (tables.c), as
 *   another object may have the address by then. Until then it is flagged as gone.
 * Lock: finalizer_lock, or the world is stopped. */
#include "finalrecord.h"
#include "gc/contract.h"
#include "gc/debug/edges.h"
#include "gc/host.h"
#include "link.h"
#include "runtime/guard.h"
#include "tables.h"

#include <errno.h>

oaki_final_state oaki_final;

typedef oaki_final_record record;

static record *at(uint32_t i)
{
    return oaki_objtable_at(&oaki_final.table, i);
}

/* ---- the queue ---- */

void oaki_final_append(uint32_t i)
{
    record *r = at(i);
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    OAKI_ASSERT(r->state == OAKI_FINAL_WAITING);
    OAKI_ASSERT(oaki_count_get(&oaki_final.waiting[r->kind]) > 0);
    r->state = OAKI_FINAL_READY;
    r->next = OAKI_RECORD_NONE;
    r->prev = oaki_final.tail;
    if (oaki_final.tail != OAKI_RECORD_NONE)
        at(oaki_final.tail)->next = i;
    else
        oaki_final.head = i;
    oaki_final.tail = i;
    oaki_count_step(&oaki_final.ready, 1);
    oaki_count_step(&oaki_final.waiting[r->kind], (size_t)-1);
}

void oaki_final_remove(uint32_t i)
{
    record *r = at(i);
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    OAKI_ASSERT(r->state == OAKI_FINAL_READY && oaki_finalizers_ready() > 0);
    if (r->prev != OAKI_RECORD_NONE)
        at(r->prev)->next = r->next;
    else
        oaki_final.head = r->next;
    if (r->next != OAKI_RECORD_NONE)
        at(r->next)->prev = r->prev;
    else
        oaki_final.tail = r->prev;
    oaki_count_step(&oaki_final.ready, (size_t)-1);
}

/* ---- records ---- */

static void record_remove(uint32_t i)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    if (at(i)->state == OAKI_FINAL_READY)
        oaki_final_remove(i);
    else
        oaki_count_step(&oaki_final.waiting[at(i)->kind], (size_t)-1);
    oaki_objtable_remove(&oaki_final.table, i);
    if (i == oaki_final.table.records.len || at(i)->state != OAKI_FINAL_READY) return;
    record *moved = at(i);
    if (moved->prev != OAKI_RECORD_NONE)
        at(moved->prev)->next = i;
    else
        oaki_final.head = i;
    if (moved->next != OAKI_RECORD_NONE)
        at(moved->next)->prev = i;
    else
        oaki_final.tail = i;
}

/* The waiting finalizer of obj, or OAKI_RECORD_NONE; and its object's place. */
static uint32_t find(const void *obj, oaki_objslot **place)
{
    uint32_t i = oaki_objtable_find(&oaki_final.table, obj, place);
    if (i == OAKI_RECORD_NONE || at(i)->state != OAKI_FINAL_WAITING ||
        at(i)->kind == OAKI_FINAL_CLEANUP)
        return OAKI_RECORD_NONE;
    return i;
}

/* Of a queued cleanup: its object. */
static bool is_gone(uint32_t i)
{
    return oaki_objtable_state(&oaki_final.table, i) & OAKI_RECORD_GONE;
}

/* The finalizer of obj that is queued and has not begun, or OAKI_RECORD_NONE. The program may reach
 * the object: in a round of oak_finalize_all, or from another's finalizer. */
static uint32_t find_queued(const void *obj)
{
    if (oaki_finalizers_ready() == 0) return OAKI_RECORD_NONE;
    uint32_t i = oaki_objtable_first(&oaki_final.table, obj);
    while (i != OAKI_RECORD_NONE && (at(i)->state != OAKI_FINAL_READY ||
                                     at(i)->kind == OAKI_FINAL_CLEANUP || is_gone(i)))
        i = at(i)->link.next;
    return i;
}

static void fill(uint32_t i, oaki_finalizer_fn fn, void *ctx, uint8_t kind)
{
    record *r = at(i);
    r->fn = fn;
    r->ctx = ctx;
    r->kind = kind;
    r->zone = oaki_zone_id_of(r->link.obj);
    oaki_objtable_uncertain(&oaki_final.table, i);
    oaki_count_step(&oaki_final.waiting[kind], 1);
    oaki_special_note(r->link.obj);
    oaki_special_note_any(ctx);
}

static int add_cleanup(void *obj, oaki_finalizer_fn fn, void *ctx)
{
    oaki_objslot *place;
    if (oaki_objtable_reserve(&oaki_final.table) != 0) return -1;
    uint32_t first = find(obj, &place);
    fill(first == OAKI_RECORD_NONE ? oaki_objtable_add_at(&oaki_final.table, obj, place)
                                   : oaki_objtable_add(&oaki_final.table, obj, first),
         fn, ctx, OAKI_FINAL_CLEANUP);
    return 0;
}

static void check_object(const void *obj, const char *caller)
{
    if (!obj || oaki_object_base(obj) != obj)
        oak_fatal("oakum: %s: %p is not the start of a live object", caller, obj);
}

/* ---- the public side ---- */

/* queued: one that is queued is replaced, too. */
static int set(void *obj, oak_finalizer fn, void *ctx, int flags, oak_finalizer *old,
               void **old_ctx, bool queued)
{
    if (flags < OAK_FINALIZER_ORDERED || flags > OAK_FINALIZER_UNREACHABLE) {
        errno = EINVAL;
        return -1;
    }
    oaki_finalizer_fn now = { .finalizer = fn }, before = { .finalizer = NULL };
    void *ctx_before = NULL;
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_objslot *place;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    int result = fn ? oaki_objtable_reserve(&oaki_final.table) : 0;
    uint32_t i = queued && result == 0 ? find_queued(obj) : OAKI_RECORD_NONE;
    if (i != OAKI_RECORD_NONE) {
        before = at(i)->fn;
        ctx_before = at(i)->ctx;
        record_remove(i);
    }
    i = find(obj, &place);
    if (i != OAKI_RECORD_NONE) {
        before = at(i)->fn;
        ctx_before = at(i)->ctx;
    }
    if (i == OAKI_RECORD_NONE) {
        if (fn && result == 0)
            fill(oaki_objtable_add_at(&oaki_final.table, obj, place), now, ctx, (uint8_t)flags);
    } else if (!fn) {
        record_remove(i);
    } else {
        result = 0; /* needs no room */
        oaki_count_step(&oaki_final.waiting[at(i)->kind], (size_t)-1);
        fill(i, now, ctx, (uint8_t)flags);
        at(i)->age = 0;
    }
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
    if (result != 0) return -1;
    if (old) *old = before.finalizer;
    if (old_ctx) *old_ctx = ctx_before;
    if (fn) oaki_finalizer_thread_ensure();
    return 0;
}

int oaki_finalizer_set(void *obj, oak_finalizer fn, void *ctx, int flags, oak_finalizer *old,
                       void **old_ctx)
{
    return set(obj, fn, ctx, flags, old, old_ctx, false);
}

int oak_finalizer_set(void *obj, oak_finalizer fn, void *ctx)
{
    return oak_finalizer_set_ex(obj, fn, ctx, OAK_FINALIZER_ORDERED, NULL, NULL);
}

int oak_finalizer_set_ex(void *obj, oak_finalizer fn, void *ctx, int flags, oak_finalizer *old,
                         void **old_ctx)
{
    oak_finalizer before = NULL;
    check_object(obj, "oak_finalizer_set");
    int result = set(obj, fn, ctx, flags, old ? old : &before, old_ctx, true);
    if (OAKI_UNLIKELY(oaki_guard.on) && result == 0 && fn && before)
        oaki_guard_note(obj, OAKI_GUARD_REPLACED, "oak_finalizer_set");
    return result;
}

int oak_cleanup_add(void *obj, void (*fn)(void *ctx), void *ctx)
{
    check_object(obj, "oak_cleanup_add");
    if (!fn) {
        errno = EINVAL;
        return -1;
    }
    if (ctx && oaki_object_base(ctx) == obj)
        oak_fatal(
            "oakum: oak_cleanup_add: ctx %p is in the object, which it would keep alive for ever",
            ctx);
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    int result = add_cleanup(obj, (oaki_finalizer_fn){ .cleanup = fn }, ctx);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
    if (result == 0) oaki_finalizer_thread_ensure();
    return result;
}

static void leave_chain(uint32_t i)
{
    OAKI_ASSERT(at(i)->kind == OAKI_FINAL_CLEANUP && at(i)->state == OAKI_FINAL_READY);
    oaki_objtable_unlink(&oaki_final.table, i);
    oaki_objtable_unflag(&oaki_final.table, i);
}

static void table_forget(void *obj)
{
    uint32_t i;
    if (!oaki_special_possible(obj)) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    while ((i = oaki_objtable_first(&oaki_final.table, obj)) != OAKI_RECORD_NONE)
        if (is_gone(i))
            leave_chain(i);
        else
            record_remove(i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

/* Also those elsewhere whose context is in the zone: there is nothing left to call them with. */
static void table_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < oaki_final.table.records.len;) {
        const record *r = at(i);
        if (r->zone == zone || oaki_zone_id_of(r->ctx) == zone)
            record_remove(i);
        else
            i++;
    }
}

int oaki_finalizers_order(oaki_finalizer_order order)
{
    OAKI_REQUIRES_OUTSIDE();
    if (oaki_gc_exclude() != 0) return -1;
    oaki_gc.host.ordered_first = order == OAKI_ORDERED_FIRST;
    oaki_gc_release();
    return 0;
}

void oaki_finalizers_on_queued(void (*fn)(void *obj))
{
    AO_store_release(&oaki_gc.host.on_queued, (AO_t)fn);
}

/* ---- for finalrun.c ---- */

bool oaki_finalizers_pop(oaki_ready *out)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = oaki_final.head;
    if (i != OAKI_RECORD_NONE) {
        const record *r = at(i);
        OAKI_ASSERT(r->state == OAKI_FINAL_READY && r->prev == OAKI_RECORD_NONE);
        void *obj = r->kind == OAKI_FINAL_CLEANUP ? NULL : r->link.obj;
        *out = (oaki_ready){ .obj = obj, .ctx = r->ctx, .fn = r->fn, .zone = r->zone };
        record_remove(i);
    }
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    return i != OAKI_RECORD_NONE;
}

size_t oaki_finalizers_ready(void)
{
    return oaki_count_get(&oaki_final.ready);
}

size_t oaki_finalizers_waiting(void)
{
    size_t n = 0;
    for (unsigned k = 0; k < OAKI_FINAL_KINDS; k++) n += oaki_count_get(&oaki_final.waiting[k]);
    return n;
}

size_t oaki_finalizers_registered(void)
{
    return oaki_finalizers_ready() + oaki_finalizers_waiting();
}

bool oaki_finalizers_fresh(void)
{
    return AO_compare_and_swap_full(&oaki_final.fresh, 1, 0);
}

void oaki_finalizers_stats(struct oak_memstats *out)
{
    out->finalizers = oaki_finalizers_waiting();
    out->finalizers_ready = oaki_count_get(&oaki_final.ready);
    out->finalizer_cycles = oaki_count_get(&oaki_final.stuck);
    out->finalizer_cycle_bytes = oaki_count_get(&oaki_final.stuck_bytes);
}

/* ---- its rules ---- */

static const char *check_queue(void)
{
    size_t n = 0;
    uint32_t prev = OAKI_RECORD_NONE;
    for (uint32_t i = oaki_final.head; i != OAKI_RECORD_NONE; prev = i, i = at(i)->next) {
        if (i >= oaki_final.table.records.len || n++ > oaki_finalizers_ready())
            return "finalizer: the queue is of records, and ends";
        if (at(i)->prev != prev) return "finalizer: prev is the one before in the queue";
        if (at(i)->state != OAKI_FINAL_READY) return "finalizer: what is queued is ready";
    }
    if (prev != oaki_final.tail) return "finalizer: the queue's tail is its last";
    if (n != oaki_finalizers_ready()) return "finalizer: ready == records in the queue";
    return NULL;
}

static const char *table_check(void)
{
    size_t waiting[OAKI_FINAL_KINDS] = { 0 };
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++) {
        const record *r = at(i);
        if (r->state == OAKI_FINAL_READY) continue;
        waiting[r->kind]++;
        if (!r->link.obj) return "finalizer: what waits has an object";
        if (r->kind != OAKI_FINAL_CLEANUP && r->link.prev != OAKI_RECORD_NONE)
            return "finalizer: a waiting one is the first of its object";
    }
    for (unsigned k = 0; k < OAKI_FINAL_KINDS; k++)
        if (waiting[k] != oaki_count_get(&oaki_final.waiting[k]))
            return "finalizer: waiting counts the records that wait";
    return check_queue();
}

/* ---- references other than words (edges.h) ---- */

void oaki_finalizers_each(void (*fn)(void *ctx, const oaki_finalizer_record *r), void *ctx)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++) {
        const record *r = at(i);
        bool cleanup = r->kind == OAKI_FINAL_CLEANUP;
        const void *code = cleanup ? (const void *)(uintptr_t)r->fn.cleanup
                                   : (const void *)(uintptr_t)r->fn.finalizer;
        fn(ctx, &(oaki_finalizer_record){ .obj = is_gone(i) ? NULL : r->link.obj,
                                          .ctx = r->ctx,
                                          .fn = code,
                                          .cleanup = cleanup,
                                          .ready = r->state == OAKI_FINAL_READY });
    }
}

static OAKI_AT_START void table_init(void)
{
    oaki_final.head = oaki_final.tail = OAKI_RECORD_NONE;
}

const oaki_table_ops oaki_finalizers_table = {
    .table = &oaki_final.table,
    .record = sizeof(record),
    .keeps = true,
    .note_certain = oaki_finalizers_note_certain,
    .reclaim = leave_chain,
    .forget = table_forget,
    .forget_zone = table_forget_zone,
    .check = table_check,
    .init = table_init,
};

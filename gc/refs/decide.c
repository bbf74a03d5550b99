/* decide.c - which finalizers and cleanups are ready, in a collection, when all that the program
 * can reach is marked; and what their records keep alive.
 *
 * The decision (oaki_finalizers_decide):
 *   1. No-order finalizers whose objects are unmarked are ready, all of them, even if one reaches
 *      another; then they and what they reach are marked. So an ordered object that a ready
 *      no-order one refers to waits.
 *   2. Ordered ones. The contents of every unmarked object are marked, not the object itself.
 *      Whatever is marked by that is reachable from a finalizable object and waits; the others are
 *      ready, and marked. (Go's order, with the algorithm that Boehm's collector uses. Go gets it
 *      by treating contents as roots.)
 *   3. Cleanups whose objects are unmarked even now are ready. Their objects are not marked: this
 *      sweep frees them.
 *
 * Cycles: an ordered object that is reachable from itself waits for ever, and so do the objects
 * that it reaches. They are counted without a traversal for each. Waiting objects are grouped by
 * age, the number of collections that they have waited for. The contents of the groups are marked
 * one group after the other, new ones first. If a group is marked entirely by its own contents,
 * each object in it is reachable from one in it. Followed backwards, these paths end in a cycle. So
 * all objects of the group are stuck, and so is all that they mark. A group in which one was ready
 * proves nothing: its members are counted once the ready ones are gone. So the count is never too
 * high, and exact AGES collections after the last chain has drained.
 *
 * A concurrent mark notes as certain each record whose object and context are marked. The final
 * pause examines the others (objtable.h).
 *
 * Owns: nothing; records are finalizer.c's. Lock: the world is stopped; to note what is certain,
 * finalizer_lock. Bound: a decision is O(records that are not certain) and the marking. */
#include "finalrecord.h"
#include "gc/contract.h"
#include "gc/debug/edges.h"
#include "gc/host.h"
#include "gc/tuning.h"
#include "runtime/contain.h"

#define AGES 8    /* the last one: that long or longer */

typedef oaki_final_record record;

static record *at(uint32_t i)
{
    return oaki_objtable_at(&oaki_final.table, i);
}

/* The first of the queue behind `last`, or of all. */
static uint32_t first_behind(uint32_t last)
{
    return last != OAKI_RECORD_NONE ? at(last)->next : oaki_final.head;
}

static void expect(void *ctx, uint32_t i)
{
    (void)ctx;
    if (at(i)->link.obj) oaki_mark_fetch(at(i)->link.obj);
}

static void each_uncertain(oaki_objtable_fn *fn)
{
    oaki_objtable_each_uncertain(&oaki_final.table, expect, fn, NULL);
}

static uint32_t first_uncertain(void)
{
    return oaki_objtable_next_uncertain(&oaki_final.table, 0);
}

static bool is_there(uint32_t i)
{
    return i < oaki_final.table.records.len;
}

static uint32_t next_uncertain(uint32_t i)
{
    return oaki_objtable_next_uncertain(&oaki_final.table, i + 1);
}

static void mark_kept(const record *r)
{
    if (r->ctx) oaki_mark_pointer(r->ctx);
    if (r->state == OAKI_FINAL_READY && r->link.obj) oaki_mark_pointer(r->link.obj);
}

void oaki_finalizers_mark_roots(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER_ZERO();
    for (uint32_t i = first_uncertain(); is_there(i); i = next_uncertain(i)) mark_kept(at(i));
}

static bool unreachable(const record *r)
{
    return !oaki_is_marked(r->link.obj);
}

static bool is_due(const record *r)
{
    return r->state == OAKI_FINAL_WAITING && unreachable(r);
}

/* The objects queued here are marked when the record is examined again. */
static bool is_certain(void *ctx, uint32_t i)
{
    (void)ctx;
    record *r = at(i);
    mark_kept(r);
    if (oaki_leads_to_unmarked(r->ctx) || (r->link.obj && unreachable(r))) return false;
    if (!oaki_cycle_is_minor()) r->age = 0;
    return true;
}

uint32_t oaki_finalizers_note_certain(uint32_t from, unsigned most)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    return oaki_objtable_note_certain(&oaki_final.table, from, most, expect, is_certain, NULL);
}

/* Mark the objects of all that was queued behind `last`, and what they reach. */
static void resurrect(uint32_t last)
{
    uint32_t i = first_behind(last);
    if (i == OAKI_RECORD_NONE) return;
    for (; i != OAKI_RECORD_NONE; i = at(i)->next) oaki_mark_pointer(at(i)->link.obj);
    oaki_ephemerons_fixpoint(true);
}

static bool is_ordered(const record *r)
{
    return r->kind != OAK_FINALIZER_NO_ORDER && r->kind != OAKI_FINAL_CLEANUP;
}

static size_t ordered_waiting(void)
{
    return oaki_count_get(&oaki_final.waiting[OAK_FINALIZER_ORDERED]) +
           oaki_count_get(&oaki_final.waiting[OAK_FINALIZER_IGNORE_SELF]) +
           oaki_count_get(&oaki_final.waiting[OAK_FINALIZER_UNREACHABLE]);
}

/* The place of an object whose pointers to itself don't count. */
typedef struct place {
    size_t slot, size;
} place;

static void push_others(void *ctx, const oaki_edge *edge, size_t n)
{
    const place *self_place = ctx;
    for (size_t i = 0; i < n; i++)
        if (edge[i].to - self_place->slot >= self_place->size)
            oak_mark_ptr(oaki_worker(0), (const char *)oaki_the_heap.base + edge[i].to);
}

static void mark_contents(const record *r)
{
    if (r->kind != OAK_FINALIZER_IGNORE_SELF) {
        oaki_trace_live(r->link.obj);
        return;
    }
    if (oaki_trace_but_self(r->link.obj)) return;
    size_t slot = oaki_heap_offset(r->link.obj);
    oaki_edges_of(slot, false, push_others, &(place){ slot, oaki_object_size(slot) });
}

static void queue_if_unordered(void *ctx, uint32_t i)
{
    (void)ctx;
    if (at(i)->kind == OAK_FINALIZER_NO_ORDER && is_due(at(i)))
        oaki_final_append(i);
}

static void queue_unordered(void)
{
    if (oaki_count_get(&oaki_final.waiting[OAK_FINALIZER_NO_ORDER]) == 0) return;
    each_uncertain(queue_if_unordered);
}

static void decide_no_order(void)
{
    uint32_t last = oaki_final.tail;
    queue_unordered();
    resurrect(last);
}

/* Lists of the unmarked ordered records by age, linked by `next`, in ascending order. */
static void collect_candidates(uint32_t list[AGES])
{
    uint32_t *end[AGES];
    for (unsigned a = 0; a < AGES; a++) *(end[a] = &list[a]) = OAKI_RECORD_NONE;
    for (uint32_t i = first_uncertain(); is_there(i); i = next_uncertain(i)) {
        record *r = at(i);
        if (!is_ordered(r) || r->state != OAKI_FINAL_WAITING) continue;
        OAKI_ASSERT(r->age < AGES);
        if (unreachable(r)) {
            *end[r->age] = i;
            *(end[r->age] = &r->next) = OAKI_RECORD_NONE;
        } else if (oaki_gc.kind == OAKI_FULL) {
            r->age = 0;
        }
    }
}

static void grow_older(record *r)
{
    if (r->age < AGES - 1) r->age++;
}

typedef struct tally {
    size_t objects, bytes;
} tally;

static void count(tally *t, const record *r)
{
    t->objects++;
    t->bytes += oaki_object_size(oaki_heap_offset(r->link.obj));
}

/* Takes objects off the list that a newer group has marked already. Returns the number that
 * remains. */
static size_t drop_marked(uint32_t *list, tally *dropped)
{
    size_t left = 0;
    for (uint32_t *p = list; *p != OAKI_RECORD_NONE;) {
        record *r = at(*p);
        if (unreachable(r)) {
            p = &r->next;
            left++;
        } else {
            grow_older(r);
            *p = r->next;
            if (dropped) count(dropped, r);
        }
    }
    return left;
}

/* Mark the contents of a group's objects. Returns whether that marked all of them. */
static bool mark_group(uint32_t list)
{
    size_t batch = 0;
    for (uint32_t i = list; i != OAKI_RECORD_NONE; i = at(i)->next) {
        if (!unreachable(at(i))) continue;
        mark_contents(at(i));
        if (++batch % OAKI_TUNE_DRAIN_EVERY == 0) oaki_mark_drain();
    }
    oaki_ephemerons_fixpoint(true);
    for (uint32_t i = list; i != OAKI_RECORD_NONE; i = at(i)->next)
        if (unreachable(at(i))) return false;
    return true;
}

/* The groups in turn. Returns those that are known to be stuck. */
static tally mark_groups(uint32_t list[AGES])
{
    tally stuck = { 0, 0 };
    bool all_stuck = true; /* in the groups so far: then so is all that they mark */
    bool any = false;      /* group before this one, that may have marked some of it */
    for (unsigned a = 0; a < AGES; a++) {
        if (any && drop_marked(&list[a], all_stuck ? &stuck : NULL) == 0) continue;
        if (list[a] == OAKI_RECORD_NONE) continue;
        any = true;
        if (!mark_group(list[a])) {
            all_stuck = false;
            continue;
        }
        for (uint32_t i = list[a]; i != OAKI_RECORD_NONE; i = at(i)->next) count(&stuck, at(i));
    }
    return stuck;
}

/* The objects that they reach are marked, they themselves are not. */
static void queue_ordered(void)
{
    uint32_t list[AGES];
    tally stuck = { 0, 0 };
    if (ordered_waiting() > 0) {
        collect_candidates(list);
        stuck = mark_groups(list);
        for (unsigned a = AGES; a-- > 0;) {
            uint32_t next;
            for (uint32_t i = list[a]; i != OAKI_RECORD_NONE; i = next) {
                next = at(i)->next;
                if (unreachable(at(i)))
                    oaki_final_append(i);
                else
                    grow_older(at(i));
            }
        }
    }
    if (oaki_gc.kind == OAKI_MINOR) return;
    AO_store(&oaki_final.stuck, stuck.objects);
    AO_store(&oaki_final.stuck_bytes, stuck.bytes);
}

static void decide_ordered(void)
{
    uint32_t last = oaki_final.tail;
    queue_ordered();
    resurrect(last);
}

/* ---- in the order of Boehm's collector (host.h) ---- */

static void dequeue(uint32_t i)
{
    oaki_final_remove(i);
    at(i)->state = OAKI_FINAL_WAITING;
    grow_older(at(i));
    oaki_count_step(&oaki_final.waiting[at(i)->kind], 1);
}

static void decide_ordered_first(void)
{
    uint32_t last = oaki_final.tail, next;
    queue_ordered();
    queue_unordered();
    if (first_behind(last) == OAKI_RECORD_NONE) return;
    for (uint32_t i = first_behind(last); i != OAKI_RECORD_NONE; i = at(i)->next)
        if (at(i)->kind == OAK_FINALIZER_NO_ORDER) oaki_trace_live(at(i)->link.obj);
    oaki_ephemerons_fixpoint(true);
    for (uint32_t i = first_behind(last); i != OAKI_RECORD_NONE; i = next) {
        next = at(i)->next;
        if (at(i)->kind == OAK_FINALIZER_UNREACHABLE && !unreachable(at(i))) dequeue(i);
    }
    resurrect(last);
}

static void queue_if_cleanup(void *ctx, uint32_t i)
{
    (void)ctx;
    if (at(i)->kind != OAKI_FINAL_CLEANUP || !is_due(at(i))) return;
    oaki_objtable_flag(&oaki_final.table, i, OAKI_RECORD_GONE);
    oaki_final_append(i);
}

static void decide_cleanups(void)
{
    if (oaki_count_get(&oaki_final.waiting[OAKI_FINAL_CLEANUP]) == 0) return;
    each_uncertain(queue_if_cleanup);
}

/* Call the host's function for all finalizers that were queued behind `last`. */
static void report_queued(uint32_t last)
{
    void (*fn)(void *) = (void (*)(void *))AO_load_acquire(&oaki_gc.host.on_queued);
    if (OAKI_LIKELY(!fn)) return;
    for (uint32_t i = first_behind(last); i != OAKI_RECORD_NONE; i = at(i)->next)
        if (at(i)->kind != OAKI_FINAL_CLEANUP) OAKI_CALL_INSIDE(fn(at(i)->link.obj));
}

void oaki_finalizers_decide(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    size_t before = oaki_finalizers_ready();
    uint32_t last = oaki_final.tail;
    if (oaki_gc.host.ordered_first) {
        decide_ordered_first();
    } else {
        decide_no_order();
        decide_ordered();
    }
    decide_cleanups();
    OAKI_ASSERT(oaki_finalizers_ready() >= before);
    report_queued(last);
    if (oaki_finalizers_ready() > before) AO_store(&oaki_final.fresh, 1);
}

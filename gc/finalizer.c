/* finalizer.c - finalizers and cleanups: who has one, and when it is ready.
 *
 * Owns: the table of records and the queue of those that are ready; a queued record stays in the
 *   table, linked into the queue by number, so that a collection allocates nothing.
 *
 * What keeps what alive: every record its ctx; a queued finalizer its object too, until it is
 * popped. A waiting one doesn't keep its object.
 *
 * The decision, when all that the program can reach is marked (oaki_finalizers_decide):
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
 * Cycles: an ordered object that is reachable from itself waits for ever, and so does what it
 * reaches. To count these without a traversal for each, waiting objects are grouped by age, the
 * collections that they have waited for, and the groups' contents marked one after the other, young
 * first. When a group is marked entirely by its own contents, every object in it is reachable from
 * one in it, and following that backwards ends in a cycle: they are all stuck, and so is all that
 * they mark. A group in which one was ready proves nothing; its members are counted once the ready
 * ones have gone. So the count never claims too much, and is exact AGES collections after the last
 * chain has drained.
 *
 * Invariants: a waiting finalizer's record is the first of its object's chain; an object has at
 *   most one. A queued cleanup is in no chain, as its object's address may be another's by now.
 * Lock: finalizer_lock, or the world is stopped. Bound: a decision is O(records) and the marking.
 */
#include "finalizer.h"
#include "beside.h"
#include "follow.h"
#include "host.h"
#include "link.h"
#include "ptrtable.h"

#include <errno.h>

typedef enum state { WAITING = 0, READY } state;

enum { CLEANUP = OAK_FINALIZER_UNREACHABLE + 1 }; /* a kind beside those of gc.h */

#define KINDS (CLEANUP + 1)
#define AGES 8    /* the last one: that long or longer */
#define BATCH 512 /* objects whose contents are queued before the marker drains */

typedef struct record {
    oaki_ptrlink link;
    oaki_finalizer_fn fn;
    void *ctx;
    uint32_t next, prev; /* in the queue; of candidates in a decision, next alone */
    uint8_t state, kind, age;
} record;

_Static_assert(sizeof(record) == 48, "docs/finalizers.md says so");

static struct {
    oaki_ptrtable table;
    uint32_t head, tail; /* of the queue */
    AO_t waiting[KINDS], ready, stuck, stuck_bytes;
    AO_t fresh; /* queued by a collection and not yet asked for */
    bool ordered_first; /* gc_lock */
    bool minor; /* the decision's cycle: of what is marked in it, some has been waiting */
} self;

static record *at(uint32_t i)
{
    return oaki_ptrtable_at(&self.table, i);
}

/* ---- the queue ---- */

static void queue_append(uint32_t i)
{
    record *r = at(i);
    r->state = READY;
    r->next = OAKI_PTR_NONE;
    r->prev = self.tail;
    if (self.tail != OAKI_PTR_NONE)
        at(self.tail)->next = i;
    else
        self.head = i;
    self.tail = i;
    oaki_count_step(&self.ready, 1);
    oaki_count_step(&self.waiting[r->kind], (size_t)-1);
}

static void queue_remove(uint32_t i)
{
    record *r = at(i);
    if (r->prev != OAKI_PTR_NONE)
        at(r->prev)->next = r->next;
    else
        self.head = r->next;
    if (r->next != OAKI_PTR_NONE)
        at(r->next)->prev = r->prev;
    else
        self.tail = r->prev;
    oaki_count_step(&self.ready, (size_t)-1);
}

/* The first of the queue behind `last`, or of all. */
static uint32_t first_behind(uint32_t last)
{
    return last != OAKI_PTR_NONE ? at(last)->next : self.head;
}

/* ---- records ---- */

static void record_remove(uint32_t i)
{
    if (at(i)->state == READY)
        queue_remove(i);
    else
        oaki_count_step(&self.waiting[at(i)->kind], (size_t)-1);
    oaki_ptrtable_remove(&self.table, i);
    if (i == self.table.records.len || at(i)->state != READY) return;
    record *moved = at(i);
    if (moved->prev != OAKI_PTR_NONE)
        at(moved->prev)->next = i;
    else
        self.head = i;
    if (moved->next != OAKI_PTR_NONE)
        at(moved->next)->prev = i;
    else
        self.tail = i;
}

/* The waiting finalizer of obj, or OAKI_PTR_NONE; and its object's place. */
static uint32_t find(const void *obj, oaki_ptrslot **place)
{
    uint32_t i = oaki_ptrtable_look(&self.table, obj, place);
    if (i == OAKI_PTR_NONE || at(i)->state != WAITING || at(i)->kind == CLEANUP)
        return OAKI_PTR_NONE;
    return i;
}

static void fill(uint32_t i, oaki_finalizer_fn fn, void *ctx, uint8_t kind)
{
    record *r = at(i);
    r->fn = fn;
    r->ctx = ctx;
    r->kind = kind;
    oaki_count_step(&self.waiting[kind], 1);
    oaki_special_note(r->link.obj);
}

static int add_cleanup(void *obj, oaki_finalizer_fn fn, void *ctx)
{
    oaki_ptrslot *place;
    if (oaki_ptrtable_reserve(&self.table) != 0) return -1;
    uint32_t first = find(obj, &place);
    fill(first == OAKI_PTR_NONE ? oaki_ptrtable_add_at(&self.table, obj, place) :
                                  oaki_ptrtable_add(&self.table, obj, first),
         fn, ctx, CLEANUP);
    return 0;
}

static void check_object(const void *obj, const char *caller)
{
    if (!obj || oaki_object_base(obj) != obj)
        oak_fatal("oakum: %s: %p is not the start of a live object", caller, obj);
}

/* ---- the public side ---- */

int oak_finalizer_set(void *obj, oak_finalizer fn, void *ctx)
{
    return oak_finalizer_set_ex(obj, fn, ctx, OAK_FINALIZER_ORDERED, NULL, NULL);
}

int oak_finalizer_set_ex(void *obj, oak_finalizer fn, void *ctx, int flags, oak_finalizer *old,
                         void **old_ctx)
{
    check_object(obj, "oak_finalizer_set");
    return oaki_finalizer_set(obj, fn, ctx, flags, old, old_ctx);
}

int oaki_finalizer_set(void *obj, oak_finalizer fn, void *ctx, int flags, oak_finalizer *old,
                       void **old_ctx)
{
    if (flags < OAK_FINALIZER_ORDERED || flags > OAK_FINALIZER_UNREACHABLE) {
        errno = EINVAL;
        return -1;
    }
    oaki_finalizer_fn now = { .finalizer = fn }, before = { .finalizer = NULL };
    void *ctx_before = NULL;
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_ptrslot *place;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    int result = fn ? oaki_ptrtable_reserve(&self.table) : 0;
    uint32_t i = find(obj, &place);
    if (i != OAKI_PTR_NONE) {
        before = at(i)->fn;
        ctx_before = at(i)->ctx;
    }
    if (i == OAKI_PTR_NONE) {
        if (fn && result == 0)
            fill(oaki_ptrtable_add_at(&self.table, obj, place), now, ctx, (uint8_t)flags);
    } else if (!fn) {
        record_remove(i);
    } else {
        result = 0; /* needs no room */
        oaki_count_step(&self.waiting[at(i)->kind], (size_t)-1);
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

void oaki_finalizers_forget(void *obj)
{
    uint32_t i;
    if (!oaki_special_possible(obj)) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    while ((i = oaki_ptrtable_first(&self.table, obj)) != OAKI_PTR_NONE) record_remove(i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

/* Also those elsewhere whose context is in the zone: there is nothing left to call them with. */
void oaki_finalizers_forget_zone(uint32_t zone)
{
    for (uint32_t i = 0; i < self.table.records.len;) {
        const record *r = at(i);
        if (oaki_zone_id_of(r->link.obj) == zone || oaki_zone_id_of(r->ctx) == zone)
            record_remove(i);
        else
            i++;
    }
}

/* ---- in a collection ---- */

void oaki_finalizers_mark_roots(void)
{
    for (uint32_t i = 0; i < self.table.records.len; i++) {
        const record *r = at(i);
        if (r->ctx) oaki_mark_pointer(r->ctx);
        if (r->state == READY) oaki_mark_pointer(r->link.obj);
    }
}

static bool unreachable(const record *r)
{
    return !oaki_is_marked(r->link.obj);
}

/* Mark the objects of all that was queued behind `last`, and what they reach. */
static void resurrect(uint32_t last)
{
    uint32_t i = first_behind(last);
    if (i == OAKI_PTR_NONE) return;
    for (; i != OAKI_PTR_NONE; i = at(i)->next) oaki_mark_pointer(at(i)->link.obj);
    oaki_ephemerons_fixpoint(true);
}

static bool is_ordered(const record *r)
{
    return r->kind != OAK_FINALIZER_NO_ORDER && r->kind != CLEANUP;
}

static size_t ordered_waiting(void)
{
    return oaki_count_get(&self.waiting[OAK_FINALIZER_ORDERED]) +
           oaki_count_get(&self.waiting[OAK_FINALIZER_IGNORE_SELF]) +
           oaki_count_get(&self.waiting[OAK_FINALIZER_UNREACHABLE]);
}

/* An object's place, for whom its pointers to itself don't count. */
typedef struct place {
    size_t slot, size;
} place;

static void push_others(void *ctx, const oaki_edge *edge, size_t n)
{
    const place *self_place = ctx;
    for (size_t i = 0; i < n; i++)
        if (edge[i].to - self_place->slot >= self_place->size)
            oaki_mark_pointer((const char *)oaki_the_heap.base + edge[i].to);
}

static void mark_contents(const record *r)
{
    if (r->kind != OAK_FINALIZER_IGNORE_SELF) {
        oaki_mark_contents(r->link.obj);
        return;
    }
    if (oaki_mark_others(r->link.obj)) return;
    size_t slot = oaki_heap_offset(r->link.obj);
    oaki_follow_edges(slot, false, push_others, &(place){ slot, oaki_object_size(slot) });
}

static void queue_unordered(void)
{
    if (oaki_count_get(&self.waiting[OAK_FINALIZER_NO_ORDER]) == 0) return;
    for (uint32_t i = 0; i < self.table.records.len; i++)
        if (at(i)->kind == OAK_FINALIZER_NO_ORDER && at(i)->state == WAITING && unreachable(at(i)))
            queue_append(i);
}

static void decide_no_order(void)
{
    uint32_t last = self.tail;
    queue_unordered();
    resurrect(last);
}

/* Lists of the unmarked ordered records by age, linked by `next`, in ascending order. */
static void collect_candidates(uint32_t list[AGES])
{
    for (unsigned a = 0; a < AGES; a++) list[a] = OAKI_PTR_NONE;
    for (uint32_t i = (uint32_t)self.table.records.len; i-- > 0;) {
        record *r = at(i);
        if (!is_ordered(r) || r->state != WAITING) continue;
        if (unreachable(r)) {
            r->next = list[r->age];
            list[r->age] = i;
        } else if (!self.minor) {
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

/* Take those off the list that are marked already, on account of a younger group. Returns how many
 * remain. */
static size_t drop_marked(uint32_t *list, tally *dropped)
{
    size_t left = 0;
    for (uint32_t *p = list; *p != OAKI_PTR_NONE;) {
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
    for (uint32_t i = list; i != OAKI_PTR_NONE; i = at(i)->next) {
        if (!unreachable(at(i))) continue;
        mark_contents(at(i));
        if (++batch % BATCH == 0) oaki_mark_drain();
    }
    oaki_ephemerons_fixpoint(true);
    for (uint32_t i = list; i != OAKI_PTR_NONE; i = at(i)->next)
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
        if (list[a] == OAKI_PTR_NONE) continue;
        any = true;
        if (!mark_group(list[a])) {
            all_stuck = false;
            continue;
        }
        for (uint32_t i = list[a]; i != OAKI_PTR_NONE; i = at(i)->next) count(&stuck, at(i));
    }
    return stuck;
}

/* What they reach is marked, they themselves are not. */
static void queue_ordered(void)
{
    uint32_t list[AGES];
    tally stuck = { 0, 0 };
    if (ordered_waiting() > 0) {
        collect_candidates(list);
        stuck = mark_groups(list);
        for (unsigned a = AGES; a-- > 0;) {
            uint32_t next;
            for (uint32_t i = list[a]; i != OAKI_PTR_NONE; i = next) {
                next = at(i)->next;
                if (unreachable(at(i)))
                    queue_append(i);
                else
                    grow_older(at(i));
            }
        }
    }
    if (self.minor) return;
    AO_store(&self.stuck, stuck.objects);
    AO_store(&self.stuck_bytes, stuck.bytes);
}

static void decide_ordered(void)
{
    uint32_t last = self.tail;
    queue_ordered();
    resurrect(last);
}

/* ---- in the order of Boehm's collector (host.h) ---- */

static void dequeue(uint32_t i)
{
    queue_remove(i);
    at(i)->state = WAITING;
    grow_older(at(i));
    oaki_count_step(&self.waiting[at(i)->kind], 1);
}

static void decide_ordered_first(void)
{
    uint32_t last = self.tail, next;
    queue_ordered();
    queue_unordered();
    if (first_behind(last) == OAKI_PTR_NONE) return;
    for (uint32_t i = first_behind(last); i != OAKI_PTR_NONE; i = at(i)->next)
        if (at(i)->kind == OAK_FINALIZER_NO_ORDER) oaki_mark_contents(at(i)->link.obj);
    oaki_ephemerons_fixpoint(true);
    for (uint32_t i = first_behind(last); i != OAKI_PTR_NONE; i = next) {
        next = at(i)->next;
        if (at(i)->kind == OAK_FINALIZER_UNREACHABLE && !unreachable(at(i))) dequeue(i);
    }
    resurrect(last);
}

static void decide_cleanups(void)
{
    if (oaki_count_get(&self.waiting[CLEANUP]) == 0) return;
    for (uint32_t i = 0; i < self.table.records.len; i++) {
        if (at(i)->kind != CLEANUP || at(i)->state != WAITING || !unreachable(at(i))) continue;
        oaki_ptrtable_unlink(&self.table, i);
        queue_append(i);
    }
}

void oaki_finalizers_decide(bool minor)
{
    self.minor = minor;
    size_t before = oaki_finalizers_ready();
    if (self.ordered_first) {
        decide_ordered_first();
    } else {
        decide_no_order();
        decide_ordered();
    }
    decide_cleanups();
    if (oaki_finalizers_ready() > before) AO_store(&self.fresh, 1);
}

int oaki_finalizers_order(oaki_finalizer_order order)
{
    if (oaki_gc_hold() != 0) return -1;
    self.ordered_first = order == OAKI_ORDERED_FIRST;
    oaki_gc_release();
    return 0;
}

/* ---- for finalrun.c ---- */

bool oaki_finalizers_pop(oaki_ready *out)
{
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = self.head;
    if (i != OAKI_PTR_NONE) {
        const record *r = at(i);
        *out = (oaki_ready){ .obj = r->link.obj, .ctx = r->ctx, .fn = r->fn };
        record_remove(i);
    }
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    return i != OAKI_PTR_NONE;
}

size_t oaki_finalizers_ready(void)
{
    return oaki_count_get(&self.ready);
}

bool oaki_finalizers_fresh(void)
{
    return AO_compare_and_swap_full(&self.fresh, 1, 0);
}

void oaki_finalizers_trim(void)
{
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    (void)oaki_ptrtable_trim(&self.table, OAKI_PTR_FORGET);
    oaki_weak_trim();
    oaki_ephemerons_trim();
    oaki_links_trim();
    oaki_hold_trim();
    oaki_freed_trim();
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

void oaki_finalizers_stats(struct oak_memstats *out)
{
    out->finalizers = 0;
    for (unsigned k = 0; k < KINDS; k++) out->finalizers += oaki_count_get(&self.waiting[k]);
    out->finalizers_ready = oaki_count_get(&self.ready);
    out->finalizer_cycles = oaki_count_get(&self.stuck);
    out->finalizer_cycle_bytes = oaki_count_get(&self.stuck_bytes);
}

/* ---- for who follows references (follow.h) ---- */

void oaki_finalizers_each(void (*fn)(void *ctx, const oaki_finalizer_record *r), void *ctx)
{
    for (uint32_t i = 0; i < self.table.records.len; i++) {
        const record *r = at(i);
        bool cleanup = r->kind == CLEANUP;
        const void *code = cleanup ? (const void *)(uintptr_t)r->fn.cleanup
                                   : (const void *)(uintptr_t)r->fn.finalizer;
        fn(ctx, &(oaki_finalizer_record){ .obj = r->link.obj,
                                          .ctx = r->ctx,
                                          .fn = code,
                                          .cleanup = cleanup,
                                          .ready = r->state == READY });
    }
}

int oaki_finalizers_init(void)
{
    oaki_ptrtable_init(&self.table, sizeof(record));
    self.head = self.tail = OAKI_PTR_NONE;
    oaki_finalrun_init();
    return 0;
}

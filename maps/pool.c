/* pool.c - an object pool that the collector empties.
 *
 * Objects lie in magazines of 16. A thread's own magazine is a stack that no other thread changes.
 * The pool finds it by the address of the thread's record. A later thread may have a record at the
 * same address, and then inherits the magazine. A full magazine spills its older half to `full`,
 * from which threads with an empty one refill. A collection moves all objects to `victims`; a get
 * takes them from there.
 *
 * Owns: struct oak_pool, the magazines, and the list of pools that hold objects. The list is a
 * root, so that an object lives until the second collection even if the pool is unreachable. The
 * victims are those of Go's sync.Pool; magazines are Bonwick and Adams's (2001).
 *
 * Invariants:
 * - A pool that has magazines is in the list. Only turn(), in a pause, takes one out.
 * - Magazines are only added to cells, except by turn.
 * - `full` and `victims` are stacks (Treiber's). A magazine is pushed to `full` at most once in its
 *   life. It becomes a victim at most once between two collections, and no push or pop is under way
 *   in a collection. Its memory isn't reused while a thread holds a pointer to it. So a compare and
 *   swap of the head meets no ABA problem.
 * - Places above a magazine's n are 0.
 *
 * Lock: none. Magazines are changed inside oaki_enter, where no thread is ever stopped, so turn()
 * finds no change half done. User code and allocation are outside of it.
 * Bound: get and put are O(threads that share a cell); in debug mode O(objects). */
#include "pool.h"
#include "contract.h"
#include "gc/gc.h"
#include "runtime/contract.h"
#include <oakum/gc.h>

enum {
    SPILL = OAKI_POOL_ROOM / 2, /* objects that go to `full` at a time: half of a magazine */
    LINE = 64
};

static struct {
    AO_t first; /* oak_pool *: all that hold objects */
    AO_t ready; /* the list is a root, and turn is called */
    size_t seen; /* cycles, for oaki_gc_begins */
} pools;

/* ---- in a collection's stop, before the mark ---- */

static oaki_magazine *put_aside(oak_pool *p, oaki_magazine *m, oaki_magazine *aside)
{
    OAKI_REQUIRES_STOPPED();
    for (oaki_magazine *next; m; m = next) {
        next = m->next;
        oaki_count_add(&p->gets, m->gets);
        oaki_count_add(&p->puts, m->puts);
        m->gets = m->puts = 0;
        if (m->n == 0) continue;
        m->next = aside;
        aside = m;
    }
    return aside;
}

/* Full collections only: minor ones are frequent, and a pool's objects are mostly old, which a
 * minor one doesn't free. */
static void turn(void *ctx)
{
    if (!oaki_gc_begins(ctx, true)) return;
    oak_pool *p = (oak_pool *)AO_load(&pools.first), *kept = NULL;
    for (oak_pool *next; p; p = next) {
        OAKI_ASSERT(AO_load(&p->listed));
        OAKI_REQUIRES_SOUND(oaki_pool_check(p));
        oaki_magazine *aside = put_aside(p, (oaki_magazine *)p->full, NULL);
        p->full = 0;
        for (size_t i = 0; i < OAKI_POOL_CELLS; i++) {
            aside = put_aside(p, (oaki_magazine *)p->cell[i], aside);
            p->cell[i] = 0;
        }
        AO_store(&p->victims, (AO_t)aside);
        next = p->next;
        p->next = aside ? kept : NULL;
        if (aside)
            kept = p;
        else
            AO_store(&p->listed, 0);
    }
    AO_store(&pools.first, (AO_t)kept);
}

/* ---- magazines; inside oaki_enter ---- */

OAKI_INLINE AO_t *cell_of(oak_pool *p, const oaki_thread *t)
{
    return &p->cell[((uintptr_t)t * UINT64_C(0x9e3779b97f4a7c15)) >> 59];
}

OAKI_INLINE oaki_magazine *own(oak_pool *p, const oaki_thread *t)
{
    oaki_magazine *m = (oaki_magazine *)AO_load_acquire(cell_of(p, t));
    while (m && m->owner != t) m = m->next;
    return m;
}

static void push(AO_t *stack, oaki_magazine *m)
{
    AO_t head;
    OAKI_REQUIRES_INSIDE();
    do {
        head = AO_load(stack);
        m->next = (oaki_magazine *)head;
    } while (!AO_compare_and_swap_release(stack, head, (AO_t)m));
}

static oaki_magazine *pop(AO_t *stack)
{
    oaki_magazine *m;
    OAKI_REQUIRES_INSIDE(); /* no collection turns the stacks over meanwhile */
    do {
        m = (oaki_magazine *)AO_load_acquire(stack);
    } while (m && !AO_compare_and_swap_full(stack, (AO_t)m, (AO_t)m->next));
    return m;
}

static void enlist(oak_pool *p)
{
    if (AO_load(&p->listed) || !AO_compare_and_swap_full(&p->listed, 0, 1)) return;
    AO_t head;
    do {
        head = AO_load(&pools.first);
        p->next = (oak_pool *)head;
    } while (!AO_compare_and_swap_release(&pools.first, head, (AO_t)p));
}

static void adopt(oak_pool *p, const oaki_thread *t, oaki_magazine *m)
{
    OAKI_ASSERT(!own(p, t));
    m->owner = t;
    enlist(p);
    push(cell_of(p, t), m);
}

OAKI_INLINE void *item_out(oaki_magazine *m)
{
    OAKI_ASSERT(AO_load(&m->n) > 0 && AO_load(&m->n) <= OAKI_POOL_ROOM);
    size_t n = AO_load(&m->n) - 1;
    void *obj = (void *)AO_load(&m->item[n]);
    OAKI_ASSERT(obj);
    AO_store(&m->item[n], 0);
    AO_store(&m->n, n);
    return obj;
}

OAKI_INLINE void item_in(oaki_magazine *m, void *obj)
{
    size_t n = AO_load(&m->n);
    OAKI_ASSERT(obj && n < OAKI_POOL_ROOM && AO_load(&m->item[n]) == 0);
    AO_store(&m->item[n], (AO_t)obj);
    AO_store(&m->n, n + 1);
}

/* The older objects are spilled: the newer ones are still in the processor's cache. */
static void spill(oak_pool *p, oaki_magazine *from, oaki_magazine *to)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(AO_load(&from->n) == OAKI_POOL_ROOM && AO_load(&to->n) == 0);
    for (size_t i = 0; i < SPILL; i++) item_in(to, (void *)AO_load(&from->item[i]));
    for (size_t i = 0; i < SPILL; i++) {
        AO_store(&from->item[i], AO_load(&from->item[i + SPILL]));
        AO_store(&from->item[i + SPILL], 0);
    }
    AO_store(&from->n, SPILL);
    push(&p->full, to);
}

/* Returns a magazine with objects for a thread whose own, m, is empty or NULL. NULL: there is
 * none. */
static OAKI_NOINLINE oaki_magazine *refill(oak_pool *p, const oaki_thread *t, oaki_magazine *m)
{
    oaki_magazine *other = pop(&p->full);
    if (!other) other = pop(&p->victims);
    if (!other) return NULL;
    OAKI_ASSERT(AO_load(&other->n) > 0 && (!m || AO_load(&m->n) == 0));
    if (!m) {
        adopt(p, t, other);
        return other;
    }
    for (size_t i = 0, n = AO_load(&other->n); i < n; i++) {
        item_in(m, (void *)AO_load(&other->item[i]));
        AO_store(&other->item[i], 0);
    }
    return m;
}

/* ---- the public side ---- */

static bool get_ready(void)
{
    if (AO_load_acquire(&pools.ready)) return true;
    if (oak_root_add(&pools.first, sizeof pools.first) != 0 ||
        oaki_gc_at_cycle(turn, &pools.seen) != 0)
        return false;
    AO_store_release(&pools.ready, 1);
    return true;
}

oak_pool *oak_pool_new(void *(*make)(void *ctx), void (*reset)(void *obj, void *ctx), void *ctx)
{
    oak_pool *p = oak_zone_alloc(NULL, sizeof *p); /* on a list of all pools: outlives any zone */
    if (!p || !get_ready()) return NULL;
    p->make = make;
    p->reset = reset;
    p->ctx = ctx;
    return p;
}

void oak_pool_limit(oak_pool *p, size_t limit, size_t (*size)(const void *obj, void *ctx))
{
    if (!p) oak_fatal("oakum: oak_pool_limit: the pool is NULL");
    p->size = size;
    p->limit = limit;
}

static OAKI_NOINLINE void *make_one(oak_pool *p)
{
    OAKI_REQUIRES_OUTSIDE();
    void *obj = p->make ? p->make(p->ctx) : NULL;
    oaki_count_add(&p->made, 1);
    if (obj && oaki_pool_debugging()) oaki_pool_note_new(p, obj);
    return obj;
}

void *oak_pool_get(oak_pool *p)
{
    if (OAKI_UNLIKELY(!p)) oak_fatal("oakum: oak_pool_get: the pool is NULL");
    void *obj = NULL;
    oaki_thread *t = oaki_enter();
    if (!t) return NULL;
    oaki_magazine *m = own(p, t);
    if (!m || AO_load(&m->n) == 0) {
        oaki_magazine *other = refill(p, t, m);
        m = other ? other : m;
    }
    if (m)
        AO_store(&m->gets, AO_load(&m->gets) + 1);
    else
        oaki_count_add(&p->gets, 1);
    if (m && AO_load(&m->n) > 0) obj = item_out(m);
    oaki_leave(t);
    return obj ? obj : make_one(p);
}

enum { DONE, NEEDS_SPARE, PUT_TWICE };

/* Puts into the thread's own magazine; inside oaki_enter. `spare` is a new one, or NULL. */
OAKI_INLINE int put_own(oak_pool *p, const oaki_thread *t, void *obj, oaki_magazine *spare)
{
    oaki_magazine *m = own(p, t);
    size_t n = m ? AO_load(&m->n) : OAKI_POOL_ROOM;
    OAKI_REQUIRES_INSIDE();
    if (m && n > 0 && OAKI_UNLIKELY((void *)AO_load(&m->item[n - 1]) == obj)) return PUT_TWICE;
    if (OAKI_UNLIKELY(n == OAKI_POOL_ROOM)) {
        if (!spare) return NEEDS_SPARE;
        if (!m)
            adopt(p, t, m = spare);
        else
            spill(p, m, spare);
    }
    item_in(m, obj);
    AO_store(&m->puts, AO_load(&m->puts) + 1);
    return DONE;
}

static bool put(oak_pool *p, void *obj)
{
    oaki_magazine *spare = NULL;
    for (;;) {
        oaki_thread *t = oaki_enter();
        if (!t) return false;
        int done = put_own(p, t, obj, spare);
        oaki_leave(t);
        if (OAKI_LIKELY(done == DONE)) return true;
        if (done == PUT_TWICE) oaki_pool_put_twice(p, obj);
        spare = OAKI_IN_ZONE_OF(p, oak_alloc_aligned(LINE, sizeof *spare));
        if (!spare) return false;
    }
}

void oak_pool_put(oak_pool *p, void *obj)
{
    if (OAKI_UNLIKELY(!p)) oak_fatal("oakum: oak_pool_put: the pool is NULL");
    if (!obj) return;
    if (OAKI_UNLIKELY(!oaki_heap_contains(obj)))
        oak_fatal("oakum: oak_pool_put: %p is not a pointer into Oakum's heap", obj);
    if (oaki_pool_debugging() && oaki_attached()) oaki_pool_check_double(p, obj);
    OAKI_REQUIRES_OUTSIDE();
    if (p->reset) p->reset(obj, p->ctx);
    if (oaki_pool_debugging()) oaki_pool_check_reset(p, obj);
    if ((p->limit && oaki_pool_size_of(p, obj) > p->limit) || !put(p, obj)) {
        oaki_count_add(&p->puts, 1);
        oaki_count_add(&p->dropped, 1);
    }
}

/* room.c - making room below a limit, for any number of threads at once (room.h).
 *
 * After a collection of its own a thread would have to race for the room: others take it first. So
 * each thread that finds no room puts down what it wants. The end of the next mark hands room out,
 * in the order of the requests, while the world is stopped. By then caches have been flushed and
 * all is swept. All waiting threads share that collection. A want that no full mark could meet,
 * which began after the request, is refused: the allocation fails.
 *
 * What waits in the guard's queue is given up first.
 *
 * An object with a finalizer is garbage only once that has run. So another collection is made as
 * long as finalizers run in consequence of the last one.
 *
 * A full heap must not cost a collection for each allocation that fails. A thread has PATIENCE: so
 * many refusals in a row come after a collection each. From then on it may be refused at once,
 * until one of these: REST times as long has gone by as the world stood for the last collection in
 * vain; a page's worth has been freed; as many were refused at once as in all before.
 * A row ends with a request that is met, or after a time without any refusal.
 *
 * Owns: the list of wants; what the last collection in vain has left; a thread's patience.
 * Lock: room.lock, and none in a stop.
 * Bound: of a row of refusals PATIENCE + log2(refusals) collections, and those that take
 * 1/(REST + 1) of the time. */
#include "room.h"

#include "collector.h"
#include "guard.h"
#include "heap.h"
#include "os.h"

#define PATIENCE 16
#define REST 4
#define DOUBTS 3  /* collections for one request that may have kept what a fast path held, */
#define ROUNDS 16 /* and those that come after finalizers have run */

static struct {
    oaki_lock lock;
    oaki_want *first;
    AO_t vain_end, vain_ns; /* the last collection that refused one: its end, and how long it was */
    AO_t vain_freed;        /* bytes freed until then, by sweeps and by hand */
} room = { .lock = OAKI_LOCK_INIT(OAKI_RANK_ROOM) };

/* ---- the list ---- */

static void put_down(oaki_want *w)
{
    oaki_want **at = &room.first;
    w->answer = OAKI_WANT_WAITS;
    w->next = NULL;
    oaki_lock_acquire(&room.lock);
    while (*at) at = &(*at)->next;
    *at = w;
    oaki_lock_release(&room.lock);
}

static void unlink_want(const oaki_want *w)
{
    for (oaki_want **at = &room.first; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            return;
        }
}

void oaki_room_withdraw(oaki_want *w)
{
    oaki_lock_acquire(&room.lock);
    unlink_want(w);
    oaki_lock_release(&room.lock);
}

static size_t bytes_freed(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t bytes = AO_load(&h->large_free_bytes);
    for (unsigned c = 1; c < oaki_nclasses; c++)
        bytes += AO_load(&h->frees[c]) * oaki_classes[c].size;
    return bytes;
}

/* A word that looks like a fast path's address may be there in each stop. */
static bool is_refused(oaki_want *w, oaki_found found)
{
    if (found == OAKI_FOUND_MOST) return ++w->doubts > DOUBTS;
    return found == OAKI_FOUND_ALL;
}

void oaki_room_serve(oaki_found found, uint64_t ns)
{
    oaki_want *next, *w = room.first;
    bool vain = false;
    OAKI_ASSERT(oaki_world_stopped());
    if (OAKI_LIKELY(!w)) return;
    oaki_gc_sweep_all();
    for (; w; w = next) {
        next = w->next;
        if (w->take(w))
            w->answer = OAKI_WANT_GOT;
        else if (is_refused(w, found))
            w->answer = OAKI_WANT_REFUSED;
        vain |= w->answer == OAKI_WANT_REFUSED;
        if (w->answer != OAKI_WANT_WAITS) unlink_want(w);
    }
    if (!vain) return;
    AO_store(&room.vain_freed, bytes_freed());
    AO_store(&room.vain_ns, ns);
    AO_store(&room.vain_end, (AO_t)oaki_os_now_ns());
}

/* ---- patience ---- */

/* More than any collection can make room for? */
static bool is_hopeless(const oaki_want *w)
{
    size_t max = AO_load(&oaki_the_heap.heap_max) >> OAKI_PAGE_SHIFT;
    const oak_zone *z = w->thread->mcache->zone;
    return (max && w->pages > max) || (z->id && w->pages > AO_load(&z->limit));
}

static bool is_spent(oaki_patience *p, uint32_t zone, uint64_t now)
{
    uint64_t rest = REST * (uint64_t)AO_load(&room.vain_ns);
    if (p->zone != zone || now - p->last_ns > PATIENCE * rest) *p = (oaki_patience){ .zone = zone };
    if (p->refused < PATIENCE || p->at_once >= p->refused - p->at_once) return false;
    if (now - AO_load(&room.vain_end) > rest) return false;
    return bytes_freed() - AO_load(&room.vain_freed) < OAKI_PAGE;
}

static bool refuse(oaki_patience *p, bool at_once)
{
    p->refused += p->refused < UINT32_MAX;
    p->at_once = at_once ? p->at_once + 1 : 0;
    p->last_ns = oaki_os_now_ns();
    return false;
}

/* ---- making it ---- */

/* What waits for its sweep: in a zone's own lists first, which may do. */
static bool sweep_for(oaki_thread *t, oaki_want *w)
{
    const oak_zone *z = t->mcache->zone;
    if (z->id) {
        oaki_gc_sweep_zone(z);
        if (w->take(w)) return true;
    }
    oaki_gc_sweep_all();
    return w->take(w);
}

static bool collect_for(oaki_thread *t, oaki_want *w)
{
    oak_zone *z = t->mcache->zone;
    size_t ran = oaki_gc_finalizers_ran();
    for (unsigned i = 0; i < ROUNDS; i++) {
        put_down(w);
        if (!oaki_gc_make_room(t, w)) return false;
        if (z->id) oaki_count_add(&z->collections, 1);
        if (w->answer == OAKI_WANT_GOT) return true;
        if (!oaki_gc_await_finalizers(t, &ran)) return false;
    }
    return false;
}

bool oaki_room_make(oaki_thread *t, oaki_want *w)
{
    oaki_patience *p = &t->patience;
    w->thread = t;
    if (is_hopeless(w)) return false;
    bool got = sweep_for(t, w);
    while (!got && oaki_guard.on && oaki_free_waiting(0)) got = sweep_for(t, w);
    if (!got && is_spent(p, t->mcache->zone->id, oaki_os_now_ns())) return refuse(p, true);
    if (!got && !collect_for(t, w)) return refuse(p, false);
    p->refused = p->at_once = 0;
    return true;
}

/* Other threads' requests are the parent's. */
static void after_fork(void)
{
    oaki_want *next;
    for (oaki_want *w = room.first; w; w = next) {
        next = w->next;
        if (w->thread != oaki_thread_self()) unlink_want(w);
    }
}

int oaki_room_init(void)
{
    oaki_fork_register(after_fork);
    return 0;
}

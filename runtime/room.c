/* room.c - making room below a limit, for any number of threads at once (room.h).
 *
 * If each thread made a collection of its own, it would have to race for the room. So a thread that
 * finds no room puts a want on a list. The end of the next mark hands out room in the order of the
 * requests, while the world is stopped. By then caches are flushed and all spans are swept. All
 * waiting threads share that collection. A want is refused when a full mark that began after the
 * request can't meet it: the allocation fails.
 *
 * The objects in the guard's queue are given up first.
 *
 * An object with a finalizer is garbage only once the finalizer has run. So collections are
 * repeated as long as finalizers run because of the last one. Nor does the pause find the room of
 * objects that are asked for after it (gc/disclaim.c). So a refused want looks once more, and
 * collections are repeated as long as such objects go.
 *
 * A full heap must not cost one collection per failed allocation. So a thread has a patience at
 * each limit: its first PATIENCE refusals in a row each come after a collection. From then on it
 * may be refused at once, until one of these holds:
 *   - REST times the pause of the last vain collection has passed; pauses before it that left the
 *     answer open count too;
 *   - a page's worth has been freed;
 *   - as many requests were refused at once as in all before.
 * A row ends with a request that is met, or after a time without any refusal. A request's row has
 * the refusals of requests that were no larger: a table that can't grow takes no patience from its
 * entries. Many threads, or limits, have many rows. So after VAIN vain collections in a row, the
 * next one waits for that time.
 *
 * Where collections are off, memory freed by hand may still be out of reach: in empty spans of
 * another size, and in the caches of threads. So a stop takes a collection's place: these are
 * returned, and the wants are served. A host that frees by hand may search for garbage itself
 * before that stop.
 *
 * Owns: the list of wants; the results of the last vain collections; a thread's patience.
 * Lock: room.lock, and none in a stop.
 * Bound: in a row of refusals of one size, PATIENCE + log2(refusals) requests collect, at most
 * ROUNDS times each. Further collections, and all after VAIN, take at most 1/(REST + 1) of the
 * time. */
#include "room.h"

#include "collector.h"
#include "contract.h"
#include "emptied.h"
#include "guard.h"
#include "heap.h"
#include "os.h"
#include "roots.h"
#include <errno.h>
#include <string.h>

#define PATIENCE 16
#define REST 4
#define VAIN 64           /* vain collections in a row, of all threads */
#define NAP_NS 1000000u   /* of a thread that waits for the next one */
#define DOUBTS 3  /* collections for one request that may have missed garbage */
#define ROUNDS 16 /* collections for one request, as long as the last one made room after its end */
#define STOP_NS UINT64_C(10000000000) /* for threads to stop, where no collection runs */

static struct {
    oaki_lock lock;
    oaki_want *first;
    AO_t vain_end, vain_ns; /* the last collection that refused a want: its end, its pauses */
    AO_t vain_freed;        /* bytes freed until then, by sweeps and by hand */
    AO_t vain_row;          /* such collections since a want was met */
    bool refused;           /* a want, in the pause that is under way; gc_lock */
    bool doubted;           /* that pause left a want's answer open; gc_lock */
    uint64_t doubted_ns;    /* such pauses since a want was met or refused; gc_lock */
    AO_t runs_on; /* 1: a thread of the host's did not stop in time; no stop is tried again */
    const oaki_room_host *host;
} room = { .lock = OAKI_LOCK_INIT(OAKI_RANK_ROOM) };

/* ---- the list ---- */

static void put_down(oaki_want *w)
{
    OAKI_REQUIRES_INSIDE();
    oaki_want **at = &room.first;
    w->answer = OAKI_WANT_WAITS;
    w->seen = false;
    w->next = NULL;
    oaki_lock_acquire(&room.lock);
    while (*at) at = &(*at)->next;
    *at = w;
    oaki_lock_release(&room.lock);
}

static void unlink_want(const oaki_want *w)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&room.lock);
    for (oaki_want **at = &room.first; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            return;
        }
}

void oaki_room_withdraw(oaki_want *w)
{
    OAKI_REQUIRES_INSIDE();
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

/* May the mark have missed garbage? Other threads go on while the host searches. */
static bool is_in_doubt(const oaki_want *w, oaki_found found)
{
    if (found == OAKI_FOUND_MOST) return true;
    return found == OAKI_FOUND_SEEN && w->seen && AO_load(&oaki_the_heap.nthreads) > 1;
}

/* DOUBTS bounds the retries: a word that looks like a fast path's address may be there in each
 * stop. */
static bool is_refused(oaki_want *w, oaki_found found)
{
    if (is_in_doubt(w, found)) return ++w->doubts > DOUBTS;
    return found == OAKI_FOUND_ALL || (found == OAKI_FOUND_SEEN && w->seen);
}

void oaki_room_serve(oaki_found found, uint64_t ns)
{
    oaki_want *next, *w = room.first;
    bool vain = false, met = false;
    OAKI_REQUIRES_STOPPED();
    if (OAKI_LIKELY(!w)) return;
    oaki_gc_sweep_all();
    for (; w; w = next) {
        next = w->next;
        OAKI_ASSERT(w->answer == OAKI_WANT_WAITS);
        if (w->take(w))
            w->answer = OAKI_WANT_GOT;
        else if (is_refused(w, found))
            w->answer = OAKI_WANT_REFUSED;
        vain |= w->answer == OAKI_WANT_REFUSED;
        met |= w->answer == OAKI_WANT_GOT;
        room.doubted |= w->answer == OAKI_WANT_WAITS;
        if (w->answer != OAKI_WANT_WAITS) unlink_want(w);
    }
    if (met) {
        AO_store(&room.vain_row, 0);
        room.doubted_ns = 0;
    }
    if (!vain) return;
    AO_fetch_and_add1(&room.vain_row);
    AO_store(&room.vain_freed, bytes_freed());
    AO_store(&room.vain_ns, (AO_t)(room.doubted_ns + ns));
    AO_store(&room.vain_end, (AO_t)oaki_os_now_ns());
    room.refused = true;
}

/* On a busy machine, what is left of a pause may take longer than all before. */
void oaki_room_paused(uint64_t ns)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (room.refused) {
        AO_t all = (AO_t)(room.doubted_ns + ns);
        AO_store(&room.vain_ns, OAKI_MAX(AO_load(&room.vain_ns), all));
        AO_store(&room.vain_end, (AO_t)oaki_os_now_ns());
        room.doubted_ns = 0;
    } else if (room.doubted) {
        room.doubted_ns += ns;
    }
    room.refused = room.doubted = false;
}

bool oaki_room_is_wanted(void)
{
    OAKI_REQUIRES_STOPPED();
    return room.first != NULL;
}

/* ---- patience ---- */

/* Does the want exceed the room that any collection could make? */
static bool is_hopeless(const oaki_want *w)
{
    size_t max = AO_load(&oaki_the_heap.heap_max) >> OAKI_PAGE_SHIFT;
    const oak_zone *z = w->thread->mcache->zone;
    return (max && w->pages > max) || (z->id && w->pages > AO_load(&z->limit));
}

static unsigned size_of(const oaki_want *w)
{
    unsigned size = w->pages < 2 ? 0 : oaki_log2(w->pages - 1) + 1;
    return OAKI_MIN(size, OAKI_PATIENCE_SIZES - 1u);
}

static uint64_t rest_ns(void)
{
    return REST * (uint64_t)AO_load(&room.vain_ns);
}

/* Has the last vain collection ended so short a time ago that another would be one, too? */
static bool is_resting(uint64_t now)
{
    if (now - AO_load(&room.vain_end) > rest_ns()) return false;
    return bytes_freed() - AO_load(&room.vain_freed) < OAKI_PAGE;
}

/* The zone whose limit refuses the want; 0: the heap's does, or the system's. */
static uint32_t limit_of(const oaki_want *w)
{
    const oak_zone *z = w->thread->mcache->zone;
    size_t held = AO_load(&z->pages), limit = AO_load(&z->limit);
    return z->id && (held > limit || w->pages > limit - held) ? z->id : 0;
}

/* The row at a limit; if there is no place, the one that was used the longest time ago goes. */
static oaki_patience *row_of(oaki_thread *t, uint32_t zone, uint64_t now)
{
    oaki_patience *row = t->patience, *p = row;
    for (unsigned i = 0; i < OAKI_PATIENCE_LIMITS; i++) {
        if (row[i].last_ns && row[i].zone == zone && now - row[i].last_ns <= PATIENCE * rest_ns())
            return &row[i];
        if (row[i].last_ns < p->last_ns) p = &row[i];
    }
    *p = (oaki_patience){ .zone = zone };
    return p;
}

static bool is_spent(const oaki_patience *p, const oaki_want *w, uint64_t now)
{
    uint64_t refused = 0, at_once = 0;
    for (unsigned i = 0; i <= size_of(w); i++) {
        refused += p->of[i].refused;
        at_once += p->of[i].at_once;
    }
    return refused >= PATIENCE && at_once < refused - at_once && is_resting(now);
}

/* Waits for the turn to collect, where many collections were vain. true: there is room. */
static bool wait_for_turn(oaki_thread *t, oaki_want *w)
{
    OAKI_REQUIRES_INSIDE();
    for (uint64_t now; AO_load(&room.vain_row) >= VAIN && !oaki_gc_is_off();) {
        now = oaki_os_now_ns();
        if (!is_resting(now)) break;
        uint64_t left = AO_load(&room.vain_end) + rest_ns() - now;
        oaki_leave(t);
        oaki_os_sleep_ns(OAKI_MIN(OAKI_MAX(left, 1), NAP_NS));
        (void)oaki_enter();
        if (w->take(w)) return true;
    }
    return false;
}

/* A collection that made no room for one request would have made none for a larger one. */
static bool refuse(oaki_patience *p, const oaki_want *w, bool at_once)
{
    unsigned size = size_of(w);
    p->of[size].refused += p->of[size].refused < UINT32_MAX;
    p->of[size].at_once += at_once;
    for (unsigned i = size; i < OAKI_PATIENCE_SIZES && !at_once; i++) p->of[i].at_once = 0;
    p->last_ns = oaki_os_now_ns();
    return false;
}

/* ---- without collections ---- */

void oaki_room_set_host(const oaki_room_host *host)
{
    room.host = host;
}

void oaki_room_see(void)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&room.lock);
    for (oaki_want *w = room.first; w; w = w->next) w->seen = true;
    oaki_lock_release(&room.lock);
}

static void free_and_serve(const oaki_room_finding *l)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_ASSERT(oaki_helpers_are_held());
    uint64_t begun = oaki_world_asked_ns();
    oaki_gc_flush_caches();
    if (room.host) room.host->give_up();
    if (l->free) l->free(l->ctx);
    oaki_emptied_free(oaki_emptied_take());
    oaki_room_serve(l->found, l->ns + oaki_os_now_ns() - begun);
}

static int stop_and_serve(oaki_thread *t, const oaki_room_finding *l)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    oaki_helpers_hold();
    int error = oaki_world_try_stop(t, STOP_NS);
    if (error == 0) {
        free_and_serve(l);
        oaki_world_start(t);
    }
    oaki_helpers_release();
    return error;
}

/* The thread's context is saved in this frame, which stays until the world runs. */
OAKI_NOINLINE bool oaki_room_stop(oaki_thread *t, const oaki_room_finding *l)
{
    int error = AO_load(&room.runs_on) ? EBUSY : EAGAIN;
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_SELF(t);
    while (error == EAGAIN) {
        if (!oaki_roots_refresh(t)) return false;
        oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
        oaki_thread_save_context(t);
        bool needed = !l->want || l->want->answer == OAKI_WANT_WAITS;
        error = needed ? stop_and_serve(t, l) : 0;
        oaki_lock_release(&oaki_the_heap.gc_lock);
    }
    if (error == EBUSY) AO_store(&room.runs_on, 1);
    return error == 0;
}

/* The slots in other threads' caches stay there. */
static bool take_without_stop(oaki_thread *t, oaki_want *w)
{
    oaki_room_withdraw(w);
    if (w->answer != OAKI_WANT_WAITS) return w->answer == OAKI_WANT_GOT;
    oaki_zones_flush(t);
    uint32_t first = oaki_emptied_take();
    oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
    oaki_world_handshake(t);
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_emptied_free(first);
    return w->take(w);
}

/* false in a child of vfork: it runs on its parent's thread record, and has no threads of its own
 * to stop. */
static bool is_itself(const oaki_thread *t)
{
    return oaki_os_tid() == t->tid;
}

static bool take_back(oaki_thread *t, oaki_want *w)
{
    if (oaki_fork_is_held() || !is_itself(t)) return false;
    put_down(w);
    oaki_room_finding none = { .found = OAKI_FOUND_ALL, .want = w };
    bool looked = room.host && room.host->collect;
    while (looked && w->answer == OAKI_WANT_WAITS) looked = room.host->collect(t, w);
    if (!looked && !oaki_room_stop(t, &none)) return take_without_stop(t, w);
    oaki_room_withdraw(w);
    return w->answer == OAKI_WANT_GOT;
}

/* ---- making it ---- */

/* Sweeps unswept spans for the want. Starts with the zone's own lists, which may be enough. */
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

static bool has_grown(size_t *seen, size_t now)
{
    bool grown = now != *seen;
    *seen = now;
    return grown;
}

static bool collect_for(oaki_thread *t, oaki_want *w)
{
    oak_zone *z = t->mcache->zone;
    size_t ran = oaki_gc_finalizers_ran(), asked = oaki_gc_disclaimed();
    bool any = false;
    for (unsigned i = 0; i < ROUNDS; i++) {
        put_down(w);
        bool may = oaki_gc_make_room(t, w);
        if (!may) {
            if (w->answer == OAKI_WANT_GOT) return true;
            if (oaki_gc_is_off()) return take_back(t, w);
            continue; /* collections may have just been enabled; or one has no memory for tables */
        }
        any = true;
        if (z->id) oaki_count_add(&z->collections, 1);
        if (w->answer == OAKI_WANT_GOT) return true;
        bool went = has_grown(&asked, oaki_gc_disclaimed());
        if (went && w->take(w)) return true;
        if (!oaki_gc_await_finalizers(t, &ran) && !went) return false;
    }
    return !any && take_back(t, w);
}

bool oaki_room_make(oaki_thread *t, oaki_want *w)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_SELF(t);
    w->thread = t;
    uint32_t limit = limit_of(w);
    if (is_hopeless(w) || (room.host && !room.host->waits())) return false;
    bool got = sweep_for(t, w);
    while (!got && oaki_guard.on && oaki_free_waiting(0)) got = sweep_for(t, w);
    uint64_t now = oaki_os_now_ns();
    oaki_patience *p = row_of(t, limit, now);
    if (!got && is_spent(p, w, now)) return refuse(p, w, true);
    if (!got && !wait_for_turn(t, w) && !collect_for(t, w)) /* functions of the program have run */
        return refuse(row_of(t, limit, oaki_os_now_ns()), w, false);
    *row_of(t, limit, now) = (oaki_patience){ 0 };
    AO_store(&room.vain_row, 0);
    return true;
}

void oaki_room_forget(oaki_thread *t)
{
    OAKI_REQUIRES_SELF(t);
    memset(t->patience, 0, sizeof t->patience);
}

/* The requests of other threads belong to the parent. */
static void after_fork(void)
{
    oaki_want *next;
    OAKI_REQUIRES_FORKED();
    oaki_lock_acquire(&room.lock);
    for (oaki_want *w = room.first; w; w = next) {
        next = w->next;
        if (w->thread != oaki_thread_self()) unlink_want(w);
    }
    oaki_lock_release(&room.lock);
    AO_store(&room.runs_on, 0); /* such a thread is not in the child */
}

int oaki_room_init(void)
{
    oaki_fork_register(after_fork);
    return 0;
}

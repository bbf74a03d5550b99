/* event.c - reports to listeners that a cycle is over (event.h).
 *
 * Owns: oaki_gc.events. The ring has one writer, under gc_lock, and one reader, the
 * thread that has the turn.
 * Invariants: `turn` is the address of a thread-local word of the thread that has it, which is
 * the same in a forked child. A thread that gives up the turn checks the ring once more. So an
 * event whose cycle found the turn taken is reported by the thread that had it.
 * Bound: a listener's own. */
#include "event.h"

#include "contract.h"
#include "gc.h"
#include "runtime/guard.h"
#include "runtime/mcache.h"
#include "runtime/os.h"
#include "tuning.h"
#include <errno.h>

static oaki_events *const self = &oaki_gc.events;

static AO_t me(void)
{
    return (AO_t)&oaki_tls_mcache;
}

/* ---- the turn ---- */

static bool take_turn(void)
{
    return AO_compare_and_swap_full(&self->turn, 0, me());
}

static void give_turn(void)
{
    OAKI_INVARIANT(AO_load(&self->turn) == me(), "another thread has the turn to report cycles");
    AO_store_release(&self->turn, 0);
    AO_nop_full();
}

/* false: the caller is a listener and has it. The sleep is outside the runtime, so it delays no
 * pause. */
static bool wait_for_turn(void)
{
    OAKI_REQUIRES_OUTSIDE();
    if (AO_load(&self->turn) == me()) return false;
    while (!take_turn()) oaki_os_sleep_ns(OAKI_TUNE_EVENT_NAP_NS);
    return true;
}

bool oaki_event_is_mine(void)
{
    return AO_load(&self->turn) == me();
}

/* ---- events ---- */

void oaki_event_note(const oaki_cycle *c)
{
    AO_t tail = AO_load(&self->tail);
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    if (AO_load(&self->nlisteners) == 0) return;
    if (tail - AO_load_acquire(&self->head) == OAKI_EVENTS) {
        self->lost++;
        return;
    }
    oaki_cycle *e = &self->ring[tail % OAKI_EVENTS];
    *e = *c;
    e->lost = self->lost;
    self->lost = 0;
    AO_store_full(&self->tail, tail + 1);
}

static bool waiting(void)
{
    return AO_load(&self->head) != AO_load_acquire(&self->tail);
}

static void report_all(void)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_ASSERT(AO_load(&self->turn) == me());
    while (waiting()) {
        AO_t head = AO_load(&self->head);
        self->reported = self->ring[head % OAKI_EVENTS];
        AO_store_release(&self->head, head + 1);
        for (size_t i = 0; i < OAKI_LISTENERS; i++)
            if (self->listener[i].fn) self->listener[i].fn(&self->reported, self->listener[i].ctx);
    }
}

/* A listener that does I/O could be cancelled there while it has the turn, so cancellation is
 * disabled. */
static void report_in_turn(void)
{
    int cancel, saved = errno;
    if (OAKI_LIKELY(!waiting())) return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    while (waiting() && take_turn()) {
        report_all();
        give_turn();
    }
    pthread_setcancelstate(cancel, &cancel);
    errno = saved;
}

/* Listeners and finalizers may be functions of the program. */
void oaki_event_over(oaki_thread *t)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_RUNNING();
    if (OAKI_UNLIKELY(t->held.depth > 0)) {
        t->held.over = true;
        oaki_finalizers_wake();
        return;
    }
    bool bare = t->bare;
    t->bare = false;
    if (OAKI_UNLIKELY(oaki_guard.on)) oaki_guard_report();
    report_in_turn();
    oaki_finalizers_dispatch();
    oaki_scavenger_spawn();
    oaki_ahead_spawn();
    oaki_plan_attend();
    t->bare = bare;
}

void oaki_gc_flush_events(void)
{
    AO_t end = AO_load_acquire(&self->tail);
    report_in_turn();
    while (AO_load(&self->turn) != me() && (intptr_t)(end - AO_load_acquire(&self->head)) > 0)
        oaki_os_sleep_ns(OAKI_TUNE_EVENT_NAP_NS);
    /* the last event is taken, but may still be in the listeners */
    if (wait_for_turn()) give_turn();
}

/* ---- listeners ---- */

/* The listener's place; OAKI_LISTENERS when there is none. */
static size_t find(oaki_cycle_fn fn, const void *ctx)
{
    size_t i = 0;
    OAKI_ASSERT(AO_load(&self->turn) == me());
    while (i < OAKI_LISTENERS && !(self->listener[i].fn == fn && self->listener[i].ctx == ctx)) i++;
    return i;
}

int oaki_gc_on_cycle(oaki_cycle_fn fn, void *ctx)
{
    OAKI_REQUIRES_OUTSIDE();
    bool waited = wait_for_turn();
    size_t i = find(fn, ctx);
    if (i == OAKI_LISTENERS && (i = find(NULL, NULL)) < OAKI_LISTENERS) {
        self->listener[i].ctx = ctx;
        self->listener[i].fn = fn;
        AO_fetch_and_add1(&self->nlisteners);
    }
    if (waited) give_turn();
    report_in_turn();
    if (i < OAKI_LISTENERS) return 0;
    errno = ENOMEM;
    return -1;
}

void oaki_gc_off_cycle(oaki_cycle_fn fn, void *ctx)
{
    bool waited = wait_for_turn();
    size_t i = find(fn, ctx);
    if (i < OAKI_LISTENERS) {
        self->listener[i].fn = NULL;
        self->listener[i].ctx = NULL;
        OAKI_ASSERT(AO_load(&self->nlisteners) > 0);
        AO_fetch_and_sub1(&self->nlisteners);
    }
    if (waited) give_turn();
    report_in_turn();
}

/* ---- start ---- */

/* In a fork's child. The parent reports the pending events. */
void oaki_events_reset(void)
{
    OAKI_REQUIRES_FORKED();
    if (AO_load(&self->turn) != me()) AO_store(&self->turn, 0);
    AO_store(&self->head, AO_load(&self->tail));
    self->lost = 0;
}

OAKI_AT_START void oaki_event_init(void)
{
    if (oaki_debug_switches.gctrace) (void)oaki_gctrace_start();
}

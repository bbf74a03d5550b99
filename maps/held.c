/* held.c - calls the functions of the program that a map's write has held back (held.h).
 *
 * Owns nothing. Lock: none, and none is held. */
#include "held.h"

#include "gc/event.h"
#include "runtime/collector.h"
#include "runtime/contain.h"
#include "runtime/contract.h"
#include <errno.h>
#include <oakum/heap.h>

#define TRIES 16 /* of a write that has failed, after finalizers */

/* on_full runs in the zone of an owner, which was entered for it. */
static __thread bool away __attribute__((tls_model("initial-exec")));

static void come_back(void)
{
    if (away) oaki_zone_back();
    away = false;
}

OAKI_UNWIND_ACTION(oaki_held_full_left)
{
    come_back();
}

static OAKI_NOINLINE bool call_full(const void *owner, size_t bytes)
{
    OAKI_ON_UNWIND(oaki_held_full_left);
    bool outer = away; /* on_full may write to maps in its turn */
    int went = oaki_zone_go(owner);
    if (went < 0) return false;
    away = went > 0;
    bool again = oaki_zone_full(bytes);
    come_back();
    away = outer;
    return again;
}

static OAKI_NOINLINE void call_over(oaki_thread *t)
{
    OAKI_NO_CANCEL_UNLESS_LEFT; /* functions of the program may have cancellation points */
    if (!t->bare) oaki_event_over(t);
    if (OAKI_UNLIKELY(oaki_tls_thread != t))
        oak_fatal("oakum: a finalizer or notifier began on one thread and ended on another");
}

/* The functions that it calls may ask for on_full, too. */
void oaki_held_over_now(void)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_thread *t = oaki_tls_thread;
    oaki_held before = t->held;
    size_t ran = oaki_gc_finalizers_ran();
    int saved = errno;
    t->held = (oaki_held){ .depth = 0 };
    call_over(t);
    t->held.full = before.full;
    t->held.tries = before.tries;
    t->held.ran = before.ran || oaki_gc_finalizers_ran() != ran;
    errno = saved;
}

/* Bounded, as a finalizer may set itself again. */
bool oaki_held_ran(void)
{
    oaki_thread *t = oaki_tls_thread;
    bool ran = t && !oaki_held_full(&t->held) && t->held.ran && t->held.tries < TRIES;
    if (!ran) return false;
    t->held.ran = false;
    t->held.tries++;
    return true;
}

bool oaki_held_call_now(const void *owner)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_ASSERT(oaki_held_any());
    oaki_held_over();
    oaki_thread *t = oaki_tls_thread;
    size_t full = t->held.full;
    int saved = errno;
    t->held.full = 0;
    bool again = full > 0 && call_full(owner, full);
    errno = saved;
    return again;
}

oaki_held oaki_held_suspend(void)
{
    oaki_thread *t = oaki_tls_thread;
    oaki_held was = t->held;
    OAKI_ASSERT(was.depth > 0);
    t->held = (oaki_held){ .depth = was.depth, .asks = was.depth, .over = was.over };
    return was;
}

void oaki_held_resume(oaki_held was)
{
    oaki_thread *t = oaki_tls_thread;
    OAKI_ASSERT(t->held.depth == was.depth && t->held.asks == was.depth);
    was.over = t->held.over;
    t->held = was;
}

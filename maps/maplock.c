/* maplock.c - the lock of a structure on a map, and the detection of a holder that is gone. */
#include "maplock.h"

#include "gc/gc.h"
#include "runtime/collector.h"
#include "runtime/contract.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "runtime/probe.h"
#include "runtime/stopsignal.h"

#define LONG_NS 1000000000u     /* a wait after which the holder is checked, */
#define LONGEST_NS 60000000000u /* and then twice as long each time, up to this */

static __thread oaki_maplock *entered __attribute__((tls_model("initial-exec")));

/* ---- a holder that is gone ---- */

static OAK_NORETURN void tell_left(const oaki_maplock *l)
{
    oak_fatal("oakum: %s: its hash or equal function or callback was left by longjmp, an "
              "exception, pthread_exit or cancellation, with the lock held: it has to return",
              l->what);
}

static void left(void *leaving)
{
    const oaki_leaving *call = leaving;
    oaki_leaving_end(leaving);
    tell_left(call->of);
}

void oaki_maplock_unwound(void)
{
    if (entered) tell_left(entered);
}

static const oaki_thread *thread_of(int tid)
{
    const oaki_thread *t = oaki_the_heap.threads;
    while (t && t->tid != tid) t = t->next;
    return t;
}

static bool is_within(const oaki_thread *t, const void *p)
{
    return (const char *)p >= t->stack_lo && (const char *)p < t->stack_hi;
}

/* Is the holder's frame gone? Then its stack pointer is above the frame, or other data lies there.
 * A frame that was not overwritten since still looks alive. */
static bool is_gone(oaki_maplock *l)
{
    OAKI_REQUIRES_STOPPED();
    const oaki_leaving *call = (const oaki_leaving *)AO_load_acquire(&l->call);
    if (!call) return false;
    const oaki_thread *t = thread_of((int)AO_int_load(&l->tid));
    const char *sp = !t ? NULL : t->interrupted_sp ? t->interrupted_sp : t->sp;
    if (t && is_within(t, call) && is_within(t, sp) && sp > (const char *)call) return true;
    if (!oaki_probe(call) || !oaki_probe(&call->of)) return true;
    return !oaki_leaving_is(call, left, l);
}

/* The calling thread has waited for long. */
static void look_at_holder(oaki_maplock *l)
{
    int tid = (int)AO_int_load(&l->tid);
    bool dead = AO_load_acquire(&l->call) && oaki_stopsignal_dead(tid);
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return;
    bool gone = is_gone(l) || (dead && AO_load(&l->call) && (int)AO_int_load(&l->tid) == tid);
    oaki_gc_stop_end(t);
    if (gone) tell_left(l);
}

/* ---- the lock ---- */

/* A stop neither wakes the waiting thread nor waits for it. This frame stays until the end of the
 * blocking region. */
static OAKI_NOINLINE bool wait_within(oaki_maplock *l, uint64_t ns)
{
    oaki_thread *t = oaki_thread_self();
    oaki_blocking_begin(t);
    bool got = oaki_lock_acquire_within(&l->lock, ns);
    oaki_blocking_end(t);
    return got;
}

void oaki_maplock_wait(oaki_maplock *l)
{
    OAKI_REQUIRES_OUTSIDE(); /* a stop counts this thread as blocked */
    if (OAKI_LIKELY(oaki_lock_try(&l->lock))) return;
    for (uint64_t ns = LONG_NS; !wait_within(l, ns); ns = OAKI_MIN(2 * ns, LONGEST_NS))
        look_at_holder(l);
}

void oaki_maplock_enter(oaki_maplock *l)
{
    oaki_held_forget();
    (void)oaki_held_begin();
    l->outer = entered;
    entered = l;
}

void oaki_maplock_leave(oaki_maplock *l)
{
    OAKI_ASSERT(entered == l);
    oaki_held_end(oaki_thread_self());
    entered = l->outer;
    l->outer = NULL;
}

/* ---- calls under it ---- */

void oaki_maplock_begin_call(oaki_maplock *l, oaki_leaving *call)
{
    oaki_leaving_begin(call, left, l);
    AO_int_store(&l->tid, (unsigned)oaki_thread_self()->tid);
    AO_store_release(&l->call, (AO_t)call);
}

void oaki_maplock_end_call(oaki_maplock *l, oaki_leaving *call)
{
    AO_store_release(&l->call, 0);
    oaki_leaving_end(call);
}

static uint64_t hash(const void *key, uint64_t seed, size_t size)
{
    oaki_maplock *l = entered;
    OAKI_INVARIANT(l && l->hash, "a key is hashed outside of its structure");
    uint64_t result;
    OAKI_CALL_LOCKED(l, result = l->hash(key, seed, size));
    return result;
}

static bool equal(const void *a, const void *b, size_t size)
{
    oaki_maplock *l = entered;
    OAKI_INVARIANT(l && l->equal, "keys are compared outside of their structure");
    bool result;
    OAKI_CALL_LOCKED(l, result = l->equal(a, b, size));
    return result;
}

oak_map_type oaki_maplock_init(oaki_maplock *l, const char *what, const oak_map_type *keys)
{
    oak_map_type t = *keys;
    *l = (oaki_maplock){ .hash = keys->hash, .equal = keys->equal, .what = what };
    oaki_lock_init(&l->lock, OAKI_RANK_MAP);
    if (keys->hash) t.hash = hash;
    if (keys->equal) t.equal = equal;
    return t;
}

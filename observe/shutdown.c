/* shutdown.c - oak_shutdown: the heap's end, while the process goes on.
 *
 * In order: whatever refuses; threads that may be in functions of the program; the observers, which
 * hold threads, sockets and memory of malloc's; all other threads. Then the calling thread is the
 * only one. The heap is closed, and what the system knows of it is undone: handlers, descriptors,
 * keys, mappings. No structure is taken apart: the variables that lead there are put back as they
 * were before the start (runtime/restore.h).
 *
 * Owns: the frames of a look at the stack. Lock: none; one call at a time. */
#include "foreign.h"
#include "gc/event.h"
#include "guard.h"
#include "judge.h"
#include "profile.h"
#include "runtime/contract.h"
#include "runtime/crew.h"
#include "runtime/heap.h"
#include "runtime/meta.h"
#include "runtime/pin.h"
#include "runtime/print.h"
#include "runtime/writer.h"
#include "stack.h"
#include "symbol.h"
#include "trace.h"
#include "unwind.h"

#include <errno.h>
#include <oakum/oakum.h>
#include <oakum/serve.h>
#include <string.h>

#define FRAMES 512
#define PATIENCE_NS UINT64_C(10000000000)
#define FOR_EVER_NS (UINT64_MAX / 2)

static uintptr_t frame[FRAMES];

/* ---- may it be? ---- */

/* Would the call return into Oakum? The first frames are this call's. */
static bool is_below_oakum(void)
{
    oaki_stack_init();
    size_t n = oaki_unwind(frame, FRAMES, NULL), i = 0;
    while (i < n && oaki_stack_is_own(frame[i] - 1)) i++;
    while (i < n && !oaki_stack_is_own(frame[i] - 1)) i++;
    return i < n;
}

static bool others_are_attached(oaki_thread *t)
{
    oaki_heap *h = &oaki_the_heap;
    (void)oaki_enter();
    oaki_lock_acquire_parked(t, &h->threads_lock);
    size_t n = oaki_threads_others(t, false);
    oaki_lock_release(&h->threads_lock);
    oaki_leave(t);
    return n > 0;
}

static int refusal(void)
{
    const oaki_thread *t = oaki_thread_self();
    if (oaki_crew_has_me() || oaki_event_is_mine() || oaki_fork_is_ours()) return EDEADLK;
    if (t && (t->in_runtime || t->in_full || t->fiber || t->hired)) return EDEADLK;
    if (t && (t->finalizes || t->notifies)) return EDEADLK;
    if (strcmp(oaki_meta_backend(), "built-in") != 0) return ENOTSUP;
    oaki_thread *self = oaki_thread_attach_self();
    if (!self) return ENOMEM;
    if (is_below_oakum()) return EDEADLK;
    return others_are_attached(self) ? EBUSY : 0;
}

/* ---- the end ---- */

static void end_observers(void)
{
    oak_debug_serve_stop();
    oaki_detector_end();
    (void)oak_gclog_stop();
    oaki_profile_end();
    oaki_symbols_end();
}

/* Each of the two may be on top of the other. */
static bool give_signals_back(void)
{
    bool guard = oaki_guard_uncatch(), fault = oaki_faultsignal_end();
    if (!guard) guard = oaki_guard_uncatch();
    if (guard && fault) return true;
    oaki_guard_stays();
    oaki_faultsignal_stays();
    return false;
}

static int end_threads(void)
{
    if (!oaki_crew_end(false, PATIENCE_NS)) return EBUSY;
    end_observers();
    (void)oaki_crew_end(true, FOR_EVER_NS);
    return oaki_heap_close();
}

static int end(void)
{
    int error = refusal();
    if (error != 0) return error;
    error = end_threads();
    if (error != 0) {
        oaki_crew_resume();
        return error;
    }
    bool undone = give_signals_back();
    if (oaki_foreign_stays() || !undone) oaki_pin_for_good();
    oaki_trace_close();
    if (!oaki_heap_end()) oaki_log("oakum: oak_shutdown: the system keeps memory mapped\n");
    oaki_crew_resume();
    return 0;
}

int oak_shutdown(void)
{
    int error = 0;
    if (AO_load_acquire(&oaki_the_heap.started))
        error = end();
    else
        oaki_threads_drop_key(true);
    if (error == 0) oaki_pin_end();
    if (error == 0) return 0;
    errno = error;
    return -1;
}

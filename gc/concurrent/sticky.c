/* sticky.c - sticky mark bits: minor cycles, which keep the marks of the last cycle.
 *
 * After Demers, Weiser, Hayes, Boehm, Bobrow and Shenker (1990). Objects marked at the end of a
 * cycle are old, objects allocated afterwards are new. Nothing moves.
 *
 * A minor cycle marks from the roots and from old objects on dirty pages. Its cost is that of the
 * new live objects and the dirty pages. Dead old objects stay until a full cycle, and so do their
 * finalizers and weak references. So a full cycle follows after OAKI_TUNE_STICKY_ROW minor ones,
 * however well they pay. A minor cycle is concurrent, or in a smaller heap a single pause.
 *
 * Owns: oaki_gc.sticky. Lock: written in a pause. Bound: O(1). */
#include "sticky.h"

#include "concurrent.h"
#include "gc/contract.h"
#include "gc/gc.h"
#include "gc/host.h"
#include "gc/pace.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "protect.h"
#include "runtime/dirty.h"
#include "runtime/options.h"

typedef struct oaki_sticky_work work;

static oaki_sticky *const self = &oaki_gc.sticky;

/* ---- does it pay? ---- */

static bool is_cheaper(const work *minor, const work *full)
{
    return (double)minor->words * (double)full->freed * OAKI_TUNE_STICKY_PAYS_MORE <=
           (double)full->words * (double)minor->freed * OAKI_TUNE_STICKY_PAYS_LESS;
}

static void after_minor(const work *w)
{
    OAKI_ASSERT(self->in_a_row < OAKI_TUNE_STICKY_ROW || oaki_debug_switches.minor);
    self->in_a_row++;
    if (is_cheaper(w, &self->full)) {
        self->next_skip = 1;
        return;
    }
    self->skip = self->next_skip;
    self->next_skip = OAKI_MIN(self->skip * OAKI_TUNE_STICKY_SKIP_MORE, OAKI_TUNE_STICKY_SKIP);
}

/* In a growth, new objects stay alive, so a minor cycle would not show whether later ones pay. */
static void after_full(const work *w, bool grows)
{
    self->full = *w;
    self->in_a_row = 0;
    if (self->skip > 0 && !grows) self->skip--;
}

bool oaki_sticky_pays(bool minor, size_t words, size_t freed, size_t allocated)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_MARK();
    work w = { words, minor ? freed : OAKI_MAX(freed, allocated) };
    unsigned forced = (unsigned)oaki_debug_switches.minor;
    if (minor) after_minor(&w);
    else after_full(&w, freed <= allocated / OAKI_TUNE_STICKY_GROWS);
    /* Pages that stay protected between cycles would interfere with system calls all the time. */
    if (oaki_dirty_denies() || !oaki_plan_may_track()) return false;
    if (!oaki_the_heap.config.generations || oaki_host_has_unscanned()) return false;
    if (forced) return self->in_a_row < forced;
    return self->skip == 0 && self->in_a_row < OAKI_TUNE_STICKY_ROW && oaki_pace_has_room();
}

/* ---- in one pause ---- */

static bool is_wanted(void)
{
    if (!oaki_gc_may_be_concurrent() || !oaki_the_heap.config.generations) return false;
    if (oaki_dirty_denies()) return false;
    return oaki_pace_live() >= OAKI_TUNE_STICKY_FROM || oaki_debug_switches.minor;
}

/* Tracking by faults is set up only when a concurrent mark needs it. */
void oaki_sticky_prepare(void)
{
    OAKI_REQUIRES_INSIDE();
    if (oaki_the_heap.config.tracking == OAK_TRACKING_FAULTS) return;
    if (is_wanted()) (void)oaki_dirty_start();
}

void oaki_sticky_set(bool on)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_ASSERT(!on || (oaki_world_stopped() && !oaki_gc.concurrent.protecting));
    AO_store(&oaki_the_heap.sticky, on);
}

/* A zone that closes needs a full mark. */
bool oaki_sticky_may_begin(void)
{
    return AO_load(&oaki_the_heap.sticky) && !oaki_zones_closing();
}

bool oaki_sticky_begins(void)
{
    OAKI_REQUIRES_STOPPED();
    return oaki_sticky_may_begin() && oaki_dirty_may();
}

void oaki_sticky_rescan(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_PHASE(MARK);
    OAKI_ASSERT(oaki_gc.mode == OAKI_STOPPED && oaki_gc.kind == OAKI_MINOR);
    oaki_rescan_begin(oaki_dirty_refusals());
}

/* Pages that became old since the last full cycle stay unprotected, and each minor cycle rescans
 * them. Once they are a large enough part of the heap, they are protected. */
bool oaki_sticky_keep(bool minor)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_MARK();
    if (!is_wanted() || !oaki_dirty_may() || oaki_concurrent_protecting()) return false;
    bool stops = !oaki_plan_is_concurrent() || (minor && oaki_plan_minor_stops());
    if (!stops && !oaki_debug_switches.minor) return false;
    size_t few = oaki_pace_live() / OAKI_TUNE_STICKY_FEW;
    if (minor && oaki_workers_rescan_words() * sizeof(uintptr_t) < few) return true;
    return oaki_protect_dense(0, AO_load(&oaki_the_heap.used));
}

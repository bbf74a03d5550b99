/* stackroots.c - the stacks and registers of a stopped thread.
 *
 * Owns nothing of its own; clears oaki_thread.fiber_left when the thread has really left that
 * stack. Bound: O(1) for a thread on its own stack or a known fiber. A thread on an alternate
 * signal stack costs a scan of that stack. One on an undescribed stack costs some probes per page.
 *
 * The stack pointer shows where a thread runs: on its own stack, on its record's fiber, or on the
 * fiber that it is about to leave. Otherwise it is on an alternate signal stack, or on an
 * undescribed stack. Every stack that it may come back to is scanned from the place where it was
 * left. The stack of the collector's own thread is not scanned, save where it calls the host. Its
 * frames hold addresses that it has examined, and would keep those objects alive. A host that
 * declares the end of its current stack (oaki_thread_stack_bottom) marks its other stacks
 * itself. */
#include "contract.h"
#include "dlroots.h"

#include "fiber.h"
#include "probe.h"
#include "track.h"

#define RED_ZONE 128 /* bytes in use below interrupted code's stack pointer (x86-64 ABI) */
#define UNKNOWN_MAX ((ptrdiff_t)8 << 20) /* most bytes of an undescribed stack */
#define GROWN_MAX ((ptrdiff_t)1 << 30) /* most bytes of the first thread's stack past its limit */

/* Where the scan of each of a thread's stacks begins; NULL: it is not scanned. A parked stack was
 * left by oak_fiber_switch, and has registers saved with it. */
typedef struct extent {
    const char *native, *fiber, *left;
    bool native_parked, fiber_parked;
} extent;

static bool within(const char *p, const char *lo, const char *hi)
{
    return lo && p >= lo && p < hi;
}

static bool on_fiber(const char *p, const oak_fiber *f)
{
    return f && within(p, f->lo, f->hi);
}

static void emit(const oaki_root_visitor *v, oaki_root_kind kind, const oaki_thread *t,
                 const void *lo, const void *hi)
{
    oaki_root_emit(v,
                   (oaki_root){ .kind = kind, .lo = lo, .hi = hi, .past_end = true, .thread = t });
}

static void emit_regs(const oaki_root_visitor *v, const oaki_thread *t, const uintptr_t *regs)
{
    emit(v, OAKI_ROOT_REGS, t, regs, regs + OAKI_REGS);
}

static void emit_parked(const oaki_root_visitor *v, const oaki_thread *t, const uintptr_t *regs,
                        const uintptr_t *top)
{
    emit_regs(v, t, regs);
    emit(v, OAKI_ROOT_REGS, t, top, top + OAKI_FIBER_TOP);
}

static void emit_slot(const oaki_root_visitor *v, const oaki_thread *t, const void *slot)
{
    const char *lo = slot;
    if (*(void *const *)slot)
        oaki_root_emit(
            v, (oaki_root){
                   .kind = OAKI_ROOT_SLOT, .lo = lo, .hi = lo + sizeof(void *), .thread = t });
}

/* The smallest word of the alternate stack [sp, hi) that points into [lo, end), or NULL. The first
 * handler's frame holds the interrupted stack pointer, so the result is at most that. */
static OAKI_NO_ASAN const char *lowest_into(const oaki_thread *t, const char *sp, const char *lo,
                                            const char *end)
{
    const char *lowest = NULL;
    for (const char *const *w = (const char *const *)OAKI_ALIGN_UP((uintptr_t)sp, sizeof *w);
         (const char *)(w + 1) <= t->alt_hi; w++)
        if (within(*w, lo, end) && !within(*w, t->alt_lo, t->alt_hi) && (!lowest || *w < lowest))
            lowest = *w;
    if (!lowest) return NULL;
    lowest = (size_t)(lowest - lo) > RED_ZONE ? lowest - RED_ZONE : lo;
    return oaki_probe_start(lowest, end);
}

/* Lowers *from for code that a handler on the alternate stack has interrupted. Only the alternate
 * stack holds the place of the interruption. The lower of that and the saved place covers
 * everything in use. */
static void widen(const char **from, const oaki_thread *t, const char *sp, const char *lo,
                  const char *end)
{
    const char *lowest = lowest_into(t, sp, lo, end);
    if (lowest && (!*from || lowest < *from)) *from = lowest;
}

static void visit_alternate(const oaki_root_visitor *v, const oaki_thread *t, const char *sp,
                            extent *e)
{
    emit(v, OAKI_ROOT_STACK, t, sp, t->alt_hi);
    widen(&e->native, t, sp, t->stack_lo, t->stack_hi);
    if (t->fiber) widen(&e->fiber, t, sp, t->fiber->lo, t->fiber->hi);
    if (t->fiber_left) widen(&e->left, t, sp, t->fiber_left->lo, t->fiber_left->hi);
    if (!e->native) e->native = oaki_probe_start(t->stack_lo, t->stack_hi);
}

/* Neither the end of the stack nor the place where the thread left its own stack is known. The
 * stack may also be the first thread's own, which grew when its limit was raised: then both
 * meet. */
static void visit_unknown(const oaki_root_visitor *v, const oaki_thread *t, const char *sp,
                          extent *e)
{
    bool below = sp < t->stack_lo && t->stack_lo - sp < GROWN_MAX;
    const char *hi = oaki_probe_end(sp, below ? t->stack_hi : sp + UNKNOWN_MAX);
    oaki_root_emit_unknown(v, (oaki_root){ .kind = OAKI_ROOT_STACK,
                                           .lo = sp,
                                           .hi = hi,
                                           .past_end = true,
                                           .thread = t });
    if (!e->native) e->native = oaki_probe_start(t->stack_lo, t->stack_hi);
}

/* For a thread that is not on the alternate stack. */
static void visit_current(const oaki_root_visitor *v, oaki_thread *t, const char *sp, extent *e)
{
    if (on_fiber(sp, t->fiber)) {
        e->fiber = sp;
        e->fiber_parked = false;
        t->fiber_left = NULL;
    } else if (on_fiber(sp, t->fiber_left)) {
        e->left = sp;
    } else if (within(sp, t->stack_lo, t->stack_hi)) {
        e->native = sp;
        e->native_parked = false;
        t->fiber_left = NULL;
    } else {
        visit_unknown(v, t, sp, e);
    }
}

/* The end of the stack proper. Thread-local storage and the descriptor lie above it, for all
 * threads but the first; they are roots of another kind. */
static const char *native_end(const oaki_thread *t)
{
    const char *lo, *hi;
    oaki_tlsroots_static(t->tp, &lo, &hi);
    return within(lo, t->stack_lo, t->stack_hi) && hi > lo ? lo : t->stack_hi;
}

OAKI_NOINLINE size_t oaki_stack_left(void)
{
    OAKI_ASSERT(oaki_thread_self());
    const char *sp = __builtin_frame_address(0);
    const oaki_thread *t = oaki_thread_self();
    if (on_fiber(sp, t->fiber)) return (size_t)(sp - t->fiber->lo);
    if (on_fiber(sp, t->fiber_left)) return (size_t)(sp - t->fiber_left->lo);
    return within(sp, t->stack_lo, t->stack_hi) ? (size_t)(sp - t->stack_lo) : SIZE_MAX;
}

/* ---- a stack whose end the host declares ---- */

void oaki_thread_stack_bottom(oaki_thread *t, char *const *bottom)
{
    AO_store((AO_t *)&t->bottom, (AO_t)bottom);
}

/* The declared bottom, or NULL: t is on a known stack. */
static const char *declared_bottom(const oaki_thread *t)
{
    char *const *where = (char *const *)AO_load((const AO_t *)&t->bottom);
    const char *bottom = where && !t->fiber && !t->fiber_left ? *where : NULL;
    return bottom && (bottom <= t->stack_lo || bottom > t->stack_hi) ? bottom : NULL;
}

/* The start of the declared stack's part in use, or of all of it where that is unknown. Another
 * stack of the host's may lie right below, beyond a guard page, so each page is probed. */
static const char *declared_from(const oaki_thread *t, const char *bottom)
{
    const char *lo = bottom - UNKNOWN_MAX, *sp = t->sp;
    if (within(sp, t->alt_lo, t->alt_hi)) {
        lo = oaki_probe_down(lo, bottom);
        const char *lowest = lowest_into(t, sp, lo, bottom);
        return lowest ? lowest : lo;
    }
    if (within(sp, lo, bottom) && oaki_probe_end(sp, bottom) == bottom) return sp;
    return oaki_probe_down(lo, bottom);
}

static void visit_declared(const oaki_root_visitor *v, oaki_thread *t, const char *bottom)
{
    const char *from = declared_from(t, bottom), *sp = t->sp;
    extent e = { .native = NULL };
    emit(v, OAKI_ROOT_STACK, t, from, bottom);
    if (!t->interrupted_sp) emit_regs(v, t, t->regs);
    if (from == sp) return;
    if (within(sp, t->alt_lo, t->alt_hi)) {
        emit(v, OAKI_ROOT_STACK, t, sp, t->alt_hi);
        widen(&e.native, t, sp, t->stack_lo, t->stack_hi);
    } else {
        visit_current(v, t, sp, &e);
    }
    if (e.native) emit(v, OAKI_ROOT_STACK, t, e.native, native_end(t));
}

/* ---- all of them ---- */

void oaki_stackroots_visit(const oaki_root_visitor *v, oaki_thread *t)
{
    OAKI_REQUIRES_STOPPED();
    if (t->bare) return;
    const char *bottom = declared_bottom(t);
    if (OAKI_UNLIKELY(bottom != NULL)) {
        visit_declared(v, t, bottom);
        return;
    }
    extent e = { .native_parked = t->fiber || t->fiber_left,
                 .fiber_parked = t->fiber && t->fiber->sp };
    if (e.native_parked) e.native = oaki_fiber_from(t->stack_lo, t->native_sp);
    if (e.fiber_parked) e.fiber = oaki_fiber_from(t->fiber->lo, t->fiber->sp);

    if (within(t->sp, t->alt_lo, t->alt_hi))
        visit_alternate(v, t, t->sp, &e);
    else
        visit_current(v, t, t->sp, &e);

    if (!t->interrupted_sp) emit_regs(v, t, t->regs);
    if (e.native_parked) emit_parked(v, t, t->native_regs, t->native_top);
    if (e.fiber_parked) emit_parked(v, t, t->fiber->regs, t->fiber->top);
    if (e.native) emit(v, OAKI_ROOT_STACK, t, e.native, native_end(t));
    if (e.fiber) emit(v, OAKI_ROOT_FIBER, t, e.fiber, t->fiber->hi);
    if (e.left) emit(v, OAKI_ROOT_FIBER, t, e.left, t->fiber_left->hi);
    emit_slot(v, t, &t->fiber);
    emit_slot(v, t, &t->fiber_left);
}

/* fiber.c - stacks that the program switches by itself.
 *
 * Owns: struct oak_fiber, a typed heap object. Its mark function scans the stack while no thread
 * runs on it; while one does, the stack is a root (stackroots.c).
 * Invariants: f->thread is t exactly when t->fiber is f. Both change inside oaki_enter, so they
 * agree in a stopped world.
 * Lock: none; a fiber is claimed by compare-and-swap on its thread.
 *
 * Between oak_fiber_switch and the program's own switch, the record is ahead of the stack pointer.
 * The thread still runs on t->fiber_left, or on its own stack. A scan relies on the stack pointer.
 *
 * The values live at the program's own switch are those live at oak_fiber_switch, but they may have
 * moved. First, the switch pushes registers below the saved stack pointer, so SLACK bytes below it
 * are scanned. Second, the function that calls oak_fiber_switch may end in a jump to the switch. It
 * then restores its caller's registers, the switch stores them in memory that isn't scanned, and
 * their old places are overwritten. So the words at the stack pointer are saved together with the
 * registers.
 *
 * The memory of a stack may be unmapped once its fiber is dropped, and a stray word may keep the
 * object alive longer. So its pages are probed before they are read. */
#include "fiber.h"
#include "collector.h"

#include "heap.h"
#include "os.h"
#include "probe.h"
#include "roots.h"
#include "sigframe.h"
#include "track.h"
#include "type.h"
#include <errno.h>
#include <string.h>

/* Most that a program's own switch pushes below the stack pointer seen by oak_fiber_switch: a
 * return address and the callee-saved registers, including floating-point ones. */
#define SLACK 256
#define HANDLER 512   /* of the signal handler, below the signal's frame */
/* of a stack that never ran: the initial frame that the program may have written at its top */
#define NEW_SCAN 4096

static AO_t type; /* const oak_type *, made at first use */

const char *oaki_fiber_from(const char *lo, const char *sp)
{
    const char *p = sp - lo > SLACK ? sp - SLACK : lo;
    const char *page = (const char *)OAKI_ALIGN_DOWN((uintptr_t)sp, oaki_os_page_size());
    /* below may be a guard page */
    return p >= page || oaki_probe(p) ? p : page;
}

static void mark_fiber(oak_marker *m, void *obj, size_t size)
{
    const oak_fiber *f = obj;
    (void)size;
    oak_mark_ptr(m, f->data);
    if (!f->lo) return;
    oak_mark_ptr(m, f->lo); /* a stack may be an object of the heap */
    if (AO_load(&f->thread) || !f->sp) return;
    const char *lo = oaki_fiber_from(f->lo, f->sp), *hi = oaki_probe_end(lo, f->hi);
    if (hi <= f->sp) return; /* the stack is gone */
    oaki_mark_range_ambiguous(m, lo, hi);
    oaki_mark_range_ambiguous(m, f->regs, f->regs + OAKI_REGS);
    oaki_mark_range_ambiguous(m, f->top, f->top + OAKI_FIBER_TOP);
}

bool oaki_fiber_is_type(const oak_type *t)
{
    return t->mark == mark_fiber;
}

static const oak_type *fiber_type(void)
{
    return oaki_type_once(&type, "oak_fiber", sizeof(oak_fiber), mark_fiber);
}

static void check(const oak_fiber *f, const char *caller)
{
    const oak_type *t = oak_type_of(f);
    if (!t || t->mark != mark_fiber || oak_base(f) != f)
        oak_fatal("oakum: %s: %p is not a fiber", caller, (const void *)f);
}

/* Aligned down, as the ends of a stack are. */
size_t oak_stack_min(void)
{
    return OAKI_ALIGN_DOWN(OAK_STACK_MIN + HANDLER + oaki_sigframe_size(), 16);
}

oak_fiber *oak_fiber_new(void *stack, size_t size, void *data)
{
    uintptr_t lo = OAKI_ALIGN_UP((uintptr_t)stack, 16),
              hi = OAKI_ALIGN_DOWN((uintptr_t)stack + size, 16);
    if (!stack || (uintptr_t)stack > UINTPTR_MAX - size || lo >= hi || hi - lo < oak_stack_min()) {
        errno = EINVAL;
        return NULL;
    }
    const oak_type *t = fiber_type();
    oak_fiber *f = t ? oak_zone_alloc_typed(NULL, t, 1) : NULL; /* outlives its zone */
    if (!f) return NULL;
    oaki_thread *self = oaki_enter();
    f->lo = (char *)lo;
    f->hi = (char *)hi;
    f->sp = f->hi - OAKI_MIN(hi - lo, (uintptr_t)NEW_SCAN);
    f->data = data;
    oaki_leave(self);
    return f;
}

/* Claims `to` for t. Returns NULL, or the reason why it can't. */
static const char *claim(oaki_thread *t, oak_fiber *to)
{
    if (!to->lo) return "has been freed";
    if (!AO_compare_and_swap_full(&to->thread, 0, (AO_t)t)) return "runs on another thread";
    return NULL;
}

/* Not memcpy, which a sanitizer would check: these are frames of other functions. */
static OAKI_NO_ASAN void keep_top(uintptr_t *top, const char *sp, const char *lo, const char *hi)
{
    const uintptr_t *w = (const uintptr_t *)sp; /* aligned: a stack pointer */
    size_t n = sp >= lo && sp < hi ? (size_t)(hi - sp) / sizeof *w : 0;
    n = OAKI_MIN(n, (size_t)OAKI_FIBER_TOP);
    for (size_t i = 0; i < n; i++) {
        top[i] = w[i];
        AO_compiler_barrier();
    }
    for (size_t i = n; i < OAKI_FIBER_TOP; i++) top[i] = 0;
}

/* Saves the stack that t runs on, which is being left with these registers. */
static void park(oaki_thread *t, const uintptr_t *regs)
{
    oak_fiber *from = t->fiber;
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(!from || AO_load(&from->thread) == (AO_t)t);
    char *sp = (char *)regs[OAKI_REG_SP];
    if (from) {
        memcpy(from->regs, regs, sizeof from->regs);
        keep_top(from->top, sp, from->lo, from->hi);
        from->sp = sp;
        AO_store_release(&from->thread, 0);
    } else {
        memcpy(t->native_regs, regs, sizeof t->native_regs);
        keep_top(t->native_top, sp, t->stack_lo, t->stack_hi);
        t->native_sp = sp;
    }
}

void oaki_fiber_switch(oak_fiber *to, const uintptr_t *regs);

OAKI_SPILL_ENTRY(oak_fiber_switch, oaki_fiber_switch, "");

__attribute__((used)) void oaki_fiber_switch(oak_fiber *to, const uintptr_t *regs)
{
    if (to) check(to, "oak_fiber_switch");
    oaki_thread *t = oaki_enter();
    if (!t) oak_fatal("oakum: oak_fiber_switch: out of memory for the record of the thread");
    const char *wrong = to && to != t->fiber ? claim(t, to) : NULL;
    if (!wrong && to != t->fiber) {
        oaki_zones_switch(t, t->fiber, to);
        park(t, regs);
        t->fiber_left = t->fiber;
        t->fiber = to;
        OAKI_ASSERT(!to || AO_load(&to->thread) == (AO_t)t);
    }
    oaki_leave(t);
    if (wrong) oak_fatal("oakum: oak_fiber_switch: fiber %p %s", (void *)to, wrong);
}

oak_fiber *oak_fiber_current(void)
{
    const oaki_thread *t = oaki_thread_self();
    return t ? t->fiber : NULL;
}

void *oak_fiber_data(const oak_fiber *f)
{
    check(f, "oak_fiber_data");
    return f->data;
}

void oak_fiber_free(oak_fiber *f)
{
    if (!f) return;
    check(f, "oak_fiber_free");
    oaki_thread *t = oaki_enter();
    if (!t) oak_fatal("oakum: oak_fiber_free: out of memory for the record of the thread");
    bool busy = AO_load(&f->thread) != 0;
    if (!busy) {
        f->lo = f->hi = f->sp = NULL;
        oaki_zones_drop_fiber(f);
    }
    oaki_leave(t);
    if (busy) oak_fatal("oakum: oak_fiber_free: a thread runs on fiber %p", (void *)f);
}

void oaki_fiber_thread_exit(oaki_thread *t)
{
    oak_fiber *f = t->fiber;
    t->fiber = t->fiber_left = NULL;
    OAKI_REQUIRES_SELF(t);
    if (!f) return;
    OAKI_ASSERT(AO_load(&f->thread) == (AO_t)t);
    memset(f->regs, 0, sizeof f->regs);
    f->sp = NULL; /* nothing on it is live */
    AO_store_release(&f->thread, 0);
}

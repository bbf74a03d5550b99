/* guardfound.c - the errors that the guard has found, until they are reported (guard.h).
 *
 * Errors are noted inside oaki_enter, and reported outside of it. An error that was found at a
 * thread's own call is reported by that thread, with the stack of the call. One that was found by a
 * collection is reported by the next thread that reports, without a stack.
 *
 * Owns: struct self. Lock: oaki_guard_lock; the count is atomic. Bound: a report's own. */
#include "contract.h"
#include "guard.h"
#include "heap.h"
#include "meta.h"
#include <string.h>

#define MOST 1024 /* errors that wait; a look at all objects finds further ones again */

static struct {
    oaki_guard_finding *waiting;
    size_t n;
    AO_t found;
} self;

bool oaki_guard_found_start(void)
{
    oaki_thread *t = oaki_thread_self() ? oaki_enter() : NULL;
    if (!self.waiting)
        self.waiting = oaki_meta_zalloc(MOST * sizeof *self.waiting, OAKI_META_OTHER);
    if (t) oaki_leave(t);
    return self.waiting != NULL;
}

void oaki_guard_found_count(void)
{
    AO_fetch_and_add(&self.found, 1);
}

size_t oaki_guard_found(void)
{
    return AO_load(&self.found);
}

bool oaki_guard_found_note(const oaki_guard_finding *f)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_guard_lock);
    if (self.n == MOST) return false;
    self.waiting[self.n++] = *f;
    oaki_guard_found_count();
    return true;
}

/* The first error that this thread may report leaves. */
static bool take(int tid, oaki_guard_finding *out)
{
    OAKI_REQUIRES_LOCK(&oaki_guard_lock);
    size_t i = 0;
    while (i < self.n && self.waiting[i].finder != 0 && self.waiting[i].finder != tid) i++;
    if (i == self.n) return false;
    *out = self.waiting[i];
    memmove(&self.waiting[i], &self.waiting[i + 1], (--self.n - i) * sizeof *out);
    return true;
}

void oaki_guard_report(void)
{
    OAKI_REQUIRES_OUTSIDE();
    while (oaki_guard.on) {
        oaki_guard_finding f;
        oaki_thread *t = oaki_enter();
        if (!t) return;
        oaki_lock_acquire(&oaki_guard_lock);
        bool any = take(t->tid, &f);
        oaki_lock_release(&oaki_guard_lock);
        oaki_leave(t);
        if (!any) return;
        oaki_guard.report(&f);
    }
}

/* A stop, or a handler that has interrupted the runtime, can't report: the caller's own message
 * has to do. */
bool oaki_guard_wild(const void *p, const char *call, const char *why)
{
    const oaki_thread *t = oaki_thread_self();
    if (!oaki_guard.on || (t && t->in_runtime != 0)) return false;
    oaki_guard_found_count();
    const oaki_guard_finding f = { .error = OAKI_GUARD_WILD, .call = call, .why = why, .object = p,
                                   .finder = t ? t->tid : -1 };
    oaki_guard.report(&f);
    return true;
}

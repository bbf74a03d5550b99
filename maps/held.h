/* held.h - a map's allocations hold the program's functions back (runtime/held.h); its public
 * functions call them when the map is whole again and no lock is held.
 *
 * A function that allocates a part of a map uses OAKI_PART. A structure with a lock holds functions
 * back from its enter to its leave (maplock.h). At its end a write calls oaki_held_retry, or
 * oaki_held_again.
 * A function that runs there may use the map, as other threads may. So a write that is done isn't
 * done again; one that returns a place in the map finds the place again. */
#ifndef OAKI_MAPS_HELD_H
#define OAKI_MAPS_HELD_H

#include "runtime/mcache.h"
#include "runtime/thread.h"
#include "runtime/zone.h"

/* Returns what the matching end takes; NULL for a thread that can't be attached. */
OAKI_INLINE oaki_thread *oaki_held_begin(void)
{
    oaki_thread *t = oaki_attached() ? oaki_tls_thread : NULL;
    if (t) t->held.depth++;
    return t;
}

OAKI_INLINE void oaki_held_end(oaki_thread *t)
{
    OAKI_ASSERT(!t || (t == oaki_tls_thread && t->held.depth > 0));
    if (t) t->held.depth--;
}

/* The result of a call that makes a part of owner, run in the zone of owner; functions are held
 * back. NULL without memory. */
#define OAKI_PART(owner, call) __extension__({        \
        oaki_thread *oaki_holder = oaki_held_begin(); \
        void *oaki_part = OAKI_IN_ZONE_OF(owner, call);   \
        oaki_held_end(oaki_holder);                   \
        oaki_part;                                    \
    })

/* Was a function held back that may be called now? */
OAKI_INLINE bool oaki_held_any(void)
{
    const oaki_thread *t = oaki_tls_thread;
    if (!t || OAKI_LIKELY(!t->held.over && t->held.full == 0)) return false;
    return t->held.full > 0 ? !oaki_held_full(&t->held) : t->held.depth == 0;
}

/* At the beginning of a write: on_full has not been asked for. */
OAKI_INLINE void oaki_held_forget(void)
{
    oaki_thread *t = oaki_tls_thread;
    if (!t || oaki_held_full(&t->held)) return;
    t->held.full = 0;
    t->held.ran = false;
    t->held.tries = 0;
}

bool oaki_held_call_now(const void *owner);
void oaki_held_over_now(void);
bool oaki_held_ran(void);

/* After a write: calls what was held back, if it may be called now. true: there may be room now, so
 * a write that has failed may be tried again. on_full of owner's zone says so; or the write has
 * failed, and finalizers have run since it began. */
OAKI_INLINE bool oaki_held_again(const void *owner, bool failed)
{
    return (oaki_held_any() && oaki_held_call_now(owner)) ||
           (OAKI_UNLIKELY(failed) && oaki_held_ran());
}

/* The same of a write that is over unless it has failed: is it to be done again? */
OAKI_INLINE bool oaki_held_retry(const void *owner, bool failed)
{
    return oaki_held_again(owner, failed) && failed;
}

/* The same of a call that needs no room: on_full is left to the caller. */
OAKI_INLINE void oaki_held_over(void)
{
    const oaki_thread *t = oaki_tls_thread;
    if (OAKI_UNLIKELY(t && t->held.over) && t->held.depth == 0) oaki_held_over_now();
}

/* Code of the program runs under the lock of a structure: until the other call, allocations ask for
 * on_full at once, as nobody else would. What follows a collection stays held back. */
oaki_held oaki_held_suspend(void);
void oaki_held_resume(oaki_held was);

#endif

/* waker.h - how a thread of Oakum's sleeps until there is work for it.
 *
 * A waker counts the calls. A thread that remembers the count it has seen misses none: a call that
 * comes before it sleeps makes it go on at once. Several calls may become one.
 *
 * Lock: none. A wake-up takes no lock, so it may come from a signal handler. In the child of a fork
 * the count stays as it is. */
#ifndef OAKI_WAKER_H
#define OAKI_WAKER_H

#include "os.h"

typedef struct oaki_waker {
    unsigned int calls; /* AO_int, futex */
} oaki_waker;

OAKI_INLINE unsigned oaki_waker_calls(oaki_waker *w)
{
    return AO_int_load_acquire(&w->calls);
}

/* Wakes up to `sleepers` threads. */
OAKI_INLINE void oaki_waker_wake(oaki_waker *w, int sleepers)
{
    (void)AO_int_fetch_and_add_full(&w->calls, 1);
    oaki_futex_wake(&w->calls, sleepers);
}

/* Sleeps until the count differs from *seen. *seen becomes the count. */
OAKI_INLINE void oaki_waker_wait(oaki_waker *w, unsigned *seen)
{
    unsigned now;
    while ((now = oaki_waker_calls(w)) == *seen) oaki_futex_wait(&w->calls, *seen, 0);
    *seen = now;
}

/* Sleeps once, for about `ns` at most. *seen becomes the count. Has it changed? */
OAKI_INLINE bool oaki_waker_wait_ns(oaki_waker *w, unsigned *seen, uint64_t ns)
{
    if (oaki_waker_calls(w) == *seen) oaki_futex_wait(&w->calls, *seen, ns);
    unsigned before = *seen;
    *seen = oaki_waker_calls(w);
    return *seen != before;
}

#endif

/* spin.h - a lock that is held for a few instructions, by threads that mark.
 *
 * Not oaki_lock, as a helper is no thread of the runtime. A child of a fork sets it to 0, as no
 * fork waits for a helper that comes late. */
#ifndef OAKI_SPIN_H
#define OAKI_SPIN_H

#include "runtime/base.h"
#include "runtime/os.h"

#define OAKI_SPINS 2000

typedef unsigned int oaki_spin; /* AO_int */

/* Another worker does something short; unless it has lost its processor, maybe to this one. */
OAKI_INLINE void oaki_spin_wait(unsigned spins)
{
    oaki_pause();
    if (spins > OAKI_SPINS) oaki_os_yield();
}

OAKI_INLINE void oaki_spin_lock(oaki_spin *l)
{
    for (unsigned n = 0; !AO_int_compare_and_swap_acquire(l, 0, 1); n++) oaki_spin_wait(n);
}

OAKI_INLINE void oaki_spin_unlock(oaki_spin *l)
{
    OAKI_ASSERT(AO_int_load(l) == 1);
    AO_int_store_release(l, 0);
}

#endif

/* spin.h - a spin lock between marking threads, held for a few instructions.
 *
 * Not an oaki_lock, as a helper is no thread of the runtime. A fork does not wait for a helper
 * that joins late, so the child sets the lock to 0. */
#ifndef OAKI_SPIN_H
#define OAKI_SPIN_H

#include "runtime/base.h"
#include "runtime/os.h"
#include "tuning.h"

typedef unsigned int oaki_spin; /* AO_int */

/* Another worker does something short. If it has lost its processor, perhaps to this thread,
 * yield. */
OAKI_INLINE void oaki_spin_wait(unsigned spins)
{
    oaki_pause();
    if (spins > OAKI_TUNE_SPINS) oaki_os_yield();
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

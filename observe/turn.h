/* turn.h - the turn: the lock of an observer that is started, stopped and read. It may be held for
 * long, as while a file is opened, so those that wait sleep.
 *
 * Owns nothing: each observer has its turn, an AO_t that is 0 while nobody has it. */
#ifndef OAKI_TURN_H
#define OAKI_TURN_H

#include "runtime/heap.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define OAKI_TURN_NAP_NS 50000u

/* in_child: sets the turn to 0 in a fork's child, where its holder may not exist. It is registered
 * here, and after the heap's handlers: before the heap starts, no handler runs. */
OAKI_INLINE void oaki_turn_take(AO_t *turn, void (*in_child)(void))
{
    if (AO_load(&oaki_the_heap.started)) oaki_fork_register(in_child);
    while (!AO_compare_and_swap_full(turn, 0, 1)) oaki_os_sleep_ns(OAKI_TURN_NAP_NS);
}

OAKI_INLINE void oaki_turn_give(AO_t *turn)
{
    AO_store_release(turn, 0);
}

#endif

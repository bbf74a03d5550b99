/* reclaim.c - what the stop of a cycle has found gone, taken out of the tables of objects with the
 * world running (objtable.h).
 *
 * The stop itself clears what the program could read: words of weak references, ephemerons and
 * links. What is left is the tables' own affair: whoever looks up an object meanwhile, whose place
 * may have been a dead one's, passes by what is flagged.
 *
 * Invariant: nothing is flagged and nothing is sure when a mark begins: whoever ends a cycle has
 *   gc_lock until all is settled, so that nobody who takes it sees a flag; and where a mark was
 *   dropped, the next cycle forgets who was sure, in its first stop.
 * Lock: finalizer_lock, for some records at a time. Bound: O(what has gone), and a byte of each
 * record. */
#include "gc/concurrent/concurrent.h"
#include "gc/contract.h"
#include "gc/gc.h"
#include "gc/host.h"
#include "link.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define TURN_NS 50000u /* for who waits for a table, which would be taken again before that */

static void wait_for_tests(void)
{
    long us = oaki_debug_switches.settle;
    if (OAKI_UNLIKELY(us > 0 && !oaki_world_stopped())) oaki_os_sleep_ns((uint64_t)us * 1000);
}

/* Between two cycles, or in the first stop of one. */
const char *oaki_tables_check(void)
{
    static const char *(*const check[])(void) = { oaki_finalizers_check, oaki_weak_check,
                                                  oaki_ephemerons_check, oaki_links_check,
                                                  oaki_held_check };
    const char *rule = NULL;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    for (size_t i = 0; i < sizeof check / sizeof check[0] && !rule; i++) rule = check[i]();
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    return rule ? rule : oaki_deferred_check();
}

void oaki_tables_reclaim(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_INSIDE();
    static bool (*const settle[])(uint32_t *from) = { oaki_finalizers_reclaim, oaki_weak_reclaim,
                                                      oaki_ephemerons_reclaim, oaki_links_reclaim,
                                                      oaki_held_reclaim };
    wait_for_tests();
    for (size_t i = 0; i < sizeof settle / sizeof settle[0]; i++) {
        uint32_t from = 0;
        for (bool more = true; more;) {
            oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
            more = settle[i](&from);
            bool waited = oaki_lock_is_awaited(&oaki_the_heap.finalizer_lock);
            oaki_lock_release(&oaki_the_heap.finalizer_lock);
            if (waited && !oaki_world_stopped()) oaki_os_sleep_ns(TURN_NS);
        }
    }
}

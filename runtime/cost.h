/* cost.h - the costs of operations on memory and threads on this host, in nanoseconds.
 *
 * A probe measures them when the collector first has to choose by them (costprobe.c), and again
 * where they may have changed. Each stop of the world measures OAKI_COST_stop. The variable
 * OAKUM_HOST sets costs in place of the probe.
 *
 * Lock: none; a cost is a word that any thread may read. */
#ifndef OAKI_COST_H
#define OAKI_COST_H

#include "base.h"

/* name, what it is. A huge page is one of 2 MiB. */
#define OAKI_COSTS(X)                                                    \
    X(write, "the first write to a protected page")                      \
    X(write_huge, "the first write to a protected huge page")            \
    X(protect, "protecting a page")                                      \
    X(protect_huge, "protecting a huge page")                            \
    X(ask, "asking whether a page was written")                          \
    X(ask_huge, "asking whether a huge page was written")                \
    X(fresh, "the first use of a fresh page")                            \
    X(fresh_huge, "the first use of a fresh huge page")                  \
    X(stop, "stopping a thread")                                         \
    X(wake, "waking a thread")

typedef enum oaki_cost {
#define OAKI_COST_NAME(name, help) OAKI_COST_##name,
    OAKI_COSTS(OAKI_COST_NAME)
#undef OAKI_COST_NAME
    OAKI_COST_ALL
} oaki_cost;

/* ns; 0: not known. */
extern OAKI_HIDDEN AO_t oaki_cost_ns[OAKI_COST_ALL];

OAKI_INLINE size_t oaki_cost_of(oaki_cost c)
{
    return AO_load(&oaki_cost_ns[c]);
}

/* Notes a measurement made outside of the probe. A cost that OAKUM_HOST has set stays. */
void oaki_cost_note(oaki_cost c, uint64_t ns);
void oaki_cost_force(oaki_cost c, size_t ns);
bool oaki_cost_is_forced(oaki_cost c);

/* Has a probe ended, if only to find that it can measure nothing? */
bool oaki_cost_known(void);
/* Has none ended, or are the known costs to be measured anew? They hold until then. */
bool oaki_cost_is_stale(void);

/* Measures the host: at most 3 ms and 4 MiB, unless the system holds it up. Waits for another
 * thread's first probe. Called outside of oaki_enter, on a thread of Oakum's or the program's.
 * Returns: has this call measured? */
bool oaki_cost_probe(void);

/* The next probe measures anew. */
void oaki_cost_doubt(void);

void oaki_cost_reset(void); /* in the child of a fork */

#endif

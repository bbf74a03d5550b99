/* sweep.h - the sweeper's interface to the cycle. */
#ifndef OAKI_SWEEP_H
#define OAKI_SWEEP_H

#include "runtime/span.h"

void oaki_sweep_reset(void); /* in the child of a fork */
/* starts the background thread, if it is not running */
void oaki_sweep_spawn(void);
void oaki_sweep_begin(size_t live, size_t trigger); /* makes every span unswept; in the pause */
void oaki_sweep_wake(void);
/* Sweeps until the monotonic time end_ns, at least one span. Are there more? Inside oaki_enter. */
bool oaki_sweep_until(uint64_t end_ns);
/* before the calling thread allocates: sweeps in proportion (assist) */
void oaki_sweep_assist(void);
/* During a mark: the rule that is broken, or NULL. */
const char *oaki_sweep_check(void);
/* Bytes that this cycle's sweep has found alive so far, by kind of object. */
void oaki_sweep_kept(size_t bytes[OAKI_KINDS]);
/* When the last cycle's sweep was complete, on the monotonic clock; 0 before. */
uint64_t oaki_sweep_ended(void);
/* From now on fn is called, inside oaki_enter, after each sweep assist: with its begin, and the
 * bytes of the spans swept. NULL: no such function any more. No context, as in host.h. */
void oaki_sweep_on_assist(void (*fn)(uint64_t begin, size_t bytes));

#endif

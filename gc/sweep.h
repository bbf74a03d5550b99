/* sweep.h - what a cycle asks of the sweeper. */
#ifndef OAKI_SWEEP_H
#define OAKI_SWEEP_H

#include "runtime/span.h"

int oaki_sweep_init(void);
/* start the background thread, if it is not */
void oaki_sweep_spawn(void);
void oaki_sweep_begin(size_t live, size_t trigger); /* every span waits now; in the stop */
void oaki_sweep_wake(void);
/* the caller is about to allocate: sweep in proportion */
void oaki_sweep_pay(void);
/* In a mark: the rule that is broken, or NULL. */
const char *oaki_sweep_check(void);
/* Bytes that this cycle's sweep has found alive so far, by kind of object. */
void oaki_sweep_kept(size_t bytes[OAKI_KINDS]);
/* When nothing was left to sweep of the last cycle, on the monotonic clock; 0 before. */
uint64_t oaki_sweep_ended(void);
/* From now on fn is told, inside oaki_enter, of each time that an allocating thread has swept for
 * its credit: when it began, and the bytes of the spans. NULL: no more. */
void oaki_sweep_on_assist(void (*fn)(uint64_t begin, size_t bytes));

#endif

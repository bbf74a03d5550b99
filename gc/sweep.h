/* sweep.h - what a cycle asks of the sweeper. */
#ifndef OAKI_SWEEP_H
#define OAKI_SWEEP_H

#include <stdbool.h>
#include <stddef.h>

int oaki_sweep_init(void);
/* start the background thread, if it is not; outside of a stop */
void oaki_sweep_spawn(void);
void oaki_sweep_begin(size_t live, size_t trigger); /* every span waits now; in the stop */
void oaki_sweep_wake(void);
/* the caller is about to allocate: sweep in proportion */
void oaki_sweep_pay(void);

#endif

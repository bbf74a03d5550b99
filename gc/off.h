/* off.h - may a collection be? */
#ifndef OAKI_OFF_H
#define OAKI_OFF_H

#include "runtime/collector.h"

/* The program forbids all of them now. In a stop, too. */
bool oaki_gc_is_off(void);
/* Likewise, or its host does for this reason, which may call the program, or a fork, which has
 * gc_lock, waits for the calling thread: before one begins. */
bool oaki_gc_refuses(oaki_gc_why why);
/* By oak_gc_disable. */
bool oaki_gc_is_disabled(void);

#endif

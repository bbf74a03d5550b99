/* off.h - are collections allowed now? */
#ifndef OAKI_OFF_H
#define OAKI_OFF_H

#include "runtime/collector.h"

/* Does the program forbid all collections now? Also in a pause. */
bool oaki_gc_is_off(void);
/* Is a collection refused that is about to start? It is while oaki_gc_is_off, and while the host
 * forbids it for this reason (oaki_gc_unless), which may call the program. It is, too, while a
 * fork waits for the calling thread: the fork holds gc_lock. */
bool oaki_gc_refuses(oaki_gc_why why);
/* By oak_gc_disable? */
bool oaki_gc_is_disabled(void);

#endif

/* roomy.h - calls on a stack that is large enough. */
#ifndef OAKI_ROOMY_H
#define OAKI_ROOMY_H

#include "base.h"

/* Calls fn(ctx) on a stack of its own: the caller may run on a signal handler's, or a small
 * coroutine's. Where none can be mapped, it runs on the caller's. fn has to return. */
void oaki_roomy_call(void (*fn)(void *ctx), void *ctx);

/* Bytes of that stack that are left at sp; 0: sp is not on it. */
size_t oaki_roomy_left(const char *sp);

#endif

/* roomy.h - calls on a stack that is large enough. */
#ifndef OAKI_ROOMY_H
#define OAKI_ROOMY_H

/* Calls fn(ctx) on a stack of its own: the caller may run on a signal handler's, or a small
 * coroutine's. Where none can be mapped, it runs on the caller's. fn has to return: what leaves by
 * exit or longjmp leaves the mapping behind. */
void oaki_roomy_call(void (*fn)(void *ctx), void *ctx);

#endif

/* ownmask.h - threads that block all signals because they run code of Oakum's that needs it. Such
 * code is the handlers of the stop signal and of faults, and sections under dirty_fault.c's lock.
 * The host's own blocking of SIGSEGV is not recorded here, though the masks look alike. */
#ifndef OAKI_OWNMASK_H
#define OAKI_OWNMASK_H

#include <stdbool.h>
#include <stdint.h>

/* `before`: the thread's own mask, bit i for signal i + 1. A thread that blocks SIGSEGV itself
 * isn't noted. Callable from any thread, in handlers too. Bound: one system call. */
void oaki_ownmask_enter(uint64_t before);
void oaki_ownmask_leave(void);
/* true: certainly inside. false: outside, or unknown. */
bool oaki_ownmask_has(int tid);
/* In the child of a fork, whose only thread isn't inside. */
void oaki_ownmask_forget(void);

#endif

/* ownmask.h - threads that have all signals blocked because they run code of ours which wants that:
 * the handlers of the stop signal and of faults, and who holds dirty_fault.c's lock. It says
 * nothing of what the program does with SIGSEGV, though their masks look alike. */
#ifndef OAKI_OWNMASK_H
#define OAKI_OWNMASK_H

#include <stdbool.h>
#include <stdint.h>

/* `before`: the thread's own mask, bit i for signal i + 1. One that blocks SIGSEGV itself isn't
 * noted. Any thread, handlers too. Bound: a call of the system. */
void oaki_ownmask_enter(uint64_t before);
void oaki_ownmask_leave(void);
/* Surely; false: not, or it isn't known. */
bool oaki_ownmask_has(int tid);
/* In a child of a fork, whose only thread isn't inside. */
void oaki_ownmask_forget(void);

#endif

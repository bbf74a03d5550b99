/* stack.h - the stack of the calling thread as return addresses, Oakum's own frames left out. */
#ifndef OAKI_STACK_H
#define OAKI_STACK_H

#include "runtime/base.h"

#define OAKI_STACK_FRAMES 64

/* Makes the tables. Outside of oaki_enter. */
void oaki_stack_init(void);

/* Fill pc with at most max (<= OAKI_STACK_FRAMES) return addresses, the innermost first, frames of
 * Oakum's own at the top left out. Returns how many. Waits for nothing, and is no cancellation
 * point (unwind.h). */
size_t oaki_stack_capture(uintptr_t *pc, size_t max);

/* Does this address lie in Oakum's code? Not known before oaki_stack_init or oaki_stack_find_own,
 * which is to be called outside of oaki_enter as well. */
bool oaki_stack_is_own(uintptr_t pc);
void oaki_stack_find_own(void);

#endif

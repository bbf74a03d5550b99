/* stack.h - the stack of the calling thread as return addresses, without Oakum's own frames. */
#ifndef OAKI_STACK_H
#define OAKI_STACK_H

#include "runtime/base.h"

#define OAKI_STACK_FRAMES 64

/* Makes the tables. Outside of oaki_enter. */
void oaki_stack_init(void);

/* Fills pc with at most max (<= OAKI_STACK_FRAMES) return addresses, the innermost first. Leaves
 * out Oakum's own frames at the top. Returns how many. Never blocks, and is not a cancellation
 * point (unwind.h). */
size_t oaki_stack_capture(uintptr_t *pc, size_t max);

/* Does this address lie in Oakum's code? Valid after oaki_stack_init or oaki_stack_find_own, which
 * must be called outside of oaki_enter too. */
bool oaki_stack_is_own(uintptr_t pc);
void oaki_stack_find_own(void);

#endif

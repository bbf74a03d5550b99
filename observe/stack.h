/* stack.h - the stack of the calling thread as return addresses.
 *
 * Needs no frame pointers: libunwind follows the tables that exceptions use, and keeps what it has
 * read of them, some 10 ns a frame. It is loaded when the first profile is asked for, with its
 * names kept to itself: it has an _Unwind_RaiseException of its own, which the host's C++ is not to
 * find. Without it libc's backtrace does, more slowly. */
#ifndef OAKI_STACK_H
#define OAKI_STACK_H

#include "runtime/base.h"

#define OAKI_STACK_FRAMES 64

/* Load what is needed. Outside of oaki_enter. */
void oaki_stack_init(void);

/* Fill pc with at most max (<= OAKI_STACK_FRAMES) return addresses, the innermost first, frames of
 * Oakum's own at the top left out. Returns how many. Outside of oaki_enter, as it may wait for the
 * loader's lock. */
size_t oaki_stack_capture(uintptr_t *pc, size_t max);

/* Does this address lie in Oakum's code? Not known before oaki_stack_init or
 * oaki_stack_find_own, which loads nothing, and is to be called outside of oaki_enter as well. */
bool oaki_stack_is_own(uintptr_t pc);
void oaki_stack_find_own(void);

/* Does this address lie in the unwinder's code? */
bool oaki_stack_is_unwinder(const void *pc);

#endif

/* unwind.h - the stack of the calling thread as return addresses, by the tables of exceptions.
 *
 * Needs no frame pointers and loads no library. May be called in any state of the thread: no lock,
 * no malloc, no cancellation point. No system call either, if the stack's bounds are known and all
 * frames are in the cache. Every read is checked: a broken frame, a corrupt table or an irregular
 * end of the stack ends the walk.
 * Bound: O(frames) if their rules are in the cache; else O(log functions) each. Less than 2 KiB of
 * stack. */
#ifndef OAKI_UNWIND_H
#define OAKI_UNWIND_H

#include "runtime/base.h"

/* Called once, before the first walk. Outside of oaki_enter. 0 or -1 with ENOMEM. */
int oaki_unwind_init(void);

/* Fills pc with at most max return addresses, the innermost first. Leaves out those at the top for
 * which `skip` (unless NULL) is true. Returns how many. The byte before each address is in the
 * function. For a frame that a signal interrupted, the address is one more than the interrupted
 * pc. */
size_t oaki_unwind(uintptr_t *pc, size_t max, bool (*skip)(uintptr_t code));

/* ---- for tests ---- */

/* Allows or forbids the loader's look-up; allowed by default. 0 or -1. No other thread may walk. */
int oaki_unwind_by_loader(bool on);

/* Empties the cache of rules. No other thread may walk. */
void oaki_unwind_forget(void);

#endif

/* unwind.h - the stack of the calling thread as return addresses, by the tables of exceptions.
 *
 * Needs no frame pointers, loads no library, and may be called wherever the thread is: no lock, no
 * malloc, no cancellation point, and no system call on a stack whose bounds are known and whose
 * frames were met before. Every read is checked: a broken frame, a corrupt table or a stack that
 * ends oddly ends the walk.
 * Bound: O(frames) where their rules are in the cache; else O(log functions) each. Less than 2 KiB
 * of stack. */
#ifndef OAKI_UNWIND_H
#define OAKI_UNWIND_H

#include "runtime/base.h"

/* Before the first walk, once. Outside of oaki_enter. 0 or -1 with ENOMEM. */
int oaki_unwind_init(void);

/* Fill pc with at most max return addresses, the innermost first, leaving out those at the top of
 * which `skip` (unless NULL) is true. Returns how many. The byte before each is in the function:
 * for a frame that a signal interrupted, it is one more than where that happened. */
size_t oaki_unwind(uintptr_t *pc, size_t max, bool (*skip)(uintptr_t code));

/* ---- for tests ---- */

/* Whether the loader's look-up may be used; the usual is true. 0 or -1. No other thread walks. */
int oaki_unwind_by_loader(bool on);

/* Forget all rules. No other thread walks. */
void oaki_unwind_forget(void);

#endif

/* restore.h - the library's variables as they were before the heap was started. A heap that is shut
 * down leaves them so, and the next start finds nothing of it.
 *
 * Only in the shared library: its writable segment holds its own variables and no others. */
#ifndef OAKI_RESTORE_H
#define OAKI_RESTORE_H

#include "base.h"

/* By the heap's start, before it changes anything. false: no memory. */
bool oaki_restore_note(void);

/* These bytes stay as they are. At most 16 such, of 1 KiB in all; the same one counts once. */
void oaki_restore_except(void *p, size_t n);

/* For what a program may also change before the start, and undo after it. By the start. A count
 * becomes the lesser of its values at the start and now; a setting that changed becomes 0. */
void oaki_restore_count(AO_t *count);
void oaki_restore_setting(AO_t *setting);

/* The program's fatal handler is such a setting (fatal.c). */
void oaki_fatal_init(void);

/* Puts back all variables, and the calling thread's thread-local ones. No other thread uses any.
 * false: they are not known; then none is changed. */
bool oaki_restore(void);

/* How many heaps this library has shut down. */
AO_t oaki_restores(void);

#endif

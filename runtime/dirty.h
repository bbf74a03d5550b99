/* dirty.h - which pages of the heap the program has written since they were protected.
 *
 * What a collector without a write barrier lives on: it marks while the program runs, and
 * afterwards looks again at what was written meanwhile. The system tells, in one of two ways:
 *   dirty_uffd.c: the heap's range is registered with userfaultfd for asynchronous write
 *     protection (Linux 6.7), where a first write to a protected page takes a fault that the kernel
 *     resolves by itself, inside of system calls too;
 *   dirty_fault.c: pages are made read only, and a handler of SIGSEGV takes note of the first
 *     write. A system call that writes to such a page fails with EFAULT, so the program has to ask
 *     for it: the option `tracking`.
 *
 * All addresses are offsets in the range, multiples of the system's page size.
 * Owns: which way it is, and why a better one isn't.
 * Lock: its own for the start, inside oaki_enter, and where the system refuses; afterwards calls
 * may come from any thread, one at a time; in a stop several may ask, each for a part of its own.
 * Bound: linear in the pages of what is asked about; 0.12 ms for 256 MiB of small pages. */
#ifndef OAKI_DIRTY_H
#define OAKI_DIRTY_H

#include "base.h"

typedef void oaki_dirty_fn(size_t from, size_t to, void *ctx);

/* Can writes be told? Opens what it takes, once in a process and once in each child of a fork. */
bool oaki_dirty_start(void);

/* As oaki_dirty_start said, and still so, and not refused for the collection that comes next. */
bool oaki_dirty_may(void);

/* There is a way, but not for the calling thread, nor for those that it starts: descriptors that
 * the way takes were closed, in all of the process or in a table that is this thread's. */
bool oaki_dirty_lost(void);

/* Is there a way for the calling thread, by new descriptors where it has lost them? */
bool oaki_dirty_here(void);

/* Before pages are protected for a cycle, by the thread that will ask. false: not now, as the
 * system or the program has taken away what it takes; the next collection is one in a stop. What
 * was closed is opened anew; where this thread can't, nobody is told any more. */
bool oaki_dirty_begin(void);

/* The program's writes to [from, to) are noted from here on. Pages that have no memory yet, or
 * nothing that is scanned, need not be protected: they count as written once they have. false when
 * the system refuses. */
bool oaki_dirty_protect(size_t from, size_t to);

/* Call fn for each run of pages in [from, to) that were written since they were protected, or were
 * never protected and have memory (some that have none may be among them); with again they are
 * protected first, so that what is written while fn looks at them is told the next time. Returns
 * how many pages, SIZE_MAX when the system refuses: then all may have been written. */
size_t oaki_dirty_take(size_t from, size_t to, bool again, oaki_dirty_fn *fn, void *ctx);

/* The same with again, until `most` pages have been found, 1 or more: *from is moved on to where it
 * ended. */
size_t oaki_dirty_take_some(size_t *from, size_t to, size_t most, oaki_dirty_fn *fn, void *ctx);

/* Counts the runs' batches: what fn is told of with the same number was protected before the first
 * of it was told. */
extern OAKI_HIDDEN AO_t oaki_dirty_batch;

/* How often oaki_dirty_take has said SIZE_MAX. It is counted before what can be mended is: after
 * that, what was written before isn't told. */
size_t oaki_dirty_refusals(void);

/* Writes to [from, to) cost nothing any more. */
void oaki_dirty_unprotect(size_t from, size_t to);

/* By the page heap: [from, to) is about to become a span. */
void oaki_dirty_taken(size_t from, size_t to);

/* Do protected pages keep system calls from writing to them? */
bool oaki_dirty_denies(void);

/* May a thread's writes to the heap raise SIGSEGV? Then no thread may block it. */
bool oaki_dirty_faults(void);

int oaki_dirty_init(void);

#endif

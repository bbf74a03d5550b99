/* dirty.h - dirty tracking: which pages of the heap were written since they were protected.
 *
 * A collector without a write barrier depends on this. It marks concurrently, and afterwards
 * rescans the pages that were written meanwhile. The system reports them in one of two ways:
 *   dirty_uffd.c: the heap's range is registered with userfaultfd for asynchronous write
 *     protection (Linux 6.7). The first write to a protected page takes a fault that the kernel
 *     resolves by itself, inside system calls too.
 *   dirty_fault.c: pages are made read-only, and a handler of SIGSEGV notes the first write.
 *     A system call that writes to such a page fails with EFAULT, so this way has to be requested:
 *     the option `tracking`.
 *
 * All addresses are offsets in the range, multiples of the system's page size.
 * Owns: the way in use, and the reason why a better one isn't.
 * Lock: its own for the start, inside oaki_enter, and where the system refuses. Pages are protected
 * and taken by one thread at a time, or in a stop by several, each for its own part. Any thread may
 * release pages meanwhile.
 * Bound: linear in the pages of the range examined. */
#ifndef OAKI_DIRTY_H
#define OAKI_DIRTY_H

#include "base.h"

typedef void oaki_dirty_fn(size_t from, size_t to, void *ctx);

/* Can writes be tracked? Opens the descriptors needed, once in a process and once in each child of
 * a fork. */
bool oaki_dirty_start(void);

/* Has oaki_dirty_start returned true, and does that still hold? false also when tracking is refused
 * for the next collection. */
bool oaki_dirty_may(void);

/* Is there a way of tracking, but not for the calling thread, nor for threads that it starts? Then
 * descriptors that it needs were closed, in the whole process or in this thread's own table. */
bool oaki_dirty_lost(void);

/* Is there a way of tracking for the calling thread? Opens lost descriptors anew. */
bool oaki_dirty_here(void);

/* Called before pages are protected for a cycle, by the thread that will take the dirty pages.
 * Returns false when the system or the program has removed the means: the next collection is then
 * stop-the-world. Closed descriptors are opened anew. Where this thread can't do so, tracking ends
 * for all threads. */
bool oaki_dirty_begin(void);

/* From here on the program's writes to [from, to) are noted. Pages without memory, or without words
 * to scan, need not be protected: they count as dirty once they have some. Returns false when the
 * system refuses. */
bool oaki_dirty_protect(size_t from, size_t to);

/* Calls fn for each run of dirty pages in [from, to): written since they were protected, or never
 * protected and backed by memory. Some pages without memory may be among them. With again, pages
 * are protected before fn is called, so a write during fn is reported the next time. Returns the
 * number of pages, or SIZE_MAX when the system refuses: then all may be dirty. */
size_t oaki_dirty_take(size_t from, size_t to, bool again, oaki_dirty_fn *fn, void *ctx);

/* The same with again, until `most` pages are found, 1 or more. *from is moved on to the end of the
 * part that was examined. */
size_t oaki_dirty_take_some(size_t *from, size_t to, size_t most, oaki_dirty_fn *fn, void *ctx);

/* Number of the current batch of runs. All pages of a batch are protected before fn is called for
 * the first of them. */
extern OAKI_HIDDEN AO_t oaki_dirty_batch;

/* How often oaki_dirty_take has returned SIZE_MAX. Counted before any repair is made: after the
 * repair, earlier writes are not reported. */
size_t oaki_dirty_refusals(void);

/* The costs of tracking since the start. asked: pages that the system examined, to protect them or
 * to find dirty ones. found: pages found dirty. faults: first writes to protected pages. A fault of
 * userfaultfd is counted when its page is examined afterwards. */
typedef struct oaki_dirty_cost {
    size_t asked, found, faults;
} oaki_dirty_cost;
oaki_dirty_cost oaki_dirty_costs(void);

/* Ends the protection of [from, to): writes there cost no fault from here on. */
void oaki_dirty_unprotect(size_t from, size_t to);

/* For measurements, on memory outside of the heap that the caller unmaps afterwards. enroll: can
 * its pages be tracked as the heap's are? try: examines [p, p + size), protects it or not, and
 * reports nothing; false when the system refuses. */
bool oaki_dirty_enroll(void *p, size_t size);
bool oaki_dirty_try(void *p, size_t size, bool protect);

/* Called by the page heap: [from, to) is about to become a span. */
void oaki_dirty_taken(size_t from, size_t to);

/* Do protected pages make system calls fail that write to them? */
bool oaki_dirty_denies(void);

/* May a thread's writes to the heap raise SIGSEGV? Then no thread may block it. */
bool oaki_dirty_faults(void);

int oaki_dirty_init(void);

#endif

/* written.h - which pages of the heap the program has written since they were protected.
 *
 * What a collector without a write barrier lives on: it marks while the program runs, and
 * afterwards looks again at what was written meanwhile. The system tells: the heap's range is
 * registered with userfaultfd for asynchronous write protection (Linux 6.7), where a first write to
 * a protected page takes a fault that the kernel resolves by itself, inside of system calls too;
 * PAGEMAP_SCAN lists the written pages and protects them again in one step.
 *
 * All addresses are offsets in the range, multiples of the system's page size.
 * Owns: the userfaultfd and the page map's descriptor.
 * Lock: its own for the start, inside oaki_enter; afterwards calls may come from any thread, one at
 * a time.
 * Bound: linear in the mapped pages of what is asked about; 0.1 ms for 256 MiB of small pages. */
#ifndef OAKI_WRITTEN_H
#define OAKI_WRITTEN_H

#include "base.h"

/* Can writes be told? Opens what it takes, once in a process and once in each child of a fork. */
bool oaki_written_start(void);

/* The program's writes to [from, to) are noted from here on. Pages that have no memory yet are not
 * protected: they count as written once they have. false when the system refuses. */
bool oaki_written_protect(size_t from, size_t to);

/* Call fn for each run of pages in [from, to) that were written since they were protected, or were
 * never protected and have memory; with again they are protected first, so that what is written
 * while fn looks at them is told the next time. Returns how many pages, SIZE_MAX when the system
 * refuses. */
size_t oaki_written_take(size_t from, size_t to, bool again,
                         void (*fn)(size_t from, size_t to, void *ctx), void *ctx);

/* Writes to [from, to) cost nothing any more. */
void oaki_written_release(size_t from, size_t to);

int oaki_written_init(void);

#endif

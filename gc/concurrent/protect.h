/* protect.h - which pages of the heap are protected, so that writes to them make them dirty.
 *
 * runtime/dirty.h knows pages, the collector knows the objects on them. Only pages with objects
 * that are scanned are worth a fault. An unprotected page counts as dirty.
 * All addresses are offsets in the range. Ends are multiples of OAKI_PAGE, but a search may stop
 * within such a page, as the system's pages are smaller. */
#ifndef OAKI_PROTECT_H
#define OAKI_PROTECT_H

#include "runtime/base.h"
#include <oakum/heap.h>

/* Protects the pages of [from, to) with objects that are scanned. Mutators run, so a page may have
 * lost these objects a moment ago. */
void oaki_protect_scanned(size_t from, size_t to);

/* Protects the dirty ones of these pages again, and calls fn for them, as oaki_dirty_take_some does
 * from *from on. Returns their number, at most `most`. SIZE_MAX if the system refuses; then *from
 * becomes `to`. */
size_t oaki_protect_again(size_t *from, size_t to, size_t most,
                       void (*fn)(size_t from, size_t to, void *ctx), void *ctx);

/* Releases the protection of these pages, and of pages that are free by now. Pages that have other
 * objects by now may stay protected. Each costs a fault, unless allocation makes it writable. */
void oaki_unprotect(size_t from, size_t to);

/* Of [from, to), only pages that are nearly full of marked objects stay protected. Mutators are
 * about to allocate on the others, where each page would cost a fault. */
void oaki_unprotect_sparse(size_t from, size_t to);

/* M is final: protects the pages that are nearly full of marked objects. false: the system
 * refuses. */
bool oaki_protect_dense(size_t from, size_t to);

/* Queues pinned objects and the rescan of dirty pages, which all workers do in the next drain. All
 * pages count as dirty if the system has refused since oaki_dirty_refusals returned `refusals`. */
void oaki_rescan_begin(size_t refusals);
/* The part [from, to) of that rescan, by worker m. */
void oaki_rescan_dirty(oak_marker *m, size_t from, size_t to);

#endif

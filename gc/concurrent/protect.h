/* protect.h - which pages of the heap are protected, so that writes to them make them dirty.
 *
 * Between runtime/dirty.h, which knows pages, and the collector, which knows what is on them:
 * only pages with objects that are scanned are worth a fault. An unprotected page counts as dirty.
 * All addresses are offsets in the range, and ends multiples of OAKI_PAGE. A part that was asked
 * about may end within one, as the system's pages are smaller. */
#ifndef OAKI_PROTECT_H
#define OAKI_PROTECT_H

#include "runtime/base.h"
#include <oakum/heap.h>

/* Protects the pages of [from, to) that have, or had a moment ago, objects that are scanned. */
void oaki_protect_scanned(size_t from, size_t to);

/* Of those, the dirty pages: as oaki_dirty_take_some. Where the system refuses, *from is moved on
 * to `to`. */
size_t oaki_protect_again(size_t *from, size_t to, size_t most,
                       void (*fn)(size_t from, size_t to, void *ctx), void *ctx);

/* They are not protected any more, nor are pages that became free since. Pages that have other
 * objects by now may stay so: a fault for each, unless allocation makes them writable anyway. */
void oaki_unprotect(size_t from, size_t to);

/* Of [from, to), only pages that are nearly full of marked objects stay protected. Mutators are
 * about to allocate on the others, where each page would cost a fault. */
void oaki_unprotect_sparse(size_t from, size_t to);

/* M is final: protects the pages that are nearly full of marked objects. false: the system
 * refuses. */
bool oaki_protect_dense(size_t from, size_t to);

/* Queues pinned objects, and has all workers rescan the dirty pages in the drain that follows: all
 * pages, if the system has refused since oaki_dirty_refusals returned `refusals`; */
void oaki_rescan_begin(size_t refusals);
/* a part of that, by m. */
void oaki_rescan_dirty(oak_marker *m, size_t from, size_t to);

#endif

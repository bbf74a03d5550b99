/* protect.h - which pages of the heap are protected, so that writes to them are told.
 *
 * Between runtime/dirty.h, which knows pages, and the collector, which knows what is on them:
 * only pages with objects that are scanned are worth a fault. What is not protected counts as
 * written.
 * All addresses are offsets in the range, and ends multiples of OAKI_PAGE; a part that was asked
 * about may end within one, as the system's pages are smaller. */
#ifndef OAKI_PROTECT_H
#define OAKI_PROTECT_H

#include "runtime/base.h"
#include <oakum/heap.h>

/* Protect the pages of [from, to) that have, or had a moment ago, objects that are scanned. */
void oaki_protect_scanned(size_t from, size_t to);

/* Of those, the pages that were written: as oaki_dirty_take_some; where the system refuses, *from
 * is moved on to `to`. */
size_t oaki_protect_again(size_t *from, size_t to, size_t most,
                       void (*fn)(size_t from, size_t to, void *ctx), void *ctx);

/* They are not any more, nor is what has become free since. What has other objects by now may be:
 * that costs the program a fault for each page, where it is not made writable for them anyway. */
void oaki_unprotect(size_t from, size_t to);

/* Of [from, to), only the pages stay protected that are nearly full of marked objects: where slots
 * are free, the program is about to allocate, and each page would cost it a fault. */
void oaki_unprotect_sparse(size_t from, size_t to);

/* M final: protect the pages that are nearly full of marked objects. false: the
 * system refuses. */
bool oaki_protect_dense(size_t from, size_t to);

/* Queue pinned objects, and have what marked objects on written pages refer to
 * marked by all workers in the drain that follows: on all pages, if the system has refused since
 * oaki_dirty_refusals said so much; */
void oaki_rescan_begin(size_t refusals);
/* a part of that, by m. */
void oaki_rescan_dirty(oak_marker *m, size_t from, size_t to);

#endif

/* sticky.h - minor collections: whether the next collection is one (docs/concurrent.md). */
#ifndef OAKI_STICKY_H
#define OAKI_STICKY_H

#include "runtime/base.h"

/* After a cycle that traced `words` and freed `freed` bytes; `allocated`: bytes since the cycle
 * before. Live bytes and goal are known. Is the next cycle to be a minor one? */
bool oaki_sticky_pays(bool minor, size_t words, size_t freed, size_t allocated);

/* ---- in one pause, where the heap is too small to be marked concurrently ---- */

/* Before the pause: starts dirty tracking, if it is wanted. */
void oaki_sticky_prepare(void);

/* No concurrent mark is under way: can the cycle that begins now be a minor one? */
bool oaki_sticky_begins(void);

/* In a minor one: queues the objects that old objects on dirty pages refer to. */
void oaki_sticky_rescan(void);

/* After the mark of a cycle that was due, when M is final: protects old pages, so that the next
 * cycle can be minor. false: it can't. */
bool oaki_sticky_keep(bool minor);

#endif

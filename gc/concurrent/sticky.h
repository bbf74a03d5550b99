/* sticky.h - minor collections: whether the next collection is one (docs/concurrent.md). */
#ifndef OAKI_STICKY_H
#define OAKI_STICKY_H

#include "runtime/base.h"

/* After a cycle that has looked at so many words and found so many bytes dead, of
 * those that were allocated since the one before and of others; live and goal are known. Is the
 * next one to be a minor one? */
bool oaki_sticky_pays(bool minor, size_t words, size_t freed, size_t allocated);

/* ---- in one stop, where the heap is too small to be marked beside the program ---- */

/* Before the stop: opens what it takes to be told of writes. */
void oaki_sticky_prepare(void);

/* No mark has come to marking: can the collection that begins now be a minor one? */
bool oaki_sticky_begins(void);

/* In one that is: queue what old objects on written pages refer to. */
void oaki_sticky_rescan(void);

/* After the mark of one that was due and was minor or was not, when M is final: old
 * pages are protected, so that the next one can be minor. false: it can't. */
bool oaki_sticky_keep(bool minor);

#endif

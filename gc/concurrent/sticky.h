/* sticky.h - minor cycles: is the next cycle one (docs/concurrent.md)? */
#ifndef OAKI_STICKY_H
#define OAKI_STICKY_H

#include "runtime/base.h"

/* After a cycle that traced `words` and freed `freed` bytes; `allocated`: bytes since the cycle
 * before. Live bytes and goal are known. Is the next cycle to be a minor one? */
bool oaki_sticky_pays(bool minor, size_t words, size_t freed, size_t allocated);

/* Are the marks of the last cycle kept? The only writer of oaki_heap.sticky. Under the driver's
 * lock or gc_lock, or in a fork's child. They are kept from the final pause on. Not while pages are
 * protected for a cycle to come, which forgets earlier writes. */
void oaki_sticky_set(bool on);

/* Are marks kept, so that a cycle that is due may be minor? Any thread. */
bool oaki_sticky_may_begin(void);

/* The pause in which a cycle begins, and no concurrent mark is under way: may it be minor? */
bool oaki_sticky_begins(void);

/* ---- minor cycles in one pause, in heaps too small for a concurrent mark ---- */

/* Before the pause: starts dirty tracking, if it is wanted. */
void oaki_sticky_prepare(void);

/* In a minor cycle: queues pinned objects and the rescan of old objects on dirty pages. */
void oaki_sticky_rescan(void);

/* M is final, in a cycle that was due by pacing: protects pages of old objects, so that the next
 * cycle can be minor. false: it can't be. */
bool oaki_sticky_keep(bool minor);

#endif

/* host.h - what a host with marking rules of its own asks of the collector: another collector's
 * interface on Oakum's heap, or an interpreter that scans its own stacks.
 *
 * Such a host brings roots that are words nowhere, decides which pointers into an object count,
 * keeps objects of any kind alive by hand, and needs moments at which no collection can come.
 *
 * Lock: gc_lock, or the world is stopped, unless said otherwise. */
#ifndef OAKI_HOST_H
#define OAKI_HOST_H

#include "gc.h"
#include "runtime/collector.h"

/* ---- roots ---- */

/* From now on fn is called in the root phase of every mark, on worker 0, world stopped, and marks
 * with oak_mark_ptr, oak_mark_range and the calls below. With verify=1, and in an image, it is
 * called again to tell what it marks: so each call must mark the same, and change nothing of its
 * own. The same fn twice is once; there is no way back; 8 at most. 0, or -1 with ENOMEM. Not inside
 * oaki_enter. */
int oaki_gc_at_roots(void (*fn)(oak_marker *m));

/* In such a function or a mark function: what p points to; an object's start or an allowed
 * displacement from it (below). oak_mark_ptr takes any pointer into an object. */
void oaki_mark_displaced(oak_marker *m, const void *p);

/* In such a function: the words of [lo, hi) as a stack's: interior pointers count whatever the
 * displacements say, and one past an object's end counts as well. (runtime/collector.h:
 * void oaki_mark_range_ambiguous(oak_marker *m, const void *lo, const void *hi);) */

/* In such a function: the object that begins at obj is reachable, and not to be scanned: the
 * function has marked what matters in it. Why-alive and the other searches in images do follow its
 * words: they may find more alive than the collector keeps. */
void oaki_mark_unscanned(oak_marker *m, void *obj);

/* ---- which pointers into an object count ---- */

#define OAKI_DISPLACEMENTS 8192

/* NULL: every pointer into an object counts, as it is without this call. Otherwise words of heap
 * objects, of loaded objects' data and of registered ranges, TLS included, count only if they
 * point to an object's start, or to start + d where bit d of `allowed` (bit d % 64 of
 * allowed[d / 64], d < nbits <= OAKI_DISPLACEMENTS) is set. Words of stacks and registers,
 * ambiguous ranges, and what is marked by oak_mark_ptr always count. To be called before there are
 * objects that a stricter rule would lose; a mark that is under way is given up. 0, or -1 with
 * ENOMEM. Not inside oaki_enter. */
int oaki_mark_displacements(const uint64_t *allowed, size_t nbits);

/* Is there such a rule? */
bool oaki_mark_is_strict(void);

/* ---- objects kept by hand ---- */

/* The object that begins at obj, of whatever kind, lives until oaki_drop or oak_free. 0, also when
 * it is held already (it is held once); -1 with ENOMEM. Fatal when obj is not the start of a live
 * object. */
int oaki_hold(void *obj);
/* Was it held? */
bool oaki_drop(void *obj);
bool oaki_is_held(const void *obj);

/* ---- cycles ---- */

/* From now on fn is called once for each cycle, before its stop: the world runs, gc_lock is held,
 * the thread is inside oaki_enter, so fn may not call Oakum's public functions. As oaki_gc_at_cycle
 * otherwise. */
int oaki_gc_at_start(void (*fn)(void));

/* No collection is begun, nor ended, while fn says true. It is asked in stops, too, so it may only
 * look at memory. NULL: no more. */
void oaki_gc_off_while(bool (*fn)(void));
bool oaki_host_is_off(void);

/* No collection is begun while fn says true. It is asked whenever one would begin, for whichever
 * reason, inside oaki_enter, no lock held; so it may only look at memory. NULL: no more. */
void oaki_gc_unless(bool (*fn)(oaki_gc_why why));

/* Between hold and release there is no collection, no link is cleared (link.h), and no other thread
 * is between its own: 0, or -1 with ENOMEM. The thread is inside the runtime: it may not allocate,
 * nor call what enters it, save oak_base and the like, which take no lock. They don't nest. */
int oaki_gc_hold(void);
void oaki_gc_release(void);

/* ---- finalizers ---- */

/* How finalizers of different kinds that reach each other are decided. */
typedef enum oaki_finalizer_order {
    /* Oakum's (finalizer.c): unordered ones first, so an ordered one below them waits */
    OAKI_UNORDERED_FIRST,
    /* Boehm's: whatever an ordered one reaches waits, unordered ones included; an unordered one
     * holds up OAK_FINALIZER_UNREACHABLE ones only */
    OAKI_ORDERED_FIRST
} oaki_finalizer_order;

/* From now on what oak_finalizer_notify was given is called after each collection that leaves
 * finalizers ready, be they new or not. At start-up. */
void oaki_finalizers_notify_each(void);

/* 0, or -1 with ENOMEM. Not inside oaki_enter. */
int oaki_finalizers_order(oaki_finalizer_order order);

/* ---- for the collector (cycle.c, verify.c, edges.c) ---- */

bool oaki_host_vetoes(oaki_gc_why why);
/* What is held, and what the functions of oaki_gc_at_roots mark: with worker 0, or a marker that is
 * none. */
void oaki_host_mark_roots(void);
void oaki_host_call_roots(oak_marker *m);
/* Has the last mark marked any in that way? */
bool oaki_host_has_unscanned(void);
/* With verify=1: was the object at this offset marked by oaki_mark_unscanned in this cycle? */
bool oaki_host_is_unscanned(size_t slot);

int oaki_held_init(void);
void oaki_held_mark_roots(void);
/* As the tables of gc.h. */
uint32_t oaki_held_note_certain(uint32_t from, unsigned most);
bool oaki_held_reclaim(uint32_t *from);
const char *oaki_held_check(void);
void oaki_held_each(void (*fn)(void *ctx, void *obj), void *ctx);
void oaki_held_forget(void *obj); /* freed by hand */
void oaki_held_forget_zone(uint32_t zone); /* the same for a zone */
void oaki_held_trim(void);

#endif

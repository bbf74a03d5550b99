/* gc.h - what the parts of the collector share.
 *
 * A cycle, with the world stopped from the first line to the last (cycle.c):
 *   flush every mcache; hooks; M = ~A; mark from roots, pinned objects and what finalizer records
 *   keep; drain; ephemerons to a fixpoint; finalizers are decided and resurrected; weak references
 *   are cleared; M is final; the lists become unswept.
 * Then, with the world running: sweep, lazily and in the background (sweep.c).
 *
 * Lock: gc_lock is held for the whole of a cycle's stop. */
#ifndef OAKI_GC_H
#define OAKI_GC_H

#include "runtime/heap.h"
#include "runtime/markbits.h"
#include "runtime/roots.h"
#include "runtime/type.h"
#include <oakum/heap.h>

/* ---- hooks (cycle.c) ---- */

/* From now on fn is called in each collection, in its first stop and before its mark, so that
 * caches may let go of what they hold; again if another collection ends that one before its mark,
 * and begins it anew. Every thread but the one that collects is outside of the
 * runtime or parked on its way out, so what is changed inside oaki_enter only is whole. fn may read
 * and write memory, heap objects too; nothing else. The same fn twice is once; there is no way
 * back. 0, or -1 with ENOMEM. Not inside oaki_enter. */
int oaki_gc_at_cycle(void (*fn)(void));

/* In fn: is it the first time for this collection, which is a full one, if `full`? *seen is the
 * caller's, 0 at first. */
bool oaki_gc_begins(size_t *seen, bool full);

/* The same after its mark, when M is final: who keeps addresses of objects drops those that are not
 * marked. */
int oaki_gc_after_mark(void (*fn)(void));

/* ---- marking (trace.c, workers.c) ---- */

/* Is the object at obj (a slot's start) marked? */
OAKI_INLINE bool oaki_is_marked(const void *obj)
{
    return oaki_mark_get(oaki_heap_offset(obj));
}

/* It will be asked soon. */
OAKI_INLINE void oaki_mark_fetch(const void *obj)
{
    __builtin_prefetch(oaki_mark_word(oaki_the_heap.mark, oaki_heap_offset(obj)));
}

/* Does p point to or into an object that isn't marked? */
OAKI_INLINE bool oaki_leads_to_unmarked(const void *p)
{
    size_t slot =
        oaki_heap_contains(p) ? oaki_slot_offset(oaki_heap_offset(p)) : SIZE_MAX;
    return slot != SIZE_MAX && !oaki_mark_get(slot);
}

/* Mark what p points to or into, if anything, and queue it for scanning. Then, at the end,
 * oaki_mark_drain. */
void oaki_mark_pointer(const void *p);

/* Queue the contents of the live object at obj, as its kind and type say, without marking it.
 * Then, at the end, oaki_mark_drain. */
void oaki_trace_live(void *obj);

/* The same, save what leads into the object itself: of a small one that no type tells of. false: it
 * is none. */
bool oaki_trace_but_self(const void *obj);

/* Scan until nothing is left, all workers together. */
void oaki_mark_drain(void);

/* ---- tables of objects (objtable.h) ----
 *
 * A mark beside the program asks, by oaki_..._ask, of up to `most` records from number `from` on
 * whether what they are about is marked, which the last stop then passes by, and queues what they
 * keep alive in any case. Where to go on, or OAKI_RECORD_NONE.
 *
 * What a stop has found gone is settled behind it: by oaki_..._settle, some records at a time,
 * *from being 0 at first. Is there more? */

uint32_t oaki_finalizers_note_certain(uint32_t from, unsigned most);
uint32_t oaki_weak_note_certain(uint32_t from, unsigned most);
/* Values of pairs that are marked, with their keys, are queued. */
uint32_t oaki_ephemerons_note_certain(uint32_t from, unsigned most);
size_t oaki_ephemerons_queued(void); /* values, since the start */

bool oaki_finalizers_reclaim(uint32_t *from);
bool oaki_weak_reclaim(uint32_t *from);
bool oaki_ephemerons_reclaim(uint32_t *from);

/* All of it (reclaim.c). */
void oaki_tables_reclaim(void);
/* All tables, once that is done: the rule that is broken, or NULL. Of one: finalizer_lock held. */
const char *oaki_tables_check(void);
const char *oaki_finalizers_check(void);
const char *oaki_weak_check(void);
const char *oaki_ephemerons_check(void);

/* ---- finalizers, cleanups (finalizer.c, decide.c) ---- */

int oaki_finalizers_init(void);
/* In the stop of a mark: mark what records keep alive whatever happens (contexts, and objects that
 * are queued). */
void oaki_finalizers_mark_roots(void);
/* After the drain: decide what is ready, queue it, mark it and what it reaches, drain. What a full
 * cycle has found waiting for ever is counted until the next one. */
void oaki_finalizers_decide(bool minor);
/* After the cycle: wake the finalizer thread, or notify. */
void oaki_finalizers_dispatch(void);
void oaki_finalizers_stats(struct oak_memstats *out);
void oaki_finalizers_forget(void *obj); /* freed by hand; runtime */

/* ---- weak references and ephemerons (weak.c, ephemeron.c) ---- */

int oaki_weak_init(void);
/* Clear every weak reference to an unmarked object: before finalizers are decided, so that those
 * are cleared whose objects the program can't reach. */
void oaki_weak_clear(void);
/* After that: records of handles that are unmarked themselves are flagged. */
void oaki_weak_flag_lost(void);
void oaki_weak_forget(void *obj);
/* Each handle that has a record: with the start of its object (NULL: cleared), and what it holds.
 */
typedef void (*oaki_weak_fn)(void *ctx, const void *handle, const void *obj, const void *target);
void oaki_weak_each(oaki_weak_fn fn, void *ctx);
size_t oaki_weak_count(void);
size_t oaki_weak_cleared(void); /* whose object has gone, and that are still held */

int oaki_ephemerons_init(void);
/* Mark values whose ephemeron and key are marked, drain, until nothing changes. again: there was a
 * call in this stop, and more has been marked since. */
void oaki_ephemerons_fixpoint(bool again);
/* Clear those whose key is unmarked; flag those that are unmarked themselves. After finalizers
 * are decided. */
void oaki_ephemerons_clear(void);
void oaki_ephemerons_forget(void *obj); /* freed by hand, as oaki_weak_forget */

/* ---- zones (zone.c) ---- */

/* M is final. */
void oaki_zones_marked(void);
/* One is to be destroyed, which only a full mark can tell whether it may be. */
bool oaki_zones_closing(void);
int oaki_zones_closing_init(void);

/* As oak_zone_destroy; when it is referred to, *survivor is the offset of an object of it that the
 * program can reach, or 0. */
int oaki_zone_destroy(oak_zone *z, size_t *survivor);

/* Drop what is known of objects in this zone, as when they are freed by hand. */
void oaki_finalizers_forget_zone(uint32_t zone);
void oaki_weak_forget_zone(uint32_t zone);
void oaki_ephemerons_forget_zone(uint32_t zone);

/* ---- the oak_marker handed to mark functions is a worker ---- */
/* (push.c defines oak_mark_ptr and oak_mark_range) */

#endif

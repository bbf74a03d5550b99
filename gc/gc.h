/* gc.h - the interfaces that the parts of the collector share.
 *
 * A cycle goes through the phases of runtime/phase.h, in steps (cycle.h). INIT_PAUSE and
 * FINAL_PAUSE stop the world in any case. A STOPPED cycle is one pause from the first to the
 * second.
 *
 * Lock: gc_lock is held in each pause, and from FINAL_PAUSE until RECLAIM is over. */
#ifndef OAKI_GC_H
#define OAKI_GC_H

#include "runtime/heap.h"
#include "runtime/markbits.h"
#include "runtime/roots.h"
#include "runtime/tags.h"
#include "runtime/type.h"
#include <oakum/heap.h>

/* ---- hooks (collect.c; hooks.h has the lists) ---- */

/* From now on fn is called in each collection, in its first pause and before its mark, so that
 * caches can drop what they hold. It is called again if another collection comes before the mark:
 * this one is given up then. Every thread but the collecting one is outside of the runtime,
 * or parked on its way out. So data that changes only inside oaki_enter is consistent.
 * fn may read and write memory, heap objects too, and do nothing else. Adding the same fn twice
 * with the same ctx is adding it once; there is no way to remove it. 0, or -1 with ENOMEM. Not
 * inside oaki_enter. */
int oaki_gc_at_cycle(void (*fn)(void *ctx), void *ctx);

/* In fn: is this its first call for this collection, and a full collection if `full`? *seen is
 * the caller's, 0 at first. */
bool oaki_gc_begins(size_t *seen, bool full);

/* As oaki_gc_at_cycle, but after the mark, when M is final. A holder of objects' addresses drops
 * those of unmarked objects there. */
int oaki_gc_after_mark(void (*fn)(void *ctx), void *ctx);

/* ---- caches of threads, in a pause (worldstop.c) ---- */

/* Flushes every mcache. The slots that stopped fast paths are about to return are free from then
 * on, until oaki_caches_keep_in_flight was called for each root. */
void oaki_caches_flush(void);
/* A stack or registers: if its thread is in a fast path, the slots that it may be about to return
 * are allocated again, and the result is true. */
bool oaki_caches_keep_in_flight(const oaki_root *r);

/* ---- marking (trace.c, workers.c) ---- */

/* Is the object at obj (a slot's start) marked? */
OAKI_INLINE bool oaki_is_marked(const void *obj)
{
    return oaki_mark_get(oaki_heap_offset(obj));
}

/* Prefetches its mark bit. */
OAKI_INLINE void oaki_mark_fetch(const void *obj)
{
    __builtin_prefetch(oaki_mark_word(oaki_the_heap.mark, oaki_heap_offset(obj)));
}

/* Does p point to or into an object that is not marked, or lead to one as a tagged word? */
OAKI_INLINE bool oaki_leads_to_unmarked(const void *p)
{
    size_t to[OAKI_WORD_REFS];
    for (unsigned n = oaki_word_refs((uintptr_t)p, AO_load(&oaki_the_heap.used), to); n > 0; n--) {
        size_t slot = oaki_slot_offset(to[n - 1]);
        if (slot != SIZE_MAX && !oaki_mark_get(slot)) return true;
    }
    return false;
}

/* Marks the object that p points to or into, if any, and queues it for scanning; as a tagged word,
 * too. Call oaki_mark_drain at the end. */
void oaki_mark_pointer(const void *p);

/* Queues the words of the live object at obj, as its kind and type say, without marking it. Call
 * oaki_mark_drain at the end. */
void oaki_trace_live(void *obj);

/* The same without words that lead into the object itself, for a small object without a type.
 * false: it is no such object. */
bool oaki_trace_but_self(const void *obj);

/* Scans until no work is left, all workers together. */
void oaki_mark_drain(void);

/* ---- finalizers, cleanups (finalizer.c, decide.c) ---- */

/* In the pause of a mark: marks the objects that records keep alive in any case, which are
 * contexts and the objects of queued finalizers. */
void oaki_finalizers_mark_roots(void);
/* After the drain: decides which finalizers are ready, queues them, marks their objects and all
 * these reach, drains. Records that a full cycle finds waiting forever are counted until the
 * next one. */
void oaki_finalizers_decide(void);
/* After the cycle: wakes the finalizer thread, or notifies. */
void oaki_finalizers_dispatch(void);
/* Wakes the thread of those that are ready, if there is one: no function runs on this thread. */
void oaki_finalizers_wake(void);
void oaki_finalizers_stats(struct oak_memstats *out);
/* In a concurrent mark: as oaki_table_ops.note_certain (refs/tables.h). */
uint32_t oaki_finalizers_note_certain(uint32_t from, unsigned most);

/* ---- weak references and ephemerons (weak.c, ephemeron.c) ---- */

/* For each handle that has a record: the start of its object (NULL: cleared), and the address it
 * holds. */
typedef void (*oaki_weak_fn)(void *ctx, const void *handle, const void *obj, const void *target);
void oaki_weak_each(oaki_weak_fn fn, void *ctx);
size_t oaki_weak_count(void);
size_t oaki_weak_cleared(void); /* handles still held whose object is gone */

/* As oaki_table_ops.note_certain. Values of marked ephemerons with marked keys are queued. */
uint32_t oaki_ephemerons_note_certain(uint32_t from, unsigned most);
size_t oaki_ephemerons_queued(void); /* values, since the start */
/* Marks values whose ephemeron and key are marked, and drains, until nothing changes. resumes:
 * there was a call in this pause, and more has been marked since. */
void oaki_ephemerons_fixpoint(bool resumes);
/* ---- external bytes (external.c) ---- */

size_t oaki_external_total(void);
/* M is final: what they add to the bytes that the mark has counted as live. After a minor mark:
 * those since the last one. */
size_t oaki_external_marked(bool minor);

/* For the heap profile. `note`: the calling thread has added bytes to obj, one of them sampled at
 * this rate; outside of oaki_enter. `changed`: what was noted is so many bytes now, none if 0; with
 * finalizer_lock held. Before any rate is set. */
typedef void oaki_external_note(void *obj, size_t bytes, size_t rate);
typedef void oaki_external_changed(void *obj, size_t bytes);
void oaki_external_on_sample(oaki_external_note *note, oaki_external_changed *changed);

/* ---- zones (zone.c) ---- */

/* M is final. */
void oaki_zones_marked(void);
/* Is a zone about to be destroyed? Only a full mark decides whether it may be. */
bool oaki_zones_closing(void);
void oaki_zones_reset(void); /* in the child of a fork */

/* As oak_zone_destroy. If the zone is referred to, *survivor is the offset of one of its objects
 * that the program can reach, or 0. */
int oaki_zone_destroy(oak_zone *z, size_t *survivor);

/* ---- the oak_marker handed to mark functions is a worker ---- */
/* (push.c defines oak_mark_ptr and oak_mark_range) */

#endif

/* collector.h - the interface of a collector to the runtime; gc/ implements it.
 *
 * Unless said otherwise, functions that may collect are called inside oaki_enter, with no lock of
 * OAKI_RANK_ZONES or a higher rank held. */
#ifndef OAKI_COLLECTOR_H
#define OAKI_COLLECTOR_H

#include "base.h"
#include "thread.h"

struct oaki_span;
struct oak_zone;

int oaki_gc_init(void);

typedef enum oaki_gc_why {
    OAKI_GC_DUE,    /* due by the pacing; skipped if another thread has just collected */
    OAKI_GC_NEEDED, /* out of memory, or stress: regardless of the pacing */
    OAKI_GC_ASKED   /* oak_collect; the trace calls it forced, as Go does */
} oaki_gc_why;

/* Runs a collection. Saves the caller's context first: call it from a frame that keeps its
 * references alive. Returns false when collections are disabled. */
bool oaki_gc_collect(oaki_thread *t, oaki_gc_why why);

/* Runs full collections until a stop has answered the want, which is on the list (room.h). Returns
 * false when no collection can answer it. Call it like oaki_gc_collect. */
struct oaki_want;
bool oaki_gc_make_room(oaki_thread *t, struct oaki_want *w);

/* Are collections disabled by the program? */
bool oaki_gc_is_off(void);

/* finalizers_ran counts the finalizers and cleanups that have returned. await_finalizers: has any
 * returned since *ran was read, on a thread or in a call by the program? It briefly waits for ready
 * ones that another thread will run, and then reads *ran anew. */
size_t oaki_gc_finalizers_ran(void);
bool oaki_gc_await_finalizers(oaki_thread *t, size_t *ran);

/* Objects that were reclaimed after a pause, as their types' functions allowed, in all cycles. */
size_t oaki_gc_disclaimed(void);

/* The thread is about to take `bytes` from the page heap or a central list. Assists the sweep in
 * proportion to the allocated bytes, and collects if due. */
void oaki_gc_before_alloc(oaki_thread *t, size_t bytes);

/* Sweeps one span that is off its list: A = A & M, and the counts. With keep, a span without live
 * objects stays, empty. Without keep, its pages are freed and false is returned. No other thread
 * uses the span meanwhile. */
bool oaki_gc_sweep_span(struct oaki_span *s, bool keep);

/* sweep_all: sweeps all unswept spans; gc_lock may be held. sweep_zone: those of a zone. */
void oaki_gc_sweep_all(void);
void oaki_gc_sweep_zone(const struct oak_zone *z);

/* With OAKUM_DEBUG=stress=N: collects at each Nth allocation. */
void oaki_gc_stress(oaki_thread *t);

/* An object is being freed by hand: drops its finalizer and weak references. */
void oaki_gc_object_freed(void *obj);

/* The same for all objects of a discarded zone; also drops their deferred frees. special: one of
 * them may have a record; then this is O(all records). */
void oaki_gc_zone_forget(uint32_t zone, bool special);

/* Bytes given back with a zone that counted as live when the trigger was computed. */
void oaki_gc_dropped(size_t bytes);
/* An object is being freed by hand that has a mark function, or pages that would go back to the
 * page heap. Returns true while a concurrent mark runs, as the mark may be reading the object. The
 * free is then deferred to the end of the mark, and the bytes stay live until then. A second free
 * since the last collection is fatal. Inside oaki_enter. */
bool oaki_gc_defer_free(void *obj);

/* With verify=1: the program frees this memory by hand. Any thread. */
void oaki_gc_note_freed(size_t off, size_t bytes);

/* Memory from off on is about to be allocated during a mark. Writes to it, and to a little beyond
 * it, then need no fault each. Inside oaki_enter. */
void oaki_gc_will_write(size_t off, size_t bytes);

/* A large object was allocated during a mark: nothing is known yet about its lifetime. Inside
 * oaki_enter. */
void oaki_gc_large_in_mark(size_t bytes);

/* Flushes every cache. The world is stopped by oaki_gc_stop_begin. */
void oaki_gc_flush_caches(void);

/* heap_live or the settings changed: recomputes the trigger. */
void oaki_gc_settings_changed(void);

/* Stop the world for a reader, and start it again; gc_lock is held in between. Called outside
 * oaki_enter; in between the caller is inside. NULL when the thread can't be attached, or there is
 * no memory for the table of loaded objects. */
oaki_thread *oaki_gc_stop_begin(void);
void oaki_gc_stop_end(oaki_thread *t);

/* The collector's part of memstats, in such a stop. */
struct oak_memstats;
void oaki_gc_stats(struct oak_memstats *out);
/* All of memstats, in such a stop; and the bytes in use on a stopped thread's stacks. */
void oaki_memstats_in_stop(struct oak_memstats *out);
size_t oaki_thread_stack_inuse(const oaki_thread *t);

/* In a mark function or a root hook, world stopped: marks the words of [lo, hi) as those of a
 * stack. Interior pointers count. A word that equals an object's start also keeps the object before
 * it. */
struct oak_marker;
void oaki_mark_range_ambiguous(struct oak_marker *m, const void *lo, const void *hi);

#endif

/* collector.h - what the runtime needs of a collector; gc/ defines it.
 *
 * Called inside oaki_enter, with no lock held, unless said otherwise. */
#ifndef OAKI_COLLECTOR_H
#define OAKI_COLLECTOR_H

#include "base.h"
#include "thread.h"

struct oaki_span;
struct oak_zone;

int oaki_gc_init(void);

typedef enum oaki_gc_why {
    OAKI_GC_DUE,    /* the pacing says so: not if another thread has just collected */
    OAKI_GC_NEEDED, /* out of memory, or stress: whatever the pacing says */
    OAKI_GC_ASKED   /* oak_collect; the trace calls it forced, as Go does */
} oaki_gc_why;

/* A collection. Saves the caller's context first: call it from a frame that keeps its references
 * alive. Returns false when collections are disabled. */
bool oaki_gc_collect(oaki_thread *t, oaki_gc_why why);

/* Full collections until a stop has answered the want, which is on the list (room.h), or it turns
 * out that there may be none: then false. As oaki_gc_collect. */
struct oaki_want;
bool oaki_gc_make_room(oaki_thread *t, struct oaki_want *w);

/* The program wants no collection. */
bool oaki_gc_is_off(void);

/* Finalizers and cleanups that have returned. And: have any since *ran was read, on a thread or in
 * a call of the program's? Those that are ready, and will be run by another thread, are waited for
 * a moment; then *ran is read anew. */
size_t oaki_gc_finalizers_ran(void);
bool oaki_gc_await_finalizers(oaki_thread *t, size_t *ran);

/* The thread is about to take `bytes` from the page heap or a central list: collect if due, and
 * pay sweep credit. */
void oaki_gc_before_alloc(oaki_thread *t, size_t bytes);

/* Sweep one span that was taken off its list, with no lock held: A = A & M, and the counts. With
 * keep, a span in which nothing lives stays, empty; without, its pages are freed, and false is
 * returned. Nobody else looks at the span meanwhile. */
bool oaki_gc_sweep_span(struct oaki_span *s, bool keep);

/* Sweep all that waits; all that waits in a zone. */
void oaki_gc_sweep_all(void);
void oaki_gc_sweep_zone(const struct oak_zone *z);

/* With OAKUM_DEBUG=stress=N: collect if this is an Nth allocation. */
void oaki_gc_stress(oaki_thread *t);

/* An object is being freed by hand: forget its finalizer and weak references. */
void oaki_gc_object_freed(void *obj);

/* The same for all objects of a zone that is discarded, and their deaths by hand. special: one of
 * them may have a record; then this is O(all records). */
void oaki_gc_zone_forget(uint32_t zone, bool special);

/* What was given back with a zone, and had counted as live when the trigger was computed. */
void oaki_gc_dropped(size_t bytes);
/* An object that the page heap would take back, or that a function marks, is being freed by hand:
 * true while a mark is under way beside the program, which may be looking at it; then it is freed
 * when that is over, and its bytes are live until then. Fatal where it was freed since the last
 * collection. Inside oaki_enter. */
bool oaki_gc_defer_free(void *obj);

/* Memory from off on is about to be allocated while a mark is under way: writes to it, and to a
 * little more, need no fault each. Inside oaki_enter. */
void oaki_gc_will_write(size_t off, size_t bytes);

/* A large object has come while a mark is under way: nothing is known of how long it will live.
 * Inside oaki_enter. */
void oaki_gc_large_in_mark(size_t bytes);

/* World stopped by oaki_gc_stop_begin: flush every cache. */
void oaki_gc_flush_caches(void);

/* heap_live or the settings changed: recompute the trigger. */
void oaki_gc_settings_changed(void);

/* Stop the world for a reader, and start it again: gc_lock is held in between. Outside
 * oaki_enter; the caller is inside in between. NULL when the thread can't be attached. */
oaki_thread *oaki_gc_stop_begin(void);
void oaki_gc_stop_end(oaki_thread *t);

/* For memstats, in such a stop. */
struct oak_memstats;
void oaki_gc_stats(struct oak_memstats *out);
/* All of it, in such a stop; and the bytes of a stopped thread's stacks that are in use. */
void oaki_memstats_in_stop(struct oak_memstats *out);
size_t oaki_thread_stack_inuse(const oaki_thread *t);

/* In a mark function or a root hook, world stopped: the words of [lo, hi) as a stack's. Interior
 * pointers count, and a word that equals an object's start keeps the object before it too. */
struct oak_marker;
void oaki_mark_range_ambiguous(struct oak_marker *m, const void *lo, const void *hi);

#endif

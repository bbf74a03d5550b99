/* settings.h - settings of the collector that a library may change at run time.
 *
 * The options (oaki_heap.config) are set once, at start-up. These words begin with their values. */
#ifndef OAKI_SETTINGS_H
#define OAKI_SETTINGS_H

#include "runtime/lock.h"

/* Lock: `lock` for a change; any thread may read. */
typedef struct oaki_settings {
    oaki_lock lock;
    AO_t concurrent; /* marks may be concurrent */
    AO_t markers;    /* workers; 0: as many as there are processors, at most 8 */
    AO_t finalizer_thread; /* finalizers run on a thread of their own */
    AO_t min_heap;   /* bytes; the goal is at least that, times percent / 100; 0: by cost */
    AO_t prefer_stops; /* marks are concurrent only where a pause would be long */
    AO_t notify_each;  /* the notifier is called for each cycle that leaves finalizers ready */
    AO_t pace_by_finalizers; /* those set since the last cycle make the next one due earlier */
} oaki_settings;

/* May marks be concurrent, from the next one on? A mark that is under way goes on. */
void oaki_gc_set_concurrent(bool may);
/* The number of workers, from the next cycle on; 0: the number of processors, at most 8. */
void oaki_gc_set_markers(unsigned n);
/* The minimum heap, more than 0; the goal follows at once. */
void oaki_gc_set_min_heap(size_t bytes);

/* Finalizers run on a thread of their own, or only where asked for. Returns how it was before. */
bool oaki_gc_set_finalizer_thread(bool may);

/* A mark is concurrent only where its pause would take tens of milliseconds: a stop-the-world mark
 * costs less processor time. False at first. */
void oaki_gc_set_prefer_stops(bool prefer);

/* The function given to oak_finalizer_notify is called after each collection that leaves
 * finalizers ready, and not only after one that has made some ready. False at first. */
void oaki_gc_set_notify_each(bool each);

/* Finalizers that were set since the last cycle make the next one due earlier. False at first. */
void oaki_gc_set_pace_by_finalizers(bool by);

bool oaki_gc_may_be_concurrent(void);
bool oaki_gc_has_finalizer_thread(void);
unsigned oaki_gc_markers(void);
bool oaki_gc_prefers_stops(void);
bool oaki_gc_notifies_each(void);
bool oaki_gc_paces_by_finalizers(void);
size_t oaki_gc_min_heap(void);

void oaki_settings_init(void);
void oaki_settings_reset(void); /* in the child of a fork */

#endif

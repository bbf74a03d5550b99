/* host.h - services for a host with marking rules of its own.
 *
 * A host is another collector's interface on Oakum's heap, or an interpreter that scans its own
 * stacks. It has roots that are not words in memory. It decides which pointers into an object
 * count, and keeps objects of any kind alive by hand. It needs moments in which no collection
 * can run.
 *
 * Lock: gc_lock, or the world is stopped, unless said otherwise. */
#ifndef OAKI_HOST_H
#define OAKI_HOST_H

#include "gc.h"
#include "runtime/collector.h"

#define OAKI_HOST_HOOKS 8
#define OAKI_DISPLACEMENTS 8192

/* Which interior pointers count. */
typedef struct oaki_mark_rule {
    bool strict;
    uint64_t allowed[OAKI_DISPLACEMENTS / 64]; /* bit 0 is set */
} oaki_mark_rule;

/* How the words of objects, data and ranges are read (trace/reading.h). The marker's loops are
 * compiled for each way, so a loop that reads plain pointers pays nothing for the others. */
typedef enum oaki_reading {
    OAKI_READ_PLAIN,  /* words that lie in the range */
    OAKI_READ_STRICT, /* those at allowed displacements */
    OAKI_READ_ADDED,  /* also by the one tag, of this form (runtime/tags.h) */
    OAKI_READ_MASKED,
    OAKI_READ_ROTATED,
    OAKI_READ_SHIFTED,
    OAKI_READ_ANY     /* also by tags; at allowed displacements, if those are limited */
} oaki_reading;

/* Objects that the verifier has to know of, by their offsets. */
typedef struct oaki_host_noted {
    size_t *slot;
    size_t n, cap;
} oaki_host_noted;

/* Hooks, the rules for words, and with verify=1 objects that hooks marked unscanned, or unmarked
 * (host.c); and the settings of finalizers. */
typedef struct oaki_host {
    AO_t off;    /* bool (*)(void), or 0 */
    AO_t unless; /* bool (*)(oaki_gc_why), or 0 */
    bool ordered_first; /* the order of finalizers; gc_lock */
    AO_t on_queued;     /* void (*)(void *obj), or 0 */
    struct {
        void (*fn)(void *ctx, oak_marker *m);
        void *ctx;
    } roots[OAKI_HOST_HOOKS];
    size_t nroots;
    bool any_unscanned; /* in the last mark */
    oaki_host_noted unscanned, unmarked;
    oaki_reading words_read; /* follows from displacements and oaki_tags */
    oaki_mark_rule displacements;
} oaki_host;

/* ---- roots ---- */

/* From now on fn is called in the root phase of every mark, on worker 0, with the world stopped.
 * It marks with oak_mark_ptr, oak_mark_range and the calls below. With verify=1, and for an
 * image, it is called again to report what it marks. So each call marks the same, and changes no
 * state of its own.
 * Adding the same fn twice is adding it once; there is no way to remove it; 8 at most. 0, or -1
 * with ENOMEM. Not inside oaki_enter. */
int oaki_gc_at_roots(void (*fn)(void *ctx, oak_marker *m), void *ctx);

/* In such a function or a mark function: marks the object that p points to. p is its start, or
 * an allowed displacement from it (below). oak_mark_ptr takes any pointer into an object. */
void oaki_mark_displaced(oak_marker *m, const void *p);

/* In such a function: the words of [lo, hi) are treated as a stack's. Interior pointers count
 * whatever the displacements say, and so does a pointer one past an object's end.
 * (runtime/collector.h: void oaki_mark_range_ambiguous(oak_marker *m, const void *lo, const void
 * *hi);) */

/* In such a function: the object that begins at obj is reachable, and is not scanned, as the
 * function has marked what matters in it. Why-alive and the other searches in images do trace
 * its words: they may find more alive than the collector keeps. */
void oaki_mark_unscanned(oak_marker *m, void *obj);

/* In such a function: takes the object's mark away. It is marked again by a reference that the
 * mark has yet to find, and by no other. Ignored for pinned and held objects; in a minor mark; and
 * in a concurrent one, which may have relied on the object before. */
void oaki_unmark(oak_marker *m, const void *obj);

/* ---- which pointers into an object count ---- */

/* With NULL, as without this call, every pointer into an object counts. Otherwise a word counts
 * only if it points to an object's start, or to start + d where bit d of `allowed` is set. That
 * is bit d % 64 of allowed[d / 64], for d < nbits <= OAKI_DISPLACEMENTS.
 * The rule holds for words of heap objects, of loaded objects' data and of registered ranges,
 * TLS included. Words of stacks and registers, of ambiguous ranges, and the arguments of
 * oak_mark_ptr always count.
 * Call it before there are objects that a stricter rule would lose. A mark that is under way is
 * abandoned. 0, or -1 with ENOMEM. Not inside oaki_enter. */
int oaki_mark_displacements(const uint64_t *allowed, size_t nbits);

/* Is there such a rule? */
bool oaki_mark_is_strict(void);

/* ---- tagged words ---- */

/* From now on these tags count (oak_config.pointer_tags), and no others. As with displacements,
 * call it before there are objects that are referred to by other rules. A mark that is under way is
 * abandoned. 0; or -1 with ENOMEM, or with what is wrong with the tags in *wrong, which is NULL
 * otherwise. Not inside oaki_enter. */
int oaki_mark_tags(const oak_pointer_tag *tag, size_t n, const char **wrong);

/* In a mark function: marks by a word of the object, as the marker does by a word of a conservative
 * one. */
void oaki_mark_value(oak_marker *m, uintptr_t word);

/* ---- objects kept by hand ---- */

/* The object that begins at obj, of any kind, lives until oaki_drop or oak_free. 0, also when it
 * is held already (holds don't nest); -1 with ENOMEM. Fatal when obj is not the start of a live
 * object. */
int oaki_hold(void *obj);
/* Was it held? */
bool oaki_drop(void *obj);
bool oaki_is_held(const void *obj);

/* ---- functions called before objects are reclaimed (disclaim.c) ---- */

/* From the end of the next mark on, fn is called for each dead object of the type before it is
 * reclaimed. The thread that ends the cycle calls it, with gc_lock held, while mutators run. If fn
 * returns true, the object is kept, and fn is called again in the next cycle. fn must return, and
 * calls nothing that enters the runtime. oak_base and the like know the objects whose call is
 * still to come. oak_free does not call it.
 * protects: what a dead object refers to is kept until fn was called for it, if one of the two
 * lowest bits of the object's first word is set. Circles of such objects are never reclaimed. What
 * others refer to may have been reclaimed before.
 * The type is made by oaki_type_host. 0, or -1 with ENOMEM. Not inside oaki_enter. */
int oaki_type_disclaim(const oak_type *type, oaki_disclaim_fn *fn, bool protects);

/* ---- cycles ---- */

/* From now on fn is called once for each cycle, before its pause. The world runs, gc_lock is
 * held, and the thread is inside oaki_enter; so fn may not call Oakum's public functions.
 * Otherwise as oaki_gc_at_cycle. */
int oaki_gc_before_pause(void (*fn)(void *ctx), void *ctx);

/* No collection starts or ends while fn returns true. It is also called in pauses, so it may only
 * read memory. NULL: no such function any more. fn takes no context: threads read it without a
 * lock, as one word. The same holds for the other functions here that take none. */
void oaki_gc_off_while(bool (*fn)(void));
bool oaki_host_is_off(void);

/* No collection starts while fn returns true. The thread that would start one calls it before, for
 * any reason, with no lock of the runtime held. A mutator is inside oaki_enter then; the
 * collector's thread, and one that steps, are outside. So fn may run code of the program that
 * returns soon. That must not wait for another thread, which may be stopped. It must not call
 * Oakum: inside oaki_enter that is fatal. NULL: no such function any more. */
void oaki_gc_unless(bool (*fn)(oaki_gc_why why));

/* Between exclude and release no collection runs, no link is cleared (link.h), and no other thread
 * is between these two. 0, or -1 with ENOMEM. The thread is inside the runtime: it may not
 * allocate, nor call a function that enters the runtime. oak_base and the like, which
 * take no lock, are allowed. The calls don't nest. */
int oaki_gc_exclude(void);
void oaki_gc_release(void);

/* ---- finalizers ---- */

/* The order in which finalizers of different kinds that reach each other are decided. */
typedef enum oaki_finalizer_order {
    /* Oakum's (finalizer.c): unordered ones first, so an ordered one below them waits */
    OAKI_UNORDERED_FIRST,
    /* Boehm's: every finalizer that an ordered one reaches waits, unordered ones included. An
     * unordered one delays only OAK_FINALIZER_UNREACHABLE ones. */
    OAKI_ORDERED_FIRST
} oaki_finalizer_order;

/* From now on fn is called for each object whose finalizer a collection queues, in the order of the
 * queue, with the world stopped. NULL: no such function any more. */
void oaki_finalizers_on_queued(void (*fn)(void *obj));

/* 0, or -1 with ENOMEM. Not inside oaki_enter. */
int oaki_finalizers_order(oaki_finalizer_order order);

/* ---- for the rest of gc/ (off.c, rootmark.c, debug/verify.c, debug/edges.c) ---- */

bool oaki_host_vetoes(oaki_gc_why why);
/* Marks held objects, and those that the functions of oaki_gc_at_roots mark. Uses worker 0, or a
 * marker that is no worker. */
void oaki_host_mark_roots(void);
void oaki_host_call_roots(oak_marker *m);
/* Has the last mark marked any object by oaki_mark_unscanned? */
bool oaki_host_has_unscanned(void);
/* With verify=1: was the object at this offset marked by oaki_mark_unscanned in this cycle? */
bool oaki_host_is_unscanned(size_t slot);
/* Likewise: was the object unmarked by oaki_unmark in this cycle? Then roots may refer to it in
 * vain. */
bool oaki_host_is_unmarked(size_t slot);

void oaki_held_mark_roots(void);
void oaki_held_each(void (*fn)(void *ctx, void *obj), void *ctx);

#endif

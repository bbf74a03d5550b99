/* edges.h - marking that reports each marked object, and the edges of an object. */
#ifndef OAKI_EDGES_H
#define OAKI_EDGES_H

#include "gc/gc.h"

/* Marks the object that p points to and all that is reachable from it, on this thread alone.
 * Calls found for every object that this marks; found may only note things. Large and typed
 * objects are left to the marker: found is called for them, but perhaps not for the objects they
 * reach. The marker's worklist is empty before and after. */
void oaki_edges_mark(const void *p, void (*found)(void *ctx, void *obj), void *ctx);

/* ---- edges: the words of an object that the marker would trace ---- */

/* A word that leads into the range, whether to an object or not. */
typedef struct oaki_edge {
    size_t to; /* offset in the range, any */
    /* offset of the word in the object, in bytes; SIZE_MAX: not known, or not asked for */
    size_t at;
} oaki_edge;

typedef void (*oaki_edge_fn)(void *ctx, const oaki_edge *edge, size_t n);

/* Calls fn with the edges of the object whose slot is at offset `slot`, at most OAKI_EDGES at a
 * time. They are in order of address where that is known. A value that a mark function marks is
 * reported once for each word of the object that holds it, or once if no word does. `where`:
 * search for these words. One thread at a time, in a pause or an image of one. Bound: the
 * marker's. */
#define OAKI_EDGES 64
void oaki_edges_of(size_t slot, bool where, oaki_edge_fn fn, void *ctx);

/* As oaki_edges_of, for the objects that the functions of oaki_gc_at_roots mark (host.h): `at`
 * is SIZE_MAX. oaki_held_each reports held objects. */
void oaki_edges_of_host_roots(oaki_edge_fn fn, void *ctx);

/* Returns the memory for searching a mark function's words. */
void oaki_edges_trim(void);

/* ---- references other than words ---- */

/* Ephemerons whose handle, or whose key's object, is the object at obj. key_object is the start
 * of the key's object. */
typedef void (*oaki_pair_fn)(void *ctx, void *handle, void *key_object, void *value);
size_t oaki_ephemerons_count(void);
void oaki_ephemerons_of(const void *obj, oaki_pair_fn fn, void *ctx);
void oaki_ephemerons_each(oaki_pair_fn fn, void *ctx);

typedef struct oaki_finalizer_record {
    void *obj;
    void *ctx;      /* always kept */
    const void *fn; /* address of the function */
    bool cleanup;   /* does not keep obj */
    bool ready;     /* queued to be run; a finalizer's obj is kept */
} oaki_finalizer_record;

void oaki_finalizers_each(void (*fn)(void *ctx, const oaki_finalizer_record *r), void *ctx);

#endif

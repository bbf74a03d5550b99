/* edges.h - following references for those who must know which: marking with somebody watching,
 * and the edges of an object. */
#ifndef OAKI_EDGES_H
#define OAKI_EDGES_H

#include "gc/gc.h"

/* Mark what p points to and all that is reachable from there, on this thread alone, and call found
 * for every object that this marks; it may only note things. Objects that take more than a scan of
 * a small slot (large and typed ones) are left to the marker: they are found, what they reach may
 * not be. The marker's queues are empty before and after. */
void oaki_edges_mark(const void *p, void (*found)(void *obj));

/* ---- edges: the words of an object that the marker would follow ---- */

/* A word that leads into the range, to an object or not. */
typedef struct oaki_edge {
    size_t to; /* offset in the range, any */
    size_t at; /* where the word is in the object, in bytes; SIZE_MAX: not known, or not asked */
} oaki_edge;

typedef void (*oaki_edge_fn)(void *ctx, const oaki_edge *edge, size_t n);

/* Call fn with the edges of the object whose slot is at offset `slot`, some at a time, at most
 * OAKI_EDGES, in order of address where that is known. What a mark function marks is told once for
 * each word of the object that holds it, once when none does; `where` says whether to look for
 * these words. One thread at a time, in a stop or an image of one. Bound: the marker's. */
#define OAKI_EDGES 64
void oaki_edges_of(size_t slot, bool where, oaki_edge_fn fn, void *ctx);

/* The same for what the functions of oaki_gc_at_roots mark (host.h): `at` is SIZE_MAX. What is held
 * by hand is told by oaki_held_each. */
void oaki_edges_of_host_roots(oaki_edge_fn fn, void *ctx);

/* Memory for those mark functions' words that are to be found: given back. */
void oaki_edges_trim(void);

/* ---- what keeps objects beside words ---- */

/* Pairs whose key's object or whose handle is the object at obj: with the start of key's object. */
typedef void (*oaki_pair_fn)(void *ctx, void *handle, void *key_object, void *value);
size_t oaki_ephemerons_count(void);
void oaki_ephemerons_of(const void *obj, oaki_pair_fn fn, void *ctx);
void oaki_ephemerons_each(oaki_pair_fn fn, void *ctx);

typedef struct oaki_finalizer_record {
    void *obj;
    void *ctx;       /* always kept */
    const void *fn;  /* address of the function */
    bool cleanup;    /* doesn't keep obj */
    bool ready;      /* waits to be run; a finalizer's obj is kept */
} oaki_finalizer_record;

void oaki_finalizers_each(void (*fn)(void *ctx, const oaki_finalizer_record *r), void *ctx);

#endif

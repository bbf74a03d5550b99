/* debug.h - what the checks and walks of gc/debug keep: a part of struct oaki_collector.
 *
 * Lock: the world is stopped, or the process is an image of a stopped one. */
#ifndef OAKI_DEBUG_STATE_H
#define OAKI_DEBUG_STATE_H

#include "edges.h"
#include "gc/trace/trace.h"

/* verify.c */
typedef struct oaki_verifier {
    /* Only the first error is kept: a record here may itself be a root. */
    const char *by, *how;
    const void *at;
    /* The calling thread's own stack, as far as the collector's frames and those of returned calls
     * reach. It may be part of a range or an object of the program. Its words there have changed
     * since the mark, so they are not checked. */
    const char *own_lo, *own_hi;
} oaki_verifier;

#define OAKI_REACHED 4096

/* edges.c: marking that reports each object */
typedef struct oaki_reached {
    void (*found)(void *ctx, void *obj);
    void *ctx;
    size_t n;
    size_t stack[OAKI_REACHED]; /* offsets of objects to scan */
} oaki_reached;

/* edges.c: the edges of an object */
typedef struct oaki_edges {
    oaki_edge_fn fn;
    void *ctx;
    oaki_edge batch[OAKI_EDGES];
    size_t n;
    /* Values from a mark function: a hash set of offsets + 1; a value found in the object is
     * stored inverted. NULL: values are reported without a place. */
    size_t *set;
    size_t cap, used; /* slots; slots in use */
    size_t mapped;    /* bytes mapped at `memory`, which is kept for the next object */
    size_t *memory;
    oaki_mark_segment segment;
    oak_marker recorder;
} oaki_edges;

/* precise.c */
typedef struct oaki_precise {
    uint64_t *seen;       /* as A, of objects' first granules; NULL: no mark is under way */
    size_t *stack, depth; /* objects to trace */
    size_t seen_bytes, stack_bytes;
    size_t unreached;
} oaki_precise;

/* freed.c */
typedef struct oaki_freed {
    AO_t bits; /* AO_t *: the table; NULL: not made yet, or no memory */
    AO_t any;  /* something was freed */
} oaki_freed;

typedef struct oaki_debug_state {
    oaki_verifier verifier;
    oaki_reached reached;
    oaki_edges edges;
    oaki_precise precise;
    oaki_freed freed;
    size_t visits; /* objtable.c: uncertain records visited (tests); finalizer_lock */
    size_t noted;  /* the same: records that concurrent marks have examined */
} oaki_debug_state;

#endif

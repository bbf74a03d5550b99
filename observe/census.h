/* census.h - counts of the heap's objects by type, kind and size class, taken in one pause, with
 * every live map and every thread.
 *
 * A census counts the objects that the last collection found alive, and those allocated since.
 *
 * Owns: nothing; a census belongs to its caller. Its tables are made before the pause and filled in
 *   it: nothing is allocated while the world is stopped. Rows that don't fit are counted, and the
 *   next census makes room for them. Addresses of objects are kept inverted (oaki_hide), in memory
 *   that no collector scans, so a census keeps nothing alive.
 * Bound: linear in the pages in use, and in the slots of typed spans up to OAKI_CENSUS_SLOTS. With
 *   more slots, one span in so many is sampled, and `sampled` is set. */
#ifndef OAKI_CENSUS_H
#define OAKI_CENSUS_H

#include "maps/inspect.h"
#include "runtime/heap.h"
#include <oakum/heap.h>

#define OAKI_CENSUS_SLOTS ((size_t)4 << 20) /* of typed spans: some 10 ms; a map counts as 16 */
#define OAKI_CENSUS_MAPS 4096     /* most rows of the table: the largest maps */
#define OAKI_CENSUS_THREADS 65536 /* most rows of the table: the first threads */
#define OAKI_CENSUS_FILLS 11 /* buckets of the histogram of spans: 0-9 %, ..., 90-99 %, 100 % */

/* An address in a form that keeps nothing alive, and back. */
OAKI_INLINE uintptr_t oaki_hide(const void *p) { return ~(uintptr_t)p; }
OAKI_INLINE void *oaki_unhide(uintptr_t hidden) { return (void *)~hidden; }

typedef struct oaki_census_type {
    uint32_t id;      /* oaki_type_by_id */
    const char *name; /* never freed */
    size_t objects, bytes;
} oaki_census_type;

typedef struct oaki_census_map {
    uintptr_t hidden; /* its address */
    oaki_map_view view;
} oaki_census_map;

typedef enum oaki_census_place {
    OAKI_PLACE_THREAD, /* its own stack */
    OAKI_PLACE_FIBER   /* a parked fiber's */
} oaki_census_place;

typedef struct oaki_census_thread {
    oaki_census_place place;
    int tid;             /* of a thread */
    uintptr_t hidden;    /* of a fiber: its address */
    size_t stack_bytes;  /* scanned bytes of the stack */
    uintptr_t sp;        /* inverted; equal in two censuses: the thread has not moved */
    bool blocked;        /* in a blocking region, or on its way out of one */
    bool waits;          /* blocked, for an object that it has announced */
    bool self;           /* the thread that takes the census */
} oaki_census_thread;

/* A size class; OAKI_CLASS_LARGE is all large objects. */
typedef struct oaki_census_class {
    size_t size, spans, slots, objects; /* size: of a slot; 0 for large objects */
    size_t span_bytes, bytes;           /* of its spans; of its objects */
} oaki_census_class;

typedef struct oaki_census {
    size_t cycle;    /* collections before the census */
    uint64_t when;   /* monotonic */
    uint64_t stop;   /* length of the pause in ns */
    oak_memstats stats;
    size_t objects, bytes;         /* live */
    size_t kind_bytes[OAKI_KINDS]; /* live bytes by oaki_kind */
    oaki_census_class classes[OAKI_CLASSES];
    size_t fill_spans[OAKI_CENSUS_FILLS]; /* spans of small objects, by how full they are */
    size_t fill_bytes[OAKI_CENSUS_FILLS]; /* bytes of these spans */
    size_t empty_bytes; /* of spans without live objects, which wait to be swept or used */
    oaki_census_type *types;
    size_t ntypes;
    oaki_census_map *maps;
    size_t nmaps, maps_seen; /* maps in the table; in the heap */
    oaki_census_thread *threads;
    size_t nthreads, threads_seen; /* rows in the table; threads and fibers seen */
    size_t fibers;
    bool sampled; /* one pause is too short for all typed objects: types are estimates, and maps
                     may be missing */
    size_t maps_cap, threads_cap, types_cap;
    size_t map_floor; /* maps with fewer bytes in arrays are left out of the table */
    size_t used;      /* typed slots visited; a map counts as 16 */
} oaki_census;

/* Takes a census. *c is zero, or an earlier census, whose tables are reused. Returns 0, or -1 with
 * ENOMEM when there is no memory for the tables. Stops the world. Outside of oaki_enter. */
int oaki_census_take(oaki_census *c);

/* Frees the tables. Outside of oaki_enter. */
void oaki_census_free(oaki_census *c);

#endif

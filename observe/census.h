/* census.h - what is in the heap, counted in one stop: by type, by kind, by size class; every live
 * map, every thread.
 *
 * What counts is what the last collection found alive, and what has been handed out since.
 *
 * Owns: nothing; a census is its caller's. Its tables are made before the stop and filled in it,
 *   nothing is allocated while the world stands; what did not fit is counted, and the next one
 *   makes room. Addresses of objects in it are kept inverted (oaki_hide), in
 *   memory that no collector scans, so that a census keeps nothing alive.
 * Bound: linear in the pages in use, and in the slots of typed spans up to OAKI_CENSUS_SLOTS; what
 *   is beyond is sampled, a span in so many, and `sampled` is set. */
#ifndef OAKI_CENSUS_H
#define OAKI_CENSUS_H

#include "maps/inspect.h"
#include "runtime/heap.h"
#include <oakum/heap.h>

#define OAKI_CENSUS_SLOTS ((size_t)4 << 20) /* of typed spans: some 10 ms; a map counts for 16 */
#define OAKI_CENSUS_MAPS 4096 /* in the table at most: the largest, and those that grow */
#define OAKI_CENSUS_THREADS 65536 /* likewise: the first */
#define OAKI_CENSUS_FILLS 11                /* of the histogram of spans: 0-9 %, ..., 90-99, 100 */

/* An address that is to keep nothing alive, and back again. */
OAKI_INLINE uintptr_t oaki_hide(const void *p) { return ~(uintptr_t)p; }
OAKI_INLINE void *oaki_unhide(uintptr_t hidden) { return (void *)~hidden; }

typedef struct oaki_census_type {
    uint32_t id;      /* oaki_type_by_id */
    const char *name; /* lives for ever */
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
    size_t stack_bytes;  /* that are scanned */
    uintptr_t sp;        /* inverted: the same in two censuses says that it has not moved */
    bool blocked;        /* in a blocking region, or on its way out of one */
    bool waits;          /* and for an object that it has told of */
    bool self;           /* the thread that takes the census */
} oaki_census_thread;

/* Of one size class; class OAKI_CLASS_LARGE is all large objects. */
typedef struct oaki_census_class {
    size_t size, spans, slots, objects; /* slot size, 0 for large ones */
    size_t span_bytes, bytes;           /* taken by its spans; in objects */
} oaki_census_class;

typedef struct oaki_census {
    size_t cycle;    /* collections before it */
    uint64_t when;   /* monotonic */
    uint64_t stop;   /* nanoseconds that the world stood */
    oak_memstats stats;
    size_t objects, bytes;         /* live */
    size_t kind_bytes[OAKI_KINDS]; /* of these, by oaki_kind */
    oaki_census_class classes[OAKI_CLASSES];
    size_t fill_spans[OAKI_CENSUS_FILLS]; /* spans of small objects by how full they are */
    size_t fill_bytes[OAKI_CENSUS_FILLS]; /* and the bytes that they take */
    size_t empty_bytes; /* of spans in which nothing is alive, that wait for their sweep or use */
    oaki_census_type *types;
    size_t ntypes;
    oaki_census_map *maps;
    size_t nmaps, maps_seen; /* in the table; in the heap */
    oaki_census_thread *threads;
    size_t nthreads, threads_seen; /* fibers included */
    size_t fibers;
    bool sampled; /* there are more typed objects than a stop has time for: types are estimates, and
                     maps may be missing */
    size_t maps_cap, threads_cap, types_cap;
    size_t map_floor; /* smaller arrays were left out of the table */
    size_t used;      /* slots looked at */
} oaki_census;

/* Take one. *c is zero, or one that was taken before, whose tables are used again. 0, or -1 with
 * ENOMEM: there are no tables. Stops the world; outside of oaki_enter. */
int oaki_census_take(oaki_census *c);

/* Free the tables. Outside of oaki_enter. */
void oaki_census_free(oaki_census *c);

#endif

/* reading.h - what the server's answers are made of: one census for all that ask within a second,
 * and the last collections.
 *
 * A reading is the light worker's alone. Collections are noted by a listener (gc/event.h), in a
 * ring of their own with a lock of its own, which nobody holds in a stop but by chance, and nobody
 * wants in one. */
#ifndef OAKI_READING_H
#define OAKI_READING_H

#include "census.h"
#include "gc/event.h"

#define OAKI_READING_AGE_NS UINT64_C(1000000000)
#define OAKI_READING_CYCLES 256

/* Upper bounds of the histogram's buckets, in nanoseconds; one more has what is above. */
#define OAKI_READING_BOUNDS(X)                                                                   \
    X(10000) X(25000) X(50000) X(100000) X(250000) X(500000) X(1000000) X(2500000) X(5000000)    \
    X(10000000) X(25000000) X(50000000) X(100000000) X(250000000) X(1000000000)
#define OAKI_READING_ONE(ns) +1
enum { OAKI_READING_BUCKETS = 0 OAKI_READING_BOUNDS(OAKI_READING_ONE) };

typedef struct oaki_pauses {
    uint64_t count, sum_ns;
    uint64_t bucket[OAKI_READING_BUCKETS + 1]; /* each alone, not those below it too */
} oaki_pauses;

typedef struct oaki_reading {
    oaki_census census;
    uint64_t taken;  /* monotonic, when it was over */
    uint64_t wall;   /* since 1970 */
    bool valid;
} oaki_reading;

/* The server starts, ends. 0 or an error number. */
int oaki_reading_begin(void);
void oaki_reading_off(void); /* nothing is noted any more */
void oaki_reading_child(void);

/* By the light worker: one that is at most a second old, or NULL with ENOMEM; and its end. */
const oaki_reading *oaki_reading_get(void);
void oaki_reading_end(void);

/* The collections after number `since` that are noted, the earliest first, at most max, the last
 * ones. Returns how many. */
size_t oaki_reading_cycles(uint64_t since, oaki_cycle *out, size_t max);
void oaki_reading_pauses(oaki_pauses *out);
extern OAKI_HIDDEN const uint64_t oaki_reading_bounds[OAKI_READING_BUCKETS];

/* Censuses taken so far: for tests. */
size_t oaki_reading_count(void);

#endif

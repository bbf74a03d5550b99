/* reading.h - readings of the heap, and the last collections, for the server's answers.
 *
 * All requests within a second share one census. A reading belongs to the light worker alone. A
 * listener (gc/event.h) notes collections in a ring with a lock of its own. A thread may happen to
 * hold that lock when a pause stops it; nothing takes it during a pause. */
#ifndef OAKI_READING_H
#define OAKI_READING_H

#include "census.h"
#include "gc/event.h"

#define OAKI_READING_AGE_NS UINT64_C(1000000000)
#define OAKI_READING_CYCLES 256

/* Upper bounds of the histogram's buckets, in nanoseconds. One more bucket counts longer pauses. */
#define OAKI_READING_BOUNDS(X)                                                                   \
    X(10000) X(25000) X(50000) X(100000) X(250000) X(500000) X(1000000) X(2500000) X(5000000)    \
    X(10000000) X(25000000) X(50000000) X(100000000) X(250000000) X(1000000000)
#define OAKI_READING_ONE(ns) +1
enum { OAKI_READING_BUCKETS = 0 OAKI_READING_BOUNDS(OAKI_READING_ONE) };

typedef struct oaki_pauses {
    uint64_t count, sum_ns;
    uint64_t bucket[OAKI_READING_BUCKETS + 1]; /* not cumulative */
} oaki_pauses;

typedef struct oaki_reading {
    oaki_census census;
    uint64_t taken;  /* monotonic: when the census was complete */
    uint64_t wall;   /* since 1970 */
    bool valid;
} oaki_reading;

/* For the server's start and end. 0 or an error number. */
int oaki_reading_begin(void);
void oaki_reading_off(void); /* stops noting collections */
void oaki_reading_child(void);

/* For the light worker: a reading that is at most a second old, or NULL with ENOMEM.
 * oaki_reading_end ends its use. */
const oaki_reading *oaki_reading_get(void);
void oaki_reading_end(void);

/* Copies the noted collections with numbers above `since`, the earliest first. If there are more
 * than max, the last max ones. Returns how many. */
size_t oaki_reading_cycles(uint64_t since, oaki_cycle *out, size_t max);
void oaki_reading_pauses(oaki_pauses *out);
extern OAKI_HIDDEN const uint64_t oaki_reading_bounds[OAKI_READING_BUCKETS];

/* The number of censuses taken so far (tests). */
size_t oaki_reading_count(void);

#endif

/* standing.h - what the stacks of threads and fibers that stand still hold, and nothing else does.
 */
#ifndef OAKI_STANDING_H
#define OAKI_STANDING_H

#include "runtime/base.h"

#define OAKI_STANDING_THREADS 64

typedef struct oaki_standing_thread {
    int tid;
    uint64_t bytes, objects; /* that its stack and registers alone hold */
} oaki_standing_thread;

/* To be asked, and the answer. Of threads that hold the same, the first in the list is told; what
 * threads and fibers hold together counts for a thread. */
typedef struct oaki_standing {
    oaki_standing_thread thread[OAKI_STANDING_THREADS];
    size_t nthreads;
    const uintptr_t *fibers; /* inverted addresses of parked ones, as a census has them */
    size_t nfibers;
    uint64_t fiber_bytes, fiber_objects; /* that these hold, their own stacks included */
    uint64_t live_bytes;                 /* in the heap, all in all */
    bool stopped;                        /* the world stood for it: no fork was to be had */
} oaki_standing;

/* One search of what is alive, in an image (image.h): a fork's pause. 0, or -1 with errno: ENOMEM,
 * ETIMEDOUT, EIO. Outside of oaki_enter. */
int oaki_standing_measure(oaki_standing *s);

#endif

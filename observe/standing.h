/* standing.h - memory that only the stacks of idle threads and parked fibers keep alive. */
#ifndef OAKI_STANDING_H
#define OAKI_STANDING_H

#include "runtime/base.h"

#define OAKI_STANDING_THREADS 64

typedef struct oaki_standing_thread {
    int tid;
    uint64_t bytes, objects; /* kept alive by its stack and registers alone */
} oaki_standing_thread;

/* The query and its answer. Of threads that keep the same objects, the first in the list is
 * charged. Memory that threads and fibers keep together is charged to a thread. */
typedef struct oaki_standing {
    oaki_standing_thread thread[OAKI_STANDING_THREADS];
    size_t nthreads;
    const uintptr_t *fibers; /* inverted addresses of parked fibers, as in a census */
    size_t nfibers;
    uint64_t fiber_bytes, fiber_objects; /* kept alive by the fibers, themselves included */
    uint64_t live_bytes;                 /* of the whole heap */
    bool stopped;                        /* the world was stopped for it, as no fork was possible */
} oaki_standing;

/* Takes one trace of the live objects in an image (image.h): the pause is a fork's. 0, or -1 with
 * errno: ENOMEM, ETIMEDOUT, EIO. Outside of oaki_enter. */
int oaki_standing_measure(oaki_standing *s);

#endif

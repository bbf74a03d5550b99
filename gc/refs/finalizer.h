/* finalizer.h - shared by finalizer.c, which keeps the records and the queue, and finalrun.c,
 * which runs finalizers. */
#ifndef OAKI_FINALIZER_H
#define OAKI_FINALIZER_H

#include "gc/gc.h"
#include <oakum/gc.h>

typedef union oaki_finalizer_fn {
    oak_finalizer finalizer;
    void (*cleanup)(void *ctx);
} oaki_finalizer_fn;

/* Something to run: a finalizer when obj is set, else a cleanup. */
typedef struct oaki_ready {
    void *obj, *ctx;
    oaki_finalizer_fn fn;
    uint32_t zone;
} oaki_ready;

/* Takes the first entry of the queue. From then on *out is all that keeps obj and ctx alive, so
 * it must be in the frame of an attached thread. False when the queue is empty. */
bool oaki_finalizers_pop(oaki_ready *out);

/* As oak_finalizer_set_ex, for an address known to be the start of an object. */
int oaki_finalizer_set(void *obj, oak_finalizer fn, void *ctx, int flags, oak_finalizer *old,
                       void **old_ctx);

/* The length of the queue. Any thread, no lock. */
size_t oaki_finalizers_ready(void);

/* Those that wait, cleanups too. Any thread, no lock. */
size_t oaki_finalizers_waiting(void);

/* Those that wait or are ready. Any thread, no lock. */
size_t oaki_finalizers_registered(void);

/* As oak_finalizers_run, but at most so many: those that it runs may queue others without end. */
size_t oaki_finalizers_run_most(size_t most);

/* How many threads run one for an object of the zone, or of any zone (NULL)? Only those count that
 * left the queue at `since_ns` (oaki_os_lately_ns) or before. A thread between two may count. */
unsigned oaki_finalizers_running(const oak_zone *z, uint64_t since_ns);

/* Has a collection queued any since the last call? */
bool oaki_finalizers_fresh(void);

/* Records visited by all fixpoints: their cost. For tests. */
size_t oaki_ephemerons_visits(void);

/* finalrun.c, in the child of a fork. */
void oaki_finalrun_reset(void);

/* Starts the finalizer thread if it is missing and there is to be one. */
void oaki_finalizer_thread_ensure(void);

#endif

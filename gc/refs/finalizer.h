/* finalizer.h - what finalizer.c, which decides what is ready, and finalrun.c, which runs it,
 * share. */
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
} oaki_ready;

/* Take the first of the queue. From here on *out is all that keeps obj and ctx alive: it has to be
 * in the frame of an attached thread. False when there is none. */
bool oaki_finalizers_pop(oaki_ready *out);

/* As oak_finalizer_set_ex, of what is known to be the start of an object. */
int oaki_finalizer_set(void *obj, oak_finalizer fn, void *ctx, int flags, oak_finalizer *old,
                       void **old_ctx);

/* How many are queued. Any thread, no lock. */
size_t oaki_finalizers_ready(void);

/* Did a collection queue any since this was asked last? */
bool oaki_finalizers_fresh(void);

/* Give back memory that the tables don't need. */
void oaki_finalizers_trim(void);
void oaki_weak_trim(void);
void oaki_ephemerons_trim(void);

/* How often fixpoints have looked at a record: what they cost. For tests. */
size_t oaki_ephemerons_visits(void);

/* finalrun.c: its part of oaki_finalizers_init. */
void oaki_finalrun_init(void);

/* See to it that the finalizer thread runs, if there is to be one. */
void oaki_finalizer_thread_ensure(void);

#endif

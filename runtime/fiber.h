/* fiber.h - the record of a fiber, for the scan of stacks. */
#ifndef OAKI_FIBER_H
#define OAKI_FIBER_H

#include "thread.h"
#include <oakum/gc.h>
#include <oakum/heap.h>

struct oak_fiber {
    char *lo, *hi;                 /* its stack; NULL once freed */
    /* at the last switch away; NULL once its thread has ended on it */
    char *sp;
    uintptr_t regs[OAKI_REGS];     /* at that time */
    uintptr_t top[OAKI_FIBER_TOP]; /* the words at sp, at that time */
    void *data;
    AO_t thread; /* the oaki_thread that runs on it, or 0 */
    struct oaki_mcache *zones; /* the zones entered while it waits (zonecache.c), or NULL */
};

/* Lowest address to scan of a stack [lo, ...) whose saved stack pointer is sp. */
const char *oaki_fiber_from(const char *lo, const char *sp);

/* Is this the type of fibers? */
bool oaki_fiber_is_type(const oak_type *t);

#endif

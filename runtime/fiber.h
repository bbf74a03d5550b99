/* fiber.h - the record of a fiber, for those who scan stacks. */
#ifndef OAKI_FIBER_H
#define OAKI_FIBER_H

#include "thread.h"
#include <oakum/gc.h>
#include <oakum/heap.h>

struct oak_fiber {
    char *lo, *hi;                 /* its stack; NULL once freed */
    char *sp;                      /* when it was left last; NULL once its thread has ended on it */
    uintptr_t regs[OAKI_REGS];     /* then */
    uintptr_t top[OAKI_FIBER_TOP]; /* the words at sp, as they were */
    void *data;
    AO_t thread; /* the oaki_thread that runs on it, or 0 */
    struct oaki_mcache *zones; /* that it is in while it waits (zonecache.c), or NULL */
};

/* Lowest address to be scanned of a stack [lo, ...) that was left at sp. */
const char *oaki_fiber_from(const char *lo, const char *sp);

/* Is this the type of fibers? */
bool oaki_fiber_is_type(const oak_type *t);

#endif

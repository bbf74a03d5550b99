/* disclaim.h - objects whose type has a function that is called before they are reclaimed. A
 * host gives a type such a function by oaki_type_disclaim (host.h). */
#ifndef OAKI_DISCLAIM_H
#define OAKI_DISCLAIM_H

#include "runtime/span.h"
#include <stdbool.h>

typedef struct oaki_disclaim {
    AO_t any;          /* a type has a function; never cleared */
    size_t traced;     /* objects whose contents were queued, by any pause */
    AO_t reclaimed;    /* objects whose function did not keep them, by any cycle */
    uint32_t detached; /* spans that only the holder of gc_lock sweeps: page number + 1, or 0 */
} oaki_disclaim;

/* In the final pause, before references are decided: marks what unmarked objects of protecting
 * types refer to. */
void oaki_disclaim_protect(void);
/* M is final, and every span unswept: takes the spans that have such objects off the lists. */
void oaki_disclaim_detach(void);
/* After the pause: calls the function of each dead object of these spans, and sweeps them. */
void oaki_disclaim_sweep(void);
/* In a pause, M is final: calls fn for the offset of each object that protects others. */
void oaki_disclaim_each(void (*fn)(void *ctx, size_t slot), void *ctx);

#endif

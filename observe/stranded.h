/* stranded.h - stranded threads: each waits for an object that only stranded threads reach. */
#ifndef OAKI_STRANDED_H
#define OAKI_STRANDED_H

#include "runtime/base.h"

/* The query and its answer. */
typedef struct oaki_stranded {
    size_t asked, n;         /* threads in the query; of them, stranded ones */
    uint64_t bytes, objects; /* kept alive by their stacks alone */
    bool stopped;            /* the world was stopped for it, as no fork was possible */
    int tid[];               /* query: `asked` ids in rising order; answer: n ids */
} oaki_stranded;

OAKI_INLINE size_t oaki_stranded_size(size_t asked)
{
    return sizeof(oaki_stranded) + asked * sizeof(int);
}

/* Takes one trace of the live objects in an image (image.h): the pause is a fork's. 0, or -1 with
 * errno: ENOMEM, ETIMEDOUT, EIO. Outside of oaki_enter. */
int oaki_stranded_find(oaki_stranded *s);

#endif

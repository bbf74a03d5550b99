/* stranded.h - threads that wait for what only threads that wait like them reach. */
#ifndef OAKI_STRANDED_H
#define OAKI_STRANDED_H

#include "runtime/base.h"

/* To be asked, and the answer. */
typedef struct oaki_stranded {
    size_t asked, n;         /* threads asked about; of them, that nobody can wake */
    uint64_t bytes, objects; /* that their stacks alone hold */
    bool stopped;            /* the world stood for it: no fork was to be had */
    int tid[];               /* `asked` in rising order; in the answer n */
} oaki_stranded;

OAKI_INLINE size_t oaki_stranded_size(size_t asked)
{
    return sizeof(oaki_stranded) + asked * sizeof(int);
}

/* One search of what is alive, in an image (image.h): a fork's pause. 0, or -1 with errno: ENOMEM,
 * ETIMEDOUT, EIO. Outside of oaki_enter. */
int oaki_stranded_find(oaki_stranded *s);

#endif

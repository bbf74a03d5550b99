/* cancel.h - no cancellation of the thread until the function returns.
 *
 * A thread that is cancelled where it opens a file, writes or waits would leave descriptors, locks,
 * temporary files and children behind. What the functions of observe/ take is limited in time or by
 * who reads what they write; the request stays, and takes effect at the thread's next
 * cancellation point. */
#ifndef OAKI_CANCEL_H
#define OAKI_CANCEL_H

#include "runtime/base.h"
#include <pthread.h>

OAKI_INLINE int oaki_cancel_off(void)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

OAKI_INLINE void oaki_cancel_restore(const int *before)
{
    int ours;
    pthread_setcancelstate(*before, &ours);
}

/* A declaration, at the beginning of the function. */
#define OAKI_NO_CANCEL                                                                  \
    __attribute__((cleanup(oaki_cancel_restore))) OAKI_UNUSED const int cancel_before = \
        oaki_cancel_off()

#endif

/* park.h - state shared by the stopping thread (stop.c) and the parked threads (park.c). */
#ifndef OAKI_PARK_H
#define OAKI_PARK_H

#include "base.h"
#include "thread.h"

#include <signal.h>

typedef struct oaki_stopping {
    unsigned int epoch; /* AO_int: the stop's number, odd while threads must stay parked */
    unsigned int stray; /* AO_int: id of an unattached thread that got the signal */
    AO_t awaited;       /* the thread for whose answer the stopper sleeps */
} oaki_stopping;

extern OAKI_HIDDEN oaki_stopping oaki_the_stop;

/* Values of a thread's `signalled`: the state of the stop signal on its way to it. */
enum {
    OAKI_SIGNAL_NONE, /* none: the handler has seen the last one */
    OAKI_SIGNAL_SENT,
    OAKI_SIGNAL_HELD  /* sent long ago: the thread blocks it */
};

void oaki_park_handler(int sig, siginfo_t *info, void *context);
void oaki_park_child(void); /* after a fork: no other thread waits */

#endif

/* park.h - between the thread that stops the world (stop.c) and those that stand (park.c). */
#ifndef OAKI_PARK_H
#define OAKI_PARK_H

#include "base.h"
#include "thread.h"

#include <signal.h>

typedef struct oaki_stopping {
    unsigned int epoch; /* AO_int: the stop's number, odd while threads are to stand */
    unsigned int stray; /* AO_int: id of a thread that got the signal and is not attached */
    AO_t awaited;       /* the thread whose answer the stopper sleeps for */
} oaki_stopping;

extern OAKI_HIDDEN oaki_stopping oaki_the_stop;

/* What a thread's `signalled` says of the stop signal. */
enum {
    OAKI_SIGNAL_NONE, /* the handler has seen the last one */
    OAKI_SIGNAL_SENT,
    OAKI_SIGNAL_HELD  /* for long: the thread blocks it */
};

void oaki_park_handler(int sig, siginfo_t *info, void *context);
void oaki_park_child(void); /* after a fork: nobody else waits */

#endif

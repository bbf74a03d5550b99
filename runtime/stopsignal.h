/* stopsignal.h - the system's part of reaching a thread with the stop signal, for stop.c. */
#ifndef OAKI_STOPSIGNAL_H
#define OAKI_STOPSIGNAL_H

#include "base.h"

#include <signal.h>

/* Chooses and installs the signal: config.stop_signal, or the first free real-time one. 0, or -1
 * with errno. */
int oaki_stopsignal_init(void (*handler)(int, siginfo_t *, void *));

int oaki_stopsignal_number(void);        /* 0 before that */
void oaki_stopsignal_end(void);          /* where its handler is still Oakum's: as before */
void oaki_stopsignal_allow(void);        /* unblocks it: the calling thread attaches */
void oaki_stopsignal_refresh(void);      /* before a stop, and before a signal is sent again */
/* The program wants this disposition (NULL: it only asks), and *old was its last, unless old is
 * NULL; the two may be one. From a handler, too. */
void oaki_stopsignal_chain(const struct sigaction *a, struct sigaction *old);
/* To the program's handler, if it has set one: a signal that no stop has sent. */
void oaki_stopsignal_pass_on(int sig, siginfo_t *info, void *context);
int oaki_stopsignal_send(int tid);       /* 0, ESRCH when the thread is gone, EAGAIN */
bool oaki_stopsignal_gone(int tid);      /* the thread is gone */
bool oaki_stopsignal_dead(int tid);      /* gone or a zombie; reads /proc */
bool oaki_stopsignal_held(int tid);      /* no signal reaches it now; reads /proc */
void oaki_stopsignal_complain(int tid);  /* one line on stderr */

#endif

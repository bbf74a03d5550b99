/* stopsignal.h - what stop.c needs of the system to reach a thread. */
#ifndef OAKI_STOPSIGNAL_H
#define OAKI_STOPSIGNAL_H

#include "base.h"

#include <signal.h>

/* Choose and take the signal: config.stop_signal, or the first real-time one that is free. 0, or -1
 * with errno. */
int oaki_stopsignal_init(void (*handler)(int, siginfo_t *, void *));

void oaki_stopsignal_allow(void);        /* in its mask: the calling thread attaches */
void oaki_stopsignal_refresh(void);      /* before a stop */
int oaki_stopsignal_send(int tid);       /* 0, ESRCH when there is no such thread, EAGAIN */
bool oaki_stopsignal_gone(int tid);      /* there is no such thread */
bool oaki_stopsignal_dead(int tid);      /* ... or it is a zombie; reads /proc */
bool oaki_stopsignal_held(int tid);      /* no signal reaches it now; reads /proc */
void oaki_stopsignal_complain(int tid);  /* one line on stderr */

#endif

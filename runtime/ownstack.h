/* ownstack.h - where the calling thread's own stack is. */
#ifndef OAKI_OWNSTACK_H
#define OAKI_OWNSTACK_H

#include "base.h"

/* Sets [*lo, *hi) to the usable part of the stack. Takes no lock, calls no malloc and keeps errno:
 * libc may hold any lock of its own while it calls malloc. */
void oaki_ownstack(int tid, char **lo, char **hi);

#endif

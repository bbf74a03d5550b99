/* ownstack.h - where the calling thread's own stack is. */
#ifndef OAKI_OWNSTACK_H
#define OAKI_OWNSTACK_H

#include "base.h"

/* From its lowest address that may be used to behind its highest. Takes no lock, calls no malloc
 * and keeps errno: libc may be calling malloc with any lock of its own held. */
void oaki_ownstack(int tid, char **lo, char **hi);

#endif

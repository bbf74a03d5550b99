/* frames.h - frames that have names and no code: an interpreter's, in sites beside those of C
 * (<oakum/frames.h>).
 *
 * A frame is a number that looks like a return address where no code can be: its top byte is
 * OAKI_FRAMES_TAG, which no canonical address has. The bits below are the name's place in the
 * table, times 16, plus 1, so that what is asked for one less finds it too. */
#ifndef OAKI_FRAMES_H
#define OAKI_FRAMES_H

#include "runtime/base.h"
#include <oakum/frames.h>
#include <oakum/profile.h>

#define OAKI_FRAMES_TAG 0xfau
#define OAKI_FRAMES 1048576u

OAKI_INLINE bool oaki_frames_is(uintptr_t pc)
{
    return pc >> 56 == OAKI_FRAMES_TAG;
}

/* The frame with this number, or the number less 1. Outside of oaki_enter. */
oak_frame oaki_frames_name(uintptr_t pc);

/* A stack of n native frames, as it is to be noted: with what the calling thread's source tells in
 * front, at most max in all. Returns how many. Outside of oaki_enter. */
size_t oaki_frames_merge(uintptr_t *pc, size_t n, size_t max);

#endif

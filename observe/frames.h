/* frames.h - frames with a name and no code, such as an interpreter's; sites hold them beside C's
 * (<oakum/frames.h>).
 *
 * Such a frame is a number in the place of a return address. Its top byte is OAKI_FRAMES_TAG, which
 * no canonical address has. The bits below are the name's index in the table, times 16, plus 1. So
 * the number less 1 finds the name too, as symbol lookups subtract 1 from a return address. */
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

/* The frame of this number, or of the number less 1. Outside of oaki_enter. */
oak_frame oaki_frames_name(uintptr_t pc);

/* Turns a stack of n native frames into the one to record: the frames of the calling thread's
 * source come first, and native frames that it hides are left out. Returns the number of frames, at
 * most max if there is a source. Outside of oaki_enter. */
size_t oaki_frames_merge(uintptr_t *pc, size_t n, size_t max);

#endif

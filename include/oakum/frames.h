/* frames.h - an interpreter's frames in the heap profile.
 *
 * The C stack of an interpreter names the C function that allocated, but not the line of the
 * script. So the thread that runs the interpreter can set a source of frames. For each sampled
 * object, the frames of the source come first in the site's stack. The C frames follow, without
 * those of the interpreter's own code.
 *
 * Neither function collects. Neither may be called from a signal handler or a mark function. */
#ifndef OAKUM_FRAMES_H
#define OAKUM_FRAMES_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** The number of a frame with this function name, file and line. The names are copied. file may be
 * NULL, and line 0. Equal names give the same number. Numbers are valid as long as the process
 * lives. Returns 0 when there is no memory, or when 1,048,576 frames have numbers. Any thread. */
OAK_API uintptr_t oak_frame_number(const char *function, const char *file, int line);

/** A range of code whose frames are left out of a stack: [lo, hi). */
typedef struct oak_code_range {
    uintptr_t lo, hi;
} oak_code_range;

/** A source of a thread's frames. */
typedef struct oak_frame_source {
    /** Store at most max frame numbers in frame, the innermost first. Returns how many. The thread
     * itself calls it, within an allocation. The only function of Oakum that it may call is
     * oak_frame_number. */
    size_t (*read)(uintptr_t *frame, size_t max, void *ctx);
    void *ctx;
    const oak_code_range *hidden; /* the interpreter's own code */
    size_t nhidden;
} oak_frame_source;

/** Set the calling thread's source of frames; NULL removes it. Returns the previous one. *source
 * and all that it points to must stay valid until another source is set. Attaches the thread. If
 * that fails, the call does nothing, and returns NULL with ENOMEM. Cheap: two loads and a store. */
OAK_API const oak_frame_source *oak_frame_source_set(const oak_frame_source *source);

OAK_END_DECLS

#endif

/* frames.h - frames of an interpreter in the heap profile, beside those of C.
 *
 * The C stack of an interpreter says which of its functions allocated, and not which line of the
 * script made it. So an interpreter offers a source of frames to the thread that runs it: when an
 * object is sampled, the source is asked, and what it tells comes first in the site's stack, the
 * frames of the interpreter's own code left out. */
#ifndef OAKUM_FRAMES_H
#define OAKUM_FRAMES_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** A frame by its names, which are copied: the function, as a profile lists it, the file and the
 * line in it. file may be NULL, line 0. The same names give the same number each time. 0 without
 * memory, or when there are 1,048,576 already. They live as long as the process. Any thread. */
OAK_API uintptr_t oak_frame_number(const char *function, const char *file, int line);

/** Code that is left out of a stack: [lo, hi). */
typedef struct oak_code_range {
    uintptr_t lo, hi;
} oak_code_range;

/** Where frames of a thread come from. */
typedef struct oak_frame_source {
    /** Store at most max numbers in frame, the innermost first, and return how many. Called by the
     * thread itself in the middle of an allocation: it may call oak_frame_number, and nothing else
     * of Oakum's. */
    size_t (*read)(uintptr_t *frame, size_t max, void *ctx);
    void *ctx;
    const oak_code_range *hidden; /* the interpreter's own code */
    size_t nhidden;
} oak_frame_source;

/** From here on this is the calling thread's source; NULL: it has none. Returns the one before.
 * What it points to must stay until another is set. Attaches the thread; nothing happens when that
 * fails. Cheap: two loads and a store. */
OAK_API const oak_frame_source *oak_frame_source_set(const oak_frame_source *source);

OAK_END_DECLS

#endif

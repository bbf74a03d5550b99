/* path.h - a shortest path, found in an image and handed out of it. */
#ifndef OAKI_PATH_H
#define OAKI_PATH_H

#include "image.h"
#include <oakum/why.h>

/* For oaki_image_take; arg is an oaki_path_query. Puts an oaki_path_head and its steps. */
typedef struct oaki_path_query {
    uintptr_t p;
    const void *code; /* oaki_code_map */
} oaki_path_query;

int oaki_path_work(oaki_image *im, void *arg);

/* As oak_why_alive; frames below own_sp (OAKI_IMAGE_OWN_SP) are the call's own. */
oak_path *oaki_why_alive(const void *p, const char *own_sp);

/* What an object is, where its type's number doesn't tell: oak_step.type of it. */
typedef enum oaki_shape {
    OAKI_SHAPE_CONSERVATIVE,
    OAKI_SHAPE_NOSCAN,
    OAKI_SHAPE_TYPED,
    OAKI_SHAPE_PINNED,
    OAKI_SHAPES
} oaki_shape;

oaki_shape oaki_shape_of(size_t slot);

/* The name of a shape, or of the type with this number. Lives for ever. */
const char *oaki_shape_name(uint32_t shape, uint32_t type);

/* The answer as the public struct, in one block of metadata; NULL with ENOMEM, EIO for what makes
 * no sense. */
oak_path *oaki_path_read(const char *data, size_t n);

/* A path of its own memory with room for so many steps; they are its steps. NULL with ENOMEM. */
oak_path *oaki_path_new(size_t nsteps, oak_step **steps);

#endif

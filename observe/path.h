/* path.h - a shortest path to an object: the search in an image, and its result. */
#ifndef OAKI_PATH_H
#define OAKI_PATH_H

#include "image.h"
#include <oakum/why.h>

/* For oaki_image_take; arg is an oaki_path_query. Writes a path's head and steps, for
 * oaki_path_read. */
typedef struct oaki_path_query {
    uintptr_t p;
    const void *code; /* oaki_code_map */
} oaki_path_query;

int oaki_path_work(oaki_image *im, void *arg);

/* As oak_why_alive. Frames below own_sp (OAKI_IMAGE_OWN_SP) belong to the call itself. */
oak_path *oaki_why_alive(const void *p, const char *own_sp);

/* The kind of an object; names it where oak_step.type doesn't. */
typedef enum oaki_shape {
    OAKI_SHAPE_CONSERVATIVE,
    OAKI_SHAPE_NOSCAN,
    OAKI_SHAPE_TYPED,
    OAKI_SHAPE_PINNED,
    OAKI_SHAPES
} oaki_shape;

oaki_shape oaki_shape_of(size_t slot);

/* The name of a shape, or of the type with this number. The string lives for ever. */
const char *oaki_shape_name(uint32_t shape, uint32_t type);

/* Converts the answer to the public struct, in one block of metadata. NULL with ENOMEM, or EIO if
 * the data is malformed. */
oak_path *oaki_path_read(const char *data, size_t n);

/* Makes a path in memory of its own, with room for nsteps steps; *steps receives them. NULL with
 * ENOMEM. */
oak_path *oaki_path_new(size_t nsteps, oak_step **steps);

#endif

/* parts.h - the part of a default map that an object is, for tracing references through a map. */
#ifndef OAKI_PARTS_H
#define OAKI_PARTS_H

#include "map.h"
#include "runtime/type.h"

typedef enum oaki_map_part {
    OAKI_MAP_NO_PART,
    OAKI_MAP_HEADER,    /* struct oak_map */
    OAKI_MAP_DIRECTORY,
    OAKI_MAP_ENTRIES    /* a segment: oaki_map_head, then entries */
} oaki_map_part;

/* By the object's type. *layout is the layout of the entries, or NULL. At any time. */
oaki_map_part oaki_map_part_of(const oak_type *t, const oaki_map_layout **layout);

#endif

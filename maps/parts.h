/* parts.h - which part of a default map an object is, for who follows references through one. */
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

/* By the object's type. In *layout, that of entries. Any time. */
oaki_map_part oaki_map_part_of(const oak_type *t, const oaki_map_layout **layout);

#endif

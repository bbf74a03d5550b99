/* object.h - the loaded objects (the program and its libraries), for naming addresses.
 *
 * A list belongs to its reader. Not to be called inside oaki_enter, as reading waits for the
 * loader's lock. Nor between oaki_fork_hold and release, as a child would inherit that lock
 * locked. */
#ifndef OAKI_OBJECT_H
#define OAKI_OBJECT_H

#include "runtime/base.h"

#define OAKI_OBJECT_SEGMENTS 8
#define OAKI_BUILD_ID_MAX 32

typedef struct oaki_segment {
    uintptr_t lo, hi;
    size_t offset; /* in the file */
    bool code;
} oaki_segment;

typedef struct oaki_object {
    char *path; /* the program's: the target of /proc/self/exe, or its name when executed */
    uintptr_t base; /* to be added to addresses of the file */
    size_t nsegments;
    oaki_segment segment[OAKI_OBJECT_SEGMENTS];
    size_t build_id_len;
    unsigned char build_id[OAKI_BUILD_ID_MAX];
} oaki_object;

typedef struct oaki_objects {
    oaki_object *item;
    size_t n;
} oaki_objects;

/* Reads the list. 0 or -1 with ENOMEM. The first item is the program. */
int oaki_objects_read(oaki_objects *out);
void oaki_objects_free(oaki_objects *o);

/* The object that contains this address, or NULL. *segment, unless NULL, receives its segment. */
const oaki_object *oaki_objects_find(const oaki_objects *o, uintptr_t addr,
                                     const oaki_segment **segment);

/* Does the program have a dynamic linker? It has none when it is linked with -static. */
bool oaki_objects_are_linked(void);

#endif

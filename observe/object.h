/* object.h - the program and the libraries that are loaded, for who names addresses.
 *
 * A list is its reader's own. Outside of oaki_enter, as reading waits for the loader's lock, and
 * between oaki_fork_hold and release, as a child would inherit it locked. */
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
    char *path; /* of the program, what /proc/self/exe says, or without it how it was executed */
    uintptr_t base; /* to be added to addresses in the file */
    size_t nsegments;
    oaki_segment segment[OAKI_OBJECT_SEGMENTS];
    size_t build_id_len;
    unsigned char build_id[OAKI_BUILD_ID_MAX];
} oaki_object;

typedef struct oaki_objects {
    oaki_object *item;
    size_t n;
} oaki_objects;

/* 0 or -1 with ENOMEM. The first is the program. */
int oaki_objects_read(oaki_objects *out);
void oaki_objects_free(oaki_objects *o);

/* The object that has this address, and in *segment which of its segments, if not NULL; or NULL. */
const oaki_object *oaki_objects_find(const oaki_objects *o, uintptr_t addr,
                                     const oaki_segment **segment);

/* The program has a dynamic linker: it is not linked with -static. */
bool oaki_objects_are_linked(void);

#endif

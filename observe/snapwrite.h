/* snapwrite.h - the part of a snapshot that is written in the image, and its answer to the
 * parent. */
#ifndef OAKI_SNAPWRITE_H
#define OAKI_SNAPWRITE_H

#include "rootwords.h"
#include "snapout.h"

#define OAKI_SNAP_NAMED 65536u /* most roots that get names */

typedef struct oaki_snap_query {
    int fd;
    bool keys;
    uint64_t max_keys;
    const oaki_code_map *code;
    int pid;
    uint64_t time;
    char program[256];
} oaki_snap_query;

/* A root that needs a name. */
typedef struct oaki_snap_named {
    uint64_t index;
    oaki_root_found root;
} oaki_snap_named;

/* The end of the answer. Before it are `named` items of oaki_snap_named; before these, the ids of
 * `sites` sites. In a pause, `inline_bytes` of the stream itself come before those. */
typedef struct oaki_snap_tail {
    uint64_t objects, edges, roots, keys, named, sites, inline_bytes;
    oaki_snapout out;
} oaki_snap_tail;

/* For oaki_image_take; arg is an oaki_snap_query. Writes the stream up to the roots. */
int oaki_snap_work(oaki_image *im, void *arg);

#endif

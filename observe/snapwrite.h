/* snapwrite.h - what of a snapshot is written in the image, and what is handed to the parent. */
#ifndef OAKI_SNAPWRITE_H
#define OAKI_SNAPWRITE_H

#include "rootwords.h"
#include "snapout.h"

#define OAKI_SNAP_NAMED 65536u /* roots that get names, at most */

typedef struct oaki_snap_query {
    int fd;
    bool keys;
    uint64_t max_keys;
    const oaki_code_map *code;
    int pid;
    uint64_t time;
    char program[256];
} oaki_snap_query;

/* A root that a name is wanted for. */
typedef struct oaki_snap_named {
    uint64_t index;
    oaki_root_found root;
} oaki_snap_named;

/* The end of the answer. Before it: `named` of oaki_snap_named, and before these `sites` ids of
 * sites; and in a stop before that `inline_bytes` of the stream itself. */
typedef struct oaki_snap_tail {
    uint64_t objects, edges, roots, keys, named, sites, inline_bytes;
    oaki_snapout out;
} oaki_snap_tail;

/* For oaki_image_take; arg is an oaki_snap_query. Writes all up to the roots. */
int oaki_snap_work(oaki_image *im, void *arg);

#endif

/* snapread.h - a snapshot in memory, for the files that read, search and convert it. */
#ifndef OAKI_SNAPREAD_H
#define OAKI_SNAPREAD_H

#include "snapformat.h"
#include <oakum/snapshot.h>

#define OAKI_SNAP_NOWHERE UINT32_MAX /* not a word */
#define OAKI_SNAP_NONE UINT32_MAX    /* not an object */

/* A table that grows; memory of the host's malloc. */
typedef struct oaki_snaptable {
    void *item;
    size_t n, cap;
} oaki_snaptable;

typedef struct oaki_snapobject {
    uint64_t address;  /* from the heap's base, in granules */
    uint64_t type;     /* type << 2 | shape */
    uint32_t granules;
    uint32_t nedges;
    uint64_t edge;     /* the first of its edges */
} oaki_snapobject;

typedef struct oaki_snapedge {
    uint32_t target, word;
} oaki_snapedge;

typedef struct oaki_snapinterior {
    uint64_t edge, bytes;
} oaki_snapinterior;

/* Sorted by object, then by word. */
typedef struct oaki_snapkey {
    uint32_t object, word;
    uint64_t text; /* offset in the strings */
} oaki_snapkey;

typedef struct oaki_snappair {
    uint32_t handle, key, value;
} oaki_snappair;

typedef struct oaki_snaproot {
    uint64_t address, interior, offset;
    uint64_t where, file; /* offsets in the strings */
    uint32_t target;
    int32_t thread;
    uint8_t kind, caller;
} oaki_snaproot;

typedef struct oaki_snapthread {
    int32_t tid;
    uint64_t name;
} oaki_snapthread;

struct oak_snapshot {
    oak_snapshot_info info;
    oaki_snaptable strings; /* char; offset 0 is "" */
    oaki_snaptable types;   /* uint64_t: names of types 1, 2, ... */
    oaki_snaptable objects; /* oaki_snapobject */
    oaki_snaptable edges;   /* oaki_snapedge */
    oaki_snaptable interiors; /* sorted by edge */
    oaki_snaptable keys, pairs; /* pairs are sorted by key, then by handle */
    oaki_snaptable roots, threads;
    oaki_snaptable samples, sites;
    uint32_t *idom;     /* from the analysis; OAKI_SNAP_NONE: the set of all roots */
    uint64_t *retained; /* bytes */
};

OAKI_INLINE const oaki_snapobject *oaki_snapobject_at(const oak_snapshot *s, uint64_t i)
{
    return (const oaki_snapobject *)s->objects.item + i;
}

OAKI_INLINE const oaki_snapedge *oaki_snapedges_of(const oak_snapshot *s, const oaki_snapobject *o)
{
    return (const oaki_snapedge *)s->edges.item + o->edge;
}

OAKI_INLINE const oaki_snaproot *oaki_snaproot_at(const oak_snapshot *s, uint64_t i)
{
    return (const oaki_snaproot *)s->roots.item + i;
}

OAKI_INLINE const char *oaki_snapstring(const oak_snapshot *s, uint64_t offset)
{
    return (const char *)s->strings.item + offset;
}

OAKI_INLINE uint64_t oaki_snapbytes(const oaki_snapobject *o)
{
    return (uint64_t)o->granules << 4;
}

/* The name of the object's type, or of its shape. */
const char *oaki_snaptype(const oak_snapshot *s, const oaki_snapobject *o);

/* The offset of an edge's pointer in its target. */
uint64_t oaki_snapinterior_of(const oak_snapshot *s, uint64_t edge);

/* The key of the entry that a word belongs to, or NULL. */
const char *oaki_snapkey_of(const oak_snapshot *s, uint32_t object, uint32_t word);

/* The pairs with this key: returns the first; *n is their number. */
const oaki_snappair *oaki_snappairs_of(const oak_snapshot *s, uint32_t key, size_t *n);

#endif

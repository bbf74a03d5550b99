/* type.h - the table of types.
 *
 * Owns: struct oak_type, never freed, numbered from 1 in order of creation. Lock: types_lock for
 * adding. A reader needs none, as an id is known only after its entry is published. */
#ifndef OAKI_TYPE_H
#define OAKI_TYPE_H

#include "base.h"
#include <oakum/heap.h>

/* Marks the objects that the words in bytes [from, to) of the object refer to. It may also mark
 * those that other words of the object refer to. */
typedef void oaki_mark_part_fn(oak_marker *m, void *object, size_t bytes, size_t from, size_t to);

/* Called, under gc_lock, before a dead object is reclaimed: is it to be kept in this cycle? */
typedef bool oaki_disclaim_fn(void *object, const void *data);

struct oak_type {
    const char *name;
    size_t elem_size; /* bytes, a multiple of 8 */
    oak_mark_fn mark; /* or NULL: the bitmap decides */
    oaki_mark_part_fn *part; /* or NULL: `mark` traces the whole object each time */
    size_t nwords;    /* bits in the bitmap: elem_size / 8 */
    const uint64_t *bitmap;
    const void *data; /* the mark function's data */
    bool anytime;     /* `mark` may run concurrently with writes to the object */
    bool protects;    /* dead objects keep what they refer to until `disclaim` was called */
    oaki_disclaim_fn *disclaim; /* or NULL; requires a `mark` without `anytime` */
    uint32_t id;
};

/* Does its mark function require a stopped world? Spans with such objects have a flag of their own
 * (span.h). */
OAKI_INLINE bool oaki_type_waits(const oak_type *t)
{
    return t && t->mark && !t->anytime;
}

/* The type with this id. id 0: no type, scanned conservatively. */
const oak_type *oaki_type_by_id(uint32_t id);

/* The number of types: ids are 1 to this. */
uint32_t oaki_type_count(void);

/* A type with a mark function, made at first use and kept in *where. Two threads may both make one:
 * types are never freed, and either is valid. NULL with ENOMEM. */
const oak_type *oaki_type_once(AO_t *where, const char *name, size_t elem_size, oak_mark_fn mark);

/* A type with a mark function and data of the host's, which the function finds by
 * oaki_type_data_of. NULL with EINVAL or ENOMEM. */
const oak_type *oaki_type_host(const char *name, size_t elem_size, oak_mark_fn mark,
                               const void *data);

/* The data of obj's type, or NULL when it has none. Valid in a mark function, or anywhere for a
 * live object that begins at obj. */
const void *oaki_type_data_of(const void *obj);
/* Lets the type's function run concurrently. The type is made by oaki_type_once or
 * oak_type_function, and has no object yet. The function reads each word that may change once, and
 * follows nothing unchecked. If it misses a reference, the object must be written to after the
 * function has read it: the object is then rescanned. */
void oaki_type_anytime(const oak_type *t);
/* The same, and a part of a large object can be marked by itself. Words that are read together,
 * such as those of an entry, are all marked where any of them lies in the part. */
void oaki_type_in_parts(const oak_type *t, oaki_mark_part_fn *part);

/* The type id of the object at offset off (a slot's start); 0 when it has none. */
uint32_t oaki_type_id_at(size_t off);

#endif

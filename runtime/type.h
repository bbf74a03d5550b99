/* type.h - the table of types.
 *
 * Owns: struct oak_type, never freed, numbered from 1 in order of creation. Lock: types_lock for
 * adding; a reader needs none, as an id is known only after its entry is published. */
#ifndef OAKI_TYPE_H
#define OAKI_TYPE_H

#include "base.h"
#include <oakum/heap.h>

/* Marks what the words of bytes [from, to) of the object refer to, and may mark more of it. */
typedef void oaki_mark_part_fn(oak_marker *m, void *object, size_t bytes, size_t from, size_t to);

struct oak_type {
    const char *name;
    size_t elem_size; /* bytes, a multiple of 8 */
    oak_mark_fn mark; /* or NULL: the bitmap tells */
    oaki_mark_part_fn *part; /* or NULL: `mark` has to go over all of it each time */
    size_t nwords;    /* bits in the bitmap: elem_size / 8 */
    const uint64_t *bitmap;
    const void *data; /* the mark function's own */
    bool anytime;     /* it may be called while the program runs, and writes to the object */
    uint32_t id;
};

/* Does its mark function want the world to stand? Spans with such objects are told apart. */
OAKI_INLINE bool oaki_type_waits(const oak_type *t)
{
    return t && t->mark && !t->anytime;
}

/* The type with this id; id 0 is none: scanned conservatively. */
const oak_type *oaki_type_by_id(uint32_t id);

/* How many there are: ids are 1 to this. */
uint32_t oaki_type_count(void);

/* A type that a function marks, made when it is first needed and kept in *where. Two threads may
 * both make one: types are never freed, and either will do. NULL with ENOMEM. */
const oak_type *oaki_type_once(AO_t *where, const char *name, size_t elem_size, oak_mark_fn mark);

/* A type that a function marks, with data of the host's, which the function finds by
 * oaki_type_data_of. NULL with EINVAL or ENOMEM. */
const oak_type *oaki_type_host(const char *name, size_t elem_size, oak_mark_fn mark,
                               const void *data);

/* In a mark function, or anywhere for a live object that begins at obj: the data of its type. NULL
 * when it has none. */
const void *oaki_type_data_of(const void *obj);
/* A type made by oaki_type_once or oak_type_function, before there is an object of it: its function
 * may run while the program does. It reads each word that may change once, goes nowhere that it has
 * not checked, and what it misses must be written to the object after what it has read: the object
 * is then looked at again. */
void oaki_type_anytime(const oak_type *t);
/* The same, and a part of a large object can be marked by itself: of what is read together, such as
 * the words of an entry, all is marked where any of it lies in the part. */
void oaki_type_in_parts(const oak_type *t, oaki_mark_part_fn *part);

/* Id of the type of the object at offset off (a slot's start), 0 when it has none. */
uint32_t oaki_type_id_at(size_t off);

#endif

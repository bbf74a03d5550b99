/* ptrtable.h - records about objects, found by the object's address.
 *
 * Finalizers, weak references and ephemerons are each a table of this kind. Records lie densely in
 * one array, so that a collection walks them in order; a hash index of 8 bytes a slot finds an
 * object's first record, and the others of the same object are chained to it. A record is named by
 * its number, which changes when the record is moved to fill a hole: whoever keeps numbers puts
 * them right after each oaki_ptrtable_remove.
 *
 * Who seldom asks for an object's records does without the index, and has it made when it is asked
 * for: then a record is in no chain.
 *
 * Lock: the owner's (finalizer_lock), or the world is stopped. Only oaki_ptrtable_reserve, _trim
 *   and _index allocate or free, so that all others may be called in a stop. */
#ifndef OAKI_PTRTABLE_H
#define OAKI_PTRTABLE_H

#include "runtime/heap.h"
#include "runtime/meta.h"

#define OAKI_PTR_NONE UINT32_MAX

/* What every record begins with. */
typedef struct oaki_ptrlink {
    char *obj;           /* start of the object; NULL when the record is in no chain */
    uint32_t next, prev; /* in the chain of the object's records */
} oaki_ptrlink;

typedef struct oaki_ptrslot {
    uint32_t hash;
    uint32_t record; /* number + 1 of the first in the chain; 0: free */
} oaki_ptrslot;

typedef struct oaki_ptrtable {
    oaki_vec records;
    oaki_ptrslot *slots;
    size_t nslots; /* a power of two, or 0 */
    size_t nkeys;
    size_t need; /* most records of late: at each trim a part less, at least those there are */
    bool plain;  /* has no index now */
} oaki_ptrtable;

void oaki_ptrtable_init(oaki_ptrtable *t, size_t record_size);

/* Room for one more record. 0 or -1 with ENOMEM. */
int oaki_ptrtable_reserve(oaki_ptrtable *t);

/* Make the index, if there is none. 0 or -1 with ENOMEM. O(records). */
int oaki_ptrtable_index(oaki_ptrtable *t);

/* From here on there is none. O(records). */
void oaki_ptrtable_unindex(oaki_ptrtable *t);

/* The owner has moved records, and left some out: all are chained anew, if there is an index.
 * O(records + slots). */
void oaki_ptrtable_rechain(oaki_ptrtable *t);

#define OAKI_PTR_FORGET 8 /* in each collection */

/* Give back what a table doesn't need, nor has of late: many are filled again and again. What was
 * needed is forgotten by this part, 1 for all. Returns for how many records it keeps room. */
size_t oaki_ptrtable_trim(oaki_ptrtable *t, size_t part);

OAKI_INLINE void *oaki_ptrtable_at(const oaki_ptrtable *t, uint32_t i)
{
    return (char *)t->records.items + (size_t)i * t->records.item;
}

/* The first record of the object that begins at obj, or OAKI_PTR_NONE. Without an index, any record
 * of it, and O(records). */
uint32_t oaki_ptrtable_first(const oaki_ptrtable *t, const void *obj);

/* The same, with an index; and where that names the object's first record, or would: until the
 * table changes, and not in a table that room was never reserved for. */
uint32_t oaki_ptrtable_look(const oaki_ptrtable *t, const void *obj, oaki_ptrslot **place);

/* A record of obj, first in its chain, at the place that was found after room was reserved for it.
 * Zero but for its link. */
uint32_t oaki_ptrtable_add_at(oaki_ptrtable *t, void *obj, oaki_ptrslot *place);

/* A record of obj, which room was reserved for: first in its chain, or behind record `after`. Zero
 * but for its link. */
uint32_t oaki_ptrtable_add(oaki_ptrtable *t, void *obj, uint32_t after);

/* Take record i out of its chain; it keeps its number. */
void oaki_ptrtable_unlink(oaki_ptrtable *t, uint32_t i);

/* Remove record i. When it was not the last one, the last one, whose number was records.len, has
 * its number now. */
void oaki_ptrtable_remove(oaki_ptrtable *t, uint32_t i);

/* The rule that is broken, or NULL. O(records + slots). */
const char *oaki_ptrtable_check(const oaki_ptrtable *t);

/* ---- the spans that such objects are in, so that oak_free of any other object looks up nothing
 * ---- */

OAKI_INLINE void oaki_special_note(const void *obj)
{
    oaki_span *s = oaki_span_of_offset(oaki_heap_offset(obj));
    s->special = 1;
    if (s->zone) AO_store(&oaki_zone_by_id(s->zone)->special, 1);
}

OAKI_INLINE bool oaki_special_possible(const void *obj)
{
    return oaki_span_of_offset(oaki_heap_offset(obj))->special != 0;
}

#endif

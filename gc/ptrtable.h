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
 * So that the stop which ends a cycle takes no longer for long tables, each record has a byte of
 * what this cycle knows of it (oaki_ptrstate): the stop passes by those that are sure, and what it
 * finds gone is only flagged, and settled once the world runs again.
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

enum oaki_ptrstate {
    /* A mark beside the program has found all marked that the record is about. */
    OAKI_PTR_SURE = 1,
    /* Its object was not: to be taken out of its chain. The place may be another's by now. */
    OAKI_PTR_GONE = 2,
    /* Nor was its handle, which is not to be touched any more: to be removed. */
    OAKI_PTR_LOST = 4
};
#define OAKI_PTR_UNSETTLED (OAKI_PTR_GONE | OAKI_PTR_LOST)

typedef struct oaki_ptrtable {
    oaki_vec records;
    uint8_t *state;   /* of each record */
    size_t nstate;    /* its room, a multiple of 8 */
    size_t unsettled; /* records that are gone or lost */
    bool sure;        /* some may be */
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

/* ---- what a cycle knows of them ---- */

OAKI_INLINE unsigned oaki_ptrtable_state(const oaki_ptrtable *t, uint32_t i)
{
    return t->state[i];
}

/* It is neither gone nor lost. */
OAKI_INLINE bool oaki_ptrtable_is_settled(const oaki_ptrtable *t, uint32_t i)
{
    return !(t->state[i] & OAKI_PTR_UNSETTLED);
}

/* The first record from `from` on that isn't sure, or records.len. */
uint32_t oaki_ptrtable_unsure(const oaki_ptrtable *t, uint32_t from);

/* Call fn for each that isn't sure, in order, and expect for it some records ahead, to prefetch
 * what fn will look at. fn adds and removes none. */
void oaki_ptrtable_each_unsure(const oaki_ptrtable *t, void (*expect)(uint32_t i),
                               void (*fn)(uint32_t i));

/* Records of all tables that these two have given, since the start. For tests. */
size_t oaki_ptrtable_looks(void);

/* Record i is not sure any more. */
OAKI_INLINE void oaki_ptrtable_doubt(oaki_ptrtable *t, uint32_t i)
{
    OAKI_ASSERT(i < t->records.len);
    t->state[i] &= (uint8_t)~OAKI_PTR_SURE;
}

/* It is gone, or lost. */
void oaki_ptrtable_flag(oaki_ptrtable *t, uint32_t i, enum oaki_ptrstate flag);
/* It was, and that is seen to. */
void oaki_ptrtable_unflag(oaki_ptrtable *t, uint32_t i);

/* Beside the program: ask of up to `most` records from `from` on that aren't sure whether they are;
 * expect is as above. Where to go on, or OAKI_PTR_NONE. */
uint32_t oaki_ptrtable_ask(oaki_ptrtable *t, uint32_t from, unsigned most,
                           void (*expect)(uint32_t i), bool (*is_sure)(uint32_t i));

/* See to some that are gone or lost, by fn, which removes or unflags record i. Is there more? In
 * the end none is sure. *from is 0 at first. */
bool oaki_ptrtable_settle(oaki_ptrtable *t, uint32_t *from, void (*fn)(uint32_t i));

/* The owner moves record `from` to number `to`, as for oaki_ptrtable_rechain. */
void oaki_ptrtable_move(oaki_ptrtable *t, uint32_t from, uint32_t to);

/* The rule that is broken, or NULL. O(records + slots). */
const char *oaki_ptrtable_check(const oaki_ptrtable *t);
/* The same when none is flagged, and none is sure, as between two cycles. */
const char *oaki_ptrtable_check_settled(const oaki_ptrtable *t);

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

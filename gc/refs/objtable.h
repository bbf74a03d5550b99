/* objtable.h - records about objects, found by the object's address.
 *
 * Finalizers, weak references and ephemerons are each a table of this kind. Records lie densely in
 * one array, so that a collection walks them in order; a hash index of 8 bytes a slot finds an
 * object's first record, and the others of the same object are chained to it. A record is named by
 * its number, which changes when the record is moved to fill a hole: whoever keeps numbers puts
 * them right after each oaki_objtable_remove.
 *
 * Who seldom asks for an object's records does without the index, and has it made when it is asked
 * for: then a record is in no chain.
 *
 * So that the stop which ends a cycle takes no longer for long tables, each record has a byte of
 * what this cycle knows of it (oaki_record_state): the stop passes by those that are sure, and what
 * it finds gone is only flagged, and settled once the world runs again.
 *
 * Lock: the owner's (finalizer_lock), or the world is stopped. Only oaki_objtable_reserve, _trim
 *   and _index allocate or free, so that all others may be called in a stop. */
#ifndef OAKI_OBJTABLE_H
#define OAKI_OBJTABLE_H

#include "runtime/heap.h"
#include "runtime/meta.h"

#define OAKI_RECORD_NONE UINT32_MAX

/* What every record begins with. */
typedef struct oaki_record {
    char *obj;           /* start of the object; NULL when the record is in no chain */
    uint32_t next, prev; /* in the chain of the object's records */
} oaki_record;

typedef struct oaki_objslot {
    uint32_t hash;
    uint32_t record; /* number + 1 of the first in the chain; 0: free */
} oaki_objslot;

enum oaki_record_state {
    /* A mark beside the program has found all marked that the record is about. */
    OAKI_RECORD_CERTAIN = 1,
    /* Its object was not: to be taken out of its chain. The place may be another's by now. */
    OAKI_RECORD_GONE = 2,
    /* Nor was its handle, which is not to be touched any more: to be removed. */
    OAKI_RECORD_LOST = 4
};
#define OAKI_RECORD_FLAGGED (OAKI_RECORD_GONE | OAKI_RECORD_LOST)

typedef struct oaki_objtable {
    oaki_vec records;
    uint8_t *state;   /* of each record */
    size_t nstate;    /* its room, a multiple of 8 */
    size_t unsettled; /* records that are gone or lost */
    bool sure;        /* some may be */
    oaki_objslot *slots;
    size_t nslots; /* a power of two, or 0 */
    size_t nkeys;
    size_t need; /* most records of late: at each trim a part less, at least those there are */
    bool plain;  /* has no index now */
} oaki_objtable;

void oaki_objtable_init(oaki_objtable *t, size_t record_size);

/* Room for one more record. 0 or -1 with ENOMEM. */
int oaki_objtable_reserve(oaki_objtable *t);

/* Make the index, if there is none. 0 or -1 with ENOMEM. O(records). */
int oaki_objtable_index(oaki_objtable *t);

/* From here on there is none. O(records). */
void oaki_objtable_unindex(oaki_objtable *t);

/* The owner has moved records, and left some out: all are chained anew, if there is an index.
 * O(records + slots). */
void oaki_objtable_rechain(oaki_objtable *t);

#define OAKI_OBJTABLE_FORGET 8 /* in each collection */

/* Give back what a table doesn't need, nor has of late: many are filled again and again. What was
 * needed is forgotten by this part, 1 for all. Returns for how many records it keeps room. */
size_t oaki_objtable_trim(oaki_objtable *t, size_t part);

OAKI_INLINE void *oaki_objtable_at(const oaki_objtable *t, uint32_t i)
{
    return (char *)t->records.items + (size_t)i * t->records.item;
}

/* The first record of the object that begins at obj, or OAKI_RECORD_NONE. Without an index, any
 * record of it, and O(records). */
uint32_t oaki_objtable_first(const oaki_objtable *t, const void *obj);

/* The same, with an index; and where that names the object's first record, or would: until the
 * table changes, and not in a table that room was never reserved for. */
uint32_t oaki_objtable_find(const oaki_objtable *t, const void *obj, oaki_objslot **place);

/* A record of obj, first in its chain, at the place that was found after room was reserved for it.
 * Zero but for its link. */
uint32_t oaki_objtable_add_at(oaki_objtable *t, void *obj, oaki_objslot *place);

/* A record of obj, which room was reserved for: first in its chain, or behind record `after`. Zero
 * but for its link. */
uint32_t oaki_objtable_add(oaki_objtable *t, void *obj, uint32_t after);

/* Take record i out of its chain; it keeps its number. */
void oaki_objtable_unlink(oaki_objtable *t, uint32_t i);

/* Remove record i. When it was not the last one, the last one, whose number was records.len, has
 * its number now. */
void oaki_objtable_remove(oaki_objtable *t, uint32_t i);

/* ---- what a cycle knows of them ---- */

OAKI_INLINE unsigned oaki_objtable_state(const oaki_objtable *t, uint32_t i)
{
    return t->state[i];
}

/* It is neither gone nor lost. */
OAKI_INLINE bool oaki_objtable_is_unflagged(const oaki_objtable *t, uint32_t i)
{
    return !(t->state[i] & OAKI_RECORD_FLAGGED);
}

/* The first record from `from` on that isn't sure, or records.len. */
uint32_t oaki_objtable_next_uncertain(const oaki_objtable *t, uint32_t from);

/* Call fn for each that isn't sure, in order, and expect for it some records ahead, to prefetch
 * what fn will look at. fn adds and removes none. */
void oaki_objtable_each_uncertain(const oaki_objtable *t, void (*expect)(uint32_t i),
                               void (*fn)(uint32_t i));

/* Records of all tables that these two have given, since the start. For tests. */
size_t oaki_objtable_visits(void);

/* Record i is not sure any more. */
OAKI_INLINE void oaki_objtable_uncertain(oaki_objtable *t, uint32_t i)
{
    OAKI_ASSERT(i < t->records.len);
    t->state[i] &= (uint8_t)~OAKI_RECORD_CERTAIN;
}

/* It is gone, or lost. */
void oaki_objtable_flag(oaki_objtable *t, uint32_t i, enum oaki_record_state flag);
/* It was, and that is seen to. */
void oaki_objtable_unflag(oaki_objtable *t, uint32_t i);

/* Beside the program: ask of up to `most` records from `from` on that aren't sure whether they are;
 * expect is as above. Where to go on, or OAKI_RECORD_NONE. */
uint32_t oaki_objtable_note_certain(oaki_objtable *t, uint32_t from, unsigned most,
                           void (*expect)(uint32_t i), bool (*is_sure)(uint32_t i));

/* See to some that are gone or lost, by fn, which removes or unflags record i. Is there more? In
 * the end none is sure. *from is 0 at first. */
bool oaki_objtable_reclaim(oaki_objtable *t, uint32_t *from, void (*fn)(uint32_t i));

/* The owner moves record `from` to number `to`, as for oaki_objtable_rechain. */
void oaki_objtable_move(oaki_objtable *t, uint32_t from, uint32_t to);

/* The rule that is broken, or NULL. O(records + slots). */
const char *oaki_objtable_check(const oaki_objtable *t);
/* The same when none is flagged, and none is sure, as between two cycles. */
const char *oaki_objtable_check_settled(const oaki_objtable *t);

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

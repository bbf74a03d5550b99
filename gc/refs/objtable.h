/* objtable.h - records about objects, found by the object's address.
 *
 * Each kind of reference (tables.h) and the deferred frees are a table of this kind. Records lie
 * densely in one array, so that a collection walks them in order. A hash index of 8 bytes a slot
 * finds an object's first record; further records of the same object are chained to it. A record's
 * name is its number. The number changes when the record is moved to fill a hole, so a holder of
 * numbers corrects them after each oaki_objtable_remove.
 *
 * A table that is rarely searched by object has no index until a search needs it. Without an
 * index a record is in no chain.
 *
 * Long tables must not lengthen the final pause. So each record has a byte for what this cycle
 * knows of it (oaki_record_state). The pause skips certain records. Dead records are only
 * flagged there, and reclaimed once the world runs again.
 *
 * Lock: `owner`, or the world is stopped. Only oaki_objtable_reserve, _trim
 * and _index allocate or free, so all others may be called in a pause. */
#ifndef OAKI_OBJTABLE_H
#define OAKI_OBJTABLE_H

#include "runtime/contract.h"
#include "runtime/heap.h"
#include "runtime/meta.h"

#define OAKI_RECORD_NONE UINT32_MAX

/* The first member of every record. */
typedef struct oaki_record {
    char *obj;           /* start of the object; NULL: the record is in no chain */
    uint32_t next, prev; /* in the chain of the object's records */
} oaki_record;

typedef struct oaki_objslot {
    uint32_t hash;
    uint32_t record; /* number + 1 of the first in the chain; 0: free */
} oaki_objslot;

enum oaki_record_state {
    /* A concurrent mark has found all objects of the record marked. */
    OAKI_RECORD_CERTAIN = 1,
    /* Its object is dead: it is to be unlinked. The object's place may hold another one by now. */
    OAKI_RECORD_GONE = 2,
    /* Its handle is dead too, and must not be touched: it is to be removed. */
    OAKI_RECORD_LOST = 4
};
#define OAKI_RECORD_FLAGGED (OAKI_RECORD_GONE | OAKI_RECORD_LOST)

typedef struct oaki_objtable {
    const oaki_lock *owner; /* guards the table while the world runs */
    oaki_vec records;
    uint8_t *state;   /* of each record */
    size_t nstate;    /* its room, a multiple of 8 */
    size_t flagged;   /* flagged records, still to be reclaimed */
    bool has_certain; /* some records may be certain */
    oaki_objslot *slots;
    size_t nslots; /* a power of two, or 0 */
    size_t nkeys;
    /* most records lately: each trim lowers it by a part, at most to the current number */
    size_t need;
    bool plain;  /* there is no index now */
} oaki_objtable;

void oaki_objtable_init(oaki_objtable *t, size_t record_size, const oaki_lock *owner);

/* Makes room for one more record. 0 or -1 with ENOMEM. */
int oaki_objtable_reserve(oaki_objtable *t);

/* Makes the index, if there is none. 0 or -1 with ENOMEM. O(records). */
int oaki_objtable_index(oaki_objtable *t);

/* Drops the index. O(records). */
void oaki_objtable_unindex(oaki_objtable *t);

/* The owner has moved records, and left some out: chains all anew, if there is an index.
 * O(records + slots). */
void oaki_objtable_rechain(oaki_objtable *t);

/* Returns memory that the table doesn't need, and hasn't needed lately, as many tables are
 * filled again and again. Lowers the remembered need by 1/part; 1 forgets it all. Returns the
 * number of records that the table keeps room for. */
size_t oaki_objtable_trim(oaki_objtable *t, size_t part);

OAKI_INLINE void *oaki_objtable_at(const oaki_objtable *t, uint32_t i)
{
    return (char *)t->records.items + (size_t)i * t->records.item;
}

/* The first record of the object that begins at obj, or OAKI_RECORD_NONE. Without an index: any
 * record of it, and O(records). */
uint32_t oaki_objtable_first(const oaki_objtable *t, const void *obj);

/* As oaki_objtable_first, with an index. *place is the index slot that names the object's first
 * record, or would. It is valid until the table changes, and not set in a table that never had
 * room reserved. */
uint32_t oaki_objtable_find(const oaki_objtable *t, const void *obj, oaki_objslot **place);

/* Adds a record of obj, first in its chain, at the place found after room was reserved for it.
 * Zero except for its link. */
uint32_t oaki_objtable_add_at(oaki_objtable *t, void *obj, oaki_objslot *place);

/* Adds a record of obj, after room was reserved for it: first in its chain, or after record
 * `after`. Zero except for its link. */
uint32_t oaki_objtable_add(oaki_objtable *t, void *obj, uint32_t after);

/* Takes record i out of its chain; it keeps its number. */
void oaki_objtable_unlink(oaki_objtable *t, uint32_t i);

/* Removes record i. Unless it was the last one, the last one gets its number; its old number was
 * the value that records.len has now. */
void oaki_objtable_remove(oaki_objtable *t, uint32_t i);

/* ---- what the current cycle knows of a record ---- */

OAKI_INLINE unsigned oaki_objtable_state(const oaki_objtable *t, uint32_t i)
{
    return t->state[i];
}

/* It is not flagged. */
OAKI_INLINE bool oaki_objtable_is_unflagged(const oaki_objtable *t, uint32_t i)
{
    return !(t->state[i] & OAKI_RECORD_FLAGGED);
}

/* The first record from `from` on that isn't certain, or records.len. */
uint32_t oaki_objtable_next_uncertain(const oaki_objtable *t, uint32_t from);

/* Called for record i, with the caller's context. */
typedef void oaki_objtable_fn(void *ctx, uint32_t i);

/* Calls fn for each record that isn't certain, in order. Calls expect for it some records ahead,
 * to prefetch data that fn reads. fn adds and removes none. */
void oaki_objtable_each_uncertain(const oaki_objtable *t, oaki_objtable_fn *expect,
                                  oaki_objtable_fn *fn, void *ctx);

/* Records that these two have returned, of all tables, since the start. For tests. */
size_t oaki_objtable_visits(void);

/* Record i is no longer certain. */
OAKI_INLINE void oaki_objtable_uncertain(oaki_objtable *t, uint32_t i)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    OAKI_ASSERT(i < t->records.len);
    t->state[i] &= (uint8_t)~OAKI_RECORD_CERTAIN;
}

/* Flags record i. */
void oaki_objtable_flag(oaki_objtable *t, uint32_t i, enum oaki_record_state flag);
/* Record i's flags have been handled. */
void oaki_objtable_unflag(oaki_objtable *t, uint32_t i);

/* During a concurrent mark: calls is_certain for up to `most` records from `from` on that aren't
 * certain; those for which it returns true become certain. expect is as above. Returns the
 * number to go on from, or OAKI_RECORD_NONE. */
uint32_t oaki_objtable_note_certain(oaki_objtable *t, uint32_t from, unsigned most,
                                    oaki_objtable_fn *expect,
                                    bool (*is_certain)(void *ctx, uint32_t i), void *ctx);

/* Reclaims some flagged records by fn, which removes or unflags record i. Is there more? At the
 * end no record is certain. *from is 0 at first. */
bool oaki_objtable_reclaim(oaki_objtable *t, uint32_t *from, void (*fn)(uint32_t i));

/* The owner moves record `from` to number `to`, before oaki_objtable_rechain. */
void oaki_objtable_move(oaki_objtable *t, uint32_t from, uint32_t to);

/* The rule that is broken, or NULL. O(records + slots). */
const char *oaki_objtable_check(const oaki_objtable *t);
/* The same when no record is flagged or certain, as between two cycles. */
const char *oaki_objtable_check_at_rest(const oaki_objtable *t);

/* ---- spans with such objects, so that oak_free of any other object needs no lookup ---- */

OAKI_INLINE void oaki_special_note_zone(uint32_t zone)
{
    if (zone) AO_store(&oaki_zone_by_id(zone)->special, 1);
}

OAKI_INLINE void oaki_special_note(const void *obj)
{
    oaki_span *s = oaki_span_of_offset(oaki_heap_offset(obj));
    s->special = 1;
    oaki_special_note_zone(s->zone);
}

/* The same of a context or a value, which may be anything: the end of its zone is to be noticed. */
OAKI_INLINE void oaki_special_note_any(const void *p)
{
    oaki_special_note_zone(oaki_zone_id_of(p));
}

OAKI_INLINE bool oaki_special_possible(const void *obj)
{
    return oaki_span_of_offset(oaki_heap_offset(obj))->special != 0;
}

#endif

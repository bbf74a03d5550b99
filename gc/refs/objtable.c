/* objtable.c - records about objects, found by the object's address.
 *
 * Invariants: an object has a slot when it has a record in a chain; that slot names the chain's
 *   first record, whose prev is OAKI_RECORD_NONE. The index is probed linearly and holds no
 *   tombstones: removal shifts back what follows (Knuth, volume 3, 6.4, algorithm R). At most 3/4
 *   of the slots are taken. In a plain table no slot is taken.
 * Lock: `owner`. Bound: O(1) expected. Reserve and trim are O(slots); index, unindex, and first in
 *   a plain table are O(records). Eight records passed by for their states take one step. */
#include "objtable.h"

#include "gc/collector.h"
#include "gc/tuning.h"
#include "runtime/contract.h"
#include <errno.h>
#include <string.h>

#define MIN_SLOTS 64
#define MIN_RECORDS 32

static oaki_record *link_at(const oaki_objtable *t, uint32_t i)
{
    return oaki_objtable_at(t, i);
}

static uint32_t hash_of(const void *obj)
{
    return (uint32_t)(((uintptr_t)obj >> OAKI_GRANULE_SHIFT) * 0x9e3779b97f4a7c15u >> 32);
}

OAKI_AT_START void oaki_objtable_init(oaki_objtable *t, size_t record_size, const oaki_lock *owner)
{
    *t = (oaki_objtable){ .owner = owner };
    oaki_vec_init(&t->records, record_size, OAKI_META_OTHER);
}

/* ---- the index ---- */

/* The slot of obj, or the free one where it would go. The index is not empty. */
static oaki_objslot *slot_of(const oaki_objtable *t, const void *obj)
{
    uint32_t hash = hash_of(obj);
    for (size_t i = hash;; i++) {
        oaki_objslot *s = &t->slots[i & (t->nslots - 1)];
        if (s->record == 0 || (s->hash == hash && link_at(t, s->record - 1)->obj == obj)) return s;
    }
}

static void slot_clear(oaki_objtable *t, oaki_objslot *s)
{
    size_t mask = t->nslots - 1, hole = (size_t)(s - t->slots);
    for (size_t i = (hole + 1) & mask; t->slots[i].record != 0; i = (i + 1) & mask) {
        /* it may move to the hole unless its home lies behind the hole */
        if (((i - t->slots[i].hash) & mask) < ((i - hole) & mask)) continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    OAKI_INVARIANT(t->nkeys > 0, "more slots of a table of objects are freed than were taken");
    t->slots[hole].record = 0;
    t->nkeys--;
}

static int resize(oaki_objtable *t, size_t n)
{
    OAKI_ASSERT((n & (n - 1)) == 0 && t->nkeys * 4 <= n * 3);
    oaki_objslot *slots = oaki_meta_zalloc(n * sizeof *slots, t->records.use);
    if (!slots) return -1;
    for (size_t i = 0; i < t->nslots; i++) {
        if (t->slots[i].record == 0) continue;
        size_t j = t->slots[i].hash & (n - 1);
        while (slots[j].record != 0) j = (j + 1) & (n - 1);
        slots[j] = t->slots[i];
    }
    oaki_meta_free(t->slots, t->nslots * sizeof *slots, t->records.use);
    t->slots = slots;
    t->nslots = n;
    return 0;
}

static int resize_states(oaki_objtable *t, size_t n)
{
    n = OAKI_ALIGN_UP(n, sizeof(uint64_t));
    uint8_t *p = oaki_meta_realloc(t->state, t->nstate, n, t->records.use);
    if (!p) return -1;
    t->state = p;
    t->nstate = n;
    return 0;
}

int oaki_objtable_reserve(oaki_objtable *t)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    oaki_vec *v = &t->records;
    if ((v->len == v->cap && oaki_vec_reserve(v, v->cap ? v->cap * 2 : MIN_RECORDS) != 0) ||
        (v->cap > t->nstate && resize_states(t, v->cap) != 0) || v->len >= OAKI_RECORD_NONE - 1 ||
        (!t->plain && (t->nkeys + 1) * 4 > t->nslots * 3 &&
         resize(t, t->nslots ? t->nslots * 2 : MIN_SLOTS) != 0)) {
        errno = ENOMEM;
        return -1;
    }
    t->need = OAKI_MAX(t->need, v->len + 1);
    return 0;
}

/* Record i becomes the first of its object's chain, whose slot this is. */
static void chain_at(oaki_objtable *t, uint32_t i, oaki_objslot *s)
{
    oaki_record *l = link_at(t, i);
    OAKI_ASSERT(s == slot_of(t, l->obj)); /* nothing was added since it was looked up */
    l->next = s->record != 0 ? s->record - 1 : OAKI_RECORD_NONE;
    l->prev = OAKI_RECORD_NONE;
    if (s->record == 0) t->nkeys++;
    else link_at(t, l->next)->prev = i;
    *s = (oaki_objslot){ .hash = hash_of(l->obj), .record = i + 1 };
}

/* There is a free slot. */
static void chain_first(oaki_objtable *t, uint32_t i)
{
    chain_at(t, i, slot_of(t, link_at(t, i)->obj));
}

int oaki_objtable_index(oaki_objtable *t)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    size_t n = OAKI_MAX(t->nslots, (size_t)MIN_SLOTS);
    if (!t->plain) return 0;
    while ((t->records.len + 1) * 4 > n * 3) n *= 2;
    if (n > t->nslots && resize(t, n) != 0) {
        errno = ENOMEM;
        return -1;
    }
    t->plain = false;
    oaki_objtable_rechain(t);
    return 0;
}

void oaki_objtable_rechain(oaki_objtable *t)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    if (t->plain) return;
    memset(t->slots, 0, t->nslots * sizeof *t->slots);
    t->nkeys = 0;
    for (uint32_t i = 0; i < t->records.len; i++)
        if (link_at(t, i)->obj) chain_first(t, i);
}

OAKI_AT_START void oaki_objtable_unindex(oaki_objtable *t)
{
    OAKI_REQUIRES_LOCK_OR_STARTING(t->owner);
    if (t->plain) return;
    if (t->nslots > 0) memset(t->slots, 0, t->nslots * sizeof *t->slots);
    t->nkeys = 0;
    t->plain = true;
    for (uint32_t i = 0; i < t->records.len; i++)
        link_at(t, i)->next = link_at(t, i)->prev = OAKI_RECORD_NONE;
}

size_t oaki_objtable_trim(oaki_objtable *t, size_t part)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    oaki_vec *v = &t->records;
    size_t need = t->need;
    t->need = OAKI_MAX(need - need / part, v->len);
    if (v->cap > MIN_RECORDS && need < v->cap / 8) {
        size_t cap = OAKI_MAX(need * 2, (size_t)MIN_RECORDS);
        void *items = oaki_meta_realloc(v->items, v->cap * v->item, cap * v->item, v->use);
        if (items) {
            v->items = items;
            v->cap = cap;
            (void)resize_states(t, cap); /* without memory it stays as it was */
        }
    }
    size_t n = t->nslots;
    while (n > MIN_SLOTS && need < n / 8) n /= 2;
    if (n < t->nslots) (void)resize(t, n); /* without memory it stays as it was */
    return need;
}

/* ---- records ---- */

uint32_t oaki_objtable_find(const oaki_objtable *t, const void *obj, oaki_objslot **place)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    OAKI_INVARIANT(!t->plain, "a place without an index");
    if (t->nslots == 0) return OAKI_RECORD_NONE;
    *place = slot_of(t, obj);
    return (*place)->record != 0 ? (*place)->record - 1 : OAKI_RECORD_NONE;
}

uint32_t oaki_objtable_first(const oaki_objtable *t, const void *obj)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    for (uint32_t i = 0; t->plain && i < t->records.len; i++)
        if (link_at(t, i)->obj == obj) return i;
    oaki_objslot *place;
    return t->nkeys > 0 ? oaki_objtable_find(t, obj, &place) : OAKI_RECORD_NONE;
}

static uint32_t append(oaki_objtable *t, void *obj)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    OAKI_INVARIANT(t->records.len < t->records.cap && (t->plain || t->nkeys < t->nslots),
                   "a record without room");
    uint32_t i = (uint32_t)t->records.len++;
    oaki_record *l = link_at(t, i);
    t->state[i] = 0;
    memset(l, 0, t->records.item);
    *l = (oaki_record){ .obj = obj, .next = OAKI_RECORD_NONE, .prev = OAKI_RECORD_NONE };
    return i;
}

uint32_t oaki_objtable_add_at(oaki_objtable *t, void *obj, oaki_objslot *place)
{
    uint32_t i = append(t, obj);
    chain_at(t, i, place);
    return i;
}

uint32_t oaki_objtable_add(oaki_objtable *t, void *obj, uint32_t after)
{
    uint32_t i = append(t, obj);
    oaki_record *l = link_at(t, i);
    if (t->plain) return i;
    if (after == OAKI_RECORD_NONE) {
        chain_first(t, i);
        return i;
    }
    OAKI_ASSERT(link_at(t, after)->obj == obj);
    l->prev = after;
    l->next = link_at(t, after)->next;
    link_at(t, after)->next = i;
    if (l->next != OAKI_RECORD_NONE) link_at(t, l->next)->prev = i;
    return i;
}

void oaki_objtable_unlink(oaki_objtable *t, uint32_t i)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    oaki_record *l = link_at(t, i);
    OAKI_ASSERT(i < t->records.len);
    if (t->plain) l->obj = NULL;
    if (!l->obj) return;
    if (l->prev != OAKI_RECORD_NONE) {
        link_at(t, l->prev)->next = l->next;
    } else {
        oaki_objslot *s = slot_of(t, l->obj);
        OAKI_ASSERT(s->record == i + 1);
        if (l->next != OAKI_RECORD_NONE)
            s->record = l->next + 1;
        else
            slot_clear(t, s);
    }
    if (l->next != OAKI_RECORD_NONE) link_at(t, l->next)->prev = l->prev;
    l->obj = NULL;
    l->next = l->prev = OAKI_RECORD_NONE;
}

void oaki_objtable_remove(oaki_objtable *t, uint32_t i)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    oaki_objtable_unlink(t, i);
    oaki_objtable_unflag(t, i);
    uint32_t last = (uint32_t)--t->records.len;
    if (i == last) return;
    t->state[i] = t->state[last];
    oaki_record *l = link_at(t, last);
    if (l->obj && !t->plain) {
        if (l->prev != OAKI_RECORD_NONE)
            link_at(t, l->prev)->next = i;
        else
            slot_of(t, l->obj)->record = i + 1;
        if (l->next != OAKI_RECORD_NONE) link_at(t, l->next)->prev = i;
    }
    memcpy(link_at(t, i), l, t->records.item);
}

/* ---- what a cycle knows of them ---- */

#define EACH_BYTE ((uint64_t)0x0101010101010101)

/* The first from `from` on one of whose bits `mask` differs from `bits`, or records.len.
 * Bytes of a word behind the last record are ignored. */
static uint32_t find_other(const oaki_objtable *t, uint32_t from, unsigned mask, unsigned bits)
{
    uint32_t i = from, n = (uint32_t)t->records.len;
    for (; i < n && i % sizeof(uint64_t) != 0; i++)
        if ((t->state[i] ^ bits) & mask) return i;
    for (; i < n; i += (uint32_t)sizeof(uint64_t)) {
        uint64_t w;
        memcpy(&w, t->state + i, sizeof w);
        w = (w ^ EACH_BYTE * bits) & (EACH_BYTE * mask);
        if (w) return OAKI_MIN(i + oaki_ctz(w) / 8, n);
    }
    return n;
}

uint32_t oaki_objtable_next_uncertain(const oaki_objtable *t, uint32_t from)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    uint32_t i = find_other(t, from, OAKI_RECORD_CERTAIN, OAKI_RECORD_CERTAIN);
    oaki_gc.debug.visits += i < t->records.len;
    return i;
}

size_t oaki_objtable_visits(void)
{
    return oaki_gc.debug.visits;
}

void oaki_objtable_each_uncertain(const oaki_objtable *t, oaki_objtable_fn *expect,
                                  oaki_objtable_fn *fn, void *ctx)
{
    uint32_t ring[2 * OAKI_TUNE_FETCHED], found = 0, expected = 0, done = 0;
    uint32_t len = (uint32_t)t->records.len;
    uint32_t i = oaki_objtable_next_uncertain(t, 0);
    while (i < len || done < found) {
        if (i < len) {
            __builtin_prefetch(link_at(t, i));
            ring[found++ % (2 * OAKI_TUNE_FETCHED)] = i;
            i = oaki_objtable_next_uncertain(t, i + 1);
        }
        if (found - expected == OAKI_TUNE_FETCHED || (i >= len && expected < found))
            expect(ctx, ring[expected++ % (2 * OAKI_TUNE_FETCHED)]);
        if (expected - done == OAKI_TUNE_FETCHED || (i >= len && expected == found))
            fn(ctx, ring[done++ % (2 * OAKI_TUNE_FETCHED)]);
    }
}

void oaki_objtable_flag(oaki_objtable *t, uint32_t i, enum oaki_record_state flag)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    OAKI_ASSERT(i < t->records.len && !(t->state[i] & OAKI_RECORD_CERTAIN));
    if (!(t->state[i] & OAKI_RECORD_FLAGGED)) t->flagged++;
    t->state[i] |= (uint8_t)flag;
}

void oaki_objtable_unflag(oaki_objtable *t, uint32_t i)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    OAKI_ASSERT(!(t->state[i] & OAKI_RECORD_FLAGGED) || t->flagged > 0);
    if (t->state[i] & OAKI_RECORD_FLAGGED) t->flagged--;
    t->state[i] &= (uint8_t)~OAKI_RECORD_FLAGGED;
}

uint32_t oaki_objtable_note_certain(oaki_objtable *t, uint32_t from, unsigned most,
                                    oaki_objtable_fn *expect,
                                    bool (*is_certain)(void *ctx, uint32_t i), void *ctx)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    uint32_t i = from;
    for (unsigned n = 0; n < most; n++, i++, oaki_gc.debug.noted++) {
        i = find_other(t, i, OAKI_RECORD_CERTAIN, OAKI_RECORD_CERTAIN);
        if (i >= t->records.len) return OAKI_RECORD_NONE;
        if (i + OAKI_TUNE_FETCHED < t->records.len) expect(ctx, i + OAKI_TUNE_FETCHED);
        if (!is_certain(ctx, i)) continue;
        t->state[i] |= OAKI_RECORD_CERTAIN;
        t->has_certain = true;
    }
    return i;
}

/* One that has been moved to before *from is found when it begins again. */
bool oaki_objtable_reclaim(oaki_objtable *t, uint32_t *from, void (*fn)(uint32_t i))
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    for (unsigned n = 0; n < OAKI_TUNE_RECLAIMED && t->flagged > 0; n++) {
        uint32_t i = find_other(t, *from, OAKI_RECORD_FLAGGED, 0);
        OAKI_INVARIANT(i < t->records.len || *from > 0, "a flagged record of a table is not found");
        *from = i < t->records.len ? i : 0;
        if (i < t->records.len) fn(i);
    }
    if (t->flagged > 0) return true;
    if (t->has_certain) memset(t->state, 0, t->records.len);
    t->has_certain = false;
    return false;
}

void oaki_objtable_move(oaki_objtable *t, uint32_t from, uint32_t to)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(t->owner);
    OAKI_ASSERT(to <= from && from < t->records.len);
    memmove(link_at(t, to), link_at(t, from), t->records.item);
    t->state[to] = t->state[from];
}

const char *oaki_objtable_check_at_rest(const oaki_objtable *t)
{
    if (t->flagged > 0) return "objtable: no record is flagged between two cycles";
    if (find_other(t, 0, OAKI_RECORD_CERTAIN, 0) < t->records.len || t->has_certain)
        return "objtable: no record is certain between two cycles";
    return oaki_objtable_check(t);
}

const char *oaki_objtable_check(const oaki_objtable *t)
{
    if (t->records.len > t->records.cap) return "objtable: each record has room";
    size_t keys = 0, chained = 0, linked = 0, flagged = 0;
    for (uint32_t i = 0; i < t->records.len; i++) {
        const oaki_record *l = link_at(t, i);
        bool chains = l->next != OAKI_RECORD_NONE || l->prev != OAKI_RECORD_NONE;
        linked += l->obj != NULL && !t->plain;
        flagged += (t->state[i] & OAKI_RECORD_FLAGGED) != 0;
        if (t->plain && chains) return "objtable: without an index there are no chains";
    }
    if (flagged != t->flagged) return "objtable: flagged == records with a flag";
    if (t->nstate < t->records.len) return "objtable: each record has room for its state";
    for (size_t i = 0; i < t->nslots; i++) {
        if (t->slots[i].record == 0) continue;
        keys++;
        const char *obj = link_at(t, t->slots[i].record - 1)->obj;
        if (!obj) return "objtable: a slot's record has an object";
        if (slot_of(t, obj) != &t->slots[i]) return "objtable: a slot is found by its object";
        uint32_t prev = OAKI_RECORD_NONE;
        for (uint32_t r = t->slots[i].record - 1; r != OAKI_RECORD_NONE; r = link_at(t, r)->next) {
            if (r >= t->records.len) return "objtable: record numbers < records.len";
            if (link_at(t, r)->obj != obj) return "objtable: a chain is of one object";
            if (link_at(t, r)->prev != prev) return "objtable: prev is the one before";
            if (chained++ > linked) return "objtable: chains end";
            prev = r;
        }
    }
    if (keys != t->nkeys) return "objtable: nkeys == slots in use";
    if (chained != linked) return "objtable: records with an object == records in chains";
    if (t->nkeys * 4 > t->nslots * 3) return "objtable: a quarter of the slots is free";
    return NULL;
}

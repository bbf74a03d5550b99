/* link.c - links: words of the program's that are cleared when their object is dead.
 *
 * Owns: for each sort a table of links by object (objtable.h), and an index of its records by the
 *   address of the link. Only oak_free looks up an object's links. The table gets its index by
 *   object when oak_free first looks up one near a link.
 *
 * Invariants: every record has exactly one place in the index. The index is probed linearly, has
 *   no tombstones, and at most 3/4 of it are taken. The spans of a link's object, and of the object
 *   that the link lies in, are noted as linked, so that oak_free looks here. A record's object is
 *   the start of a live object, or outside the heap. Its holder, if the link lies in the heap, was
 *   alive at the end of the last collection, or was allocated since.
 * Lock: finalizer_lock, or the world is stopped.
 * Bound: O(1) expected for each link; O(links) once, for the index by object. A collection examines
 *   each link: in its final pause, only links that a concurrent mark has not found certain. Dead
 *   links take time of their own. */
#include "link.h"

#include "gc/contract.h"
#include "gc/tuning.h"
#include "objtable.h"
#include "tables.h"

#include <errno.h>
#include <string.h>

#define MIN_PLACES 64

typedef struct record {
    oaki_record object;
    void **link;
} record;

typedef struct sort {
    oaki_objtable table;
    oaki_objslot *place;
    size_t nplaces; /* a power of two, or 0 */
} sort;

static sort sorts[2]; /* short, long */

static record *at(const sort *s, uint32_t i)
{
    return oaki_objtable_at(&s->table, i);
}

static bool in_heap(const void *p)
{
    return oaki_heap_contains(p);
}

/* ---- the index ---- */

static uint32_t hash_of(void **link)
{
    return (uint32_t)(((uintptr_t)link >> 3) * 0x9e3779b97f4a7c15u >> 32);
}

/* The place of the link's record, or the free one where it would be. There is a free one. */
static oaki_objslot *place_of(const sort *s, void **link)
{
    uint32_t hash = hash_of(link);
    for (size_t i = hash;; i++) {
        oaki_objslot *p = &s->place[i & (s->nplaces - 1)];
        if (p->record == 0 || (p->hash == hash && at(s, p->record - 1)->link == link)) return p;
    }
}

/* Number of the link's record, or OAKI_RECORD_NONE. */
static uint32_t find(const sort *s, void **link)
{
    return s->nplaces > 0 ? place_of(s, link)->record - 1 : OAKI_RECORD_NONE;
}

static void place_set(oaki_objslot *p, void **link, uint32_t i)
{
    *p = (oaki_objslot){ .hash = hash_of(link), .record = i + 1 };
}

static void place_expect(const sort *s, void **link)
{
    if (s->nplaces > 0) __builtin_prefetch(&s->place[hash_of(link) & (s->nplaces - 1)], 1);
}

/* All records anew. There are no more than there were. */
static void place_all(sort *s)
{
    memset(s->place, 0, s->nplaces * sizeof *s->place);
    for (uint32_t i = 0, n = (uint32_t)s->table.records.len; i < n; i++) {
        if (i + OAKI_TUNE_FETCHED < n) place_expect(s, at(s, i + OAKI_TUNE_FETCHED)->link);
        place_set(place_of(s, at(s, i)->link), at(s, i)->link, i);
    }
}

static void place_clear(sort *s, void **link)
{
    size_t mask = s->nplaces - 1, hole = (size_t)(place_of(s, link) - s->place);
    OAKI_INVARIANT(s->place[hole].record != 0, "a link has no place in the index");
    for (size_t i = (hole + 1) & mask; s->place[i].record != 0; i = (i + 1) & mask) {
        /* it may move to the hole unless its home lies behind the hole */
        if (((i - s->place[i].hash) & mask) < ((i - hole) & mask)) continue;
        s->place[hole] = s->place[i];
        hole = i;
    }
    s->place[hole].record = 0;
}

static int resize(sort *s, size_t n)
{
    OAKI_ASSERT((n & (n - 1)) == 0 && s->table.records.len * 4 <= n * 3);
    oaki_objslot *fresh = oaki_meta_zalloc(n * sizeof *fresh, OAKI_META_OTHER);
    if (!fresh) return -1;
    for (size_t i = 0; i < s->nplaces; i++) {
        if (s->place[i].record == 0) continue;
        size_t j = s->place[i].hash & (n - 1);
        while (fresh[j].record != 0) j = (j + 1) & (n - 1);
        fresh[j] = s->place[i];
    }
    oaki_meta_free(s->place, s->nplaces * sizeof *fresh, OAKI_META_OTHER);
    s->place = fresh;
    s->nplaces = n;
    return 0;
}

static int reserve(sort *s)
{
    if (oaki_objtable_reserve(&s->table) != 0) return -1;
    if ((s->table.records.len + 1) * 4 <= s->nplaces * 3) return 0;
    if (resize(s, s->nplaces ? s->nplaces * 2 : MIN_PLACES) == 0) return 0;
    errno = ENOMEM;
    return -1;
}

/* ---- records ---- */

/* oak_free asks here for the objects of spans that are noted. */
static void note(const void *p)
{
    if (!in_heap(p)) return;
    size_t off = oaki_heap_offset(p);
    if ((oaki_the_heap.pte[off >> OAKI_PAGE_SHIFT] & OAKI_PTE_CLASS) == 0) return;
    oaki_special_note(p);
    oaki_span_of_offset(off)->linked = 1;
}

/* Its place is p. */
static void record_add(sort *s, oaki_objslot *p, void **link, char *obj)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_ASSERT(p->record == 0 && p == place_of(s, link));
    uint32_t i = oaki_objtable_add(&s->table, obj, OAKI_RECORD_NONE);
    at(s, i)->link = link;
    place_set(p, link, i);
    note(obj);
    note(link);
}

static void record_remove(sort *s, uint32_t i)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    uint32_t last = (uint32_t)s->table.records.len - 1;
    place_clear(s, at(s, i)->link);
    if (i != last) place_of(s, at(s, last)->link)->record = i + 1;
    oaki_objtable_remove(&s->table, i);
}

static void record_clear(sort *s, uint32_t i)
{
    AO_store((AO_t *)at(s, i)->link, 0);
    record_remove(s, i);
}

/* ---- for everybody ---- */

static oaki_thread *lock(void)
{
    oaki_thread *t = oaki_enter();
    if (t) oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    return t;
}

static void unlock(oaki_thread *t)
{
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
}

int oaki_link_add(void **link, const void *obj, bool is_long)
{
    sort *s = &sorts[is_long];
    oaki_thread *t = lock();
    if (!t) return -1;
    place_expect(s, link);
    char *start = in_heap(obj) ? oaki_object_base(obj) : (char *)(uintptr_t)obj;
    if (!start) oak_fatal("oakum: a link to %p, which is not in a live object", obj);
    int result = reserve(s);
    if (result == 0) {
        oaki_objslot *p = place_of(s, link);
        result = p->record != 0;
        if (result) {
            record_remove(s, p->record - 1);
            p = place_of(s, link);
        }
        record_add(s, p, link, start);
    }
    unlock(t);
    return result;
}

bool oaki_link_remove(void **link, bool is_long)
{
    sort *s = &sorts[is_long];
    oaki_thread *t = lock();
    if (!t) return false;
    uint32_t i = find(s, link);
    if (i != OAKI_RECORD_NONE) record_remove(s, i);
    unlock(t);
    return i != OAKI_RECORD_NONE;
}

/* 0, 1 or -1 as oaki_link_move. */
static int move(sort *s, void **from, void **to)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    uint32_t i = find(s, from);
    if (i == OAKI_RECORD_NONE) return -1;
    if (from == to) return 0;
    if (find(s, to) != OAKI_RECORD_NONE) return 1;
    place_clear(s, from);
    oaki_objtable_uncertain(&s->table, i);
    at(s, i)->link = to;
    place_set(place_of(s, to), to, i);
    note(to);
    return 0;
}

int oaki_link_move(void **from, void **to, bool is_long)
{
    oaki_thread *t = lock();
    if (!t) return -1;
    int result = move(&sorts[is_long], from, to);
    unlock(t);
    return result;
}

size_t oaki_link_count(bool is_long)
{
    OAKI_ASSERT(oaki_lock_is_mine(&oaki_the_heap.finalizer_lock) || oaki_world_stopped());
    return sorts[is_long].table.records.len;
}

/* ---- in a collection ---- */

static bool object_gone(const record *r)
{
    return in_heap(r->object.obj) && !oaki_mark_get(oaki_heap_offset(r->object.obj));
}

OAKI_INLINE void object_expect(const sort *s, uint32_t i)
{
    if (in_heap(at(s, i)->object.obj)) oaki_mark_fetch(at(s, i)->object.obj);
}

/* The object that the last link lay in: links of a table lie in the same one. */
typedef struct holder {
    size_t slot, size;
    bool gone;
} holder;

static bool holder_gone(const record *r, holder *h)
{
    if (!in_heap(r->link)) return false;
    size_t off = oaki_heap_offset(r->link);
    if (off - h->slot < h->size) return h->gone;
    size_t slot = oaki_slot_offset(off);
    if (slot == SIZE_MAX) return false;
    *h = (holder){ slot, oaki_object_size(slot), !oaki_mark_get(slot) };
    return h->gone;
}

/* Of record i: its object, whose mark is fetched ahead for a later record; or, if h, its holder. */
OAKI_INLINE bool is_gone(const sort *s, uint32_t i, holder *h)
{
    if (h) return holder_gone(at(s, i), h);
    if (i + OAKI_TUNE_FETCHED < s->table.records.len) object_expect(s, i + OAKI_TUNE_FETCHED);
    return object_gone(at(s, i));
}

OAKI_INLINE size_t count_gone(sort *s, holder *h)
{
    size_t found = 0;
    for (uint32_t i = oaki_objtable_next_uncertain(&s->table, 0); i < s->table.records.len;
         i = oaki_objtable_next_uncertain(&s->table, i + 1))
        found += is_gone(s, i, h);
    return found;
}

static bool is_certain(const sort *s, uint32_t i)
{
    return oaki_objtable_state(&s->table, i) & OAKI_RECORD_CERTAIN;
}

/* The records that stay move together. */
OAKI_INLINE void keep_others(sort *s, holder *h, size_t gone)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->table.records.len; i++)
        if (is_certain(s, i) || !is_gone(s, i, h)) oaki_objtable_move(&s->table, i, kept++);
        else if (!h) AO_store((AO_t *)at(s, i)->link, 0);
    OAKI_INVARIANT(kept + gone == s->table.records.len, "a link came back in a pause");
    s->table.records.len = kept;
    place_all(s);
    oaki_objtable_rechain(&s->table);
}

/* Links in dead holders; or, without h, those to dead objects, which are cleared. */
OAKI_INLINE void drop(sort *s, holder *h)
{
    size_t left = count_gone(s, h);
    if (left > s->table.records.len / OAKI_TUNE_LINKS_DEAD) {
        keep_others(s, h, left);
        return;
    }
    for (uint32_t i = 0; left > 0;) {
        i = oaki_objtable_next_uncertain(&s->table, i);
        OAKI_INVARIANT(i < s->table.records.len, "a link that has gone is not found");
        if (!is_gone(s, i, h)) {
            i++;
            continue;
        }
        if (h) record_remove(s, i);
        else record_clear(s, i);
        left--;
    }
}

/* A quantum of records of one sort. The last holder is known within it alone: its place may be
 * another object's later. */
typedef struct quantum {
    const sort *sort;
    holder holder;
} quantum;

static void expect_object(void *ctx, uint32_t i)
{
    const quantum *q = ctx;
    object_expect(q->sort, i);
}

static bool both_there(void *ctx, uint32_t i)
{
    quantum *q = ctx;
    const record *r = at(q->sort, i);
    return !object_gone(r) && !holder_gone(r, &q->holder);
}

static uint32_t note_certain(sort *s, uint32_t from, unsigned most)
{
    quantum q = { .sort = s };
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    return oaki_objtable_note_certain(&s->table, from, most, expect_object, both_there, &q);
}

static uint32_t short_note_certain(uint32_t from, unsigned most)
{
    return note_certain(&sorts[0], from, most);
}

static uint32_t long_note_certain(uint32_t from, unsigned most)
{
    return note_certain(&sorts[1], from, most);
}

static void clear_unreachable(sort *s)
{
    drop(s, NULL);
}

static void drop_homeless(sort *s)
{
    holder h = { .size = 0 };
    drop(s, &h);
}

static void table_clear(bool decided)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    clear_unreachable(&sorts[decided]);
    if (!decided) return;
    drop_homeless(&sorts[0]);
    drop_homeless(&sorts[1]);
}

/* ---- the rest ---- */

/* The links that lie in [lo, lo + size): looked for word by word, or record by record. */
static void drop_links_in(sort *s, char *lo, size_t size)
{
    uint32_t i;
    if (size / sizeof(void *) > s->table.records.len) {
        for (i = 0; i < s->table.records.len;)
            if ((size_t)((char *)at(s, i)->link - lo) < size)
                record_remove(s, i);
            else
                i++;
        return;
    }
    for (char *p = lo; p + sizeof(void *) <= lo + size; p += sizeof(void *))
        if ((i = find(s, (void **)(void *)p)) != OAKI_RECORD_NONE) record_remove(s, i);
}

static void table_forget(void *obj)
{
    if (!oaki_span_of_offset(oaki_heap_offset(obj))->linked) return;
    size_t size = oaki_object_size(oaki_heap_offset(obj));
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    for (sort *s = sorts; s < sorts + 2; s++) {
        uint32_t i;
        if (s->table.records.len == 0) continue;
        (void)oaki_objtable_index(&s->table); /* without memory, the next line walks the records */
        while ((i = oaki_objtable_first(&s->table, obj)) != OAKI_RECORD_NONE) record_clear(s, i);
        drop_links_in(s, obj, size);
    }
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

static void table_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    for (sort *s = sorts; s < sorts + 2; s++)
        for (uint32_t i = 0; i < s->table.records.len;)
            if (oaki_zone_id_of(at(s, i)->object.obj) == zone)
                record_clear(s, i);
            else if (oaki_zone_id_of(at(s, i)->link) == zone)
                record_remove(s, i);
            else
                i++;
}

static void trim(sort *s, size_t need)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    size_t n = s->nplaces;
    while (n > MIN_PLACES && need < n / 8) n /= 2;
    if (n < s->nplaces) (void)resize(s, n); /* without memory it stays as it was */
}

static void short_trim(size_t need)
{
    trim(&sorts[0], need);
}

static void long_trim(size_t need)
{
    trim(&sorts[1], need);
}

void oaki_links_each(oaki_link_fn fn, void *ctx)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    for (const sort *s = sorts; s < sorts + 2; s++)
        for (uint32_t i = 0; i < s->table.records.len; i++)
            fn(ctx, at(s, i)->link, at(s, i)->object.obj, s == &sorts[1]);
}

static const char *table_check(void)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    for (const sort *s = sorts; s < sorts + 2; s++) {
        size_t taken = 0;
        for (size_t i = 0; i < s->nplaces; i++) {
            if (s->place[i].record == 0) continue;
            taken++;
            if (s->place[i].record > s->table.records.len) return "link: places name records";
            if (place_of(s, at(s, s->place[i].record - 1)->link) != &s->place[i])
                return "link: a place is found by its link";
        }
        if (taken != s->table.records.len) return "link: a place for each record";
        if (taken * 4 > s->nplaces * 3) return "link: a quarter of the places is free";
    }
    return NULL;
}

/* Most links are found by their place, so the index is made when it is needed. */
static OAKI_AT_START void short_init(void)
{
    oaki_objtable_unindex(&sorts[0].table);
}

static OAKI_AT_START void long_init(void)
{
    oaki_objtable_unindex(&sorts[1].table);
}

/* The operations for both sorts at once are those of the first. */
const oaki_table_ops oaki_short_links_table = {
    .table = &sorts[0].table,
    .record = sizeof(record),
    .note_certain = short_note_certain,
    .clear = table_clear,
    .forget = table_forget,
    .forget_zone = table_forget_zone,
    .trim = short_trim,
    .check = table_check,
    .init = short_init,
};

const oaki_table_ops oaki_long_links_table = {
    .table = &sorts[1].table,
    .record = sizeof(record),
    .note_certain = long_note_certain,
    .trim = long_trim,
    .init = long_init,
};

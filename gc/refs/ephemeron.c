/* ephemeron.c - pairs whose value is kept alive by the pair and its key together (Hayes,
 * "Ephemerons: a new finalization mechanism", 1997).
 *
 * Owns: struct oak_ephemeron, the table of them by their key's object, and the list that a fixpoint
 *   works through. An oak_ephemeron is a small noscan object: by itself it keeps neither key nor
 *   value alive. The list has a place for each record, reserved with the record.
 *
 * The fixpoint makes passes over the list of unresolved pairs. A pass marks the values of pairs
 * whose handle and key are marked, and drains. Passes go on while they resolve a fair part of the
 * list. For most programs that is all there is to do, and all workers mark.
 * A pass may resolve few of many, as when pairs form a long chain. Then the next one is careful:
 * edges.c marks the values, and reports each object that it marks. A pair that waits for that
 * object is found through the table, and resolved at once, in constant time. So the whole is linear
 * in the marked objects and in the pairs, whatever their order. The exception is a chain through
 * large or typed objects, which edges.c leaves to the marker: each such link takes a pass. (Barros
 * and Ierusalimschy, "Eliminating cycles in weak tables", 2008, index the pending pairs by key in
 * the marker itself; here no other collection pays for it.)
 *
 * A concurrent mark queues values of marked pairs. A pair whose value is marked too is certain: the
 * fixpoint passes by it (oaki_ephemerons_note_certain). Storing another value makes it uncertain
 * again. The store comes before the load of the phase, which a pause sets. So either that mark
 * sees the value, or the storing thread sees the mark. In the second case, the thread holds the
 * value in its frame until the record is uncertain.
 *
 * Invariants: a handle that has a record knows its number, unless the record is flagged;
 *   records.cap <= npending.
 * Lock: finalizer_lock, or the world is stopped. */
#include "finalizer.h"
#include "gc/contract.h"
#include "gc/debug/edges.h"
#include "gc/tuning.h"
#include "objtable.h"
#include "runtime/phase.h"
#include "tables.h"


struct oak_ephemeron {
    AO_t key, value; /* 0 once the key has gone */
    uint32_t record; /* its number; meaningless once it is cleared */
};

typedef struct record {
    oaki_record link; /* of the key's object */
    oak_ephemeron *handle;
    uint32_t next; /* in the list of work */
    bool resolved; /* in this fixpoint */
} record;

typedef struct ephemerons {
    oaki_objtable table;
    uint32_t *pending; /* records that are not resolved */
    size_t npending;   /* its places, not all in use */
    size_t left;       /* on the list, when the last fixpoint was over */
    uint32_t work;     /* resolved in a careful pass, value not marked yet */
    size_t visits;     /* of records, since the start */
    size_t queued;     /* values, by concurrent marks, since the start */
} ephemerons;

static ephemerons self;

static record *at(uint32_t i)
{
    return oaki_objtable_at(&self.table, i);
}

static bool is_unflagged(uint32_t i)
{
    return oaki_objtable_is_unflagged(&self.table, i);
}

/* The handle of a flagged record may be gone with its zone, or lost. */
static void record_remove(uint32_t i)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    oaki_objtable_remove(&self.table, i);
    if (i < self.table.records.len && is_unflagged(i)) at(i)->handle->record = i;
}

/* Its key goes, or went in the last pause. */
static void record_clear(uint32_t i)
{
    if (is_unflagged(i)) {
        AO_store(&at(i)->handle->key, 0);
        AO_store(&at(i)->handle->value, 0);
    }
    record_remove(i);
}

static bool set_places(size_t n)
{
    uint32_t *p =
        oaki_meta_realloc(self.pending, self.npending * sizeof *p, n * sizeof *p, OAKI_META_OTHER);
    if (!p) return false;
    self.pending = p;
    self.npending = n;
    return true;
}

static bool record_add(char *obj, oak_ephemeron *e)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    if (oaki_objtable_reserve(&self.table) != 0) return false;
    if (self.npending < self.table.records.cap && !set_places(self.table.records.cap)) return false;
    e->record = oaki_objtable_add(&self.table, obj, OAKI_RECORD_NONE);
    at(e->record)->handle = e;
    oaki_special_note(obj);
    oaki_special_note(e);
    oaki_special_note_any((const void *)AO_load(&e->value));
    return true;
}

/* ---- the public side ---- */

oak_ephemeron *oak_ephemeron_new(void *key, void *value)
{
    char *obj = oaki_object_base(key);
    if (!obj) oak_fatal("oakum: oak_ephemeron_new: key %p is not in a live object", key);
    oak_ephemeron *e = oak_alloc_noscan(sizeof *e);
    oaki_thread *t = e ? oaki_enter() : NULL;
    if (!t) return NULL;
    AO_store(&e->key, (AO_t)key);
    AO_store(&e->value, (AO_t)value);
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    bool added = record_add(obj, e);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
    return added ? e : NULL;
}

/* The words read must be in a stack that is scanned. */
static bool attached(void)
{
    return OAKI_LIKELY(oaki_tls_mcache != &oaki_mcache_none) || oaki_thread_attach_self();
}

/* A pause between the two loads finds the key in this thread's registers or frame, and so keeps
 * the value. */
void *oak_ephemeron_get(oak_ephemeron *e, void **value)
{
    void *key = e && attached() ? (void *)AO_load(&e->key) : NULL;
    if (value) *value = key ? (void *)AO_load(&e->value) : NULL;
    return key;
}

static void doubt(const oak_ephemeron *e)
{
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    uint32_t i = e->record;
    if (i < self.table.records.len && at(i)->handle == e) oaki_objtable_uncertain(&self.table, i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
}

void oak_ephemeron_set(oak_ephemeron *e, void *value)
{
    if (!e || !attached()) return;
    void *key = (void *)AO_load(&e->key);
    if (key) {
        oaki_special_note_any(value);
        AO_store(&e->value, (AO_t)value);
        if (oaki_is_marking()) doubt(e);
    }
    /* held until here: so the store does not come after a pause that has cleared both, and each
     * pause in between sees the value */
    OAKI_HOLD(key);
    OAKI_HOLD(value);
}

/* ---- in a collection ---- */

static bool resolvable(const record *r)
{
    return oaki_is_marked(r->handle) && oaki_is_marked(r->link.obj);
}

static void *value_of(uint32_t i)
{
    return (void *)AO_load(&at(i)->handle->value);
}

static void add_work(uint32_t i)
{
    OAKI_ASSERT(!at(i)->resolved);
    at(i)->resolved = true;
    at(i)->next = self.work;
    self.work = i;
}

/* The record of obj if it is a handle itself, or OAKI_RECORD_NONE. Only the table
 * distinguishes handles from other objects. */
static uint32_t record_of_handle(const void *obj)
{
    if (oaki_object_size(oaki_heap_offset(obj)) < sizeof(oak_ephemeron)) return OAKI_RECORD_NONE;
    uint32_t i = ((const oak_ephemeron *)obj)->record;
    bool known = i < self.table.records.len && at(i)->handle == obj;
    return known && is_unflagged(i) ? i : OAKI_RECORD_NONE;
}

/* obj has just been marked: as a key of pairs, or as a pair. */
static void found(void *ctx, void *obj)
{
    (void)ctx;
    if (!oaki_special_possible(obj)) return;
    for (uint32_t i = oaki_objtable_first(&self.table, obj); i != OAKI_RECORD_NONE;
         i = at(i)->link.next) {
        self.visits++;
        if (!at(i)->resolved && oaki_is_marked(at(i)->handle)) add_work(i);
    }
    uint32_t i = record_of_handle(obj);
    if (i != OAKI_RECORD_NONE && !at(i)->resolved && oaki_is_marked(at(i)->link.obj)) add_work(i);
}

/* Mark the value of record i, and the values of all that this resolves. */
static void resolve_carefully(uint32_t i)
{
    self.work = OAKI_RECORD_NONE;
    add_work(i);
    while ((i = self.work) != OAKI_RECORD_NONE) {
        self.work = at(i)->next;
        oaki_edges_mark(value_of(i), found, NULL);
    }
}

static void expect(void *ctx, uint32_t i)
{
    (void)ctx;
    oaki_mark_fetch(at(i)->link.obj);
    oaki_mark_fetch(at(i)->handle);
    __builtin_prefetch(at(i)->handle, 1);
}

/* Resolves pairs among the first n of the list, and removes these. Returns the number left. */
static size_t pass(size_t n, bool careful)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_WORKER_ZERO();
    size_t left = 0;
    self.visits += n;
    for (size_t k = 0; k < n; k++) {
        uint32_t i = self.pending[k];
        if (k + OAKI_TUNE_FETCHED < n) expect(NULL, self.pending[k + OAKI_TUNE_FETCHED]);
        if (!at(i)->resolved && resolvable(at(i))) {
            if (careful) {
                resolve_carefully(i);
            } else {
                at(i)->resolved = true;
                if (oaki_leads_to_unmarked(value_of(i))) oaki_mark_pointer(value_of(i));
            }
        }
        if (!at(i)->resolved) self.pending[left++] = i;
    }
    oaki_mark_drain();
    return left;
}

static void list(void *ctx, uint32_t i)
{
    ephemerons *e = ctx;
    OAKI_ASSERT(e->left < e->npending);
    at(i)->resolved = false;
    e->pending[e->left++] = i;
}

void oaki_ephemerons_fixpoint(bool resumes)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    bool careful = false;
    oaki_mark_drain();
    if (!resumes) {
        self.left = 0;
        oaki_objtable_each_uncertain(&self.table, expect, list, &self);
    }
    for (size_t before = self.left; before > 0; before = self.left) {
        self.left = pass(before, careful);
        if (self.left == before) break;
        careful = before - self.left < before / OAKI_TUNE_POOR_PASS;
    }
}

static bool is_certain(void *ctx, uint32_t i)
{
    (void)ctx;
    if (!resolvable(at(i))) return false;
    if (!oaki_leads_to_unmarked(value_of(i))) return true;
    oaki_mark_pointer(value_of(i));
    self.queued++;
    return false;
}

uint32_t oaki_ephemerons_note_certain(uint32_t from, unsigned most)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    OAKI_REQUIRES_PHASE(MARK, PRECLEAN);
    return oaki_objtable_note_certain(&self.table, from, most, expect, is_certain, NULL);
}

size_t oaki_ephemerons_queued(void)
{
    return self.queued;
}

static void clear(void *ctx, uint32_t i)
{
    (void)ctx;
    const record *r = at(i);
    if (resolvable(r)) return;
    if (!oaki_is_marked(r->handle)) {
        oaki_objtable_flag(&self.table, i, OAKI_RECORD_LOST);
        return;
    }
    AO_store(&r->handle->key, 0);
    AO_store(&r->handle->value, 0);
    oaki_objtable_flag(&self.table, i, OAKI_RECORD_GONE);
}

static void table_clear(bool decided)
{
    if (!decided) return;
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_NO_HELPER();
    oaki_objtable_each_uncertain(&self.table, expect, clear, NULL);
}

/* ---- the rest ---- */

static void table_forget(void *obj)
{
    uint32_t i;
    if (!oaki_special_possible(obj)) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    while ((i = oaki_objtable_first(&self.table, obj)) != OAKI_RECORD_NONE) record_clear(i);
    if ((i = record_of_handle(obj)) != OAKI_RECORD_NONE) record_remove(i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

/* A value in the zone goes from a pair that stays. */
static void table_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < self.table.records.len;) {
        const record *r = at(i);
        if (!is_unflagged(i)) {
            i++;
            continue;
        }
        bool key = oaki_zone_id_of(r->link.obj) == zone;
        if (key) AO_store(&r->handle->key, 0);
        if (key || oaki_zone_id_of(value_of(i)) == zone) AO_store(&r->handle->value, 0);
        if (key || oaki_zone_id_of(r->handle) == zone)
            record_remove(i);
        else
            i++;
    }
}

static void table_trim(size_t need)
{
    (void)need;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    if (self.npending > self.table.records.cap) (void)set_places(self.table.records.cap);
}

static const char *table_check(void)
{
    for (uint32_t i = 0; i < self.table.records.len; i++) {
        if (!at(i)->link.obj) return "ephemeron: a record has a key";
        if (at(i)->handle->record != i) return "ephemeron: a handle knows its record";
    }
    if (self.npending < self.table.records.len) return "ephemeron: each record has a place to wait";
    return NULL;
}

/* ---- references other than words (edges.h) ---- */

static void report(uint32_t i, oaki_pair_fn fn, void *ctx)
{
    const record *r = at(i);
    if (is_unflagged(i)) fn(ctx, r->handle, r->link.obj, value_of(i));
}

size_t oaki_ephemerons_count(void)
{
    return self.table.records.len;
}

void oaki_ephemerons_of(const void *obj, oaki_pair_fn fn, void *ctx)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    if (!oaki_special_possible(obj)) return;
    for (uint32_t i = oaki_objtable_first(&self.table, obj); i != OAKI_RECORD_NONE;
         i = at(i)->link.next)
        report(i, fn, ctx);
    uint32_t i = record_of_handle(obj);
    if (i != OAKI_RECORD_NONE) report(i, fn, ctx);
}

void oaki_ephemerons_each(oaki_pair_fn fn, void *ctx)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.finalizer_lock);
    for (uint32_t i = 0; i < self.table.records.len; i++) report(i, fn, ctx);
}

size_t oaki_ephemerons_visits(void)
{
    return self.visits;
}

const oaki_table_ops oaki_ephemerons_table = {
    .table = &self.table,
    .record = sizeof(record),
    .clear = table_clear,
    .reclaim = record_remove,
    .forget = table_forget,
    .forget_zone = table_forget_zone,
    .trim = table_trim,
    .check = table_check,
};

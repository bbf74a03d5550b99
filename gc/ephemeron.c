/* ephemeron.c - pairs whose value is kept alive by the pair and its key together (Hayes,
 * "Ephemerons: a new finalization mechanism", 1997).
 *
 * Owns: struct oak_ephemeron, a small noscan object, so that it keeps neither key nor value alive
 *   by itself; the table of them by their key's object; and the list that a fixpoint works through,
 *   which has a place for each record, taken when records are.
 *
 * The fixpoint. Marking has no call-back, so which keys a drain has marked is found out by asking.
 * What is asked:
 *   - a value that is the key of further ephemerons resolves those at once, through the table:
 *     chains that are linked directly take O(1) a link, in whatever order they were made;
 *   - otherwise passes over the list of the unresolved, forwards and backwards in turn, with a
 *     drain after each; and when a pass resolves few of many, the next one drains after each value,
 *     so that a chain through other objects takes one or two passes when it was made in order,
 *     either way. A pass that resolves nothing is the last. The worst case, long chains through
 *     other objects in random order, is O(n * passes), as in every collector that has no table of
 *     pending keys in its marker (Barros and Ierusalimschy, "Eliminating cycles in weak tables",
 *     2008).
 *
 * Invariants: a handle that has a record knows its number; npending <= records.cap.
 * Lock: finalizer_lock, or the world is stopped. */
#include "finalizer.h"
#include "ptrtable.h"

#define FEW 32 /* a pass that resolves less than one in so many was poor */

struct oak_ephemeron {
    AO_t key, value; /* 0 once the key has gone */
    uint32_t record; /* its number; meaningless once it is cleared */
};

typedef struct record {
    oaki_ptrlink link; /* of the key's object */
    oak_ephemeron *handle;
    uint32_t next; /* found resolvable, value not marked yet */
    bool resolved; /* in this fixpoint */
} record;

static struct {
    oaki_ptrtable table;
    uint32_t *pending; /* records that are not resolved */
    size_t npending;   /* its places, not all in use */
    size_t looks;      /* at records, since the start */
} self;

static record *at(uint32_t i)
{
    return oaki_ptrtable_at(&self.table, i);
}

static void record_remove(uint32_t i)
{
    oaki_ptrtable_remove(&self.table, i);
    if (i < self.table.records.len) at(i)->handle->record = i;
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
    if (oaki_ptrtable_reserve(&self.table) != 0) return false;
    if (self.npending < self.table.records.cap && !set_places(self.table.records.cap)) return false;
    e->record = oaki_ptrtable_add(&self.table, obj, OAKI_PTR_NONE);
    at(e->record)->handle = e;
    oaki_special_note(obj);
    oaki_special_note(e);
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

/* What is read has to be in a stack that is scanned. */
static bool attached(void)
{
    return OAKI_LIKELY(oaki_tls_mcache != &oaki_mcache_none) || oaki_thread_attach_self();
}

/* A stop between the two loads finds the key in this thread's hands, and so keeps the value. */
void *oak_ephemeron_get(oak_ephemeron *e, void **value)
{
    void *key = attached() ? (void *)AO_load(&e->key) : NULL;
    if (value) *value = key ? (void *)AO_load(&e->value) : NULL;
    return key;
}

void oak_ephemeron_set(oak_ephemeron *e, void *value)
{
    if (!attached()) return;
    void *key = (void *)AO_load(&e->key);
    if (key) AO_store(&e->value, (AO_t)value);
    /* in hand until here, so that the store doesn't come after a stop that has cleared both */
    __asm__ __volatile__("" : : "r"(key) : "memory");
}

/* ---- in a collection ---- */

/* Mark the value of record `first`, and those of all that this resolves directly. */
static void resolve(uint32_t first)
{
    uint32_t work = first;
    at(first)->next = OAKI_PTR_NONE;
    at(first)->resolved = true;
    while (work != OAKI_PTR_NONE) {
        void *value = (void *)AO_load(&at(work)->handle->value);
        work = at(work)->next;
        const void *key = oaki_object_base(value);
        if (!key) continue;
        oaki_mark_pointer(value);
        for (uint32_t i = oaki_ptrtable_first(&self.table, key); i != OAKI_PTR_NONE;
             i = at(i)->link.next) {
            if (at(i)->resolved || !oaki_is_marked(at(i)->handle)) continue;
            at(i)->resolved = true;
            at(i)->next = work;
            work = i;
        }
    }
}

static bool resolvable(const record *r)
{
    return oaki_is_marked(r->handle) && oaki_is_marked(r->link.obj);
}

/* Resolve what can be in pending[*lo, *hi), and close the gaps towards the far end in the direction
 * of the pass. Returns how many. */
static size_t pass(size_t *lo, size_t *hi, bool backwards, bool drain_each)
{
    uint32_t *p = self.pending;
    size_t n = *hi - *lo, kept = 0, resolved = 0;
    self.looks += n;
    for (size_t k = 0; k < n; k++) {
        uint32_t i = backwards ? p[*hi - 1 - k] : p[*lo + k];
        if (!at(i)->resolved && resolvable(at(i))) {
            resolve(i);
            resolved++;
            if (drain_each) oaki_mark_drain();
        }
        if (at(i)->resolved) continue;
        if (backwards)
            p[*hi - 1 - kept] = i;
        else
            p[*lo + kept] = i;
        kept++;
    }
    if (backwards)
        *lo = *hi - kept;
    else
        *hi = *lo + kept;
    return resolved;
}

void oaki_ephemerons_fixpoint(void)
{
    size_t lo = 0, hi = self.table.records.len;
    bool backwards = false, drain_each = false;
    oaki_mark_drain();
    for (uint32_t i = 0; i < hi; i++) {
        at(i)->resolved = false;
        self.pending[i] = i;
    }
    while (lo < hi) {
        size_t n = hi - lo, resolved = pass(&lo, &hi, backwards, drain_each);
        if (resolved == 0) break;
        oaki_mark_drain();
        backwards = !backwards;
        drain_each = resolved < n / FEW;
    }
}

void oaki_ephemerons_clear(void)
{
    for (uint32_t i = 0; i < self.table.records.len;) {
        const record *r = at(i);
        if (resolvable(r)) {
            i++;
            continue;
        }
        if (oaki_is_marked(r->handle)) {
            AO_store(&r->handle->key, 0);
            AO_store(&r->handle->value, 0);
        }
        record_remove(i);
    }
}

/* ---- the rest ---- */

/* The record of obj when it is a handle itself, or OAKI_PTR_NONE: only the table says whether it is
 * one. */
static uint32_t record_of_handle(const void *obj)
{
    if (oaki_object_size(oaki_heap_offset(obj)) < sizeof(oak_ephemeron)) return OAKI_PTR_NONE;
    uint32_t i = ((const oak_ephemeron *)obj)->record;
    return i < self.table.records.len && at(i)->handle == obj ? i : OAKI_PTR_NONE;
}

void oaki_ephemerons_forget(void *obj)
{
    uint32_t i;
    if (!oaki_special_possible(obj)) return;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    while ((i = oaki_ptrtable_first(&self.table, obj)) != OAKI_PTR_NONE) {
        AO_store(&at(i)->handle->key, 0);
        AO_store(&at(i)->handle->value, 0);
        record_remove(i);
    }
    if ((i = record_of_handle(obj)) != OAKI_PTR_NONE) record_remove(i);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

void oaki_ephemerons_trim(void)
{
    oaki_ptrtable_trim(&self.table);
    if (self.npending > self.table.records.cap) (void)set_places(self.table.records.cap);
}

size_t oaki_ephemerons_looks(void)
{
    return self.looks;
}

int oaki_ephemerons_init(void)
{
    oaki_ptrtable_init(&self.table, sizeof(record));
    return 0;
}

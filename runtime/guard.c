/* guard.c - guarded objects: their records, gaps and the queue of freed ones (guard.h). What is
 * found goes to guardfound.c.
 *
 * Owns: struct self: records, an open-addressed table by the object's offset, and the queue.
 * Invariants: a record's object is allocated (A), and its gaps have had the pattern since the
 * record was made. A freed object's bytes have the other pattern. A record is dropped before its
 * slot is free.
 * Lock: oaki_guard_lock, inside oaki_enter; none with the world stopped. A signal handler must not
 * wait for the thread that it has interrupted, so it only tries. self.leaving is held from when an
 * object leaves the queue until it is free, and while a span of a dead zone goes. It keeps the two
 * from meeting.
 * Bound: O(size), except for checks of all objects. */
#include "guard.h"
#include "collector.h"
#include "contract.h"
#include "heap.h"
#include "markbits.h"
#include "meta.h"
#include "offqueue.h"
#include "os.h"
#include "print.h"
#include <errno.h>
#include <string.h>

#define GAP OAKI_GUARD_PATTERN
#define FREED 0xdb
#define FIRST 4096 /* entries of the table */
#define TRIES 2000 /* attempts to take the lock, in a handler */
#define TRY_NS 50000u
#define SPINS 1000 /* the same, inside the runtime */

typedef struct record {
    size_t off, size; /* off 0: unused */
    uint32_t site, freed_site;
    int tid, freed_tid; /* freed_tid 0: the object is live */
} record;

/* The call that checks: an error found in a thread's own call is reported with its stack. */
typedef struct look {
    const char *call;
    int finder; /* 0: not at a call of one thread */
} look;

oaki_guard_mode oaki_guard;
oaki_lock oaki_guard_lock = OAKI_LOCK_INIT(OAKI_RANK_GUARD);

static struct {
    oaki_lock leaving;
    record *place;
    size_t cap, n;
    oaki_offqueue queue; /* of freed objects */
    size_t bytes;        /* heap bytes that they take */
    unsigned int logged; /* AO_int: 1 once it is logged that objects go out without a record */
} self = { .leaving = OAKI_LOCK_INIT(OAKI_RANK_LEAVING) };

/* ---- records ---- */

static size_t home(size_t off)
{
    return (size_t)((off >> OAKI_GRANULE_SHIFT) * 0x9e3779b97f4a7c15u >> 20) & (self.cap - 1);
}

static record *find(size_t off)
{
    if (self.cap == 0) return NULL;
    for (size_t i = home(off); self.place[i].off; i = (i + 1) & (self.cap - 1))
        if (self.place[i].off == off) return &self.place[i];
    return NULL;
}

static void put(record r)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_guard_lock);
    OAKI_ASSERT(r.off > 0 && self.n < self.cap);
    size_t i = home(r.off);
    while (self.place[i].off) i = (i + 1) & (self.cap - 1);
    self.place[i] = r;
}

static bool reserve(void)
{
    if ((self.n + 1) * 4 <= self.cap * 3) return true;
    size_t was = self.cap, cap = was ? was * 2 : FIRST;
    record *old = self.place, *place = oaki_meta_zalloc(cap * sizeof *place, OAKI_META_OTHER);
    if (!place) return false;
    self.place = place;
    self.cap = cap;
    for (size_t i = 0; i < was; i++)
        if (old[i].off) put(old[i]);
    oaki_meta_free(old, was * sizeof *old, OAKI_META_OTHER);
    return true;
}

/* Removes a record. Records behind it move up, unless they are at home in their place. */
static void forget(record *r)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_guard_lock);
    OAKI_ASSERT(r->off > 0 && self.n > 0);
    size_t mask = self.cap - 1, hole = (size_t)(r - self.place);
    for (size_t i = (hole + 1) & mask; self.place[i].off; i = (i + 1) & mask) {
        if (((i - home(self.place[i].off)) & mask) < ((i - hole) & mask)) continue;
        self.place[hole] = self.place[i];
        hole = i;
    }
    self.place[hole].off = 0;
    self.n--;
}

/* ---- errors ---- */

static const unsigned char *address(size_t off)
{
    return (const unsigned char *)oaki_the_heap.base + off;
}

static look nobody(const char *call)
{
    return (look){ .call = call };
}

static look me(const char *call)
{
    const oaki_thread *t = oaki_thread_self();
    return (look){ .call = call, .finder = t ? t->tid : -1 };
}

/* Notes an error. false: there is no room, so it has to be found again. */
static bool found(const record *r, oaki_guard_error error, ptrdiff_t at, size_t given, look by)
{
    oaki_guard_finding f = { .error = error, .call = by.call, .finder = by.finder, .given = given,
                             .at = at, .object = (const char *)address(r->off), .size = r->size,
                             .site = r->site, .freed_site = r->freed_site,
                             .tid = r->tid, .freed_tid = r->freed_tid };
    const char *bad = f.object + at;
    if (error <= OAKI_GUARD_WRITTEN) {
        size_t page = OAKI_PAGE - ((uintptr_t)bad & (OAKI_PAGE - 1));
        f.nnear = OAKI_MIN(OAKI_GUARD_NEAR, page);
        memcpy(f.near, bad, f.nnear);
    }
    return oaki_guard_found_note(&f);
}

/* Offset of the first byte of p that differs from `want`; n when none does. */
static size_t differs(const unsigned char *p, size_t n, int want)
{
    size_t i = 0;
    while (i < n && p[i] == want) i++;
    return i;
}

/* An object in a dead zone is not checked here: its use is reported elsewhere, and its records go
 * with its spans. */
static bool lies_in_dead_zone(size_t off)
{
    return oaki_zone_is_gone(oaki_span_of_offset(off)->zone);
}

static size_t room_of(size_t off)
{
    return oaki_object_size(off);
}

/* An error `at` bytes into a gap of n behind the object. It is reported as past its end, or before
 * the start of the next object, whichever is nearer. */
static bool found_behind(const record *r, size_t at, size_t n, look by)
{
    bool small = oaki_span_of_offset(r->off)->cls != OAKI_CLASS_LARGE;
    const record *next = small && at > n / 2 ? find(r->off + r->size + n) : NULL;
    return next ? found(next, OAKI_GUARD_START, (ptrdiff_t)at - (ptrdiff_t)n, 0, by)
                : found(r, OAKI_GUARD_END, (ptrdiff_t)(r->size + at), 0, by);
}

/* The object of the slot in front, whose gap is the one in front of r. */
static const record *neighbour(const record *r)
{
    const oaki_span *s = oaki_span_of_offset(r->off);
    return s->cls == OAKI_CLASS_LARGE ? NULL : find(r->off - s->size);
}

static size_t end_of(const record *r)
{
    return differs(address(r->off) + r->size, room_of(r->off) - r->size, GAP);
}

/* The gap in front of r is broken. Notes it for the object in front, if its gap is, else for r. If
 * the ends of several objects were overwritten without a break, it is noted for the first. */
static bool found_in_front(const record *r, size_t before, look by)
{
    const record *n = neighbour(r), *next;
    if (!n || end_of(n) == room_of(n->off) - n->size) {
        size_t front = oaki_guard_front(oaki_span_of_offset(r->off));
        return found(r, OAKI_GUARD_START, (ptrdiff_t)before - (ptrdiff_t)front, 0, by);
    }
    while (end_of(n) == 0 && (next = neighbour(n)) != NULL && end_of(next) == 0) n = next;
    return found_behind(n, end_of(n), room_of(n->off) - n->size, by);
}

/* A broken gap that is noted is repaired, so that it is reported once. */
static bool check_gaps(const record *r, look by)
{
    const oaki_span *s = oaki_span_of_offset(r->off);
    const unsigned char *p = address(r->off);
    size_t front = oaki_guard_front(s), behind = room_of(r->off) - r->size, end = end_of(r);
    size_t before = differs(p - front, front, GAP);
    bool end_noted = end == behind || found_behind(r, end, behind, by);
    bool front_noted = before == front || found_in_front(r, before, by);
    if (end < behind && end_noted) memset((void *)(p + r->size), GAP, behind);
    if (before < front && front_noted) memset((void *)(p - front), GAP, front);
    return end_noted && front_noted;
}

/* false: an error is not noted, as there is no room. */
static bool check_record(const record *r, look by)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_guard_lock);
    OAKI_ASSERT(r->size <= room_of(r->off));
    bool noted = check_gaps(r, by);
    if (!r->freed_tid) return noted;
    const unsigned char *p = address(r->off);
    size_t at = differs(p, r->size, FREED);
    if (at == r->size) return noted;
    if (!found(r, OAKI_GUARD_WRITTEN, (ptrdiff_t)at, 0, by)) return false;
    memset((void *)p, FREED, r->size);
    return noted;
}

/* The record is about to go: what can't be noted is at least counted. */
static void check_last(const record *r, look by)
{
    if (!check_record(r, by)) oaki_guard_found_count();
}

/* ---- allocating ---- */

static void note(void *p, size_t n, uint32_t site)
{
    oaki_thread *t = oaki_enter();
    size_t off = oaki_heap_offset(p);
    bool large = oaki_span_of_offset(off)->cls == OAKI_CLASS_LARGE;
    oaki_span *s = oaki_span_of_offset(off);
    oaki_lock_acquire(&oaki_guard_lock);
    bool can = (large || s->guarded) && reserve();
    if (can) {
        memset((char *)p + n, GAP, room_of(off) - n);
        put((record){ .off = off, .size = n, .site = site, .tid = t->tid });
        self.n++;
        if (large) s->guarded |= OAKI_GUARDED;
    }
    oaki_lock_release(&oaki_guard_lock);
    oaki_leave(t);
    if (!can && AO_int_compare_and_swap_full(&self.logged, 0, 1))
        oaki_log("oakum: guard: no memory for more records: some objects aren't watched\n");
}

void *oaki_guard_alloc(size_t n, size_t align, oaki_kind kind, uint32_t type)
{
    OAKI_REQUIRES_OUTSIDE();
    if (n > SIZE_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    uint32_t site = oaki_guard.site();
    void *p = oaki_alloc_plain(n + OAKI_GUARD_GAP, align, kind, type);
    if (p) note(p, n, site);
    oaki_guard_report();
    return p;
}

/* In a stop, or in a handler that interrupted the runtime. */
static bool is_inside(void)
{
    const oaki_thread *t = oaki_thread_self();
    return t && t->in_runtime != 0;
}

/* Takes the lock from any state; *t goes to `close_records`. In a stop the lock is free; a thread
 * interrupted by a handler may hold it. Returns false when the lock can't be had. */
static bool open_records(oaki_thread **t)
{
    bool inside = is_inside(), mine = false;
    *t = NULL;
    for (unsigned i = 0; inside && !mine && i < SPINS; i++) {
        mine = oaki_lock_try(&oaki_guard_lock);
        if (!mine) oaki_pause();
    }
    if (inside) return mine;
    *t = oaki_enter();
    if (*t) oaki_lock_acquire(&oaki_guard_lock);
    return *t != NULL;
}

static void close_records(oaki_thread *t)
{
    oaki_lock_release(&oaki_guard_lock);
    if (t) oaki_leave(t);
}

static bool read_record(const void *p, record *out)
{
    oaki_thread *t;
    if (!oaki_guard.on || !oaki_heap_contains(p) || !open_records(&t)) return false;
    const record *r = find(oaki_heap_offset(p));
    if (r) *out = *r;
    close_records(t);
    return r != NULL;
}

bool oaki_guard_size(const void *p, size_t *out)
{
    record r;
    bool known = read_record(p, &r);
    if (known) *out = r.size;
    return known;
}

bool oaki_guard_is_freed(const void *p)
{
    record r;
    return read_record(p, &r) && r.freed_tid;
}

size_t oaki_guard_asked(const oaki_span *s, const void *p)
{
    if (OAKI_LIKELY(!s->guarded)) return s->size;
    oaki_lock_acquire(&oaki_guard_lock);
    const record *r = find(oaki_heap_offset(p));
    size_t n = r ? r->size : s->size;
    oaki_lock_release(&oaki_guard_lock);
    return n;
}

bool oaki_guard_examine(const void *p, size_t given, const char *call)
{
    oaki_thread *t;
    if (!oaki_guard.on || !oaki_heap_contains(p) || !open_records(&t)) return false;
    size_t off = oaki_heap_offset(p), slot = oaki_slot_offset(off);
    const record *r = slot == SIZE_MAX || lies_in_dead_zone(slot) ? NULL : find(slot);
    look by = t ? me(call) : nobody(call);
    if (r && slot != off) (void)found(r, OAKI_GUARD_INSIDE, (ptrdiff_t)(off - slot), 0, by);
    else if (r && r->freed_tid) (void)found(r, OAKI_GUARD_FREED, 0, 0, by);
    else if (r && given != SIZE_MAX && given != r->size)
        (void)found(r, OAKI_GUARD_SIZED, 0, given, by);
    bool dead = r && (slot != off || r->freed_tid);
    close_records(t);
    if (t) oaki_guard_report();
    return dead;
}

void oaki_guard_note(const void *p, oaki_guard_error error, const char *call)
{
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_lock_acquire(&oaki_guard_lock);
    const record *r = find(oaki_heap_offset(p));
    if (r) (void)found(r, error, 0, 0, me(call));
    oaki_lock_release(&oaki_guard_lock);
    oaki_leave(t);
    oaki_guard_report();
}

/* ---- the queue ---- */

/* Takes the oldest object off the queue, and checks it. NULL when it goes, or has gone, with its
 * zone. */
static void *leave_queue(void)
{
    OAKI_REQUIRES_LOCK(&oaki_guard_lock);
    size_t off = oaki_offqueue_take(&self.queue);
    record *r = find(off);
    if (!r || !r->freed_tid) return NULL;
    OAKI_ASSERT(self.bytes >= oaki_guard_cost(off));
    self.bytes -= oaki_guard_cost(off);
    check_last(r, nobody("the end of its quarantine"));
    forget(r);
    return lies_in_dead_zone(off) ? NULL : (void *)(uintptr_t)address(off);
}

bool oaki_guard_freed(void *p, bool keep, uint32_t site)
{
    OAKI_REQUIRES_INSIDE();
    size_t off = oaki_heap_offset(p), cost = oaki_guard_cost(off);
    bool waits = false;
    oaki_lock_acquire(&oaki_guard_lock);
    record *r = find(off);
    if (r && r->freed_tid) {
        waits = true;
        (void)found(r, OAKI_GUARD_FREED, 0, 0, me("free")); /* by two threads at once */
    } else if (r) {
        check_last(r, me("free"));
        waits = !keep && cost <= OAKI_GUARD_QUEUE / 4 && oaki_offqueue_reserve(&self.queue);
        if (waits) {
            r->freed_tid = oaki_tls_thread->tid;
            r->freed_site = site;
            memset(p, FREED, r->size);
            oaki_offqueue_put(&self.queue, off);
            self.bytes += cost;
        } else {
            forget(r);
        }
    }
    oaki_lock_release(&oaki_guard_lock);
    return waits;
}

void oaki_guard_leave_begin(void)
{
    OAKI_REQUIRES_INSIDE();
    if (oaki_guard.on) oaki_lock_acquire(&self.leaving);
}

void oaki_guard_leave_end(void)
{
    OAKI_REQUIRES_INSIDE();
    if (oaki_guard.on) oaki_lock_release(&self.leaving);
}

size_t oaki_guard_waiting(void)
{
    oaki_thread *t;
    if (!oaki_guard.on || !open_records(&t)) return 0;
    size_t bytes = self.bytes;
    close_records(t);
    return bytes;
}

size_t oaki_guard_leave(size_t stay, void **out, size_t most)
{
    OAKI_REQUIRES_LOCK(&self.leaving);
    size_t n = 0;
    oaki_lock_acquire(&oaki_guard_lock);
    while (self.bytes > stay && n < most && self.queue.len > 0) {
        out[n] = leave_queue();
        n += out[n] != NULL;
    }
    oaki_lock_release(&oaki_guard_lock);
    return n;
}

/* ---- the collector ---- */

bool oaki_guard_check_all(const char *call)
{
    OAKI_REQUIRES_INSIDE();
    bool noted = true;
    oaki_lock_acquire(&oaki_guard_lock);
    for (size_t i = 0; i < self.cap && noted; i++)
        if (self.place[i].off) noted = check_record(&self.place[i], nobody(call));
    oaki_lock_release(&oaki_guard_lock);
    return noted;
}

void oaki_guard_check(const char *call)
{
    for (bool all = false; oaki_guard.on && !all;) {
        oaki_thread *t = oaki_enter();
        if (!t) return;
        all = oaki_guard_check_all(call);
        oaki_leave(t);
        oaki_guard_report();
    }
}

void oaki_guard_mark(void)
{
    OAKI_REQUIRES_STOPPED();
    for (size_t i = 0; i < self.cap; i++) {
        size_t off = self.place[i].off;
        if (!off || !self.place[i].freed_tid || lies_in_dead_zone(off)) continue;
        if (!oaki_mark_get(off)) oaki_mark_set(off);
    }
}

bool oaki_guard_waits(size_t off)
{
    OAKI_ASSERT(oaki_world_stopped() || oaki_fork_is_ours());
    const record *r = find(off);
    return r && r->freed_tid;
}

/* All signals are blocked, so no stop finds the thread holding the lock. A holder of the lock waits
 * only briefly for other threads. The caller itself may hold it, and then waits in vain. */
static bool read_in_handler(size_t off, record *out)
{
    uint64_t mask = oaki_os_mask_signals(0);
    unsigned left = is_inside() ? 1 : TRIES;
    bool mine = oaki_lock_try(&oaki_guard_lock);
    while (!mine && --left > 0) {
        oaki_os_sleep_ns(TRY_NS);
        mine = oaki_lock_try(&oaki_guard_lock);
    }
    const record *r = mine ? find(off) : NULL;
    if (r) *out = *r;
    if (mine) oaki_lock_release(&oaki_guard_lock);
    oaki_os_unmask_signals(mask);
    return r != NULL;
}

/* In a handler of a fault. The thread that touches the page may hold the lock: then less is
 * known. */
bool oaki_guard_touched(const void *p, oaki_guard_finding *out)
{
    if (!oaki_guard.page || !oaki_heap_contains(p)) return false;
    size_t page = oaki_heap_offset(p) >> OAKI_PAGE_SHIFT;
    if (page == 0) return false;
    oaki_pte e = oaki_the_heap.pte[page - 1];
    if ((e & OAKI_PTE_CLASS) != OAKI_CLASS_LARGE) return false;
    const oaki_span *s = &oaki_the_heap.spans[oaki_page_first(page - 1)];
    if (!(s->guarded & OAKI_GUARDED_TAIL) || oaki_span_page(s) + s->npages != page) return false;
    record r = { .off = oaki_span_slot(s), .size = s->size };
    r.site = r.freed_site = UINT32_MAX;
    (void)read_in_handler(r.off, &r);
    *out = (oaki_guard_finding){ .error = OAKI_GUARD_TOUCHED, .call = "the processor",
                                 .finder = me("the processor").finder,
                                 .object = (const char *)address(r.off), .size = r.size,
                                 .at = (const char *)p - (const char *)address(r.off),
                                 .site = r.site, .freed_site = r.freed_site,
                                 .tid = r.tid, .freed_tid = r.freed_tid };
    oaki_guard_found_count();
    return true;
}

typedef bool dies(size_t off);

static bool is_unmarked(size_t off)
{
    return !oaki_mark_get(off);
}

static bool any(size_t off)
{
    return off != 0;
}

/* Checks the span's objects that die, and drops their records. */
static void forget_in(const oaki_span *s, dies *does, look by)
{
    size_t off = oaki_span_slot(s);
    size_t n = s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&oaki_guard_lock);
    for (size_t i = 0; i < n; i++, off += s->size) {
        if (!oaki_bit_get(oaki_the_heap.alloc, off) || !does(off)) continue;
        record *r = find(off);
        if (!r) continue;
        check_last(r, by);
        if (r->freed_tid) self.bytes -= oaki_guard_cost(off);
        forget(r);
    }
    oaki_lock_release(&oaki_guard_lock);
}

void oaki_guard_sweep(const oaki_span *s)
{
    OAKI_REQUIRES_INSIDE();
    forget_in(s, is_unmarked, nobody("a collection"));
}

void oaki_guard_drop(const oaki_span *s)
{
    OAKI_REQUIRES_INSIDE();
    forget_in(s, any, nobody("the zone's end"));
}

/* Runs from before have no gaps: all caches are empty from here on. */
static void flush_caches(void)
{
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return;
    oaki_gc_flush_caches();
    oaki_gc_stop_end(t);
}

bool oaki_guard_start(uint32_t (*site)(void), void (*report)(const oaki_guard_finding *f))
{
    const oaki_debug *d = &oaki_debug_switches;
    OAKI_REQUIRES_OUTSIDE();
    if (!oaki_guard_found_start()) return false;
    oaki_guard.site = site;
    oaki_guard.report = report;
    oaki_guard.page = (d->guard & OAKI_DEBUG_GUARD_PAGE) != 0;
    if (oaki_guard.page && oaki_os_page_size() > OAKI_PAGE) {
        oaki_log("oakum: guard: the system's pages are larger than a page of the heap: none is "
                 "closed\n");
        oaki_guard.page = false;
    }
    oaki_guard.pages_most = oaki_guard_pages_most();
    oaki_guard.go_on = (d->guard & OAKI_DEBUG_GUARD_CONTINUE) != 0;
    AO_compiler_barrier();
    oaki_guard.on = true;
    if (oaki_thread_self()) flush_caches();
    return true;
}

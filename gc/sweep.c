/* sweep.c - makes A the marked objects, span by span: by allocating threads, by a background
 * thread, and by any other that needs a swept span.
 *
 * Owns: the background sweeper, the assists. Unswept spans are in the mcentrals' lists
 * (central.c). The thread that takes a span off its list sweeps it alone. A cycle starts without
 * unswept spans: the collector sweeps the rest first. Lock: the background thread is a helper
 * (thread.h), and sweeps a batch between begin and end. */
#include "sweep.h"

#include "contract.h"
#include "cycle.h"
#include "gc.h"
#include "runtime/collector.h"
#include "runtime/crew.h"
#include "runtime/guard.h"
#include "runtime/os.h"
#include "runtime/track.h"
#include "tuning.h"
#include <string.h>

#define POISON 0xdb

static oaki_sweeper *const sweeper = &oaki_gc.sweeper;

/* ---- one span ---- */

static void poison_dead(const oaki_span *s, size_t base)
{
    const oaki_heap *h = &oaki_the_heap;
    for (size_t off = base, i = 0; i < oaki_classes[s->cls].nslots; i++, off += s->size)
        if (oaki_bit_get(h->alloc, off) && !oaki_mark_get(off))
            memset((char *)h->base + off, POISON, s->size - (s->guarded ? OAKI_GUARD_GAP : 0));
}

/* A liveness query treats an object in a swept span as live iff its A bit is set. So A is
 * updated before `swept`. */
static bool sweep_large(oaki_span *s)
{
    oaki_heap *h = &oaki_the_heap;
    size_t off = oaki_span_slot(s);
    bool lives = oaki_mark_get(off);
    if (!lives) oaki_bits_clear(h->alloc, off, OAKI_GRANULE);
    AO_nop_full();
    s->swept = (uint32_t)AO_load(&h->cycle);
    size_t bytes = s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT);
    if (lives) {
        oaki_count_add(&sweeper->kept[s->kind], bytes);
        return true;
    }
    oaki_count_add(&h->frees[OAKI_CLASS_LARGE], 1);
    oaki_count_add(&h->large_free_bytes, bytes);
    oaki_zone_count_frees(s->zone, 1, bytes);
    oaki_pages_free(s);
    return false;
}

/* The granules of slots of k granules each that begin at the bits of `starts`, as far as they
 * lie in this word. *carry: the granules of a slot that reach into it from the word before; then
 * those that reach into the next. */
OAKI_INLINE uint64_t fill_slots(uint64_t starts, size_t k, size_t *carry)
{
    uint64_t fill = *carry >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << *carry) - 1;
    size_t over = *carry >= 64 ? *carry - 64 : 0;
    if (starts) {
        size_t last = 63 - oaki_clz(starts), done = 1;
        uint64_t x = starts;
        if (k >= 64) {
            x = -x; /* there is one */
        } else {
            for (; done * 2 <= k; done *= 2) x |= x << done;
            if (done < k) x |= x << (k - done);
        }
        fill |= x;
        over = last + k > 64 ? last + k - 64 : 0;
    }
    *carry = over;
    return fill;
}

/* Most words have one start, of a large slot, or none. */
OAKI_INLINE unsigned count_slots(uint64_t starts)
{
    return starts & (starts - 1) ? oaki_popcount(starts) : starts != 0;
}

/* Reduces A to the marked slots, and returns their number. Dead slots are taken out of A: in
 * most spans that is none or all. */
static unsigned sweep_bits(const oaki_span *s, size_t base)
{
    size_t first = base >> 10;
    uint64_t *a = oaki_the_heap.alloc + first;
    const uint64_t *starts = oaki_class_starts[s->cls];
    size_t carry = 0, k = s->size >> OAKI_GRANULE_SHIFT;
    bool far = k % OAKI_PLANES == 0;
    unsigned live = 0;
    for (size_t w = 0; w < (size_t)s->npages * OAKI_PAGE_WORDS; w++) {
        uint64_t had = oaki_objects_in(first + w, starts[w]), lives = 0;
        if (had) lives = far ? had & oaki_mark_first(first + w) : oaki_marked_of(first + w, had);
        live += count_slots(lives);
        if (had != lives || carry) a[w] &= ~fill_slots(had ^ lives, k, &carry);
    }
    return live;
}

bool oaki_gc_sweep_span(oaki_span *s, bool keep)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_NO_MARK();
    OAKI_REQUIRES_LOCKS_BELOW(OAKI_RANK_ZONES);
    OAKI_ASSERT(s->list == OAKI_LIST_NONE && s->cls != 0);
    OAKI_ASSERT(s->swept != (uint32_t)AO_load(&oaki_the_heap.cycle)); /* once a cycle */
    oaki_heap *h = &oaki_the_heap;
    AO_fetch_and_add(&sweeper->bytes, (size_t)s->npages << OAKI_PAGE_SHIFT);
    if (OAKI_UNLIKELY(s->guarded)) oaki_guard_sweep(s);
    if (s->cls == OAKI_CLASS_LARGE) return sweep_large(s);
    size_t base = oaki_heap_offset(oaki_span_start(s));
    if (oaki_debug_switches.poison) poison_dead(s, base);
    unsigned before = AO_int_load(&s->nalloc), live = sweep_bits(s, base);
    OAKI_INVARIANT(live <= before, "more slots live after a sweep than before it");
    /* where all slots were allocated, M's bits of dead objects are clear already */
    if (AO_load(&h->sticky) && before < oaki_classes[s->cls].nslots)
        oaki_mark_retain(base >> 10, (size_t)s->npages * OAKI_PAGE_WORDS);
    s->nalloc = live;
    AO_int_store(&s->nfreed, 0);
    s->cursor = 0;
    s->needzero = 1;
    oaki_count_add(&sweeper->kept[s->kind], live * s->size);
    if (before != live) {
        oaki_count_add(&h->frees[s->cls], before - live);
        oaki_zone_count_frees(s->zone, before - live, (before - live) * s->size);
    }
    AO_nop_full();
    s->swept = (uint32_t)AO_load(&h->cycle);
    if (live > 0 || keep) return true;
    if (s->types) oaki_span_free_types(s);
    oaki_pages_free(s);
    return false;
}

static void sweep(oaki_span *s)
{
    if (oaki_gc_sweep_span(s, false)) oaki_central_give(s);
}

/* Until the next mark, unswept spans only become fewer. So a place without any is not searched
 * again. */
static void found_at(size_t at)
{
    AO_t old;
    do old = AO_load(&sweeper->at);
    while (old < at && !AO_compare_and_swap(&sweeper->at, old, at));
}

/* Sweeps one unswept span. false: there is none. */
static bool sweep_one(void)
{
    size_t at = AO_load(&sweeper->at), zones = AO_load(&oaki_the_heap.zones.used);
    for (; at < zones * OAKI_SPANCLASSES; at++) {
        const oak_zone *z = oaki_zone_by_id((uint32_t)(at / OAKI_SPANCLASSES));
        if (!AO_load(&z->central[at % OAKI_SPANCLASSES / OAKI_CLASSES])) {
            at |= OAKI_CLASSES - 1; /* none of that kind: skip to its last class */
            continue;
        }
        oaki_span *s = oaki_central_next_waiting(z, at % OAKI_SPANCLASSES);
        if (!s) continue;
        found_at(at);
        sweep(s);
        return true;
    }
    found_at(at);
    return false;
}

static void finished(void)
{
    if (AO_load(&sweeper->waiting)) AO_store(&sweeper->ended, (AO_t)oaki_os_now_ns());
    AO_store(&sweeper->waiting, 0);
    oaki_cycle_swept();
}

void oaki_gc_sweep_all(void)
{
    OAKI_REQUIRES_INSIDE();
    if (!AO_load(&sweeper->waiting)) return;
    while (sweep_one()) {
    }
    finished();
}

bool oaki_sweep_until(uint64_t end_ns)
{
    OAKI_REQUIRES_INSIDE();
    if (!AO_load(&sweeper->waiting)) return false;
    do {
        if (sweep_one()) continue;
        finished();
        return false;
    } while (oaki_os_now_ns() < end_ns);
    return true;
}

void oaki_gc_sweep_zone(const oak_zone *z)
{
    OAKI_REQUIRES_INSIDE();
    if (!AO_load(&sweeper->waiting)) return;
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
        oaki_span *s;
        while ((s = oaki_central_next_waiting(z, sc)) != NULL) sweep(s);
    }
}

void oaki_sweep_kept(size_t bytes[OAKI_KINDS])
{
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++) bytes[kind] = AO_load(&sweeper->kept[kind]);
}

uint64_t oaki_sweep_ended(void)
{
    return AO_load(&sweeper->ended);
}

/* ---- assists ---- */

OAKI_AT_START void oaki_sweep_assist(void)
{
    OAKI_REQUIRES_INSIDE();
    if (!AO_load(&sweeper->waiting)) return;
    size_t live = AO_load(&oaki_the_heap.live);
    if (live <= sweeper->live_at_end) return;
    double due = sweeper->ratio * (double)(live - sweeper->live_at_end);
    size_t swept = AO_load(&sweeper->bytes);
    if ((double)swept >= due) return;
    void (*fn)(uint64_t, size_t) = (void (*)(uint64_t, size_t))AO_load(&sweeper->assisted);
    uint64_t begin = fn ? oaki_os_now_ns() : 0;
    bool more = true;
    while (more && (double)AO_load(&sweeper->bytes) < due) more = sweep_one();
    if (!more) finished();
    swept = AO_load(&sweeper->bytes) - swept;
    if (fn && swept > 0) fn(begin, swept);
}

void oaki_sweep_on_assist(void (*fn)(uint64_t begin, size_t bytes))
{
    AO_store_release(&sweeper->assisted, (AO_t)fn);
}

/* ---- the background ---- */

static void *background(void *arg)
{
    unsigned seen = 0;
    while (oaki_crew_wait(&sweeper->waker, &seen)) {
        for (bool more = true; more && AO_load(&sweeper->waiting) && !oaki_crew_ends();) {
            oaki_helper_begin();
            for (unsigned i = 0; i < OAKI_TUNE_SWEEP_BATCH && more; i++) more = sweep_one();
            if (!more) finished();
            oaki_helper_end();
            oaki_os_yield();
        }
    }
    return arg;
}

void oaki_sweep_reset(void)
{
    OAKI_REQUIRES_FORKED();
    sweeper->started = false;
}

/* Is sweeping worth a thread? */
static bool is_large(void)
{
    return AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT >= OAKI_TUNE_BACKGROUND_FROM;
}

void oaki_sweep_spawn(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_RUNNING();
    if (sweeper->started || !oaki_the_heap.config.background_sweep || !is_large()) return;
    sweeper->started = oaki_thread_spawn("oakum/sweep", background, NULL, false) == 0;
}

/* ---- for the cycle ---- */

/* Has the zone a span in the lists of unswept ones? */
static bool has_waiting(const oak_zone *z)
{
    unsigned waiting = (AO_load(&oaki_the_heap.cycle) & 1) ^ 1;
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++) {
        const oaki_central *c = (const oaki_central *)AO_load(&z->central[kind]);
        for (unsigned cls = 0; c && cls < OAKI_CLASSES; cls++)
            if (c[cls].head[waiting][OAKI_LIST_PARTIAL] || c[cls].head[waiting][OAKI_LIST_FULL])
                return true;
    }
    return false;
}

const char *oaki_sweep_check(void)
{
    for (uint32_t id = 0; id < AO_load(&oaki_the_heap.zones.used); id++)
        if (has_waiting(oaki_zone_by_id(id))) return "sweep: nothing waits for it in a mark";
    return NULL;
}

void oaki_sweep_begin(size_t live, size_t trigger)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_MARK();
    OAKI_INVARIANT(!AO_load(&sweeper->waiting), "a cycle ends before the last one was swept");
    double bytes = (double)(AO_load(&h->pages_inuse) << OAKI_PAGE_SHIFT);
    double room = trigger > live ? (double)(trigger - live) : 1;
    sweeper->live_at_end = live;
    sweeper->ratio = OAKI_TUNE_SWEEP_AHEAD * bytes / room;
    AO_store(&sweeper->bytes, 0);
    AO_store(&sweeper->ended, 0);
    AO_store(&sweeper->at, 0);
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++) AO_store(&sweeper->kept[kind], 0);
    AO_store(&sweeper->waiting, 1);
}

void oaki_sweep_wake(void)
{
    if (!sweeper->started || !AO_load(&sweeper->waiting)) return;
    if (!is_large()) return;
    oaki_waker_wake(&sweeper->waker, 1);
}

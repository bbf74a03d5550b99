/* mcache.c - thread caches: takes runs, and flushes them (mcache.h).
 *
 * Owns: every oaki_mcache; the list of them is guarded by threads_lock.
 * Bound: between two takes of a span, a refill examines each of its slots at most once. */
#include "mcache.h"
#include "collector.h"
#include "guard.h"
#include "heap.h"
#include "markbits.h"
#include "meta.h"
#include "phase.h"
#include "room.h"
#include "track.h"
#include <errno.h>
#include <string.h>

#define ZERO_INLINE 256
#define INSIDE 8 /* bytes from a slot's start to the kept address */
#define WORD_BYTES ((size_t)64 << OAKI_GRANULE_SHIFT) /* bytes covered by a word of A */
#define RUN_MAX 8192 /* bytes zeroed at a time: they stay in the first-level cache until use */

/* Each run is past its end, even with the class sizes before the heap is started: 0. */
oaki_mcache oaki_mcache_none = { .run = { [0 ... OAKI_SPANCLASSES - 1] = { .next = (char *)1 } } };

oaki_mcache *oaki_mcache_new(oaki_thread *t, oak_zone *z)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    oaki_heap *h = &oaki_the_heap;
    oaki_mcache *mc = oaki_meta_zalloc(sizeof *mc, OAKI_META_MCACHE);
    if (!mc) return NULL;
    mc->thread = t;
    mc->zone = z;
    oaki_sample_seed(mc);
    oaki_sample_draw_all(mc);
    mc->next = h->mcaches;
    if (mc->next) mc->next->prev = mc;
    h->mcaches = mc;
    return mc;
}

void oaki_mcache_add_counts(oaki_mcache *mc)
{
    OAKI_ASSERT(!(mc->active[0] | mc->active[1] | mc->active[2] | mc->active[3])); /* flushed */
    oaki_heap *h = &oaki_the_heap;
    size_t n = 0, bytes = mc->large_bytes;
    for (unsigned c = 0; c < OAKI_CLASSES; c++) {
        if (mc->mallocs[c] == 0) continue;
        oaki_count_add(&h->past_mallocs[c], mc->mallocs[c]);
        n += mc->mallocs[c];
        bytes += mc->mallocs[c] * oaki_classes[c].size; /* 0 for large ones */
        mc->mallocs[c] = 0;
    }
    oaki_count_add(&h->past_large_bytes, mc->large_bytes);
    mc->large_bytes = 0;
    if (mc->zone->id == 0) return;
    oaki_count_add(&mc->zone->past_mallocs, n);
    oaki_count_add(&mc->zone->past_bytes, bytes);
}

void oaki_mcache_free(oaki_mcache *mc)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    oaki_heap *h = &oaki_the_heap;
    oaki_mcache_flush(mc);
    oaki_mcache_add_counts(mc);
    if (mc->next) mc->next->prev = mc->prev;
    if (mc->prev)
        mc->prev->next = mc->next;
    else
        h->mcaches = mc->next;
    oaki_meta_free(mc, sizeof *mc, OAKI_META_MCACHE);
}

/* ---- runs ---- */

/* First granule in [from, to) whose bit in A differs from `like`, as an offset; `to` when there is
 * none. */
OAKI_INLINE size_t next_unlike(uint64_t like, size_t from, size_t to)
{
    const uint64_t *a = oaki_the_heap.alloc;
    size_t g = from >> OAKI_GRANULE_SHIFT, end = to >> OAKI_GRANULE_SHIFT, w = g / 64;
    uint64_t bits = (a[w] ^ like) & (~(uint64_t)0 << (g % 64));
    while (!bits) {
        if (++w * 64 >= end) return to;
        bits = a[w] ^ like;
    }
    return OAKI_MIN((w * 64 + oaki_ctz(bits)) << OAKI_GRANULE_SHIFT, to);
}

static size_t next_free(size_t from, size_t to)
{
    return from < to ? next_unlike(~(uint64_t)0, from, to) : to;
}

static size_t next_allocated(size_t from, size_t to)
{
    return next_unlike(0, from, to);
}

/* In a heap long in use, a run is a few objects, and a call of memset takes longer than the
 * loop. */
static void zero(char *p, size_t n)
{
    if (n > ZERO_INLINE) {
        memset(p, 0, n);
        return;
    }
    for (char *end = p + n; p < end; p += OAKI_GRANULE) {
        memset(p, 0, OAKI_GRANULE);
        AO_compiler_barrier(); /* keeps the compiler from making it a call */
    }
}

/* Sets the run's end: at the end of the taken slots, or in front of the object to be noted. */
static void end_run(oaki_mcache *mc, unsigned sc, size_t size)
{
    oaki_run *r = &mc->run[sc];
    size_t bytes = (size_t)(mc->run_end[sc] - r->next);
    if (OAKI_LIKELY(bytes <= mc->sample_left[sc])) mc->sample_left[sc] -= bytes;
    else bytes = oaki_sample_before(mc, sc, size);
    r->end = r->next + bytes;
}

/* The object that the run was cut in front of; the run continues behind it. */
static OAKI_COLD char *take_sampled(oaki_mcache *mc, unsigned sc, size_t size)
{
    char *p = mc->run[sc].next;
    mc->run[sc].next = p + size;
    oaki_sample_met(mc, sc);
    end_run(mc, sc, size);
    return p;
}

static bool needs_zero(const oaki_span *s)
{
    return s->needzero && !(oaki_the_heap.dirty_kinds >> s->kind & 1);
}

/* Slots of the class in that many bytes. */
OAKI_INLINE size_t slots_in(const oaki_class *c, size_t bytes)
{
    return (bytes * c->magic) >> 32;
}

/* Makes the next free slots at or behind the cursor the run of spanclass sc. Returns false when
 * there are none. */
static bool next_run(oaki_mcache *mc, unsigned sc, oaki_span *s)
{
    const oaki_class *c = &oaki_classes[s->cls];
    OAKI_ASSERT(s->list == OAKI_LIST_CACHED && s->zone == mc->zone->id);
    OAKI_ASSERT(OAKI_SPANCLASS(s->kind, s->cls) == sc);
    size_t base = oaki_heap_offset(oaki_span_start(s)), end = base + (size_t)c->nslots * c->size;
    size_t from = base + OAKI_MAX(s->cursor, s->guarded ? c->size : 0), to, n;
    size_t max = oaki_debug_switches.stress || s->guarded || c->size >= RUN_MAX ? c->size : RUN_MAX;
    for (;; from = base + (slots_in(c, from - base) + 1) * c->size) {
        from = next_free(from, end);
        if (from >= end) {
            s->cursor = (uint32_t)(end - base);
            return false;
        }
        to = OAKI_MIN(next_allocated(from, end), from + max);
        n = slots_in(c, to - from);
        if (OAKI_LIKELY(n > 0 && slots_in(c, from - base) * c->size == from - base)) break;
        /* otherwise another thread is still clearing this slot */
    }
    to = from + n * c->size;
    char *p = (char *)(oaki_the_heap.base + from);
    oaki_track_alloc(p, to - from);
    if (needs_zero(s)) zero(p, to - from - (s->guarded ? OAKI_GUARD_GAP : 0));
    if (s->types) memset(s->types + slots_in(c, from - base), 0, n * sizeof *s->types);
    oaki_bits_allocate(from, to - from); /* an allocated slot may be read at once */
    mc->taken[sc] += (uint32_t)n;
    s->cursor = (uint32_t)(to - base);
    mc->mallocs[s->cls] += n;
    mc->run[sc].next = p;
    mc->run_end[sc] = p + (to - from);
    end_run(mc, sc, c->size);
    OAKI_ASSERT(to <= end && mc->run[sc].end <= mc->run_end[sc]);
    return true;
}

/* The span's count is updated only when it leaves the cache. Other threads may free objects of it
 * meanwhile, and a locked addition for each run is expensive. */
static void add_taken(oaki_mcache *mc, unsigned sc, oaki_span *s)
{
    AO_int_fetch_and_add(&s->nalloc, mc->taken[sc]);
    OAKI_ASSERT(AO_int_load(&s->nalloc) <= oaki_span_slots(s));
    mc->taken[sc] = 0;
}

/* Slots freed by hand lie below the cursor. If there are any, the cursor goes back to the start.
 * Returns their number. */
static unsigned start_over(oaki_span *s)
{
    unsigned n = AO_int_load(&s->nfreed);
    OAKI_ASSERT(s->list == OAKI_LIST_CACHED);
    if (n == 0) return 0;
    AO_int_store(&s->nfreed, 0);
    s->cursor = 0;
    s->needzero = 1;
    return n;
}

static bool run_from_cached(oaki_mcache *mc, unsigned sc)
{
    oaki_span *s = mc->span[sc];
    if (!s) return false;
    if (next_run(mc, sc, s)) return true;
    size_t again = start_over(s);
    oaki_count_add(&oaki_the_heap.live, again * s->size);
    if (again > 0 && next_run(mc, sc, s)) return true;
    add_taken(mc, sc, s);
    mc->span[sc] = NULL;
    mc->active[s->kind] &= ~((uint64_t)1 << s->cls);
    oaki_central_put(s, OAKI_LIST_FULL);
    return false;
}

static bool cache_span(oaki_mcache *mc, unsigned sc)
{
    OAKI_ASSERT(!mc->span[sc] && mc->taken[sc] == 0);
    oaki_span *s = oaki_central_take(mc->zone, sc);
    if (!s) return false;
    const oaki_class *c = &oaki_classes[s->cls];
    (void)start_over(s);
    bool empty = AO_int_load(&s->nalloc) < c->nslots / 4;
    if (OAKI_UNLIKELY(oaki_is_marking()) && empty)
        oaki_gc_will_write(oaki_heap_offset(oaki_span_start(s)),
                           (size_t)s->npages << OAKI_PAGE_SHIFT);
    mc->span[sc] = s;
    mc->active[s->kind] |= (uint64_t)1 << s->cls;
    oaki_count_add(&oaki_the_heap.live, (oaki_span_slots(s) - AO_int_load(&s->nalloc)) * c->size);
    return true;
}

static bool is_empty(const oaki_run *r, size_t size)
{
    return (size_t)(r->end - r->next) < size || r->end < r->next;
}

/* A slot, if there is one without a collection. */
static char *take_slot(oaki_mcache *mc, unsigned sc)
{
    OAKI_ASSERT(mc->thread == oaki_thread_self() || oaki_world_stopped());
    oaki_run *r = &mc->run[sc];
    size_t size = oaki_classes[sc % OAKI_CLASSES].size;
    while (is_empty(r, size)) {
        if (OAKI_UNLIKELY(r->end < mc->run_end[sc])) return take_sampled(mc, sc, size);
        if (!run_from_cached(mc, sc) && !cache_span(mc, sc)) return NULL;
    }
    char *p = r->next;
    r->next = p + size;
    return p;
}

typedef struct slot_want {
    oaki_want want;
    unsigned sc;
    char *slot; /* an address inside it, which keeps it, but not also the object before it */
} slot_want;

static bool take_wanted(oaki_want *w)
{
    slot_want *sw = (slot_want *)w;
    char *p = take_slot(w->thread->mcache, sw->sc);
    if (p) sw->slot = p + INSIDE;
    return p != NULL;
}

static OAKI_NOINLINE void *make_room(oaki_thread *t, unsigned sc)
{
    size_t pages = oaki_classes[sc % OAKI_CLASSES].npages;
    slot_want w = { .want = { .take = take_wanted, .pages = pages }, .sc = sc };
    if (oaki_room_make(t, &w.want)) return w.slot - INSIDE;
    errno = ENOMEM;
    return NULL;
}

void *oaki_mcache_refill(oaki_thread *t, unsigned sc)
{
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_INSIDE();
    oaki_mcache *mc = t->mcache;
    oaki_run *r = &mc->run[sc];
    const oaki_class *c = &oaki_classes[sc % OAKI_CLASSES];
    oaki_gc_stress(t);
    while (is_empty(r, c->size)) {
        if (OAKI_UNLIKELY(r->end < mc->run_end[sc])) return take_sampled(mc, sc, c->size);
        if (run_from_cached(mc, sc)) continue;
        oaki_gc_before_alloc(t, (size_t)c->npages << OAKI_PAGE_SHIFT);
        /* Code of the program may have allocated meanwhile: a finalizer, or a callback that reports
         * them. */
        if (!mc->span[sc] && !cache_span(mc, sc)) return make_room(t, sc);
    }
    char *p = r->next;
    r->next = p + c->size;
    return p;
}

/* Not true of a run that was cut in front of an object to be noted. */
static bool is_used_up(const oaki_mcache *mc, unsigned sc)
{
    return mc->run[sc].next == mc->run[sc].end && mc->run[sc].end == mc->run_end[sc];
}

bool oaki_mcache_more(oaki_mcache *mc, unsigned sc)
{
    OAKI_REQUIRES_SELF(mc->thread);
    OAKI_REQUIRES_INSIDE();
    return is_used_up(mc, sc) && run_from_cached(mc, sc);
}

/* ---- lists ---- */

/* The first granules of free slots of k granules, a power of two, in this word of A. Such slots
 * fill a span, and none lies in two words. */
static uint64_t free_slots(uint64_t word, size_t k)
{
    static const uint64_t firsts[] = { ~(uint64_t)0, ~(uint64_t)0 / 3, ~(uint64_t)0 / 15,
                                       ~(uint64_t)0 / 255, ~(uint64_t)0 / 65535 };
    uint64_t clear = ~word;
    for (size_t n = 1; n < k; n *= 2) clear &= clear >> n;
    return clear & firsts[oaki_log2(k)];
}

/* Takes slots of one word of A at a time, without a run for each few slots. Slots are linked before
 * they are allocated: no mark is in progress, so the list isn't read meanwhile. */
static size_t chain_word(oaki_span *s, size_t from, char **last, size_t n)
{
    size_t word = from / WORD_BYTES, base = word * WORD_BYTES, k = s->size >> OAKI_GRANULE_SHIFT;
    AO_t *a = (AO_t *)&oaki_the_heap.alloc[word];
    uint64_t mine = 0, slots = free_slots(AO_load(a), k);
    bool dirty = needs_zero(s);
    size_t left = n;
    slots &= ~(uint64_t)0 << ((from - base) >> OAKI_GRANULE_SHIFT);
    for (; slots && left > 0; left--) {
        unsigned i = oaki_ctz(slots);
        char *p = (char *)(oaki_the_heap.base + base + ((size_t)i << OAKI_GRANULE_SHIFT));
        oaki_track_alloc(p, s->size);
        if (dirty) zero(p, s->size);
        *(char **)(void *)*last = p;
        *last = p;
        mine |= ~(uint64_t)0 >> (64 - k) << i;
        slots &= slots - 1;
    }
    AO_or(a, mine);
    return n - left;
}

static bool can_chain(const oaki_mcache *mc, unsigned sc, const oaki_span *s)
{
    size_t k = s->size >> OAKI_GRANULE_SHIFT;
    return is_used_up(mc, sc) && k <= 16 && (k & (k - 1)) == 0 && !s->types &&
           !oaki_is_marking() && !s->guarded && !oaki_debug_switches.stress;
}

size_t oaki_mcache_chain(oaki_mcache *mc, unsigned sc, char **last, size_t n)
{
    OAKI_REQUIRES_SELF(mc->thread);
    OAKI_REQUIRES_INSIDE();
    oaki_span *s = mc->span[sc];
    if (!s || !can_chain(mc, sc, s)) return 0;
    size_t base = oaki_heap_offset(oaki_span_start(s)), from = base + s->cursor, got = 0;
    size_t end = base + (size_t)oaki_classes[s->cls].nslots * s->size;
    n = OAKI_MIN(n, mc->sample_left[sc] / s->size);
    while (got < n && from < end) {
        got += chain_word(s, from, last, n - got);
        from = got < n ? OAKI_ALIGN_DOWN(from, WORD_BYTES) + WORD_BYTES
                       : oaki_heap_offset(*last) + s->size;
    }
    mc->taken[sc] += (uint32_t)got;
    mc->mallocs[s->cls] += got;
    mc->sample_left[sc] -= got * s->size;
    s->cursor = (uint32_t)(OAKI_MIN(from, end) - base);
    return got;
}

/* ---- flushing ---- */

/* Subtracts the span's unused room from the live bytes: all of it was counted when the span was
 * cached. Slots freed by hand since are already subtracted. */
static void live_without_rest(const oaki_span *s)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_ASSERT(AO_int_load(&s->nalloc) <= oaki_span_slots(s));
    unsigned room = (unsigned)oaki_span_slots(s) - AO_int_load(&s->nalloc);
    size_t freed = OAKI_MIN(AO_int_load(&s->nfreed), room), rest = (room - freed) * s->size;
    oaki_count_sub_most(&h->live, rest);
}

static void flush_run(oaki_mcache *mc, unsigned sc)
{
    oaki_span *s = mc->span[sc];
    oaki_run *r = &mc->run[sc];
    const oaki_class *c = &oaki_classes[s->cls];
    size_t left = oaki_mcache_left(mc, sc), n = left / c->size;
    OAKI_ASSERT(s->list == OAKI_LIST_CACHED && s->zone == mc->zone->id);
    OAKI_ASSERT(left % c->size == 0 && n <= mc->taken[sc] && n <= mc->mallocs[s->cls]);
    if (left > 0) {
        oaki_bits_clear(oaki_the_heap.alloc, oaki_heap_offset(r->next), left);
        if (oaki_is_marking()) oaki_mark_fill(oaki_heap_offset(r->next), left);
        mc->taken[sc] -= (uint32_t)n;
        mc->mallocs[s->cls] -= n;
        mc->flushed[sc] = r->next;
        s->cursor = (uint32_t)(r->next - oaki_span_start(s));
    }
    oaki_sample_draw(mc, sc); /* even without slots left, as that depends on the last sample */
    r->next = r->end = mc->run_end[sc] = NULL;
    mc->span[sc] = NULL;
    add_taken(mc, sc, s);
    live_without_rest(s);
    oaki_central_give(s);
}

void oaki_mcache_flush(oaki_mcache *mc)
{
    OAKI_REQUIRES_INSIDE();
    /* slots of an earlier flush have been reused since */
    memset(mc->flushed, 0, sizeof mc->flushed);
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++) {
        uint64_t set = mc->active[kind];
        for (; set; set &= set - 1) flush_run(mc, OAKI_SPANCLASS(kind, oaki_ctz(set)));
        mc->active[kind] = 0;
    }
}

/* The flushed slots are clear in A and so set in M. Set in A too, they survive this cycle, empty as
 * they are. Of an allocated slot, M has at most the first granule. The slots lie at or above their
 * spans' cursors. A thread that caches such a span later may find a slot free again, with words
 * written to it. */
void oaki_mcache_in_flight(oaki_mcache *mc)
{
    OAKI_REQUIRES_STOPPED();
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
        char *p = mc->flushed[sc];
        if (!p) continue;
        mc->flushed[sc] = NULL;
        size_t off = oaki_heap_offset(p), size = oaki_classes[sc % OAKI_CLASSES].size;
        oaki_span *s = oaki_span_of_offset(off);
        OAKI_ASSERT(off - oaki_heap_offset(oaki_span_start(s)) >= s->cursor);
        OAKI_CHECK_SLOW(oaki_bits_none(oaki_the_heap.alloc, off, size));
        s->needzero = 1;
        oaki_bits_set(oaki_the_heap.alloc, off, size);
        for (size_t g = OAKI_GRANULE; g < size; g += OAKI_GRANULE) oaki_mark_clear(off + g);
        AO_int_fetch_and_add(&s->nalloc, 1);
        oaki_central_filled(s);
        mc->mallocs[sc % OAKI_CLASSES]++;
    }
}

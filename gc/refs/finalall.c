/* finalall.c - runs the finalizers and cleanups of all objects, or of a zone's, reachable or not.
 *
 * In rounds: a pause queues the records that are ready if the program reaches nothing, and the
 * calling thread runs them. An ordered one is ready once no object whose finalizer waits reaches
 * its object. A search with bits of its own finds the objects that these reach, as M belongs to
 * the collector. A context counts as a part of its object, unless then nothing is ready.
 *
 * Owns: the bits and the stack of a search. Lock: gc_lock and a pause, for a round's decision.
 * Bound: a decision visits each object that finalizable ones reach once; a chain takes a round
 * for each of its objects. A round runs as many as were ready when it began. At most
 * OAKI_TUNE_FINALIZE_ROUNDS rounds in a row leave as many records as before. */
#include "finalrecord.h"
#include "gc/concurrent/concurrent.h"
#include "gc/contract.h"
#include "gc/debug/edges.h"
#include "gc/tuning.h"
#include "runtime/collector.h"
#include "runtime/os.h"

#include <errno.h>
#include <oakum/zone.h>
#include <string.h>

typedef oaki_final_record record;

typedef struct search {
    const oak_zone *zone; /* NULL: all zones */
    uint64_t *seen;       /* a bit for each granule */
    size_t seen_bytes;
    size_t *stack; /* slots whose edges are to be visited */
    size_t stack_bytes, depth;
    size_t but, but_size; /* pointers into this slot don't count */
} search;

static record *at(uint32_t i)
{
    return oaki_objtable_at(&oaki_final.table, i);
}

static bool is_of_zone(const search *s, const record *r)
{
    return !s->zone || r->zone == s->zone->id;
}

static bool waits(const search *s, const record *r)
{
    return r->state == OAKI_FINAL_WAITING && is_of_zone(s, r);
}

/* ---- the search ---- */

/* The stack has room for each slot that may be live. Pages that aren't touched take no memory. */
static bool search_begin(search *s)
{
    size_t used = AO_load(&oaki_the_heap.used);
    s->seen_bytes = OAKI_ALIGN_UP(used / OAKI_GRANULE / 8, oaki_os_page_size());
    s->stack_bytes = used / OAKI_GRANULE * sizeof *s->stack;
    if (used == 0) return true;
    s->seen = oaki_os_map_scratch(s->seen_bytes);
    s->stack = oaki_os_reserve(s->stack_bytes, oaki_os_page_size());
    return s->seen && s->stack && oaki_os_commit(s->stack, s->stack_bytes) == 0;
}

static void search_end(search *s)
{
    if (s->seen) oaki_os_release(s->seen, s->seen_bytes);
    if (s->stack) oaki_os_release(s->stack, s->stack_bytes);
}

static bool is_seen(const search *s, const void *obj)
{
    return oaki_bit_get(s->seen, oaki_heap_offset(obj));
}

static bool note(search *s, size_t slot)
{
    size_t bit = slot >> OAKI_GRANULE_SHIFT;
    if (oaki_bit_get(s->seen, slot)) return false;
    s->seen[bit / 64] |= (uint64_t)1 << bit % 64;
    return true;
}

static void reach(search *s, size_t off)
{
    if (off - s->but < s->but_size) return;
    const void *obj = oaki_object_base((const char *)oaki_the_heap.base + off);
    if (!obj || !note(s, oaki_heap_offset(obj))) return;
    OAKI_ASSERT(s->depth < s->stack_bytes / sizeof *s->stack);
    s->stack[s->depth++] = oaki_heap_offset(obj);
}

static void reach_edges(void *ctx, const oaki_edge *edge, size_t n)
{
    for (size_t i = 0; i < n; i++) reach(ctx, edge[i].to);
}

/* A word outside of the heap, as it may be tagged. */
static void reach_word(search *s, const void *word)
{
    size_t to[OAKI_WORD_REFS];
    unsigned n = oaki_word_refs((uintptr_t)word, AO_load(&oaki_the_heap.used), to);
    for (unsigned i = 0; i < n; i++) reach(s, to[i]);
}

typedef struct handle {
    search *search;
    const void *obj;
} handle;

/* An ephemeron counts as if its key were alive. */
static void reach_value(void *ctx, void *of, void *key, void *value)
{
    const handle *h = ctx;
    (void)key;
    if (of == h->obj) reach_word(h->search, value);
}

static void visit(search *s, size_t slot)
{
    handle h = { s, (const char *)oaki_the_heap.base + slot };
    oaki_edges_of(slot, false, reach_edges, s);
    oaki_ephemerons_of(h.obj, reach_value, &h);
}

/* Visits all objects that a waiting finalizer's object reaches, without the object itself. */
static void reach_from(search *s, const record *r, bool with_contexts)
{
    size_t slot = oaki_heap_offset(r->link.obj);
    s->but = slot;
    s->but_size = r->kind == OAK_FINALIZER_IGNORE_SELF ? oaki_object_size(slot) : 0;
    visit(s, slot);
    s->but_size = 0;
    if (with_contexts) reach_word(s, r->ctx);
    while (s->depth > 0) visit(s, s->stack[--s->depth]);
}

/* ---- a round ---- */

typedef bool ready_fn(const search *s, const record *r);

static bool is_ready_unordered(const search *s, const record *r)
{
    (void)s;
    return r->kind == OAK_FINALIZER_NO_ORDER;
}

static bool is_ready_ordered(const search *s, const record *r)
{
    return r->kind != OAKI_FINAL_CLEANUP && !is_seen(s, r->link.obj);
}

static bool is_ready_cleanup(const search *s, const record *r)
{
    return r->kind == OAKI_FINAL_CLEANUP && !is_seen(s, r->link.obj);
}

static void queue(const search *s, ready_fn *is_ready)
{
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++)
        if (waits(s, at(i)) && is_ready(s, at(i))) oaki_final_append(i);
}

/* One waits or is queued already, as by a collection. */
static bool holds_up(const search *s, const record *r)
{
    return r->kind != OAKI_FINAL_CLEANUP && is_of_zone(s, r);
}

/* A cleanup waits for the finalizer of its object, and of each object that reaches it. */
static void decide(search *s, bool with_contexts)
{
    OAKI_REQUIRES_STOPPED();
    memset(s->seen, 0, s->seen_bytes);
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++)
        if (holds_up(s, at(i))) reach_from(s, at(i), with_contexts);
    queue(s, is_ready_unordered);
    queue(s, is_ready_ordered);
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++)
        if (at(i)->link.obj && at(i)->kind != OAKI_FINAL_CLEANUP)
            (void)note(s, oaki_heap_offset(at(i)->link.obj));
    queue(s, is_ready_cleanup);
}

static size_t count(const search *s, uint8_t state)
{
    size_t n = 0;
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++)
        n += at(i)->state == state && is_of_zone(s, at(i));
    return n;
}

static size_t count_waiting(const search *s)
{
    return count(s, OAKI_FINAL_WAITING);
}

/* Ready ones, and those that run. */
static size_t count_active(const search *s)
{
    return count(s, OAKI_FINAL_READY) + oaki_finalizers_running(s->zone, UINT64_MAX);
}

typedef struct round {
    size_t ready; /* the queue's length */
    size_t active, waiting;
} round;

/* Queues what is ready, and counts. 0, or ENOMEM. */
static int queue_round(const oak_zone *z, round *out)
{
    search s = { .zone = z };
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return ENOMEM;
    bool room = search_begin(&s);
    if (room && count_waiting(&s) > 0) {
        oaki_concurrent_give_up();
        decide(&s, true);
        if (count_active(&s) == 0) decide(&s, false);
    }
    out->ready = oaki_finalizers_ready();
    out->active = count_active(&s);
    out->waiting = count_waiting(&s);
    search_end(&s);
    oaki_edges_trim();
    oaki_gc_stop_end(t);
    return room ? 0 : ENOMEM;
}

/* Runs the first `n` of the queue, where other threads may take some of them, and waits for those
 * of the zone. false: one takes too long. */
static bool run_queued(const oak_zone *z, size_t n)
{
    (void)oaki_finalizers_run_most(n);
    uint64_t taken_ns = oaki_os_lately_ns(), waited = 0;
    unsigned running = oaki_finalizers_running(z, taken_ns);
    while (running > 0) {
        oaki_os_sleep_ns(OAKI_TUNE_FINALIZE_POLL_NS);
        unsigned now = oaki_finalizers_running(z, taken_ns);
        waited = now < running ? 0 : waited + OAKI_TUNE_FINALIZE_POLL_NS;
        running = now;
        if (waited > OAKI_TUNE_FINALIZE_PATIENCE_NS) return false;
    }
    return true;
}

static size_t count_left(const oak_zone *z)
{
    const search s = { .zone = z };
    oaki_thread *t = oaki_enter();
    if (!t) return 0;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    size_t n = count_waiting(&s) + count_active(&s);
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    oaki_leave(t);
    return n;
}

static int finalize(const oak_zone *z, size_t *left)
{
    size_t least = SIZE_MAX;
    unsigned vain = 0;
    round r = { .ready = oaki_finalizers_ready() };
    const oaki_thread *t = oaki_thread_attach_self();
    int error = !t ? ENOMEM : t->finalizes ? EDEADLK : 0;
    while (!error) {
        error = run_queued(z, r.ready) ? queue_round(z, &r) : EAGAIN;
        if (error || r.active == 0) break;
        vain = r.active + r.waiting < least ? 0 : vain + 1;
        least = OAKI_MIN(least, r.active + r.waiting);
        if (vain == OAKI_TUNE_FINALIZE_ROUNDS) error = EAGAIN;
    }
    if (!error && r.waiting > 0) error = EAGAIN;
    if (!error) return 0;
    if (left) *left = count_left(z);
    errno = error;
    return -1;
}

int oak_finalize_all(size_t *left)
{
    if (left) *left = 0;
    return finalize(NULL, left);
}

int oak_zone_finalize(oak_zone *z, size_t *left)
{
    if (left) *left = 0;
    if (z) oaki_zone_check_use(z, "oak_zone_finalize");
    return finalize(z ? z : &oaki_the_heap.zone0, left);
}

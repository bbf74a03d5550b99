/* finalall.c - runs the finalizers and cleanups of all objects, or of a zone's, reachable or not.
 *
 * In rounds: a pause queues the records that are ready if the program reaches nothing, and the
 * calling thread runs them. An ordered one is ready once no object whose finalizer waits reaches
 * its object. What the objects reach is found by a search with bits of its own, as M belongs to
 * the collector. A context counts as a part of its object, unless then nothing is ready.
 *
 * Owns: the bits and the stack of a search. Lock: gc_lock and a pause, for a round's decision.
 * Bound: a decision visits each object that finalizable ones reach once; a chain takes a round
 * for each of its objects. At most OAKI_TUNE_FINALIZE_ROUNDS rounds in a row leave as many records
 * as before. */
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

static bool waits(const search *s, const record *r)
{
    return r->state == OAKI_FINAL_WAITING &&
           (!s->zone || oaki_zone_id_of(r->link.obj) == s->zone->id);
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

typedef struct handle {
    search *search;
    const void *obj;
} handle;

/* An ephemeron counts as if its key were alive. */
static void reach_value(void *ctx, void *of, void *key, void *value)
{
    const handle *h = ctx;
    (void)key;
    if (of == h->obj && oaki_heap_contains(value)) reach(h->search, oaki_heap_offset(value));
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
    if (with_contexts && oaki_heap_contains(r->ctx)) reach(s, oaki_heap_offset(r->ctx));
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

static size_t queue(const search *s, ready_fn *is_ready)
{
    size_t n = 0;
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++) {
        if (!waits(s, at(i)) || !is_ready(s, at(i))) continue;
        oaki_final_append(i);
        n++;
    }
    return n;
}

/* A cleanup waits for the finalizer of its object, and of each object that reaches it. */
static size_t decide(search *s, bool with_contexts)
{
    OAKI_REQUIRES_STOPPED();
    memset(s->seen, 0, s->seen_bytes);
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++)
        if (waits(s, at(i)) && at(i)->kind != OAKI_FINAL_CLEANUP)
            reach_from(s, at(i), with_contexts);
    size_t n = queue(s, is_ready_unordered) + queue(s, is_ready_ordered);
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++)
        if (at(i)->link.obj && at(i)->kind != OAKI_FINAL_CLEANUP)
            (void)note(s, oaki_heap_offset(at(i)->link.obj));
    return n + queue(s, is_ready_cleanup);
}

static size_t count_waiting(const search *s)
{
    size_t n = 0;
    for (uint32_t i = 0; i < oaki_final.table.records.len; i++) n += waits(s, at(i));
    return n;
}

/* Queues what is ready, and counts what waits besides. 0, or ENOMEM. */
static int queue_round(const oak_zone *z, size_t *queued, size_t *waiting)
{
    search s = { .zone = z };
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return ENOMEM;
    bool room = search_begin(&s);
    *queued = 0;
    if (room && count_waiting(&s) > 0) {
        oaki_concurrent_give_up();
        *queued = decide(&s, true);
        if (*queued == 0) *queued = decide(&s, false);
    }
    *waiting = count_waiting(&s);
    search_end(&s);
    oaki_edges_trim();
    oaki_gc_stop_end(t);
    return room ? 0 : ENOMEM;
}

/* Runs what is queued, and waits for what other threads run. false: one of those takes too long. */
static bool run_queued(void)
{
    uint64_t waited = 0;
    size_t ran = oaki_gc_finalizers_ran();
    (void)oak_finalizers_run();
    while (oaki_finalizers_ready() > 0 || oak_finalizer_running_ns() > 0) {
        oaki_os_sleep_ns(OAKI_TUNE_FINALIZE_POLL_NS);
        (void)oak_finalizers_run();
        waited = oaki_gc_finalizers_ran() == ran ? waited + OAKI_TUNE_FINALIZE_POLL_NS : 0;
        ran = oaki_gc_finalizers_ran();
        if (waited > OAKI_TUNE_FINALIZE_PATIENCE_NS) return false;
    }
    return true;
}

static int finalize(const oak_zone *z, size_t *left)
{
    size_t least = SIZE_MAX, queued = 1, waiting = 0;
    unsigned vain = 0;
    const oaki_thread *t = oaki_thread_attach_self();
    int error = !t ? ENOMEM : t->finalizes ? EDEADLK : 0;
    while (!error) {
        if (!run_queued())
            error = EAGAIN;
        else
            error = queue_round(z, &queued, &waiting);
        if (error || queued == 0) break;
        vain = waiting < least ? 0 : vain + 1;
        least = OAKI_MIN(least, waiting);
        if (vain == OAKI_TUNE_FINALIZE_ROUNDS) error = EAGAIN;
    }
    if (!error && waiting > 0) error = EAGAIN;
    if (left) *left = waiting + oaki_finalizers_ready();
    if (!error) return 0;
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
    return finalize(z ? z : &oaki_the_heap.zone0, left);
}

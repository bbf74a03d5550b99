/* cycle.c - a collection from end to end.
 *
 * Owns: the phases, gc_lock, the counters of cycles and pauses. The order of a cycle is in gc.h.
 * A thread waits for gc_lock in a blocking region, as the holder may be stopping the world.
 * Lock: everything here is under gc_lock, save the counters that others read. */
#include "gc.h"
#include "mark.h"
#include "pace.h"
#include "runtime/collector.h"
#include "runtime/os.h"
#include "runtime/track.h"
#include "sweep.h"
#include "trace.h"
#include "verify.h"
#include <oakum/gc.h>
#include <string.h>

#define HOOKS 8

static struct {
    void (*hook[HOOKS])(void);
    size_t nhooks;
    AO_t disabled; /* depth of oak_gc_disable */
    AO_t forced;   /* collections asked for */
    AO_t stress_count;
    size_t roots_bytes; /* stacks and globals scanned by the current mark */
    size_t stack_bytes, data_bytes;
    uint64_t start_ns; /* of the process's use of us */
    uint64_t gc_cpu_ns;
    uint64_t pause_total_ns, last_gc_ns;
    uint64_t pause_ns[256], pause_end[256];
} gc;

/* ---- roots ---- */

OAKI_NO_ASAN static void mark_stack_words(const oaki_root *r)
{
    oak_marker *m = oaki_worker(0);
    bool in_flight = false;
    for (const char *p = r->lo; p + sizeof(uintptr_t) <= r->hi; p += sizeof(uintptr_t)) {
        uintptr_t w = *(const uintptr_t *)p;
        in_flight |= oaki_mcache_is_fast_path(w);
        oaki_mark_ambiguous(m, w);
    }
    /* Only where a signal stopped it can a thread be half way; elsewhere such a word is a relic. */
    if (in_flight && r->thread && r->thread->pc) oaki_mcache_in_flight(r->thread->mcache);
}

static void mark_root(const oaki_root *r, void *ctx)
{
    (void)ctx;
    if (r->hi <= r->lo) return;
    size_t n = (size_t)(r->hi - r->lo);
    gc.roots_bytes += n;
    if (r->kind == OAKI_ROOT_STACK || r->kind == OAKI_ROOT_FIBER) gc.stack_bytes += n;
    if (r->kind == OAKI_ROOT_DATA) gc.data_bytes += n;
    if (r->past_end)
        mark_stack_words(r);
    else if (n < OAKI_PAGE || !oaki_ranges_add(r->lo, r->hi))
        oaki_mark_scan(oaki_worker(0), r->lo, r->hi);
}

static void mark_pinned(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages) {
        const oaki_span *s = &h->spans[page];
        if ((h->pte[page] & OAKI_PTE_CLASS) == 0 || s->kind != OAKI_PINNED) continue;
        size_t base = page << OAKI_PAGE_SHIFT,
               slots = s->cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[s->cls].nslots;
        for (size_t i = 0; i < slots; i++)
            if (oaki_bit_get(h->alloc, base + i * s->size))
                oaki_mark_pointer((char *)h->base + base + i * s->size);
    }
}

/* ---- the stop ---- */

/* M = ~A wherever there are spans. */
static void prepare_bits(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t chunks = AO_load(&h->used) / OAKI_CHUNK, words = OAKI_CHUNK / OAKI_GRANULE / 64;
    for (size_t c = 0; c < chunks; c++)
        if (h->chunk_inuse[c]) oaki_mark_prepare(c * words, words);
}

static void mark_all(void)
{
    gc.roots_bytes = gc.stack_bytes = gc.data_bytes = 0;
    oaki_roots_visit(mark_root, NULL);
    mark_pinned();
    oaki_finalizers_mark_roots();
    oaki_mark_drain();
    oaki_ephemerons_fixpoint();
    oaki_weak_clear(false);
    oaki_finalizers_decide();
    oaki_ephemerons_fixpoint();
    oaki_weak_clear(true);
    oaki_ephemerons_clear();
}

/* Returns nanoseconds that it took, which are no part of the cycle's: pacing is to be the same. */
static uint64_t verify(void)
{
    if (!oaki_debug_switches.verify) return 0;
    uint64_t from = oaki_os_now_ns();
    oaki_verify();
    return oaki_os_now_ns() - from;
}

/* Returns nanoseconds that don't count. */
static uint64_t stopped_part(oaki_trace *tr)
{
    oaki_heap *h = &oaki_the_heap;
    for (oaki_mcache *mc = h->mcaches; mc; mc = mc->next) oaki_mcache_flush(mc);
    for (size_t i = 0; i < gc.nhooks; i++) gc.hook[i]();
    AO_store(&h->marking, 1);
    oaki_workers_begin();
    prepare_bits();
    mark_all();
    uint64_t aside = verify();
    size_t live = oaki_workers_bytes();
    oaki_mark_release();
    AO_store(&h->marking, 0);
    AO_store_release(&h->cycle, AO_load(&h->cycle) + 1);
    oaki_pace_marked(live, gc.roots_bytes);
    oaki_sweep_begin(live, AO_load(&h->trigger));
    tr->heap_live = live;
    return aside;
}

static double cpu_fraction(void)
{
    double total = (double)(oaki_os_now_ns() - gc.start_ns) * oaki_os_cpus();
    return total > 0 ? (double)gc.gc_cpu_ns / total : 0;
}

static void count_pause(uint64_t ns)
{
    unsigned i = (unsigned)(AO_load(&oaki_the_heap.cycle) + 255) % 256;
    gc.last_gc_ns = oaki_os_wall_ns();
    gc.pause_total_ns += ns;
    gc.pause_ns[i] = ns;
    gc.pause_end[i] = gc.last_gc_ns;
}

/* Not part of the frame that is scanned: it would hold words that sweeping left there. false when
 * the world could not be stopped yet. */
static OAKI_NOINLINE bool run_cycle(oaki_thread *t, oaki_gc_why why)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_trace tr = { .forced = why == OAKI_GC_ASKED };
    oaki_workers_spawn();
    oaki_sweep_spawn();
    oaki_helpers_hold();
    oaki_gc_sweep_all();
    tr.heap_start = AO_load(&h->live);
    tr.goal = oaki_pace_goal();
    uint64_t t0 = oaki_os_now_ns(), cpu0 = oaki_os_cpu_ns();
    if (!oaki_world_stop(t)) {
        oaki_helpers_release();
        return false;
    }
    uint64_t t1 = oaki_os_now_ns(), cpu1 = oaki_os_cpu_ns();
    uint64_t aside = stopped_part(&tr);
    t0 += aside;
    t1 += aside;
    uint64_t t2 = oaki_os_now_ns(), cpu2 = oaki_os_cpu_ns();
    oaki_world_start(t);
    uint64_t t3 = oaki_os_now_ns();
    oaki_helpers_release();
    uint64_t cpu = oaki_os_cpu_ns() - cpu0;
    gc.gc_cpu_ns += cpu;
    count_pause(t3 - t0);
    oaki_pace_cycle(t3, OAKI_MIN(cpu, t3 - t0));
    if (!oaki_debug_switches.gctrace) return true;
    tr.cycle = AO_load(&h->cycle);
    tr.since_start = t0 - gc.start_ns;
    tr.stop = t1 - t0;
    tr.mark = t2 - t1;
    tr.mark_end = t3 - t2;
    /* As Go counts: what stands costs every processor; of the mark, what was worked. */
    tr.processors = oaki_os_cpus();
    tr.stop_cpu = tr.stop * tr.processors;
    tr.mark_cpu = cpu2 - cpu1;
    tr.mark_end_cpu = tr.mark_end * tr.processors;
    tr.heap_end = tr.heap_start;
    tr.stacks = gc.stack_bytes;
    tr.globals = gc.data_bytes;
    tr.cpu_fraction = cpu_fraction();
    oaki_trace_cycle(&tr);
    return true;
}

/* ---- entries ---- */

/* The frame of this function holds the caller's registers until the end: noinline, and the
 * context is saved in it. */
OAKI_NOINLINE bool oaki_gc_collect(oaki_thread *t, oaki_gc_why why)
{
    oaki_heap *h = &oaki_the_heap;
    if (AO_load(&gc.disabled)) return false;
    size_t cycle = AO_load(&h->cycle);
    for (bool done = false; !done;) {
        oaki_roots_refresh(t);
        oaki_lock_acquire_parked(t, &h->gc_lock);
        oaki_thread_save_context(t);
        done = (why == OAKI_GC_DUE && AO_load(&h->cycle) != cycle) || run_cycle(t, why);
        oaki_lock_release(&h->gc_lock);
    }
    oaki_sweep_wake();
    oaki_leave(t);
    oaki_finalizers_dispatch();
    oaki_scavenger_spawn();
    (void)oaki_enter();
    return true;
}

void oaki_gc_before_alloc(oaki_thread *t, size_t bytes)
{
    (void)bytes;
    oaki_sweep_pay();
    if (OAKI_UNLIKELY(oaki_pace_due())) (void)oaki_gc_collect(t, OAKI_GC_DUE);
}

void oaki_gc_stress(oaki_thread *t)
{
    size_t every = (size_t)oaki_debug_switches.stress;
    if (OAKI_LIKELY(!every)) return;
    if ((AO_fetch_and_add(&gc.stress_count, 1) + 1) % every == 0)
        (void)oaki_gc_collect(t, OAKI_GC_NEEDED);
}

int oaki_gc_at_cycle(void (*fn)(void))
{
    size_t i = 0;
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
    while (i < gc.nhooks && gc.hook[i] != fn) i++;
    OAKI_INVARIANT(i < HOOKS, "more hooks than places");
    gc.hook[i] = fn;
    gc.nhooks = OAKI_MAX(gc.nhooks, i + 1);
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_leave(t);
    return 0;
}

void oak_collect(void)
{
    oaki_thread *t = oaki_enter();
    if (!t) return;
    AO_fetch_and_add(&gc.forced, 1);
    if (oaki_gc_collect(t, OAKI_GC_ASKED)) oaki_gc_sweep_all();
    oaki_leave(t);
}

void oak_gc_disable(void)
{
    AO_fetch_and_add_full(&gc.disabled, 1);
}

void oak_gc_enable(void)
{
    if (AO_fetch_and_add_full(&gc.disabled, (AO_t)-1) == 0)
        oak_fatal("oakum: oak_gc_enable: without oak_gc_disable");
}

/* ---- stops for readers ---- */

OAKI_NOINLINE oaki_thread *oaki_gc_stop_begin(void)
{
    oaki_thread *t = oaki_enter();
    if (!t) return NULL;
    for (;;) {
        oaki_roots_refresh(t);
        oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
        oaki_thread_save_context(t);
        oaki_helpers_hold();
        if (oaki_world_stop(t)) return t;
        oaki_helpers_release();
        oaki_lock_release(&oaki_the_heap.gc_lock);
    }
}

void oaki_gc_stop_end(oaki_thread *t)
{
    oaki_world_start(t);
    oaki_helpers_release();
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_leave(t);
}

void oaki_gc_object_freed(void *obj)
{
    oaki_finalizers_forget(obj);
    oaki_weak_forget(obj);
    oaki_ephemerons_forget(obj);
}

void oaki_gc_stats(oak_memstats *out)
{
    out->num_gc = (uint32_t)AO_load(&oaki_the_heap.cycle);
    out->num_forced_gc = (uint32_t)AO_load(&gc.forced);
    out->pause_total_ns = gc.pause_total_ns;
    out->last_gc = gc.last_gc_ns;
    memcpy(out->pause_ns, gc.pause_ns, sizeof gc.pause_ns);
    memcpy(out->pause_end, gc.pause_end, sizeof gc.pause_end);
    out->enable_gc = AO_load(&gc.disabled) == 0;
    out->gc_sys += oaki_mark_stack_bytes();
    out->gc_cpu_fraction = cpu_fraction();
    out->weak_refs = oaki_weak_count();
    oaki_finalizers_stats(out);
}

int oaki_gc_init(void)
{
    gc.start_ns = oaki_os_now_ns();
    oaki_mark_init();
    oaki_pace_init();
    return oaki_workers_init() || oaki_sweep_init() || oaki_finalizers_init() || oaki_weak_init() ||
                   oaki_ephemerons_init()
               ? -1
               : 0;
}

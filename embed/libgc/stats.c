/* stats.c - statistics. docs/libgc.md defines each figure.
 *
 * Programs call the getters with the world stopped, with the allocation lock held, and from mark
 * procedures. So the getters wait for no lock that the caller of a callback may hold. Figures that
 * belong together may be of slightly different moments.
 *
 * Owns: the figures of the last collection, and the largest size so far. They are written in
 * pauses, or added to atomically. Bound: counts of allocated bytes, O(threads * size classes);
 * walks over objects, O(slots). */
#include "libgc.h"

#include "runtime/markbits.h"
#include "runtime/meta.h"
#include <string.h>

static struct {
    AO_t peak;              /* the most bytes of the heap that were seen backed by memory */
    AO_t obtained;
    AO_t allocated;         /* all bytes ever allocated, as last returned */
    size_t total_at_gc;     /* allocated bytes when the last collection began */
    size_t live_at_gc;      /* live bytes by the heap's count, likewise */
    size_t reclaimed;       /* by all collections except the last one; by that one */
    size_t reclaimed_last;
    AO_t freed;             /* by GC_free since the last collection */
    AO_t told;              /* allocated bytes that the program has added */
    bool measuring;
    uint64_t full_ns;
} self;

/* ---- sizes ---- */

static size_t backed(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t inuse = AO_load(&h->pages_inuse), idle = AO_load(&h->pages_free),
           released = AO_load(&h->pages_released);
    return (inuse + (idle > released ? idle - released : 0)) << OAKI_PAGE_SHIFT;
}

static void raise_to(AO_t *most, size_t n)
{
    AO_t old;
    do old = AO_load(most);
    while (n > old && !AO_compare_and_swap(most, old, n));
}

size_t GC_get_heap_size(void)
{
    size_t now = backed();
    raise_to(&self.peak, now);
    return OAKI_MAX(now, lgc.expanded);
}

size_t GC_get_free_bytes(void)
{
    size_t all = GC_get_heap_size(), inuse = AO_load(&oaki_the_heap.pages_inuse)
                                             << OAKI_PAGE_SHIFT;
    return all > inuse ? all - inuse : 0;
}

/* Bytes that were backed by memory and aren't now; at most the bytes that aren't backed now. */
size_t GC_get_unmapped_bytes(void)
{
    size_t now = GC_get_heap_size(), peak = AO_load(&self.peak);
    size_t released = AO_load(&oaki_the_heap.pages_released) << OAKI_PAGE_SHIFT;
    return peak > now ? OAKI_MIN(peak - now, released) : 0;
}

size_t GC_get_obtained_from_os_bytes(void)
{
    raise_to(&self.obtained, GC_get_heap_size() + GC_get_unmapped_bytes() + oaki_meta_mapped());
    return AO_load(&self.obtained);
}

size_t GC_get_memory_use(void)
{
    return AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT;
}

/* ---- allocated bytes ---- */

/* Bytes that a thread has allocated. For the calling thread, the rest of its runs is not counted.
 * Runs of other threads are in use meanwhile, so they count as a whole. */
static size_t allocated_by(const oaki_mcache *mc)
{
    size_t n = mc->large_bytes;
    for (unsigned c = 1; c < oaki_nclasses; c++) n += mc->mallocs[c] * oaki_classes[c].size;
    if (mc->thread != oaki_thread_self()) return n;
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++)
        for (uint64_t set = mc->active[kind]; set; set &= set - 1)
            n -= oaki_mcache_left(mc, OAKI_SPANCLASS(kind, oaki_ctz(set)));
    return n;
}

/* All allocated bytes. The result never falls, although a run that counted as a whole may be given
 * back. Under the two locks, the list of threads changes, and counts move from caches to the
 * heap. */
static size_t total(void)
{
    const oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK_OR_STOPPED(&h->threads_lock);
    OAKI_REQUIRES_LOCK_OR_STOPPED(&h->zones.lock);
    size_t n = AO_load(&h->past_large_bytes) + AO_load(&self.told);
    for (unsigned c = 1; c < oaki_nclasses; c++)
        n += AO_load(&h->past_mallocs[c]) * oaki_classes[c].size;
    for (const oaki_mcache *mc = h->mcaches; mc; mc = mc->next) n += allocated_by(mc);
    raise_to(&self.allocated, n);
    return AO_load(&self.allocated);
}

/* As total, or the last result if the calling thread isn't attached. Marking threads are not
 * attached, and a pause may wait for them, so they must not wait here. */
static size_t total_or_last(void)
{
    oaki_heap *h = &oaki_the_heap;
    if (!oaki_lock_try(&h->threads_lock)) return AO_load(&self.allocated);
    size_t n = AO_load(&self.allocated);
    if (oaki_lock_try(&h->zones.lock)) {
        n = total();
        oaki_lock_release(&h->zones.lock);
    }
    oaki_lock_release(&h->threads_lock);
    return n;
}

/* Take threads_lock. A pause holds it, so a waiting thread counts as stopped. A caller that is
 * inside of the runtime holds gc_lock, so no other thread stops the world; but not in the stop
 * function. Returns the argument of unlock_threads. */
static oaki_thread *lock_threads(void)
{
    oaki_thread *entered = lgc_enter(), *waits = lgc_asks() ? oaki_thread_self() : entered;
    if (waits) oaki_lock_acquire_parked(waits, &oaki_the_heap.threads_lock);
    else oaki_lock_acquire(&oaki_the_heap.threads_lock);
    return entered;
}

static void unlock_threads(oaki_thread *entered)
{
    oaki_lock_release(&oaki_the_heap.threads_lock);
    lgc_leave(entered);
}

LGC_OUTSIDE(size_t, GC_get_total_bytes, (void), ())

size_t GC_get_total_bytes(void)
{
    if (!AO_load_acquire(&lgc.started)) return 0;
    if (lgc_is_blocked()) return GC_get_total_bytes_outside();
    const oaki_thread *t = oaki_thread_self();
    if (!t) return total_or_last();
    if (t->in_runtime && oaki_world_stopped()) return total();
    oaki_thread *entered = lock_threads();
    oaki_lock_acquire(&oaki_the_heap.zones.lock);
    size_t n = total();
    oaki_lock_release(&oaki_the_heap.zones.lock);
    unlock_threads(entered);
    return n;
}

static size_t since_gc(size_t all)
{
    return all > self.total_at_gc ? all - self.total_at_gc : 0;
}

size_t GC_get_bytes_since_gc(void)
{
    return since_gc(GC_get_total_bytes());
}

/* Not atomic as a whole, so one of two updates at once may be lost. The figure is approximate, and
 * GC_free must not wait. */
void lgc_stats_freed(size_t bytes)
{
    AO_store(&self.freed, AO_load(&self.freed) + bytes);
}

/* The heap has counted the object when it was handed out first. Not atomic, as above. */
void lgc_stats_reused(size_t bytes)
{
    AO_store(&self.told, AO_load(&self.told) + bytes);
}

void GC_incr_bytes_allocd(size_t n)
{
    AO_fetch_and_add(&self.told, n);
}

void GC_incr_bytes_freed(size_t n)
{
    lgc_stats_freed(n);
}

size_t GC_get_expl_freed_bytes_since_gc(void)
{
    return AO_load(&self.freed);
}

void lgc_stats_marked(void)
{
    self.reclaimed += self.reclaimed_last;
    self.reclaimed_last = 0; /* until the end of this one */
    self.total_at_gc = total();
    self.live_at_gc = AO_load(&oaki_the_heap.live);
    AO_store(&self.freed, 0);
}

void lgc_stats_cycle(uint64_t pause_ns)
{
    size_t live = AO_load(&oaki_the_heap.live);
    self.reclaimed_last = self.live_at_gc > live ? self.live_at_gc - live : 0;
    if (self.measuring) self.full_ns += pause_ns;
    raise_to(&self.peak, backed());
    lgc_insides_cycle(self.total_at_gc, since_gc(AO_load(&self.allocated)));
}

void GC_start_performance_measurement(void)
{
    self.measuring = true;
}

unsigned long GC_get_full_gc_total_time(void)
{
    return (unsigned long)(self.full_ns / 1000000);
}

/* ---- several at once ---- */

void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_bytes, GC_word *unmapped, GC_word *since,
                            GC_word *all)
{
    if (heap) *heap = GC_get_heap_size();
    if (free_bytes) *free_bytes = GC_get_free_bytes();
    if (unmapped) *unmapped = GC_get_unmapped_bytes();
    size_t allocated = GC_get_total_bytes();
    if (since) *since = since_gc(allocated);
    if (all) *all = allocated;
}

size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t size)
{
    size_t heap = GC_get_heap_size(), unmapped = GC_get_unmapped_bytes(),
           all = GC_get_total_bytes(), since = since_gc(all);
    struct GC_prof_stats_s s = {
        .heapsize_full = heap + unmapped,
        .free_bytes_full = GC_get_free_bytes() + unmapped,
        .unmapped_bytes = unmapped,
        .bytes_allocd_since_gc = since,
        .allocd_bytes_before_gc = all - since,
        .non_gc_bytes = GC_non_gc_bytes,
        .gc_no = GC_gc_no,
        .markers_m1 = (GC_word)GC_parallel,
        .bytes_reclaimed_since_gc = self.reclaimed_last,
        .reclaimed_bytes_before_gc = self.reclaimed,
        .expl_freed_bytes_since_gc = GC_get_expl_freed_bytes_since_gc(),
        .obtained_from_os_bytes = GC_get_obtained_from_os_bytes(),
    };
    size_t known = OAKI_MIN(size, sizeof s);
    memcpy(out, &s, known);
    if (size > known) memset((char *)out + known, 0xff, size - known);
    return known;
}

size_t GC_get_prof_stats(struct GC_prof_stats_s *out, size_t size)
{
    return GC_get_prof_stats_unsafe(out, size);
}

/* ---- walks over objects ---- */

/* Whether a slot is an object. Free slots of a thread's run have their alloc bit set, too. A thread
 * that ends frees its cache under threads_lock. */
static bool is_used(const oaki_span *s, unsigned sc, const char *p)
{
    if (s->list != OAKI_LIST_CACHED && s->list != OAKI_LIST_NONE) return true;
    bool stopped = oaki_world_stopped();
    oaki_thread *entered = stopped ? NULL : lock_threads();
    const oaki_mcache *mc = oaki_the_heap.mcaches;
    while (mc && mc->span[sc] != s) mc = mc->next;
    bool is_free = mc && p >= mc->run[sc].next && p < mc->run_end[sc];
    if (!stopped) unlock_threads(entered);
    return !is_free;
}

/* As the span was when it was copied. It may be freed meanwhile, but its memory stays mapped. */
static void walk_span(const oaki_span *s, const oaki_span *copy, GC_reachable_object_proc fn,
                      void *ctx)
{
    bool large = copy->cls == OAKI_CLASS_LARGE;
    char *p = oaki_span_start(s) + copy->shift;
    const char *end = p + (large ? 1 : (size_t)copy->npages << OAKI_PAGE_SHIFT);
    size_t size = large ? copy->size : oaki_classes[copy->cls].size;
    if (size == 0) return; /* its allocation is under way */
    for (; large ? p < end : p + size <= end; p += size)
        if (oaki_object_base(p) == p && is_used(s, OAKI_SPANCLASS(copy->kind, copy->cls), p))
            fn(p, size, ctx);
}

/* Copy the span that begins at this page, if there is one. Otherwise the class is 0. Returns how
 * many pages further the next one may begin. Free runs are passed page by page: they are joined
 * meanwhile, and only the first and last structs of a run hold its length. */
static size_t copy_span(size_t page, oaki_span *copy)
{
    oaki_heap *h = &oaki_the_heap;
    size_t pages = 1;
    copy->cls = 0;
    if (!(h->pte[page] & OAKI_PTE_CLASS)) return pages;
    oaki_thread *entered = lgc_enter();
    oaki_lock_acquire(&h->pages_lock);
    oaki_pte e = h->pte[page];
    /* a run whose memory is being returned has the class of an object, but no kind */
    if ((e & OAKI_PTE_CLASS) && oaki_pte_kind(e) < OAKI_KINDS) {
        size_t first = oaki_page_first(page);
        *copy = h->spans[first];
        pages = first + copy->npages - page;
        if (first != page) copy->cls = 0; /* newer than the walk: it has replaced the one here */
    }
    oaki_lock_release(&h->pages_lock);
    lgc_leave(entered);
    return pages;
}

/* The caller holds the allocation lock, so no collection changes the spans. Other threads run: they
 * make and free spans, and return memory to the system. */
void GC_enumerate_reachable_objects_inner(GC_reachable_object_proc fn, void *ctx)
{
    size_t end = AO_load(&oaki_the_heap.used) >> OAKI_PAGE_SHIFT;
    oaki_span copy;
    for (size_t page = 0, pages; page < end; page += pages) {
        pages = copy_span(page, &copy);
        if (copy.cls) walk_span(&oaki_the_heap.spans[page], &copy, fn, ctx);
    }
}

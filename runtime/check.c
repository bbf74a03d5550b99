/* check.c - walks over the heap's structures: spans and their bits, free runs, lists, caches,
 * accounts, threads. Run by OAKUM_DEBUG=verify=1 in each stop but a handshake's, and by the tests.
 *
 * A walk returns the violated rule, which begins with the structure's name; or NULL.
 * Owns nothing; uses oak_zone.mallocs, as readers of the accounts do. Lock: the world is stopped,
 * and helpers are held; oaki_pages_check takes pages_lock instead. Bound: O(slots and pages in use,
 * threads * span classes). */
#include "heap.h"
#include "meta.h"
#include "roots.h"
#include <string.h>

/* Counts from the walk over the spans. */
typedef struct census {
    size_t objects[OAKI_CLASSES]; /* allocated, by class */
    size_t listed, cached;        /* spans */
} census;

static size_t used_pages(void)
{
    return AO_load(&oaki_the_heap.used) >> OAKI_PAGE_SHIFT;
}

static bool is_free(size_t page)
{
    return page > 0 && page < used_pages() && !(oaki_the_heap.pte[page] & OAKI_PTE_CLASS);
}

/* ---- the page heap ---- */

static const char *check_run(size_t page, const oaki_span *s, size_t *nreleased)
{
    oaki_heap *h = &oaki_the_heap;
    size_t rel = 0;
    for (size_t i = page; i < page + s->npages; i++) {
        if (h->pte[i] & OAKI_PTE_CLASS) return "pages: a free run's entries are free";
        bool released = (h->pte[i] & OAKI_PTE_RELEASED) != 0;
        if (!released && !oaki_bits_none(h->alloc, i << OAKI_PAGE_SHIFT, OAKI_PAGE))
            return "pages: nothing is allocated in a free run";
        rel += released;
    }
    if (rel != s->nreleased) return "pages: nreleased counts the released entries";
    if (h->spans[page + s->npages - 1].npages != s->npages)
        return "pages: first and last struct agree";
    if (page > 0 && is_free(page + s->npages)) return "pages: free runs are joined";
    *nreleased += rel;
    return NULL;
}

static const char *check_pages(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t end = used_pages(), free = 0, inuse = 0, released = 0, pinned = 0, spans = 0;
    for (size_t page = 0, n; page < end; page += n) {
        oaki_span *s = &h->spans[page];
        n = s->npages;
        if (n == 0) return "pages: runs are not empty";
        if ((h->pte[page] & OAKI_PTE_CLASS) == 0) {
            const char *broken = check_run(page, s, &released);
            if (broken) return broken;
            free += n;
            continue;
        }
        if (oaki_page_first(page + n - 1) != page)
            return "pages: a span's entries lead to its first page";
        size_t head = s->cls == OAKI_CLASS_LARGE ? s->cursor : 0;
        spans++;
        inuse += n - head;
        pinned += s->kind == OAKI_PINNED;
        free += head;
        released += head;
    }
    if (inuse != AO_load(&h->pages_inuse)) return "pages: pages_inuse counts the spans' pages";
    if (free != AO_load(&h->pages_free)) return "pages: pages_free counts the free runs";
    if (spans != AO_load(&h->nspans)) return "pages: nspans counts spans";
    if (pinned != AO_load(&h->npinned)) return "pages: npinned counts pinned spans";
    if (released != AO_load(&h->pages_released))
        return "pages: pages_released counts released pages";
    return NULL;
}

/* Each bin holds free runs, and bin_set has its bit iff it holds any. */
static const char *check_bins(void)
{
    const oaki_heap *h = &oaki_the_heap;
    for (unsigned b = 0; b < OAKI_BINS; b++) {
        if ((h->bin[b] != 0) != (h->bin_set[b / 64] >> (b % 64) & 1))
            return "pages: bin_set has a bit for each bin with runs";
        for (uint32_t i = h->bin[b], before = 0; i; before = i, i = h->spans[i - 1].next) {
            if (!is_free(i - 1)) return "pages: what is in a bin is free";
            if (h->spans[i - 1].prev != before) return "pages: a bin's links go both ways";
        }
    }
    return NULL;
}

const char *oaki_pages_check(void)
{
    oaki_lock_acquire(&oaki_the_heap.pages_lock);
    const char *broken = check_pages();
    if (!broken) broken = check_bins();
    oaki_lock_release(&oaki_the_heap.pages_lock);
    return broken;
}

/* ---- spans ---- */

/* Counts the allocated ones of the n granules from g on, word by word. */
static size_t count_granules(size_t g, size_t n)
{
    size_t count = 0;
    for (size_t part; n > 0; n -= part, g += part) {
        part = OAKI_MIN(n, 64 - g % 64);
        count += oaki_popcount(oaki_the_heap.alloc[g / 64] >> g % 64 << (64 - part));
    }
    return count;
}

/* SIZE_MAX: a slot is partly allocated. Slots of a full or an empty span are not checked. */
static size_t count_allocated(const oaki_span *s)
{
    size_t n = 0, off = oaki_span_slot(s), g = off >> OAKI_GRANULE_SHIFT;
    if (s->cls == OAKI_CLASS_LARGE) return oaki_bit_get(oaki_the_heap.alloc, off);
    size_t slots = oaki_classes[s->cls].nslots;
    size_t each = oaki_classes[s->cls].size >> OAKI_GRANULE_SHIFT;
    size_t all = count_granules(g, slots * each);
    if (all == 0 || all == slots * each || each == 1) return all / each;
    for (size_t i = 0; i < slots; i++, g += each) {
        size_t of_slot = count_granules(g, each);
        if (of_slot != 0 && of_slot != each) return SIZE_MAX;
        n += of_slot != 0;
    }
    return n;
}

static const char *check_span(const oaki_span *s, census *c)
{
    bool large = s->cls == OAKI_CLASS_LARGE;
    size_t n = count_allocated(s);
    if (large ? s->cursor >= s->npages : s->npages != oaki_classes[s->cls].npages)
        return "span: its length is its class's";
    /* not an object's yet, or a guard page */
    if (large && s->list == OAKI_LIST_NONE && n == 0) return NULL;
    size_t whole = ((size_t)s->npages << OAKI_PAGE_SHIFT) - s->shift;
    if (s->size != (large ? whole : oaki_classes[s->cls].size))
        return "span: its size is its class's";
    if (n == SIZE_MAX) return "span: a slot is allocated as a whole";
    if (s->list != OAKI_LIST_CACHED && s->nalloc != n) return "span: nalloc counts allocated slots";
    c->objects[s->cls] += n;
    c->listed += s->list == OAKI_LIST_PARTIAL || s->list == OAKI_LIST_FULL;
    c->cached += s->list == OAKI_LIST_CACHED;
    oaki_zone_by_id(s->zone)->mallocs -= n;
    return NULL;
}

static const char *check_spans(census *c)
{
    const oaki_heap *h = &oaki_the_heap;
    const char *broken = NULL;
    for (size_t page = 0; page < used_pages() && !broken; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) broken = check_span(&h->spans[page], c);
    return broken;
}

/* ---- lists of spans ---- */

static const char *check_list(const oak_zone *z, unsigned sc, unsigned parity, int list, size_t *n)
{
    const oaki_heap *h = &oaki_the_heap;
    const oaki_central *c = (const oaki_central *)AO_load(&z->central[sc / OAKI_CLASSES]);
    uint32_t before = 0;
    bool swept = parity == (AO_load(&h->cycle) & 1);
    if (!c) return NULL;
    for (uint32_t i = c[sc % OAKI_CLASSES].head[parity][list], next; i; before = i, i = next) {
        const oaki_span *s = &h->spans[i - 1];
        if (s->prev != before) return "central: a list's links go both ways";
        if (s->list != list || s->parity != parity || s->zone != z->id ||
            OAKI_SPANCLASS(s->kind, s->cls) != sc)
            return "central: a span knows the list that it is in";
        if ((s->swept == (uint32_t)AO_load(&h->cycle)) != swept)
            return "central: swept spans and waiting ones are apart";
        if (list == OAKI_LIST_PARTIAL && s->nalloc >= oaki_span_slots(s))
            return "central: a partial span has a free slot";
        next = s->next;
        ++*n;
    }
    return NULL;
}

static const char *check_lists(const census *c)
{
    const char *broken = NULL;
    size_t n = 0;
    for (uint32_t id = 0; id < AO_load(&oaki_the_heap.zones.used); id++)
        for (unsigned i = 0; i < OAKI_SPANCLASSES * 2 && !broken; i++) {
            const oak_zone *z = oaki_zone_by_id(id);
            broken = check_list(z, i / 2, i % 2, OAKI_LIST_PARTIAL, &n);
            if (!broken) broken = check_list(z, i / 2, i % 2, OAKI_LIST_FULL, &n);
        }
    if (broken) return broken;
    return n == c->listed ? NULL : "central: a span that says so is in a list";
}

/* ---- caches ---- */

static const char *check_cached(const oaki_mcache *mc, unsigned sc)
{
    const oaki_span *s = mc->span[sc];
    const oaki_run *r = &mc->run[sc];
    bool active = mc->active[sc / OAKI_CLASSES] >> (sc % OAKI_CLASSES) & 1;
    if (active != (s != NULL)) return "mcache: active has a bit for each span";
    if (!s && mc->taken[sc] == 0 && oaki_mcache_left(mc, sc) == 0) return NULL; /* used up */
    if (!s) return "mcache: no span, no run";
    const char *lo = oaki_span_start(s), *hi = lo + oaki_classes[s->cls].nslots * s->size;
    if (s->list != OAKI_LIST_CACHED || s->zone != mc->zone->id ||
        OAKI_SPANCLASS(s->kind, s->cls) != sc)
        return "mcache: a span is of its class and zone, and in no list";
    if (s->nalloc + mc->taken[sc] != count_allocated(s))
        return "mcache: nalloc and what was taken count allocated slots";
    if (!mc->run_end[sc]) return NULL;
    if (r->end > mc->run_end[sc] || mc->run_end[sc] > hi || r->end < lo)
        return "mcache: a run lies in its span";
    size_t left = oaki_mcache_left(mc, sc);
    return left % s->size == 0 && left / s->size <= mc->taken[sc] ? NULL
                                                                  : "mcache: a run has whole slots";
}

/* Adds up the allocations of all existing caches, and compares the number of their spans. */
static const char *check_caches(census *c, size_t mallocs[OAKI_CLASSES])
{
    size_t spans = 0;
    const oaki_mcache *before = NULL;
    for (const oaki_mcache *mc = oaki_the_heap.mcaches; mc; before = mc, mc = mc->next) {
        if (mc->prev != before) return "mcache: the list's links go both ways";
        for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
            const char *broken = check_cached(mc, sc);
            if (broken) return broken;
            spans += mc->span[sc] != NULL;
        }
        for (unsigned cls = 0; cls < OAKI_CLASSES; cls++) {
            mallocs[cls] += mc->mallocs[cls];
            mc->zone->mallocs += mc->mallocs[cls];
        }
    }
    return spans == c->cached ? NULL : "mcache: a span that is cached is in one cache";
}

/* ---- accounts: each allocated object exists, or was freed ---- */

static void begin_accounts(void)
{
    for (uint32_t id = 0; id < AO_load(&oaki_the_heap.zones.used); id++) {
        oak_zone *z = oaki_zone_by_id(id);
        z->mallocs = AO_load(&z->past_mallocs) - AO_load(&z->frees);
    }
}

static const char *check_accounts(const census *c, const size_t mallocs[OAKI_CLASSES])
{
    const oaki_heap *h = &oaki_the_heap;
    for (unsigned cls = 1; cls < OAKI_CLASSES; cls++)
        if (mallocs[cls] + AO_load(&h->past_mallocs[cls]) !=
            AO_load(&h->frees[cls]) + c->objects[cls])
            return "account: of a size class, allocated = live + freed";
    for (uint32_t id = 1; id < AO_load(&h->zones.used); id++)
        if (oaki_zone_by_id(id)->mallocs != 0)
            return "account: of a zone, allocated = live + freed";
    return NULL;
}

/* ---- threads ---- */

static const char *check_thread(const oaki_thread *t)
{
    unsigned state = AO_int_load(&t->state);
    if (t->in_runtime > OAKI_IN_BLOCKING || state > OAKI_THREAD_STOPPED)
        return "thread: its state is one of three";
    if (t->mcache != (t->zones ? t->zones : t->home) || t->home->thread != t)
        return "thread: its cache is that of its latest entry";
    for (const oaki_mcache *mc = t->zones; mc; mc = mc->outer)
        if (mc->thread != t || mc->depth == 0) return "thread: an entry is its own";
    return NULL;
}

static const char *check_threads(void)
{
    const oaki_heap *h = &oaki_the_heap;
    const char *broken = NULL;
    const oaki_thread *before = NULL;
    size_t n = 0, hired = 0;
    for (const oaki_thread *t = h->threads; t && !broken; before = t, t = t->next) {
        if (t->prev != before) return "thread: the list's links go both ways";
        n += !t->own;
        hired += !t->own && t->hired;
        broken = check_thread(t);
    }
    if (broken) return broken;
    if (hired != AO_load(&h->nhired)) return "thread: nhired counts those that Oakum has started";
    return n == AO_load(&h->nthreads) ? NULL : "thread: nthreads counts those of the program";
}

/* ---- all ---- */

static const char *check_heap(void)
{
    static census c; /* the world is stopped by one thread; its stack may be small */
    static size_t mallocs[OAKI_CLASSES];
    const char *broken = oaki_pages_check();
    c = (census){ .listed = 0 };
    memset(mallocs, 0, sizeof mallocs);
    begin_accounts();
    if (!broken) broken = check_spans(&c);
    if (!broken) broken = check_lists(&c);
    if (!broken) broken = check_caches(&c, mallocs);
    if (!broken) broken = check_accounts(&c, mallocs);
    if (!broken) broken = oaki_zones_check();
    if (!broken) broken = check_threads();
    if (!broken) broken = oaki_roots_check();
    return broken ? broken : oaki_meta_check();
}

void oaki_heap_check(void)
{
    OAKI_REQUIRES_STOPPED();
    if (!oaki_helpers_are_held()) return; /* a helper may be scavenging a run */
    const char *broken = check_heap();
    if (broken) oak_fatal("oakum: verify: %s", broken);
}

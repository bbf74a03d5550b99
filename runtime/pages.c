/* pages.c - the page heap: free runs of pages, found by size in constant time, coalesced when they
 * are freed.
 *
 * Owns: free runs, the page table's entries, chunk_inuse. The bins are a two-level segregated fit
 * (TLSF: Masmano et al., 2004), with eight steps per power of two. A free run uses the span structs
 * of its first and last page, where npages is its length.
 * Invariants: no two free runs touch, unless one is being scavenged (PTE_BUSY).
 *   A is clear in free pages.
 *   The first page is free and in no bin: the heap's base lies on many stacks, and would keep an
 *   object there.
 *   pages_inuse + pages_free = used; nreleased of a run = its entries with OAKI_PTE_RELEASED.
 * Lock: pages_lock. Bound: O(1), save for filling in one entry per page. */
#include "dirty.h"
#include "guard.h"
#include "heap.h"
#include "markbits.h"
#include "os.h"
#include "phase.h"
#include <errno.h>
#include <string.h>

/* A run that is being scavenged: its entries look like an object that was never handed out. */
#define PTE_BUSY ((oaki_pte)OAKI_CLASS_LARGE | (OAKI_KINDS << 6))
#define SCAVENGE_PAGES ((size_t)1024) /* most that are scavenged at a time */
#define TOUCH_LOOK ((size_t)4096) /* pages examined after the requested ones */
#define BIN_SCAN 16 /* runs examined in the bin whose runs may be too short */

static unsigned bin_of(size_t n)
{
    OAKI_ASSERT(n > 0);
    if (n < OAKI_BIN_STEPS) return (unsigned)n;
    unsigned l = oaki_log2(n);
    return (l - 2) * OAKI_BIN_STEPS + (unsigned)((n >> (l - 3)) & (OAKI_BIN_STEPS - 1));
}

/* Is the page free, and may it be handed out? */
static bool is_free(size_t page)
{
    oaki_heap *h = &oaki_the_heap;
    if (page == 0 || page >= AO_load(&h->used) >> OAKI_PAGE_SHIFT) return false;
    return (h->pte[page] & OAKI_PTE_CLASS) == 0;
}

static oaki_span *run_insert(size_t page, size_t n, size_t nreleased, uint32_t born)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_span *s = &h->spans[page];
    unsigned b = bin_of(n);
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    OAKI_ASSERT(page > 0 && page + n <= AO_load(&h->used) >> OAKI_PAGE_SHIFT);
    OAKI_ASSERT(nreleased <= n);
    memset(s, 0, sizeof *s);
    s->npages = h->spans[page + n - 1].npages = (uint32_t)n;
    s->nreleased = (uint32_t)nreleased;
    s->born = born;
    s->next = h->bin[b];
    if (s->next) h->spans[s->next - 1].prev = (uint32_t)page + 1;
    h->bin[b] = (uint32_t)page + 1;
    h->bin_set[b / 64] |= (uint64_t)1 << (b % 64);
    return s;
}

static void run_remove(oaki_span *s)
{
    oaki_heap *h = &oaki_the_heap;
    unsigned b = bin_of(s->npages);
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    OAKI_ASSERT(is_free(oaki_span_page(s)));
    OAKI_ASSERT((s->prev ? h->spans[s->prev - 1].next : h->bin[b]) == oaki_span_page(s) + 1);
    if (s->next) h->spans[s->next - 1].prev = s->prev;
    if (s->prev)
        h->spans[s->prev - 1].next = s->next;
    else
        h->bin[b] = s->next;
    if (!h->bin[b]) h->bin_set[b / 64] &= ~((uint64_t)1 << (b % 64));
}

/* Takes a run off its list, to be joined with another. The age of the joined run is that of the
 * one with the most memory: *most is its pages so far. */
static void run_join(oaki_span *s, size_t *nreleased, size_t *most, uint32_t *born)
{
    size_t backed = s->npages - s->nreleased;
    if (backed > *most) {
        *most = backed;
        *born = s->born;
    }
    *nreleased += s->nreleased;
    run_remove(s);
}

/* Joins free pages, whose entries are set, with free neighbours. */
static oaki_span *run_add(size_t page, size_t n, size_t nreleased)
{
    oaki_heap *h = &oaki_the_heap;
    size_t most = n - nreleased;
    uint32_t born = (uint32_t)AO_load(&h->decay_tick);
    if (is_free(page - 1)) {
        size_t before = h->spans[page - 1].npages;
        run_join(&h->spans[page - before], &nreleased, &most, &born);
        page -= before;
        n += before;
    }
    if (is_free(page + n)) {
        size_t behind = h->spans[page + n].npages;
        run_join(&h->spans[page + n], &nreleased, &most, &born);
        n += behind;
    }
    OAKI_ASSERT(!is_free(page - 1) && !is_free(page + n)); /* free runs are joined */
    return run_insert(page, n, nreleased, born);
}

static oaki_span *next_bin(unsigned from)
{
    oaki_heap *h = &oaki_the_heap;
    for (unsigned w = from / 64; w < OAKI_COUNT(h->bin_set); w++) {
        uint64_t set = h->bin_set[w];
        if (w == from / 64) set &= ~(uint64_t)0 << (from % 64);
        if (set) return &h->spans[h->bin[w * 64 + oaki_ctz(set)] - 1];
    }
    return NULL;
}

static oaki_span *find_run(size_t n)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    unsigned b = bin_of(n), looked = 0;
    for (uint32_t i = h->bin[b]; i && looked < BIN_SCAN; i = h->spans[i - 1].next, looked++)
        if (h->spans[i - 1].npages >= n) return &h->spans[i - 1];
    return next_bin(b + 1);
}

/* The first page of the run s at which n pages begin with the required alignment. */
static size_t aligned_page(const oaki_span *s, size_t align)
{
    size_t base = oaki_the_heap.base >> OAKI_PAGE_SHIFT;
    return OAKI_ALIGN_UP(oaki_span_page(s) + base, align) - base;
}

/* Used where the range can't grow. Takes any run that fits, even after many that don't, or one too
 * short for the worst case of the alignment. */
static oaki_span *find_any_run(size_t n, size_t align)
{
    oaki_heap *h = &oaki_the_heap;
    for (unsigned b = bin_of(n), last = bin_of(n + align - 1); b <= last; b++)
        for (uint32_t i = h->bin[b]; i; i = h->spans[i - 1].next) {
            oaki_span *s = &h->spans[i - 1];
            if (aligned_page(s, align) + n <= oaki_span_page(s) + s->npages) return s;
        }
    return NULL;
}

/* The number of released pages at the end of [page, page + n). */
static size_t count_fresh_tail(size_t page, size_t n)
{
    size_t i = n;
    while (i > 0 && oaki_the_heap.pte[page + i - 1] & OAKI_PTE_RELEASED) i--;
    return n - i;
}

static size_t count_released(const oaki_span *run, size_t page, size_t n)
{
    if (run->nreleased == 0) return 0;
    if (run->nreleased == run->npages) return n;
    size_t c = 0;
    for (size_t i = page; i < page + n; i++) c += (oaki_the_heap.pte[i] & OAKI_PTE_RELEASED) != 0;
    return c;
}

static void count_chunks(size_t page, size_t n, int sign)
{
    for (size_t left = n; left > 0;) {
        size_t take = OAKI_MIN(left, OAKI_CHUNK_PAGES - page % OAKI_CHUNK_PAGES);
        size_t had = oaki_the_heap.chunk_inuse[page / OAKI_CHUNK_PAGES];
        OAKI_ASSERT(sign > 0 ? had + take <= OAKI_CHUNK_PAGES : had >= take);
        oaki_the_heap.chunk_inuse[page / OAKI_CHUNK_PAGES] =
            (uint32_t)(sign > 0 ? had + take : had - take);
        page += take;
        left -= take;
    }
}

/* Grows the used part for a run of n pages. Free pages at the end of the used part are the run's
 * beginning. */
static bool grow(size_t n)
{
    oaki_heap *h = &oaki_the_heap;
    size_t page, got, end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    if (is_free(end - 1)) n -= OAKI_MIN(h->spans[end - 1].npages, n - 1);
    if (end == 0) n++;
    if (oaki_space_grow(n << OAKI_PAGE_SHIFT, &page, &got) != 0) return false;
    for (size_t i = page; i < page + got; i++) h->pte[i] = OAKI_PTE_RELEASED;
    oaki_count_add(&h->pages_free, got);
    oaki_count_add(&h->pages_released, got);
    if (page == 0) {
        h->spans[0].npages = h->spans[0].nreleased = 1;
        page++;
        got--;
    }
    run_add(page, got, got);
    return true;
}

/* Takes n pages at `page` out of the free run s, which is off its list. The rest is free again. */
static void carve(oaki_span *s, size_t page, size_t n, size_t *released)
{
    size_t first = oaki_span_page(s), end = first + s->npages, nrel = s->nreleased;
    oaki_span run = *s;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.pages_lock);
    OAKI_ASSERT(n > 0 && page >= first && page + n <= end);
    *released = count_released(&run, page, n);
    size_t head = count_released(&run, first, page - first);
    if (page > first) run_insert(first, page - first, head, run.born);
    if (end > page + n) run_insert(page + n, end - page - n, nrel - head - *released, run.born);
}

static void fill_entries(size_t page, size_t n, unsigned cls, oaki_kind kind)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.pages_lock);
    OAKI_ASSERT(cls > 0 && cls < OAKI_CLASSES && kind < OAKI_KINDS);
    oaki_pte e = cls | (oaki_pte)kind << 6, *pte = oaki_the_heap.pte + page;
    for (size_t i = 0; i < n; i++) {
        oaki_pte off = (oaki_pte)OAKI_MIN(i, OAKI_PTE_FAR);
        pte[i] = e | off << OAKI_PTE_OFFSET_SHIFT;
    }
}

static bool over_limit(size_t n)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    size_t max = AO_load(&h->heap_max);
    if (max && (AO_load(&h->pages_inuse) + n) << OAKI_PAGE_SHIFT > max) return true;
    unsigned every = (unsigned)oaki_debug_switches.failalloc;
    return every && ++h->page_allocs % every == 0;
}

/* A free run that holds n pages with this alignment. NULL with ENOMEM. */
static oaki_span *run_for(size_t n, size_t align)
{
    size_t want = n + align - 1;
    oaki_span *s = find_run(want);
    if (!s && grow(want)) s = find_run(want);
    return s ? s : find_any_run(n, align);
}

oaki_span *oaki_pages_alloc(size_t n, size_t align, unsigned cls, oaki_kind kind)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_span *s = NULL;
    size_t released;
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(align > 0 && (align & (align - 1)) == 0);
    if (n == 0 || n > h->reserved >> OAKI_PAGE_SHIFT || n + align - 1 < n) {
        errno = ENOMEM;
        return NULL;
    }
    oaki_lock_acquire(&h->pages_lock);
    if (over_limit(n) || !(s = run_for(n, align))) {
        oaki_lock_release(&h->pages_lock);
        errno = ENOMEM;
        return NULL;
    }
    run_remove(s);
    size_t page = aligned_page(s, align);
    carve(s, page, n, &released);
    OAKI_CHECK_SLOW(oaki_bits_none(h->alloc, page << OAKI_PAGE_SHIFT, n << OAKI_PAGE_SHIFT));
    size_t fresh = released ? count_fresh_tail(page, n) : 0;
    /* words that a concurrent mark has read may point here: they mark nothing */
    if (OAKI_UNLIKELY(oaki_is_marking()))
        oaki_mark_fill(page << OAKI_PAGE_SHIFT, n << OAKI_PAGE_SHIFT);
    else if (AO_load(&h->sticky) != 0)
        oaki_mark_empty(page << OAKI_PAGE_SHIFT, n << OAKI_PAGE_SHIFT);
    oaki_dirty_taken(page << OAKI_PAGE_SHIFT, (page + n) << OAKI_PAGE_SHIFT);
    fill_entries(page, n, cls, kind);
    count_chunks(page, n, 1);
    oaki_count_add(&h->pages_inuse, n);
    oaki_count_add(&h->pages_taken, n);
    oaki_count_sub(&h->pages_free, n);
    oaki_count_sub(&h->pages_released, released);
    oaki_count_add(&h->nspans, 1);
    oaki_count_add(&h->npinned, kind == OAKI_PINNED);
    s = &h->spans[page];
    memset(s, 0, sizeof *s);
    s->npages = (uint32_t)n;
    s->cls = (uint8_t)cls;
    s->kind = (uint8_t)kind;
    if (cls == OAKI_CLASS_LARGE) s->fresh = (uint32_t)fresh;
    s->needzero = fresh != n;
    oaki_lock_release(&h->pages_lock);
    if (OAKI_UNLIKELY(released && oaki_heap_soft_limit())) oaki_scavenge_for(released);
    oaki_ahead_taken(page, n);
    return s;
}

/* Gives [page, page + n) back. The first `head` pages have lost their memory, and their share of
 * pages_inuse, before. */
static void free_run(size_t page, size_t n, size_t head)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    OAKI_ASSERT(head < n && AO_load(&h->pages_inuse) >= n - head);
    for (size_t i = 0; i < n; i++) h->pte[page + i] = i < head ? OAKI_PTE_RELEASED : 0;
    count_chunks(page, n, -1);
    oaki_count_sub(&h->pages_inuse, n - head);
    oaki_count_add(&h->pages_free, n - head);
    run_add(page, n, head);
}

void oaki_pages_free(oaki_span *s)
{
    oaki_heap *h = &oaki_the_heap;
    size_t page = oaki_span_page(s), n = s->npages;
    size_t head = s->cls == OAKI_CLASS_LARGE ? s->cursor : 0;
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(s->list == OAKI_LIST_NONE && oaki_page_first(page + n - 1) == page);
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE || !s->types); /* freed before */
    if (OAKI_UNLIKELY(s->guarded > OAKI_GUARDED)) oaki_guard_release(s);
    uint32_t zone = s->zone;
    oaki_bits_clear(h->alloc, page << OAKI_PAGE_SHIFT, n << OAKI_PAGE_SHIFT);
    oaki_lock_acquire(&h->pages_lock);
    oaki_count_sub(&h->nspans, 1);
    oaki_count_sub(&h->npinned, s->kind == OAKI_PINNED);
    free_run(page, n, head);
    oaki_lock_release(&h->pages_lock);
    oaki_zone_uncharge(zone, n - head);
}

/* Makes the part [from, from + n) of `whole` a span: the part that remains. */
static oaki_span *part(const oaki_span *whole, size_t from, size_t n, oaki_kind kind)
{
    oaki_heap *h = &oaki_the_heap;
    size_t page = from, end = oaki_span_page(whole) + whole->npages;
    oaki_span was = *whole, *s = &h->spans[page];
    fill_entries(page, n, OAKI_CLASS_LARGE, kind);
    memset(s, 0, sizeof *s);
    s->npages = (uint32_t)n;
    s->cls = OAKI_CLASS_LARGE;
    s->kind = (uint8_t)kind;
    s->needzero = was.needzero;
    s->zone = was.zone;
    s->size = n << OAKI_PAGE_SHIFT;
    size_t behind = end - (from + n);
    s->fresh = was.fresh > behind ? (uint32_t)OAKI_MIN(was.fresh - behind, n) : 0;
    return s;
}

oaki_span *oaki_pages_split(oaki_span *s, size_t head, size_t tail)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_span whole = *s, *body;
    size_t page = oaki_span_page(s), n = s->npages - head - tail;
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE && s->npages > head + tail);
    OAKI_ASSERT(s->list == OAKI_LIST_NONE && s->cursor == 0);
    oaki_lock_acquire(&h->pages_lock);
    if (tail) (void)part(s, page + head + n, tail, OAKI_NOSCAN);
    *s = whole;
    body = part(s, page + head, n, (oaki_kind)whole.kind);
    if (head) {
        *s = whole;
        (void)part(s, page, head, OAKI_NOSCAN);
    }
    /* no longer scanned from here on, so dirty tracking need not protect them */
    oaki_dirty_taken(page << OAKI_PAGE_SHIFT, (page + head) << OAKI_PAGE_SHIFT);
    oaki_dirty_taken((page + head + n) << OAKI_PAGE_SHIFT,
                       (page + head + n + tail) << OAKI_PAGE_SHIFT);
    oaki_count_add(&h->nspans, (head > 0) + (tail > 0));
    oaki_lock_release(&h->pages_lock);
    return body;
}

void oaki_pages_free_tail(oaki_span *s, size_t keep)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE && keep > s->cursor && keep < s->npages);
    size_t page = oaki_span_page(s), n = s->npages;
    oaki_bits_clear(oaki_the_heap.alloc, (page + keep) << OAKI_PAGE_SHIFT,
                    (n - keep) << OAKI_PAGE_SHIFT);
    oaki_lock_acquire(&oaki_the_heap.pages_lock);
    s->npages = (uint32_t)keep;
    s->size = keep << OAKI_PAGE_SHIFT;
    free_run(page + keep, n - keep, 0);
    oaki_lock_release(&oaki_the_heap.pages_lock);
    oaki_zone_uncharge(s->zone, n - keep);
}

void oaki_pages_release_head(oaki_span *s, size_t upto)
{
    oaki_heap *h = &oaki_the_heap;
    size_t from = s->cursor;
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE && upto < s->npages);
    if (upto <= from) return;
    oaki_os_purge(oaki_span_start(s) + (from << OAKI_PAGE_SHIFT), (upto - from) << OAKI_PAGE_SHIFT);
    oaki_lock_acquire(&h->pages_lock);
    h->purges++;
    s->cursor = (uint32_t)upto;
    oaki_count_sub(&h->pages_inuse, upto - from);
    oaki_count_add(&h->pages_free, upto - from);
    oaki_count_add(&h->pages_released, upto - from);
    oaki_lock_release(&h->pages_lock);
    oaki_zone_uncharge(s->zone, upto - from);
}

bool oaki_pages_retake_head(oaki_span *s, size_t from)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE && from < s->cursor);
    size_t n = s->cursor - from;
    if (!oaki_zone_charge(oaki_zone_by_id(s->zone), n)) return false;
    oaki_lock_acquire(&h->pages_lock);
    bool may = !over_limit(n);
    if (may) {
        s->cursor = (uint32_t)from;
        oaki_count_add(&h->pages_inuse, n);
        oaki_count_sub(&h->pages_free, n);
        oaki_count_sub(&h->pages_released, n);
    }
    oaki_lock_release(&h->pages_lock);
    if (!may) oaki_zone_uncharge(s->zone, n);
    return may;
}

/* ---- scavenging ---- */

/* Releases the tables' memory for whole chunks of a free run: it needs only its first and last span
 * struct. Only for chunks that [page, page + n) touches: the others are released already. */
static void purge_tables(const oaki_span *run, size_t page, size_t n)
{
    oaki_heap *h = &oaki_the_heap;
    size_t begin = oaki_span_page(run), end = begin + run->npages;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    OAKI_ASSERT(begin <= page && page + n <= end);
    size_t first =
        OAKI_MAX(OAKI_ALIGN_UP(begin, OAKI_CHUNK_PAGES), OAKI_ALIGN_DOWN(page, OAKI_CHUNK_PAGES));
    size_t last =
        OAKI_MIN(OAKI_ALIGN_DOWN(end, OAKI_CHUNK_PAGES), OAKI_ALIGN_UP(page + n, OAKI_CHUNK_PAGES));
    if (first >= last) return;
    size_t off = first << OAKI_PAGE_SHIFT, bytes = (last - first) << OAKI_PAGE_SHIFT;
    oaki_os_purge((char *)h->alloc + off / 128, bytes / 128);
    for (size_t p = 0; p < OAKI_PLANES; p++)
        oaki_os_purge((char *)h->mark[p] + off / 512, bytes / 512);
    char *lo = (char *)OAKI_ALIGN_UP((uintptr_t)&h->spans[OAKI_MAX(first, begin + 1)], 4096);
    char *hi = (char *)OAKI_ALIGN_DOWN((uintptr_t)&h->spans[OAKI_MIN(last, end - 1)], 4096);
    if (lo < hi) oaki_os_purge(lo, (size_t)(hi - lo));
}

/* A free run, not the one at `but`, with memory behind at least `backed` of its pages, that became
 * free at least `age` ticks ago. Searches the bins of the longest runs first. */
static oaki_span *find_backed_run(size_t min_pages, size_t backed, size_t but, size_t age)
{
    oaki_heap *h = &oaki_the_heap;
    uint32_t now = (uint32_t)AO_load(&h->decay_tick);
    for (unsigned b = OAKI_BINS; b-- > bin_of(min_pages);)
        for (uint32_t i = h->bin[b]; i; i = h->spans[i - 1].next) {
            oaki_span *s = &h->spans[i - 1];
            if (s->npages < min_pages || s->npages - s->nreleased < backed) continue;
            if (i - 1 != but && now - s->born >= age) return s;
        }
    return NULL;
}

/* For a long run: the stretch of at most *n pages that begins with the first unreleased page. */
static void skip_released(const oaki_span *run, size_t *page, size_t *n)
{
    size_t end = *page + run->npages;
    if (*n == run->npages) return;
    while (oaki_the_heap.pte[*page] & OAKI_PTE_RELEASED) ++*page;
    OAKI_ASSERT(*page < end); /* as it has memory behind some page */
    *n = OAKI_MIN(end - *page, SCAVENGE_PAGES);
}

/* Releases the memory of n pages of the free run s; they come back as one run. The lock is released
 * meanwhile. Returns how many of them had memory. */
static size_t purge_part(oaki_span *s, size_t page, size_t n)
{
    oaki_heap *h = &oaki_the_heap;
    size_t released;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    h->purges++;
    run_remove(s);
    carve(s, page, n, &released);
    h->pte[page] = h->pte[page + n - 1] = PTE_BUSY;
    oaki_lock_release(&h->pages_lock);
    oaki_os_purge(oaki_page_address(page), n << OAKI_PAGE_SHIFT);
    oaki_lock_acquire(&h->pages_lock);
    for (size_t i = 0; i < n; i++) h->pte[page + i] = OAKI_PTE_RELEASED;
    oaki_count_add(&h->pages_released, n - released);
    purge_tables(run_add(page, n, n), page, n);
    return n - released;
}

static size_t scavenge(size_t bytes, size_t min_pages, size_t age)
{
    oaki_heap *h = &oaki_the_heap;
    size_t done = 0;
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&h->pages_lock);
    while (done < bytes) {
        oaki_span *s = find_backed_run(OAKI_MAX(min_pages, 1), 1, SIZE_MAX, age);
        if (!s) break;
        size_t page = oaki_span_page(s), n = OAKI_MIN(s->npages, SCAVENGE_PAGES);
        skip_released(s, &page, &n);
        done += purge_part(s, page, n) << OAKI_PAGE_SHIFT;
    }
    if (done) AO_store(&h->touched, 0);
    oaki_lock_release(&h->pages_lock);
    return done;
}

size_t oaki_pages_scavenge(size_t bytes, size_t min_pages)
{
    return scavenge(bytes, min_pages, 0);
}

size_t oaki_pages_decay(size_t bytes, size_t min_pages, size_t age)
{
    return scavenge(bytes, min_pages, age + 1);
}

/* ---- touching ahead ---- */

/* The first page of the free run at the end of the used part; `end` when there is none. */
static size_t last_run(size_t end)
{
    return is_free(end - 1) ? end - oaki_the_heap.spans[end - 1].npages : end;
}

static bool may_touch(size_t n, size_t least)
{
    oaki_heap *h = &oaki_the_heap;
    return AO_load(&h->pages_inuse) >= least && oaki_heap_over(n) == 0;
}

bool oaki_pages_untouched(size_t near, size_t step, size_t least, size_t like, oaki_touching *x)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&h->pages_lock);
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, first = last_run(end), at = first;
    size_t far = OAKI_MIN(end, first + near + TOUCH_LOOK);
    while (at < far && !(h->pte[at] & OAKI_PTE_RELEASED)) at++;
    bool is_near = at < first + near;
    /* Another run may serve the next request; yet the search may prefer the last run if it is
     * shorter. */
    bool elsewhere = like && is_near && find_backed_run(like, like, first, 0);
    if (elsewhere) is_near = false;
    bool some = is_near && may_touch(step, least) && (at < end || grow(end - first + 1));
    if (!is_near) AO_store(&h->touched, elsewhere ? first + near + step : at);
    if (some) oaki_space_prepare();
    *x = (oaki_touching){ at, OAKI_ALIGN_UP(at + 1, step) - at, h->purges };
    oaki_lock_release(&h->pages_lock);
    return some;
}

/* Records memory behind the pages that are still free; a new owner counts its own. Records nothing
 * if a run was purged meanwhile: its purge may have come before or after the touch. */
void oaki_pages_touched(const oaki_touching *x)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&h->pages_lock);
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, first = last_run(end), released = 0;
    if (h->purges == x->purges) {
        for (size_t i = OAKI_MAX(x->page, first); i < OAKI_MIN(x->page + x->n, end); i++) {
            released += (h->pte[i] & OAKI_PTE_RELEASED) != 0;
            h->pte[i] = 0;
        }
        OAKI_ASSERT(released == 0 || h->spans[first].nreleased >= released);
        if (first < end) {
            h->spans[first].nreleased -= (uint32_t)released;
            h->spans[first].born = (uint32_t)AO_load(&h->decay_tick);
        }
        oaki_count_sub(&h->pages_released, released);
    }
    oaki_lock_release(&h->pages_lock);
}

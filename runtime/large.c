/* large.c - objects of more than OAKI_SMALL_MAX bytes, and aligned ones that fit no size class:
 * each has a span.
 *
 * Owns: spans of class OAKI_CLASS_LARGE; between collections they are in the list FULL of their
 * kind's last mcentral. While a new one's memory is cleared, it is in no list and clear in A, so no
 * collection reads it; thread->clears has it. Lock: that mcentral's. */
#include "collector.h"
#include "guard.h"
#include "heap.h"
#include "markbits.h"
#include "phase.h"
#include "room.h"
#include "track.h"
#include <errno.h>
#include <string.h>

#define SOON ((size_t)1 << 20) /* most bytes that the pacing counts an OAKI_LARGE_SOON request as */
/* Bytes that are zero when a typed object is handed out, in every mode: a mark function may read
 * them from then on. */
#define TYPED_HEAD 64

/* Sweeps unswept large objects of a zone, of every kind, until `pages` are free, so that the heap
 * doesn't grow while it holds garbage. Were they freed? */
static bool sweep_large(const oak_zone *z, size_t pages)
{
    OAKI_REQUIRES_INSIDE();
    oaki_heap *h = &oaki_the_heap;
    size_t before = AO_load(&h->pages_inuse);
    for (unsigned kind = 0; kind < OAKI_KINDS; kind++) {
        unsigned sc = OAKI_SPANCLASS(kind, OAKI_CLASS_LARGE);
        oaki_span *s;
        while ((s = oaki_central_next_waiting(z, sc)) != NULL) {
            if (oaki_gc_sweep_span(s, false)) oaki_central_give(s);
            if (before - AO_load(&h->pages_inuse) >= pages && AO_load(&h->pages_inuse) < before)
                return true;
        }
    }
    return false;
}

static oaki_span *charged_pages(oak_zone *z, size_t pages, size_t align, oaki_kind kind)
{
    if (!oaki_zone_make_centrals(z, kind) || !oaki_zone_charge(z, pages)) return NULL;
    oaki_span *s = oaki_pages_alloc(pages, align, OAKI_CLASS_LARGE, kind);
    if (!s) {
        oaki_zone_uncharge(z->id, pages);
        return NULL;
    }
    s->zone = z->id;
    s->size = pages << OAKI_PAGE_SHIFT;
    return s;
}

typedef struct pages_want {
    oaki_want want;
    size_t align;
    oaki_kind kind;
    oaki_span *span; /* in no list: it holds no object yet */
} pages_want;

static bool take_wanted(oaki_want *w)
{
    pages_want *pw = (pages_want *)w;
    pw->span = charged_pages(w->thread->mcache->zone, w->pages, pw->align, pw->kind);
    return pw->span != NULL;
}

static oaki_span *take_pages(oaki_thread *t, size_t pages, size_t align, oaki_kind kind,
                             unsigned how)
{
    oak_zone *z = t->mcache->zone;
    size_t bytes = pages << OAKI_PAGE_SHIFT;
    pages_want w = { .want = { .take = take_wanted, .pages = pages, .thread = t },
                     .align = align,
                     .kind = kind };
    oaki_gc_stress(t);
    oaki_gc_before_alloc(t, how & OAKI_LARGE_SOON ? OAKI_MIN(bytes, SOON) : bytes);
    if (!sweep_large(z, pages) && z->id) (void)sweep_large(&oaki_the_heap.zone0, pages);
    if (!take_wanted(&w.want) && !oaki_room_make(t, &w.want)) return NULL;
    if (OAKI_UNLIKELY(oaki_is_marking())) {
        oaki_gc_will_write(oaki_heap_offset(oaki_span_start(w.span)), bytes);
        if (!(how & OAKI_LARGE_SOON)) oaki_gc_large_in_mark(bytes);
    }
    return w.span;
}

/* A mark that has ended since the pages were taken treated their bits as those of free pages. With
 * those bits the object would count as old, and not as part of the live bytes. */
static void unmark(const oaki_span *s)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t off = oaki_span_slot(s);
    if (AO_load(&h->sticky) == 0 || oaki_is_marking()) return;
    if (oaki_mark_get(off)) oaki_mark_empty(off, s->size);
}

/* Publishes the object. Returns the rate at which it is to be noted, or 0. */
static size_t publish(oaki_thread *t, oaki_span *s)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_INSIDE();
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE && s->list == OAKI_LIST_NONE && s->cursor == 0);
    OAKI_ASSERT(s->size + s->shift == (size_t)s->npages << OAKI_PAGE_SHIFT);
    unmark(s);
    s->swept = (uint32_t)AO_load(&h->cycle);
    s->nalloc = 1;
    oaki_bits_allocate(oaki_span_slot(s), s->size);
    t->mcache->mallocs[OAKI_CLASS_LARGE]++;
    t->mcache->large_bytes += s->size;
    oaki_count_add(&h->live, s->size);
    oaki_central_put(s, OAKI_LIST_FULL);
    return oaki_sample_large(t->mcache, s->size);
}

/* Lays out guard pages. With a page behind it, an object of n bytes ends there, as far as its
 * alignment permits. NULL: the system has no mapping for that page; the span is gone. */
static oaki_span *guard(oaki_span *s, size_t n, size_t align, size_t head, size_t tail)
{
    if (head + tail > 0) s = oaki_pages_split(s, head, tail);
    if (tail) {
        size_t front = s->size - OAKI_MAX(n, OAKI_GRANULE);
        s->shift = (uint16_t)OAKI_ALIGN_DOWN(front, OAKI_MAX(align, OAKI_GRANULE));
        s->size -= s->shift;
    }
    s->guarded = (uint8_t)(OAKI_GUARDED | (head ? OAKI_GUARDED_HEAD : 0) |
                           (tail ? OAKI_GUARDED_TAIL : 0));
    if (oaki_guard_fill(s)) return s;
    oaki_pages_free(s);
    return NULL;
}

/* `more`: pages besides those for n bytes. */
static oaki_span *take_for(oaki_thread *t, size_t n, size_t more, size_t align, oaki_kind kind,
                           unsigned how)
{
    size_t pages = OAKI_MAX((n + OAKI_PAGE - 1) >> OAKI_PAGE_SHIFT, 1) + more;
    if (pages > oaki_the_heap.reserved >> OAKI_PAGE_SHIFT) return NULL;
    return take_pages(t, pages, OAKI_MAX(align >> OAKI_PAGE_SHIFT, 1), kind, how);
}

static oaki_span *take_guarded(oaki_thread *t, size_t n, size_t align, oaki_kind kind, unsigned how)
{
    size_t head = oaki_guard_head(align), exact = n - OAKI_GUARD_GAP; /* the page is the gap */
    oaki_span *s;
    if (oaki_guard_tail()) {
        if (!(s = take_for(t, exact, head + 1, align, kind, how))) return NULL;
        if ((s = guard(s, exact, align, head, 1)) != NULL) return s;
    }
    s = take_for(t, n, head, align, kind, how);
    return s ? guard(s, n, align, head, 0) : NULL;
}

/* Outside of the runtime, so that no stop waits for it. A signal's handler may clear another. */
static oaki_thread *clear(oaki_thread *t, oaki_span *s)
{
    oaki_span *outer = t->clears;
    size_t fresh = OAKI_MIN((size_t)s->fresh << OAKI_PAGE_SHIFT, s->size);
    t->clears = s;
    oaki_leave(t);
    memset((char *)oaki_span_start(s) + s->shift, 0, s->size - fresh);
    t = oaki_enter();
    t->clears = outer;
    return t;
}

static void *large(size_t n, size_t align, oaki_kind kind, uint32_t type, unsigned how)
{
    oaki_thread *t = oaki_enter();
    if (!t) return NULL;
    oaki_span *s = how & OAKI_LARGE_GUARDED ? take_guarded(t, n, align, kind, how)
                                            : take_for(t, n, 0, align, kind, how);
    if (!s) {
        oaki_leave(t);
        errno = ENOMEM;
        return NULL;
    }
    char *p = oaki_span_start(s) + s->shift;
    oaki_track_alloc(p, s->size);
    s->type = type;
    if ((how & OAKI_LARGE_ZERO) && s->needzero) t = clear(t, s);
    if (!(how & OAKI_LARGE_ZERO) && kind == OAKI_TYPED && s->needzero) memset(p, 0, TYPED_HEAD);
    size_t rate = publish(t, s), bytes = s->size;
    oaki_leave(t);
    if (OAKI_UNLIKELY(rate != 0)) oaki_the_heap.sampler.on.note(p, bytes, rate);
    return p;
}

void *oaki_large_alloc(size_t n, size_t align, oaki_kind kind, uint32_t type, unsigned how)
{
    void *p = NULL;
    if (n > SIZE_MAX - OAKI_PAGE) {
        errno = ENOMEM;
        return NULL;
    }
    do p = large(n, align, kind, type, how);
    while (OAKI_UNLIKELY(!p) && oaki_zone_full(n));
    return p;
}

bool oaki_large_is_read(const oaki_span *s)
{
    return oaki_is_marking() && s->kind != OAKI_NOSCAN;
}

void oaki_large_give_back(void *p, size_t from, size_t to)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_enter();
    size_t off = oaki_heap_offset(p);
    OAKI_INVARIANT((h->pte[off >> OAKI_PAGE_SHIFT] & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE,
                   "give back what is no large object");
    oaki_span *s = oaki_span_of_offset(off);
    oaki_central_ensure_swept(s);
    size_t keep = OAKI_MAX((to + OAKI_PAGE - 1) >> OAKI_PAGE_SHIFT, (size_t)s->cursor + 1);
    size_t before = s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT);
    if (keep < s->npages && !oaki_large_is_read(s)) oaki_pages_free_tail(s, keep);
    oaki_pages_release_head(s, OAKI_MIN(from >> OAKI_PAGE_SHIFT, keep - 1));
    size_t left = s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT), gone = before - left;
    OAKI_ASSERT(left > 0 && left <= before);
    if (OAKI_UNLIKELY(AO_char_load(&s->sampled) != 0)) h->sampler.on.resized(p, left);
    oaki_count_add(&h->large_free_bytes, gone);
    oaki_zone_count_frees(s->zone, 0, gone);
    oaki_count_sub_most(&h->live, gone);
    oaki_leave(t);
}

typedef struct head_want {
    oaki_want want;
    oaki_span *span;
    size_t page; /* from this one on, pages are wanted back */
} head_want;

static bool take_head(oaki_want *w)
{
    head_want *hw = (head_want *)w;
    oaki_central_ensure_swept(hw->span);
    return oaki_pages_retake_head(hw->span, hw->page);
}

static bool retake(oaki_thread *t, oaki_span *s, size_t page)
{
    head_want w = { .want = { .take = take_head, .pages = s->cursor - page, .thread = t },
                    .span = s,
                    .page = page };
    oaki_gc_before_alloc(t, w.want.pages << OAKI_PAGE_SHIFT);
    return take_head(&w.want) || oaki_room_make(t, &w.want);
}

/* The caller holds a reference to the object, so its span survives any collection meanwhile. */
void *oaki_large_take_back(void *p, size_t from)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_enter();
    if (!t) return NULL;
    oaki_span *s = oaki_span_of_offset(oaki_heap_offset(p));
    size_t page = from >> OAKI_PAGE_SHIFT, had = s->cursor;
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE && had < s->npages);
    if (page < had) {
        if (!retake(t, s, page)) {
            p = NULL;
            errno = ENOMEM;
        } else {
            if (OAKI_UNLIKELY(AO_char_load(&s->sampled) != 0))
                h->sampler.on.resized(p, s->size - (page << OAKI_PAGE_SHIFT));
            t->mcache->large_bytes += (had - page) << OAKI_PAGE_SHIFT;
            oaki_count_add(&h->live, (had - page) << OAKI_PAGE_SHIFT);
        }
    }
    oaki_leave(t);
    return p;
}

/* heap.h - the one struct that holds the heap's state, and the inline questions that everybody
 * asks of it.
 *
 * Owns: struct oaki_heap. Each part names its lock. The range is reserved once and never moves;
 * `base` and the tables are constant after start-up, and `reserved` but for oaki_space_limit. */
#ifndef OAKI_HEAP_H
#define OAKI_HEAP_H

#include "contract.h"
#include "lock.h"
#include "mcache.h"
#include "options.h"
#include "sample.h"
#include "span.h"
#include "zone.h"

#define OAKI_HUGE_FROM ((size_t)16 << 20) /* the range asks for huge pages past this size */
#define OAKI_BIN_STEPS 8
#define OAKI_BINS (32 * OAKI_BIN_STEPS)
/* the range grows by this, and bookkeeping is cleared by this */
#define OAKI_CHUNK ((size_t)4 << 20)
#define OAKI_CHUNK_PAGES (OAKI_CHUNK / OAKI_PAGE)

/* That the first so many bytes of the range lie in: the last may not be whole (space.c). */
OAKI_INLINE size_t oaki_chunks(size_t bytes)
{
    return OAKI_ALIGN_UP(bytes, OAKI_CHUNK) / OAKI_CHUNK;
}

typedef struct oaki_heap {
    /* the range and its tables: constant after start */
    uintptr_t base;
    size_t reserved;          /* bytes */
    oaki_pte *pte;            /* by page */
    oaki_span *spans;         /* by page */
    uint64_t *alloc;          /* bitmap A, by granule */
    uint64_t *mark[OAKI_PLANES]; /* bitmap M (markbits.h) */
    uint32_t *chunk_inuse;    /* by chunk: pages in spans; pages_lock */

    /* bytes from base that are in use or in free runs; grows under pages_lock, read by all */
    AO_t used;
    size_t committed;         /* bytes, `used` or more; pages_lock */
    AO_t started;
    oak_config config;
    bool dirty_noscan; /* a host's choice, at its start: small noscan objects are not zeroed */

    /* page heap: pages_lock */
    oaki_lock pages_lock;
    uint32_t bin[OAKI_BINS];  /* heads of lists of free runs: page number + 1 */
    uint64_t bin_set[OAKI_BINS / 64];
    AO_t pages_inuse;         /* in spans */
    AO_t pages_free;          /* in free runs */
    AO_t pages_released;      /* of these, without memory behind them */
    AO_t touched;             /* page up to which they are backed ahead (ahead.c) */
    AO_t nspans;
    AO_t npinned;             /* of these, those of pinned objects */
    size_t page_allocs;       /* for failalloc */
    AO_t heap_max;            /* bytes; 0 none */
    AO_t memory_limit;        /* bytes, soft; 0 none */
    size_t purges;            /* times that memory was given back */

    /* threads: threads_lock */
    oaki_lock threads_lock;
    oaki_thread *threads;
    oaki_mcache *mcaches;
    AO_t nthreads;            /* in the list, without the collector's; a look needs no lock */
    /* objects by size class, the large ones as one, and the bytes of those: made by caches that are
     * gone, and freed by sweep and by hand */
    AO_t past_mallocs[OAKI_CLASSES], past_large_bytes;
    AO_t frees[OAKI_CLASSES], large_free_bytes;

    oaki_lock gc_lock;
    oaki_lock helper_lock; /* thread.h */
    oaki_lock roots_lock, finalizer_lock, types_lock;
    oaki_lock observe_lock; /* sites and sampled objects (observe/site.h) */

    /* the collector's: written in a stop or under gc_lock, read by all */
    AO_t cycle;               /* collections finished marking; its parity picks the swept lists */
    AO_t live;                /* bytes: marked by the last cycle, and handed to threads since */
    AO_t trigger;             /* live at which a collection is due */
    AO_t marking;             /* 1 from the start of a mark to its end */
    AO_t ndeferred;               /* objects freed by hand that wait for the end of one */
    /* 1 while M is being prepared beside the program: what is allocated meanwhile changes A, and
     * then M, under bits_lock */
    AO_t preparing;
    oaki_lock bits_lock;
    /* 1 between two marks while the next may be a minor one: then M is kept (markbits.h). Set in a
     * stop. */
    AO_t sticky;

    oaki_sampler sampler;

    oak_zone zone0; /* the default one; its centrals are central0 */
    oaki_central central0[OAKI_SPANCLASSES];
    oaki_zones zones; /* all others: lock in it */
} oaki_heap;

extern OAKI_HIDDEN oaki_heap oaki_the_heap;

/* ---- addresses ---- */

OAKI_INLINE size_t oaki_heap_offset(const void *p) { return (uintptr_t)p - oaki_the_heap.base; }

/* Is p in the used part of the range? */
OAKI_INLINE bool oaki_heap_contains(const void *p)
{
    return oaki_heap_offset(p) < AO_load(&oaki_the_heap.used);
}

OAKI_INLINE char *oaki_page_address(size_t page)
{
    return (char *)(oaki_the_heap.base + (page << OAKI_PAGE_SHIFT));
}

OAKI_INLINE size_t oaki_span_page(const oaki_span *s) { return (size_t)(s - oaki_the_heap.spans); }

OAKI_INLINE char *oaki_span_start(const oaki_span *s)
{
    return oaki_page_address(oaki_span_page(s));
}

/* Offset of the span's first slot, which a large object's is: on its first page. */
OAKI_INLINE size_t oaki_span_slot(const oaki_span *s)
{
    return (oaki_span_page(s) << OAKI_PAGE_SHIFT) + s->shift;
}

/* First page of the span that `page` is in; its entry is not free. Follows saturated offsets of
 * huge objects. */
OAKI_INLINE size_t oaki_page_first(size_t page)
{
    for (;;) {
        size_t off = oaki_the_heap.pte[page] >> OAKI_PTE_OFFSET_SHIFT;
        OAKI_ASSERT(off <= page);
        page -= off;
        if (OAKI_LIKELY(off != OAKI_PTE_FAR)) return page;
    }
}

OAKI_INLINE oak_zone *oaki_zone_by_id(uint32_t id)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_ASSERT(id < AO_load(&h->zones.used));
    if (OAKI_LIKELY(id == 0)) return &h->zone0;
    return &h->zones.chunk[id / OAKI_ZONE_CHUNK][id % OAKI_ZONE_CHUNK];
}

/* ---- objects: an offset is an address less the base of the range ---- */

/* Where the slot begins that offset `off` < used is in; SIZE_MAX when it is in no slot (a free
 * page, a span's tail, what is in front of a guarded large object). */
OAKI_INLINE size_t oaki_slot_offset(size_t off)
{
    size_t page = off >> OAKI_PAGE_SHIFT;
    OAKI_ASSERT(off < AO_load(&oaki_the_heap.used));
    oaki_pte e = oaki_the_heap.pte[page];
    unsigned cls = e & OAKI_PTE_CLASS;
    if (cls == 0) return SIZE_MAX;
    size_t first = oaki_page_first(page) << OAKI_PAGE_SHIFT;
    if (cls == OAKI_CLASS_LARGE) {
        size_t large = oaki_span_slot(&oaki_the_heap.spans[first >> OAKI_PAGE_SHIFT]);
        return OAKI_LIKELY(off >= large) ? large : SIZE_MAX;
    }
    const oaki_class *c = &oaki_classes[cls];
    size_t slot = ((off - first) * c->magic) >> 32;
    if (OAKI_UNLIKELY(slot >= c->nslots)) return SIZE_MAX;
    return first + slot * c->size;
}

OAKI_INLINE oaki_span *oaki_span_of_offset(size_t off)
{
    return &oaki_the_heap.spans[oaki_page_first(off >> OAKI_PAGE_SHIFT)];
}

/* Was the zone with this id discarded or destroyed? Its spans may not have gone yet. A caller that
 * asks for an object's sake reads A afterwards: once the record is another zone's, A is clear. */
OAKI_INLINE bool oaki_zone_is_gone(uint32_t id)
{
    if (OAKI_LIKELY(id == 0)) return false;
    unsigned state = AO_int_load_acquire(&oaki_zone_by_id(id)->state);
    return state != OAKI_ZONE_OPEN && state != OAKI_ZONE_CLOSING;
}

/* Of the span that p leads to; 0 when it leads to none. */
OAKI_INLINE uint32_t oaki_zone_id_of(const void *p)
{
    if (!oaki_heap_contains(p)) return 0;
    size_t off = oaki_heap_offset(p);
    if ((oaki_the_heap.pte[off >> OAKI_PAGE_SHIFT] & OAKI_PTE_CLASS) == 0) return 0;
    return oaki_span_of_offset(off)->zone;
}

OAKI_INLINE bool oaki_bit_get(const uint64_t *map, size_t off)
{
    size_t g = off >> OAKI_GRANULE_SHIFT;
    return (map[g / 64] >> (g % 64)) & 1;
}

/* Set or clear the bits of granules [off, off + bytes); a word that is shared with others is
 * changed atomically. */
void oaki_bits_set(uint64_t *map, size_t off, size_t bytes);
void oaki_bits_clear(uint64_t *map, size_t off, size_t bytes);
/* Is each of them clear? */
bool oaki_bits_none(const uint64_t *map, size_t off, size_t bytes);

/* [off, off + bytes) is allocated: A is set, and where a mark is under way beside the program, M is
 * cleared, as of all that is not marked yet. */
void oaki_bits_allocate(size_t off, size_t bytes);

/* Slot size of the object that begins at off, its span's start given by the page table. */
size_t oaki_object_size(size_t off);

/* Start of the live object that p is in, or NULL. As oak_base; any thread. */
void *oaki_object_base(const void *p);

/* Call fn with the offset of each pinned object. */
void oaki_pinned_visit(void (*fn)(size_t off, void *ctx), void *ctx);

/* ---- page heap (pages.c) ---- */

/* A run of npages whose start is a multiple of align_pages, as a span of (cls, kind) with its
 * page table filled in, A clear. NULL when the limit or the address space is reached: errno
 * ENOMEM. */
oaki_span *oaki_pages_alloc(size_t npages, size_t align_pages, unsigned cls, oaki_kind kind);
void oaki_pages_free(oaki_span *s);
/* A large span gives its first `head` pages and its last `tail` to spans of their own, which are
 * nobody's object. Returns what is in between. */
oaki_span *oaki_pages_split(oaki_span *s, size_t head, size_t tail);
/* Give back the pages of a large object behind its first `keep`. */
void oaki_pages_free_tail(oaki_span *s, size_t keep);
/* Give back the memory of its first `upto` pages; their addresses stay the object's, and read as
 * zero. */
void oaki_pages_release_head(oaki_span *s, size_t upto);
/* The other way round: from page `from` on they have memory again. false: there is a limit. */
bool oaki_pages_retake_head(oaki_span *s, size_t from);
typedef struct oaki_touching {
    size_t page, n, purges; /* oaki_heap.purges at the time */
} oaki_touching;

/* Return free memory to the system: runs of at least min_pages, until `bytes` are returned.
 * Returns how many were. */
size_t oaki_pages_scavenge(size_t bytes, size_t min_pages);
/* Of the free run at the end of the used part, which grows for it: the next pages that are not
 * backed, up to a multiple of `step`. false: `near` of them are, or less than `least` pages are in
 * use, or the memory limit is near; or `like` is not 0, and a run that is backed for so many is
 * free elsewhere. */
bool oaki_pages_untouched(size_t near, size_t step, size_t least, size_t like, oaki_touching *x);
/* Those have been touched since. */
void oaki_pages_touched(const oaki_touching *x);
/* The other way round, of the pages that are backed there all but `keep`, a stretch at
 * a time. Returns how many. */
size_t oaki_pages_untouch(size_t keep);

/* ---- checking (check.c) ---- */

const char *oaki_pages_check(void); /* the rule that is broken, or NULL; takes the lock */
void oaki_heap_check(void);         /* of all structures, in a stop: fatal with the rule */

/* ---- large objects (large.c) ---- */

enum {
    OAKI_LARGE_ZERO = 1, /* else the caller fills what is dirty memory */
    OAKI_LARGE_GUARDED = 4, /* of n the last OAKI_GUARD_GAP are a gap; pages beside it (guard.h) */
    OAKI_LARGE_SOON = 2  /* what can't wait for a mark that the program outruns, but a little */
};

/* n bytes in a span of their own, at a multiple of align, a power of two. Not inside oaki_enter, as
 * clearing may take long. */
void *oaki_large_alloc(size_t n, size_t align, oaki_kind kind, uint32_t type, unsigned how);
/* Give back what lies outside of [from, to) of a large object: whole pages of the head lose
 * their memory, those of the tail go; but not while the object's words may be read. */
void oaki_large_give_back(void *p, size_t from, size_t to);
/* By a mark that is under way, which may know where they ended when it came upon the object. May
 * change at any time outside of oaki_enter. */
bool oaki_large_is_read(const oaki_span *s);
/* p, and what lies behind byte `from`, but for a part of a page, has memory again, which is zero.
 * NULL with ENOMEM. In the zone that it was made in; may collect. */
void *oaki_large_take_back(void *p, size_t from);

/* As it is in memory: without what the guard adds. Likewise. */
void *oaki_alloc_plain(size_t n, size_t align, oaki_kind kind, uint32_t type);
/* Any size, kind and type. NULL with ENOMEM. */
void *oaki_alloc_kind(size_t n, size_t align, oaki_kind kind, uint32_t type);

/* A typed span's table of ids; false when out of memory. */
bool oaki_span_make_types(oaki_span *s);
void oaki_span_free_types(oaki_span *s);
void oaki_span_set_type(void *p, uint32_t type); /* of the small typed object that begins at p */

/* ---- mcentral (central.c) ---- */

oaki_central *oaki_central_of(const oaki_span *s);
/* A span with free slots, cached for the caller: swept partial, else one that a sweep makes so,
 * else new pages. NULL when out of memory. */
oaki_span *oaki_central_take(oak_zone *z, unsigned spanclass);
void oaki_central_give(oaki_span *s); /* partial or full by nalloc */
void oaki_central_put(oaki_span *s, oaki_span_list list);
/* One that oaki_gc_defer_free kept: now it is freed. */
void oaki_free_deferred(void *p);
/* Of the guard's queue no more than `stay` bytes still wait. Whether any were
 * freed for it. */
bool oaki_free_waiting(size_t stay);
void oaki_central_ensure_swept(oaki_span *s); /* the caller knows that something in it is live */
/* Take a span of this class that waits for its sweep off its list; NULL when there is none. */
oaki_span *oaki_central_next_waiting(const oak_zone *z, unsigned spanclass);
/* Take any span off its list, swept or not; *spanclass is where to look first, and then where it
 * was. NULL when there is none. */
oaki_span *oaki_central_pop_any(const oak_zone *z, unsigned *spanclass);
/* A full span has had many slots freed by hand: offer it again. */
void oaki_central_freed(oaki_span *s);
/* One that is in no thread's cache has got an object: is it full now? */
void oaki_central_filled(oaki_span *s);
/* A large object off its list: once a sweep that has found it alive has put it back there. */
void oaki_central_remove(oaki_span *s);
/* Call fn for each span of the zone that no thread has cached, until it returns false. */
void oaki_central_each(const oak_zone *z, bool (*fn)(oaki_span *s, void *ctx), void *ctx);
/* Take the swept spans in which nothing is left off their lists, and put them before `first`, the
 * first of others: page number + 1, or 0. Returns the first; the others by `next`. A thread that
 * freed an object in one may still look at it, until the world has stopped once. */
uint32_t oaki_central_take_empty(const oak_zone *z, uint32_t first);

/* ---- touching ahead (ahead.c) ---- */

/* Those pages have been taken. */
void oaki_ahead_taken(size_t page, size_t n);
/* So much will be taken within two seconds, or goes back; at most 64 MiB are made ready. */
void oaki_ahead_want(size_t bytes);
/* While the collector marks beside the program, its thread may lead: it does what a growing heap
 * asks for, between two pieces. late: the mark is to get most of its time, whatever a step takes.
 * One at a time. */
void oaki_ahead_lead(bool on);
void oaki_ahead_led_step(bool late);
/* A step of oaki_pages_untouched, by the thread or by who leads: false when there is none. */
bool oaki_ahead_step(size_t near, size_t least, bool led);
int oaki_ahead_init(void);
/* Start its thread if the heap is large enough: as oaki_scavenger_spawn. */
void oaki_ahead_spawn(void);

/* ---- start-up ---- */

/* Start the heap if it isn't. 0 or -1 with errno. */
int oaki_heap_start(const oak_config *cfg);
bool oaki_heap_ready(void); /* start it if need be */
/* no start is under way: 0 before fork, 1 after it in the parent, 2 in the child */
void oaki_heap_fork(int stage);
int oaki_space_init(size_t reserve);
int oaki_space_grow(size_t min_bytes, size_t *page, size_t *npages);
/* Give back the range's end: keep `most` bytes, or what is committed. For good. */
void oaki_space_limit(size_t most);
/* The next growth costs no call of the system, if that can be had. */
void oaki_space_prepare(void);
/* Have memory behind that part of the range, and the tables that serve it. */
void oaki_space_touch(size_t off, size_t bytes);
int oaki_scavenger_init(void);
/* Start its thread if there is something for it to do: after a collection, and when pages were
 * freed by hand. Takes locks of the host. */
void oaki_scavenger_spawn(void);
/* By a helper: as oaki_pages_scavenge. */
size_t oaki_scavenge_step(size_t bytes, size_t min_pages);
/* Bytes of memory beyond what the heap is likely to need soon. */
size_t oaki_scavenge_excess(void);

#endif

/* heap.h - the struct that holds the heap's state, and inline queries on it.
 *
 * Owns: struct oaki_heap. Each part names its lock. The range is reserved once and never moves.
 * After start-up `base` and the tables are constant; so is `reserved`, except for
 * oaki_space_limit. */
#ifndef OAKI_HEAP_H
#define OAKI_HEAP_H

#include "contract.h"
#include "lock.h"
#include "mcache.h"
#include "options.h"
#include "sample.h"
#include "span.h"
#include "zone.h"

#define OAKI_HUGE_FROM ((size_t)16 << 20) /* from this size on, the range requests huge pages */
#define OAKI_BIN_STEPS 8
#define OAKI_BINS (32 * OAKI_BIN_STEPS)
/* unit by which the range grows and bookkeeping is cleared */
#define OAKI_CHUNK ((size_t)4 << 20)
#define OAKI_CHUNK_PAGES (OAKI_CHUNK / OAKI_PAGE)
#define OAKI_CHUNK_WORDS (OAKI_CHUNK / OAKI_GRANULE / 64) /* of A */

/* Chunks that hold the first `bytes` of the range: the last may be partial (space.c). */
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
    uint64_t *alloc;          /* bitmap A, one bit per granule */
    uint64_t *mark[OAKI_PLANES]; /* bitmap M (markbits.h) */
    uint32_t *chunk_inuse;    /* by chunk: pages in spans; pages_lock */

    /* bytes from base that are in spans or in free runs; grows under pages_lock, any thread reads
     * it */
    AO_t used;
    size_t committed;         /* bytes, at least `used`; pages_lock */
    AO_t started;
    oak_config config;
    uint8_t dirty_kinds; /* bits, set by a host: small objects of these kinds are not zeroed */

    /* page heap: pages_lock */
    oaki_lock pages_lock;
    uint32_t bin[OAKI_BINS];  /* heads of lists of free runs: page number + 1 */
    uint64_t bin_set[OAKI_BINS / 64];
    AO_t pages_inuse;         /* in spans */
    AO_t pages_free;          /* in free runs */
    AO_t pages_released;      /* of pages_free, those without memory behind them */
    AO_t pages_taken;         /* by spans, since the start */
    AO_t decay_tick;          /* the time by which free runs age (scavenge.c) */
    AO_t touched;             /* page up to which pages are backed ahead (ahead.c) */
    AO_t nspans;
    AO_t npinned;             /* of nspans, those of pinned objects */
    size_t page_allocs;       /* for failalloc */
    AO_t heap_max;            /* bytes; 0 none */
    AO_t memory_limit;        /* bytes, soft; 0 none */
    AO_t group_limit;         /* the same by a control group; 0 none (gc/plan.c) */
    AO_t group_cpus;          /* processors that its limit amounts to; 0 none (gc/plan.c) */
    AO_t small_pages;         /* 1: no huge pages are requested for new memory (gc/plan.c) */
    AO_t advised;             /* 1: the range has grown past OAKI_HUGE_FROM, and was advised */
    size_t purges;            /* how often memory was given back */

    /* threads: threads_lock */
    oaki_lock threads_lock;
    oaki_thread *threads;
    oaki_mcache *mcaches;
    AO_t nthreads;            /* in the list, without the collector's; read without a lock */
    AO_t nhired;              /* of these, the others that Oakum has started */
    /* Objects by size class, with all large ones as one class, and the bytes of large ones. past:
     * made by caches that are gone. frees: by sweep and by hand. Any thread adds to each. */
    AO_t past_mallocs[OAKI_CLASSES], past_large_bytes;
    AO_t frees[OAKI_CLASSES], large_free_bytes;

    oaki_lock gc_lock;
    oaki_lock helper_lock; /* thread.h */
    oaki_lock roots_lock, finalizer_lock, types_lock;
    oaki_lock observe_lock; /* sites and sampled objects (observe/site.h) */

    /* State of the collector that mutators read, at any time. The lock is that of writers. */
    AO_t cycle;               /* marks completed; its parity selects the swept lists; in a stop */
    /* bytes: marked by the last cycle (in a stop), or handed to threads since (any thread adds) */
    AO_t live;
    AO_t trigger;             /* bytes of live at which a collection is due; gc/pace.c's lock */
    AO_t phase;               /* oaki_phase (phase.h); gc/cycle.c's locks */
    AO_t ndeferred;           /* objects whose free is deferred; gc/refs/deferred_free.c's lock */
    AO_t disclaiming;         /* oaki_thread * that calls disclaim functions, or NULL; gc_lock */
    oaki_lock bits_lock;      /* while M is prepared: an allocation changes A, and then M */
    /* 1 between two marks while the next may be minor: M is then kept (markbits.h); set in a stop,
     * cleared under gc_lock or the driver's lock (oaki_sticky_set) */
    AO_t sticky;

    oaki_sampler sampler;

    oak_zone zone0; /* the default zone; its centrals are central0 */
    oaki_central central0[OAKI_SPANCLASSES];
    oaki_zones zones; /* all other zones; has its own lock */
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

/* Offset of the span's first slot. A large object's lies on its first page. */
OAKI_INLINE size_t oaki_span_slot(const oaki_span *s)
{
    return (oaki_span_page(s) << OAKI_PAGE_SHIFT) + s->shift;
}

/* First page of the span that `page` is in; the page's entry must not be free. Steps through
 * saturated offsets of huge objects. */
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

/* Start of the slot that contains offset `off` < used. SIZE_MAX when no slot does: a free page, a
 * span's tail, the gap in front of a guarded large object. */
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

/* Was the zone with this id discarded or destroyed? Its spans may still exist. A caller that asks
 * about an object reads A afterwards: once the record belongs to another zone, A is clear. */
OAKI_INLINE bool oaki_zone_is_gone(uint32_t id)
{
    if (OAKI_LIKELY(id == 0)) return false;
    unsigned state = AO_int_load_acquire(&oaki_zone_by_id(id)->state);
    return state != OAKI_ZONE_OPEN && state != OAKI_ZONE_CLOSING;
}

/* The pages that `bytes` external bytes of a zone count for in its limit. */
OAKI_INLINE size_t oaki_external_pages(size_t bytes)
{
    return (bytes >> OAKI_PAGE_SHIFT) + (bytes % OAKI_PAGE != 0);
}

/* The zone's pages in spans. */
OAKI_INLINE size_t oaki_zone_own_pages(const oak_zone *z)
{
    size_t pages = AO_load(&z->pages), external = oaki_external_pages(AO_load(&z->external));
    return pages > external ? pages - external : 0;
}

/* Zone of the span that p points into; 0 when there is none. */
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

/* Set or clear the bits of granules [off, off + bytes). A word shared with other granules is
 * changed atomically. */
void oaki_bits_set(uint64_t *map, size_t off, size_t bytes);
void oaki_bits_clear(uint64_t *map, size_t off, size_t bytes);
/* Are all of them clear? */
bool oaki_bits_none(const uint64_t *map, size_t off, size_t bytes);

/* [off, off + bytes) is allocated: sets A, and during a concurrent mark clears M, as for all that
 * is not marked yet. */
void oaki_bits_allocate(size_t off, size_t bytes);

/* Slot size of the object that begins at off; the page table gives its span's start. */
size_t oaki_object_size(size_t off);

/* Start of the live object that p points into, or NULL. Like oak_base; any thread. */
void *oaki_object_base(const void *p);

/* Calls fn with the offset of each pinned object. */
void oaki_pinned_visit(void (*fn)(size_t off, void *ctx), void *ctx);

/* ---- page heap (pages.c) ---- */

/* A run of npages whose start is a multiple of align_pages, as a span of (cls, kind). Its page
 * table is filled in, and A is clear. NULL with errno ENOMEM when the limit or the end of the
 * address space is reached. */
oaki_span *oaki_pages_alloc(size_t npages, size_t align_pages, unsigned cls, oaki_kind kind);
void oaki_pages_free(oaki_span *s);
/* Splits a large span's first `head` pages and last `tail` pages off as spans of their own, without
 * an object. Returns the span between them. */
oaki_span *oaki_pages_split(oaki_span *s, size_t head, size_t tail);
/* Frees the pages of a large object behind its first `keep`. */
void oaki_pages_free_tail(oaki_span *s, size_t keep);
/* Releases the memory of its first `upto` pages. The addresses still belong to the object, and read
 * as zero. */
void oaki_pages_release_head(oaki_span *s, size_t upto);
/* The inverse: from page `from` on, the pages have memory again. Returns false when a limit forbids
 * it. */
bool oaki_pages_retake_head(oaki_span *s, size_t from);
typedef struct oaki_touching {
    size_t page, n, purges; /* purges: value of oaki_heap.purges at the time */
} oaki_touching;

/* Returns free memory to the system, in runs of at least min_pages, until `bytes` are returned.
 * Returns the number of bytes. */
size_t oaki_pages_scavenge(size_t bytes, size_t min_pages);
/* The same, from runs that have been free for more than `age` ticks of decay_tick. */
size_t oaki_pages_decay(size_t bytes, size_t min_pages, size_t age);
/* Examines the free run at the end of the used part, which grows for it. Finds the next pages in it
 * that are not backed, up to a multiple of `step`. Returns false in these cases:
 *   - at least `near` pages of the run are backed;
 *   - fewer than `least` pages are in use;
 *   - the memory limit is near;
 *   - `like` is not 0, and a free run elsewhere has that many backed pages. */
bool oaki_pages_untouched(size_t near, size_t step, size_t least, size_t like, oaki_touching *x);
/* The pages have been touched since. */
void oaki_pages_touched(const oaki_touching *x);

/* ---- checking (check.c) ---- */

const char *oaki_pages_check(void); /* the violated rule, or NULL; takes the lock */
void oaki_heap_check(void);         /* checks all structures, in a stop: fatal with the rule */

/* ---- large objects (large.c) ---- */

enum {
    OAKI_LARGE_ZERO = 1, /* without it, the caller fills the dirty memory */
    /* the last OAKI_GUARD_GAP of n are a gap; guard pages next to it (guard.h) */
    OAKI_LARGE_GUARDED = 4,
    OAKI_LARGE_SOON = 2  /* waits only briefly for a mark that mutators outpace */
};

/* n bytes in a span of their own, at a multiple of align, a power of two. Not inside oaki_enter, as
 * clearing may take long. */
void *oaki_large_alloc(size_t n, size_t align, oaki_kind kind, uint32_t type, unsigned how);
/* Releases the parts of a large object outside [from, to). Whole pages of the head lose their
 * memory, and those of the tail are freed. The tail stays while the object's words may be read. */
void oaki_large_give_back(void *p, size_t from, size_t to);
/* Is the object read by a mark in progress, which may have noted its end when it reached the
 * object? May change at any time outside oaki_enter. */
bool oaki_large_is_read(const oaki_span *s);
/* Backs p again behind byte `from`, except for part of a page; the new memory is zero. Returns p,
 * or NULL with ENOMEM. Uses the zone that p was made in; may collect. */
void *oaki_large_take_back(void *p, size_t from);

/* Allocates the object as it is in memory, without the guard's additions. Not inside oaki_enter;
 * may collect. */
void *oaki_alloc_plain(size_t n, size_t align, oaki_kind kind, uint32_t type);
/* Allocates an object of any size, kind and type. NULL with ENOMEM. */
void *oaki_alloc_kind(size_t n, size_t align, oaki_kind kind, uint32_t type);

/* Allocates a typed span's table of ids; false when out of memory. */
bool oaki_span_make_types(oaki_span *s);
void oaki_span_free_types(oaki_span *s);
void oaki_span_set_type(void *p, uint32_t type); /* of the small typed object at p */

/* ---- mcentral (central.c) ---- */

oaki_central *oaki_central_of(const oaki_span *s);
/* A span with free slots, cached for the caller: a swept partial one, one that a sweep frees slots
 * in, or new pages. NULL when out of memory. */
oaki_span *oaki_central_take(oak_zone *z, unsigned spanclass);
void oaki_central_give(oaki_span *s); /* to partial or full, by nalloc */
void oaki_central_put(oaki_span *s, oaki_span_list list);
/* Frees an object that oaki_gc_defer_free has deferred. */
void oaki_free_deferred(void *p);
/* Frees objects of the guard's queue until at most `stay` bytes wait. Were any freed? */
bool oaki_free_waiting(size_t stay);
void oaki_central_ensure_swept(oaki_span *s); /* the caller knows that an object in it is live */
/* Takes an unswept span of this class off its list; NULL when there is none. */
oaki_span *oaki_central_next_waiting(const oak_zone *z, unsigned spanclass);
/* Takes any span off its list, swept or not. *spanclass is the class to search first, and then the
 * class of the span. NULL when there is none. */
oaki_span *oaki_central_pop_any(const oak_zone *z, unsigned *spanclass);
/* Many slots of a full span were freed by hand: offers it again. */
void oaki_central_freed(oaki_span *s);
/* A span in no thread's cache got an object: is it full now? */
void oaki_central_filled(oaki_span *s);
/* Takes a large object off its list, after any sweep that found it alive has put it back there. */
void oaki_central_remove(oaki_span *s);
/* Calls fn for each span of the zone that no thread has cached, until fn returns false. */
void oaki_central_each(const oak_zone *z, bool (*fn)(oaki_span *s, void *ctx), void *ctx);
/* The same for those that may have objects whose type has a disclaim function. */
void oaki_central_each_disclaiming(const oak_zone *z, bool (*fn)(oaki_span *s, void *ctx),
                                   void *ctx);
/* In a stop: takes those of the unswept ones off their lists, and links them by `next` in front of
 * `first`, as below. Their objects count as live for the thread oaki_heap.disclaiming. */
uint32_t oaki_central_take_disclaiming(const oak_zone *z, uint32_t first);
/* Takes the swept spans without live objects off their lists, and links them by `next` in front of
 * `first`. Spans are given as page number + 1, or 0. Returns the new first. A thread that freed an
 * object in one may still read the span, until the next stop. */
uint32_t oaki_central_take_empty(const oak_zone *z, uint32_t first);

/* ---- touching ahead (ahead.c) ---- */

/* These pages were taken by a span. */
void oaki_ahead_taken(size_t page, size_t n);
/* Announces that `bytes` will be allocated soon: backs them, but at most 64 MiB. Pages that are not
 * taken decay as free memory. */
void oaki_ahead_want(size_t bytes);
/* During a concurrent mark the collector's thread may lead: between two quanta it does the steps
 * that a growing heap requests. late: the mark is to get most of the time, however long a step
 * takes. One leader at a time. */
void oaki_ahead_lead(bool on);
void oaki_ahead_led_step(bool late);
/* A step of oaki_pages_untouched, by the helper thread or the leader. Returns false when there is
 * none. */
bool oaki_ahead_step(size_t near, size_t least, bool led);
int oaki_ahead_init(void);
/* The soft limit: the program's or the control group's, whichever is less; 0: none. */
OAKI_INLINE size_t oaki_heap_soft_limit(void)
{
    size_t own = AO_load(&oaki_the_heap.memory_limit), group = AO_load(&oaki_the_heap.group_limit);
    return own && group ? OAKI_MIN(own, group) : own | group;
}

/* Processors that the process may use: its mask, and limits of control groups. */
unsigned oaki_heap_cpus(void);

/* Pages that are kept touched ahead, by the heap's size and the cost of fresh memory. */
size_t oaki_ahead_near(void);
/* Starts the helper thread if the heap is large enough; like oaki_scavenger_spawn. */
void oaki_ahead_spawn(void);

/* ---- start-up ---- */

/* Starts the heap unless it is started. Returns 0, or -1 with errno. */
int oaki_heap_start(const oak_config *cfg);
bool oaki_heap_ready(void); /* starts it if need be */
/* The heap is started: where oak_init was called that started it, or NULL when the first use did
 * it. */
const void *oaki_heap_started_from(void);
/* Closes the heap, for oaki_heap_end. 0 or an error number; EBUSY: another thread is attached. */
int oaki_heap_close(void);
/* Gives back the closed heap: memory, descriptors, the signal, the key. Another start finds all as
 * before the first one. false: the system refuses to take some memory back. */
bool oaki_heap_end(void);
/* Keeps any start from running during a fork: 0 before fork, 1 after it in the parent, 2 in the
 * child. */
void oaki_heap_fork(int stage);
int oaki_space_init(size_t reserve);
int oaki_space_grow(size_t min_bytes, size_t *page, size_t *npages);
/* Gives back the range's end for good: keeps `most` bytes, or the committed bytes if they are
 * more. */
void oaki_space_limit(size_t most);
/* Makes the next growth free of system calls, if possible. */
void oaki_space_prepare(void);
/* Advises the range by small_pages; once it is `advised`, and after each change. */
void oaki_space_advise(void);
/* Backs that part of the range, and the tables that serve it, with memory. */
void oaki_space_touch(size_t off, size_t bytes);
int oaki_scavenger_init(void);
/* Starts the scavenger's thread if it has work: after a collection, and when pages were freed by
 * hand. Takes locks of the host. */
void oaki_scavenger_spawn(void);
/* As oak_scavenge, but `keep` bytes of free memory stay. Outside of oaki_enter. */
size_t oaki_scavenge_down(size_t keep);
/* Like oaki_pages_scavenge, called by a helper. */
size_t oaki_scavenge_step(size_t bytes, size_t min_pages);
/* A tick has passed: releases memory that has been free for the whole decay time. Called by the
 * scavenger's thread alone, or by a test that moves the time. Returns the number of bytes. */
size_t oaki_scavenge_tick(void);
#define OAKI_DECAY_TICKS 8 /* in the decay time */
/* `pages` are about to get memory. Under a memory limit that they would exceed, releases as much
 * free memory first. */
void oaki_scavenge_for(size_t pages);
/* Bytes by which all of Oakum's memory, with `pages` more, would exceed the memory limit less a
 * small margin; 0 without a limit. */
size_t oaki_heap_over(size_t pages);
/* Bytes in free pages that have memory behind them. */
size_t oaki_heap_retained(void);
/* Pages of the heap that have memory behind them, in use or free. */
size_t oaki_heap_backed_pages(void);

#endif

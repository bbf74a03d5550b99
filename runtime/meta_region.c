/* meta_region.c - regions of 1 MiB, from which runs of units are taken (meta_region.h).
 *
 * A region is aligned to its size, so that a run finds its record, which takes the first unit. Two
 * masks have a bit for each unit. Units given back keep their memory for the next use, up to
 * SPARE_MIN or one SPARE_SHARE of all that is held. Past that, regions lose the memory of their
 * free units, first the region that just got units back.
 *
 * Owns: the regions and their counts.
 * Invariants: a region with a free unit is in the list given by room_of, and only there. A unit is
 * `dirty` when it was so before it was taken, or was given back as touched. A free unit that isn't
 * dirty reads as zero. At most one region stays empty, the_empty. held counts the units that are
 * taken or dirty; spare counts those that are free and dirty.
 * Lock: `lock`, which is held during no system call. Units whose memory is being returned count as
 * taken meanwhile. The count is atomic.
 * Bound: O(1), with up to SEARCH regions examined; O(regions) where memory goes back to the
 * system. */
#include "meta_region.h"

#include "contract.h"
#include "lock.h"
#include "os.h"

#define UNIT OAKI_META_UNIT
#define REGION ((size_t)1 << 20)
#define UNITS ((unsigned)(REGION / UNIT))
#define ALL (~(uint64_t)1) /* except the record's */
#define SLAB_STARTS 0x1111111111111111u
#define SEARCH 32
#define SPARE_MIN ((size_t)16)
#define SPARE_SHARE 16

typedef struct region {
    struct region *next, *prev;
    uint64_t free, dirty;
} region;

/* The list of a region: can it give a slab, only a shorter run, or nothing? */
typedef enum room { ROOMY, TIGHT, LISTS, FULL = LISTS } room;

static oaki_lock lock = OAKI_LOCK_INIT(OAKI_RANK_META_REGION);
static region *list[LISTS];
static region *the_empty;
static size_t spare; /* units */
static AO_t held;    /* units */

static region *region_of(const void *p)
{
    return (region *)OAKI_ALIGN_DOWN((uintptr_t)p, REGION);
}

static uint64_t mask_of(const void *p, unsigned n)
{
    unsigned at = (unsigned)(((uintptr_t)p & (REGION - 1)) / UNIT);
    OAKI_ASSERT(at > 0 && n > 0 && at + n <= UNITS); /* the first unit is the record's */
    return (~(uint64_t)0 >> (UNITS - n)) << at;
}

/* Bits where a run of n set bits begins. */
static uint64_t run_starts(uint64_t bits, unsigned n)
{
    for (unsigned known = 1, step; known < n; known += step) {
        step = OAKI_MIN(known, n - known);
        bits &= bits >> step;
    }
    return bits;
}

static uint64_t slab_starts(uint64_t bits)
{
    return run_starts(bits, OAKI_META_SLAB_UNITS) & SLAB_STARTS;
}

static room room_of(uint64_t bits)
{
    return slab_starts(bits) ? ROOMY : bits ? TIGHT : FULL;
}

static void list_add(region *r, room at)
{
    if (at == FULL) return;
    r->prev = NULL;
    r->next = list[at];
    if (r->next) r->next->prev = r;
    list[at] = r;
}

static void list_remove(region *r, room at)
{
    if (at == FULL) return;
    if (r->prev)
        r->prev->next = r->next;
    else
        list[at] = r->next;
    if (r->next) r->next->prev = r->prev;
}

static void set_free(region *r, uint64_t bits)
{
    OAKI_REQUIRES_LOCK(&lock);
    OAKI_ASSERT(!(bits & ~ALL));
    room before = room_of(r->free), after = room_of(bits);
    if (bits == ALL && !the_empty) the_empty = r;
    if (bits != ALL && the_empty == r) the_empty = NULL;
    r->free = bits;
    if (before == after) return;
    list_remove(r, before);
    list_add(r, after);
}

/* Takes slabs from below, other runs from above, so that runs leave room for slabs. */
static void *take_from(region *r, unsigned n, bool slab, bool *zero)
{
    uint64_t starts = slab ? slab_starts(r->free) : run_starts(r->free, n);
    if (!starts) return NULL;
    void *p = (char *)r + (slab ? oaki_ctz(starts) : oaki_log2(starts)) * UNIT;
    uint64_t mask = mask_of(p, n);
    unsigned dirty = oaki_popcount(r->dirty & mask);
    set_free(r, r->free & ~mask);
    *zero = dirty == 0;
    OAKI_ASSERT(spare >= dirty);
    spare -= dirty;
    oaki_count_step(&held, n - dirty);
    return p;
}

/* A roomy region has room for a slab, and so for any run that is not longer than one. The empty one
 * has it for every run, and may lie behind SEARCH others. */
static void *take(unsigned n, bool slab, bool *zero)
{
    void *p = NULL;
    for (room at = n < OAKI_META_SLAB_UNITS ? TIGHT : ROOMY;; at = ROOMY) {
        unsigned seen = 0;
        for (region *r = list[at]; r && !p && seen++ < SEARCH; r = r->next)
            p = take_from(r, n, slab, zero);
        if (p || at == ROOMY) break;
    }
    return p || !the_empty ? p : take_from(the_empty, n, slab, zero);
}

/* Drops an empty region if another one stays. */
static bool drop_if_empty(region *r)
{
    if (r->free != ALL || r == the_empty) return false;
    unsigned dirty = oaki_popcount(r->dirty);
    OAKI_ASSERT(spare >= dirty && oaki_count_get(&held) > dirty);
    list_remove(r, ROOMY);
    spare -= dirty;
    oaki_count_sub(&held, dirty + 1);
    return true;
}

static bool too_much_is_spare(void)
{
    return spare > SPARE_MIN && spare > oaki_count_get(&held) / SPARE_SHARE;
}

/* This region, or any other with spare units. */
static region *with_spare(region *r)
{
    if (r && (r->free & r->dirty)) return r;
    for (room at = ROOMY; at < LISTS; at++)
        for (r = list[at]; r; r = r->next)
            if (r->free & r->dirty) return r;
    return NULL;
}

/* Returns the region's units that are free and dirty. They count as taken from here on. */
static uint64_t purge_begin(region *r)
{
    uint64_t mask = r->free & r->dirty;
    set_free(r, r->free & ~mask);
    spare -= oaki_popcount(mask);
    return mask;
}

static void purge_end(region *r, uint64_t mask)
{
    OAKI_ASSERT(!(r->free & mask) && (r->dirty & mask) == mask);
    r->dirty &= ~mask;
    set_free(r, r->free | mask);
    oaki_count_sub(&held, oaki_popcount(mask));
}

/* ---- lock not held ---- */

static void purge(region *r, uint64_t mask)
{
    while (mask) {
        unsigned at = oaki_ctz(mask), n = oaki_ctz(~(mask >> at));
        void *p = (char *)r + at * UNIT;
        oaki_os_purge(p, n * UNIT);
        mask &= ~mask_of(p, n);
    }
}

static region *region_new(void)
{
    region *r = oaki_os_reserve(REGION, REGION);
    if (r && oaki_os_commit(r, REGION) != 0) {
        oaki_os_release(r, REGION);
        return NULL;
    }
    if (r) r->free = 0; /* written before it is read: one page fault, not two */
    return r;
}

static bool add_region(void)
{
    region *r = region_new();
    if (!r) return false;
    oaki_lock_acquire(&lock);
    bool adds = !the_empty; /* or another thread has added one meanwhile */
    if (adds) {
        set_free(r, ALL);
        oaki_count_step(&held, 1);
    }
    oaki_lock_release(&lock);
    if (!adds) oaki_os_release(r, REGION);
    return true;
}

static void *try_take(unsigned n, bool slab, bool *zero)
{
    oaki_lock_acquire(&lock);
    void *p = take(n, slab, zero);
    oaki_lock_release(&lock);
    return p;
}

/* Another thread may use up a new region before the thread that has added it. */
void *oaki_meta_run_take(unsigned n, bool slab, bool *zero)
{
    void *p = try_take(n, slab, zero);
    while (!p && add_region()) p = try_take(n, slab, zero);
    return p;
}

bool oaki_meta_runs_keep_room(void)
{
    oaki_lock_acquire(&lock);
    bool has = the_empty != NULL;
    oaki_lock_release(&lock);
    return has || add_region();
}

/* The lock is released meanwhile. A region whose memory is being returned is not empty. */
static void trim(region *r)
{
    OAKI_REQUIRES_LOCK(&lock);
    while (too_much_is_spare() && (r = with_spare(r)) != NULL) {
        uint64_t mask = purge_begin(r);
        oaki_lock_release(&lock);
        purge(r, mask);
        oaki_lock_acquire(&lock);
        purge_end(r, mask);
        if (drop_if_empty(r)) {
            oaki_lock_release(&lock);
            oaki_os_release(r, REGION);
            oaki_lock_acquire(&lock);
        }
        r = NULL;
    }
}

void oaki_meta_run_give(void *p, unsigned n, size_t touched)
{
    region *r = region_of(p);
    uint64_t mask = mask_of(p, n);
    unsigned ntouched = (unsigned)(OAKI_ALIGN_UP(touched, UNIT) / UNIT);
    oaki_lock_acquire(&lock);
    OAKI_INVARIANT((r->free & mask) == 0, "metadata is freed twice");
    if (ntouched > 0) r->dirty |= mask_of(p, ntouched);
    unsigned dirty = oaki_popcount(r->dirty & mask);
    set_free(r, r->free | mask);
    spare += dirty;
    oaki_count_sub(&held, n - dirty);
    bool gone = drop_if_empty(r);
    trim(gone ? NULL : r);
    oaki_lock_release(&lock);
    if (gone) oaki_os_release(r, REGION);
}

size_t oaki_meta_runs_held(void)
{
    return oaki_count_get(&held) * UNIT;
}

static const char *check_all(void)
{
    size_t nempty = 0, nspare = 0;
    for (room at = ROOMY; at < LISTS; at++)
        for (const region *r = list[at], *before = NULL; r; before = r, r = r->next) {
            if (r->prev != before) return "metadata: the links of regions go both ways";
            if (room_of(r->free) != at) return "metadata: a region is in the list of its room";
            nempty += r->free == ALL;
            nspare += oaki_popcount(r->free & r->dirty);
        }
    if (nempty != (the_empty != NULL) || (the_empty && the_empty->free != ALL))
        return "metadata: the one empty region is known";
    return nspare == spare ? NULL : "metadata: spare counts the units that are free and dirty";
}

const char *oaki_meta_runs_check(void)
{
    oaki_lock_acquire(&lock);
    const char *broken = check_all();
    oaki_lock_release(&lock);
    return broken;
}

void oaki_meta_runs_fork(int stage)
{
    if (stage == 0)
        oaki_lock_acquire(&lock);
    else if (stage == 1)
        oaki_lock_release(&lock);
    else
        oaki_lock_reset(&lock);
}

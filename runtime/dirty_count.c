/* dirty_count.c - counts the costs of dirty tracking, for statistics (dirty.h).
 *
 * The kernel resolves a fault of userfaultfd's protection by itself, and does not report it. So a
 * bitmap has a bit for each protected page: a page with its bit set that is found dirty has had one
 * fault. A fault on a page whose protection is released before the next take isn't counted.
 *
 * Owns: `self`; the bitmap of protected pages.
 * Lock: none. The thread that protects makes the bitmap longer, and there is one at a time. Bits
 * are changed atomically, as mutators release protection meanwhile.
 * Bound: linear in the words of the bitmap; it covers the part of the heap that was ever protected.
 * Without memory for it, faults are not counted. */
#include "heap.h"
#include "os.h"
#include "writer.h"

#include <errno.h>

static struct {
    AO_t *bits;
    bool refused; /* there is no address space for it */
    AO_t end;     /* offset: pages below it have a bit */
    AO_t asked, found, faults;
} self;

/* ---- the bitmap ---- */

static bool reserve(size_t page)
{
    if (self.bits || self.refused) return self.bits != NULL;
    size_t size = OAKI_ALIGN_UP(oaki_the_heap.reserved / page / 8, page);
    self.bits = oaki_os_reserve(size, page);
    self.refused = !self.bits;
    return self.bits != NULL;
}

/* A page of the bitmap at a time. */
static void extend(size_t to)
{
    size_t page = oaki_os_page_size(), end = AO_load(&self.end), step = page * page * 8;
    if (OAKI_LIKELY(to <= end) || !reserve(page)) return;
    to = OAKI_MIN(OAKI_ALIGN_UP(to, step), oaki_the_heap.reserved);
    char *from = (char *)self.bits + end / page / 8;
    size_t size = OAKI_ALIGN_UP((to - end) / page / 8, page);
    if (oaki_os_commit(from, size) == 0) AO_store_release(&self.end, to);
}

/* Returns how many of these bits were set. */
static size_t change(AO_t *word, AO_t mask, bool on)
{
    AO_t old, now;
    do {
        old = AO_load(word);
        now = on ? old | mask : old & ~mask;
    } while (now != old && !AO_compare_and_swap(word, old, now));
    return oaki_popcount(old & mask);
}

static size_t change_all(size_t from, size_t to, bool on)
{
    unsigned shift = oaki_log2(oaki_os_page_size());
    size_t set = 0, page = from >> shift, end = OAKI_MIN(to, AO_load_acquire(&self.end)) >> shift;
    while (page < end) {
        size_t n = OAKI_MIN(end - page, 64 - page % 64);
        set += change(&self.bits[page / 64], ~(AO_t)0 >> (64 - n) << (page % 64), on);
        page += n;
    }
    return set;
}

/* ---- for the ways of tracking ---- */

void oaki_dirty_count_run(size_t from, size_t to, bool again)
{
    OAKI_ASSERT(from < to && to <= oaki_the_heap.reserved);
    int saved = errno;
    if (again) extend(to);
    errno = saved;
    size_t faults = change_all(from, to, again);
    if (faults > 0) (void)AO_fetch_and_add(&self.faults, faults);
}

void oaki_dirty_count_released(size_t from, size_t to)
{
    (void)change_all(from, to, false);
}

void oaki_dirty_count_fault(void)
{
    (void)AO_fetch_and_add1(&self.faults);
}

/* ---- for dirty.c and statistics ---- */

void oaki_dirty_count_take(size_t asked, size_t found)
{
    (void)AO_fetch_and_add(&self.asked, asked);
    if (found > 0) (void)AO_fetch_and_add(&self.found, found);
}

oaki_dirty_cost oaki_dirty_costs(void)
{
    return (oaki_dirty_cost){ .asked = AO_load(&self.asked),
                              .found = AO_load(&self.found),
                              .faults = AO_load(&self.faults) };
}

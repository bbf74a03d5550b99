/* ranges.c - large objects and root ranges that wait to be scanned in parts.
 *
 * All workers take parts, of the newest range first.
 *
 * Owns: `self`. The table is mapped from the system once it has outgrown the first one, and
 * returned after the mark. Lock: self.lock, also while a larger table is mapped. Bound: O(1),
 * and 24 bytes for each pending object; these are larger than 2 KiB. */
#include "gc/contract.h"
#include "runtime/os.h"
#include "spin.h"
#include "trace.h"

#define FIRST 1024

static struct {
    oaki_spin lock;
    size_t n, room;
    oaki_range *range;
    oaki_range first[FIRST];
} self;

static void use_first(void)
{
    self.range = self.first;
    self.room = FIRST;
}

static bool grow(void)
{
    OAKI_ASSERT(AO_int_load(&self.lock) == 1 && self.n == self.room);
    size_t room = self.room * 2;
    oaki_range *more = oaki_os_map(room * sizeof *more);
    if (!more) return false;
    oaki_copy_without_trace(more, self.range, self.n * sizeof *more);
    if (self.range != self.first) oaki_os_release(self.range, self.room * sizeof *self.range);
    self.range = more;
    self.room = room;
    return true;
}

bool oaki_ranges_add(const char *lo, const char *hi, bool typed)
{
    OAKI_ASSERT(lo < hi);
    oaki_spin_lock(&self.lock);
    bool room = self.n < self.room || grow();
    if (room) self.range[self.n++] = (oaki_range){ lo, hi, typed };
    oaki_spin_unlock(&self.lock);
    return room;
}

bool oaki_ranges_take(oaki_range *out)
{
    oaki_spin_lock(&self.lock);
    bool any = self.n > 0;
    if (any) {
        oaki_range *r = &self.range[self.n - 1];
        *out = *r;
        if ((size_t)(r->hi - r->lo) > OAKI_TUNE_RANGE_STEP) out->hi = r->lo + OAKI_TUNE_RANGE_STEP;
        r->lo = out->hi;
        if (r->lo >= r->hi) self.n--;
    }
    oaki_spin_unlock(&self.lock);
    return any;
}

bool oaki_ranges_any(void)
{
    oaki_spin_lock(&self.lock);
    bool any = self.n > 0;
    oaki_spin_unlock(&self.lock);
    return any;
}

size_t oaki_ranges_mapped(void)
{
    oaki_spin_lock(&self.lock);
    size_t n = self.range == self.first ? 0 : self.room * sizeof *self.range;
    oaki_spin_unlock(&self.lock);
    return n;
}

void oaki_ranges_forget(void)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_REQUIRES_NO_HELPER();
    self.n = 0;
}

void oaki_ranges_trim(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_NO_MARK();
    if (self.n > 0 || self.range == self.first) return;
    oaki_os_release(self.range, self.room * sizeof *self.range);
    use_first();
}

const char *oaki_ranges_check(void)
{
    if (self.n > self.room) return "ranges: as many as there is room for";
    for (size_t i = 0; i < self.n; i++)
        if (self.range[i].lo >= self.range[i].hi) return "ranges: none is empty";
    return NULL;
}

void oaki_ranges_after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    self.lock = 0;
}

OAKI_AT_START int oaki_ranges_init(void)
{
    use_first();
    return oaki_roots_exclude(&self, sizeof self);
}

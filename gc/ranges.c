/* ranges.c - what waits to be scanned a piece at a time: large objects and root ranges, which all
 * workers eat from, the newest first.
 *
 * Owns: `self`; the table lies in memory from the system once it has outgrown the first one, and is
 * given back after the mark. Lock: self.lock, also while a larger table is mapped. Bound: O(1), and
 * 24 bytes for each object that waits, which is larger than 2 KiB. */
#include "mark.h"
#include "runtime/os.h"
#include "spin.h"

#define FIRST 1024
#define PIECE ((size_t)32 << 10) /* bytes of a range taken at a time */

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

/* By an owner of the lock. */
static bool grow(void)
{
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
        if ((size_t)(r->hi - r->lo) > PIECE) out->hi = r->lo + PIECE;
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
    self.n = 0;
}

void oaki_ranges_trim(void)
{
    if (self.n > 0 || self.range == self.first) return;
    oaki_os_release(self.range, self.room * sizeof *self.range);
    use_first();
}

void oaki_ranges_after_fork(void)
{
    self.lock = 0;
}

OAKI_AT_START int oaki_ranges_init(void)
{
    use_first();
    return oaki_roots_exclude(&self, sizeof self);
}

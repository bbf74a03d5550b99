/* guardspan.c - fills and gives back the gaps and pages of guarded spans (guard.h).
 *
 * A page behind an object splits a mapping in three, and a process has a limited number of those
 * (vm.max_map_count). So a quarter of that number of pages is closed at most: half of the mappings.
 *
 * Owns: the number of closed pages. A span belongs to its caller while it is filled or released.
 * Lock: none; the number is atomic. */
#include "contract.h"
#include "guard.h"
#include "heap.h"
#include "os.h"
#include "print.h"
#include "track.h"
#include "zone.h"
#include <string.h>
#include <sys/mman.h>

#define GAP OAKI_GUARD_PATTERN
#define SHARE 4 /* one closed page for each so many mappings of the limit */

static struct {
    AO_t closed;
    unsigned int logged; /* AO_int: 1 once it is logged that the most pages are closed */
} self;

size_t oaki_guard_pages_most(void)
{
    return oaki_os_mappings_most() / SHARE;
}

size_t oaki_guard_tail(void)
{
    if (!oaki_guard.page) return 0;
    if (AO_load(&self.closed) < oaki_guard.pages_most) return 1;
    if (AO_int_compare_and_swap_full(&self.logged, 0, 1))
        oaki_log("oakum: guard: %zu large objects end at a page that is closed, as many as may: "
                 "others end in a gap\n",
                 oaki_guard.pages_most);
    return 0;
}

static bool close_page(void *p)
{
    if (mprotect(p, OAKI_PAGE, PROT_NONE) != 0) return false;
    AO_fetch_and_add1(&self.closed);
    return true;
}

static bool open_page(void *p)
{
    if (mprotect(p, OAKI_PAGE, PROT_READ | PROT_WRITE) != 0) return false;
    AO_fetch_and_sub1(&self.closed);
    return true;
}

/* Opens and frees the page behind an object. At a limit of the data segment (RLIMIT_DATA) a page
 * can't be opened: it stays closed and taken, and no zone is charged for it. */
static void free_tail(oaki_span *tail)
{
    if (open_page(oaki_span_start(tail))) {
        oaki_pages_free(tail);
        return;
    }
    oaki_zone_uncharge(tail->zone, tail->npages);
    tail->zone = 0;
}

size_t oaki_guard_cost(size_t off)
{
    const oaki_span *s = oaki_span_of_offset(off);
    size_t bytes = (size_t)s->npages << OAKI_PAGE_SHIFT;
    if (s->cls != OAKI_CLASS_LARGE) return bytes / oaki_span_slots(s);
    return bytes + ((s->guarded & OAKI_GUARDED_HEAD) != 0) * OAKI_PAGE +
           ((s->guarded & OAKI_GUARDED_TAIL) != 0) * OAKI_PAGE;
}

size_t oaki_guard_front(const oaki_span *s)
{
    if (s->cls == OAKI_CLASS_LARGE)
        return (s->guarded & OAKI_GUARDED_HEAD ? OAKI_PAGE : 0) + s->shift;
    return oaki_classes[s->cls].nslots > 1 ? OAKI_GUARD_GAP : 0;
}

/* The memory may be what ASan has poisoned when an object was freed. */
static void fill(unsigned char *p, size_t n)
{
    oaki_track_alloc(p, n);
    memset(p, GAP, n);
}

bool oaki_guard_fill(oaki_span *s)
{
    OAKI_REQUIRES_INSIDE();
    unsigned char *p = (unsigned char *)oaki_span_start(s), *end = p;
    if (s->cls == OAKI_CLASS_LARGE) {
        if (s->guarded & OAKI_GUARDED_HEAD) fill(p - OAKI_PAGE, OAKI_PAGE);
        fill(p, s->shift);
        if (!(s->guarded & OAKI_GUARDED_TAIL) || close_page(p + s->shift + s->size)) return true;
        s->guarded &= (uint8_t)~OAKI_GUARDED_TAIL; /* it is a span of its own, and open */
        oaki_pages_free(s + s->npages);
        return false;
    }
    const oaki_class *c = &oaki_classes[s->cls];
    if (c->nslots == 1) return true;
    s->guarded = OAKI_GUARDED;
    s->special = 1; /* makes the free of its objects take the slow path */
    for (size_t i = 0; i < c->nslots; i++) {
        end += c->size;
        fill(end - OAKI_GUARD_GAP, OAKI_GUARD_GAP);
    }
    return true;
}

void oaki_guard_release(oaki_span *s)
{
    OAKI_ASSERT(s->cls == OAKI_CLASS_LARGE);
    size_t page = oaki_span_page(s);
    if (s->guarded & OAKI_GUARDED_TAIL) free_tail(s + s->npages);
    if (s->guarded & OAKI_GUARDED_HEAD) oaki_pages_free(&oaki_the_heap.spans[page - 1]);
    s->guarded = 0;
}

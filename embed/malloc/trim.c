/* trim.c - memory for the system, as programs free: no scavenger runs in such a process.
 *
 * When much has been freed since the last time, free memory goes back. If the program takes part
 * of it again within the decay time (option decay_ms), that was a mistake: as much stays then. It
 * goes back at the first look after a decay time without a further mistake. Frees look, so what an
 * idle program has kept stays. A loop that fills and clears pays for its pages once in a decay
 * time, and memory of a peak goes back at once.
 *
 * Owns: oaki_freed, the bytes freed since the last time; what stays. Lock: none, all are atomic;
 * the thread that sets the count of bytes to 0 has the turn. */
#include "cache.h"
#include "preload.h"
#include "runtime/collector.h"
#include <errno.h>
#include <malloc.h>

#define COUNT_EVERY ((size_t)1 << 20)
#define TRIM_LEAST ((size_t)32 << 20)

static AO_t oaki_freed;

static struct {
    AO_t backed; /* pages of the heap with memory that the last release has left */
    AO_t given;  /* the bytes that it gave back */
    AO_t since;  /* the clock then, ns; 0: nothing was released yet */
    AO_t stays;  /* bytes of free memory that stay */
    AO_t until;  /* the clock's time that ends that */
} self;

/* Bytes of free memory that are likely to be needed again soon; sets `until`. */
static size_t needed(uint64_t now)
{
    uint64_t decay = (uint64_t)oaki_the_heap.config.decay_ms * 1000000;
    size_t backed = oaki_heap_backed_pages(), had = AO_load(&self.backed);
    size_t since = AO_load(&self.since);
    size_t stays = now < AO_load(&self.until) ? AO_load(&self.stays) : 0;
    if (since == 0 || backed <= had || now - since >= decay) return stays;
    size_t back = OAKI_MIN((backed - had) << OAKI_PAGE_SHIFT, AO_load(&self.given));
    stays = OAKI_MAX(stays, back);
    AO_store(&self.until, now + decay);
    return stays;
}

/* Outside of oaki_enter. Spans that became empty object by object are found only by a check of all
 * spans, which needs a pause. */
void oaki_give_back(void)
{
    uint64_t now = oaki_os_now_ns();
    size_t keep = needed(now);
    AO_store(&self.stays, keep);
    size_t given = oaki_scavenge_down(keep);
    if (given == 0) return;
    AO_store(&self.given, given);
    AO_store(&self.backed, oaki_heap_backed_pages());
    AO_store(&self.since, now);
}

static bool has_kept_enough(void)
{
    return AO_load(&self.stays) > 0 && oaki_os_lately_ns() >= AO_load(&self.until);
}

static OAKI_COLD void count(void)
{
    size_t freed = oaki_my.freed;
    oaki_my.freed = 0;
    size_t total = AO_fetch_and_add(&oaki_freed, freed) + freed, was = total;
    size_t much = TRIM_LEAST + (oaki_heap_backed_pages() << OAKI_PAGE_SHIFT) / 2;
    if (total < much && !has_kept_enough()) return;
    if (!AO_compare_and_swap(&oaki_freed, was, 0)) return;
    int saved = errno;
    oaki_give_back();
    errno = saved;
}

void oaki_freed_add(size_t bytes)
{
    if (OAKI_UNLIKELY((oaki_my.freed += bytes) >= COUNT_EVERY)) count();
}

OAKI_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    if (!oaki_can_enter()) return 0;
    AO_store(&oaki_freed, 0);
    return oak_scavenge() > 0;
}

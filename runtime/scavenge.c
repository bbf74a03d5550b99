/* scavenge.c - returning free memory to the system: on demand, and on a thread of its own.
 *
 * The background thread keeps the memory that the next cycle is likely to need: the heap's goal and
 * a tenth of it. Above that it releases free runs, the longest first, at a bounded rate. An excess
 * is released only after a second in which the heap did not use it. The thread is created at the
 * first such excess; most processes, and most children of a fork, never have one.
 * Owns: the scavenger thread. Lock: pages_lock, inside oaki_pages_scavenge, never during a system
 * call. */
#include "collector.h"
#include "emptied.h"
#include "heap.h"
#include "os.h"
#include <oakum/heap.h>

#define PERIOD_NS 1000000000u
#define STEP ((size_t)16 << 20) /* bytes released at a time */
#define BACKGROUND_STEP ((size_t)4 << 20) /* the same, where a collection may wait */
#define RATE ((size_t)64 << 20) /* most bytes released in one period */
#define MIN_PAGES 8             /* shorter runs are left to be reused */

static unsigned int started; /* AO_int: the thread was started */

/* Frees spans that were emptied by hand since their sweep. A sweep itself frees the spans that it
 * finds empty. */
static void free_empty_spans(void)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_enter();
    if (!t) return;
    uint32_t first = oaki_emptied_take();
    oaki_leave(t);
    if (!first || !(t = oaki_enter())) return;
    oaki_lock_acquire_parked(t, &h->gc_lock);
    oaki_world_handshake(t); /* another thread may be using one of them */
    oaki_lock_release(&h->gc_lock);
    oaki_emptied_free(first);
    oaki_leave(t);
}

size_t oak_scavenge(void)
{
    size_t n, total = 0;
    free_empty_spans();
    do { /* in steps, as no stop can happen during one */
        oaki_thread *t = oaki_enter();
        if (!t) return total;
        n = oaki_pages_scavenge(STEP, 1);
        oaki_leave(t);
        total += n;
    } while (n > 0);
    return total;
}

size_t oaki_scavenge_excess(void)
{
    oaki_heap *h = &oaki_the_heap;
    size_t held = (AO_load(&h->pages_inuse) + AO_load(&h->pages_free) - AO_load(&h->pages_released))
                  << OAKI_PAGE_SHIFT;
    size_t goal = AO_load(&h->trigger), want = goal + goal / 10;
    size_t limit = AO_load(&h->memory_limit);
    if (limit) want = OAKI_MIN(want, limit - limit / 10);
    return held > want ? held - want : 0;
}

/* Between helper_begin and helper_end: a run that is out for scavenging has no valid page table
 * entries, and a collection walks those. */
size_t oaki_scavenge_step(size_t bytes, size_t min_pages)
{
    oaki_helper_begin();
    size_t n = oaki_pages_scavenge(bytes, min_pages);
    oaki_helper_end();
    return n;
}

static void *scavenger(void *arg)
{
    size_t last = 0;
    (void)arg;
    for (;;) {
        oaki_os_sleep_ns(PERIOD_NS);
        size_t now = oaki_scavenge_excess(), n = OAKI_MIN(OAKI_MIN(now, last), RATE), done = 1;
        for (size_t total = 0; total < n && done; total += done)
            done = oaki_scavenge_step(OAKI_MIN(n - total, BACKGROUND_STEP), MIN_PAGES);
        last = now;
    }
    return NULL;
}

static void after_fork(void)
{
    AO_int_store(&started, 0);
}

int oaki_scavenger_init(void)
{
    oaki_fork_register(after_fork);
    return 0;
}

void oaki_scavenger_spawn(void)
{
    OAKI_REQUIRES_RUNNING();
    OAKI_REQUIRES_OUTSIDE();
    if (OAKI_LIKELY(AO_int_load(&started)) || !oaki_the_heap.config.scavenge) return;
    if (oaki_scavenge_excess() < OAKI_CHUNK) return;
    if (!AO_int_compare_and_swap_full(&started, 0, 1)) return;
    if (oaki_thread_spawn("oakum/scavenge", scavenger, NULL, false) != 0)
        AO_int_store(&started, 0);
}

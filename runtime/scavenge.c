/* scavenge.c - returning free memory to the system: by decay, near a memory limit, and on demand.
 *
 * Memory that was used within the last decay time (option decay_ms) may be needed again soon.
 * Faulting it in anew would cost its next user more than keeping it. So a free run is released once
 * it has been free for the whole decay time. The time is counted in ticks, OAKI_DECAY_TICKS to a
 * decay time. A run notes the tick at which it became free (pages.c). As in jemalloc, pages that
 * were used last stay longest, and the default is 10 s (its option dirty_decay_ms). There pages
 * decay by a curve. Here a run stays whole, so a period shorter than the decay time causes no
 * faults.
 *
 * Free memory also stays up to the amount that the program has taken within the last decay time. It
 * takes the heap to at most a tenth above its goal. A heap whose cycles take longer than the decay
 * time needs that memory in its next cycle. An idle program takes nothing, and keeps nothing.
 *
 * Near the memory limit none of this holds: the thread that is about to exceed the limit first
 * releases as much memory, whatever its age.
 *
 * The thread is created when at least FROM bytes are free, or will be once they are swept. Most
 * processes, and most children of a fork, never have one. The thread sleeps for good when two
 * conditions hold. It has nothing to release. For two decay times no collection and no free by hand
 * has come near FROM.
 *
 * Owns: the scavenger thread, decay_tick. Lock: pages_lock, inside oaki_pages_decay, never during a
 * system call. */
#include "collector.h"
#include "crew.h"
#include "emptied.h"
#include "heap.h"
#include "meta.h"
#include "os.h"
#include "waker.h"
#include <oakum/heap.h>

#define FROM ((size_t)8 << 20)  /* bytes of free memory that are worth a thread */
#define STEP ((size_t)16 << 20) /* bytes released at a time */
#define BACKGROUND_STEP ((size_t)4 << 20) /* the same, where a collection may wait */
#define AT_ONCE ((size_t)64 << 20) /* bytes released in one tick; or a quarter, if that is more */
#define LEAST_NS UINT64_C(20000000) /* between two ticks */
#define MIN_PAGES 8                 /* shorter runs are left to be reused */
#define NEAR 32 /* part of the memory limit, 1/n, that stays free of unused memory */

static struct {
    oaki_waker waker;
    unsigned int started;  /* AO_int: the thread was started */
    unsigned int asleep;   /* AO_int: until it is woken */
    AO_t poked;            /* the tick of the last poke */
    AO_t taken[OAKI_DECAY_TICKS]; /* pages_taken at the last ticks */
} decay;

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

size_t oaki_heap_retained(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t n = AO_load(&h->pages_free), released = AO_load(&h->pages_released);
    return (n > released ? n - released : 0) << OAKI_PAGE_SHIFT;
}

/* In steps, as no stop can happen during one. */
size_t oaki_scavenge_down(size_t keep)
{
    size_t n = 1, total = 0, have;
    free_empty_spans();
    for (; n > 0 && (have = oaki_heap_retained()) > keep; total += n) {
        oaki_thread *t = oaki_enter();
        if (!t) break;
        n = oaki_pages_scavenge(OAKI_MIN(STEP, have - keep), 1);
        oaki_leave(t);
    }
    return total;
}

size_t oak_scavenge(void)
{
    return oaki_scavenge_down(0);
}

size_t oaki_heap_backed_pages(void)
{
    const oaki_heap *h = &oaki_the_heap;
    return AO_load(&h->pages_inuse) + AO_load(&h->pages_free) - AO_load(&h->pages_released);
}

/* ---- near the memory limit ---- */

size_t oaki_heap_over(size_t pages)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t limit = oaki_heap_soft_limit(), used = AO_load(&h->used);
    if (!limit) return 0;
    size_t tables = used / OAKI_PAGE * (sizeof(oaki_pte) + sizeof(oaki_span)) + used / 64;
    size_t all = (oaki_heap_backed_pages() + pages) << OAKI_PAGE_SHIFT;
    all += tables + oaki_meta_mapped();
    limit -= limit / NEAR;
    return all > limit ? all - limit : 0;
}

void oaki_scavenge_for(size_t pages)
{
    OAKI_REQUIRES_INSIDE();
    size_t over = OAKI_MIN(oaki_heap_over(pages), oaki_heap_retained());
    if (over == 0 || oaki_world_stopped()) return;
    (void)oaki_pages_scavenge(over, 1);
}

/* ---- decay ---- */

/* Between helper_begin and helper_end: a run that is being scavenged has no valid page table
 * entries, and a collection walks those. */
static size_t step(size_t bytes, size_t min_pages, size_t age)
{
    oaki_helper_begin();
    size_t n = oaki_pages_decay(bytes, min_pages, age);
    oaki_helper_end();
    return n;
}

size_t oaki_scavenge_step(size_t bytes, size_t min_pages)
{
    oaki_helper_begin();
    size_t n = oaki_pages_scavenge(bytes, min_pages);
    oaki_helper_end();
    return n;
}

static size_t release(size_t bytes, bool any)
{
    size_t total = 0, n = 1;
    size_t age = oaki_the_heap.config.decay_ms ? OAKI_DECAY_TICKS : 0;
    for (; total < bytes && n > 0; total += n) {
        size_t most = OAKI_MIN(bytes - total, BACKGROUND_STEP);
        n = any ? oaki_scavenge_step(most, 1) : step(most, MIN_PAGES, age);
    }
    return total;
}

/* Bytes that stay, where `taken` pages were taken within the last decay time. */
static size_t likely(size_t taken)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t goal = AO_load(&h->trigger), inuse = AO_load(&h->pages_inuse) << OAKI_PAGE_SHIFT;
    size_t most = goal > SIZE_MAX / 2 ? goal : goal + goal / 10;
    if (!h->config.decay_ms || most <= inuse) return 0;
    return OAKI_MIN(taken << OAKI_PAGE_SHIFT, most - inuse);
}

size_t oaki_scavenge_tick(void)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_heap *h = &oaki_the_heap;
    AO_t now = AO_load(&h->decay_tick) + 1, *slot = &decay.taken[now % OAKI_DECAY_TICKS];
    AO_store(&h->decay_tick, now);
    size_t all = AO_load(&h->pages_taken), keep = likely(all - AO_load(slot));
    AO_store(slot, all);
    size_t done = release(oaki_heap_over(0), true), have = oaki_heap_retained();
    size_t rest = have > keep ? have - keep : 0;
    return done + release(OAKI_MIN(rest, OAKI_MAX(rest / 4, AT_ONCE)), false);
}

/* ---- the thread ---- */

/* Is there free memory enough for a thread, or will there be when all is swept? */
static bool is_worth_it(void)
{
    size_t held = oaki_heap_backed_pages() << OAKI_PAGE_SHIFT, live = AO_load(&oaki_the_heap.live);
    return oaki_heap_retained() >= FROM || (held > live && held - live >= FROM);
}

static bool has_nothing_to_do(size_t released)
{
    AO_t now = AO_load(&oaki_the_heap.decay_tick);
    return released == 0 && now - AO_load(&decay.poked) > 2 * OAKI_DECAY_TICKS;
}

/* A poke that comes after the last check is seen here, or sees `asleep`. false: the thread ends. */
static bool sleep_for_good(unsigned *seen)
{
    AO_int_store(&decay.asleep, 1);
    AO_nop_full();
    bool goes_on = !has_nothing_to_do(0) || oaki_crew_wait(&decay.waker, seen);
    AO_int_store(&decay.asleep, 0);
    return goes_on;
}

/* The thread counts its own sleeps as time. So a run doesn't age by a clock that jumps, or while
 * the machine is suspended. */
static void *scavenger(void *arg)
{
    unsigned seen = 0;
    uint64_t tick = (uint64_t)oaki_the_heap.config.decay_ms * 1000000 / OAKI_DECAY_TICKS;
    while (oaki_crew_nap(OAKI_MAX(tick, LEAST_NS)))
        if (has_nothing_to_do(oaki_scavenge_tick()) && !sleep_for_good(&seen)) break;
    AO_int_store(&decay.started, 0);
    return arg;
}

static void after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    AO_int_store(&decay.started, 0);
    AO_int_store(&decay.asleep, 0);
}

int oaki_scavenger_init(void)
{
    oaki_fork_register(after_fork);
    return 0;
}

static void poke(void)
{
    AO_store(&decay.poked, AO_load(&oaki_the_heap.decay_tick));
    AO_nop_full(); /* as in sleep_for_good */
    if (AO_int_load(&decay.asleep)) oaki_waker_wake(&decay.waker, 1);
}

void oaki_scavenger_spawn(void)
{
    OAKI_REQUIRES_NO_STOP();
    OAKI_REQUIRES_OUTSIDE();
    if (!oaki_the_heap.config.scavenge || !is_worth_it()) return;
    poke();
    if (OAKI_LIKELY(AO_int_load(&decay.started))) return;
    if (!AO_int_compare_and_swap_full(&decay.started, 0, 1)) return;
    if (oaki_thread_spawn("oakum/scavenge", scavenger, NULL, false) != 0)
        AO_int_store(&decay.started, 0);
}

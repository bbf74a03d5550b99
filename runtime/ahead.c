/* ahead.c - touches memory that will be needed soon, before any thread has to wait for it.
 *
 * The first write to a fresh page costs its thread the system's work: most for a huge page, which
 * has to be cleared, and where a virtual machine's host has to find its memory. A growing heap
 * leaves this work to a helper thread. As soon as an allocation comes near the end of the touched
 * pages, the thread touches the next huge page. A map that is about to grow announces its demand.
 *
 * During a concurrent mark on a machine with few processors, the marker's thread leads: it does the
 * steps that a growing heap requests. The marker already occupies a processor. A third thread would
 * take another one from mutators, for as long as the system clears a huge page.
 *
 * Owns: the helper thread, `poked`, `asked`, `wanted`; `rest_until` is the leader's.
 * Invariants: pages touched ahead and still free count as free memory that is backed, and decay as
 * such (scavenge.c). In a heap of at least FROM a step makes no more than oaki_ahead_near() + STEP
 * of them. An announced demand makes at most WANTED_MOST.
 * Lock: pages_lock while a step is chosen and noted, by a helper (thread.h) or inside oaki_enter.
 * None while the system works: the pages stay in their free run, and may be taken. */
#include "cost.h"
#include "crew.h"
#include "heap.h"
#include "os.h"
#include "waker.h"

#define SPAWN_FROM ((size_t)16 << 20) /* bytes of heap: from here on announced demand is met */
#define FROM ((size_t)32 << 20)      /* bytes of heap: from here on allocations request steps */
#define NEAR ((size_t)2 << 20 >> OAKI_PAGE_SHIFT) /* pages kept touched ahead; */
#define NEAR_PART 32                              /* in a large heap this part of it, */
#define NEAR_MOST ((size_t)16 << 20 >> OAKI_PAGE_SHIFT) /* but no more than this */
#define DEAR_NS 1000000u /* where a fresh huge page costs more than this, */
#define DEAR_TIMES 4     /* so many times as much is kept touched ahead */
#define STEP ((size_t)2 << 20 >> OAKI_PAGE_SHIFT)
#define REST 3 /* rest of the leader, in units of its last step's time, */
#define REST_MOST_NS UINT64_C(2500000) /* but no longer: mutators would do slow steps themselves */

#define WANTED_MOST ((size_t)64 << 20 >> OAKI_PAGE_SHIFT)
#define NOT_YET (SIZE_MAX / 2)

static struct {
    oaki_waker waker;
    unsigned int started;        /* AO_int */
    unsigned int asked;          /* AO_int: the heap has come near the end of the touched pages */
    unsigned int led;            /* AO_int */
    AO_t wanted;                 /* pages */
    AO_t like;                   /* pages taken by the allocation that requested the step */
    uint64_t rest_until;
} ahead;

static void poke(void)
{
    oaki_waker_wake(&ahead.waker, 1);
}

/* Pages to keep touched ahead: more for a large heap, which grows by more while a leading marker
 * does its own work. Also more where a huge page takes the system long. */
size_t oaki_ahead_near(void)
{
    bool dear = oaki_cost_of(OAKI_COST_fresh_huge) > DEAR_NS;
    size_t near = OAKI_MAX(AO_load(&oaki_the_heap.pages_inuse) / NEAR_PART, NEAR);
    return OAKI_MIN(dear ? near * DEAR_TIMES : near, NEAR_MOST);
}

void oaki_ahead_taken(size_t page, size_t n)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_ASSERT(!oaki_lock_is_mine(&h->pages_lock)); /* its holder must not make system calls */
    if (OAKI_LIKELY(page + n + oaki_ahead_near() <= AO_load(&h->touched))) return;
    if (!AO_int_load(&ahead.started)) return;
    AO_store(&h->touched, NOT_YET); /* once; the step notes how far it came */
    AO_store(&ahead.like, n);
    AO_int_store(&ahead.asked, 1);
    AO_nop_full(); /* as in oaki_ahead_lead */
    if (!AO_int_load(&ahead.led)) poke();
}

void oaki_ahead_want(size_t bytes)
{
    if (!AO_int_load(&ahead.started)) return;
    AO_store_release(&ahead.wanted, OAKI_MIN(bytes >> OAKI_PAGE_SHIFT, WANTED_MOST));
    poke();
}

/* ---- a step ---- */

static void begin(bool led)
{
    if (led) (void)oaki_enter();
    else oaki_helper_begin();
}

static void end(bool led)
{
    if (led) oaki_leave(oaki_thread_self());
    else oaki_helper_end();
}

bool oaki_ahead_step(size_t near, size_t least, bool led)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_touching x;
    begin(led);
    size_t like = least ? OAKI_MAX(AO_load(&ahead.like), STEP / 4) : 0;
    bool some = oaki_pages_untouched(near, STEP, least, like, &x);
    end(led);
    if (!some) return false;
    if (led) oaki_blocking_begin(oaki_thread_self()); /* no stop waits for the system's work */
    oaki_space_touch(x.page << OAKI_PAGE_SHIFT, x.n << OAKI_PAGE_SHIFT);
    if (led) oaki_blocking_end(oaki_thread_self());
    begin(led);
    oaki_pages_touched(&x);
    end(led);
    return true;
}

/* Makes a step that the heap has requested. */
static bool step(bool led)
{
    AO_int_store(&ahead.asked, 0);
    bool more = oaki_ahead_step(oaki_ahead_near(), FROM >> OAKI_PAGE_SHIFT, led);
    if (more) AO_int_store(&ahead.asked, 1);
    AO_nop_full(); /* as in oaki_ahead_lead */
    return more;
}

/* ---- by the marker ---- */

void oaki_ahead_lead(bool on)
{
    OAKI_REQUIRES_OUTSIDE();
    if (on && !AO_int_load(&ahead.started)) return;
    AO_int_store(&ahead.led, on);
    AO_nop_full(); /* a thread that sets `asked` sees `led`, or `asked` is seen here */
    if (!on && AO_int_load(&ahead.asked)) poke();
}

void oaki_ahead_led_step(bool late)
{
    if (!AO_int_load(&ahead.asked) || !AO_int_load(&ahead.led)) return;
    uint64_t now = oaki_os_now_ns();
    if (now < ahead.rest_until) return;
    (void)step(true);
    uint64_t after = oaki_os_now_ns();
    uint64_t rest = REST * (after - now);
    ahead.rest_until = after + (late ? rest : OAKI_MIN(rest, REST_MOST_NS));
}

/* ---- by the helper thread ---- */

static void *thread(void *arg)
{
    unsigned seen = 0;
    while (oaki_crew_wait(&ahead.waker, &seen)) {
        size_t wanted = AO_load_acquire(&ahead.wanted);
        AO_store(&ahead.wanted, 0);
        for (size_t n = wanted / STEP; n > 0 && oaki_ahead_step(wanted, 0, false); n--)
            if (oaki_crew_ends()) break;
        while (!AO_int_load(&ahead.led) && !oaki_crew_ends() && step(false)) {
        }
    }
    AO_int_store(&ahead.started, 0);
    return arg;
}

static void after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    AO_int_store(&ahead.started, 0);
    AO_int_store(&ahead.led, 0);
    AO_store(&ahead.wanted, 0);
}

int oaki_ahead_init(void)
{
    oaki_fork_register(after_fork);
    return 0;
}

void oaki_ahead_spawn(void)
{
    oaki_heap *h = &oaki_the_heap;
    if (OAKI_LIKELY(AO_int_load(&ahead.started))) {
        if (AO_load(&h->touched) == NOT_YET) AO_store(&h->touched, 0); /* try again */
        return;
    }
    if (AO_load(&h->pages_inuse) < SPAWN_FROM >> OAKI_PAGE_SHIFT) return;
    if (!h->config.touch_ahead || oaki_heap_cpus() == 1) return;
    if (!AO_int_compare_and_swap_full(&ahead.started, 0, 1)) return;
    AO_store(&h->touched, 0);
    if (oaki_thread_spawn("oakum/ahead", thread, NULL, false) != 0)
        AO_int_store(&ahead.started, 0);
}

/* ahead.c - memory that will be needed soon, touched before anybody waits for it.
 *
 * The first write to a fresh page costs its thread what the system does then: 0.5 us for a small
 * page, 100 to 400 us for a huge one, which has to be cleared. A heap that grows asks a thread for
 * it: as soon as an allocation comes near the end of what is touched, the next huge page is; and a
 * map that will soon grow says what it will take.
 * Owns: that thread, `poked`, `wanted`.
 * Invariants: what is touched ahead and free counts as free memory that is backed; there are at
 *   most STEP + NEAR pages of it, in a heap of at least FROM, and WANTED_MOST of what was wanted
 *   within the last PATIENCE_NS.
 * Lock: helper_lock while it works, as neither a stop nor a fork may meet a run that is out;
 *   pages_lock inside oaki_pages_touch, never while the system works. */
#include "heap.h"
#include "os.h"

#define SPAWN_FROM ((size_t)8 << 20) /* bytes of heap: for who knows the future */
#define FROM ((size_t)64 << 20)      /* the same, for whoever allocates */
#define NEAR ((size_t)512 << 10 >> OAKI_PAGE_SHIFT) /* pages */
#define STEP ((size_t)2 << 20 >> OAKI_PAGE_SHIFT)

#define WANTED_MOST ((size_t)64 << 20 >> OAKI_PAGE_SHIFT)
#define PATIENCE_NS UINT64_C(2000000000) /* until what was wanted goes back */
#define NOT_YET (SIZE_MAX / 2)

static struct {
    unsigned int started, poked; /* AO_int */
    AO_t wanted;                 /* pages */
} ahead;

static void poke(void)
{
    AO_int_fetch_and_add_full(&ahead.poked, 1);
    oaki_futex_wake(&ahead.poked, 1);
}

void oaki_ahead_taken(size_t end)
{
    oaki_heap *h = &oaki_the_heap;
    if (OAKI_LIKELY(end + NEAR <= AO_load(&h->touched)) || !AO_int_load(&ahead.started)) return;
    AO_store(&h->touched, NOT_YET); /* once; the thread says how far it came */
    poke();
}

void oaki_ahead_want(size_t bytes)
{
    if (!AO_int_load(&ahead.started)) return;
    AO_store_release(&ahead.wanted, OAKI_MIN(bytes >> OAKI_PAGE_SHIFT, WANTED_MOST));
    poke();
}

/* Whether there may be more to do. */
static bool step(size_t near, size_t least)
{
    oaki_helper_begin();
    bool more = oaki_pages_touch(near, STEP, least);
    oaki_helper_end();
    return more;
}

/* What was wanted and not taken. */
static void give_back(void)
{
    size_t n;
    do {
        oaki_helper_begin();
        n = oaki_pages_untouch(STEP + NEAR);
        oaki_helper_end();
    } while (n > 0);
}

static void *thread(void *arg)
{
    unsigned seen = 0, now;
    uint64_t until = 0; /* 0: nothing is lent */
    (void)arg;
    for (;;) {
        while ((now = AO_int_load_acquire(&ahead.poked)) == seen) {
            uint64_t left = until ? until - OAKI_MIN(until, oaki_os_now_ns()) : PATIENCE_NS;
            if (left > 0) {
                oaki_futex_wait(&ahead.poked, seen, until ? left : 0);
                continue;
            }
            until = 0;
            give_back();
        }
        seen = now;
        size_t wanted = AO_load_acquire(&ahead.wanted);
        AO_store(&ahead.wanted, 0);
        if (wanted) until = oaki_os_now_ns() + PATIENCE_NS;
        for (size_t n = wanted / STEP; n > 0 && step(wanted, 0); n--) {
        }
        while (step(NEAR, FROM >> OAKI_PAGE_SHIFT)) {
        }
    }
    return NULL;
}

static void after_fork(void)
{
    AO_int_store(&ahead.started, 0);
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
    if (!h->config.touch_ahead || oaki_os_cpus() == 1) return;
    if (!AO_int_compare_and_swap_full(&ahead.started, 0, 1)) return;
    AO_store(&h->touched, 0);
    if (oaki_thread_spawn("oakum/ahead", thread, NULL, false) != 0)
        AO_int_store(&ahead.started, 0);
}

/* costprobe.c - measures the costs of pages and threads on this host, on memory of its own.
 *
 * Each figure is the least of a few batches, as an interruption only makes a batch longer. The
 * probe ends early when its time is over; costs not measured by then stay unknown. Tracking is
 * measured by the way that is in use for the heap, as far as that works outside of the heap.
 *
 * Bound: MEMORY bytes, and MOST_NS. But one batch of each kind is measured, however slow it is; and
 * it waits up to LATE_NS for a thread.
 * Owns: `partner`. Lock: none; one probe at a time (cost.c). */
#include "costprobe.h"

#include "contract.h"
#include "dirty.h"
#include "heap.h"
#include "os.h"
#include "thread.h"
#include "waker.h"

#include <oakum/gc.h>
#include <sys/mman.h>

#define MEMORY ((size_t)4 << 20)
#define HUGE ((size_t)2 << 20)
#define PAGES ((size_t)64)  /* small pages that are measured, of at most SHARE bytes */
#define SHARE (MEMORY / 4)
#define BATCH ((size_t)16)
#define ROUNDS 3
#define SMALL_MOST ((size_t)4096) /* with larger pages, a huge page is not of HUGE bytes */
#define MOST_NS UINT64_C(3000000)
#define SMALL_NS UINT64_C(1200000)      /* no round of small pages begins later than that */
#define HUGE_NS UINT64_C(1000000)       /* a huge page is not touched later than that, */
#define HUGE_TRACK_NS UINT64_C(2600000) /* nor protected later than that */
#define LATE_NS UINT64_C(100000000)     /* so long a thread is waited for that has no processor */
#define WAKES 8

typedef struct probe {
    uint64_t begun_ns;
    char *small, *huge; /* `huge` is a whole huge page, if the system gives one */
    size_t page, pages;
    uint64_t least[OAKI_COST_ALL];
} probe;

uint64_t (*oaki_cost_clock)(void) = oaki_os_now_ns;

/* Of `ns` since the probe began; 0: they are over. */
static uint64_t time_left(const probe *p, uint64_t ns)
{
    uint64_t used = oaki_cost_clock() - p->begun_ns;
    return used < ns ? ns - used : 0;
}

static bool has_time(const probe *p, uint64_t ns)
{
    return time_left(p, ns) > 0;
}

/* n operations took the time since *at. *at becomes the present time. A clock that has gone back
 * tells nothing. */
static void note(probe *p, oaki_cost c, uint64_t *at, size_t n)
{
    uint64_t now = oaki_cost_clock(), before = *at, each = (now - before) / n;
    *at = now;
    if (now < before) return;
    each = OAKI_MAX(each, (uint64_t)1);
    if (p->least[c] == 0 || each < p->least[c]) p->least[c] = each;
}

static void write_pages(char *at, size_t n, size_t page)
{
    for (size_t i = 0; i < n; i++) AO_int_store((unsigned int *)(void *)(at + i * page), 1);
}

/* ---- small pages ---- */

/* Pages that there was no time for are left out of the rest. */
static void touch_small(probe *p)
{
    uint64_t at = oaki_cost_clock();
    for (size_t i = 0; i < p->pages; i += BATCH) {
        if (i > 0 && !has_time(p, SMALL_NS)) p->pages = i;
        if (i == p->pages) break;
        write_pages(p->small + i * p->page, BATCH, p->page);
        note(p, OAKI_COST_fresh, &at, BATCH);
    }
}

/* One round is made however late it is: a first write of unknown cost would count as cheap. A dear
 * one may be an interruption: then so is another. */
static bool is_due(const probe *p, int round)
{
    if (round == 0 || has_time(p, SMALL_NS)) return round < ROUNDS;
    return round == 1 && p->least[OAKI_COST_write] > OAK_DEAR_WRITE_NS;
}

static void track_small(probe *p)
{
    for (int round = 0; is_due(p, round); round++) {
        uint64_t at = oaki_cost_clock();
        if (!oaki_dirty_try(p->small, p->pages * p->page, true)) return;
        note(p, OAKI_COST_protect, &at, p->pages);
        if (!oaki_dirty_try(p->small, p->pages * p->page, false)) return;
        note(p, OAKI_COST_ask, &at, p->pages);
        for (size_t i = 0; i < p->pages && (i == 0 || has_time(p, SMALL_NS)); i += BATCH) {
            at = oaki_cost_clock();
            write_pages(p->small + i * p->page, BATCH, p->page);
            note(p, OAKI_COST_write, &at, BATCH);
        }
    }
}

/* For tracking by page faults: measures the system calls that the handler makes for a page. The
 * fault itself costs more time, which is not measured. */
static void deny_small(probe *p)
{
    for (size_t i = 0; i < BATCH && (i < 2 || has_time(p, SMALL_NS)); i++) {
        char *page = p->small + i * p->page;
        uint64_t at = oaki_cost_clock();
        if (mprotect(page, p->page, PROT_READ) || mprotect(page, p->page, PROT_READ | PROT_WRITE))
            return;
        write_pages(page, 1, p->page);
        note(p, OAKI_COST_write, &at, 1);
    }
}

/* ---- a huge page ---- */

/* The system may give small pages in its place; those that follow then cost a fault each. */
static void touch_huge(probe *p)
{
    uint64_t at = oaki_cost_clock();
    write_pages(p->huge, 1, p->page);
    note(p, OAKI_COST_fresh_huge, &at, 1);
}

static void track_huge(probe *p)
{
    uint64_t at = oaki_cost_clock();
    if (!oaki_dirty_try(p->huge, HUGE, true)) return;
    note(p, OAKI_COST_protect_huge, &at, 1);
    if (!oaki_dirty_try(p->huge, HUGE, false)) return;
    note(p, OAKI_COST_ask_huge, &at, 1);
    write_pages(p->huge + p->page, 1, p->page);
    note(p, OAKI_COST_write_huge, &at, 1);
}

/* ---- a thread ---- */

static struct {
    oaki_waker there, back;
    unsigned int quit; /* AO_int */
    unsigned int busy; /* AO_int, futex: there is a thread that may use this */
} partner;

static void *answer(void *arg)
{
    unsigned seen = 0;
    for (oaki_waker_wait(&partner.there, &seen); !AO_int_load(&partner.quit);
         oaki_waker_wait(&partner.there, &seen))
        oaki_waker_wake(&partner.back, 1);
    AO_int_store_release(&partner.busy, 0);
    oaki_futex_wake(&partner.busy, 1);
    return arg;
}

/* Has it answered, if late? */
static bool is_answered(const probe *p, unsigned *seen)
{
    for (uint64_t left; (left = time_left(p, LATE_NS)) > 0;)
        if (oaki_waker_wait_ns(&partner.back, seen, left)) return true;
    return false;
}

/* Two wake-ups a round; the first round waits for the thread's start, and the second one measures.
 * A thread that is too late is left to itself; while it is there, no probe wakes one. */
static void wake_thread(probe *p)
{
    unsigned seen = oaki_waker_calls(&partner.back);
    if (AO_int_load_acquire(&partner.busy)) return;
    AO_int_store(&partner.there.calls, 0);
    AO_int_store(&partner.quit, 0);
    AO_int_store(&partner.busy, 1);
    if (oaki_thread_spawn("oakum/probe", answer, NULL, false) != 0) {
        AO_int_store(&partner.busy, 0);
        return;
    }
    for (int i = 0; i < WAKES && (i < 2 || has_time(p, MOST_NS)); i++) {
        uint64_t at = oaki_cost_clock();
        oaki_waker_wake(&partner.there, 1);
        if (!is_answered(p, &seen)) break;
        if (i > 0) note(p, OAKI_COST_wake, &at, 2);
    }
    AO_int_store(&partner.quit, 1);
    oaki_waker_wake(&partner.there, 1);
    for (uint64_t left; AO_int_load_acquire(&partner.busy) && (left = time_left(p, LATE_NS)) > 0;)
        oaki_futex_wait(&partner.busy, 1, left);
}

void oaki_cost_measure_reset(void)
{
    OAKI_REQUIRES_FORKED();
    AO_int_store(&partner.busy, 0);
}

/* ---- all of it ---- */

/* `huge` lies at the only whole huge page that is certain to be there; the small pages lie in what
 * is left. */
static void lay_out(probe *p, char *memory)
{
    char *end = memory + MEMORY;
    p->huge = (char *)OAKI_ALIGN_UP((uintptr_t)memory, HUGE);
    p->small = p->huge - memory >= (ptrdiff_t)(p->pages * p->page) ? memory : p->huge + HUGE;
    if (p->small + p->pages * p->page > end) p->small = NULL;
    oaki_os_huge(memory, MEMORY, false);
    if (oaki_the_heap.config.huge_pages) oaki_os_huge(p->huge, HUGE, true);
}

static void measure_pages(probe *p, char *memory)
{
    lay_out(p, memory);
    bool tracks = oaki_dirty_may() && oaki_dirty_enroll(memory, MEMORY);
    if (p->small) touch_small(p);
    if (p->small && tracks) track_small(p);
    else if (p->small && oaki_dirty_denies()) deny_small(p);
    if (!oaki_the_heap.config.huge_pages || p->page > SMALL_MOST || !has_time(p, HUGE_NS)) return;
    touch_huge(p);
    if (tracks && has_time(p, HUGE_TRACK_NS)) track_huge(p);
}

void oaki_cost_measure(void)
{
    probe p = { .begun_ns = oaki_cost_clock(), .page = oaki_os_page_size() };
    p.pages = OAKI_MIN(PAGES, SHARE / p.page);
    char *memory = oaki_os_map(MEMORY);
    if (memory) {
        measure_pages(&p, memory);
        oaki_os_release(memory, MEMORY);
    }
    if (!oaki_cost_is_forced(OAKI_COST_wake) && has_time(&p, MOST_NS)) wake_thread(&p);
    for (oaki_cost c = 0; c < OAKI_COST_ALL; c++) oaki_cost_note(c, p.least[c]);
}

/* cost.c - the costs that were measured, and when they are measured (cost.h).
 *
 * Owns: oaki_cost_ns, `self`. Lock: none for the costs. self.state admits one probe at a time.
 * Other callers wait for the first one, and not for those that measure again. */
#include "cost.h"

#include "contract.h"
#include "costprobe.h"
#include "os.h"
#include "thread.h"

#include <errno.h>
#include <limits.h>

enum { NOT_YET, RUNS, ENDED, RUNS_AGAIN };

AO_t oaki_cost_ns[OAKI_COST_ALL];

static struct {
    unsigned int state; /* AO_int, futex */
    AO_t doubted;       /* 1: the next probe measures anew */
    AO_t forced;        /* costs, as bits */
} self;

#define STOPS 8 /* the known cost is a moving mean, of which each stop is one part in so many, */
#define OUTLIER ((size_t)16) /* and counts as so many times what was known at most */

bool oaki_cost_is_forced(oaki_cost c)
{
    OAKI_ASSERT(c < OAKI_COST_ALL);
    return AO_load(&self.forced) >> c & 1;
}

void oaki_cost_force(oaki_cost c, size_t ns)
{
    OAKI_ASSERT(c < OAKI_COST_ALL);
    AO_or(&self.forced, (AO_t)1 << c);
    AO_store(&oaki_cost_ns[c], ns);
}

void oaki_cost_note(oaki_cost c, uint64_t ns)
{
    if (oaki_cost_is_forced(c) || ns == 0) return;
    size_t known = oaki_cost_of(c), now = (size_t)ns;
    bool mean = c == OAKI_COST_stop && known > 0;
    if (mean) now = known - known / STOPS + OAKI_MIN(now, known * OUTLIER) / STOPS;
    AO_store(&oaki_cost_ns[c], now);
}

bool oaki_cost_known(void)
{
    return AO_int_load_acquire(&self.state) >= ENDED;
}

bool oaki_cost_is_stale(void)
{
    return !oaki_cost_known() || AO_load(&self.doubted) != 0;
}

void oaki_cost_doubt(void)
{
    AO_store(&self.doubted, 1);
}

/* Does nothing where all costs are forced. Nor where address space is limited: the probe's memory
 * and threads would take it from the program. */
static void measure(void)
{
    bool any = false;
    for (oaki_cost c = 0; c < OAKI_COST_ALL; c++)
        any |= c != OAKI_COST_stop && !oaki_cost_is_forced(c);
    if (any && !oaki_os_limited()) oaki_cost_measure();
}

static bool begin(void)
{
    if (AO_int_compare_and_swap_full(&self.state, NOT_YET, RUNS)) return true;
    return AO_load(&self.doubted) != 0 &&
           AO_int_compare_and_swap_full(&self.state, ENDED, RUNS_AGAIN);
}

bool oaki_cost_probe(void)
{
    int saved = errno;
    OAKI_REQUIRES_OUTSIDE();
    OAKI_REQUIRES_NO_LOCK();
    bool mine = begin();
    if (mine) {
        AO_store(&self.doubted, 0);
        measure();
        AO_int_store_release(&self.state, ENDED);
        oaki_futex_wake(&self.state, INT_MAX);
    }
    while (AO_int_load_acquire(&self.state) == RUNS) oaki_futex_wait(&self.state, RUNS, 0);
    errno = saved;
    return mine;
}

/* The known costs still hold. A probe that was under way on another thread is lost. */
void oaki_cost_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_cost_measure_reset();
    unsigned state = AO_int_load(&self.state);
    if (state == RUNS) AO_int_store(&self.state, NOT_YET);
    if (state != RUNS_AGAIN) return;
    AO_store(&self.doubted, 1);
    AO_int_store(&self.state, ENDED);
}

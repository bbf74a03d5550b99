/* guard_support.h - starts for tests of the guard: a heap that goes on after a finding, and the
 * last finding that was reported. */
#ifndef TESTS_RUNTIME_GUARD_SUPPORT_H
#define TESTS_RUNTIME_GUARD_SUPPORT_H

#include "runtime/guard.h"
#include "tests/heap.h"

static oaki_guard_finding last;
static size_t told; /* findings since the start */

static inline void note(const oaki_guard_finding *f)
{
    last = *f;
    told++;
}

static inline uint32_t no_site(void)
{
    return UINT32_MAX;
}

static inline void start_with(int more)
{
    test_heap_start(test_config());
    oaki_debug_switches.guard = OAKI_DEBUG_GUARD | OAKI_DEBUG_GUARD_CONTINUE | more;
    oaki_guard_start(no_site, note);
    told = 0;
}

static inline void start(void)
{
    start_with(0);
}

/* With a page behind objects that no access is allowed to. */
static inline void start_pages(void)
{
    start_with(OAKI_DEBUG_GUARD_PAGE);
}

#endif

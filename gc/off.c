/* off.c - periods in which the program wants no collection.
 *
 * Promise: once oak_gc_disable has returned, no collection decides what is dead, whichever
 * thread started it. So the depth is checked before a cycle, and again in the pause that would
 * end it. A thread that calls oak_gc_disable is either stopped there before its call takes
 * effect, or its call is seen.
 * Owns: oaki_gc.disabled. Lock: none. */
#include "off.h"

#include "collector.h"
#include "host.h"
#include <oakum/gc.h>

bool oaki_gc_is_off(void)
{
    return AO_load(&oaki_gc.disabled) > 0 || oaki_host_is_off();
}

bool oaki_gc_refuses(oaki_gc_why why)
{
    return oaki_gc_is_off() || oaki_fork_is_held() || oaki_host_vetoes(why);
}

bool oaki_gc_is_disabled(void)
{
    return AO_load(&oaki_gc.disabled) > 0;
}

void oak_gc_disable(void)
{
    AO_fetch_and_add_full(&oaki_gc.disabled, 1);
}

void oak_gc_enable(void)
{
    if (AO_fetch_and_add_full(&oaki_gc.disabled, (AO_t)-1) == 0)
        oak_fatal("oakum: oak_gc_enable: without oak_gc_disable");
}

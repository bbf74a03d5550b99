/* ownmask.c - the threads that block all signals for code of Oakum's (ownmask.h).
 *
 * Owns: `inside`, in which a thread's place depends on its id. When two threads share a place, it
 * holds the later one; the other is unknown. Invariant: an id in the table is that of a thread
 * inside, as each thread removes its own id and no other. Lock: none. */
#include "ownmask.h"
#include "contract.h"
#include "os.h"

#include <signal.h>
#include <string.h>

#define PLACES 256u

static unsigned int inside[PLACES]; /* AO_int */

static unsigned int *place_of(int tid)
{
    return &inside[(unsigned)tid % PLACES];
}

void oaki_ownmask_enter(uint64_t before)
{
    if (before >> (SIGSEGV - 1) & 1) return;
    int tid = oaki_os_tid();
    AO_int_store(place_of(tid), (unsigned)tid);
}

void oaki_ownmask_leave(void)
{
    int tid = oaki_os_tid();
    (void)AO_int_compare_and_swap(place_of(tid), (unsigned)tid, 0);
}

bool oaki_ownmask_has(int tid)
{
    return tid > 0 && AO_int_load(place_of(tid)) == (unsigned)tid;
}

void oaki_ownmask_forget(void)
{
    OAKI_REQUIRES_FORKED();
    memset(inside, 0, sizeof inside);
}

/* advice.c - memory that a forked child doesn't get: MADV_DONTFORK and MADV_WIPEONFORK.
 *
 * The leak check reads the heap in a forked child, so it can't see such memory. If the program
 * gives this advice for its own mappings, reports say so, and nothing is collected from then on.
 *
 * For memory from malloc the advice isn't passed on: its pages later belong to other blocks, and
 * the check in the child fails where the heap has a hole. MADV_DONTFORK succeeds without an effect.
 * That is harmless, unless hardware writes to the pages and the kernel doesn't copy pinned pages at
 * a fork. MADV_WIPEONFORK fails with EINVAL, as its caller relies on zeroes in the child.
 *
 * Two cases go unnoticed: later unmapping or opposite advice, and system calls that bypass libc.
 *
 * Owns: `kept`. Lock: none. */
#include "preload.h"
#include "runtime/os.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned int kept; /* AO_int */

bool oaki_kept_from_forks(void)
{
    return AO_int_load(&kept) != 0;
}

static bool has_malloced(uintptr_t lo, size_t n)
{
    const oaki_heap *h = &oaki_the_heap;
    const char *side_lo, *side_hi;
    oaki_side_range(&side_lo, &side_hi);
    bool heap = lo < h->base + h->reserved && lo + n > h->base;
    return heap || (lo < (uintptr_t)side_hi && lo + n > (uintptr_t)side_lo);
}

/* The runtime's own calls come here, too. `kept` is set before the system call: a collection that
 * is under way checks it again after its walk. */
OAKI_EXPORT int madvise(void *p, size_t n, int advice)
{
    bool aligned = (uintptr_t)p % oaki_os_page_size() == 0;
    if ((advice == MADV_DONTFORK || advice == MADV_WIPEONFORK) && n > 0 && aligned) {
        if (has_malloced((uintptr_t)p, n)) {
            if (advice == MADV_DONTFORK) return 0;
            errno = EINVAL;
            return -1;
        }
        AO_int_store(&kept, 1);
    }
    return (int)syscall(SYS_madvise, p, n, advice);
}

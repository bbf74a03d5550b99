/* advice.c - memory that the program keeps out of forks: MADV_DONTFORK, MADV_WIPEONFORK.
 *
 * The heap is looked at in a forked child, which would miss that memory. Of the program's own, a
 * report tells so, and nothing is collected from then on. Memory from malloc stays as it is: its
 * pages come to other blocks later, and a look ends where the heap has a hole. A child may have it,
 * but where hardware writes to it and the kernel copies no pinned pages at a fork. That a child
 * finds it zero is not promised, as who asks relies on it.
 *
 * That such memory is unmapped, or comes to forks again, is not noted; nor what a program does that
 * calls the system by itself.
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

/* What the runtime calls goes through here, too. Noted before it is done: a collection that is
 * under way asks again when it has looked. */
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

/* os_release.c - giving back address space, also where the kernel refuses that for now.
 *
 * The kernel merges adjacent mappings that are alike, so removing the middle of one makes two. At
 * the process's limit on mappings, that fails with ENOMEM. A filter may refuse the call as well.
 * Then the memory is dropped, and the addresses are noted until another mapping has gone. Ranges
 * that find no place in the table stay mapped, without memory.
 *
 * Owns: `unreleased`. Lock: its own, for which no thread waits: its holder may be stopped, or
 * interrupted by a handler. Bound: O(1). */
#include "mappings.h"
#include "os.h"

#include <errno.h>
#include <sys/mman.h>

typedef struct stretch {
    void *p;
    size_t size;
} stretch;

static struct {
    unsigned int busy; /* AO_int: a thread uses the table */
    AO_t waiting;      /* stretches in it */
    stretch at[64];
} unreleased;

static bool enter_table(void)
{
    return AO_int_compare_and_swap_acquire(&unreleased.busy, 0, 1);
}

static void leave_table(void)
{
    OAKI_ASSERT(AO_int_load(&unreleased.busy) == 1);
    AO_int_store_release(&unreleased.busy, 0);
}

static void release_later(void *p, size_t size)
{
    (void)madvise(p, size, MADV_DONTNEED);
    (void)oaki_mapping_add(p, size);
    if (!enter_table()) return;
    for (size_t i = 0; i < OAKI_COUNT(unreleased.at); i++)
        if (!unreleased.at[i].p) {
            unreleased.at[i].size = size;
            AO_nop_write(); /* a fork may come in between: see oaki_os_release_after_fork */
            unreleased.at[i].p = p;
            oaki_count_step(&unreleased.waiting, 1);
            break;
        }
    leave_table();
}

static void release_noted(void)
{
    if (!enter_table()) return;
    for (size_t i = 0; i < OAKI_COUNT(unreleased.at); i++) {
        stretch *s = &unreleased.at[i];
        if (!s->p) continue;
        oaki_mapping_remove(s->p);
        if (munmap(s->p, s->size) != 0) {
            (void)oaki_mapping_add(s->p, s->size);
            break;
        }
        s->p = NULL;
        OAKI_ASSERT(AO_load(&unreleased.waiting) > 0);
        AO_store(&unreleased.waiting, AO_load(&unreleased.waiting) - 1);
    }
    leave_table();
}

/* Out of the table of mappings first: once unmapped, the address may be another thread's. */
void oaki_os_release(void *p, size_t size)
{
    int saved = errno;
    oaki_mapping_remove(p);
    if (munmap(p, size) != 0) {
        OAKI_INVARIANT(errno != EINVAL, "address space can't be given back");
        release_later(p, size);
    } else if (OAKI_UNLIKELY(AO_load(&unreleased.waiting) != 0)) {
        release_noted();
    }
    errno = saved;
}

/* A thread that is not in the child may have used the table. Each stretch in it has its size, but
 * its count may be missing, or one too many. */
void oaki_os_release_after_fork(void)
{
    AO_t n = 0;
    for (size_t i = 0; i < OAKI_COUNT(unreleased.at); i++) n += unreleased.at[i].p != NULL;
    AO_store(&unreleased.waiting, n);
    AO_int_store(&unreleased.busy, 0);
}

/* mawk.c - takes the place of mawk's zmalloc.c, an allocator with a list of free blocks for each
 * size. Blocks come from the heap, and zfree leaves them to the collector. */
#include "mawk.h"

#include "zmalloc.h"

static void *checked(void *p)
{
    if (!p) {
        fputs("mawk: out of memory\n", stderr);
        mawk_exit(2);
    }
    return p;
}

PTR zmalloc(size_t size)
{
    return checked(heap_alloc(size));
}

void zfree(PTR p, size_t size)
{
    (void)p, (void)size;
}

PTR zrealloc(PTR p, size_t old_size, size_t new_size)
{
    (void)old_size;
    return checked(heap_realloc(p, new_size));
}

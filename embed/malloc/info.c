/* info.c - what glibc tells of its malloc, told of this one; and settings, of which there are none.
 *
 * Owns nothing. Lock: none: figures that are read one after another. Bound: O(1). */
#include "preload.h"
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

OAKI_EXPORT int mallopt(int what, int value)
{
    (void)what, (void)value;
    return 1;
}

OAKI_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct mallinfo2 m = { 0 };
    if (!oaki_can_enter()) return m;
    const oaki_heap *h = &oaki_the_heap;
    m.arena = AO_load(&h->used);
    m.fordblks = AO_load(&h->pages_free) << OAKI_PAGE_SHIFT;
    m.uordblks = AO_load(&h->pages_inuse) << OAKI_PAGE_SHIFT;
    m.keepcost = (AO_load(&h->pages_free) - AO_load(&h->pages_released)) << OAKI_PAGE_SHIFT;
    return m;
}

static int as_int(size_t n)
{
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

OAKI_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){ .arena = as_int(m.arena),
                              .uordblks = as_int(m.uordblks),
                              .fordblks = as_int(m.fordblks),
                              .keepcost = as_int(m.keepcost) };
}

/* What of the heap is memory at present. */
static size_t held(const struct mallinfo2 *m)
{
    return m->uordblks + m->keepcost;
}

OAKI_EXPORT void malloc_stats(void)
{
    struct mallinfo2 m = mallinfo2();
    fprintf(stderr, "Total:\nsystem bytes     = %10zu\nin use bytes     = %10zu\n", held(&m),
            m.uordblks);
}

/* As glibc's readers expect it: one heap, no bins. */
OAKI_EXPORT int malloc_info(int options, FILE *out)
{
    struct mallinfo2 m = mallinfo2();
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    int n = fprintf(out,
                    "<malloc version=\"1\">\n"
                    "<total type=\"rest\" count=\"1\" size=\"%zu\"/>\n"
                    "<system type=\"current\" size=\"%zu\"/>\n"
                    "<aspace type=\"total\" size=\"%zu\"/>\n"
                    "</malloc>\n",
                    m.keepcost, held(&m), m.arena);
    return n < 0 ? -1 : 0;
}

/* info.c - glibc's functions for statistics and settings of malloc: the statistics are of this
 * malloc; the settings have no effect.
 *
 * Owns nothing. Lock: none: the figures are read one after another, so they may not agree. Bound:
 * O(1). */
#include "preload.h"
#include "runtime/contain.h"
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
    size_t released = AO_load(&h->pages_released), unused = AO_load(&h->pages_free);
    m.keepcost = (OAKI_MAX(unused, released) - released) << OAKI_PAGE_SHIFT;
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

/* The bytes of the heap that are backed by memory. */
static size_t held(const struct mallinfo2 *m)
{
    return m->uordblks + m->keepcost;
}

static void put_stats(const char *of, const struct mallinfo2 *m)
{
    fprintf(stderr, "%s:\nsystem bytes     = %10zu\nin use bytes     = %10zu\n", of, held(m),
            m->uordblks);
}

OAKI_EXPORT void malloc_stats(void)
{
    OAKI_NO_CANCEL;
    struct mallinfo2 m = mallinfo2();
    put_stats("Arena 0", &m);
    put_stats("Total (incl. mmap)", &m);
    fputs("max mmap regions =          0\nmax mmap bytes   =          0\n", stderr);
}

static void put_heap(FILE *out, const struct mallinfo2 *m, const char *mmap)
{
    fprintf(out,
            "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
            "<total type=\"rest\" count=\"1\" size=\"%zu\"/>\n%s"
            "<system type=\"current\" size=\"%zu\"/>\n"
            "<system type=\"max\" size=\"%zu\"/>\n"
            "<aspace type=\"total\" size=\"%zu\"/>\n"
            "<aspace type=\"mprotect\" size=\"%zu\"/>\n",
            m->keepcost, mmap, held(m), m->arena, m->arena, m->arena);
}

/* Write glibc's XML, with one heap and no bins. The maximum is that of address space. */
OAKI_EXPORT int malloc_info(int options, FILE *out)
{
    OAKI_NO_CANCEL;
    static const char mmap[] = "<total type=\"mmap\" count=\"0\" size=\"0\"/>\n";
    struct mallinfo2 m = mallinfo2();
    if (options != 0) return EINVAL;
    fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n", out);
    put_heap(out, &m, "");
    fputs("</heap>\n", out);
    put_heap(out, &m, mmap);
    return fputs("</malloc>\n", out) < 0 ? -1 : 0;
}

/* insides.c - variables of libgc that no public header declares, but programs use: its figures, and
 * the free lists that inlined allocators share with it.
 *
 * The heap has no free lists. So a list holds only objects that the program has put there. When a
 * list is empty, the program calls GC_malloc. As in libgc, a collection empties the lists of
 * collectable objects, because nothing else refers to those objects.
 *
 * Owns: the lists; GC_arrays, whose first words are figures of the last collection, and the others
 * zero. Lock: as in libgc, the program uses the lists under the allocation lock. */
#include "libgc.h"

#include <string.h>

#define GRANULES_MAX 128 /* of an object in a list */

static void *lists[4][GRANULES_MAX + 1]; /* by the kind's number, and granules */

void **const GC_aobjfreelist_ptr = lists[GC_KIND_ATOMIC];
void **const GC_objfreelist_ptr = lists[GC_KIND_NORMAL];
void **const GC_uobjfreelist_ptr = lists[GC_KIND_UNCOLLECTABLE];
void **const GC_auobjfreelist_ptr = lists[GC_KIND_ATOMIC_UNCOLLECTABLE];

struct GC_arrays GC_arrays;

void lgc_insides_marked(void)
{
    memset(lists[GC_KIND_ATOMIC], 0, sizeof lists[GC_KIND_ATOMIC]);
    memset(lists[GC_KIND_NORMAL], 0, sizeof lists[GC_KIND_NORMAL]);
}

void lgc_insides_cycle(size_t before, size_t since)
{
    GC_arrays.heapsize = OAKI_MAX(GC_arrays.heapsize, GC_get_heap_size()); /* it never falls */
    GC_arrays.requested_heapsize = lgc.expanded;
    GC_arrays.large_free_bytes = GC_get_free_bytes();
    GC_arrays.bytes_allocd_before_gc = before;
    GC_arrays.our_mem_bytes = GC_get_obtained_from_os_bytes();
    GC_arrays.bytes_allocd = since;
    GC_arrays.bytes_freed = GC_get_expl_freed_bytes_since_gc();
}

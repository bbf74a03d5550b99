/* mujs.h - mujs on a collected heap: its default allocator allocates there. What mujs frees by
 * hand, such as buffers of strings, is freed. mujs.c takes the place of its collector. */
#include "heap.h"

#define malloc(n) heap_alloc(n)
#define realloc(p, n) heap_realloc(p, n)
#define free(p) heap_free(p)

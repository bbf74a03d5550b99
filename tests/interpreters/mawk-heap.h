/* mawk-heap.h - mawk on a collected heap: counted strings, whose last reference frees nothing. What
 * it takes from malloc, as regular expressions and the parser's stacks, comes from there too. */
#include "heap.h"

#define malloc(n) heap_alloc(n)
#define calloc(count, size) heap_calloc(count, size)
#define realloc(p, n) heap_realloc(p, n)
#define free(p) ((void)(p))

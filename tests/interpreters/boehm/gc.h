/* gc.h - in the place of libgc's header: what clients built from source call, on Oakum.
 *
 * The calls are those of docs/guide/porting.md's table, one for one. Warnings have no receiver:
 * Oakum gives none. */
#ifndef TESTS_INTERPRETERS_GC_H
#define TESTS_INTERPRETERS_GC_H

#include "heap.h"

#define GC_VERSION_MAJOR 8
#define GC_VERSION_MINOR 2

typedef unsigned long GC_word;
typedef void (*GC_warn_proc)(char *, GC_word);
typedef void *(*GC_oom_func)(size_t);

/* libgc asks this function where there is no memory; Oakum returns NULL. One for the program. */
__attribute__((weak)) GC_oom_func gc_oom;

static inline void *gc_or_oom(void *p, size_t n)
{
    return p || n == 0 || !gc_oom ? p : gc_oom(n);
}

#define GC_set_oom_fn(fn) ((void)(gc_oom = (fn)))
#define GC_INIT() ((void)0)
#define GC_MALLOC(n) GC_malloc(n)
#define GC_MALLOC_ATOMIC(n) GC_malloc_atomic(n)
#define GC_REALLOC(p, n) GC_realloc(p, n)
#define GC_FREE(p) oak_free(p)
#define GC_free(p) oak_free(p)
static inline void *GC_malloc(size_t n)
{
    return gc_or_oom(oak_alloc(n), n);
}
static inline void *GC_malloc_atomic(size_t n)
{
    return gc_or_oom(oak_alloc_noscan(n), n);
}
static inline void *GC_realloc(void *p, size_t n)
{
    return gc_or_oom(oak_realloc(p, n), n);
}
#define GC_set_warn_proc(fn) ((void)(fn))
#define GC_get_warn_proc() ((GC_warn_proc)0)

#endif

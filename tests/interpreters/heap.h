/* heap.h - the heap that a port's shim puts in the place of the interpreter's own: Oakum's, or
 * libgc's with -DON_LIBGC, which runs beside it. Owns the few names that shims share.
 *
 * Included before anything of the interpreter's, so that the C library's headers are read before
 * a shim renames what they declare. */
#ifndef TESTS_INTERPRETERS_HEAP_H
#define TESTS_INTERPRETERS_HEAP_H

/* What a source file asks for itself comes too late. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#ifdef ON_LIBGC
#include <gc.h>
static inline void *heap_alloc(size_t n)
{
    return GC_MALLOC(n);
}
static inline void *heap_noscan(size_t n)
{
    return GC_MALLOC_ATOMIC(n);
}
static inline void *heap_realloc(void *p, size_t n)
{
    return GC_REALLOC(p, n);
}
static inline void heap_free(void *p)
{
    GC_FREE(p);
}
static inline void heap_collect(void)
{
    GC_gcollect();
}
#define heap_wait(call) (call)
#define heap_finalizer_set(p, fn, ctx) GC_REGISTER_FINALIZER(p, fn, ctx, NULL, NULL)
#else
#include <oakum/oakum.h>
static inline void *heap_alloc(size_t n)
{
    return oak_alloc(n);
}
static inline void *heap_noscan(size_t n)
{
    return oak_alloc_noscan(n);
}
static inline void *heap_realloc(void *p, size_t n)
{
    return oak_realloc(p, n);
}
static inline void heap_free(void *p)
{
    oak_free(p);
}
static inline void heap_collect(void)
{
    oak_collect();
    oak_finalizers_run();
}

/* A call that waits: a collection doesn't end it early with EINTR, as its signal would. */
#define heap_wait(call)               \
    ({                                \
        oak_blocking_enter();         \
        __auto_type result_ = (call); \
        oak_blocking_leave();         \
        result_;                      \
    })
#define heap_finalizer_set(p, fn, ctx) oak_finalizer_set(p, fn, ctx)
#endif

/* A copy of a string, where nothing frees it but the collector. */
static inline char *heap_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = heap_noscan(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

static inline void heap_run_finalizer(void *object, void *fn)
{
    ((void (*)(void *))fn)(object);
}

/* fn once the object can't be reached; with Oakum on another thread, perhaps. */
static inline void heap_finalizer(void *object, void (*fn)(void *))
{
    heap_finalizer_set(object, heap_run_finalizer, (void *)fn);
}

static inline void *heap_calloc(size_t count, size_t size)
{
    size_t n;
    return __builtin_mul_overflow(count, size, &n) ? NULL : heap_alloc(n);
}

#endif

/* entry.c - malloc, calloc and the aligned forms: the fast path, and the ways around it.
 *
 * The fast path is that of oak_alloc (runtime/alloc.c), and is in the same section of code. A call
 * that can't enter the heap gets memory from the side range (side.c).
 *
 * POSIX forbids a signal handler to call malloc, but some do. If the handler has interrupted the
 * runtime or fork, it gets memory from the side range. An interrupted fast path can't be detected,
 * so it isn't used when leaks are looked for.
 *
 * While threads have caches, a small block isn't zero when malloc returns it (cache.h), and calloc
 * clears it. Otherwise the block is zero, as a run is cleared when a thread takes it. So no stale
 * word in a block counts as a reference. Sizes above PTRDIFF_MAX fail, as in glibc.
 *
 * Owns: oaki_my. Lock: none. */
#include "cache.h"
#include "preload.h"
#include "runtime/guard.h"
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#define CALLER __builtin_return_address(0)
#define ALIGN_MAX ((size_t)16 << 30) /* such a block takes as much of the address range */

__thread oaki_mine oaki_my
    __attribute__((tls_model("initial-exec"))) = { .cache = &oaki_cache_none };

/* ---- entering ---- */

/* Attach the calling thread: once in its life. */
static OAKI_COLD bool attach(void)
{
    if (oaki_my.busy || oaki_my.was_attached || oaki_fork_is_ours()) return false;
    if (!AO_load_acquire(&oaki_the_heap.started) && !oaki_start_heap()) return false;
    oaki_my.busy = true;
    oaki_my.was_attached = oaki_thread_attach_self() != NULL;
    oaki_my.busy = false;
    return oaki_my.was_attached;
}

bool oaki_can_enter(void)
{
    const oaki_thread *t = oaki_tls_thread;
    if (OAKI_UNLIKELY(!t)) return attach();
    if (OAKI_UNLIKELY(t->in_runtime != 0)) return false;
    return OAKI_LIKELY(AO_int_load(&oaki_fork_gate) != (unsigned int)t->tid);
}

/* The thread that ends the process does so after its destructors, which have detached it. */
bool oaki_can_enter_again(void)
{
    if (!oaki_tls_thread) oaki_my.was_attached = false;
    return oaki_can_enter();
}

/* ---- allocating ---- */

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* The result of a call that came with errno `saved`. */
static void *result_of(void *p, int saved)
{
    errno = p ? saved : ENOMEM;
    return p;
}

static void *from_heap(size_t n, size_t align, bool zero)
{
    oaki_kind kind = oaki_my.quiet ? OAKI_PINNED : OAKI_SCAN;
    if (OAKI_UNLIKELY(oaki_guard.on) && oaki_my.quiet) /* with gaps, which aren't checked */
        return oaki_alloc_plain(n + OAKI_GUARD_GAP, align, kind, 0);
    if (OAKI_UNLIKELY(oaki_guard.on)) return oaki_guard_alloc(n, align, kind, 0);
    if (n > OAKI_SMALL_MAX && align <= OAKI_PAGE)
        return oaki_large_alloc(n, 1, kind, 0, zero ? OAKI_LARGE_ZERO : 0);
    return oaki_alloc_kind(n, align, kind, 0);
}

/* Allocate once more after the heap was full: the slots of this thread's cache may make room. For
 * Oakum itself the side range is left. */
static OAKI_COLD void *from_heap_full(size_t n, size_t align, bool zero)
{
    if (oaki_my.quiet) return oaki_side_alloc(n, align);
    return oaki_cache_empty() ? from_heap(n, align, zero) : NULL;
}

/* While slots may be dirty: clears a small block if `zero`; otherwise only the word that may hold
 * the key of an earlier free. */
static void *ready(void *p, size_t n, bool zero)
{
    bool dirty = oaki_the_heap.dirty_kinds != 0 && n <= OAKI_SMALL_MAX;
    if (dirty && zero) memset(p, 0, n);
    else if (dirty) ((uintptr_t *)p)[1] = 0;
    return p;
}

static OAKI_NOINLINE void *alloc_slow(size_t n, size_t align, bool zero, const void *caller)
{
    int saved = errno;
    if (n > PTRDIFF_MAX) return out_of_memory();
    if (!oaki_can_enter()) return result_of(oaki_side_alloc(n, align), saved);
    oaki_free_put_off();
    if (OAKI_UNLIKELY(oaki_wanted.caches && !oaki_my.no_cache)) oaki_cache_make();
    if (OAKI_UNLIKELY(oaki_wanted.collect)) oaki_lost_grown();
    oaki_my.asked = n;
    oaki_my.caller = caller;
    void *p = from_heap(n, align, zero);
    if (OAKI_UNLIKELY(!p)) p = from_heap_full(n, align, zero);
    oaki_my.asked = 0;
    return result_of(p ? ready(p, n, zero) : NULL, saved);
}

/* malloc jumps here, so the return address is that of malloc's caller. */
static OAKI_NOINLINE void *small_slow(size_t n)
{
    return alloc_slow(n, 1, false, CALLER);
}

OAKI_CACHE_USER OAKI_EXPORT void *malloc(size_t n)
{
    if (OAKI_UNLIKELY(n > OAKI_CACHE_BYTES || oaki_my.quiet)) return small_slow(n);
    unsigned cls = oaki_class_small[(n + 15) / 16];
    void *freed = oaki_cache_take(cls);
    if (OAKI_LIKELY(freed != NULL)) return freed;
    if (OAKI_UNLIKELY(oaki_wanted.leaks)) return small_slow(n);
    oaki_run *r = &oaki_tls_mcache->run[OAKI_SPANCLASS(OAKI_SCAN, cls)];
    char *p = r->next, *next = p + oaki_classes[cls].size;
    if (OAKI_UNLIKELY(next > r->end)) return small_slow(n);
    r->next = next;
    ((uintptr_t *)(void *)p)[1] = 0;
    return p;
}

OAKI_CACHE_USER OAKI_EXPORT void *calloc(size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n)) return out_of_memory();
    if (n > OAKI_CACHE_BYTES || oaki_my.quiet) return alloc_slow(n, 1, true, CALLER);
    if (oaki_wanted.leaks) return malloc(n);
    void *p = malloc(n);
    return OAKI_LIKELY(p != NULL) ? memset(p, 0, n) : NULL;
}

/* ---- aligned ---- */

static void *aligned(size_t align, size_t n)
{
    if (align <= OAKI_GRANULE) return malloc(n);
    if (align > ALIGN_MAX) return out_of_memory();
    return alloc_slow(n, align, false, CALLER);
}

/* As in glibc, an alignment that is no power of two is rounded up to one. */
OAKI_EXPORT void *memalign(size_t align, size_t n)
{
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    if (align & (align - 1)) align = (size_t)2 << oaki_log2(align);
    return aligned(align, n);
}

OAKI_EXPORT void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

OAKI_EXPORT int posix_memalign(void **out, size_t align, size_t n)
{
    if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0) return EINVAL;
    int saved = errno;
    void *p = aligned(align, n);
    errno = saved;
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}

OAKI_EXPORT void *valloc(size_t n)
{
    return aligned((size_t)getpagesize(), n);
}

OAKI_EXPORT void *pvalloc(size_t n)
{
    size_t page = (size_t)getpagesize();
    if (n > PTRDIFF_MAX - page) return out_of_memory();
    return aligned(page, OAKI_ALIGN_UP(OAKI_MAX(n, (size_t)1), page));
}

OAKI_LIBC_NAME(malloc);
OAKI_LIBC_NAME(calloc);
OAKI_LIBC_NAME(memalign);
OAKI_LIBC_NAME(valloc);
OAKI_LIBC_NAME(pvalloc);

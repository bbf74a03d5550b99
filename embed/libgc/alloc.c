/* alloc.c - allocates, resizes and frees objects.
 *
 * GC_malloc and GC_malloc_atomic are fast paths of the heap (runtime/alloc.c). They are in its
 * section oaki_fast, and bump through the calling thread's run. They only call the slow path, in
 * tail position. In a region of GC_do_blocking a thread has no run (runtime/blocking.c), and the
 * slow path leaves the region for the allocation. GC_generic_malloc_many returns parts of runs as a
 * list.
 *
 * Kinds: 0 is noscan, 1 scan, 2 pinned, 3 noscan and held (gc/host.h); the others are typed. Bound:
 * O(1), and the cost of a refill. Lock: none. */
#include "reuse.h"

#include "runtime/meta.h"
#include <errno.h>
#include <string.h>

#define FAST __attribute__((section("oaki_fast"), noinline, aligned(64)))
#define FAST_MAX 2047  /* with the byte that may be added, the limit of the small class table */
#define MANY_BYTES 4096 /* of the objects in a list, as in libgc */

lgc_reuse *lgc_reuse_new(void)
{
    oaki_thread *t = oaki_tls_thread;
    if (t && t->in_runtime) return NULL;
    t = oaki_enter();
    if (!t) return NULL;
    t->kept = oaki_meta_zalloc(sizeof(lgc_reuse), OAKI_META_OTHER);
    if (t->kept) t->kept_bytes = sizeof(lgc_reuse);
    oaki_leave(t);
    return t->kept;
}

void lgc_reuse_empty(void)
{
    OAKI_REQUIRES_STOPPED();
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (t->kept) memset(t->kept, 0, sizeof(lgc_reuse));
}

/* ---- the slow path ---- */

/* The type of a plain kind's objects that the program is asked for, or 0. */
OAKI_INLINE uint32_t disclaiming(oaki_kind kind)
{
    if (kind > OAKI_NOSCAN) return 0;
    int number = kind == OAKI_NOSCAN ? GC_KIND_ATOMIC : GC_KIND_NORMAL;
    return (uint32_t)AO_load_acquire(&lgc.disclaiming[number]);
}

/* Allocate. Large unscanned objects are not zeroed, as in libgc. */
static void *take(size_t want, size_t align, oaki_kind kind, uint32_t type)
{
    uint32_t asks = disclaiming(kind);
    if (OAKI_UNLIKELY(asks != 0)) return oaki_alloc_kind(want, align, OAKI_TYPED, asks);
    if (kind == OAKI_NOSCAN && want > OAKI_SMALL_MAX)
        return oaki_large_alloc(want, 1, kind, 0, 0);
    return oaki_alloc_kind(want, align, kind, type);
}

/* Run pending finalizers, or call the notifier. All slow paths call this. After a concurrent
 * collection, an allocating thread is the first of the program to learn of ready finalizers. */
static void resume(void)
{
    if (OAKI_UNLIKELY(AO_load(&lgc.unfinished) != 0)) lgc_final_resume();
}

static void *try_aligned(size_t n, size_t align, oaki_kind kind, uint32_t type);
LGC_OUTSIDE(void *, try_aligned, (size_t n, size_t align, oaki_kind kind, uint32_t type),
            (n, align, kind, type))

static void *try_aligned(size_t n, size_t align, oaki_kind kind, uint32_t type)
{
    size_t want;
    lgc_ready();
    if (lgc_is_blocked()) return try_aligned_outside(n, align, kind, type);
    resume();
    if (__builtin_add_overflow(n, lgc.extra, &want)) return NULL;
    void *p = take(want, align, kind, type);
    lgc_grown();
    return p;
}

void *lgc_try(size_t n, oaki_kind kind, uint32_t type)
{
    return try_aligned(n, 1, kind, type);
}

void *lgc_out_of_memory(size_t n)
{
    size_t inuse = AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT;
    lgc.warn_proc("GC Warning: Out of Memory! Heap size: %lu MiB. Returning NULL!\n",
                  (GC_word)(inuse >> 20));
    errno = ENOMEM;
    return GC_oom_fn(n);
}

void *lgc_alloc(size_t n, oaki_kind kind, uint32_t type)
{
    void *p = lgc_try(n, kind, type);
    return OAKI_LIKELY(p != NULL) ? p : lgc_out_of_memory(n);
}

static OAKI_NOINLINE void *slow(size_t n, oaki_kind kind)
{
    void *p = NULL;
    if (OAKI_LIKELY(n <= FAST_MAX && !lgc_is_blocked())) {
        resume();
        unsigned cls = oaki_class_small[(n + lgc.extra + 15) / 16];
        p = lgc_reuse_take(kind, cls);
        if (p) lgc_stats_reused(oaki_classes[cls].size);
    }
    return p ? p : lgc_alloc(n, kind, 0);
}

static OAKI_NOINLINE void *scan_slow(size_t n)
{
    return slow(n, OAKI_SCAN);
}

static OAKI_NOINLINE void *noscan_slow(size_t n)
{
    return slow(n, OAKI_NOSCAN);
}

/* ---- the fast paths ---- */

FAST void *GC_malloc(size_t n)
{
    if (OAKI_UNLIKELY(n > FAST_MAX)) return scan_slow(n);
    unsigned cls = oaki_class_small[(n + lgc.extra + 15) / 16];
    oaki_run *r = &oaki_tls_mcache->run[OAKI_SPANCLASS(OAKI_SCAN, cls)];
    char *p = r->next, *next = p + oaki_classes[cls].size;
    if (OAKI_UNLIKELY(next > r->end)) return scan_slow(n);
    r->next = next;
    return p;
}

FAST void *GC_malloc_atomic(size_t n)
{
    if (OAKI_UNLIKELY(n > FAST_MAX)) return noscan_slow(n);
    unsigned cls = oaki_class_small[(n + lgc.extra + 15) / 16];
    oaki_run *r = &oaki_tls_mcache->run[OAKI_SPANCLASS(OAKI_NOSCAN, cls)];
    char *p = r->next, *next = p + oaki_classes[cls].size;
    if (OAKI_UNLIKELY(next > r->end)) return noscan_slow(n);
    r->next = next;
    return p;
}

/* ---- other kinds ---- */

static void count_non_gc(const void *p, bool more)
{
    size_t n = oak_usable_size(p);
    AO_fetch_and_add((AO_t *)&GC_non_gc_bytes, more ? n : (AO_t)0 - n);
}

/* What GC_oom_fn returns is neither held nor counted: it is the program's own, or in use already.
 */
void *GC_malloc_uncollectable(size_t n)
{
    void *p = lgc_try(n, OAKI_PINNED, 0);
    if (!p) return lgc_out_of_memory(n);
    count_non_gc(p, true);
    return p;
}

void *lgc_hold(void *p, size_t n)
{
    if (!p || oaki_hold(p) != 0) return lgc_out_of_memory(n);
    count_non_gc(p, true);
    return p;
}

LGC_OUTSIDE(void *, GC_malloc_atomic_uncollectable, (size_t n), (n))

/* Inside of a blocking region the object could be collected before it is held. */
void *GC_malloc_atomic_uncollectable(size_t n)
{
    if (lgc_is_blocked()) return GC_malloc_atomic_uncollectable_outside(n);
    return lgc_hold(lgc_try(n, OAKI_NOSCAN, 0), n);
}

/* The caller's promise to keep a pointer to the object's start isn't used. */
void *GC_malloc_ignore_off_page(size_t n)
{
    return GC_malloc(n);
}

void *GC_malloc_atomic_ignore_off_page(size_t n)
{
    return GC_malloc_atomic(n);
}

void *GC_malloc_stubborn(size_t n)
{
    return GC_malloc(n);
}

void *GC_generic_malloc(size_t n, int kind)
{
    switch (kind) {
    case GC_KIND_ATOMIC: return GC_malloc_atomic(n);
    case GC_KIND_NORMAL: return GC_malloc(n);
    case GC_KIND_UNCOLLECTABLE: return GC_malloc_uncollectable(n);
    case GC_KIND_ATOMIC_UNCOLLECTABLE: return GC_malloc_atomic_uncollectable(n);
    default: return lgc_alloc_layout(n, lgc_kind(kind));
    }
}

void *GC_generic_malloc_ignore_off_page(size_t n, int kind)
{
    return GC_generic_malloc(n, kind);
}

void *GC_malloc_kind(size_t n, int kind)
{
    return GC_generic_malloc(n, kind);
}

void *GC_malloc_kind_global(size_t n, int kind)
{
    return GC_generic_malloc(n, kind);
}

void *GC_generic_or_special_malloc(size_t n, int kind)
{
    return GC_generic_malloc(n, kind);
}

LGC_OUTSIDE(void *, GC_generic_malloc_uncollectable, (size_t n, int kind), (n, kind))

void *GC_generic_malloc_uncollectable(size_t n, int kind)
{
    if (lgc_is_blocked()) return GC_generic_malloc_uncollectable_outside(n, kind);
    if (kind == GC_KIND_NORMAL) return GC_malloc_uncollectable(n);
    if (kind == GC_KIND_ATOMIC) return GC_malloc_atomic_uncollectable(n);
    if (kind == GC_KIND_UNCOLLECTABLE || kind == GC_KIND_ATOMIC_UNCOLLECTABLE)
        return GC_generic_malloc(n, kind);
    return lgc_hold(lgc_try_layout(n, lgc_kind(kind)), n);
}

/* As in libgc, an address in a larger object. Its offset is a displacement from then on. */
static void *try_multiple(size_t align, size_t n)
{
    size_t want;
    if (__builtin_add_overflow(n, align - 1, &want)) return NULL;
    char *p = lgc_try(want, OAKI_SCAN, 0);
    size_t over = (uintptr_t)p % align, offset = over ? align - over : 0;
    if (!p || offset == 0) return p;
    if (!lgc.interior && offset >= OAKI_DISPLACEMENTS) return NULL;
    if (!lgc.interior && !lgc_is_displacement(offset)) GC_register_displacement(offset);
    return p + offset;
}

/* An alignment need not be a power of two. */
void *GC_memalign(size_t align, size_t n)
{
    lgc_ready();
    if (align <= OAKI_GRANULE) return GC_malloc(n);
    bool is_power = (align & (align - 1)) == 0;
    void *p = is_power ? try_aligned(n, align, OAKI_SCAN, 0) : try_multiple(align, n);
    return p ? p : lgc_out_of_memory(n);
}

int GC_posix_memalign(void **out, size_t align, size_t n)
{
    if (align < sizeof(void *) || (align & (align - 1)) != 0) return EINVAL;
    void *p = GC_memalign(align, n);
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}

static char *copy_string(const char *s, size_t len)
{
    char *copy = GC_malloc_atomic(len + 1);
    if (!copy) return NULL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *GC_strdup(const char *s)
{
    return s ? copy_string(s, strlen(s)) : NULL;
}

char *GC_strndup(const char *s, size_t n)
{
    return copy_string(s, strnlen(s, n));
}

/* ---- freeing, resizing ---- */

/* Whether an object counts in GC_non_gc_bytes, as it is uncollectable. */
OAKI_INLINE bool is_counted(const void *p)
{
    size_t off = oaki_heap_offset(p);
    if (OAKI_UNLIKELY(off >= AO_load(&oaki_the_heap.used))) return false;
    unsigned kind = oaki_pte_kind(oaki_the_heap.pte[off >> OAKI_PAGE_SHIFT]);
    return OAKI_UNLIKELY(kind == OAKI_PINNED) || oaki_is_held(p);
}

LGC_OUTSIDE(void, GC_free, (void *p), (p))

void GC_free(void *p)
{
    if (!p) return;
    if (lgc_is_blocked()) {
        GC_free_outside(p);
        return;
    }
    const oaki_span *s = oaki_plain_span(p);
    if (OAKI_LIKELY(s != NULL)) {
        lgc_stats_freed(s->size);
        /* what waits for reuse on a thread that ends is left to the collector, as a leak is */
        if (OAKI_LIKELY(!GC_find_leak) && OAKI_LIKELY(lgc_reuse_give(s, p))) return;
    } else {
        lgc_stats_freed(oak_usable_size(p));
    }
    /* under the allocation lock, or with the world stopped: the object is left to the collector */
    if (OAKI_UNLIKELY(oaki_tls_thread && oaki_tls_thread->in_runtime == OAKI_IN_RUNTIME)) return;
    if (is_counted(p)) count_non_gc(p, false);
    oak_free(p);
}

/* Move an object to what GC_oom_fn returns, as in libgc. */
static void *move_out(void *p, size_t n)
{
    void *q = lgc_out_of_memory(n);
    if (!q) return NULL;
    memcpy(q, p, OAKI_MIN(n, oak_usable_size(p)));
    GC_free(p);
    return q;
}

static void *cut(void *p, size_t n, size_t size)
{
    memset((char *)p + n, 0, size - n);
    return p;
}

/* Resize an object that is large, or of a kind without a fast path. Without memory for a smaller
 * copy it stays where it is. */
static void *resize(void *p, size_t n)
{
    size_t want, before = oak_usable_size(p);
    if (__builtin_add_overflow(n, lgc.extra, &want)) return lgc_out_of_memory(n);
    bool counted = is_counted(p), held = counted && oaki_is_held(p);
    void *q = oak_realloc(p, want);
    lgc_grown();
    if (OAKI_UNLIKELY(!q)) return want <= before ? cut(p, n, before) : move_out(p, n);
    bool lost = held && q != p && oaki_hold(q) != 0;
    size_t now = lost ? 0 : oak_usable_size(q);
    if (counted) AO_fetch_and_add((AO_t *)&GC_non_gc_bytes, now - before);
    if (OAKI_UNLIKELY(lost)) return move_out(q, n);
    memset((char *)q + n, 0, lgc.extra); /* the program may have written to this byte */
    return q;
}

LGC_OUTSIDE(void *, GC_realloc, (void *p, size_t n), (p, n))

/* As in libgc, an object shrinks in place unless less than half of it is left. But it does also
 * where there is no memory for a copy. The unused rest is cleared, so that it refers to nothing. */
void *GC_realloc(void *p, size_t n)
{
    if (!p) return GC_malloc(n);
    if (n == 0) {
        GC_free(p);
        return NULL;
    }
    if (lgc_is_blocked()) return GC_realloc_outside(p, n);
    const oaki_span *s = oaki_plain_span(p);
    if (OAKI_UNLIKELY(!s || s->kind > OAKI_NOSCAN)) return resize(p, n);
    size_t size = s->size;
    bool scanned = s->kind == OAKI_SCAN, fits = n <= size - lgc.extra;
    void *q = NULL;
    if (!fits) {
        q = scanned ? GC_malloc(n) : GC_malloc_atomic(n);
        if (OAKI_UNLIKELY(!q)) return NULL;
    } else if (n < size / 2 && size > 2 * OAKI_GRANULE) {
        q = lgc_try(n, (oaki_kind)s->kind, 0);
    }
    if (!q) return scanned ? cut(p, n, size) : p;
    memcpy(q, p, OAKI_MIN(n, size));
    GC_free(p);
    return q;
}

/* ---- lists ---- */

/* Append the rest of a run to a list, up to n objects. Returns how many. */
static size_t link_run(oaki_mcache *mc, unsigned sc, char **last, size_t n, uint32_t type)
{
    oaki_run *r = &mc->run[sc];
    size_t size = oaki_classes[sc % OAKI_CLASSES].size, got = 0;
    for (; got < n && r->next + size <= r->end; got++) {
        char *p = r->next;
        if (type) oaki_span_set_type(p, type);
        r->next = p + size;
        *(char **)(void *)*last = p;
        *last = p;
    }
    return got;
}

/* Append objects of the run and of its span to the list that begins with `first`, up to MANY_BYTES
 * in all. Inside of the runtime, so that no pause flushes the run. */
static void link_many(oaki_mcache *mc, unsigned sc, char *first, uint32_t type)
{
    size_t left = MANY_BYTES / oaki_classes[sc % OAKI_CLASSES].size;
    char *last = first;
    if (type) oaki_span_set_type(first, type);
    left -= left > 0;
    do {
        left -= link_run(mc, sc, &last, left, type);
        left -= oaki_mcache_chain(mc, sc, &last, left);
    } while (left > 0 && oaki_mcache_more(mc, sc));
    *(char **)(void *)last = NULL;
}

/* Make a list. The thread stays inside of the runtime until *result has the list: if the objects
 * are unscanned, the collector would find only the list's head. */
static bool many(size_t n, oaki_kind kind, uint32_t type, void **result)
{
    unsigned sc = OAKI_SPANCLASS(kind, oaki_class_small[(n + 15) / 16]);
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    oaki_run *r = &t->mcache->run[sc];
    size_t size = oaki_classes[sc % OAKI_CLASSES].size;
    char *p = r->next;
    if (r->end && p + size <= r->end) r->next = p + size;
    else p = oaki_mcache_refill(t, sc);
    if (p) link_many(t->mcache, sc, p, type);
    *result = p;
    size_t rate = oaki_sample_take_due(t->mcache);
    oaki_leave(t);
    if (OAKI_UNLIKELY(rate != 0)) oaki_the_heap.sampler.on.note(p, size, rate);
    lgc_grown();
    return p != NULL;
}

static void *malloc_many(size_t n, int kind, void **result);
LGC_OUTSIDE(void *, malloc_many, (size_t n, int kind, void **result), (n, kind, result))

/* n, a multiple of 16, is the whole size of an object: no byte is added to it. *result is written
 * before the thread is back in its blocking region, where nothing else would refer to the list. */
static void *malloc_many(size_t n, int kind, void **result)
{
    lgc_ready();
    *result = NULL;
    if (lgc_is_blocked()) return malloc_many_outside(n, kind, result);
    uint32_t type = kind > GC_KIND_ATOMIC_UNCOLLECTABLE ? lgc_layout_type(lgc_kind(kind)) : 0;
    if (kind == GC_KIND_ATOMIC_UNCOLLECTABLE || n > FAST_MAX) {
        void *p = GC_generic_malloc(n - OAKI_MIN(n, lgc.extra), kind);
        if (p) *(void **)p = NULL;
        return *result = p;
    }
    resume();
    oaki_kind k = kind == GC_KIND_ATOMIC          ? OAKI_NOSCAN
                  : kind == GC_KIND_NORMAL        ? OAKI_SCAN
                  : kind == GC_KIND_UNCOLLECTABLE ? OAKI_PINNED
                                                  : OAKI_TYPED;
    uint32_t asks = disclaiming(k);
    if (OAKI_UNLIKELY(asks != 0)) {
        k = OAKI_TYPED;
        type = asks;
    }
    if (!many(n, k, type, result)) *result = NULL;
    return *result;
}

void GC_generic_malloc_many(size_t n, int kind, void **result)
{
    (void)malloc_many(n, kind, result);
}

void *GC_malloc_many(size_t n)
{
    void *result;
    lgc_ready();
    if (n > FAST_MAX) n = OAKI_MIN(n, SIZE_MAX - 2 * OAKI_GRANULE);
    return malloc_many(OAKI_ALIGN_UP(n + lgc.extra, OAKI_GRANULE), GC_KIND_NORMAL, &result);
}

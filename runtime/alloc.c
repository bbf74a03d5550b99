/* alloc.c - allocation: the fast path, and the way of a request to the slow one.
 *
 * The fast path's functions have a code section of their own, oaki_fast. From an address in it on a
 * thread's stack, a stop knows that the thread may be halfway through (mcache.h). They call nothing
 * but the slow path, in tail position. Budget: class look-up, add, compare, store. No lock. */
#include "guard.h"
#include "heap.h"
#include "type.h"
#include <errno.h>
#include <oakum/heap.h>

#define FAST __attribute__((section("oaki_fast"), noinline, aligned(64)))

extern const char fast_start[] __asm__("__start_oaki_fast") __attribute__((visibility("hidden")));
extern const char fast_stop[] __asm__("__stop_oaki_fast") __attribute__((visibility("hidden")));

bool oaki_mcache_is_fast_path(uintptr_t word)
{
    return word - (uintptr_t)fast_start < (uintptr_t)fast_stop - (uintptr_t)fast_start;
}

static void *small_slow(unsigned spanclass)
{
    size_t size = oaki_classes[spanclass % OAKI_CLASSES].size;
    for (;;) {
        oaki_thread *t = oaki_enter();
        if (!t) return NULL;
        void *p = oaki_mcache_refill(t, spanclass);
        size_t rate = oaki_sample_take_due(t->mcache);
        oaki_leave(t);
        if (OAKI_UNLIKELY(rate != 0)) oaki_the_heap.sampler.on.note(p, size, rate);
        if (OAKI_LIKELY(p != NULL) || !oaki_zone_full(size)) return p;
    }
}

static OAKI_COLD void *alloc_slow(size_t n, oaki_kind kind)
{
    if (!AO_load_acquire(&oaki_the_heap.started) && oaki_heap_start(NULL) != 0) return NULL;
    if (OAKI_UNLIKELY(oaki_guard.on)) return oaki_guard_alloc(n, 1, kind, 0);
    if (n > OAKI_SMALL_MAX) return oaki_large_alloc(n, 1, kind, 0, OAKI_LARGE_ZERO);
    return small_slow(OAKI_SPANCLASS(kind, oaki_class_of(n ? n : 1)));
}

OAKI_INLINE void *alloc_fast(size_t n, oaki_kind kind)
{
    if (OAKI_UNLIKELY(n > 2048)) return alloc_slow(n, kind);
    unsigned cls = oaki_class_small[(n + 15) / 16];
    oaki_run *r = &oaki_tls_mcache->run[OAKI_SPANCLASS(kind, cls)];
    char *p = r->next, *next = p + oaki_classes[cls].size;
    if (OAKI_UNLIKELY(next > r->end)) return alloc_slow(n, kind);
    r->next = next;
    return p;
}

FAST void *oak_alloc(size_t n)
{
    return alloc_fast(n, OAKI_SCAN);
}

FAST void *oak_alloc_noscan(size_t n)
{
    return alloc_fast(n, OAKI_NOSCAN);
}

void *oak_alloc_pinned(size_t n)
{
    return alloc_slow(n, OAKI_PINNED);
}

/* ---- alignment ---- */

/* A class whose slots all lie at multiples of align; spans begin at multiples of a page. 0 when
 * there is none. */
static unsigned aligned_class(size_t align, size_t n)
{
    if (n > OAKI_SMALL_MAX || align > OAKI_PAGE) return 0;
    for (unsigned cls = oaki_class_of(n); cls < oaki_nclasses; cls++)
        if (oaki_classes[cls].size % align == 0) return cls;
    return 0;
}

void *oaki_alloc_kind(size_t n, size_t align, oaki_kind kind, uint32_t type)
{
    if (!AO_load_acquire(&oaki_the_heap.started) && oaki_heap_start(NULL) != 0) return NULL;
    if (OAKI_UNLIKELY(oaki_guard.on)) return oaki_guard_alloc(n, align, kind, type);
    return oaki_alloc_plain(n, align, kind, type);
}

void *oaki_alloc_plain(size_t n, size_t align, oaki_kind kind, uint32_t type)
{
    unsigned cls = aligned_class(OAKI_MAX(align, OAKI_GRANULE), n ? n : 1);
    if (OAKI_UNLIKELY(oaki_guard.on) && oaki_classes[cls].nslots == 1) cls = 0;
    if (!cls) {
        unsigned how = oaki_guard.on ? OAKI_LARGE_ZERO | OAKI_LARGE_GUARDED : OAKI_LARGE_ZERO;
        return oaki_large_alloc(n, align, kind, type, how);
    }
    void *p = small_slow(OAKI_SPANCLASS(kind, cls));
    if (p && type) oaki_span_set_type(p, type);
    return p;
}

static void *alloc_aligned(size_t align, size_t n, oaki_kind kind)
{
    if (align == 0 || (align & (align - 1)) != 0 || align > (size_t)1 << 30) {
        errno = EINVAL;
        return NULL;
    }
    return oaki_alloc_kind(n, align, kind, 0);
}

void *oak_alloc_aligned(size_t align, size_t n)
{
    return alloc_aligned(align, n, OAKI_SCAN);
}

void *oak_alloc_aligned_noscan(size_t align, size_t n)
{
    return alloc_aligned(align, n, OAKI_NOSCAN);
}

/* ---- typed ---- */

/* Called after the type's id is stored. A stop in between may give the type a function, and then
 * finds the id (gc/disclaim.c). */
OAKI_INLINE void flag_span(oaki_span *s, const oak_type *t)
{
    AO_compiler_barrier();
    if (OAKI_LIKELY(!oaki_type_waits(t))) return;
    s->waits = 1;
    if (t->disclaim) s->disclaims = 1;
}

/* The slot is zeroed, and has type 0, conservative, until its type is stored. A collection in
 * between finds nothing in it. */
void oaki_span_set_type(void *p, uint32_t type)
{
    size_t off = oaki_heap_offset(p);
    oaki_span *s = oaki_span_of_offset(off);
    size_t in = off - oaki_heap_offset(oaki_span_start(s));
    OAKI_ASSERT(s->kind == OAKI_TYPED && s->cls != OAKI_CLASS_LARGE && s->types);
    s->types[(in * oaki_classes[s->cls].magic) >> 32] = type;
    flag_span(s, oaki_type_by_id(type));
}

static OAKI_COLD void *alloc_typed_slow(size_t n, uint32_t type)
{
    return oaki_alloc_kind(n, 1, OAKI_TYPED, type);
}

static OAKI_COLD void no_type(void)
{
    oak_fatal("oakum: oak_alloc_typed: the type is NULL: could it not be made?");
}

FAST void *oak_alloc_typed(const oak_type *t, size_t count)
{
    size_t n;
    if (OAKI_UNLIKELY(!t)) no_type();
    if (OAKI_UNLIKELY(__builtin_mul_overflow(t->elem_size, count, &n))) n = SIZE_MAX;
    if (OAKI_UNLIKELY(n > 2048)) return alloc_typed_slow(n, t->id);
    unsigned cls = oaki_class_small[(n + 15) / 16];
    oaki_run *r = &oaki_tls_mcache->run[OAKI_SPANCLASS(OAKI_TYPED, cls)];
    char *p = r->next, *next = p + oaki_classes[cls].size;
    if (OAKI_UNLIKELY(next > r->end)) return alloc_typed_slow(n, t->id);
    r->next = next;
    size_t off = oaki_heap_offset(p);
    oaki_span *s = &oaki_the_heap.spans[oaki_page_first(off >> OAKI_PAGE_SHIFT)];
    size_t in = off - (oaki_span_page(s) << OAKI_PAGE_SHIFT);
    s->types[(in * oaki_classes[cls].magic) >> 32] = t->id;
    flag_span(s, t);
    return p;
}

/* free.c - free and realloc, and blocks that are freed where the heap can't be entered.
 *
 * A thread that has detached, or is inside of the runtime, can't enter the heap. Its free is
 * deferred: the block goes into a list, which the next call that can enter the heap frees. The
 * first word of a block is the link. With the guard on, blocks may not be written: entries of side
 * memory are the list then, while there is side memory.
 *
 * A pointer of another allocator in the process goes back to that allocator (others.c). A pointer
 * of no allocator, or to a free block, ends the program with one line. Before main such a pointer
 * is ignored: it may come from the loader's own malloc, which the loader uses at first.
 *
 * Owns: the lists of deferred frees. Lock: none; all are atomic. */
#include "cache.h"
#include "others.h"
#include "preload.h"
#include "runtime/collector.h"
#include "runtime/guard.h"
#include "runtime/track.h"
#include <errno.h>
#include <malloc.h>
#include <oakum/heap.h>
#include <string.h>

#define ROOM(n) ((n) / 8) /* extra room of a large block that realloc has moved */

typedef struct entry {
    struct entry *next;
    void *block;
} entry;

static AO_t put_off;     /* a list; a block's first word is the link */
static AO_t put_off_aside; /* a list of entries */

/* ---- freeing ---- */

/* Returns only if the guard goes on. Outside of oaki_enter, where the guard may be on. */
static OAKI_COLD void bad_free(const void *p, const char *why)
{
    if (!oaki_guard_wild(p, "free", why)) oak_fatal("oakum: free: %p %s", p, why);
}

/* Free a small object, whose class and span are valid. */
static void free_small(oaki_span *s, void *p, size_t off)
{
    OAKI_REQUIRES_INSIDE();
    oaki_heap *h = &oaki_the_heap;
    const oaki_class *c = &oaki_classes[s->cls];
    if (oaki_debug_switches.verify) oaki_gc_note_freed(off, c->size);
    oaki_track_free(p, c->size);
    oaki_bits_clear(h->alloc, off, c->size);
    AO_int_fetch_and_add(&s->nalloc, -1u);
    unsigned freed = AO_int_fetch_and_add(&s->nfreed, 1) + 1;
    oaki_count_add(&h->frees[s->cls], 1);
    if (s->list == OAKI_LIST_FULL && freed * 8 >= c->nslots) oaki_central_freed(s);
}

/* No block begins at p, or it is free. The guard knows more of it, if it was one of its objects. */
static OAKI_COLD void not_freed(oaki_thread *t, const void *p, size_t slot, size_t off)
{
    bool allocated = slot != SIZE_MAX && oaki_bit_get(oaki_the_heap.alloc, slot);
    oaki_leave(t);
    if (OAKI_UNLIKELY(oaki_guard.on) && oaki_guard_examine(p, SIZE_MAX, "free")) return;
    bad_free(p, slot == off ? "is free memory: was it freed already?"
                : allocated ? "points into a block, not to its beginning"
                            : "is free memory");
}

static bool in_own_run(const oaki_span *s, const char *p)
{
    const oaki_mcache *mc = oaki_tls_mcache;
    unsigned sc = OAKI_SPANCLASS(s->kind, s->cls);
    return s->list == OAKI_LIST_CACHED && p >= mc->run[sc].next && p < mc->run_end[sc];
}

void oaki_free_here(oaki_thread *t, void *p, size_t off)
{
    oaki_heap *h = &oaki_the_heap;
    (void)oaki_enter();
    size_t slot = oaki_slot_offset(off);
    oaki_span *s = slot == off ? oaki_span_of_offset(off) : NULL;
    if (OAKI_UNLIKELY(!s || !oaki_bit_get(h->alloc, off) || in_own_run(s, p))) {
        not_freed(t, p, slot, off);
        return;
    }
    size_t size = s->size;
    if (OAKI_UNLIKELY(s->cls == OAKI_CLASS_LARGE || s->special)) {
        oaki_leave(t);
        oaki_closed_open(p, size);
        oak_free(p);
    } else {
        if (OAKI_UNLIKELY(AO_char_load(&s->sampled) != 0)) h->sampler.on.freed(p);
        free_small(s, p, off);
        oaki_leave(t);
    }
    oaki_freed_add(size);
}

/* ---- freeing many at once ---- */

/* Slots to be freed together: all begin in one word of A. The span's counts change right after A,
 * as the slots may be taken again at once. */
typedef struct word {
    size_t at; /* index of the word; SIZE_MAX at first */
    uint64_t bits; /* to be cleared */
    unsigned n;
    oaki_span *span;
    const char *unused, *unused_end; /* free slots of the thread's run */
} word;

#define WORDS 8 /* slots come from so many words in turn */

static void free_word(word *w)
{
    oaki_span *s = w->span;
    unsigned n = w->n;
    if (n == 0) return;
    if (w->bits) AO_and((AO_t *)&oaki_the_heap.alloc[w->at], ~(AO_t)w->bits);
    AO_int_fetch_and_add(&s->nalloc, -n);
    unsigned freed = AO_int_fetch_and_add(&s->nfreed, n) + n;
    w->n = 0;
    w->bits = 0;
    if (s->list == OAKI_LIST_FULL && freed * 8 >= oaki_classes[s->cls].nslots)
        oaki_central_freed(s);
}

static OAKI_NOINLINE void next_word(word *w, size_t at, unsigned cls)
{
    const oaki_mcache *mc = oaki_tls_mcache;
    free_word(w);
    w->at = at;
    w->span = oaki_span_of_offset(at * 64 * OAKI_GRANULE);
    bool own = w->span == mc->span[OAKI_SPANCLASS(OAKI_SCAN, cls)];
    w->unused = own ? mc->run[OAKI_SPANCLASS(OAKI_SCAN, cls)].next : NULL;
    w->unused_end = own ? mc->run_end[OAKI_SPANCLASS(OAKI_SCAN, cls)] : NULL;
}

void oaki_free_batch(void *const *block, size_t n, unsigned cls)
{
    OAKI_REQUIRES_INSIDE();
    word of[WORDS];
    oaki_heap *h = &oaki_the_heap;
    size_t size = oaki_classes[cls].size, k = size >> OAKI_GRANULE_SHIFT;
    uint64_t mask = k < 64 ? ((uint64_t)1 << k) - 1 : ~(uint64_t)0;
    for (size_t i = 0; oaki_debug_switches.verify && i < n; i++)
        oaki_gc_note_freed(oaki_heap_offset(block[i]), size);
    for (size_t i = 0; i < WORDS; i++) of[i] = (word){ .at = SIZE_MAX };
    for (size_t i = 0; i < n; i++) {
        const char *p = block[i];
        size_t off = oaki_heap_offset(p), g = off >> OAKI_GRANULE_SHIFT, bit = g % 64;
        word *w = &of[g / 64 % WORDS];
        if (OAKI_UNLIKELY(w->at != g / 64)) next_word(w, g / 64, cls);
        if (OAKI_UNLIKELY(!(h->alloc[g / 64] & ~w->bits & (uint64_t)1 << bit) ||
                          (p >= w->unused && p < w->unused_end)))
            bad_free(p, "is free memory: was it freed already?");
        oaki_track_free(block[i], size);
        w->n++;
        if (OAKI_LIKELY(bit + k <= 64)) {
            w->bits |= mask << bit;
            continue;
        }
        oaki_bits_clear(h->alloc, off, size); /* it ends in another word */
        free_word(w);
    }
    for (size_t i = 0; i < WORDS; i++) free_word(&of[i]);
    oaki_count_add(&h->frees[cls], n);
}

/* Push a link in front of the list. */
static void push(AO_t *list, void *link)
{
    AO_t next;
    do {
        next = AO_load(list);
        *(AO_t *)link = next;
    } while (!AO_compare_and_swap_release(list, next, (AO_t)link));
}

static AO_t take_all(AO_t *list)
{
    AO_t first;
    do first = AO_load_acquire(list);
    while (first && !AO_compare_and_swap_acquire(list, first, 0));
    return first;
}

static void put_off_free(void *p)
{
    entry *b = OAKI_UNLIKELY(oaki_guard.on) ? oaki_side_alloc(sizeof *b, 1) : NULL;
    if (b) b->block = p;
    push(b ? &put_off_aside : &put_off, b ? (void *)b : p);
}

static void free_now(void *p)
{
    oaki_free_here(oaki_tls_thread, p, oaki_heap_offset(p));
}

static OAKI_COLD void free_all_put_off(void)
{
    for (AO_t first = take_all(&put_off); first;) {
        void *p = (void *)first;
        first = *(AO_t *)p;
        free_now(p);
    }
    for (entry *b = (entry *)take_all(&put_off_aside), *next; b; b = next) {
        void *p = b->block;
        next = b->next;
        oaki_side_free(b);
        free_now(p);
    }
}

void oaki_free_put_off(void)
{
    if (OAKI_UNLIKELY((AO_load(&put_off) | AO_load(&put_off_aside)) != 0)) free_all_put_off();
}

const void *oaki_free_first_put_off(void)
{
    return (const void *)AO_load_acquire(&put_off);
}

static OAKI_COLD void free_elsewhere(void *p)
{
    int saved = errno;
    if (oaki_side_has(p)) oaki_side_free(p);
    else if (!oaki_others_free(p) && AO_load(&oaki_started))
        bad_free(p, "is not memory from malloc");
    errno = saved;
}

/* free jumps here with each block that it can't push. A thread that only frees has a cache, too. */
static OAKI_NOINLINE void free_slow(void *p)
{
    if (!p) return;
    if (OAKI_UNLIKELY(!oaki_heap_contains(p))) {
        free_elsewhere(p);
        return;
    }
    int saved = errno;
    size_t off = oaki_heap_offset(p);
    if (OAKI_UNLIKELY(!oaki_can_enter())) put_off_free(p);
    else {
        if (OAKI_UNLIKELY(oaki_wanted.caches && !oaki_my.no_cache)) oaki_cache_make();
        if (!oaki_cache_put_slow(p, off)) oaki_free_here(oaki_tls_thread, p, off);
    }
    errno = saved;
}

OAKI_CACHE_USER OAKI_EXPORT void free(void *p)
{
    const oaki_thread *t = oaki_tls_thread;
    size_t off = oaki_heap_offset(p);
    if (OAKI_UNLIKELY(!t || t->in_runtime != 0 || off >= AO_load(&oaki_the_heap.used) ||
                      !oaki_cache_put(p, off)))
        free_slow(p);
}

OAKI_LIBC_NAME(free);

/* ---- resizing ---- */

static bool is_ours(const void *p)
{
    return oaki_heap_contains(p) || oaki_side_has(p);
}

/* The size of a block in bytes. SIZE_MAX if p is no block, and the guard goes on. */
static size_t size_of(const void *p, const char *what)
{
    const char *why = "is not the beginning of a block: was it freed?";
    size_t asked, off = oaki_heap_offset(p);
    if (oaki_side_has(p)) return oaki_side_size(p);
    if (!oaki_heap_contains(p)) why = "is not memory from malloc";
    else if (oaki_slot_offset(off) == off && oaki_bit_get(oaki_the_heap.alloc, off))
        return oaki_guard_size(p, &asked) ? asked : oaki_object_size(off);
    if (!oaki_guard_wild(p, what, why)) oak_fatal("oakum: %s: %p %s", what, p, why);
    return SIZE_MAX;
}

OAKI_EXPORT size_t malloc_usable_size(void *p)
{
    size_t n;
    if (p && OAKI_UNLIKELY(!is_ours(p)) && oaki_others_size(p, &n)) return n;
    n = p ? size_of(p, "malloc_usable_size") : 0;
    return n == SIZE_MAX ? 0 : n;
}

/* Whether realloc may leave a block in place: it is large enough, and not much too large. A large
 * block that is much too large gives its last pages back. */
static bool fits(void *p, size_t have, size_t n)
{
    if (n > have || oaki_side_has(p)) return n <= have;
    if (OAKI_UNLIKELY(oaki_guard.on)) return false; /* move, to find uses of the old address */
    if (n >= have / 2 || have <= 2 * OAKI_GRANULE) return true;
    if (have <= OAKI_SMALL_MAX || n <= OAKI_SMALL_MAX || !oaki_can_enter()) return false;
    if (oaki_large_is_read(oaki_span_of_offset(oaki_heap_offset(p)))) return false;
    oaki_large_give_back(p, 0, n);
    return true;
}

/* Allocate a block for realloc. A large block gets extra room: it will probably grow again, and
 * untouched pages cost nothing. When references are looked for, the block is cleared, so that no
 * stale word in the room counts as one. */
static void *moved(size_t have, size_t n, const void *caller)
{
    bool grows = !oaki_guard.on && n > have && have > OAKI_SMALL_MAX && n < PTRDIFF_MAX / 2;
    bool looks = oaki_wanted.leaks || oaki_wanted.collect;
    void *q = !grows ? NULL : looks ? calloc(1, n + ROOM(n)) : malloc(n + ROOM(n));
    if (!q) return malloc(n);
    oaki_note_again(q, n, caller);
    return q;
}

OAKI_EXPORT void *realloc(void *p, size_t n)
{
    if (!p) return malloc(n);
    if (n == 0) {
        free(p);
        return NULL;
    }
    const void *caller = __builtin_return_address(0);
    void *other;
    if (OAKI_UNLIKELY(!is_ours(p)) && oaki_others_realloc(p, n, &other)) return other;
    if (OAKI_UNLIKELY(oaki_guard.on) && oaki_guard_examine(p, SIZE_MAX, "realloc"))
        return errno = EINVAL, NULL;
    size_t have = size_of(p, "realloc");
    if (OAKI_UNLIKELY(have == SIZE_MAX)) return errno = EINVAL, NULL;
    int saved = errno;
    void *q = n <= PTRDIFF_MAX && fits(p, have, n) ? p : moved(have, n, caller);
    if (!q && n > have) return NULL;
    if (!q) q = p; /* without memory, shrinking in place still works */
    if (q == p) {
        oaki_note_again(p, n, caller);
    } else {
        memcpy(q, p, OAKI_MIN(have, n));
        free(p);
    }
    errno = saved;
    return q;
}

OAKI_LIBC_NAME(realloc);

OAKI_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t n;
    if (!__builtin_mul_overflow(count, size, &n)) return realloc(p, n);
    errno = ENOMEM;
    return NULL;
}

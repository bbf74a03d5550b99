/* free.c - frees objects by hand, resizes them, and answers queries about them.
 *
 * A freed slot is clear in A at once, so a second free is noticed. During a concurrent mark large
 * objects, and those with a mark function, wait instead (gc/refs/deferred_free.c). A slot is handed
 * out again when its span is taken the next time. A full span is offered again when an eighth of it
 * has been freed.
 *
 * Owns: nothing. Lock: none; the caller holds the object, and each bit of A is changed by an atomic
 *   operation. Invariant: nalloc and nfreed of a span change inside oaki_enter. */
#include "collector.h"
#include "guard.h"
#include "heap.h"
#include "phase.h"
#include "plain.h"
#include "track.h"
#include "type.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

#define POISON 0xdb
#define BATCH 16 /* guarded objects freed for good at a time */

static const char inside[] = "points into an object";

/* Why no object begins at p; NULL: one does. */
static const char *why_bad(const void *p)
{
    if (!oaki_heap_contains(p)) return "is not a pointer into Oakum's heap";
    size_t off = oaki_heap_offset(p), slot = oaki_slot_offset(off);
    if (slot == SIZE_MAX) return "points to free memory";
    const oaki_span *s = oaki_span_of_offset(off);
    if (oaki_zone_is_gone(s->zone)) return "lies in a zone that was discarded";
    bool unused = s->list == OAKI_LIST_CACHED && oaki_zones_hold_back(s, p);
    if (unused || !oaki_object_base(p))
        return slot == off ? "is not in a live object: was it freed already?"
                           : "is not in a live object";
    return slot == off ? NULL : inside;
}

/* The span of the object that should begin at p. Fatal if none does. */
static oaki_span *object_at(const void *p, const char *what)
{
    const char *why = why_bad(p);
    size_t off = oaki_heap_offset(p);
    if (OAKI_LIKELY(!why)) return oaki_span_of_offset(off);
    if (why != inside) oak_fatal("oakum: %s: %p %s", what, p, why);
    size_t slot = oaki_slot_offset(off);
    oak_fatal("oakum: %s: %p %s, %zu bytes past its start %p", what, p, why, off - slot,
              (void *)(oaki_the_heap.base + slot));
}

/* The guard is on: is p no object? That is reported, and the call must do nothing. */
static bool is_bad(const void *p, const char *what)
{
    if (oaki_guard_examine(p, SIZE_MAX, what)) return true;
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    const char *why = oaki_plain_span(p) ? NULL : why_bad(p);
    oaki_leave(t);
    return why && oaki_guard_wild(p, what, why);
}

static void count_free(const oaki_span *s, size_t bytes)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_count_add(&h->frees[s->cls], 1);
    if (OAKI_UNLIKELY(s->zone != 0)) oaki_zone_count_frees(s->zone, 1, bytes);
    oaki_count_sub_most(&h->live, bytes);
}

static size_t large_bytes(const oaki_span *s)
{
    return s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT);
}

/* Does a mark in progress read more of the object than its words? */
static bool is_looked_at(const oaki_span *s, const void *p)
{
    if (s->cls == OAKI_CLASS_LARGE) return true;
    const oak_type *t =
        s->kind == OAKI_TYPED ? oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(p))) : NULL;
    return t && t->mark;
}

static bool keep_freed(const oaki_span *s, void *p)
{
    const oaki_heap *h = &oaki_the_heap;
    if (OAKI_LIKELY(!oaki_is_marking() && AO_load(&h->ndeferred) == 0)) return false;
    if (!is_looked_at(s, p) || !oaki_gc_defer_free(p)) return false;
    if (oaki_debug_switches.verify) oaki_gc_note_freed(oaki_heap_offset(p), s->size);
    return true; /* the sweep frees it */
}

static void free_large(oaki_span *s)
{
    size_t bytes = large_bytes(s);
    OAKI_ASSERT(oaki_bit_get(oaki_the_heap.alloc, oaki_span_slot(s)));
    if (oaki_debug_switches.verify) oaki_gc_note_freed(oaki_span_slot(s), s->size);
    oaki_central_remove(s);
    count_free(s, bytes);
    oaki_count_add(&oaki_the_heap.large_free_bytes, bytes);
    oaki_pages_free(s);
}

static void free_small(oaki_span *s, void *p)
{
    const oaki_class *c = &oaki_classes[s->cls];
    OAKI_ASSERT(oaki_slot_offset(oaki_heap_offset(p)) == oaki_heap_offset(p));
    OAKI_ASSERT(oaki_bit_get(oaki_the_heap.alloc, oaki_heap_offset(p))); /* freed once */
    OAKI_ASSERT(s->swept == (uint32_t)AO_load(&oaki_the_heap.cycle));
    size_t bytes = c->size - (s->guarded ? OAKI_GUARD_GAP : 0); /* the gap is the next slot's too */
    if (oaki_debug_switches.poison) memset(p, POISON, bytes);
    if (oaki_debug_switches.verify) oaki_gc_note_freed(oaki_heap_offset(p), c->size);
    oaki_track_free(p, bytes);
    oaki_bits_clear(oaki_the_heap.alloc, oaki_heap_offset(p), c->size);
    AO_int_fetch_and_add(&s->nalloc, -1u);
    unsigned freed = AO_int_fetch_and_add(&s->nfreed, 1) + 1;
    count_free(s, c->size);
    if (s->list == OAKI_LIST_FULL && freed * 8 >= c->nslots) oaki_central_freed(s);
}

/* Was a large object freed? */
static bool free_swept(oaki_span *s, void *p)
{
    OAKI_REQUIRES_INSIDE();
    oaki_central_ensure_swept(s);
    bool large = s->cls == OAKI_CLASS_LARGE;
    if (keep_freed(s, p)) return false;
    if (large) free_large(s);
    else free_small(s, p);
    return large;
}

bool oaki_free_waiting(size_t stay)
{
    OAKI_REQUIRES_INSIDE();
    void *gone[BATCH];
    bool any = false;
    for (size_t n = 1; n > 0; any |= n > 0) {
        oaki_guard_leave_begin();
        n = oaki_guard_leave(stay, gone, BATCH);
        for (size_t i = 0; i < n; i++)
            (void)free_swept(oaki_span_of_offset(oaki_heap_offset(gone[i])), gone[i]);
        oaki_guard_leave_end();
    }
    return any;
}

/* Puts the object into the queue of freed objects, from which others then leave. One with a mark
 * function can't wait there: objects that it refers to would be gone. */
static void free_guarded(oaki_thread *t, oaki_span *s, void *p)
{
    oaki_leave(t);
    uint32_t site = oaki_guard.site();
    t = oaki_enter();
    const oak_type *type =
        s->kind == OAKI_TYPED ? oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(p))) : NULL;
    if (!oaki_guard_freed(p, type && type->mark, site)) (void)free_swept(s, p);
    (void)oaki_free_waiting(OAKI_GUARD_QUEUE);
    oaki_leave(t);
    oaki_guard_report();
}

void oak_free(void *p)
{
    if (!p) return;
    oaki_thread *t = oaki_enter();
    if (!t) return; /* without memory to attach the thread: the collector frees it */
    oaki_span *s = oaki_plain_span(p);
    if (OAKI_LIKELY(s != NULL)) {
        if (OAKI_LIKELY(!keep_freed(s, p))) free_small(s, p);
        oaki_leave(t);
        return;
    }
    if (OAKI_UNLIKELY(oaki_guard.on)) {
        oaki_leave(t);
        if (is_bad(p, "free")) return;
        t = oaki_enter();
    }
    s = object_at(p, "oak_free");
    oaki_gc_object_freed(p);
    if (OAKI_UNLIKELY(AO_char_load(&s->sampled) != 0)) oaki_the_heap.sampler.on.freed(p);
    if (OAKI_UNLIKELY(s->guarded)) {
        free_guarded(t, s, p);
        return;
    }
    bool large = free_swept(s, p);
    oaki_leave(t);
    if (large) {
        oaki_scavenger_spawn();
        oaki_ahead_spawn();
    }
}

void oaki_free_deferred(void *p)
{
    OAKI_REQUIRES_INSIDE();
    oaki_span *s = oaki_span_of_offset(oaki_heap_offset(p));
    oaki_central_ensure_swept(s);
    if (s->cls == OAKI_CLASS_LARGE) free_large(s);
    else free_small(s, p);
}

size_t oak_usable_size(const void *p)
{
    size_t asked;
    void *base = oaki_object_base(p);
    if (OAKI_UNLIKELY(oaki_guard.on) && oaki_guard_size(base, &asked)) return asked;
    return base ? oaki_object_size(oaki_heap_offset(base)) : 0;
}

void *oak_base(const void *p)
{
    return oaki_object_base(p);
}

/* ---- realloc ---- */

/* Resizes in the slot; n is at most its size. The part cut off is cleared, so that it is zero if
 * the object grows again. */
static void cut(oaki_span *s, char *p, size_t n)
{
    OAKI_ASSERT(n <= s->size);
    if (s->cls == OAKI_CLASS_LARGE && (n + OAKI_PAGE - 1) >> OAKI_PAGE_SHIFT < s->npages) {
        if (oaki_debug_switches.verify) oaki_gc_note_freed(oaki_span_slot(s), s->size);
        oaki_large_give_back(p, (size_t)s->cursor << OAKI_PAGE_SHIFT, n);
    }
    memset(p + n, 0, s->size - n);
}

/* Is the object to stay where it is, as its slot isn't more than twice too large? The tail of a
 * large one isn't freed while a mark reads it. */
static bool is_to_stay(const oaki_span *s, size_t n)
{
    if (n > s->size) return false;
    if (s->cls != OAKI_CLASS_LARGE) return n >= s->size / 2 || s->size <= 2 * OAKI_GRANULE;
    return n > OAKI_SMALL_MAX && (n >= s->size / 2 || !oaki_large_is_read(s));
}

/* NULL with ENOMEM: the thread can't be attached. */
static oaki_span *checked_object(void *p, const char *what)
{
    oaki_thread *t = oaki_enter();
    if (!t) return errno = ENOMEM, NULL;
    oaki_span *s = oaki_plain_span(p);
    if (OAKI_UNLIKELY(!s)) s = object_at(p, what);
    oaki_leave(t);
    return s;
}

void *oak_realloc(void *p, size_t n)
{
    if (!p) return oak_alloc(n);
    if (n == 0) {
        oak_free(p);
        return NULL;
    }
    if (OAKI_UNLIKELY(oaki_guard.on) && is_bad(p, "oak_realloc"))
        return errno = EINVAL, NULL;
    oaki_span *s = checked_object(p, "oak_realloc");
    if (OAKI_UNLIKELY(!s)) return NULL;
    size_t have = s->size;
    if (OAKI_UNLIKELY(s->guarded)) (void)oaki_guard_size(p, &have);
    else if (is_to_stay(s, n)) return cut(s, p, n), p;
    uint32_t type = s->kind == OAKI_TYPED ? oaki_type_id_at(oaki_heap_offset(p)) : 0;
    int saved = errno;
    void *q = OAKI_IN_ZONE_OF(p, oaki_alloc_kind(n, 1, (oaki_kind)s->kind, type));
    if (!q && (s->guarded || n > s->size || n <= OAKI_SMALL_MAX)) return NULL;
    if (!q) { /* without a mark it would have been resized in place */
        cut(s, p, n);
        errno = saved;
        return p;
    }
    memcpy(q, p, OAKI_MIN(n, have));
    oak_free(p);
    return q;
}

bool oak_try_resize(void *p, size_t n)
{
    size_t asked;
    if (!p || (OAKI_UNLIKELY(oaki_guard.on) && is_bad(p, "oak_try_resize")))
        return false;
    oaki_span *s = checked_object(p, "oak_try_resize");
    if (OAKI_UNLIKELY(!s)) return false;
    if (OAKI_UNLIKELY(s->guarded)) return oaki_guard_size(p, &asked) && n == asked;
    if (n > s->size) return false;
    cut(s, p, n);
    return true;
}

/* push.c - words on their way into a marker's queue: from stacks, from other parts of the
 * collector, and from mark functions.
 *
 * Where displacements are limited (host.h), a word in the queue counts only at an allowed one.
 * So a word that counts at any displacement is first replaced by its object's start.
 *
 * Owns nothing. Lock: as the marker that is given. Bound: O(1) a word. */
#include "gc/contract.h"
#include "reading.h"
#include "runtime/collector.h"
#include "runtime/track.h"
#include "trace.h"

OAKI_INLINE void push_any(oak_marker *m, uintptr_t word)
{
    if (OAKI_UNLIKELY(oaki_gc.host.displacements.strict)) {
        size_t off = word - m->base, slot = off < m->used ? oaki_slot_offset(off) : SIZE_MAX;
        if (slot == SIZE_MAX) return;
        word = m->base + slot;
    }
    oaki_mark_push(m, word);
}

void oaki_mark_ambiguous(oak_marker *m, uintptr_t word)
{
    OAKI_REQUIRES_WORKER(m);
    push_any(m, word);
    push_any(m, word - 1);
}

OAKI_NO_ASAN void oaki_mark_tags_ambiguous(oak_marker *m, const void *lo, const void *hi)
{
    size_t to[OAKI_WORD_REFS];
    const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof *p);
    for (; (const char *)(p + 1) <= (const char *)hi; p++)
        for (unsigned n = oaki_word_tagged(*p, m->used, to); n > 0; n--)
            push_any(m, m->base + to[n - 1]);
}

OAKI_NO_ASAN void oaki_mark_range_ambiguous(oak_marker *m, const void *lo, const void *hi)
{
    OAKI_REQUIRES_WORKER(m);
    const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof *p);
    for (; (const char *)(p + 1) <= (const char *)hi; p++) oaki_mark_ambiguous(m, *p);
    if (oaki_tags.n > 0) oaki_mark_tags_ambiguous(m, lo, hi);
}

void oaki_mark_push_tagged(oak_marker *m, uintptr_t word)
{
    size_t to[OAKI_WORD_REFS];
    for (unsigned n = oaki_word_tagged(word, m->used, to); n > 0; n--)
        oaki_mark_push(m, m->base + to[n - 1]);
}

void oaki_mark_pointer(const void *p)
{
    OAKI_REQUIRES_WORKER_ZERO();
    push_any(oaki_worker(0), (uintptr_t)p);
    if (oaki_tags.n > 0) oaki_mark_tags_ambiguous(oaki_worker(0), &p, &p + 1);
}

/* ---- for mark functions ---- */

void oak_mark_ptr(oak_marker *m, const void *p)
{
    if (OAKI_UNLIKELY(!m)) return;
    OAKI_REQUIRES_WORKER(m);
    push_any(m, (uintptr_t)p);
}

void oaki_mark_displaced(oak_marker *m, const void *p)
{
    OAKI_REQUIRES_WORKER(m);
    oaki_mark_push(m, (uintptr_t)p);
}

void oaki_mark_value(oak_marker *m, uintptr_t word)
{
    OAKI_REQUIRES_WORKER(m);
    oaki_mark_push(m, word);
    if (oaki_tags.n > 0) oaki_mark_push_tagged(m, word);
}

void oak_mark_range(oak_marker *m, const void *p, size_t n)
{
    if (m && p) oaki_trace_range(m, p, (const char *)p + n);
}

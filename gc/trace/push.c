/* push.c - words on their way into a marker's queue: from stacks, from other parts of the
 * collector, and from mark functions.
 *
 * Where displacements are limited (host.h), a word in the queue counts only at an allowed one.
 * So a word that counts at any displacement is first replaced by its object's start.
 *
 * Owns nothing. Lock: as the marker that is given. Bound: O(1) a word. */
#include "gc/contract.h"
#include "runtime/collector.h"
#include "runtime/track.h"
#include "trace.h"

OAKI_INLINE void push_any(oak_marker *m, uintptr_t word)
{
    if (OAKI_UNLIKELY(oaki_displacements.strict)) {
        size_t off = word - m->base, slot = off < m->used ? oaki_slot_offset(off) : SIZE_MAX;
        if (slot == SIZE_MAX) return;
        word = m->base + slot;
    }
    oaki_mark_push(m, word);
}

void oaki_mark_ambiguous(oak_marker *m, uintptr_t word)
{
    push_any(m, word);
    push_any(m, word - 1);
}

OAKI_NO_ASAN void oaki_mark_range_ambiguous(oak_marker *m, const void *lo, const void *hi)
{
    OAKI_REQUIRES_WORKER(m);
    const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof *p);
    for (; (const char *)(p + 1) <= (const char *)hi; p++) oaki_mark_ambiguous(m, *p);
}

void oaki_mark_pointer(const void *p)
{
    OAKI_REQUIRES_WORKER_ZERO();
    push_any(oaki_worker(0), (uintptr_t)p);
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

void oak_mark_range(oak_marker *m, const void *p, size_t n)
{
    if (m && p) oaki_trace_range(m, p, (const char *)p + n);
}

/* depth.c - marking depth first, for small objects that lie in memory in the order in which they
 * refer to each other.
 *
 * Owns: nothing between two calls. When bits are shared, the loop holds copies of a page's words
 * of M while it stays on the page. A marker that works alone sets bits in place.
 * Lock: as the loop in trace.c, which calls it.
 * Bound: OAKI_TUNE_DEPTH_WINDOW words a call, plus the lists followed (trace_list). */
#include "gc/contract.h"
#include "hot.h"
#include "runtime/track.h"

/* When bits are shared: copies of a page's words of M, held while the loop stays on the page. So
 * a mark needs no atomic instruction. Until the copies are put back, other workers may mark the
 * same objects. That is harmless, and counts as out of order, so that two workers don't stay on
 * the same path for long. Only newly set bits are put back: mutators may allocate on the page
 * meanwhile, which clears bits. */
typedef struct held {
    size_t page;    /* SIZE_MAX: none */
    unsigned dirty; /* a bit for each word that differs from its original */
    uint64_t bits[OAKI_PAGE_WORDS], was[OAKI_PAGE_WORDS];
} held;

static uint64_t *held_word(const oaki_hot *h, size_t page, size_t i)
{
    size_t off = (page << OAKI_PAGE_SHIFT) + i % 2 * OAKI_PLANE_WORD + i / 2 * OAKI_GRANULE;
    return oaki_mark_word(h->plane, off);
}

static OAKI_NOINLINE void take_out(const oaki_hot *h, held *b, size_t page)
{
    OAKI_ASSERT(b->page == SIZE_MAX && b->dirty == 0); /* the last one was put back */
    b->page = page;
    for (size_t i = 0; i < OAKI_PAGE_WORDS; i++) b->bits[i] = b->was[i] = *held_word(h, page, i);
}

/* Returns the number of new marks: other threads have set the rest meanwhile. */
static OAKI_NOINLINE unsigned put_back(const oaki_hot *h, held *b)
{
    unsigned fresh = 0;
    if (b->page == SIZE_MAX) return 0;
    for (; b->dirty; b->dirty &= b->dirty - 1) {
        int i = __builtin_ctz(b->dirty);
        AO_t *word = (AO_t *)held_word(h, b->page, (size_t)i), old = AO_load(word), more;
        while ((more = b->bits[i] & ~b->was[i] & ~old) != 0) {
            if (AO_compare_and_swap_full(word, old, old | more)) break;
            old = AO_load(word);
        }
        if (more) fresh += oaki_popcount(more);
    }
    b->page = SIZE_MAX;
    return fresh;
}

OAKI_INLINE void count_marked(oaki_hot *h, held *b, bool shared, size_t size, unsigned *marked,
                        unsigned *stray)
{
    unsigned fresh = shared ? put_back(h, b) : *marked;
    h->bytes += fresh * size;
    *stray += *marked - fresh;
    *marked = 0;
}

OAKI_INLINE void hold(const oaki_hot *h, held *b, bool shared, size_t page)
{
    if (shared) take_out(h, b, page);
    else b->page = page;
}

/* Sets the mark of the object at this slot. false: it is set already. */
OAKI_INLINE bool held_set(const oaki_hot *h, held *b, bool shared, size_t slot)
{
    size_t i = slot / OAKI_GRANULE % OAKI_PLANES * 2 + slot / OAKI_PLANE_WORD % 2;
    uint64_t bit = (uint64_t)1 << oaki_mark_shift(slot);
    uint64_t *word = shared ? &b->bits[i] : oaki_mark_word(h->plane, slot);
    if (*word & bit) return false;
    *word |= bit;
    if (shared) b->dirty |= 1u << i;
    return true;
}

typedef struct chased {
    unsigned tail, n; /* of the queue; objects marked */
} chased;

/* The newest word of the queue is an object's only reference, as in a list. Follows it at once,
 * and the words after it, while they lead to unmarked objects on the page that is held. The last
 * word, which leads elsewhere, stays in the queue. */
OAKI_NO_ASAN OAKI_INLINE chased trace_list(oaki_hot *h, held *b, size_t size, unsigned tail,
                                           bool shared, const oaki_reader r)
{
    const bool strict = oaki_reads_strictly(r.how);
    const uintptr_t base = h->base;
    const size_t used = h->used, mask = ~(size - 1);
    size_t off = h->queue[--tail];
    unsigned n = 0;
    while (n < OAKI_TUNE_DEPTH_WINDOW && off >> OAKI_PAGE_SHIFT == b->page) {
        size_t slot = off & mask;
        if ((strict && !oaki_is_allowed(off - slot)) || !held_set(h, b, shared, slot)) break;
        n++;
        const uintptr_t *p = (const uintptr_t *)(base + slot), *end = p + size / sizeof *p;
        /* the common case, without a trip of the next word through memory */
        if (r.how <= OAKI_READ_STRICT && end - p == 2 && p[0] - base >= used &&
            p[1] - base < used) {
            off = p[1] - base;
            continue;
        }
        unsigned from = tail;
        for (; p < end; p++) tail = oaki_hot_append(h->queue, tail, base, used, *p, r);
        if (tail - from != 1) return (chased){ tail, n };
        off = h->queue[--tail];
    }
    h->queue[tail++] = off;
    return (chased){ tail, n };
}

OAKI_NO_ASAN static OAKI_NOINLINE chased chase_alone(oaki_hot *h, held *b, size_t size,
                                                     unsigned tail, bool strict)
{
    return strict ? trace_list(h, b, size, tail, false, oaki_reader_load(OAKI_READ_STRICT)) :
                    trace_list(h, b, size, tail, false, oaki_reader_load(OAKI_READ_PLAIN));
}

OAKI_NO_ASAN static OAKI_NOINLINE chased chase_together(oaki_hot *h, held *b, size_t size,
                                                        unsigned tail, bool strict)
{
    return strict ? trace_list(h, b, size, tail, true, oaki_reader_load(OAKI_READ_STRICT)) :
                    trace_list(h, b, size, tail, true, oaki_reader_load(OAKI_READ_PLAIN));
}

OAKI_NO_ASAN static OAKI_NOINLINE chased chase_tagged(oaki_hot *h, held *b, size_t size,
                                                      unsigned tail, bool shared, oaki_reading how)
{
    switch (how) {
    case OAKI_READ_ADDED:
        return trace_list(h, b, size, tail, shared, oaki_reader_load(OAKI_READ_ADDED));
    case OAKI_READ_ROTATED:
        return trace_list(h, b, size, tail, shared, oaki_reader_load(OAKI_READ_ROTATED));
    case OAKI_READ_SHIFTED:
        return trace_list(h, b, size, tail, shared, oaki_reader_load(OAKI_READ_SHIFTED));
    case OAKI_READ_MASKED:
        return trace_list(h, b, size, tail, shared, oaki_reader_load(OAKI_READ_MASKED));
    default: return trace_list(h, b, size, tail, shared, oaki_reader_load(OAKI_READ_ANY));
    }
}

OAKI_NO_ASAN OAKI_INLINE chased chase(oaki_hot *h, held *b, size_t size, unsigned tail, bool shared,
                                      oaki_reading how)
{
    if (oaki_reads_tags(how)) return chase_tagged(h, b, size, tail, shared, how);
    return shared ? chase_together(h, b, size, tail, how == OAKI_READ_STRICT) :
                    chase_alone(h, b, size, tail, how == OAKI_READ_STRICT);
}

OAKI_NO_ASAN OAKI_INLINE void deep(oaki_hot *h, oak_marker *m, bool shared, oaki_reading how)
{
    const oaki_reader r = oaki_reader_load(how);
    const bool strict = oaki_reads_strictly(how);
    const unsigned most = how == OAKI_READ_ANY ? OAKI_TUNE_DEPTH_FEW_ANY : OAKI_TUNE_DEPTH_FEW;
    const uintptr_t base = h->base;
    const size_t used = h->used;
    const unsigned window = m->soon ? OAKI_TUNE_DEPTH_SOON : OAKI_TUNE_DEPTH_WINDOW;
    size_t *const queue = h->queue;
    held b = { .page = SIZE_MAX, .dirty = 0 };
    size_t mask = 0, size = 0, few[2][OAKI_TUNE_DEPTH_FEW];
    unsigned done = 0, stray = 0, turn = 0, marked = 0;
    for (unsigned n = 0, next;; n = next) {
        oaki_hot_room(h, m, how);
        next = done < window && !m->heavy ? OAKI_MIN(h->tail - h->head, most) : 0;
        if (!(n | next)) break;
        unsigned tail = h->tail - next;
        for (unsigned k = 0; k < next; k++) {
            size_t off = few[turn][k] = queue[tail + k];
            __builtin_prefetch((const void *)(base + off));
        }
        turn ^= 1;
        done += n;
        for (unsigned k = 0; k < n; k++) {
            size_t off = few[turn][k], page = off >> OAKI_PAGE_SHIFT;
            if (OAKI_UNLIKELY(page != b.page)) {
                stray++;
                if (oaki_mark_in_large(m, off)) continue;
                const oaki_class_info *c = &oaki_class_infos[h->pte[page] & OAKI_PTE_SPANCLASS];
                count_marked(h, &b, shared, size, &marked, &stray);
                if (!c->mask) {
                    if (*oaki_mark_word(h->plane, off) >> oaki_mark_shift(off) & 1) continue;
                    if (OAKI_UNLIKELY(m->heavy)) { /* at most one of these per call */
                        queue[tail++] = off;
                        continue;
                    }
                    h->tail = tail;
                    oaki_hot_trace(h, m, off, shared, how);
                    tail = h->tail;
                    continue;
                }
                hold(h, &b, shared, page);
                mask = c->mask;
                size = c->size;
            }
            size_t slot = off & mask;
            if (strict && !oaki_is_allowed(off - slot)) continue;
            if (OAKI_UNLIKELY(!held_set(h, &b, shared, slot))) {
                stray++;
                continue;
            }
            marked++;
            const uintptr_t *p = (const uintptr_t *)(base + slot);
            unsigned from = tail;
            for (const uintptr_t *end = p + size / sizeof *p; p < end; p += 2) {
                tail = oaki_hot_append(queue, tail, base, used, p[0], r);
                tail = oaki_hot_append(queue, tail, base, used, p[1], r);
            }
            if (OAKI_LIKELY(tail - from != 1)) continue;
            chased c = chase(h, &b, size, tail, shared, how);
            tail = c.tail;
            done += c.n;
            marked += c.n;
        }
        h->tail = tail;
        OAKI_ASSERT(h->head <= h->tail && h->tail <= OAKI_QUEUE);
    }
    count_marked(h, &b, shared, size, &marked, &stray);
    m->scanned += done;
    m->looked += done;
    m->stray += stray;
}

/* A loop by each form of a tag, alone and together. */
#define DEFINE(name, how)                                                                          \
    OAKI_NO_ASAN static OAKI_NOINLINE void deep_##name(oaki_hot *h, oak_marker *m, bool shared)    \
    {                                                                                              \
        if (shared)                                                                                \
            deep(h, m, true, OAKI_READ_##how);                                                     \
        else                                                                                       \
            deep(h, m, false, OAKI_READ_##how);                                                    \
    }
OAKI_TAGGED_READINGS(DEFINE)
#undef DEFINE

#ifdef __x86_64__
/* A shift by a number in a register is one operation with BMI2, and three without. */
__attribute__((target("bmi2")))
OAKI_NO_ASAN static OAKI_NOINLINE void deep_shifted_bmi2(oaki_hot *h, oak_marker *m, bool shared)
{
    if (shared)
        deep(h, m, true, OAKI_READ_SHIFTED);
    else
        deep(h, m, false, OAKI_READ_SHIFTED);
}
#endif

static OAKI_NOINLINE void deep_tagged(oaki_hot *h, oak_marker *m, bool shared, oaki_reading how)
{
#ifdef __x86_64__
    if (how == OAKI_READ_SHIFTED && __builtin_cpu_supports("bmi2"))
        return deep_shifted_bmi2(h, m, shared);
#endif
#define CASE(name, form) \
    case OAKI_READ_##form: deep_##name(h, m, shared); break;
    switch (how) {
        OAKI_TAGGED_READINGS(CASE)
    default: break;
    }
#undef CASE
}

OAKI_NO_ASAN void oaki_trace_depth_first(oaki_hot *h, oak_marker *m, bool shared, oaki_reading how)
{
    if (oaki_reads_tags(how))
        deep_tagged(h, m, shared, how);
    else if (how == OAKI_READ_STRICT && shared)
        deep(h, m, true, OAKI_READ_STRICT);
    else if (how == OAKI_READ_STRICT)
        deep(h, m, false, OAKI_READ_STRICT);
    else if (shared)
        deep(h, m, true, OAKI_READ_PLAIN);
    else
        deep(h, m, false, OAKI_READ_PLAIN);
}

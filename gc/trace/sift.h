/* sift.h - picks the few words that lead to unmarked objects out of many that do not.
 *
 * Has no branch on where a word leads. Owns nothing; only the thread that owns the marker uses
 * it. Bound: linear in the words. */
#ifndef OAKI_SIFT_H
#define OAKI_SIFT_H

#include "hot.h"
#include "runtime/track.h"

#define OAKI_SIFT 64 /* references at a time, */

/* and words: so many that all may be references, by each tag */
OAKI_INLINE size_t oaki_sift_words(oaki_reading how)
{
    return how == OAKI_READ_ANY ? OAKI_SIFT / (1 + oaki_tags.n) : OAKI_SIFT;
}

/* The words that lead into the heap, as offsets. There is no branch on a single word. But sparse
 * tables have rows of zeros, so four zero words are skipped at once. */
OAKI_NO_ASAN OAKI_INLINE size_t oaki_sift_inside(const oak_marker *m, const uintptr_t *p,
                                                 const uintptr_t *end, size_t *out,
                                                 const oaki_reader r)
{
    const uintptr_t base = m->base;
    const size_t used = m->used;
    size_t n = 0;
    for (; end - p >= 4; p += 4) {
        if (!(p[0] | p[1] | p[2] | p[3])) continue;
        for (unsigned i = 0; i < 4; i++) {
            if (oaki_reads_tags(r.how)) {
                n = oaki_hot_append(out, (unsigned)n, base, used, p[i], r);
                continue;
            }
            out[n] = p[i] - base;
            n += out[n] < used;
        }
    }
    for (; p < end; p++) n = oaki_hot_append(out, (unsigned)n, base, used, *p, r);
    return n;
}

/* Of [p, end), at most oaki_sift_words, picks those that lead to unmarked objects, or into a
 * large object other than the last one met. Returns their number; `out` has room for all. The
 * loads of mark bits are independent: none waits for another. */
OAKI_NO_ASAN OAKI_INLINE size_t oaki_sift(oak_marker *m, const uintptr_t *p, const uintptr_t *end,
                                          size_t *out, const oaki_reader r)
{
    uint64_t *const *plane = oaki_the_heap.mark;
    const size_t large = m->large, large_size = m->large_size;
    size_t in = oaki_sift_inside(m, p, end, out, r), n = 0;
    for (size_t i = 0; i < in; i++) {
        size_t off = out[n] = out[i];
        n += ~(*oaki_mark_word(plane, off) >> oaki_mark_shift(off)) & (off - large >= large_size);
    }
    m->scanned += in;
    return n;
}

#endif

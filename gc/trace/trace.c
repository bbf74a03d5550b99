/* trace.c - marking: from a word to an object, from an object to its words.
 *
 * Owns: nothing; sets bits of M. Invariant: an object whose bit this worker has set is in its delay
 * line, is its range, or has been scanned by it. Otherwise it is in the shared ranges (a long one),
 * waits for a stage that is paused (one with a mark function), or the overflow is noted. Workers
 * that race for an object may each scan it, which is harmless.
 * Bound: each object is scanned once, and once more by each worker that raced for it. */
#include "gc/contract.h"
#include "hot.h"
#include "sift.h"

#define WORDS_MASK ((1 << OAKI_LINE_WORDS_BITS) - 1)

oaki_class_info oaki_class_infos[OAKI_PTE_SPANCLASS + 1];

bool oaki_mark_counts_strictly(size_t off)
{
    size_t slot = oaki_slot_offset(off);
    return slot != SIZE_MAX && oaki_is_allowed(off - slot);
}

OAKI_AT_START void oaki_mark_init(void)
{
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
        const oaki_class *c = &oaki_classes[sc % OAKI_CLASSES];
        unsigned kind = sc / OAKI_CLASSES;
        oaki_class_info *i = &oaki_class_infos[sc];
        *i = (oaki_class_info){ .size = c->size, .magic = c->magic, .nslots = c->nslots };
        if (kind == OAKI_NOSCAN)
            i->words = 0;
        else if (kind == OAKI_TYPED || c->size / 8 > OAKI_TUNE_INLINE_WORDS)
            i->words = OAKI_SPECIAL;
        else
            i->words = c->size / 8;
        if (i->words - 1 < OAKI_TUNE_DEPTH_WORDS && (c->size & (c->size - 1)) == 0)
            i->mask = ~(size_t)(c->size - 1);
    }
    oaki_reading_update();
}

/* ---- words ---- */

OAKI_INLINE bool set_mark(uint64_t *const plane[OAKI_PLANES], size_t slot, bool shared)
{
    uint64_t *word = oaki_mark_word(plane, slot), bit = (uint64_t)1 << oaki_mark_shift(slot);
    if (*word & bit) return false;
    if (shared)
        AO_or((AO_t *)word, bit);
    else
        *word |= bit;
    return true;
}

/* Of a large object, without the head that was given back. */
static size_t large_bytes(size_t slot)
{
    const oaki_span *s = &oaki_the_heap.spans[slot >> OAKI_PAGE_SHIFT];
    return s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT);
}

bool oaki_mark_alone(oak_marker *m, size_t slot)
{
    OAKI_ASSERT(oaki_slot_offset(slot) == slot);
    if (!set_mark(oaki_the_heap.mark, slot, true)) return false;
    unsigned cls = oaki_the_heap.pte[slot >> OAKI_PAGE_SHIFT] & OAKI_PTE_CLASS;
    m->bytes += cls == OAKI_CLASS_LARGE ? large_bytes(slot) : oaki_classes[cls].size;
    return true;
}

/* Makes room for n entries on the stack. false: there is no memory. A word that can't be pushed
 * is marked and not scanned (oaki_overflow_mark), or stays marked, so that the overflow rescan
 * finds it. */
static bool has_room(oaki_hot *h, oak_marker *m, size_t n)
{
    if (OAKI_LIKELY((size_t)(h->hi - h->sp) >= n)) return true;
    if (m->top) m->top->n = (size_t)(h->sp - h->lo);
    oaki_worklist_donate(m);
    oaki_hot_load_stack(h, m);
    return (size_t)(h->hi - h->sp) >= n;
}

void oaki_hot_spill(oaki_hot *h, oak_marker *m)
{
    OAKI_ASSERT(h->head <= h->tail && h->tail <= OAKI_QUEUE);
    while (h->tail - h->head > OAKI_TUNE_QUEUE_HIGH) {
        bool room = has_room(h, m, OAKI_TUNE_MOVED);
        h->tail -= OAKI_TUNE_MOVED;
        for (unsigned i = 0; i < OAKI_TUNE_MOVED; i++) {
            size_t off = h->queue[h->tail + i];
            if (room)
                *h->sp++ = off;
            else
                oaki_overflow_mark(m, off);
        }
    }
}

OAKI_NO_ASAN OAKI_INLINE void put_words(oak_marker *m, const char *lo, const char *hi,
                                        oaki_reading how)
{
    oaki_hot h = oaki_hot_load(m);
    const oaki_reader r = oaki_reader_load(how);
    const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof *p);
    const uintptr_t *end = (const uintptr_t *)OAKI_ALIGN_DOWN((uintptr_t)hi, sizeof *p);
    while (p < end) {
        const uintptr_t *stop = end - p > OAKI_TUNE_INLINE_WORDS ? p + OAKI_TUNE_INLINE_WORDS : end;
        oaki_hot_room(&h, m, how);
        for (; p < stop; p++) oaki_hot_put(&h, *p, r);
    }
    oaki_hot_save(&h, m);
}

OAKI_NO_ASAN static OAKI_NOINLINE void put_words_tagged(oak_marker *m, const char *lo,
                                                        const char *hi)
{
    put_words(m, lo, hi, OAKI_READ_ANY); /* the one tag, too: there are few such words */
}

OAKI_NO_ASAN void oaki_trace_range(oak_marker *m, const char *lo, const char *hi)
{
    if (OAKI_UNLIKELY(oaki_tags.n > 0)) put_words_tagged(m, lo, hi);
    else put_words(m, lo, hi, OAKI_READ_PLAIN);
}

OAKI_NOINLINE void oaki_mark_push_slowly(oak_marker *m, uintptr_t word)
{
    oaki_hot h = oaki_hot_load(m);
    oaki_hot_room(&h, m, OAKI_READ_PLAIN);
    oaki_hot_put(&h, word, oaki_reader_load(OAKI_READ_PLAIN));
    oaki_hot_save(&h, m);
}

/* ---- the loop ---- */

static OAKI_NOINLINE void mark_special_plain(oaki_hot *h, oak_marker *m, size_t slot)
{
    oaki_hot_save(h, m);
    oaki_trace_object(m, (char *)h->base + slot);
    oaki_hot_reload(h, m);
}

static OAKI_NOINLINE void mark_special_tagged(oaki_hot *h, oak_marker *m, size_t slot)
{
    oaki_hot_save(h, m);
    oaki_trace_object_tagged(m, (char *)h->base + slot);
    oaki_hot_reload(h, m);
}

OAKI_INLINE void mark_special(oaki_hot *h, oak_marker *m, size_t slot, oaki_reading how)
{
    if (oaki_reads_tags(how)) mark_special_tagged(h, m, slot);
    else mark_special_plain(h, m, slot);
}

static OAKI_NOINLINE void mark_large(oaki_hot *h, oak_marker *m, size_t page, bool shared,
                                     oaki_reading how)
{
    size_t slot = oaki_span_slot(&oaki_the_heap.spans[oaki_page_first(page)]);
    OAKI_ASSERT(h->last - h->first < OAKI_LINE);
    if (!m->concurrent) {
        m->large = slot;
        m->large_size = oaki_the_heap.spans[slot >> OAKI_PAGE_SHIFT].size;
    }
    if (!set_mark(h->plane, slot, shared)) return;
    h->bytes += large_bytes(slot);
    mark_special(h, m, slot, how);
}

/* Of the queue's next n words, keeps those whose mark bit is clear: they lead to unmarked
 * objects, or into large ones. Most words of a graph lead to marked objects, in no order that a
 * branch predictor could learn. So there is no branch. */
OAKI_INLINE unsigned filter(oaki_hot *h, unsigned n, size_t *found)
{
    unsigned count = 0;
    const size_t *word = h->queue + h->head;
    for (unsigned k = 0; k < n; k++) {
        size_t off = word[k];
        found[count] = off;
        count += ~(*oaki_mark_word(h->plane, off) >> oaki_mark_shift(off)) & 1;
    }
    h->head += n;
    return count;
}

/* Marks the object that contains offset off, if there is one and it is unmarked, and puts it
 * into the delay line, prefetched. */
OAKI_INLINE void enter(oaki_hot *h, oak_marker *m, size_t off, bool shared, oaki_reading how)
{
    const bool strict = oaki_reads_strictly(how);
    size_t page = off >> OAKI_PAGE_SHIFT;
    oaki_pte e = h->pte[page];
    const oaki_class_info *c = &oaki_class_infos[e & OAKI_PTE_SPANCLASS];
    size_t first = (page - (e >> OAKI_PTE_OFFSET_SHIFT)) << OAKI_PAGE_SHIFT;
    size_t i = ((off - first) * c->magic) >> 32;
    /* large; otherwise not reached, as only objects have clear bits */
    if (OAKI_UNLIKELY(i >= c->nslots)) {
        if ((e & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE && (!strict || oaki_mark_counts_strictly(off)))
            mark_large(h, m, page, shared, how);
        return;
    }
    size_t slot = first + i * c->size, n = c->words;
    if (strict && !oaki_is_allowed(off - slot)) return;
    if (!set_mark(h->plane, slot, shared)) return;
    h->bytes += c->size;
    if (OAKI_UNLIKELY(n - 1 >= OAKI_TUNE_INLINE_WORDS)) { /* noscan, or special */
        if (n != OAKI_SPECIAL) return;
        oaki_trace_prefetch(slot);
        h->line[h->last++ % OAKI_LINE] = slot << OAKI_LINE_WORDS_BITS;
        return;
    }
    __builtin_prefetch((const void *)(h->base + slot));
    for (size_t at = 64; at < n * 8; at += 64)
        __builtin_prefetch((const void *)(h->base + slot + at));
    h->line[h->last++ % OAKI_LINE] = slot << OAKI_LINE_WORDS_BITS | n;
}

_Static_assert(OAKI_TUNE_BATCH + OAKI_TUNE_DELAY < OAKI_LINE, "a batch fits the delay line");

/* The hot state in registers: a store to the queue might change it, for all the compiler knows. */
OAKI_NO_ASAN OAKI_INLINE unsigned put_tagged(const oaki_hot *h, const uintptr_t *p,
                                             const uintptr_t *end, const oaki_reader r)
{
    size_t *const queue = h->queue;
    const uintptr_t base = h->base;
    const size_t used = h->used;
    unsigned tail = h->tail;
    for (; p < end; p += 2) {
        tail = oaki_hot_append(queue, tail, base, used, p[0], r);
        tail = oaki_hot_append(queue, tail, base, used, p[1], r);
    }
    return tail;
}

/* Scans the oldest objects of the delay line until `keep` are left, or until one took long: a
 * pause must not wait for more. */
OAKI_NO_ASAN OAKI_INLINE void leave(oaki_hot *h, oak_marker *m, unsigned keep, const oaki_reader r)
{
    while (h->last - h->first > keep) {
        uint64_t object = h->line[h->first++ % OAKI_LINE];
        if (OAKI_UNLIKELY((object & WORDS_MASK) == 0)) {
            mark_special(h, m, oaki_line_slot(object), r.how);
            if (m->heavy) return;
            continue;
        }
        const uintptr_t *p = (const uintptr_t *)(h->base + oaki_line_slot(object));
        oaki_hot_room(h, m, r.how);
        const uintptr_t *end = p + (object & WORDS_MASK);
        for (; !oaki_reads_tags(r.how) && p < end; p += 2) {
            oaki_hot_put(h, p[0], r);
            oaki_hot_put(h, p[1], r);
        }
        if (p < end) h->tail = put_tagged(h, p, end, r);
    }
}

_Static_assert(OAKI_HOT_ROOM >= OAKI_TUNE_INLINE_WORDS &&
                   OAKI_TUNE_QUEUE_HIGH + OAKI_HOT_ROOM < OAKI_QUEUE,
               "what is added fits");
_Static_assert(OAKI_HOT_ROOM_ANY >= OAKI_TUNE_INLINE_WORDS * OAKI_WORD_REFS &&
                   OAKI_TUNE_QUEUE_HIGH + OAKI_HOT_ROOM_ANY < OAKI_QUEUE,
               "the references that are added fit");

OAKI_NO_ASAN OAKI_INLINE void trace_one(oaki_hot *h, oak_marker *m, size_t off, bool shared,
                                        oaki_reading how)
{
    enter(h, m, off, shared, how);
    leave(h, m, OAKI_TUNE_DELAY, oaki_reader_load(how));
    oaki_hot_room(h, m, how);
}

OAKI_NO_ASAN static OAKI_NOINLINE void trace_one_tagged(oaki_hot *h, oak_marker *m, size_t off,
                                                        bool shared)
{
    trace_one(h, m, off, shared, OAKI_READ_ANY); /* the one tag, too: this is rare */
}

OAKI_NO_ASAN void oaki_hot_trace(oaki_hot *h, oak_marker *m, size_t off, bool shared,
                                 oaki_reading how)
{
    if (oaki_reads_tags(how)) trace_one_tagged(h, m, off, shared);
    else if (how == OAKI_READ_STRICT) trace_one(h, m, off, shared, OAKI_READ_STRICT);
    else trace_one(h, m, off, shared, OAKI_READ_PLAIN);
}

/* Depth first goes on while at least two of three words were in order. Otherwise it is tried
 * again after m->patience rounds, which double each time up to OAKI_TUNE_PATIENCE_MOST. */
static void judge(oak_marker *m)
{
    if (m->looked < OAKI_TUNE_DEPTH_WINDOW) return;
    m->in_order = m->stray * 3 <= m->looked;
    if (!m->in_order) {
        m->rest = m->patience;
        m->patience = OAKI_MIN(m->patience * 2, OAKI_TUNE_PATIENCE_MOST);
    }
    m->looked = m->stray = 0;
}

/* Moves the older half of the queue's words, which are likely to lead to more, to the stack. */
static void shed(oaki_hot *h, oak_marker *m)
{
    unsigned n = OAKI_MIN((h->tail - h->head) / 2, OAKI_TUNE_MOVED);
    if (n == 0 || !has_room(h, m, n)) return;
    OAKI_ASSERT(h->sp + n <= h->hi);
    for (; n > 0; n--) *h->sp++ = h->queue[h->head++];
}

/* Donates work if a worker is idle. false: the quantum is over, or helpers have just been woken,
 * and bits are shared from here on. */
static OAKI_NOINLINE bool poll_workers(oaki_hot *h, oak_marker *m, bool shared)
{
    OAKI_INVARIANT(shared == m->shared_bits, "a helper was woken while worker 0 marks alone");
    if (oaki_workers_idle()) {
        if (h->sp == h->lo) shed(h, m);
        oaki_hot_save(h, m);
        oaki_worklist_share(m);
        oaki_hot_load_stack(h, m);
    }
    return m->shared_bits == shared && !oaki_trace_is_over(m);
}

/* Sifts a range's next words and enters their objects directly, without the queue. Ends when
 * there is enough for a batch, an object that took long was scanned, or the quantum is over.
 * Words that lead nowhere count towards the quantum, too. */
OAKI_NO_ASAN OAKI_INLINE void trace_range(oaki_hot *h, oak_marker *m, bool shared,
                                          oaki_reading how)
{
    const oaki_reader r = oaki_reader_load(how);
    const ptrdiff_t block = (ptrdiff_t)oaki_sift_words(how);
    const size_t every = (m->soon ? OAKI_TUNE_LOOK_SOON : OAKI_TUNE_LOOK_EVERY) * OAKI_TUNE_BATCH;
    size_t found[OAKI_SIFT], since = 0;
    leave(h, m, OAKI_TUNE_DELAY, r);
    for (unsigned n = 1; m->range_lo < m->range_hi && !m->range_typed && !m->heavy; n++) {
        const uintptr_t *p = (const uintptr_t *)m->range_lo;
        const uintptr_t *hi = (const uintptr_t *)m->range_hi;
        if (h->tail - h->head >= OAKI_TUNE_BATCH + OAKI_TUNE_AHEAD) break;
        hi = hi - p > block ? p + block : hi;
        m->range_lo = (const char *)hi;
        size_t k = oaki_sift(m, p, hi, found, r);
        for (size_t i = 0; i < k; i++) enter(h, m, found[i], shared, how);
        leave(h, m, OAKI_TUNE_DELAY, r);
        m->scanned += k;
        since += k;
        if (n % OAKI_TUNE_RANGE_BLOCKS == 0)
            m->scanned += OAKI_TUNE_RANGE_BLOCKS * OAKI_TUNE_MOVED / OAKI_TUNE_SPARSE;
        else if (since < every)
            continue;
        since = 0;
        if (oaki_trace_is_over(m)) break;
    }
}

_Static_assert(OAKI_TUNE_MOVED <= OAKI_SIFT && OAKI_TUNE_MOVED + OAKI_TUNE_DELAY < OAKI_LINE,
               "a block fits the delay line");

OAKI_NO_ASAN static OAKI_NOINLINE void trace_range_alone(oaki_hot *h, oak_marker *m)
{
    trace_range(h, m, false, OAKI_READ_PLAIN);
}

OAKI_NO_ASAN static OAKI_NOINLINE void trace_range_otherwise(oaki_hot *h, oak_marker *m)
{
    if (oaki_gc.host.words_read == OAKI_READ_PLAIN)
        trace_range(h, m, m->shared_bits, OAKI_READ_PLAIN);
    else if (oaki_gc.host.words_read == OAKI_READ_STRICT)
        trace_range(h, m, m->shared_bits, OAKI_READ_STRICT);
    else if (oaki_gc.host.words_read == OAKI_READ_ROTATED)
        trace_range(h, m, m->shared_bits, OAKI_READ_ROTATED);
    else if (oaki_gc.host.words_read == OAKI_READ_SHIFTED)
        trace_range(h, m, m->shared_bits, OAKI_READ_SHIFTED);
    else if (oaki_gc.host.words_read == OAKI_READ_ADDED)
        trace_range(h, m, m->shared_bits, OAKI_READ_ADDED);
    else if (oaki_gc.host.words_read == OAKI_READ_MASKED)
        trace_range(h, m, m->shared_bits, OAKI_READ_MASKED);
    else
        trace_range(h, m, m->shared_bits, OAKI_READ_ANY);
}

/* Queues the next words of a typed range. */
static OAKI_NOINLINE void queue_range(oaki_hot *h, oak_marker *m)
{
    oaki_hot_save(h, m);
    for (unsigned n = OAKI_TUNE_TYPED_BLOCKS;
         m->range_lo < m->range_hi && m->tail - m->head < OAKI_TUNE_BATCH + OAKI_TUNE_AHEAD;
         n += OAKI_TUNE_TYPED_BLOCKS) {
        const char *lo = m->range_lo;
        m->range_lo += OAKI_MIN((size_t)(m->range_hi - lo),
                                OAKI_TUNE_TYPED_BLOCKS * OAKI_TUNE_MOVED * sizeof(uintptr_t));
        oaki_trace_words(m, lo, m->range_lo);
        if (n % OAKI_TUNE_RANGE_BLOCKS != 0) continue;
        m->scanned += OAKI_TUNE_RANGE_BLOCKS * OAKI_TUNE_MOVED / OAKI_TUNE_SPARSE;
        if (oaki_trace_is_over(m)) break;
    }
    oaki_hot_reload(h, m);
}

static void next_of_range(oaki_hot *h, oak_marker *m)
{
    if (m->range_typed)
        queue_range(h, m);
    else if (m->shared_bits || oaki_gc.host.words_read != OAKI_READ_PLAIN)
        trace_range_otherwise(h, m);
    else
        trace_range_alone(h, m);
}

/* The queue has run low: gets words from the stack, from a range, or from the delay line. It may
 * still be empty after an object that took long was scanned. false: no words are left, the
 * quantum is over, or a typed range is next. */
OAKI_NO_ASAN OAKI_INLINE bool replenish(oaki_hot *h, oak_marker *m, oaki_reading how)
{
    oaki_hot_room(h, m, how);
    if (h->sp > h->lo) {
        for (size_t n = OAKI_MIN((size_t)(h->sp - h->lo), OAKI_TUNE_MOVED); n > 0; n--)
            h->queue[h->tail++] = *--h->sp;
        return true;
    }
    if (m->range_lo < m->range_hi && !m->full) {
        next_of_range(h, m);
        if (h->tail != h->head || m->heavy) return true;
        if (m->range_lo < m->range_hi) return false;
    }
    leave(h, m, 0, oaki_reader_load(how));
    if (h->tail != h->head) return true;
    oaki_hot_save(h, m);
    if (!m->full || !oaki_worklist_steal(m)) return false;
    oaki_hot_load_stack(h, m);
    return true;
}

OAKI_NO_ASAN static OAKI_NOINLINE bool replenish_plain(oaki_hot *h, oak_marker *m)
{
    return replenish(h, m, OAKI_READ_PLAIN);
}

OAKI_NO_ASAN static OAKI_NOINLINE bool replenish_tagged(oaki_hot *h, oak_marker *m)
{
    return replenish(h, m, OAKI_READ_ANY);
}

OAKI_INLINE bool has_more(oaki_hot *h, oak_marker *m, oaki_reading how)
{
    return oaki_reads_tags(how) ? replenish_tagged(h, m) : replenish_plain(h, m);
}

OAKI_NO_ASAN OAKI_INLINE void loop(oak_marker *m, bool shared, oaki_reading how)
{
    const oaki_reader r = oaki_reader_load(how);
    oaki_hot h = oaki_hot_load(m);
    size_t found[OAKI_TUNE_BATCH];
    const unsigned every = m->soon ? OAKI_TUNE_LOOK_SOON : OAKI_TUNE_LOOK_EVERY;
    for (unsigned look = every, thin = 0;;) {
        unsigned n = h.tail - h.head;
        if (m->in_order) {
            if (n == 0 && !has_more(&h, m, how)) break;
            oaki_trace_depth_first(&h, m, shared, how);
            judge(m);
            m->heavy = false;
            if (!poll_workers(&h, m, shared)) break;
            continue;
        }
        if (OAKI_UNLIKELY(n < OAKI_TUNE_BATCH + OAKI_TUNE_AHEAD)) {
            if (!has_more(&h, m, how)) break;
            n = h.tail - h.head;
            /* few words overlap no misses, as in a list: depth first costs no more, or much less */
            thin = n < OAKI_TUNE_DEPTH_FEW && !m->heavy ? thin + 1 : 0;
            m->in_order = thin == OAKI_TUNE_THIN;
            if (m->in_order) {
                thin = 0;
                continue;
            }
        }
        if (OAKI_LIKELY(!m->heavy)) { /* unless an object of the range was heavy just now */
            n = OAKI_MIN(OAKI_MIN(n, OAKI_TUNE_BATCH), OAKI_LINE - 1 - (h.last - h.first));
            m->scanned += n;
            n = filter(&h, n, found);
            for (unsigned k = 0; k < n; k++) enter(&h, m, found[k], shared, how);
            leave(&h, m, OAKI_TUNE_DELAY, r);
        }
        if (OAKI_LIKELY(--look && !m->heavy)) continue;
        look = every;
        m->heavy = false;
        m->in_order = --m->rest == 0;
        if (!poll_workers(&h, m, shared)) break;
    }
    oaki_hot_save(&h, m);
}

/* Not in one function with the usual loops, as they would take registers from them. */
OAKI_NO_ASAN static OAKI_NOINLINE void loop_strictly(oak_marker *m)
{
    if (m->shared_bits)
        loop(m, true, OAKI_READ_STRICT);
    else
        loop(m, false, OAKI_READ_STRICT);
}

/* A loop by each form of a tag, alone and together. */
#define DEFINE(name, how)                                              \
    OAKI_NO_ASAN static OAKI_NOINLINE void loop_##name(oak_marker *m)  \
    {                                                                  \
        if (m->shared_bits)                                            \
            loop(m, true, OAKI_READ_##how);                            \
        else                                                           \
            loop(m, false, OAKI_READ_##how);                           \
    }
OAKI_TAGGED_READINGS(DEFINE)
#undef DEFINE

static OAKI_NOINLINE void loop_otherwise(oak_marker *m)
{
#define CASE(name, how) \
    case OAKI_READ_##how: loop_##name(m); break;
    switch (oaki_gc.host.words_read) {
        OAKI_TAGGED_READINGS(CASE)
    default: loop_strictly(m); break;
    }
#undef CASE
}

OAKI_NO_ASAN void oaki_trace_local(oak_marker *m)
{
    m->large_size = 0;
    OAKI_REQUIRES_WORKER(m);
    OAKI_ASSERT(m->base == oaki_the_heap.base && m->used <= AO_load(&oaki_the_heap.used));
    do {
        if (OAKI_UNLIKELY(oaki_gc.host.words_read != OAKI_READ_PLAIN))
            loop_otherwise(m);
        else if (m->shared_bits)
            loop(m, true, OAKI_READ_PLAIN);
        else
            loop(m, false, OAKI_READ_PLAIN);
    } while (!oaki_trace_is_over(m) &&
             (m->tail != m->head || m->first != m->last || (m->top && m->top->n) || m->full ||
              m->range_lo < m->range_hi));
    m->large_size = 0;
}

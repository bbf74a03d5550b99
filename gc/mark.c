/* mark.c - marking: from a word to an object, from an object to its words.
 *
 * Owns: M while the world is stopped. Invariant: an object whose bit this worker set is on its
 * stack or was scanned by it; workers that race for one object may each scan it, which is harmless.
 * Bound: each object is scanned once, and once more by each worker that raced for it. */
#include "mark.h"
#include "runtime/track.h"
#include <string.h>

#define INLINE_WORDS 64          /* objects up to this are scanned by the loop itself */
#define BATCH 64                 /* words looked at in one go */
/* words that stay in the queue while there are others: their bits are on the way */
#define AHEAD 64
/* Depth first: words taken at a time, the largest objects scanned at once, and the words after
 * which it is asked whether that is the right way. */
#define FEW 16
#define DEEP_WORDS 8
#define WINDOW 1024
#define PATIENCE_MAX 1024
#define THIN 64 /* batches of less than FEW words, one after the other, and it is asked anew */
#define ROOM (FEW * DEEP_WORDS) /* words that may be added to the queue without asking for room */
#define LOOK_EVERY 16  /* batches between two looks at whether others have nothing to do */
#define BLOCK 64       /* moved at a time */
#define WORDS_MASK ((1 << OAKI_LINE_WORDS_BITS) - 1)

/* What the loop has to know of a span class, in one place. */
typedef struct class_info {
    uint32_t size, magic, nslots;
    uint32_t words; /* to scan; 0: none; SPECIAL: look closer */
    size_t mask;    /* from an offset to its slot's, for powers of two up to DEEP_WORDS; or 0 */
} class_info;
#define SPECIAL UINT32_MAX

static class_info infos[OAKI_PTE_SPANCLASS + 1];

OAKI_INLINE bool is_allowed(size_t d)
{
    return d == 0 || (d < OAKI_DISPLACEMENTS &&
                      (oaki_displacements.allowed[d / 64] >> (d % 64) & 1));
}

bool oaki_mark_counts_strictly(size_t off)
{
    size_t slot = oaki_slot_offset(off);
    return slot != SIZE_MAX && is_allowed(off - slot);
}

void oaki_mark_init(void)
{
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
        const oaki_class *c = &oaki_classes[sc % OAKI_CLASSES];
        unsigned kind = sc / OAKI_CLASSES;
        class_info *i = &infos[sc];
        *i = (class_info){ .size = c->size, .magic = c->magic, .nslots = c->nslots };
        if (kind == OAKI_NOSCAN)
            i->words = 0;
        else if (kind == OAKI_TYPED || c->size / 8 > INLINE_WORDS)
            i->words = SPECIAL;
        else
            i->words = c->size / 8;
        if (i->words - 1 < DEEP_WORDS && (c->size & (c->size - 1)) == 0)
            i->mask = ~(size_t)(c->size - 1);
    }
}

/* ---- the hot state: a worker's fields in registers while a loop runs ---- */

typedef struct hot {
    uintptr_t base;
    size_t used, bytes;
    const oaki_pte *pte;
    uint64_t *const *plane; /* of M */
    size_t *queue;
    unsigned head, tail;
    uint64_t *line;
    unsigned first, last;
    size_t *sp, *lo, *hi; /* of the top chunk: entries lie in [lo, sp), there is room up to hi */
} hot;

OAKI_INLINE void load_stack(hot *h, oak_marker *m)
{
    oaki_mark_chunk *c = m->top;
    h->lo = c ? c->entry : NULL;
    h->sp = c ? c->entry + c->n : NULL;
    h->hi = c ? c->entry + OAKI_CHUNK_ENTRIES : NULL;
}

OAKI_INLINE void reload(hot *h, oak_marker *m)
{
    h->head = m->head;
    h->tail = m->tail;
    h->first = m->first;
    h->last = m->last;
    load_stack(h, m);
}

OAKI_INLINE hot load(oak_marker *m)
{
    hot h = {
        .base = m->base, .used = m->used, .pte = oaki_the_heap.pte, .plane = oaki_the_heap.mark
    };
    h.queue = m->queue;
    h.line = m->line;
    reload(&h, m);
    return h;
}

OAKI_INLINE void save(hot *h, oak_marker *m)
{
    m->head = h->head;
    m->tail = h->tail;
    m->first = h->first;
    m->last = h->last;
    m->bytes += h->bytes;
    h->bytes = 0;
    if (m->top) m->top->n = (size_t)(h->sp - h->lo);
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
    if (!set_mark(oaki_the_heap.mark, slot, true)) return false;
    unsigned cls = oaki_the_heap.pte[slot >> OAKI_PAGE_SHIFT] & OAKI_PTE_CLASS;
    m->bytes += cls == OAKI_CLASS_LARGE ? large_bytes(slot) : oaki_classes[cls].size;
    return true;
}

/* Room for n entries on the stack. false: there is no memory. What can't be pushed is marked and
 * not scanned (mark_only), or is marked already, so that the rescan finds it. */
static bool has_room(hot *h, oak_marker *m, size_t n)
{
    if (OAKI_LIKELY((size_t)(h->hi - h->sp) >= n)) return true;
    if (m->top) m->top->n = (size_t)(h->sp - h->lo);
    oaki_mark_offer(m);
    load_stack(h, m);
    return (size_t)(h->hi - h->sp) >= n;
}

/* The queue is above OAKI_QUEUE_HIGH: its newest words go to the stack. */
static OAKI_NOINLINE void spill(hot *h, oak_marker *m)
{
    bool room = has_room(h, m, BLOCK);
    h->tail -= BLOCK;
    for (unsigned i = 0; i < BLOCK; i++) {
        size_t off = h->queue[h->tail + i];
        if (room)
            *h->sp++ = off;
        else
            oaki_mark_only(m, off);
    }
}

/* No branch on whether it is a pointer, which is as good as random; and nothing that is read
 * soon depends on it. There is room. */
OAKI_INLINE void put_word(hot *h, uintptr_t word)
{
    size_t off = word - h->base;
    h->queue[h->tail] = off;
    h->tail += off < h->used;
}

/* Room for the words of one more object, or of a few small ones: the queue is one stretch of
 * memory, whose end is moved to its beginning now and then. */
OAKI_INLINE void make_room(hot *h, oak_marker *m)
{
    if (OAKI_UNLIKELY(h->tail - h->head > OAKI_QUEUE_HIGH)) spill(h, m);
    if (OAKI_LIKELY(h->tail + ROOM < OAKI_QUEUE)) return;
    memmove(h->queue, h->queue + h->head, (h->tail - h->head) * sizeof h->queue[0]);
    h->tail -= h->head;
    h->head = 0;
}

OAKI_NO_ASAN OAKI_INLINE void put_words(hot *h, oak_marker *m, const uintptr_t *p,
                                        const uintptr_t *end)
{
    while (p < end) {
        const uintptr_t *stop = end - p > INLINE_WORDS ? p + INLINE_WORDS : end;
        make_room(h, m);
        for (; p < stop; p++) put_word(h, *p);
    }
}

OAKI_NO_ASAN void oaki_mark_scan(oak_marker *m, const char *lo, const char *hi)
{
    hot h = load(m);
    put_words(&h, m, (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof(uintptr_t)),
              (const uintptr_t *)OAKI_ALIGN_DOWN((uintptr_t)hi, sizeof(uintptr_t)));
    save(&h, m);
}

OAKI_NOINLINE void oaki_mark_push_slowly(oak_marker *m, uintptr_t word)
{
    hot h = load(m);
    make_room(&h, m);
    put_word(&h, word);
    save(&h, m);
}

/* ---- the loop ---- */

static OAKI_NOINLINE void mark_special(hot *h, oak_marker *m, size_t slot)
{
    save(h, m);
    oaki_mark_object(m, (char *)h->base + slot);
    reload(h, m);
}

static OAKI_NOINLINE void mark_large(hot *h, oak_marker *m, size_t page, bool shared)
{
    size_t slot = oaki_page_first(page) << OAKI_PAGE_SHIFT;
    if (!set_mark(h->plane, slot, shared)) return;
    h->bytes += large_bytes(slot);
    mark_special(h, m, slot);
}

/* Of the queue's next n words, those whose bit is clear: they lead to unmarked objects, or into
 * large ones. Four of five words of a graph lead to marked objects, in no order that a branch could
 * learn: so there is no branch. */
OAKI_INLINE unsigned filter(hot *h, unsigned n, size_t *found)
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

/* Mark the object that offset off is in, if there is one and it isn't, and put it into the delay
 * line, prefetched. */
OAKI_INLINE void enter(hot *h, oak_marker *m, size_t off, bool shared, bool strict)
{
    size_t page = off >> OAKI_PAGE_SHIFT;
    oaki_pte e = h->pte[page];
    const class_info *c = &infos[e & OAKI_PTE_SPANCLASS];
    size_t first = (page - (e >> OAKI_PTE_OFFSET_SHIFT)) << OAKI_PAGE_SHIFT;
    size_t i = ((off - first) * c->magic) >> 32;
    /* large; else not reached, as only objects have clear bits */
    if (OAKI_UNLIKELY(i >= c->nslots)) {
        if ((e & OAKI_PTE_CLASS) == OAKI_CLASS_LARGE &&
            (!strict || oaki_mark_counts_strictly(off)))
            mark_large(h, m, page, shared);
        return;
    }
    size_t slot = first + i * c->size, n = c->words;
    if (strict && !is_allowed(off - slot)) return;
    if (!set_mark(h->plane, slot, shared)) return;
    h->bytes += c->size;
    if (OAKI_UNLIKELY(n - 1 >= INLINE_WORDS)) { /* noscan, or special */
        if (n != SPECIAL) return;
        oaki_mark_expect(slot);
        h->line[h->last++ % OAKI_LINE] = slot << OAKI_LINE_WORDS_BITS;
        return;
    }
    __builtin_prefetch((const void *)(h->base + slot));
    h->line[h->last++ % OAKI_LINE] = slot << OAKI_LINE_WORDS_BITS | n;
}

_Static_assert(BATCH + OAKI_DELAY <= OAKI_LINE, "a batch fits the delay line");

/* Scan the delay line's oldest until `keep` are left. */
OAKI_NO_ASAN OAKI_INLINE void leave(hot *h, oak_marker *m, unsigned keep)
{
    while (h->last - h->first > keep) {
        uint64_t object = h->line[h->first++ % OAKI_LINE];
        if (OAKI_UNLIKELY((object & WORDS_MASK) == 0)) {
            mark_special(h, m, oaki_line_slot(object));
            continue;
        }
        const uintptr_t *p = (const uintptr_t *)(h->base + oaki_line_slot(object));
        make_room(h, m);
        for (const uintptr_t *end = p + (object & WORDS_MASK); p < end; p += 2) {
            put_word(h, p[0]);
            put_word(h, p[1]);
        }
    }
}

_Static_assert(ROOM >= INLINE_WORDS && OAKI_QUEUE_HIGH + ROOM < OAKI_QUEUE, "what is added fits");

/* ---- depth first, for small objects that lie in order ---- */

/* A page's words of M, taken out while the loop stays in it, so that a mark costs no locked
 * instruction. Until it is put back others may mark the same objects, which is harmless, and counts
 * as being out of order, so that two workers don't follow the same path side by side for long. Only
 * new ones are put back: the program may allocate there meanwhile, which clears bits. */
typedef struct held {
    size_t page;    /* SIZE_MAX: none */
    unsigned dirty; /* words that differ from what they were, as bits */
    uint64_t bits[OAKI_PAGE_WORDS], was[OAKI_PAGE_WORDS];
} held;

OAKI_INLINE uint64_t *held_word(const hot *h, size_t page, size_t i)
{
    size_t off = (page << OAKI_PAGE_SHIFT) + i % 2 * OAKI_PLANE_WORD + i / 2 * OAKI_GRANULE;
    return oaki_mark_word(h->plane, off);
}

static void take_out(const hot *h, held *b, size_t page)
{
    b->page = page; /* nothing is dirty: the last one was put back */
    for (size_t i = 0; i < OAKI_PAGE_WORDS; i++) b->bits[i] = b->was[i] = *held_word(h, page, i);
}

/* Returns how many marks were new: the others have been set by somebody else meanwhile. */
static unsigned put_back(const hot *h, held *b, bool shared)
{
    unsigned fresh = 0;
    if (b->page == SIZE_MAX) return 0;
    for (; b->dirty; b->dirty &= b->dirty - 1) {
        int i = __builtin_ctz(b->dirty);
        AO_t *word = (AO_t *)held_word(h, b->page, (size_t)i), old = AO_load(word), more;
        while ((more = b->bits[i] & ~b->was[i] & ~old) != 0) {
            if (!shared) AO_store(word, old | more);
            if (!shared || AO_compare_and_swap_full(word, old, old | more)) break;
            old = AO_load(word);
        }
        if (more) fresh += oaki_popcount(more);
    }
    b->page = SIZE_MAX;
    return fresh;
}

static void settle(hot *h, held *b, bool shared, size_t size, unsigned *marked, unsigned *stray)
{
    unsigned fresh = put_back(h, b, shared);
    h->bytes += fresh * size;
    *stray += *marked - fresh;
    *marked = 0;
}

/* Set the mark of the object at this slot. false: it is set. */
OAKI_INLINE bool held_set(held *b, size_t slot)
{
    size_t i = slot / OAKI_GRANULE % OAKI_PLANES * 2 + slot / OAKI_PLANE_WORD % 2;
    uint64_t bit = (uint64_t)1 << oaki_mark_shift(slot);
    if (b->bits[i] & bit) return false;
    b->bits[i] |= bit;
    b->dirty |= 1u << i;
    return true;
}

typedef struct chased {
    unsigned tail, n; /* of the queue; objects that were marked */
} chased;

/* The newest word of the queue is an object's only reference, as in a list: follow it at once, and
 * so on, for as long as that leads to unmarked objects on the page that is held. Where it ends is
 * in the queue. */
OAKI_NO_ASAN static OAKI_NOINLINE chased chase(hot *h, held *b, size_t size, unsigned tail,
                                               bool strict)
{
    const uintptr_t base = h->base;
    const size_t used = h->used, mask = ~(size - 1);
    size_t off = h->queue[--tail];
    unsigned n = 0;
    while (n < WINDOW && off >> OAKI_PAGE_SHIFT == b->page) {
        size_t slot = off & mask;
        if ((strict && !is_allowed(off - slot)) || !held_set(b, slot)) break;
        n++;
        const uintptr_t *p = (const uintptr_t *)(base + slot), *end = p + size / sizeof *p;
        /* no way through memory for what is next, where it is likely to be */
        if (end - p == 2 && p[0] - base >= used && p[1] - base < used) {
            off = p[1] - base;
            continue;
        }
        unsigned from = tail;
        for (; p < end; p++) {
            h->queue[tail] = *p - base;
            tail += *p - base < used;
        }
        if (tail - from != 1) return (chased){ tail, n };
        off = h->queue[--tail];
    }
    h->queue[tail++] = off;
    return (chased){ tail, n };
}

/* Of the queue, the newest few at a time, prefetched a round ahead; up to WINDOW, and until nothing
 * is in the air. Fast where an object's neighbours in the graph are on its page, and are not
 * marked. */
OAKI_NO_ASAN OAKI_INLINE void deep(hot *h, oak_marker *m, bool shared, bool strict)
{
    const uintptr_t base = h->base;
    const size_t used = h->used;
    size_t *const queue = h->queue;
    held b = { .page = SIZE_MAX, .dirty = 0 };
    size_t mask = 0, size = 0, few[2][FEW];
    unsigned done = 0, stray = 0, turn = 0, marked = 0;
    for (unsigned n = 0, next;; n = next) {
        make_room(h, m);
        next = done < WINDOW ? OAKI_MIN(h->tail - h->head, FEW) : 0;
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
                const class_info *c = &infos[h->pte[page] & OAKI_PTE_SPANCLASS];
                stray++;
                settle(h, &b, shared, size, &marked, &stray);
                if (!c->mask) {
                    if (*oaki_mark_word(h->plane, off) >> oaki_mark_shift(off) & 1) continue;
                    h->tail = tail;
                    enter(h, m, off, shared, strict);
                    leave(h, m, OAKI_DELAY);
                    make_room(h, m);
                    tail = h->tail;
                    continue;
                }
                take_out(h, &b, page);
                mask = c->mask;
                size = c->size;
            }
            size_t slot = off & mask;
            if (strict && !is_allowed(off - slot)) continue;
            if (OAKI_UNLIKELY(!held_set(&b, slot))) {
                stray++;
                continue;
            }
            marked++;
            const uintptr_t *p = (const uintptr_t *)(base + slot);
            unsigned from = tail;
            for (const uintptr_t *end = p + size / sizeof *p; p < end; p += 2) {
                size_t x = p[0] - base, y = p[1] - base;
                queue[tail] = x;
                tail += x < used;
                queue[tail] = y;
                tail += y < used;
            }
            if (OAKI_LIKELY(tail - from != 1)) continue;
            chased c = chase(h, &b, size, tail, strict);
            tail = c.tail;
            done += c.n;
            marked += c.n;
        }
        h->tail = tail;
    }
    settle(h, &b, shared, size, &marked, &stray);
    m->scanned += done;
    m->looked += done;
    m->stray += stray;
}

/* Depth first goes on while two words of three were what it is for; else it is tried again later,
 * and later each time. */
static void judge(oak_marker *m)
{
    if (m->looked < WINDOW) return;
    m->in_order = m->stray * 3 <= m->looked;
    if (!m->in_order) {
        m->rest = m->patience;
        m->patience = OAKI_MIN(m->patience * 2, PATIENCE_MAX);
    }
    m->looked = m->stray = 0;
}

/* The older half of the queue's words, which are likely to lead to more, go to the stack. */
static void shed(hot *h, oak_marker *m)
{
    unsigned n = OAKI_MIN((h->tail - h->head) / 2, BLOCK);
    if (n == 0 || !has_room(h, m, n)) return;
    for (; n > 0; n--) *h->sp++ = h->queue[h->head++];
}

/* Is somebody hungry? Give some away. false: others were woken just now, and bits are shared from
 * here on. */
static OAKI_NOINLINE bool look_around(hot *h, oak_marker *m, bool shared)
{
    OAKI_INVARIANT(shared == m->shared_bits, "a marker was woken beside one that marks alone");
    if (oaki_others_hungry()) {
        if (h->sp == h->lo) shed(h, m);
        save(h, m);
        oaki_mark_share(m);
        load_stack(h, m);
    }
    return m->shared_bits == shared && !oaki_mark_is_over(m);
}

/* Until there is enough for a batch. */
static OAKI_NOINLINE void sift_range(hot *h, oak_marker *m)
{
    save(h, m);
    while (m->range_lo < m->range_hi && m->tail - m->head < BATCH + AHEAD) {
        const char *lo = m->range_lo;
        m->range_lo += OAKI_MIN((size_t)(m->range_hi - lo), BLOCK * sizeof(uintptr_t));
        oaki_mark_sift(m, (const uintptr_t *)lo, (const uintptr_t *)m->range_lo);
    }
    reload(h, m);
}

/* The queue has run low: get words from the stack, from a range, or from the delay line. false:
 * there are none. */
OAKI_NO_ASAN static OAKI_NOINLINE bool replenish(hot *h, oak_marker *m)
{
    make_room(h, m);
    if (h->sp > h->lo) {
        for (size_t n = OAKI_MIN((size_t)(h->sp - h->lo), BLOCK); n > 0; n--)
            h->queue[h->tail++] = *--h->sp;
        return true;
    }
    if (m->range_lo < m->range_hi) {
        sift_range(h, m);
        if (h->tail != h->head) return true;
    }
    leave(h, m, 0);
    if (h->tail != h->head) return true;
    save(h, m);
    if (!m->full || !oaki_mark_take(m)) return false;
    load_stack(h, m);
    return true;
}

/* strict: words count only where oaki_mark_displacements says so. */
OAKI_NO_ASAN OAKI_INLINE void loop(oak_marker *m, bool shared, bool strict)
{
    hot h = load(m);
    size_t found[BATCH];
    for (unsigned look = LOOK_EVERY, thin = 0;;) {
        unsigned n = h.tail - h.head;
        if (m->in_order) {
            if (n == 0 && !replenish(&h, m)) break;
            deep(&h, m, shared, strict);
            judge(m);
            if (!look_around(&h, m, shared)) break;
            continue;
        }
        if (OAKI_UNLIKELY(n < BATCH + AHEAD)) {
            if (!replenish(&h, m)) break;
            n = h.tail - h.head;
            /* few words overlap nothing, as in a list: depth first costs no more, or much less */
            thin = n < FEW ? thin + 1 : 0;
            m->in_order = thin == THIN;
            if (m->in_order) {
                thin = 0;
                continue;
            }
        }
        n = OAKI_MIN(n, BATCH);
        m->scanned += n;
        n = filter(&h, n, found);
        for (unsigned k = 0; k < n; k++) enter(&h, m, found[k], shared, strict);
        leave(&h, m, OAKI_DELAY);
        if (OAKI_LIKELY(--look)) continue;
        look = LOOK_EVERY;
        m->in_order = --m->rest == 0;
        if (!look_around(&h, m, shared)) break;
    }
    save(&h, m);
}

/* Not in one function with the usual loops, which it would take registers from. */
OAKI_NO_ASAN static OAKI_NOINLINE void loop_strictly(oak_marker *m)
{
    if (m->shared_bits)
        loop(m, true, true);
    else
        loop(m, false, true);
}

OAKI_NO_ASAN void oaki_mark_local(oak_marker *m)
{
    do {
        if (OAKI_UNLIKELY(oaki_displacements.strict))
            loop_strictly(m);
        else if (m->shared_bits)
            loop(m, true, false);
        else
            loop(m, false, false);
    } while (!oaki_mark_is_over(m) &&
             (m->tail != m->head || m->first != m->last || (m->top && m->top->n) || m->full ||
              m->range_lo < m->range_hi));
}

/* tags.c - the tags of a configuration: checks them, and prepares them for the heap's place.
 *
 * Owns: oaki_tags. Lock: none, as tags.h says. Bound: O(tags) a word. */
#include "tags.h"

#include "contract.h"

#define ADDRESS_BITS 47 /* of the pointers that a program may have */
#define LEFT_MOST 12    /* a reference leaves out at most the bits of a place in a page */
#define SHIFT_MOST 16
#define SHIFT_LEAST (-8)
/* Least reach, in bits, of untested halves: with less, every word would be a reference. */
#define WINDOW_LEAST 32
#define RESERVE_DEFAULT ((size_t)1 << 40) /* as in space.c */

oaki_tag_set oaki_tags;

/* The pointer's bits in a word: `bits` of them from bit `low`; the lowest counts 1 << left. */
typedef struct field {
    unsigned low, bits, left;
} field;

static unsigned width_of(const oak_pointer_tag *t)
{
    return t->flags & OAK_TAG_HALVES ? 32 : 64;
}

static uint64_t all_of(unsigned bits)
{
    return bits == 64 ? ~(uint64_t)0 : ((uint64_t)1 << bits) - 1;
}

static bool is_none(const oak_pointer_tag *t)
{
    return !(t->mask | t->value | t->ignore | (uint64_t)t->offset) && t->shift == 0 &&
           t->flags == 0;
}

/* Bits that are shifted out, at either end, are no part of the pointer. */
static uint64_t pointer_bits(const oak_pointer_tag *t)
{
    uint64_t all = all_of(width_of(t));
    uint64_t kept = t->shift < 0 ? ~(uint64_t)0 >> -t->shift : ~(uint64_t)0 << t->shift;
    return all & kept & ~(t->mask | t->ignore);
}

static bool find_field(const oak_pointer_tag *t, field *out)
{
    uint64_t bits = pointer_bits(t);
    if (!bits) return false;
    out->low = (unsigned)oaki_ctz(bits);
    out->bits = oaki_popcount(bits);
    out->left = (unsigned)((int)out->low - t->shift);
    return bits >> out->low == all_of(out->bits);
}

/* Returns the error in the numbers of one tag alone, or NULL. */
static const char *check_bits(const oak_pointer_tag *t)
{
    uint64_t all = all_of(width_of(t));
    if (t->flags & ~(unsigned)(OAK_TAG_HALVES | OAK_TAG_FROM_HEAP)) return "an unknown flag";
    if ((t->mask | t->ignore) & ~all) return "mask and ignore are wider than a half";
    if (t->value & ~t->mask) return "value has bits that are not in mask";
    if (t->mask & t->ignore) return "mask and ignore have bits in common";
    if (t->shift < SHIFT_LEAST || t->shift > SHIFT_MOST) return "shift is not in -8 to 16";
    return NULL;
}

/* Is each number below the heap's size a reference? Not if a bit of them is tested, or if those of
 * the beginning leave them out. */
static bool fits_numbers(const oak_pointer_tag *t, const field *f, uint64_t away, size_t reserve)
{
    uint64_t last = (away + reserve - 1) >> f->left << f->low;
    if (t->value || t->flags & OAK_TAG_HALVES || away >= reserve) return false;
    return t->mask && (t->mask & -t->mask) > last;
}

/* Returns an error unless a word can express each place of an object, and other values too. */
static const char *check_reach(const oak_pointer_tag *t, size_t reserve)
{
    field f;
    if (!find_field(t, &f)) return "the pointer's bits are not one run of bits";
    if (f.left > LEFT_MOST) return "the pointer's bits begin too high";
    if ((uint64_t)t->offset & all_of(f.left)) return "offset is no multiple of what a bit counts";
    unsigned top = f.bits + f.left;
    uint64_t window = top < 64 ? (uint64_t)1 << top : UINT64_MAX;
    uint64_t away = t->offset < 0 ? -(uint64_t)t->offset : (uint64_t)t->offset;
    if (t->flags & OAK_TAG_FROM_HEAP) {
        if (t->offset > 0 || away >= window) return "offset leaves out a part of the heap";
        if (window - away < reserve) return "heap_reserve is more than the bits can express";
        if (fits_numbers(t, &f, away, reserve)) return "every small number would be a reference";
        return NULL;
    }
    if (top < ADDRESS_BITS) return "the bits can't express an address";
    if (away >> ADDRESS_BITS) return "offset is no distance between addresses";
    if (!t->value && !t->ignore && t->shift == 0 && t->offset == 0)
        return "its words are plain pointers, which need no tag";
    return NULL;
}

/* Does a word fit both tags, where the second tag's fields begin at bit `at`? */
static bool fits_both(const oak_pointer_tag *a, const oak_pointer_tag *b, unsigned at)
{
    return ((a->value ^ b->value << at) & a->mask & b->mask << at) == 0;
}

/* Is there a word that fits both tags? Tags of halves are compared by half, as each half of a word
 * is a reference of its own. */
static bool overlap(const oak_pointer_tag *a, const oak_pointer_tag *b)
{
    if (width_of(a) < width_of(b)) return overlap(b, a);
    return fits_both(a, b, 0) || (width_of(a) > width_of(b) && fits_both(a, b, 32));
}

/* A tag by which, if it fits all words, each is a reference to some place of the heap. Those that
 * reach further leave some out, and halves have no bits to spare. */
static bool is_dense(const oak_pointer_tag *t)
{
    field f;
    if (!(t->flags & OAK_TAG_FROM_HEAP)) return false;
    return !(t->flags & OAK_TAG_HALVES) || !find_field(t, &f) || f.bits + f.left < WINDOW_LEAST;
}

/* Do dense tags of a width, none of which overlap, fit every word? A tag fits one word in two to
 * the power of its tested bits. These shares are counted in 2^-64, so their sum of one is 0. */
static bool fit_every_word(const oak_pointer_tag *tag, size_t n, unsigned width)
{
    uint64_t sum = 0;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (width_of(&tag[i]) != width || !is_dense(&tag[i])) continue;
        if (tag[i].mask) sum += (uint64_t)1 << (64 - oaki_popcount(tag[i].mask));
        any = true;
    }
    return any && sum == 0;
}

const char *oaki_tags_check(const oak_pointer_tag *tag, size_t n, size_t reserve, size_t *which)
{
    size_t decoders = 0;
    if (reserve == 0) reserve = RESERVE_DEFAULT;
    for (size_t i = 0; i < n; i++) {
        const oak_pointer_tag *t = &tag[i];
        *which = i;
        if (is_none(t)) continue;
        const char *wrong = check_bits(t);
        if (!wrong) wrong = check_reach(t, reserve);
        if (wrong) return wrong;
        for (size_t k = 0; k < i; k++)
            if (!is_none(&tag[k]) && overlap(t, &tag[k])) return "it overlaps with an earlier one";
        if (fit_every_word(tag, i + 1, width_of(t)))
            return t->mask ? "with earlier ones, every word would be a reference"
                           : "every word would be a reference";
        decoders += t->flags & OAK_TAG_HALVES ? 2 : 1;
        if (decoders > OAKI_TAGS) return "there are too many (one of halves counts as two)";
    }
    return NULL;
}

/* ---- for the heap's place ---- */

/* `at`: where the half begins in the word. */
static const char *add(oaki_tag_set *set, const oak_pointer_tag *t, unsigned at)
{
    const oaki_heap *h = &oaki_the_heap;
    field f;
    if (!find_field(t, &f)) return "the pointer's bits are not one run of bits";
    uint64_t begin = -(uint64_t)t->offset + (t->flags & OAK_TAG_FROM_HEAP ? 0 : h->base);
    uint64_t first = begin >> f.left, end = (begin + h->reserved) >> f.left;
    OAKI_ASSERT(set->n < OAKI_TAGS && (begin & all_of(f.left)) == 0);
    if (end < first || end - 1 > all_of(f.bits)) return "the bits can't express the heap's place";
    oaki_tag *d = &set->tag[set->n++];
    d->keep = (pointer_bits(t) | t->mask) << at;
    d->sub = ((first << f.low) + t->value) << at;
    d->rot = (f.low + at) % 64;
    d->left = f.left;
    return NULL;
}

/* Can a word be a plain pointer into the heap and, by the tag, one to another place of it? Over the
 * heap's own addresses a tag adds a number, or divides by a power of two and adds a number. */
static bool is_ambiguous(const oak_pointer_tag *t, const oaki_tag *d)
{
    const oaki_heap *h = &oaki_the_heap;
    uint64_t moved = oaki_tag_index(d, h->base);
    if (d->rot == 0) return moved != 0 && (moved < h->reserved || -moved < h->reserved);
    return (int64_t)((h->base + h->reserved) >> d->rot) + t->offset >= (int64_t)h->base;
}

static oaki_tag_form form_of(const oak_pointer_tag *t, const oaki_tag *d)
{
    if (d->left > 0 || t->flags || is_ambiguous(t, d)) return OAKI_TAG_GENERAL;
    if (d->keep == ~(uint64_t)0) return d->rot ? OAKI_TAG_ROTATED : OAKI_TAG_ADDED;
    if (d->rot == 0) return OAKI_TAG_MASKED;
    return d->keep == ~(uint64_t)0 << d->rot ? OAKI_TAG_SHIFTED : OAKI_TAG_GENERAL;
}

const char *oaki_tags_prepare(oaki_tag_set *set, const oak_pointer_tag *tag, size_t n)
{
    *set = (oaki_tag_set){ .n = 0 };
    for (size_t i = 0; i < n; i++) {
        if (is_none(&tag[i])) continue;
        const char *wrong = add(set, &tag[i], 0);
        if (!wrong && tag[i].flags & OAK_TAG_HALVES) wrong = add(set, &tag[i], 32);
        if (wrong) return wrong;
        bool low = tag[i].flags & OAK_TAG_HALVES || tag[i].value >> 32 == 0;
        set->loose |= low && tag[i].flags & OAK_TAG_FROM_HEAP;
        set->form = set->n == 1 ? form_of(&tag[i], &set->tag[0]) : OAKI_TAG_GENERAL;
    }
    return NULL;
}

unsigned oaki_word_tagged(uintptr_t word, size_t used, size_t *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < oaki_tags.n; i++) {
        const oaki_tag *t = &oaki_tags.tag[i];
        uint64_t x = oaki_tag_index(t, word);
        out[n] = (size_t)(x << t->left);
        n += x < used >> t->left;
    }
    return n;
}

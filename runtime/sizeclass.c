/* sizeclass.c - makes the table of size classes (sizeclass.h) and the table from size to class.
 *
 * Up to 1024 bytes there are eight classes per doubling, and 16 bytes between classes below 256.
 * Above, there are six per doubling, a ratio of 2^(1/6). A span has at least 32 slots of up to 1
 * KiB, four of up to 8 KiB, or two larger ones. These are few, as its free slots serve no other
 * class. It is long enough that its tail wastes at most an eighth of it.
 *
 * Owns: these tables. Lock: none; they are constant once the heap is started. */
#include "sizeclass.h"

#define STARTS_WORDS 8192

oaki_class oaki_classes[OAKI_CLASSES];
uint8_t oaki_class_small[OAKI_SMALL_MAX / 16 + 1];
unsigned oaki_nclasses;
const uint64_t *oaki_class_starts[OAKI_CLASSES];

/* All bitmaps in one block. A span is at most SPAN_MAX long, and most are far shorter. */
static uint64_t starts[STARTS_WORDS];

#define PAGE 8192u
#define SPAN_MAX (64u << 10)

static unsigned next_size(unsigned size)
{
    /* round(2^16 * 2^(i/6)) for i = 1 .. 6 */
    static const uint32_t sixth[] = { 73562, 82570, 92682, 104032, 116772, 131072 };
    if (size < 128) return size + 16;
    unsigned p = 1u << oaki_log2(size);
    if (size < 1024) return size + OAKI_MAX(16, p / 8);
    for (unsigned i = 0;; i++) {
        unsigned s = (unsigned)OAKI_ALIGN_UP(((uint64_t)p * sixth[i]) >> 16, 16);
        if (s > size) return s;
    }
}

#ifdef OAKI_DEBUG

/* Tests the first and the last byte of each slot: between them the quotient only grows. */
static bool divides(const oaki_class *c)
{
    for (size_t i = 0; i < c->nslots; i++)
        if (i * c->size * c->magic >> 32 != i || ((i + 1) * c->size - 1) * c->magic >> 32 != i)
            return false;
    return true;
}

#endif

static void fill_class(oaki_class *c, unsigned size)
{
    unsigned want = size <= 1024 ? 32 : size <= 8192 ? 4 : 2;
    unsigned bytes = (unsigned)OAKI_ALIGN_UP((size_t)size * want, PAGE);
    while ((bytes % size) * 8 > bytes && bytes < SPAN_MAX) bytes += PAGE;
    c->size = size;
    c->magic = (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
    c->nslots = bytes / size;
    c->npages = bytes / PAGE;
    OAKI_ASSERT(c->size % 16 == 0 && c->nslots > 0);
    OAKI_ASSERT((size_t)c->nslots * size <= bytes && bytes <= SPAN_MAX + PAGE);
    OAKI_CHECK_SLOW(divides(c));
}

static size_t fill_starts(unsigned cls, size_t at)
{
    const oaki_class *c = &oaki_classes[cls];
    size_t words = (size_t)c->npages * PAGE / 16 / 64;
    OAKI_INVARIANT(at + words <= STARTS_WORDS, "the masks of the size classes don't fit");
    for (size_t slot = 0, g = 0; slot < c->nslots; slot++, g += c->size / 16)
        starts[at + g / 64] |= (uint64_t)1 << (g % 64);
    oaki_class_starts[cls] = starts + at;
    return at + words;
}

void oaki_sizeclass_init(void)
{
    unsigned cls = 1, covered = 0;
    size_t at = 0;
    for (unsigned size = 16; size <= OAKI_SMALL_MAX; size = next_size(size), cls++) {
        OAKI_INVARIANT(cls < OAKI_CLASS_LARGE, "too many size classes");
        fill_class(&oaki_classes[cls], size);
        at = fill_starts(cls, at);
        for (; covered <= size; covered += 16) oaki_class_small[covered / 16] = (uint8_t)cls;
    }
    oaki_nclasses = cls;
}

/* freed.c - with verify=1: where the program has freed memory by hand.
 *
 * A live object may have a stale word to such a place for ever. During a mark an object may be
 * allocated there that dies unseen. The verifier must not take the word for a missed reference to
 * it. The collector's own frees leave no such words.
 *
 * Owns: oaki_gc.debug.freed, a table of bits by hash: one for each granule of small memory, or
 * each page of larger memory. Bits that collide, or are missing for want of memory, make the
 * verifier accept more words.
 * Lock: none; bits are only ever set. */
#include "verify.h"

#include "gc/contract.h"
#include "runtime/os.h"

#define LOG 23 /* of the bits */
#define BYTES ((size_t)1 << LOG >> 3)
#define WORD_BITS 64
#define SMALL ((size_t)512) /* bytes; more are noted by the page */

static oaki_freed *const self = &oaki_gc.debug.freed;

/* Granules and pages are different keys. */
static size_t bit_of(size_t off, bool page)
{
    uint64_t key = (uint64_t)(off >> (page ? OAKI_PAGE_SHIFT : OAKI_GRANULE_SHIFT)) << 1 | page;
    return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - LOG));
}

static AO_t *table(void)
{
    AO_t *bits = (AO_t *)AO_load_acquire(&self->bits), *made;
    if (bits || !(made = oaki_os_map(BYTES))) return bits;
    if (AO_compare_and_swap_full(&self->bits, 0, (AO_t)made)) return made;
    oaki_os_release(made, BYTES);
    return (AO_t *)AO_load_acquire(&self->bits);
}

static void set(AO_t *bits, size_t bit)
{
    AO_or(&bits[bit / WORD_BITS], (AO_t)1 << bit % WORD_BITS);
}

static bool get(const AO_t *bits, size_t bit)
{
    return AO_load(&bits[bit / WORD_BITS]) >> bit % WORD_BITS & 1;
}

void oaki_gc_note_freed(size_t off, size_t bytes)
{
    OAKI_ASSERT(oaki_debug_switches.verify);
    AO_t *bits = table();
    AO_store(&self->any, 1);
    if (!bits) return;
    bool page = bytes > SMALL;
    size_t each = page ? OAKI_PAGE : OAKI_GRANULE, end = off + bytes;
    for (off = OAKI_ALIGN_DOWN(off, each); off < end; off += each) set(bits, bit_of(off, page));
}

bool oaki_freed_has(size_t off)
{
    const AO_t *bits = (const AO_t *)AO_load_acquire(&self->bits);
    if (!bits) return AO_load(&self->any) != 0;
    return get(bits, bit_of(off, false)) || get(bits, bit_of(off, true));
}

/* mappings.c - the table of the memory that Oakum has mapped (mappings.h).
 *
 * Owns: the blocks of the table; the first is static, others are mapped when those before are full.
 * Invariant: a place is free while its address is 0. A block, once linked, stays.
 * Lock: none: a thread may be stopped, or interrupted by a handler, at any point here. The owner of
 * a mapping alone changes its place. Bound: O(mappings), of which a heap has a few dozen; each call
 * goes with a system call that maps or unmaps. */
#include "mappings.h"

#include <sys/mman.h>

#define BLOCK 4096

typedef struct mapping {
    AO_t p, size;
} mapping;

typedef struct block {
    AO_t next; /* struct block *, or 0 */
    AO_t spare;
    mapping at[BLOCK / sizeof(mapping) - 1];
} block;

_Static_assert(sizeof(block) == BLOCK, "a block is mapped by itself");

static block first;

static block *after(const block *b)
{
    return (block *)AO_load_acquire(&b->next);
}

/* Two threads may each map one: the second is linked behind the first. */
static bool add_block(block *last)
{
    void *p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    while (!AO_compare_and_swap_full(&last->next, 0, (AO_t)p)) last = after(last);
    return true;
}

bool oaki_mapping_add(void *p, size_t size)
{
    for (block *b = &first;; b = after(b)) {
        for (size_t i = 0; i < OAKI_COUNT(b->at); i++) {
            mapping *m = &b->at[i];
            if (AO_load(&m->p) != 0 || !AO_compare_and_swap_full(&m->p, 0, (AO_t)p)) continue;
            AO_store(&m->size, size);
            return true;
        }
        if (!after(b) && !add_block(b)) return false;
    }
}

static mapping *find(const void *p)
{
    for (block *b = &first; b; b = after(b))
        for (size_t i = 0; i < OAKI_COUNT(b->at); i++)
            if (AO_load(&b->at[i].p) == (AO_t)p) return &b->at[i];
    return NULL;
}

void oaki_mapping_remove(const void *p)
{
    mapping *m = find(p);
    if (m) AO_store_release(&m->p, 0);
}

void oaki_mapping_change(const void *p, void *to, size_t size)
{
    mapping *m = find(p);
    if (!m) return;
    AO_store(&m->size, size);
    AO_store_release(&m->p, (AO_t)to);
}

size_t oaki_mappings_count(void)
{
    size_t n = 0;
    for (const block *b = &first; b; b = after(b))
        for (size_t i = 0; i < OAKI_COUNT(b->at); i++) n += AO_load(&b->at[i].p) != 0;
    return n;
}

size_t oaki_mappings_release(void)
{
    size_t refused = 0;
    for (block *b = &first, *next; b; b = next) {
        next = after(b);
        for (size_t i = 0; i < OAKI_COUNT(b->at); i++) {
            mapping *m = &b->at[i];
            if (AO_load(&m->p) == 0) continue;
            if (munmap((void *)AO_load(&m->p), AO_load(&m->size)) != 0) refused++;
            AO_store(&m->p, 0);
        }
        if (b != &first) (void)munmap(b, BLOCK);
    }
    AO_store(&first.next, 0);
    return refused;
}

/* space.c - the reserved address range of the heap, and its tables.
 *
 * Owns: the mapping of the range, `committed`, and the mappings of the page table, span structs,
 * bitmaps and chunk counts. The range never moves; its end may be given back. All are reserved in
 * full at start, and made accessible in steps as the range grows. Each step changes the process's
 * mappings. That waits until no page fault is under way, such as one that clears a huge page.
 * Lock: pages_lock. */
#include "heap.h"
#include "meta.h"
#include "os.h"
#include <errno.h>
#include <sys/resource.h>

#define RESERVE_DEFAULT ((size_t)1 << 40)
#define RESERVE_MIN ((size_t)16 << 20)
#define RESERVE_LEAST ((size_t)512 << 10) /* where mappings must be locked */
#define RESERVE_MAX ((size_t)1 << 44) /* as in the table of options */
#define TABLE_STEP ((size_t)64 << 20) /* heap bytes served by one step of the tables, or more */
#define LEAST_SHARE 12 /* the shift of the smallest table */
#define ROOM_FROM ((size_t)16 << 20)  /* bytes of the range, for sixteen of metadata's regions */
#define PART 16 /* the range's step is this part of committed, from a chunk to TABLE_STEP */

/* Each table's size is a power-of-two share of the range's, so that a step is whole pages in all of
 * them. */
static const struct table {
    unsigned shift; /* bytes of the range for a byte of the table, as a power of two */
    size_t at;      /* offset in oaki_heap of the pointer */
} tables[] = {
    { 11, offsetof(oaki_heap, pte) },  /* 4 bytes per page */
    { 7, offsetof(oaki_heap, spans) }, /* 64 bytes per page */
    { 7, offsetof(oaki_heap, alloc) }, /* one bit per 16 bytes */
    { 9, offsetof(oaki_heap, mark[0]) }, /* a quarter of the mark bits in each */
    { 9, offsetof(oaki_heap, mark[1]) },
    { 9, offsetof(oaki_heap, mark[2]) },
    { 9, offsetof(oaki_heap, mark[3]) },
    /* 4 bytes per 4 MiB would be enough; 1 KiB, so that a step is whole pages */
    { LEAST_SHARE, offsetof(oaki_heap, chunk_inuse) },
};

/* A page's number + 1 fits the 32 bits that it has in lists and tables. */
_Static_assert(RESERVE_MAX / OAKI_PAGE < UINT32_MAX, "page numbers are 32 bits wide");

static void **table_pointer(const struct table *t)
{
    return (void **)((char *)&oaki_the_heap + t->at);
}

/* The bytes of a table for `size` bytes of the range. The smallest range is part of a chunk, and a
 * chunk's tables are whole. */
static size_t table_bytes(const struct table *t, size_t size)
{
    return OAKI_ALIGN_UP(size, OAKI_CHUNK) >> t->shift;
}

static void release_tables(size_t size, size_t n)
{
    while (n-- > 0) oaki_os_release(*table_pointer(&tables[n]), table_bytes(&tables[n], size));
}

static size_t table_room(const struct table *t, size_t size)
{
    return OAKI_ALIGN_UP(table_bytes(t, size), oaki_os_page_size());
}

/* In one call, for a fast start; then each is a mapping of its own, as they are shortened apart. */
static bool reserve_tables(size_t size)
{
    size_t left = 0, i = 0;
    for (; i < OAKI_COUNT(tables); i++) left += table_room(&tables[i], size);
    char *at = oaki_os_reserve(left, oaki_os_page_size());
    if (!at) return false;
    for (i = 0; i < OAKI_COUNT(tables); i++) {
        size_t own = table_room(&tables[i], size);
        if (own < left && !oaki_os_split(at, left, own)) {
            release_tables(size, i);
            oaki_os_release(at, left);
            errno = ENOMEM;
            return false;
        }
        *table_pointer(&tables[i]) = at;
        at += own;
        left -= own;
    }
    OAKI_ASSERT(left == 0);
    return true;
}

static bool try_reserve(size_t size)
{
    oaki_heap *h = &oaki_the_heap;
    void *p = oaki_os_reserve(size, OAKI_CHUNK);
    if (!p) return false;
    if (!reserve_tables(size)) {
        int error = errno;
        oaki_os_release(p, size);
        errno = error;
        return false;
    }
    h->base = (uintptr_t)p;
    h->reserved = size;
    return true;
}

/* Under an address space limit the heap takes at most half of it, which leaves the host room for
 * stacks and libraries. Otherwise it takes a power of two. */
static size_t reserve_wanted(size_t asked)
{
    size_t want = asked ? OAKI_MIN(asked, RESERVE_MAX) : RESERVE_DEFAULT;
    size_t least = TABLE_STEP, half = SIZE_MAX;
    struct rlimit rl;
    if (getrlimit(RLIMIT_AS, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY) {
        half = (size_t)rl.rlim_cur / 2;
        while (least > RESERVE_MIN && least > half) least /= 2;
    }
    if (half < want) return OAKI_MAX(OAKI_ALIGN_DOWN(half, RESERVE_MIN), least);
    size_t size = least;
    while (size <= want / 2) size *= 2;
    return size;
}

/* Gives back the end of the range, and of its tables. */
static void shorten(size_t keep)
{
    oaki_heap *h = &oaki_the_heap;
    size_t had = h->reserved;
    OAKI_ASSERT(h->committed <= keep && keep < had);
    h->reserved = keep;
    oaki_os_shorten((void *)h->base, had, keep);
    for (size_t i = 0; i < OAKI_COUNT(tables); i++)
        oaki_os_shorten(*table_pointer(&tables[i]), table_bytes(&tables[i], had),
                        table_bytes(&tables[i], keep));
}

/* After mlockall(MCL_FUTURE), every mapping counts as locked, a reservation too. RLIMIT_MEMLOCK
 * bounds that: EAGAIN. The heap takes half of the room that it can get, as metadata and the host
 * need some too. */
static bool reserve_locked(size_t size)
{
    while (size >= RESERVE_LEAST && !try_reserve(size)) size /= 2;
    if (size < RESERVE_LEAST) return false;
    if (size > RESERVE_LEAST) shorten(size / 2);
    return true;
}

int oaki_space_init(size_t reserve)
{
    OAKI_REQUIRES_STARTING();
    size_t size = reserve_wanted(reserve);
    for (; size >= RESERVE_MIN; size = OAKI_ALIGN_DOWN(size / 2, RESERVE_MIN)) {
        if (try_reserve(size)) return 0;
        if (errno == EAGAIN) break;
    }
    if (errno == EAGAIN && reserve_locked(size / 2)) return 0;
    errno = ENOMEM;
    return -1;
}

void oaki_space_limit(size_t most)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    size_t had = h->reserved, least = OAKI_ALIGN_UP(h->committed, RESERVE_MIN);
    size_t keep = OAKI_MAX(OAKI_ALIGN_DOWN(most, RESERVE_MIN), least);
    keep = OAKI_MAX(keep, RESERVE_MIN);
    if (keep < had) shorten(keep);
}

static bool commit_tables(size_t from, size_t to)
{
    oaki_heap *h = &oaki_the_heap;
    size_t step = OAKI_MAX(TABLE_STEP, oaki_os_page_size() << LEAST_SHARE);
    from = OAKI_ALIGN_UP(from, step);
    to = OAKI_MIN(OAKI_ALIGN_UP(to, step), OAKI_ALIGN_UP(h->reserved, OAKI_CHUNK));
    if (from >= to) return true;
    for (size_t i = 0; i < OAKI_COUNT(tables); i++) {
        char *t = *table_pointer(&tables[i]);
        if (oaki_os_commit(t + (from >> tables[i].shift), (to - from) >> tables[i].shift) != 0)
            return false;
    }
    return true;
}

/* All of the range from OAKI_HUGE_FROM on has one advice, also where it isn't committed. So memory
 * that is committed joins its neighbour's mapping: growth needs none of its own, not even for a
 * moment. Of two threads, the one that is last sees the other's small_pages or `advised`. */
void oaki_space_advise(void)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_ASSERT(h->config.huge_pages);
    AO_t small;
    do {
        small = AO_load_full(&h->small_pages);
        size_t from = small ? 0 : OAKI_HUGE_FROM;
        if (from < h->reserved)
            oaki_os_huge((char *)h->base + from, h->reserved - from, !small);
    } while (AO_load_full(&h->small_pages) != small);
}

static bool commit(size_t to)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    OAKI_ASSERT(h->committed < to && to <= h->reserved);
    size_t from = h->committed;
    char *p = (char *)(h->base + from);
    if (!commit_tables(from, to) || oaki_os_commit(p, to - from) != 0) return false;
    h->committed = to;
    if (h->config.huge_pages && from <= OAKI_HUGE_FROM && to > OAKI_HUGE_FROM) {
        AO_store_full(&h->advised, 1);
        oaki_space_advise();
    }
    return true;
}

/* Commits a whole step, or only the part needed if there isn't room for more. */
static bool commit_step(size_t to)
{
    oaki_heap *h = &oaki_the_heap;
    size_t step = OAKI_MIN(OAKI_ALIGN_UP(h->committed / PART, OAKI_CHUNK), TABLE_STEP);
    size_t more = OAKI_MIN(OAKI_MAX(to, h->committed + step), h->reserved);
    return to <= h->committed || commit(more) || commit(to);
}

void oaki_space_prepare(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.pages_lock);
    size_t to = AO_load(&oaki_the_heap.used) + OAKI_CHUNK;
    if (to <= oaki_the_heap.reserved) (void)commit_step(to);
}

void oaki_space_touch(size_t off, size_t bytes)
{
    OAKI_ASSERT(off + bytes <= oaki_the_heap.reserved);
    for (size_t i = 0; i < OAKI_COUNT(tables); i++) {
        char *t = *table_pointer(&tables[i]);
        size_t from = OAKI_ALIGN_DOWN(off >> tables[i].shift, 4096);
        oaki_os_touch(t + from, OAKI_ALIGN_UP((off + bytes) >> tables[i].shift, 4096) - from);
    }
    oaki_os_touch((char *)oaki_the_heap.base + off, bytes);
}

/* Under a system limit the heap leaves room for metadata, as an allocation may need some. No
 * collection gives back the part of the limit that the range has taken. A heap below ROOM_FROM
 * needs the rest of the limit for objects. */
int oaki_space_grow(size_t min_bytes, size_t *page, size_t *npages)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->pages_lock);
    size_t used = AO_load(&h->used), left = h->reserved - used;
    if (min_bytes > left) {
        errno = ENOMEM;
        return -1;
    }
    size_t bytes = OAKI_MIN(OAKI_ALIGN_UP(min_bytes, OAKI_CHUNK), left);
    bool keeps = used + bytes > ROOM_FROM && oaki_os_limited();
    if ((keeps && !oaki_meta_keep_room()) || !commit_step(used + bytes)) {
        errno = ENOMEM;
        return -1;
    }
    *page = used >> OAKI_PAGE_SHIFT;
    *npages = bytes >> OAKI_PAGE_SHIFT;
    OAKI_ASSERT(used + bytes <= h->committed && h->committed <= h->reserved);
    AO_store_release(&h->used, used + bytes);
    return 0;
}

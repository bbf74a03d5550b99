/* meta_builtin.c - metadata on page runs of its own.
 *
 * Small blocks come from slabs: 64 KiB, aligned to their size, so that a block finds its slab; each
 * cut into slots of one class (four classes to a doubling, as in jemalloc, so at most a quarter is
 * lost). A larger block is a mapping of its own.
 *
 * Owns: the slabs and the counts of mapped bytes.
 * Invariants: a slab is in its class's list exactly when it has a free slot and a used one; an
 * empty slab is in the spare list or gone; a slot is free, used, or above `carved`.
 * Lock: `lock` guards slabs and lists; the counts are atomic.
 * Bound: O(1), but for the system calls that map and unmap. */
#include "lock.h"
#include "meta_backend.h"
#include "os.h"

#include <errno.h>
#include <string.h>

#define SLAB ((size_t)64 << 10)
/* Three to a slab; a thread's cache is one of them, and is not mapped anew for each thread. */
#define SMALL_MAX ((size_t)16 << 10)
#define CLASSES 36
#define SPARES 4 /* empty slabs kept for the next use */

typedef struct slot {
    struct slot *next;
} slot;

typedef struct slab {
    struct slab *next, *prev;
    slot *free;
    size_t carved;  /* bytes from the start that are header or slots handed out at least once */
    size_t touched; /* most that carved has been */
    unsigned class, used, slots;
} slab;

#define HEADER OAKI_ALIGN_UP(sizeof(slab), 16)

static oaki_lock lock = OAKI_LOCK_INIT(OAKI_RANK_META);
static slab *partial[CLASSES];
static slab *spare;
static size_t spares;
static AO_t slab_bytes, touched_bytes, large_bytes;

static unsigned class_of(size_t n)
{
    if (n <= 64) return (unsigned)((n + 15) / 16 - 1);
    unsigned doubling = oaki_log2(n - 1);
    return (doubling - 6) * 4 + (unsigned)((n - 1) >> (doubling - 2));
}

static size_t class_size(unsigned class)
{
    if (class < 4) return 16 * (size_t)(class + 1);
    unsigned doubling = (class - 4) / 4;
    return ((size_t)64 << doubling) + (size_t)((class - 4) % 4 + 1) * ((size_t)16 << doubling);
}

static void list_add(slab **head, slab *s)
{
    s->prev = NULL;
    s->next = *head;
    if (*head) (*head)->prev = s;
    *head = s;
}

static void list_remove(slab **head, slab *s)
{
    if (s->prev)
        s->prev->next = s->next;
    else
        *head = s->next;
    if (s->next) s->next->prev = s->prev;
}

static slab *slab_map(void)
{
    slab *s = oaki_os_reserve(SLAB, SLAB);
    if (!s) return NULL;
    if (oaki_os_commit(s, SLAB) != 0) {
        oaki_os_release(s, SLAB);
        return NULL;
    }
    oaki_count_add(&slab_bytes, SLAB);
    return s;
}

/* An empty slab for the class, in its list. */
static slab *slab_new(unsigned class)
{
    slab *s = spare;
    if (s) {
        list_remove(&spare, s);
        spares--;
    } else if (!(s = slab_map())) {
        return NULL;
    }
    s->free = NULL;
    s->carved = HEADER;
    s->class = class;
    s->used = 0;
    s->slots = (unsigned)((SLAB - HEADER) / class_size(class));
    list_add(&partial[class], s);
    return s;
}

static void slab_retire(slab *s)
{
    list_remove(&partial[s->class], s);
    if (spares < SPARES) {
        list_add(&spare, s);
        spares++;
        return;
    }
    oaki_count_sub(&touched_bytes, s->touched);
    oaki_count_sub(&slab_bytes, SLAB);
    oaki_os_release(s, SLAB);
}

static void *slab_carve(slab *s)
{
    void *p = (char *)s + s->carved;
    s->carved += class_size(s->class);
    if (s->carved > s->touched) {
        oaki_count_add(&touched_bytes, s->carved - s->touched);
        s->touched = s->carved;
    }
    return p;
}

static void *small_alloc(size_t n)
{
    unsigned class = class_of(n);
    void *p = NULL;
    oaki_lock_acquire(&lock);
    slab *s = partial[class] ? partial[class] : slab_new(class);
    if (s) {
        if (s->free) {
            p = s->free;
            s->free = s->free->next;
        } else {
            p = slab_carve(s);
        }
        if (++s->used == s->slots) list_remove(&partial[class], s);
    }
    oaki_lock_release(&lock);
    return p;
}

static void small_free(void *p, size_t n)
{
    slab *s = (slab *)OAKI_ALIGN_DOWN((uintptr_t)p, SLAB);
    oaki_lock_acquire(&lock);
    OAKI_INVARIANT(s->class == class_of(n),
                   "metadata is freed with another size than it was given");
    slot *f = p;
    f->next = s->free;
    s->free = f;
    if (s->used-- == s->slots) list_add(&partial[s->class], s);
    if (s->used == 0) slab_retire(s);
    oaki_lock_release(&lock);
}

static size_t bi_rounded(size_t n)
{
    if (n <= SMALL_MAX) return class_size(class_of(n));
    return n < SIZE_MAX / 2 ? OAKI_ALIGN_UP(n, oaki_os_page_size()) : 0;
}

static void *large_alloc(size_t n)
{
    n = bi_rounded(n);
    void *p = oaki_os_map(n);
    if (p) oaki_count_add(&large_bytes, n);
    return p;
}

static void *bi_alloc(size_t n)
{
    return n <= SMALL_MAX ? small_alloc(n) : large_alloc(n);
}

static void *bi_zalloc(size_t n)
{
    if (n > SMALL_MAX) return large_alloc(n);
    void *p = small_alloc(n);
    return p ? memset(p, 0, n) : NULL;
}

static void bi_free(void *p, size_t n)
{
    if (n <= SMALL_MAX) {
        small_free(p, n);
        return;
    }
    n = bi_rounded(n);
    oaki_count_sub(&large_bytes, n);
    oaki_os_release(p, n);
}

static size_t bi_mapped(void)
{
    return oaki_count_get(&slab_bytes) + oaki_count_get(&large_bytes);
}

/* What may have been touched: an upper bound, short of part of a page in each slab. */
static size_t bi_resident(void)
{
    return oaki_count_get(&touched_bytes) + oaki_count_get(&large_bytes);
}

static void bi_fork(int stage)
{
    if (stage == 0)
        oaki_lock_acquire(&lock);
    else if (stage == 1)
        oaki_lock_release(&lock);
    else
        oaki_lock_reset(&lock);
}

static bool bi_fits(void)
{
    return true;
}

static int bi_init(void)
{
    return 0;
}

static const char *bi_name(void)
{
    return "built-in";
}

const oaki_meta_ops oaki_meta_builtin = {
    .fits = bi_fits,
    .init = bi_init,
    .alloc = bi_alloc,
    .zalloc = bi_zalloc,
    .free = bi_free,
    .rounded = bi_rounded,
    .mapped = bi_mapped,
    .resident = bi_resident,
    .fork = bi_fork,
    .name = bi_name,
};

/* meta_builtin.c - metadata in memory of its own.
 *
 * Blocks of up to 16 KiB come from slabs: 64 KiB, aligned to their size, so that a block finds its
 * slab. Each slab is cut into slots of one class. There are four classes to a doubling, as in
 * jemalloc, so at most a quarter is lost. A block of up to 256 KiB is a run of units
 * (meta_region.c), as a slab is. A larger block is a mapping of its own, which is moved and not
 * copied when it grows.
 *
 * Owns: the slabs and the counts.
 * Invariants: a slab is in its class's list exactly when it has a free slot and a used one. A slot
 * is free, used, or above `carved`. Memory above `touched` reads as zero.
 * Lock: `lock` guards slabs and lists, and is held during no system call; the counts are atomic.
 * Bound: O(1), except for the system calls that map and unmap. */
#include "contract.h"
#include "lock.h"
#include "meta_backend.h"
#include "meta_region.h"
#include "os.h"

#include <errno.h>
#include <string.h>

#define SLAB (OAKI_META_SLAB_UNITS * OAKI_META_UNIT)
/* Three to a slab. A thread's cache is such a block, so it is not mapped anew for each thread. */
#define SMALL_MAX ((size_t)16 << 10)
#define RUN_MAX (OAKI_META_RUN_MAX * OAKI_META_UNIT)
#define CLASSES 36

typedef struct slot {
    struct slot *next;
} slot;

typedef struct slab {
    struct slab *next, *prev;
    slot *free;
    /* bytes from the start: the header, and slots that were handed out at least once */
    size_t carved;
    size_t touched; /* bytes from the start that may not read as zero */
    unsigned class, used, slots;
} slab;

#define HEADER OAKI_ALIGN_UP(sizeof(slab), 16)

static oaki_lock lock = OAKI_LOCK_INIT(OAKI_RANK_META);
static slab *partial[CLASSES];
static AO_t untouched_bytes, large_bytes;

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

/* An empty slab for the class, in no list. */
static slab *slab_new(unsigned class)
{
    bool zero;
    slab *s = oaki_meta_run_take(OAKI_META_SLAB_UNITS, true, &zero);
    if (!s) return NULL;
    *s = (slab){ .carved = HEADER,
                 .touched = zero ? HEADER : SLAB,
                 .class = class,
                 .slots = (unsigned)((SLAB - HEADER) / class_size(class)) };
    oaki_count_add(&untouched_bytes, SLAB - s->touched);
    return s;
}

static void slab_retire(slab *s)
{
    OAKI_ASSERT(s->used == 0 && s->carved <= s->touched && s->touched <= SLAB);
    oaki_count_sub(&untouched_bytes, SLAB - s->touched);
    oaki_meta_run_give(s, OAKI_META_SLAB_UNITS, s->touched);
}


static void *slab_carve(slab *s, bool *zero)
{
    void *p = (char *)s + s->carved;
    OAKI_ASSERT(s->carved + class_size(s->class) <= SLAB);
    *zero = s->carved >= s->touched;
    s->carved += class_size(s->class);
    if (s->carved > s->touched) {
        oaki_count_sub(&untouched_bytes, s->carved - s->touched);
        s->touched = s->carved;
    }
    return p;
}

static void *slot_take(slab *s, bool *zero)
{
    OAKI_REQUIRES_LOCK(&lock);
    OAKI_ASSERT(s->used < s->slots && s->class < CLASSES);
    void *p = s->free;
    *zero = false;
    if (p) s->free = s->free->next;
    else p = slab_carve(s, zero);
    if (++s->used == s->slots) list_remove(&partial[s->class], s);
    return p;
}

/* Is the slab empty now, and so in no list? */
static bool slot_give(slab *s, void *p)
{
    slot *f = p;
    OAKI_REQUIRES_LOCK(&lock);
    OAKI_ASSERT(s->used > 0 && (size_t)((char *)p - (char *)s) < s->carved);
    OAKI_ASSERT(((size_t)((char *)p - (char *)s) - HEADER) % class_size(s->class) == 0);
    f->next = s->free;
    s->free = f;
    if (s->used-- == s->slots) list_add(&partial[s->class], s);
    if (s->used > 0) return false;
    list_remove(&partial[s->class], s);
    return true;
}

/* ---- lock not held ---- */

/* *zero: does all of it read as zero? */
static void *small_alloc(size_t n, bool *zero)
{
    unsigned class = class_of(n);
    slab *fresh = NULL;
    oaki_lock_acquire(&lock);
    if (!partial[class]) {
        oaki_lock_release(&lock);
        if (!(fresh = slab_new(class))) return NULL;
        oaki_lock_acquire(&lock);
        list_add(&partial[class], fresh);
    }
    void *p = slot_take(partial[class], zero);
    oaki_lock_release(&lock);
    return p;
}

static void small_free(void *p, size_t n)
{
    slab *s = (slab *)OAKI_ALIGN_DOWN((uintptr_t)p, SLAB);
    oaki_lock_acquire(&lock);
    OAKI_INVARIANT(s->class == class_of(n),
                   "metadata is freed with another size than it was given");
    bool gone = slot_give(s, p);
    oaki_lock_release(&lock);
    if (gone) slab_retire(s);
}

static size_t bi_rounded(size_t n)
{
    if (n <= SMALL_MAX) return class_size(class_of(n));
    size_t page = oaki_os_page_size();
    if (n <= RUN_MAX) page = OAKI_MIN(page, (size_t)OAKI_META_UNIT); /* two sizes aren't one */
    return n < SIZE_MAX / 2 ? OAKI_ALIGN_UP(n, page) : 0;
}

static unsigned units_of(size_t n)
{
    return (unsigned)(OAKI_ALIGN_UP(n, OAKI_META_UNIT) / OAKI_META_UNIT);
}

static void *large_alloc(size_t n)
{
    n = bi_rounded(n);
    void *p = oaki_os_map(n);
    if (p) oaki_count_add(&large_bytes, n);
    return p;
}

static void *get(size_t n, bool *zero)
{
    *zero = true;
    if (n <= SMALL_MAX) return small_alloc(n, zero);
    if (n <= RUN_MAX) return oaki_meta_run_take(units_of(n), false, zero);
    return large_alloc(n);
}

static void *bi_alloc(size_t n)
{
    bool zero;
    return get(n, &zero);
}

static void *bi_zalloc(size_t n)
{
    bool zero;
    void *p = get(n, &zero);
    return p && !zero ? memset(p, 0, n) : p;
}

static void bi_free(void *p, size_t n)
{
    if (n <= SMALL_MAX) {
        small_free(p, n);
    } else if (n <= RUN_MAX) {
        oaki_meta_run_give(p, units_of(n), n);
    } else {
        n = bi_rounded(n);
        oaki_count_sub(&large_bytes, n);
        oaki_os_release(p, n);
    }
}

static void *bi_resize(void *p, size_t old, size_t n)
{
    if (OAKI_MIN(old, n) <= RUN_MAX) return NULL;
    old = bi_rounded(old);
    n = bi_rounded(n);
    void *q = oaki_os_remap(p, old, n);
    if (q) oaki_count_add(&large_bytes, n - old);
    return q;
}

static size_t bi_mapped(void)
{
    return oaki_meta_runs_held() + oaki_count_get(&large_bytes);
}

/* Memory that may have been touched: an upper bound, except for part of a page in each slab. The
 * counts are not read at one moment. */
static size_t bi_resident(void)
{
    size_t mapped = bi_mapped();
    return mapped - OAKI_MIN(mapped, oaki_count_get(&untouched_bytes));
}

static void bi_fork(int stage)
{
    if (stage == 0) {
        oaki_lock_acquire(&lock);
        oaki_meta_runs_fork(stage);
        return;
    }
    oaki_meta_runs_fork(stage);
    if (stage == 1) oaki_lock_release(&lock);
    else oaki_lock_reset(&lock);
}

static const char *check_slab(const slab *s, unsigned class)
{
    size_t free = 0;
    for (const slot *f = s->free; f; f = f->next, free++)
        if ((size_t)((const char *)f - (const char *)s) >= s->carved)
            return "metadata: a free slot lies in its slab";
    size_t carved = (s->carved - HEADER) / class_size(class);
    if (s->class != class || s->used == 0 || s->used >= s->slots)
        return "metadata: a slab in a list has a free slot and a used one";
    return s->used + free == carved ? NULL : "metadata: a slot is free, used, or not carved";
}

static const char *bi_check(void)
{
    const char *broken = NULL;
    oaki_lock_acquire(&lock);
    for (unsigned class = 0; class < CLASSES; class++)
        for (const slab *s = partial[class]; s && !broken; s = s->next)
            broken = check_slab(s, class);
    oaki_lock_release(&lock);
    return broken ? broken : oaki_meta_runs_check();
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
    .resize = bi_resize,
    .keep_room = oaki_meta_runs_keep_room,
    .rounded = bi_rounded,
    .mapped = bi_mapped,
    .resident = bi_resident,
    .check = bi_check,
    .fork = bi_fork,
    .name = bi_name,
};

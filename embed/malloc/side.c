/* side.c - the side range: memory for calls of malloc that can't enter the heap. These are calls:
 * - while the heap starts, or the thread attaches;
 * - from inside of the runtime, whose pthread_create allocates vectors for the stack;
 * - from a signal handler that has interrupted the runtime;
 * - from a thread that has detached.
 *
 * The range is separate, so that an address shows to which allocator it belongs. Blocks are powers
 * of two with a head of 16 bytes. Freed blocks go into a list of their size. Few blocks are
 * expected.
 *
 * Owns: the range. Lock: `owner`, the id of the thread that holds it. The holder masks its signals,
 * as a handler that calls malloc would wait for itself. A pause never stops the holder: it is
 * unattached, inside of the runtime, or the thread that forks. Bound: O(1), and a wait for some
 * instructions of another thread. */
#include "preload.h"
#include "runtime/os.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define RESERVE ((size_t)4 << 30)
#define RESERVE_LEAST ((size_t)4 << 20)
#define LIMIT_SHARE 64 /* the range is at most this part of an address space limit */
#define COMMIT ((size_t)256 << 10)
#define CLASSES 40
#define MAGIC 0x6f616b756d736964u

/* The head of a block: just before the returned address. */
typedef struct head {
    uint64_t magic;
    uint32_t class, back; /* back: bytes from the block's start to the returned address */
} head;

typedef struct block {
    struct block *next;
} block;

static struct {
    unsigned int owner; /* AO_int */
    char *base, *end;
    AO_t at, committed; /* offsets */
    block *free[CLASSES];
} side;

/* Take the lock. Returns the previous signal mask. */
static uint64_t enter(void)
{
    unsigned int me = (unsigned int)oaki_os_tid();
    uint64_t before = oaki_os_mask_signals(0);
    while (!AO_int_compare_and_swap_full(&side.owner, 0, me)) {
        if (AO_int_load(&side.owner) == me)
            oak_fatal("oakum: malloc: called from a handler of pthread_atfork inside of Oakum's");
        oaki_os_yield();
    }
    return before;
}

static void leave(uint64_t before)
{
    AO_int_store_release(&side.owner, 0);
    oaki_os_unmask_signals(before);
}

/* The size of the range under an address space limit, in bytes. */
static size_t share_of(size_t limit)
{
    size_t n = OAKI_ALIGN_DOWN(OAKI_MIN(limit / LIMIT_SHARE, RESERVE), RESERVE_LEAST);
    return OAKI_MAX(n, RESERVE_LEAST);
}

/* Reserve the range. */
static bool reserve(void)
{
    OAKI_ASSERT(AO_int_load(&side.owner) == (unsigned int)oaki_os_tid());
    struct rlimit l;
    size_t most = getrlimit(RLIMIT_AS, &l) == 0 ? share_of((size_t)l.rlim_cur) : RESERVE;
    for (size_t n = most; !side.base && n >= COMMIT; n /= 2) {
        char *p = oaki_os_reserve(n, COMMIT);
        if (!p) continue;
        side.end = p + n;
        AO_compiler_barrier();
        side.base = p;
    }
    return side.base != NULL;
}

static void *carve(size_t bytes)
{
    size_t at = AO_load(&side.at);
    if (!side.base && !reserve()) return NULL;
    if (bytes > (size_t)(side.end - side.base) - at) return NULL;
    size_t need = OAKI_ALIGN_UP(at + bytes, COMMIT), have = AO_load(&side.committed);
    if (need > have) {
        if (oaki_os_commit(side.base + have, need - have) != 0) return NULL;
        AO_store_release(&side.committed, need);
    }
    AO_store_release(&side.at, at + bytes);
    return side.base + at;
}

void oaki_side_limit(size_t limit)
{
    uint64_t mask = enter();
    size_t keep = OAKI_MAX(share_of(limit), AO_load(&side.committed));
    if (side.base && keep < (size_t)(side.end - side.base)) {
        oaki_os_shorten(side.base, (size_t)(side.end - side.base), keep);
        side.end = side.base + keep;
    }
    leave(mask);
}

void *oaki_side_alloc(size_t n, size_t align)
{
    int saved = errno;
    size_t want = n + sizeof(head) + (align > 16 ? align : 0);
    if (n > (size_t)1 << 38 || align > (size_t)1 << 30) {
        errno = ENOMEM;
        return NULL;
    }
    unsigned class = oaki_log2(OAKI_MAX(want, (size_t)32) - 1) + 1;
    uint64_t mask = enter();
    block *b = side.free[class];
    if (b) side.free[class] = b->next;
    else b = carve((size_t)1 << class);
    leave(mask);
    if (!b) {
        errno = ENOMEM;
        return NULL;
    }
    memset(b, 0, want);
    char *p = (char *)OAKI_ALIGN_UP((uintptr_t)b + sizeof(head), OAKI_MAX(align, (size_t)16));
    ((head *)p)[-1] = (head){ MAGIC, class, (uint32_t)(p - (char *)b) };
    errno = saved;
    return p;
}

bool oaki_side_has(const void *p)
{
    return side.base && (const char *)p >= side.base && (const char *)p < side.end;
}

static head *head_of(const void *p, const char *what)
{
    head *h = (head *)p - 1;
    if (((uintptr_t)p & 15) != 0 || (const char *)p >= side.base + AO_load(&side.at) ||
        h->magic != MAGIC)
        oak_fatal("oakum: %s: %p is not memory from malloc: was it freed already?", what, p);
    return h;
}

void oaki_side_free(void *p)
{
    head *h = head_of(p, "free");
    block *b = (block *)((char *)p - h->back);
    unsigned class = h->class;
    h->magic = 0;
    memset(p, 0, ((size_t)1 << class) - h->back); /* the range is a root of leak checks */
    uint64_t mask = enter();
    b->next = side.free[class];
    side.free[class] = b;
    leave(mask);
}

size_t oaki_side_size(const void *p)
{
    const head *h = head_of(p, "realloc");
    return ((size_t)1 << h->class) - h->back;
}

void oaki_side_range(const char **lo, const char **hi)
{
    *lo = side.base;
    *hi = side.base ? side.base + AO_load(&side.at) : NULL;
}

/* ---- fork: this lock is taken last, as handlers of other libraries may call malloc ---- */

static uint64_t mask_before; /* of the thread that forks; under the lock */

static void before_fork(void)
{
    mask_before = enter();
}

static void after_fork(void)
{
    leave(mask_before);
}

static __attribute__((constructor(101))) void register_handlers(void)
{
    oaki_fork_stays = true; /* the report comes after this library's destructors */
    oaki_fork_at(before_fork, after_fork, after_fork);
}

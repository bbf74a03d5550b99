/* own.c - Oakum's own mappings: the heap's range and tables, metadata, images. They contain
 * addresses of all objects, so they must not be scanned for references.
 *
 * The linker's --wrap redirects the functions of runtime/os.h that map and unmap to this file. So
 * the runtime doesn't depend on it.
 *
 * Owns: the table, an open-addressed set of extents by their start. Lock: `holder`, a spin lock
 * whose value is the process id of its holder. A forked child takes over a lock that its parent
 * holds. At worst the child's table then lacks an extent that another thread was about to add. The
 * holder blocks all signals: in a stop or a handler it would keep others from the lock.
 * Bound: O(1) expected. */
#include "preload.h"
#include "runtime/os.h"
#include <sys/mman.h>
#include <unistd.h>

#define FIRST 1024 /* places, a power of two */
#define GONE ((uintptr_t)1)

static oaki_extent first[FIRST];
static struct {
    unsigned int holder; /* AO_int */
    oaki_extent *place;
    size_t cap, used; /* used includes removed extents */
    size_t n;
} own = { .place = first, .cap = FIRST };

/* Returns the previous signal mask. */
static uint64_t lock(void)
{
    unsigned int me = (unsigned int)oaki_os_pid(), other;
    uint64_t before = oaki_os_mask_signals(0);
    while ((other = AO_int_load(&own.holder)) == me ||
           !AO_int_compare_and_swap_acquire(&own.holder, other, me))
        oaki_os_yield();
    return before;
}

static void unlock(uint64_t before)
{
    AO_int_store_release(&own.holder, 0);
    oaki_os_unmask_signals(before);
}

static size_t hash(uintptr_t lo)
{
    return (size_t)(((lo >> 12) * 0x9e3779b97f4a7c15u) >> 32) & (own.cap - 1);
}

/* An extent that begins where another does replaces it. Otherwise the first removed one's place is
 * used. */
static void put(oaki_extent e)
{
    size_t i = hash(e.lo), gone = own.cap;
    for (; own.place[i].lo != 0 && own.place[i].lo != e.lo; i = (i + 1) & (own.cap - 1))
        if (own.place[i].lo == GONE && gone == own.cap) gone = i;
    if (own.place[i].lo == 0) {
        own.n++;
        if (gone == own.cap) own.used++;
        else i = gone;
    }
    own.place[i] = e;
}

/* Enlarge the table if need be. Without memory it stays as it is, and searches may take long. */
static void make_room(void)
{
    if (own.used * 2 < own.cap) return;
    size_t cap = own.n * 4 > own.cap ? own.cap * 2 : own.cap, old_cap = own.cap;
    oaki_extent *old = own.place;
    void *p = mmap(NULL, cap * sizeof *old, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0);
    if (p == MAP_FAILED) return;
    own.place = p;
    own.cap = cap;
    own.used = own.n = 0;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].lo > GONE && old[i].lo != (uintptr_t)old) put(old[i]);
    put((oaki_extent){ (uintptr_t)p, (uintptr_t)p + cap * sizeof *old });
    if (old != first) munmap(old, old_cap * sizeof *old);
}

void oaki_own_add(const void *p, size_t n)
{
    uint64_t before = lock();
    make_room();
    if (own.used + 1 < own.cap) put((oaki_extent){ (uintptr_t)p, (uintptr_t)p + n });
    unlock(before);
}

void oaki_own_remove(const void *p)
{
    uint64_t before = lock();
    size_t i = hash((uintptr_t)p);
    while (own.place[i].lo != 0 && own.place[i].lo != (uintptr_t)p) i = (i + 1) & (own.cap - 1);
    if (own.place[i].lo != 0) {
        own.place[i] = (oaki_extent){ GONE, 0 };
        own.n--;
    }
    unlock(before);
}

static void sift(oaki_extent *a, size_t i, size_t n)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && a[child + 1].lo > a[child].lo) child++;
        if (a[i].lo >= a[child].lo) return;
        oaki_extent x = a[i];
        a[i] = a[child];
        a[child] = x;
    }
}

/* Takes no lock: in an image there is no other thread. The copy has room for its own mapping, too.
 */
oaki_extent *oaki_own_sorted(size_t *n, size_t *mapped)
{
    size_t got = 0;
    *mapped = OAKI_ALIGN_UP((own.n + 2) * sizeof(oaki_extent), oaki_os_page_size());
    oaki_extent *a = oaki_os_map_scratch(*mapped);
    if (!a) return NULL;
    for (size_t i = 0; i < own.cap && got < *mapped / sizeof *a; i++)
        if (own.place[i].lo > GONE) a[got++] = own.place[i];
    *n = got;
    for (size_t i = got / 2; i-- > 0;) sift(a, i, got);
    while (got-- > 1) {
        oaki_extent x = a[0];
        a[0] = a[got];
        a[got] = x;
        sift(a, 0, got);
    }
    return a;
}

/* ---- replacements for functions of runtime/os.h ---- */

void *__real_oaki_os_map(size_t size);
void *__real_oaki_os_map_scratch(size_t size);
void *__real_oaki_os_remap(void *p, size_t size, size_t to);
void *__real_oaki_os_reserve(size_t size, size_t align);
void __real_oaki_os_release(void *p, size_t size);
bool __real_oaki_os_split(void *p, size_t size, size_t first);
void __real_oaki_os_shorten(void *p, size_t size, size_t keep);
void *__wrap_oaki_os_map(size_t size);
void *__wrap_oaki_os_map_scratch(size_t size);
void *__wrap_oaki_os_remap(void *p, size_t size, size_t to);
void *__wrap_oaki_os_reserve(size_t size, size_t align);
void __wrap_oaki_os_release(void *p, size_t size);
bool __wrap_oaki_os_split(void *p, size_t size, size_t first);
void __wrap_oaki_os_shorten(void *p, size_t size, size_t keep);

static void *added(void *p, size_t size)
{
    if (p) oaki_own_add(p, OAKI_ALIGN_UP(size, oaki_os_page_size()));
    return p;
}

void *__wrap_oaki_os_map(size_t size)
{
    return added(__real_oaki_os_map(size), size);
}

void *__wrap_oaki_os_map_scratch(size_t size)
{
    return added(__real_oaki_os_map_scratch(size), size);
}

void *__wrap_oaki_os_remap(void *p, size_t size, size_t to)
{
    oaki_own_remove(p);
    void *q = __real_oaki_os_remap(p, size, to);
    oaki_own_add(q ? q : p, q ? to : size);
    return q;
}

void *__wrap_oaki_os_reserve(size_t size, size_t align)
{
    void *p = __real_oaki_os_reserve(size, align);
    if (p) oaki_own_add(p, size);
    return p;
}

void __wrap_oaki_os_release(void *p, size_t size)
{
    oaki_own_remove(p);
    __real_oaki_os_release(p, size);
}

bool __wrap_oaki_os_split(void *p, size_t size, size_t first)
{
    if (!__real_oaki_os_split(p, size, first)) return false;
    oaki_own_add((char *)p + first, size - first);
    oaki_own_add(p, first);
    return true;
}

void __wrap_oaki_os_shorten(void *p, size_t size, size_t keep)
{
    if (keep < size) oaki_own_add(p, keep);
    __real_oaki_os_shorten(p, size, keep);
}

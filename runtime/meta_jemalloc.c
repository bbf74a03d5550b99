/* meta_jemalloc.c - metadata in an arena of jemalloc, for a shared library configured
 * --with-metadata=jemalloc.
 *
 * docs/metadata.md has its costs.
 * Owns: the arena, and its address space, including jemalloc's own bookkeeping. jemalloc gets the
 * space through the hooks below, and keeps it. No thread cache is used, and free pages go back to
 * the system at once. So `held` is the memory handed out, in whole slabs, plus the bookkeeping.
 * A stopped thread of the program may hold a lock of jemalloc. So with the world stopped, blocks
 * are pages of the system's, and blocks of jemalloc's that are freed wait for the next call.
 * Lock: jemalloc's own. mapped and resident need none, so they may be called in a stopped world.
 * jemalloc registers its fork handlers when it is loaded, before Oakum does. So in a fork Oakum's
 * locks are taken first, as elsewhere. */
#include "meta_backend.h"

#ifdef OAKI_META_JEMALLOC

#include "contract.h"
#include "os.h"
#include "print.h"

#include <errno.h>
#include <jemalloc/jemalloc.h>

#define ALIGN 16u /* jemalloc's smallest class is 8 bytes, and has only that alignment */
#define RANGES 256
#define RANGE_MIN ((size_t)64 << 20) /* of address space; doubles with every eight ranges */

/* Reserved address space, handed out from the start. A range being added has start 0. */
typedef struct range {
    AO_t start, used;
    size_t size;
} range;

static unsigned arena;
static char name[32];
static range ranges[RANGES];
static AO_t ranges_n;
static AO_t held; /* bytes in use by jemalloc, not purged, and those of pages for stops */

/* A block that was freed in a stop. */
typedef struct late {
    struct late *next;
    size_t n;
} late;

static AO_t freed_late;

static void *range_carve(range *r, size_t size, size_t align)
{
    uintptr_t start = AO_load_acquire(&r->start);
    while (start != 0) {
        AO_t used = AO_load(&r->used);
        size_t at = OAKI_ALIGN_UP(start + used, align) - start;
        if (at > r->size || size > r->size - at) break;
        if (AO_compare_and_swap_full(&r->used, used, at + size)) return (void *)(start + at);
    }
    return NULL;
}

static range *range_new(size_t size, size_t align)
{
    AO_t n = AO_load(&ranges_n);
    if (n == RANGES) return NULL;
    size_t roomy = OAKI_MAX(size, RANGE_MIN << n / 8);
    void *p = oaki_os_reserve(roomy, align);
    if (!p) p = oaki_os_reserve(roomy = size, align); /* address space may be limited */
    if (!p) return NULL;
    while (!AO_compare_and_swap_full(&ranges_n, n, n + 1)) {
        n = AO_load(&ranges_n);
        if (n == RANGES) {
            oaki_os_release(p, roomy);
            return NULL;
        }
    }
    ranges[n].size = roomy;
    AO_store_release(&ranges[n].start, (AO_t)p);
    return &ranges[n];
}

/* Two threads that find the last range full may both add one: both will be used. */
static void *address_space(size_t size, size_t align)
{
    void *p = NULL;
    for (size_t i = AO_load_acquire(&ranges_n); i-- > 0 && !p;)
        p = range_carve(&ranges[i], size, align);
    if (p) return p;
    range *r = range_new(size, align);
    return r ? range_carve(r, size, align) : NULL;
}

/* All of it is made readable and writable. jemalloc's notion of committed only accounts for its
 * use. */
static void *hook_alloc(extent_hooks_t *hooks, void *wanted, size_t size, size_t align, bool *zero,
                        bool *commit, unsigned ind)
{
    (void)hooks;
    (void)ind;
    if (wanted) return NULL;
    void *p = address_space(size, align);
    if (!p || oaki_os_commit(p, size) != 0) return NULL;
    *zero = true;
    if (*commit) oaki_count_add(&held, size);
    return p;
}

static bool hook_commit(extent_hooks_t *hooks, void *p, size_t size, size_t offset, size_t n,
                        unsigned ind)
{
    (void)hooks;
    (void)p;
    (void)size;
    (void)offset;
    (void)ind;
    oaki_count_add(&held, n);
    return false;
}

static bool hook_decommit(extent_hooks_t *hooks, void *p, size_t size, size_t offset, size_t n,
                          unsigned ind)
{
    (void)hooks;
    (void)size;
    (void)ind;
    oaki_os_purge((char *)p + offset, n);
    oaki_count_sub(&held, n);
    return false;
}

static bool hook_split(extent_hooks_t *hooks, void *p, size_t size, size_t a, size_t b, bool commit,
                       unsigned ind)
{
    (void)hooks;
    (void)p;
    (void)size;
    (void)a;
    (void)b;
    (void)commit;
    (void)ind;
    return false;
}

static bool hook_merge(extent_hooks_t *hooks, void *p, size_t a, void *q, size_t b, bool commit,
                       unsigned ind)
{
    (void)hooks;
    (void)p;
    (void)a;
    (void)q;
    (void)b;
    (void)commit;
    (void)ind;
    return false;
}

/* Without dalloc and destroy, address space stays with the arena for good. */
static extent_hooks_t hooks = {
    .alloc = hook_alloc,
    .commit = hook_commit,
    .decommit = hook_decommit,
    .split = hook_split,
    .merge = hook_merge,
};

static int arena_create(void)
{
    extent_hooks_t *mine = &hooks;
    size_t size = sizeof arena;
    ssize_t at_once = 0;
    char path[40];
    if (mallctl("arenas.create", &arena, &size, &mine, sizeof mine) != 0) return -1;
    oaki_format(path, sizeof path, "arena.%u.dirty_decay_ms", arena);
    return mallctl(path, NULL, NULL, &at_once, sizeof at_once);
}

/* jemalloc gives every few threads an arena, and crashes where there is no address space for one
 * (docs/metadata.md). */
static bool je_fits(void)
{
    return !oaki_os_limited();
}

static int je_init(void)
{
    const char *version = "";
    size_t size = sizeof version;
    if (arena_create() != 0) {
        errno = ENOMEM;
        return -1;
    }
    mallctl("version", &version, &size, NULL, 0);
    size_t len = oaki_format(name, sizeof name, "jemalloc %s", version);
    for (size_t i = 0; i < len && i < sizeof name; i++)
        if (name[i] == '-') name[i] = '\0'; /* the rest is a commit */
    return 0;
}

static int flags(void)
{
    return (int)MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
}

static bool is_jemallocs(const void *p)
{
    for (size_t i = AO_load_acquire(&ranges_n); i-- > 0;) {
        uintptr_t start = AO_load_acquire(&ranges[i].start);
        if (start && (uintptr_t)p - start < ranges[i].size) return true;
    }
    return false;
}

static size_t whole_pages(size_t n)
{
    return OAKI_ALIGN_UP(n, oaki_os_page_size());
}

static void *alloc_pages(size_t n)
{
    void *p = oaki_os_map(whole_pages(n));
    if (p) oaki_count_add(&held, whole_pages(n));
    return p;
}

static void free_late(void)
{
    OAKI_REQUIRES_RUNNING();
    AO_t first;
    do first = AO_load_acquire(&freed_late);
    while (first && !AO_compare_and_swap_full(&freed_late, first, 0));
    for (late *l = (late *)first, *next; l; l = next) {
        next = l->next;
        sdallocx(l, l->n, flags());
    }
}

static void *je_alloc_by(size_t n, int more)
{
    if (OAKI_UNLIKELY(oaki_world_stopped())) return alloc_pages(n);
    if (OAKI_UNLIKELY(AO_load(&freed_late) != 0)) free_late();
    return mallocx(OAKI_MAX(n, ALIGN), flags() | more);
}

static void *je_alloc(size_t n)
{
    return je_alloc_by(n, 0);
}

static void *je_zalloc(size_t n)
{
    return je_alloc_by(n, MALLOCX_ZERO);
}

static void free_in_a_stop(void *p, size_t n)
{
    late *l = p;
    AO_t next;
    l->n = n;
    do {
        next = AO_load(&freed_late);
        l->next = (late *)next;
    } while (!AO_compare_and_swap_full(&freed_late, next, (AO_t)l));
}

static void je_free(void *p, size_t n)
{
    size_t size = OAKI_MAX(n, ALIGN);
    if (OAKI_UNLIKELY(!is_jemallocs(p))) {
        oaki_os_release(p, whole_pages(n));
        oaki_count_sub(&held, whole_pages(n));
    } else if (OAKI_UNLIKELY(oaki_world_stopped())) {
        free_in_a_stop(p, size);
    } else {
        sdallocx(p, size, flags());
    }
}

static size_t je_rounded(size_t n)
{
    return nallocx(OAKI_MAX(n, ALIGN), flags());
}

static size_t je_mapped(void)
{
    return oaki_count_get(&held);
}

static size_t je_resident(void)
{
    size_t found = 0, n = AO_load_acquire(&ranges_n);
    for (size_t i = 0; i < n; i++) {
        const void *start = (const void *)AO_load_acquire(&ranges[i].start);
        size_t resident = start ? oaki_os_resident(start, AO_load(&ranges[i].used)) : 0;
        if (resident == SIZE_MAX) return je_mapped();
        found += resident;
    }
    return found;
}

static void je_fork(int stage)
{
    (void)stage;
}

static const char *je_name(void)
{
    return name;
}

const oaki_meta_ops oaki_meta_jemalloc = {
    .fits = je_fits,
    .init = je_init,
    .alloc = je_alloc,
    .zalloc = je_zalloc,
    .free = je_free,
    .rounded = je_rounded,
    .mapped = je_mapped,
    .resident = je_resident,
    .fork = je_fork,
    .name = je_name,
    .library = (const void *)mallocx,
};

#endif

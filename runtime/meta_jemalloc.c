/* meta_jemalloc.c - metadata in an arena of jemalloc's, for the shared library.
 *
 * docs/metadata.md says why only there.
 * Owns: the arena. No thread cache is used, so what the arena reports is what is handed out.
 * Lock: jemalloc's own. Its fork handlers are registered when it is loaded, before Oakum's, so that
 * in a fork Oakum's locks are taken first, as they are elsewhere. */
#include "meta_backend.h"

#ifdef OAKI_META_JEMALLOC

#include "print.h"

#include <errno.h>
#include <jemalloc/jemalloc.h>

#define ALIGN 16u /* jemalloc's smallest class is 8 bytes, and no more aligned than that */

static unsigned arena;
static char name[32];

static int flags(void)
{
    return (int)MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
}

static int je_init(void)
{
    const char *version = "";
    size_t size = sizeof arena;
    if (mallctl("arenas.create", &arena, &size, NULL, 0) != 0) {
        errno = ENOMEM;
        return -1;
    }
    size = sizeof version;
    mallctl("version", &version, &size, NULL, 0);
    size_t len = oaki_format(name, sizeof name, "jemalloc %s", version);
    for (size_t i = 0; i < len && i < sizeof name; i++)
        if (name[i] == '-') name[i] = '\0'; /* the rest is a commit */
    return 0;
}

static void *je_alloc(size_t n)
{
    return mallocx(OAKI_MAX(n, ALIGN), flags());
}

static void *je_zalloc(size_t n)
{
    return mallocx(OAKI_MAX(n, ALIGN), flags() | MALLOCX_ZERO);
}

static void *je_realloc(void *p, size_t old, size_t n)
{
    (void)old;
    return rallocx(p, OAKI_MAX(n, ALIGN), flags());
}

static void je_free(void *p, size_t n)
{
    sdallocx(p, OAKI_MAX(n, ALIGN), flags());
}

static size_t je_rounded(size_t n)
{
    return nallocx(OAKI_MAX(n, ALIGN), flags());
}

/* Of the arena, all of its own bookkeeping included. */
static size_t figure(const char *what)
{
    char path[64];
    uint64_t epoch = 1;
    size_t value = 0, size = sizeof value;
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    oaki_format(path, sizeof path, "stats.arenas.%u.%s", arena, what);
    return mallctl(path, &value, &size, NULL, 0) == 0 ? value : 0;
}

static size_t je_mapped(void)
{
    return figure("mapped");
}

static size_t je_resident(void)
{
    return figure("resident");
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
    je_init,    je_alloc,  je_zalloc,   je_realloc, je_free,
    je_rounded, je_mapped, je_resident, je_fork,    je_name
};

#endif

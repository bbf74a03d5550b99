/* meta.c - accounts of the metadata, above one of this build's back ends, and the growing table.
 *
 * Owns: the back end, chosen once; the bytes in use for each purpose, as the back end rounds them.
 * The rounded size is a function of the requested size alone, and every free gives that size back.
 * So the accounts are exact without a query of a block's size.
 * Lock: none; the counters are atomic, the back end locks itself, and a table belongs to its
 * owner. */
#include "contract.h"
#include "meta_backend.h"

#include "os.h"
#include <errno.h>

#ifdef OAKI_META_JEMALLOC
#define USUAL oaki_meta_jemalloc
#else
#define USUAL oaki_meta_builtin
#endif

static const oaki_meta_ops *backend = &USUAL;
static bool chosen;
static AO_t in_use[OAKI_META_USES];

int oaki_meta_init(void)
{
    if (!chosen && !backend->fits()) backend = &oaki_meta_builtin;
    chosen = true;
    return backend->init();
}

static void *alloc(size_t n, oaki_meta_use use, void *(*fn)(size_t))
{
    OAKI_REQUIRES_UNSTOPPABLE();
    OAKI_ASSERT(chosen && use < OAKI_META_USES);
    n = OAKI_MAX(n, 1);
    size_t rounded = backend->rounded(n);
    void *p = rounded > 0 ? fn(n) : NULL;
    if (p)
        oaki_count_add(&in_use[use], rounded);
    else
        errno = ENOMEM;
    return p;
}

void *oaki_meta_alloc(size_t n, oaki_meta_use use)
{
    return alloc(n, use, backend->alloc);
}

void *oaki_meta_zalloc(size_t n, oaki_meta_use use)
{
    return alloc(n, use, backend->zalloc);
}

void *oaki_meta_realloc(void *p, size_t old, size_t n, oaki_meta_use use)
{
    size_t from = backend->rounded(OAKI_MAX(old, 1)), to = backend->rounded(OAKI_MAX(n, 1));
    if (p && from == to) return p;
    void *q = p && to > 0 && backend->resize ? backend->resize(p, old, n) : NULL;
    if (q) {
        oaki_count_add(&in_use[use], to - from);
        return q;
    }
    q = oaki_meta_alloc(n, use);
    if (!p || !q) return q;
    oaki_copy_without_trace(q, p, OAKI_MIN(old, n));
    oaki_meta_free(p, old, use);
    return q;
}

void oaki_meta_free(void *p, size_t n, oaki_meta_use use)
{
    if (!p) return;
    OAKI_REQUIRES_UNSTOPPABLE();
    n = OAKI_MAX(n, 1);
    OAKI_ASSERT(oaki_count_get(&in_use[use]) >= backend->rounded(n));
    oaki_count_sub(&in_use[use], backend->rounded(n));
    backend->free(p, n);
}

bool oaki_meta_keep_room(void)
{
    return !backend->keep_room || backend->keep_room();
}

size_t oaki_meta_in_use(oaki_meta_use use)
{
    return oaki_count_get(&in_use[use]);
}

const void *oaki_meta_library(void)
{
    return USUAL.library;
}

size_t oaki_meta_mapped(void)
{
    return backend->mapped();
}

size_t oaki_meta_resident(void)
{
    return backend->resident();
}

const char *oaki_meta_backend(void)
{
    return backend->name();
}

const char *oaki_meta_check(void)
{
    return backend->check ? backend->check() : NULL;
}

void oaki_meta_fork(int stage)
{
    backend->fork(stage);
}

void oaki_vec_init(oaki_vec *v, size_t item, oaki_meta_use use)
{
    *v = (oaki_vec){ .item = item, .use = use };
}

int oaki_vec_reserve(oaki_vec *v, size_t cap)
{
    size_t bytes;
    OAKI_ASSERT(v->item > 0 && v->len <= v->cap);
    if (cap <= v->cap) return 0;
    if (__builtin_mul_overflow(cap, v->item, &bytes)) {
        errno = ENOMEM;
        return -1;
    }
    void *items = oaki_meta_realloc(v->items, v->cap * v->item, bytes, v->use);
    if (!items) return -1;
    v->items = items;
    v->cap = cap;
    return 0;
}

void *oaki_vec_push(oaki_vec *v)
{
    if (v->len == v->cap && oaki_vec_reserve(v, v->cap > 0 ? v->cap * 2 : 8) != 0) return NULL;
    return (char *)v->items + v->len++ * v->item;
}

void oaki_vec_free(oaki_vec *v)
{
    oaki_meta_free(v->items, v->cap * v->item, v->use);
    oaki_vec_init(v, v->item, v->use);
}

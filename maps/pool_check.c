/* pool_check.c - walks over a whole object pool: the checks of debug mode, and statistics.
 *
 * Owns: the model, a copy of the first object that a pool made. After reset an object should have
 * the same bytes.
 * Lock: none. Magazines of other threads are read while these change them. A place holds an object
 * or 0. The thread that puts an object got it from the thread that took it out of the pool. So a
 * search finds it only if it is there. The caller's stack keeps the magazines alive. */
#include "pool.h"
#include "runtime/contract.h"
#include "runtime/zone.h"
#include <string.h>

#define MODEL 4096 /* bytes that are compared, at most */

/* Called with an object of the pool; returns whether to continue. */
typedef bool visitor(const oak_pool *p, void *obj, void *ctx);

static bool visit_list(const oak_pool *p, AO_t head, visitor *see, void *ctx)
{
    for (const oaki_magazine *m = (const oaki_magazine *)head; m; m = m->next)
        for (size_t i = 0; i < OAKI_POOL_ROOM; i++) {
            void *obj = (void *)AO_load(&m->item[i]);
            if (obj && !see(p, obj, ctx)) return false;
        }
    return true;
}

/* Calls `see` with every object of the pool, until it returns false. */
static bool visit(const oak_pool *p, visitor *see, void *ctx)
{
    for (size_t i = 0; i < OAKI_POOL_CELLS; i++)
        if (!visit_list(p, AO_load_acquire(&p->cell[i]), see, ctx)) return false;
    return visit_list(p, AO_load_acquire(&p->full), see, ctx) &&
           visit_list(p, AO_load_acquire(&p->victims), see, ctx);
}

/* ---- checks ---- */

void oaki_pool_put_twice(const oak_pool *p, const void *obj)
{
    oak_fatal("oakum: oak_pool_put: %p is in the pool %p already", obj, (const void *)p);
}

void oaki_pool_note_new(oak_pool *p, const void *obj)
{
    size_t size = OAKI_MIN(oak_usable_size(obj), MODEL);
    if (AO_load(&p->model) || size == 0) return;
    void *copy = OAKI_IN_ZONE_OF(p, oak_alloc_noscan(size));
    if (!copy) return;
    memcpy(copy, obj, size);
    (void)AO_compare_and_swap_release(&p->model, 0, (AO_t)copy);
}

static bool is_other(const oak_pool *p, void *obj, void *ctx)
{
    (void)p;
    return obj != ctx;
}

void oaki_pool_check_double(const oak_pool *p, void *obj)
{
    if (!visit(p, is_other, obj)) oaki_pool_put_twice(p, obj);
}

void oaki_pool_check_reset(oak_pool *p, const void *obj)
{
    if (oak_base(obj) != obj)
        oak_fatal("oakum: oak_pool_put: %p is not the start of a live object", obj);
    const uintptr_t *model = (const uintptr_t *)AO_load_acquire(&p->model), *word = obj;
    size_t size = OAKI_MIN(oak_usable_size(obj), MODEL);
    if (!model || size != OAKI_MIN(oak_usable_size(model), MODEL)) return;
    for (size_t i = 0; i < size / sizeof *word; i++)
        if (word[i] != model[i] && !oaki_heap_contains((const void *)model[i])) {
            oaki_count_add(&p->stale, 1);
            return;
        }
}

static const char *check_magazines(AO_t head, bool own)
{
    for (const oaki_magazine *m = (const oaki_magazine *)head; m; m = m->next) {
        if (!own && m->n == 0) return "pool: a magazine without an owner holds something";
        if (own && !m->owner) return "pool: a thread's magazine has an owner";
        if (m->n > OAKI_POOL_ROOM) return "pool: a magazine holds at most 16 objects";
        for (size_t i = 0; i < OAKI_POOL_ROOM; i++) {
            if ((i < m->n) != (m->item[i] != 0)) return "pool: places above a magazine's n are 0";
            if (m->item[i] && !oaki_heap_contains((const void *)m->item[i]))
                return "pool: a place holds an object of the heap";
        }
    }
    return NULL;
}

const char *oaki_pool_check(const oak_pool *p)
{
    OAKI_REQUIRES_STOPPED();
    const char *broken = check_magazines(p->full, false);
    if (!broken) broken = check_magazines(p->victims, false);
    for (size_t i = 0; i < OAKI_POOL_CELLS && !broken; i++)
        broken = check_magazines(p->cell[i], true);
    return broken;
}

/* ---- statistics ---- */

static bool count(const oak_pool *p, void *obj, void *ctx)
{
    oak_pool_stats *out = ctx;
    size_t size = oaki_pool_size_of(p, obj);
    out->objects++;
    out->bytes += size;
    out->largest = OAKI_MAX(out->largest, size);
    return true;
}

/* Adds up the counts of the threads' own magazines; a collection moves them to the pool's. */
void oak_pool_stats_read(const oak_pool *p, oak_pool_stats *out)
{
    if (!out) return;
    *out = (oak_pool_stats){ 0 };
    if (!p || !oaki_attached()) return; /* the stack keeps the magazines alive */
    out->gets = AO_load(&p->gets);
    out->puts = AO_load(&p->puts);
    for (size_t i = 0; i < OAKI_POOL_CELLS; i++)
        for (const oaki_magazine *m = (oaki_magazine *)AO_load_acquire(&p->cell[i]); m;
             m = m->next) {
            out->gets += AO_load(&m->gets);
            out->puts += AO_load(&m->puts);
        }
    out->made = AO_load(&p->made);
    out->dropped = AO_load(&p->dropped);
    out->stale = AO_load(&p->stale);
    (void)visit(p, count, out);
}

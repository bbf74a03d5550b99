/* unwind_cache.c - the cache of rules (unwind_cache.h). */
#include "unwind_cache.h"

#include "runtime/heap.h"
#include "runtime/meta.h"
#include <errno.h>

#define ENTRIES ((size_t)1 << OAKI_CACHE_BITS)

oaki_cached *oaki_unwind_cached;

int oaki_cache_init(void)
{
    if (oaki_unwind_cached) return 0;
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_cached *c = oaki_meta_zalloc(ENTRIES * sizeof *c, OAKI_META_BUCKHASH);
    oaki_leave(t);
    if (!c) {
        errno = ENOMEM;
        return -1;
    }
    oaki_unwind_cached = c;
    return 0;
}

void oaki_cache_clear(void)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        AO_store(&oaki_unwind_cached[i].rule, 0);
        AO_store(&oaki_unwind_cached[i].check, 1); /* no key is odd where its rule is 0 */
    }
}

static void write(oaki_cached *c, uint64_t check, oaki_rule rule)
{
    AO_store(&c->rule, rule);
    AO_store(&c->check, check);
}

/* Adds a rule as the first entry of its pair; the first becomes the second. */
void oaki_cache_add(uintptr_t at, uint64_t identity, oaki_rule rule)
{
    uint64_t key = at ^ identity;
    oaki_cached *c = oaki_cache_at(key);
    write(&c[1], AO_load(&c->check), AO_load(&c->rule));
    write(c, key ^ oaki_cache_mix(rule), rule);
}

/* config.c - the configuration in effect, and the file that started the heap: for libraries that
 * share it.
 *
 * Owns: nothing. Lock: none; each setting is read by itself. */
#include "collector.h"
#include "runtime/heap.h"
#include "runtime/stopsignal.h"

#include <dlfcn.h>
#include <string.h>

static void read_settings(oak_config *c)
{
    const oaki_heap *h = &oaki_the_heap;
    *c = h->config;
    c->heap_reserve = h->reserved;
    c->heap_max = AO_load(&h->heap_max);
    c->memory_limit = AO_load(&h->memory_limit);
    c->gc_percent = (int)(intptr_t)AO_load(&oaki_gc.pace.percent);
    c->min_heap = oaki_gc_min_heap();
    c->gc_threads = (int)oaki_gc_markers();
    c->concurrent = oaki_gc_may_be_concurrent();
    c->finalizer_thread = oaki_gc_has_finalizer_thread();
    c->profile_rate = AO_load(&h->sampler.rate);
    c->stop_signal = oaki_stopsignal_number();
}

/* Takes locks of the loader's. */
static void name_object(const void *address, char *out, size_t n)
{
    Dl_info info;
    OAKI_REQUIRES_OUTSIDE();
    if (dladdr(address, &info) == 0 || !info.dli_fname) return;
    strncpy(out, info.dli_fname, n - 1);
}

bool oak_config_read(oak_config *cfg, oak_started *by)
{
    if (by) memset(by, 0, sizeof *by);
    if (!AO_load_acquire(&oaki_the_heap.started)) {
        if (cfg) oak_config_default(cfg);
        return false;
    }
    if (cfg) read_settings(cfg);
    if (!by) return true;
    const void *caller = oaki_heap_started_from();
    by->how = caller ? OAK_START_INIT : OAK_START_FIRST_USE;
    if (caller) name_object(caller, by->by, sizeof by->by);
    return true;
}

/* heap.c - start-up: the order in which the layers are initialised.
 *
 * Owns: oaki_heap.started and config. Lock: start_lock, taken once. */
#include "heap.h"
#include "collector.h"
#include "contract.h"
#include "mappings.h"
#include "meta.h"
#include "observer.h"
#include "os.h"
#include "pin.h"
#include "print.h"
#include "restore.h"
#include "room.h"
#include "roots.h"
#include "tags.h"
#include "writer.h"
#include <errno.h>
#include <oakum/oakum.h>
#include <string.h>

/* The return address of the oak_init that started the heap; NULL if another call did. Written
 * before `started`. */
static const void *started_from;

static bool ended; /* shut down, where variables can't be put back */

static oaki_lock start_lock = OAKI_LOCK_INIT(OAKI_RANK_INIT);

static void init_locks(oaki_heap *h)
{
    oaki_lock_init(&h->pages_lock, OAKI_RANK_PAGES);
    oaki_lock_init(&h->threads_lock, OAKI_RANK_THREADS);
    oaki_lock_init(&h->gc_lock, OAKI_RANK_GC);
    oaki_lock_init(&h->helper_lock, OAKI_RANK_HELPER);
    oaki_lock_init(&h->roots_lock, OAKI_RANK_ROOTS);
    oaki_lock_init(&h->finalizer_lock, OAKI_RANK_FINALIZER);
    oaki_lock_init(&h->types_lock, OAKI_RANK_TYPES);
    oaki_lock_init(&h->observe_lock, OAKI_RANK_OBSERVE);
    oaki_lock_init(&h->bits_lock, OAKI_RANK_BITS);
    for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++)
        oaki_lock_init(&h->central0[sc].lock, OAKI_RANK_CENTRAL);
    oaki_zones_init();
}

/* The tags were checked; only here is it known where the heap is. */
static bool prepare_tags(const oak_config *cfg)
{
    const char *wrong = oaki_tags_prepare(&oaki_tags, cfg->pointer_tags, OAK_POINTER_TAGS);
    if (wrong) oaki_log("oakum: pointer_tags: %s\n", wrong);
    return !wrong;
}

static int start(const oak_config *cfg)
{
    oaki_heap *h = &oaki_the_heap;
    oak_config from_env;
    OAKI_REQUIRES_LOCK(&start_lock);
    OAKI_REQUIRES_STARTING();
    if (ended) {
        errno = ENOTSUP;
        return -1;
    }
    (void)oaki_restore_note();
    oaki_fatal_init();
    oak_config_default(&from_env); /* also reads OAKUM_DEBUG */
    h->config = cfg ? *cfg : from_env;
    if (oaki_options_check(&h->config)) {
        errno = EINVAL;
        return -1;
    }
    init_locks(h);
    oaki_os_seed(&h->sampler.random, sizeof h->sampler.random);
    oaki_sizeclass_init();
    AO_store(&h->heap_max, h->config.heap_max);
    AO_store(&h->memory_limit, h->config.memory_limit);
    if (oaki_meta_init() != 0 || (!h->base && oaki_space_init(h->config.heap_reserve) != 0)) {
        errno = ENOMEM;
        return -1;
    }
    if (!prepare_tags(&h->config)) {
        errno = EINVAL;
        return -1;
    }
    if (oaki_threads_init() != 0 || oaki_roots_init() != 0 || oaki_scavenger_init() != 0 ||
        oaki_ahead_init() != 0 || oaki_room_init() != 0 || oaki_zones_reaper_init() != 0 ||
        oaki_gc_init() != 0) {
        errno = ENOMEM;
        return -1;
    }
    OAKI_ASSERT(h->base % OAKI_CHUNK == 0 && AO_load(&h->used) <= h->committed);
    AO_store_release(&h->started, 1);
    return 0;
}

static int start_from(const oak_config *cfg, const void *caller)
{
    oaki_heap *h = &oaki_the_heap;
    if (AO_load_acquire(&h->started)) {
        if (!cfg) return 0;
        errno = EBUSY;
        return -1;
    }
    OAKI_REQUIRES_OUTSIDE();
    oaki_pin_begin();
    oaki_fork_inside(true); /* otherwise a signal handler's fork would wait for this thread */
    oaki_lock_acquire(&start_lock);
    bool first = !AO_load(&h->started);
    if (first) started_from = caller;
    int r = first ? start(cfg) : 0;
    oaki_lock_release(&start_lock);
    oaki_fork_inside(false);
    if (r == 0 && first) oaki_observe_start(&h->config);
    if (r == 0 && !first && cfg) {
        errno = EBUSY;
        return -1;
    }
    return r;
}

int oaki_heap_start(const oak_config *cfg)
{
    return start_from(cfg, NULL);
}

/* ---- the end ---- */

int oaki_heap_close(void)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_enter();
    if (!t) return errno;
    oaki_lock_acquire_parked(t, &h->gc_lock);
    oaki_lock_acquire(&h->threads_lock);
    int error = oaki_threads_others(t, true) > 0 ? EBUSY : 0;
    if (error == 0) AO_store_release(&h->started, 0);
    oaki_lock_release(&h->threads_lock);
    oaki_lock_release(&h->gc_lock);
    if (error != 0) oaki_leave(t);
    return error;
}

bool oaki_heap_end(void)
{
    OAKI_REQUIRES_STARTING();
    oaki_uffd_end();
    oaki_threads_end();
    size_t refused = oaki_mappings_release();
    bool again = oaki_restore();
    if (again) {
        oaki_threads_drop_key(false);
        oaki_lock_reset(&start_lock); /* it was held when the variables were noted */
    } else {
        ended = true;
        memset(&oaki_the_heap, 0, sizeof oaki_the_heap);
    }
    return refused == 0;
}

const void *oaki_heap_started_from(void)
{
    OAKI_ASSERT(AO_load_acquire(&oaki_the_heap.started));
    return started_from;
}

void oaki_heap_fork(int stage)
{
    if (stage == 0) oaki_lock_acquire(&start_lock);
    else if (stage == 1) oaki_lock_release(&start_lock);
    else oaki_lock_reset(&start_lock);
}

unsigned oaki_heap_cpus(void)
{
    unsigned mask = oaki_os_cpus(), most = (unsigned)AO_load(&oaki_the_heap.group_cpus);
    return most ? OAKI_MIN(mask, most) : mask;
}

bool oaki_heap_ready(void)
{
    return oaki_heap_start(NULL) == 0;
}

int oak_init(const oak_config *cfg)
{
    return start_from(cfg, __builtin_return_address(0));
}

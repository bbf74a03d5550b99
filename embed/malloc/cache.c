/* cache.c - makes, drains and ends caches (cache.h).
 *
 * Owns: the key whose destructor ends a thread's cache; the list of caches. Lock: threads_lock for
 * the list. */
#include "cache.h"
#include "runtime/collector.h"
#include "runtime/contract.h"
#include "runtime/meta.h"
#include "runtime/roots.h"
#include "runtime/track.h"
#include <pthread.h>
#include <string.h>

static struct {
    pthread_once_t once;
    pthread_key_t key;
    bool ready;
    oaki_cache *first;
} self = { .once = PTHREAD_ONCE_INIT };

/* Free the older half of a stack, which is at its beginning. */
void oaki_cache_drain(oaki_cache *c, unsigned cls)
{
    unsigned n = (c->n[cls] + 1) / 2;
    for (unsigned i = 0; i < n; i++) {
        void *p = c->slot[cls][i];
        oaki_free_here(oaki_tls_thread, p, oaki_heap_offset(p));
    }
    c->n[cls] -= n;
    memmove(c->slot[cls], c->slot[cls] + n, c->n[cls] * sizeof c->slot[cls][0]);
}

OAKI_COLD void oaki_cache_look(const oaki_cache *c, unsigned cls, const void *p)
{
    for (unsigned i = 0; i < c->n[cls]; i++)
        if (c->slot[cls][i] == p)
            oak_fatal("oakum: free: %p is free memory: was it freed already?", p);
}

static bool drain_all(oaki_cache *c)
{
    bool some = false;
    for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES; cls++)
        for (; c->n[cls] > 0; some = true) oaki_cache_drain(c, cls);
    return some;
}

bool oaki_cache_empty(void)
{
    return oaki_my.cache && drain_all(oaki_my.cache);
}

/* ---- in a pause ---- */

/* Mark a cache as busy if a word on its thread's stack looks like an address in the cache's code. A
 * false match is harmless: the cache isn't emptied. */
OAKI_NO_ASAN static void find_busy(const oaki_root *r, void *ctx)
{
    bool busy = false;
    (void)ctx;
    if (!r->past_end || !r->thread) return;
    for (const char *p = r->lo; p + sizeof(uintptr_t) <= r->hi; p += sizeof(uintptr_t))
        busy |= oaki_mcache_is_fast_path(*(const uintptr_t *)p);
    for (oaki_cache *c = busy ? self.first : NULL; c; c = c->next)
        if (c->thread == r->thread) c->busy = true;
}

void oaki_caches_empty(void)
{
    OAKI_REQUIRES_STOPPED();
    for (oaki_cache *c = self.first; c; c = c->next) c->busy = false;
    if (self.first) oaki_roots_visit(find_busy, NULL);
    for (oaki_cache *c = self.first; c; c = c->next) {
        for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES && !c->busy; cls++)
            while (c->n[cls] > 0) oaki_free_deferred(c->slot[cls][--c->n[cls]]);
    }
}

/* ---- beginning and end ---- */

static void list(oaki_thread *t, oaki_cache *c, bool in)
{
    oaki_cache **at = &self.first;
    oaki_lock_acquire_parked(t, &oaki_the_heap.threads_lock);
    while (!in && *at && *at != c) at = &(*at)->next;
    if (in) c->next = self.first;
    if (in || *at) *at = in ? c : c->next;
    oaki_lock_release(&oaki_the_heap.threads_lock);
}

/* Drop the caches of other threads, which are not in the child. They may be inconsistent. */
static void after_fork(void)
{
    self.first = oaki_my.cache;
    if (self.first) self.first->next = NULL;
}

void oaki_caches_init(void)
{
    oaki_fork_register(after_fork);
}

static void give_up(void *value)
{
    oaki_cache *c = value;
    oaki_my.cache = NULL;
    oaki_my.no_cache = true;
    if (!oaki_can_enter()) return;
    oaki_thread *t = oaki_enter();
    list(t, c, false);
    oaki_leave(t);
    (void)drain_all(c);
    t = oaki_enter();
    oaki_meta_free(c, sizeof *c, OAKI_META_MCACHE);
    oaki_leave(t);
}

static void make_key(void)
{
    self.ready = pthread_key_create(&self.key, give_up) == 0;
}

/* Setting the key may call malloc. That call finds no_cache set, and so makes no cache. */
void oaki_cache_make(void)
{
    oaki_my.no_cache = true;
    (void)pthread_once(&self.once, make_key);
    oaki_thread *t = oaki_enter();
    oaki_cache *c = self.ready ? oaki_meta_zalloc(sizeof *c, OAKI_META_MCACHE) : NULL;
    oaki_leave(t);
    if (!c) return;
    if (pthread_setspecific(self.key, c) == 0) {
        oaki_my.cache = c;
        t = oaki_enter();
        c->thread = t;
        list(t, c, true);
        oaki_leave(t);
        return;
    }
    t = oaki_enter();
    oaki_meta_free(c, sizeof *c, OAKI_META_MCACHE);
    oaki_leave(t);
}

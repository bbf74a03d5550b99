/* cache.c - making, draining and giving up caches (cache.h).
 *
 * Owns: the key whose destructor gives a thread's up. Lock: none. */
#include "cache.h"
#include "runtime/meta.h"
#include <pthread.h>
#include <string.h>

static struct {
    pthread_once_t once;
    pthread_key_t key;
    bool ready;
} self = { .once = PTHREAD_ONCE_INIT };

/* The older half of a stack, which is at its beginning. */
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

static void give_up(void *value)
{
    oaki_cache *c = value;
    oaki_my.cache = NULL;
    oaki_my.no_cache = true;
    if (!oaki_can_enter()) return;
    for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES; cls++)
        while (c->n[cls] > 0) oaki_cache_drain(c, cls);
    oaki_thread *t = oaki_enter();
    oaki_meta_free(c, sizeof *c, OAKI_META_MCACHE);
    oaki_leave(t);
}

static void make_key(void)
{
    self.ready = pthread_key_create(&self.key, give_up) == 0;
}

/* To tell the key of it may call malloc, which finds that this thread is to have none. */
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
        return;
    }
    t = oaki_enter();
    oaki_meta_free(c, sizeof *c, OAKI_META_MCACHE);
    oaki_leave(t);
}

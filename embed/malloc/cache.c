/* cache.c - makes, drains and ends caches (cache.h).
 *
 * Owns: the key whose destructor ends a thread's cache; the list of caches. Lock: threads_lock for
 * the list. A thread that ends where it can't enter the heap leaves its cache in the list, flagged.
 * The next one that changes the list ends it. */
#include "cache.h"
#include "runtime/collector.h"
#include "runtime/contract.h"
#include "runtime/meta.h"
#include "runtime/roots.h"
#include "runtime/track.h"
#include <pthread.h>
#include <string.h>

#define DEPTH_BYTES ((size_t)16 << 10) /* most bytes of slots in a stack, within these bounds: */
#define DEPTH_LEAST 16
#define DEPTH_MOST 256

static struct {
    pthread_once_t once;
    pthread_key_t key;
    bool ready;
    oaki_cache *first;
    AO_t inherited; /* 1: after a fork, caches of the parent's threads may be in the list */
} self = { .once = PTHREAD_ONCE_INIT };

static void *nothing[2];

oaki_cache oaki_cache_none = {
    .of = { [0 ... OAKI_CACHE_CLASSES - 1] = { .top = &nothing[1], .end = &nothing[1] } },
    .first = { [0 ... OAKI_CACHE_CLASSES - 1] = &nothing[1] },
};

static size_t depth(unsigned cls)
{
    size_t size = oaki_classes[cls].size;
    if (size == 0 || size > OAKI_CACHE_BYTES) return 0;
    return OAKI_MIN(OAKI_MAX(DEPTH_BYTES / size, (size_t)DEPTH_LEAST), (size_t)DEPTH_MOST);
}

static size_t cache_bytes(void)
{
    size_t places = 0;
    for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES; cls++) places += 1 + depth(cls);
    return sizeof(oaki_cache) + places * sizeof(void *);
}

static oaki_cache *new_cache(void)
{
    OAKI_REQUIRES_INSIDE();
    oaki_cache *c = oaki_meta_zalloc(cache_bytes(), OAKI_META_MCACHE);
    if (!c) return NULL;
    void **place = c->place;
    for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES; cls++) {
        c->first[cls] = c->of[cls].top = place + 1; /* behind a NULL */
        place = c->of[cls].end = place + 1 + depth(cls);
    }
    return c;
}

/* Free the n lowest slots of a stack, the oldest. A signal handler finds it empty meanwhile. */
static size_t drain(oaki_cache *c, unsigned cls, size_t n)
{
    OAKI_REQUIRES_INSIDE();
    oaki_stack *s = &c->of[cls];
    void **first = c->first[cls], **top = s->top;
    OAKI_ASSERT(n <= (size_t)(top - first));
    s->top = first;
    AO_compiler_barrier();
    oaki_free_batch(first, n, cls);
    memmove(first, first + n, ((size_t)(top - first) - n) * sizeof *first);
    AO_compiler_barrier();
    s->top = top - n;
    return n * oaki_classes[cls].size;
}

static bool has(const oaki_cache *c, unsigned cls, const void *p)
{
    void **at = c->first[cls], **top = c->of[cls].top;
    while (at < top && *at != p) at++;
    return at < top;
}

/* Fatal if p is in some thread's cache. The owner of another cache may change it meanwhile. But a
 * block that the caller may free left its cache before, and one that was freed before is in it. */
static OAKI_COLD void look(oaki_thread *t, unsigned cls, const void *p)
{
    bool found = false;
    oaki_lock_acquire_parked(t, &oaki_the_heap.threads_lock);
    for (const oaki_cache *c = self.first; c && !found; c = c->next) found = has(c, cls, p);
    oaki_lock_release(&oaki_the_heap.threads_lock);
    if (found) oak_fatal("oakum: free: %p is free memory: was it freed already?", p);
}

static void end_flagged(void);

bool oaki_cache_put_slow(void *p, size_t off)
{
    oaki_cache *c = oaki_my.cache;
    unsigned cls = oaki_cache_class(off);
    oaki_stack *s = &c->of[cls];
    size_t room = (size_t)(s->end - c->first[cls]), bytes = 0;
    if (cls == 0 || room == 0) return false;
    uintptr_t *word = p;
    if (OAKI_UNLIKELY(AO_load(&self.inherited) != 0)) {
        AO_store(&self.inherited, 0);
        end_flagged();
    }
    oaki_thread *t = oaki_enter();
    if (OAKI_UNLIKELY(word[1] == OAKI_CACHE_KEY)) look(t, cls, p);
    if (s->top == s->end) bytes = drain(c, cls, (room + 1) / 2);
    word[1] = OAKI_CACHE_KEY;
    *s->top++ = p;
    oaki_leave(t);
    oaki_freed_add(bytes);
    return true;
}

/* A fork may have caught the thread in the middle of a change. What isn't a cached slot for certain
 * is left out, and stays allocated. */
static void sift(oaki_cache *c)
{
    for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES; cls++) {
        void **to = c->first[cls];
        for (void **at = to; at < c->of[cls].top; at++) {
            uintptr_t *p = *at;
            if (!oaki_heap_contains(p) || oaki_cache_class(oaki_heap_offset(p)) != cls ||
                p[1] != OAKI_CACHE_KEY)
                continue;
            p[1] = 0; /* it counts once */
            *to++ = p;
        }
        c->of[cls].top = to;
    }
    c->inherited = false;
}

static bool drain_all(oaki_cache *c)
{
    size_t bytes = 0;
    oaki_thread *t = oaki_enter();
    if (OAKI_UNLIKELY(c->inherited)) sift(c);
    for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES; cls++)
        bytes += drain(c, cls, (size_t)(c->of[cls].top - c->first[cls]));
    oaki_leave(t);
    oaki_freed_add(bytes);
    return bytes > 0;
}

bool oaki_cache_empty(void)
{
    return drain_all(oaki_my.cache);
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
        if (c->inherited) sift(c);
        for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES && !c->busy; cls++)
            while (c->of[cls].top > c->first[cls]) oaki_free_deferred(*--c->of[cls].top);
    }
}

/* ---- beginning and end ---- */

static void enlist(oaki_thread *t, oaki_cache *c)
{
    oaki_lock_acquire_parked(t, &oaki_the_heap.threads_lock);
    c->next = self.first;
    self.first = c;
    oaki_lock_release(&oaki_the_heap.threads_lock);
}

/* Takes the flagged caches out of the list, and returns theirs. */
static oaki_cache *take_ended(oaki_thread *t)
{
    oaki_cache *ended = NULL;
    oaki_lock_acquire_parked(t, &oaki_the_heap.threads_lock);
    for (oaki_cache **at = &self.first; *at;) {
        oaki_cache *c = *at;
        if (!AO_load_acquire(&c->ended)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        c->next = ended;
        ended = c;
    }
    oaki_lock_release(&oaki_the_heap.threads_lock);
    return ended;
}

static void end_flagged(void)
{
    oaki_thread *t = oaki_enter();
    oaki_cache *c = take_ended(t);
    oaki_leave(t);
    while (c) {
        oaki_cache *next = c->next;
        (void)drain_all(c);
        t = oaki_enter();
        oaki_meta_free(c, cache_bytes(), OAKI_META_MCACHE);
        oaki_leave(t);
        c = next;
    }
}

/* The caches of other threads, which are not in the child, end when one is drained there for the
 * first time. A child that executes another program at once doesn't pay for them. */
static void after_fork(void)
{
    for (oaki_cache *c = self.first; c; c = c->next) {
        if (c == oaki_my.cache) continue;
        for (unsigned cls = 0; cls < OAKI_CACHE_CLASSES; cls++) {
            oaki_stack *s = &c->of[cls];
            if (s->top < c->first[cls] || s->top > s->end) s->top = c->first[cls];
        }
        c->thread = NULL;
        c->inherited = true;
        AO_store_release(&c->ended, 1);
        AO_store(&self.inherited, 1);
    }
}

void oaki_caches_init(void)
{
    oaki_fork_register(after_fork);
}

static void give_up(void *value)
{
    oaki_cache *c = value;
    oaki_my.cache = &oaki_cache_none;
    oaki_my.no_cache = true;
    AO_store_release(&c->ended, 1); /* from here on the cache is not this thread's */
    if (oaki_can_enter()) end_flagged();
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
    oaki_cache *c = self.ready ? new_cache() : NULL;
    oaki_leave(t);
    if (!c) return;
    if (pthread_setspecific(self.key, c) == 0) {
        oaki_the_heap.dirty_kinds = 1 << OAKI_SCAN;
        oaki_my.cache = c;
        t = oaki_enter();
        c->thread = t;
        enlist(t, c);
        oaki_leave(t);
        end_flagged();
        return;
    }
    t = oaki_enter();
    oaki_meta_free(c, cache_bytes(), OAKI_META_MCACHE);
    oaki_leave(t);
}

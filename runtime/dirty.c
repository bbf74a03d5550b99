/* dirty.c - selects, at the start, how the system reports dirty pages (dirty.h). Where that way
 * fails later, tracking is given up for good.
 *
 * Owns: `self`. Lock: self.lock for the choice; afterwards `by` is read without it. */
#include "writer.h"

#include "fd.h"
#include "heap.h"
#include "os.h"
#include "ownmask.h"
#include "print.h"

#include <errno.h>
#include <oakum/heap.h>

static struct {
    oaki_lock lock;
    bool tried;
    AO_t by;            /* const oaki_writer *; 0: none */
    AO_t not_after;     /* oaki_heap.cycle + 1: the collection after that one is stop-the-world */
    AO_t refusals;
    oak_writes_told reported;
} self = { .lock = OAKI_LOCK_INIT(OAKI_RANK_BITS) };

AO_t oaki_dirty_batch;

static const oaki_writer *writer(void)
{
    return (const oaki_writer *)AO_load_acquire(&self.by);
}

static bool try_one(const oaki_writer *w)
{
    const char *what = w->name;
    int error = w->open(&what);
    if (error == 0) {
        self.reported.by = w->name;
        AO_store_release(&self.by, (AO_t)w);
        return true;
    }
    self.reported.refused = what;
    self.reported.error = error;
    return false;
}

static bool is_wanted(oak_tracking way)
{
    oak_tracking want = oaki_the_heap.config.tracking;
    return want == way || want == OAK_TRACKING_ANY;
}

static void choose(void)
{
    const oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&self.lock);
    OAKI_ASSERT(!writer());
    self.reported = (oak_writes_told){ 0 };
    if (oaki_os_is_shared(h->base, h->base + h->reserved)) {
        self.reported = (oak_writes_told){ .refused = "shared memory mapped over the heap",
                                       .error = EBUSY };
        return;
    }
    if (is_wanted(OAK_TRACKING_USERFAULTFD) && try_one(&oaki_writer_uffd)) return;
    if (oaki_dirty_faults()) (void)try_one(&oaki_writer_fault);
}

bool oaki_dirty_start(void)
{
    OAKI_REQUIRES_UNSTOPPABLE();
    int saved = errno;
    oaki_lock_acquire(&self.lock);
    if (!self.tried) choose();
    self.tried = true;
    bool can = writer() != NULL;
    oaki_lock_release(&self.lock);
    errno = saved;
    return can;
}

bool oaki_dirty_faults(void)
{
    return is_wanted(OAK_TRACKING_FAULTS);
}

bool oaki_dirty_denies(void)
{
    return writer() == &oaki_writer_fault;
}

bool oak_heap_tells_writes(oak_writes_told *out)
{
    oaki_thread *t = oaki_enter();
    bool can = t && oaki_dirty_start();
    if (out) *out = (oak_writes_told){ 0 };
    if (t && out) {
        oaki_lock_acquire(&self.lock);
        *out = self.reported;
        oaki_lock_release(&self.lock);
    }
    if (t) oaki_leave(t);
    return can;
}

/* Protected pages stay readable, and a write to one still succeeds as before. */
static void give_up(const oaki_writer *w, const char *refused, int error)
{
    OAKI_REQUIRES_LOCK(&self.lock);
    self.reported = (oak_writes_told){ .refused = refused, .error = error };
    AO_store_release(&self.by, 0);
    w->release(0, AO_load(&oaki_the_heap.used));
}

static void refused(const oaki_writer *w, int error, bool counts)
{
    oaki_lock_acquire(&self.lock);
    errno = error;
    if (w && writer() == w && !(w->mend && w->mend(counts))) {
        give_up(w, w->name, errno);
        oaki_log("oakum: %s now fails: collections mark in one pause from here on\n", w->name);
    }
    oaki_lock_release(&self.lock);
}

size_t oaki_dirty_refusals(void)
{
    return AO_load_acquire(&self.refusals);
}

bool oaki_dirty_may(void)
{
    return writer() && AO_load(&self.not_after) != AO_load(&oaki_the_heap.cycle) + 1;
}

bool oaki_dirty_lost(void)
{
    const oaki_writer *w = writer();
    int saved = errno;
    bool lost = w && w->has && !w->has();
    errno = saved;
    return lost;
}

/* Opens anew the descriptors that the calling thread has lost, or reports the failure. Returns: is
 * there a way for this thread? */
static bool find_lost(bool counts)
{
    refused(writer(), 0, counts);
    return writer() && !oaki_dirty_lost();
}

bool oaki_dirty_here(void)
{
    OAKI_REQUIRES_INSIDE();
    int saved = errno;
    bool here = oaki_dirty_lost() ? find_lost(false) : writer() != NULL;
    errno = saved;
    return here;
}

/* Outside oaki_enter, for a thread without which tracking ends (counts). */
static bool find_lost_outside(void)
{
    oaki_thread *t = oaki_enter();
    bool found = t && find_lost(true);
    if (t) oaki_leave(t);
    return found;
}

/* For a way that is gone for good, as when the program has changed the handling of SIGSEGV. */
static void give_up_outside(const oaki_writer *w, const char *why)
{
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_lock_acquire(&self.lock);
    if (writer() == w) give_up(w, why, 0);
    oaki_lock_release(&self.lock);
    oaki_leave(t);
}

bool oaki_dirty_begin(void)
{
    bool gone = false;
    OAKI_REQUIRES_OUTSIDE();
    int saved = errno;
    bool here = !oaki_dirty_lost() || find_lost_outside();
    const oaki_writer *w = writer();
    const char *why = w ? w->begin(&gone) : NULL;
    if (why && gone) give_up_outside(w, why);
    else if (w && (why || !here)) AO_store(&self.not_after, AO_load(&oaki_the_heap.cycle) + 1);
    errno = saved;
    return here && w && !why;
}

static size_t take(oaki_taking *x)
{
    const oaki_writer *w = writer();
    int saved = errno;
    OAKI_ASSERT(x->from <= x->to && x->to <= oaki_the_heap.reserved && x->most > 0);
    OAKI_ASSERT((x->from | x->to) % oaki_os_page_size() == 0);
    size_t from = x->from, n = w ? w->take(x) : SIZE_MAX;
    if (n != SIZE_MAX) {
        oaki_dirty_count_take((x->from - from) / oaki_os_page_size(), x->fn ? n : 0);
    } else {
        (void)AO_fetch_and_add1_full(&self.refusals);
        refused(w, errno, false);
    }
    errno = saved;
    return n;
}

size_t oaki_dirty_take(size_t from, size_t to, bool again, oaki_dirty_fn *fn, void *ctx)
{
    oaki_taking x = { from, to, SIZE_MAX, again, fn, ctx };
    return take(&x);
}

size_t oaki_dirty_take_some(size_t *from, size_t to, size_t most, oaki_dirty_fn *fn, void *ctx)
{
    oaki_taking x = { *from, to, most, true, fn, ctx };
    size_t n = take(&x);
    *from = x.from;
    return n;
}

bool oaki_dirty_protect(size_t from, size_t to)
{
    return oaki_dirty_take(from, to, true, NULL, NULL) != SIZE_MAX;
}

void oaki_dirty_unprotect(size_t from, size_t to)
{
    const oaki_writer *w = writer();
    OAKI_ASSERT(from <= to && to <= oaki_the_heap.reserved);
    int saved = errno;
    if (w) w->release(from, to);
    errno = saved;
}

bool oaki_dirty_enroll(void *p, size_t size)
{
    const oaki_writer *w = writer();
    int saved = errno;
    bool can = w && w->enroll && w->enroll(p, size);
    errno = saved;
    return can;
}

bool oaki_dirty_try(void *p, size_t size, bool protect)
{
    const oaki_writer *w = writer();
    int saved = errno;
    bool can = w && w->try && w->try(p, size, protect);
    errno = saved;
    return can;
}

static void after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    const oaki_writer *w = writer();
    oaki_lock_reset(&self.lock);
    oaki_ownmask_forget();
    if (w) w->child();
    AO_store(&self.by, 0);
    AO_store(&self.not_after, 0);
    self.tried = false;
}

int oaki_dirty_init(void)
{
    const oak_config *c = &oaki_the_heap.config;
    if (c->concurrent && c->gc_percent >= 0 && is_wanted(OAK_TRACKING_USERFAULTFD))
        oaki_fd_make_room();
    oaki_fork_register(after_fork);
    return oaki_uffd_init();
}

/* walk.c - the walk over all objects, in one pause or in steps, and the state of a single one.
 *
 * Owns: nothing. Lock: gc_lock, in a pause. Caches are flushed first, so that each slot in A is an
 * object, and no thread can allocate from its cache unnoticed.
 * Bound: a pause of a step visits OAKI_TUNE_WALK_BATCH slots and free pages. */
#include "contract.h"
#include "gc.h"
#include "runtime/contain.h"
#include "runtime/guard.h"
#include "runtime/type.h"
#include "tuning.h"

#include <errno.h>
#include <oakum/walk.h>


_Static_assert((int)OAK_KIND_SCAN == OAKI_SCAN && (int)OAK_KIND_NOSCAN == OAKI_NOSCAN &&
                   (int)OAK_KIND_TYPED == OAKI_TYPED && (int)OAK_KIND_PINNED == OAKI_PINNED,
               "the kinds are numbered alike");

typedef struct walk {
    size_t at;   /* offset from which on slots are to be visited */
    size_t left; /* slots and pages that this pause may still visit */
    unsigned flags;
    oak_walk_fn fn; /* of a walk in one pause */
    void *ctx;
    oak_object *out; /* of one in steps */
    size_t n, max;
} walk;

/* ---- one object ---- */

static bool is_swept(const oaki_span *s)
{
    return s->swept == (uint32_t)AO_load(&oaki_the_heap.cycle);
}

/* The slot is in A, and no mark is under way. What M says of a swept slot holds only while M is
 * retained. */
static oak_age age_of(size_t slot, bool swept)
{
    if (swept && AO_load(&oaki_the_heap.sticky) == 0) return OAK_AGE_UNKNOWN;
    if (oaki_mark_get(slot)) return OAK_AGE_OLD;
    return swept ? OAK_AGE_YOUNG : OAK_AGE_UNKNOWN;
}

static size_t size_of(const oaki_span *s, void *object)
{
    size_t asked;
    if (OAKI_UNLIKELY(oaki_guard.on) && oaki_guard_size(object, &asked)) return asked;
    return s->size;
}

static void describe(const oaki_span *s, size_t slot, oak_object *o)
{
    bool swept = is_swept(s), marking = oaki_is_marking();
    *o = (oak_object){ .object = (void *)(oaki_the_heap.base + slot),
                       .type = oaki_type_by_id(oaki_type_id_at(slot)),
                       .zone = s->zone ? oaki_zone_by_id(s->zone) : NULL,
                       .kind = (oak_kind)s->kind,
                       .age = marking ? OAK_AGE_UNKNOWN : age_of(slot, swept) };
    o->size = size_of(s, o->object);
    o->marked = marking || !swept ? oaki_mark_get(slot) : o->age != OAK_AGE_YOUNG;
}

bool oak_object_read(const void *p, oak_object *out)
{
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    void *object = oaki_object_base(p);
    if (object && out) {
        size_t slot = oaki_heap_offset(object);
        oaki_span *s = oaki_span_of_offset(slot);
        oaki_central_ensure_swept(s);
        describe(s, slot, out);
    }
    oaki_leave(t);
    return object != NULL;
}

/* ---- the walk ---- */

/* In a frame of its own, as it may be left. */
static OAKI_NOINLINE bool call(const walk *w, const oak_object *o)
{
    bool more;
    OAKI_CALL_INSIDE(more = w->fn(o, w->ctx));
    return more;
}

/* The slot is in A. false: the walk ends, or this pause does. */
static bool visit(walk *w, const oaki_span *s, size_t slot)
{
    oak_object o;
    bool dead = !oaki_is_marking() && !is_swept(s) && !oaki_mark_get(slot);
    if (dead && !(w->flags & OAK_WALK_DEAD)) return true;
    if (OAKI_UNLIKELY(oaki_guard.on) && oaki_guard_is_freed((void *)(oaki_the_heap.base + slot)))
        return true;
    describe(s, slot, &o);
    if (w->fn) return call(w, &o);
    w->out[w->n++] = o;
    return w->n < w->max;
}

static bool visit_small(walk *w, const oaki_span *s)
{
    size_t begin = oaki_span_slot(s), first = begin >> 10, from = OAKI_MAX(w->at, begin) - begin;
    const uint64_t *starts = oaki_class_starts[s->cls];
    for (size_t i = from >> 10; i < (size_t)s->npages * OAKI_PAGE_WORDS; i++)
        for (uint64_t x = oaki_objects_in(first + i, starts[i]); x; x &= x - 1) {
            size_t slot = oaki_slot_of(first + i, x);
            if (slot < w->at) continue;
            w->at = slot + 1;
            if (!visit(w, s, slot)) return false;
        }
    return true;
}

static bool visit_span(walk *w, const oaki_span *s)
{
    size_t slot = oaki_span_slot(s);
    if (oaki_zone_is_gone(s->zone)) return true;
    if (s->cls != OAKI_CLASS_LARGE) return visit_small(w, s);
    if (slot < w->at || !oaki_bit_get(oaki_the_heap.alloc, slot)) return true;
    w->at = slot + 1;
    return visit(w, s, slot);
}

/* Visits spans until the heap ends, the walk does, or as much is visited as a pause may. Free pages
 * are passed singly, as the cursor may lie within a run of them. */
static bool go_on(walk *w)
{
    const oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_STOPPED();
    size_t end = AO_load(&h->used);
    while (w->at < end && w->left > 0) {
        size_t page = w->at >> OAKI_PAGE_SHIFT, cost = 1;
        if ((h->pte[page] & OAKI_PTE_CLASS) == 0) {
            w->at = (page + 1) << OAKI_PAGE_SHIFT;
        } else {
            const oaki_span *s = &h->spans[oaki_page_first(page)];
            if (!visit_span(w, s)) return false;
            if (s->cls != OAKI_CLASS_LARGE) cost = oaki_span_slots(s);
            w->at = (oaki_span_page(s) + s->npages) << OAKI_PAGE_SHIFT;
        }
        w->left -= OAKI_MIN(cost, w->left);
    }
    return w->at < end;
}

/* One pause. Is there more to visit? */
static bool pause_and_visit(walk *w, bool *failed)
{
    oaki_thread *t = oaki_gc_stop_begin();
    *failed = !t;
    if (!t) return false;
    oaki_gc_flush_caches();
    bool more = go_on(w);
    oaki_gc_stop_end(t);
    return more;
}

int oak_heap_each(oak_walk_fn fn, void *ctx, unsigned flags)
{
    bool failed;
    if (!fn || (flags & ~(unsigned)OAK_WALK_DEAD)) {
        errno = EINVAL;
        return -1;
    }
    if (!oaki_heap_ready()) return -1;
    walk w = { .fn = fn, .ctx = ctx, .flags = flags, .left = SIZE_MAX };
    (void)pause_and_visit(&w, &failed);
    if (failed) errno = ENOMEM;
    return failed ? -1 : 0;
}

size_t oak_heap_step(oak_heap_cursor *c, oak_object *out, size_t max)
{
    bool failed, more;
    if (!c || !out || max == 0) {
        errno = EINVAL;
        return 0;
    }
    if (!oaki_heap_ready()) return 0;
    walk w = { .at = c->at, .out = out, .max = max };
    do {
        w.left = OAKI_TUNE_WALK_BATCH;
        more = pause_and_visit(&w, &failed);
    } while (more && w.n == 0);
    c->at = w.n == 0 && !failed ? SIZE_MAX : w.at; /* the end stays the end, if the heap grows */
    if (failed) errno = ENOMEM;
    return w.n;
}

/* deferred_free.c - large objects, and those with a mark function, that were freed by hand during
 * a concurrent mark.
 *
 * The page heap must not have such an object before the mark is over, and its memory must not be
 * handed out again. So the object stays allocated, and loses its mark in the final pause: the sweep
 * frees it. Until then its memory counts as live. So a program that frees and allocates faster than
 * the mark is throttled like one that only allocates. No mark function is called for such objects,
 * nor for those of a discarded zone.
 *
 * Without memory for its record, an object stays until the next cycle, and a second oak_free of it
 * is not noticed. After an aborted mark, the objects are freed by the collector's thread, by
 * oak_collect_step, or by the next collection.
 *
 * Owns: the table. It is none of tables.c, whose lock the thread that frees may not take: its
 * records name no reference, and go where the mark ends, dead or not.
 * Lock: its own, which is free in every pause. */
#include "gc/concurrent/concurrent.h"
#include "gc/contract.h"
#include "gc/host.h"
#include "gc/trace/trace.h"
#include "gc/tuning.h"
#include "objtable.h"
#include "runtime/os.h"

static struct {
    oaki_lock lock;
    oaki_objtable objects;
} self = { .lock = OAKI_LOCK_INIT(OAKI_RANK_DEFERRED) };

static void note(void *obj)
{
    if (oaki_objtable_reserve(&self.objects) != 0) return;
    oaki_objtable_add(&self.objects, obj, OAKI_RECORD_NONE);
    AO_store(&oaki_the_heap.ndeferred, self.objects.records.len);
}

bool oaki_gc_defer_free(void *obj)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_LOCKS_BELOW(OAKI_RANK_ZONES);
    bool keep = oaki_is_marking();
    if (!keep && AO_load(&oaki_the_heap.ndeferred) == 0) return false;
    oaki_lock_acquire(&self.lock);
    bool twice = oaki_objtable_first(&self.objects, obj) != OAKI_RECORD_NONE;
    if (!twice && keep) note(obj);
    oaki_lock_release(&self.lock);
    if (twice) oak_fatal("oakum: oak_free: %p is not in a live object: was it freed already?", obj);
    return keep;
}

static bool has(const void *obj)
{
    if (OAKI_LIKELY(AO_load(&oaki_the_heap.ndeferred) == 0)) return false;
    oaki_lock_acquire(&self.lock);
    bool found = oaki_objtable_first(&self.objects, obj) != OAKI_RECORD_NONE;
    oaki_lock_release(&self.lock);
    return found;
}

bool oaki_deferred_may_call(const oaki_span *s, const void *obj)
{
    return (!s->zone || oaki_zone_by_id(s->zone)->state != OAKI_ZONE_DEAD) && !has(obj);
}

static char *at(size_t i)
{
    return ((oaki_record *)oaki_objtable_at(&self.objects, (uint32_t)i))->obj;
}

size_t oaki_deferred_marked(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    size_t bytes = 0;
    oaki_lock_acquire(&self.lock);
    for (size_t i = 0; i < self.objects.records.len; i++) {
        size_t slot = oaki_heap_offset(at(i));
        if (oaki_mark_get(slot)) bytes += oaki_object_size(slot);
    }
    oaki_lock_release(&self.lock);
    return bytes;
}

static void empty(void)
{
    if (self.objects.records.len == 0) return;
    self.objects.records.len = 0;
    AO_store(&oaki_the_heap.ndeferred, 0);
    oaki_objtable_rechain(&self.objects);
}

/* Its pages may be another object's before a mark ends. */
void oaki_deferred_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_INSIDE();
    size_t n = 0;
    if (AO_load(&oaki_the_heap.ndeferred) == 0) return;
    oaki_lock_acquire(&self.lock);
    for (size_t i = 0; i < self.objects.records.len; i++) {
        const oaki_record *l = oaki_objtable_at(&self.objects, (uint32_t)i);
        if (oaki_span_of_offset(oaki_heap_offset(l->obj))->zone == zone) continue;
        *(oaki_record *)oaki_objtable_at(&self.objects, (uint32_t)n++) = *l;
    }
    self.objects.records.len = n;
    AO_store(&oaki_the_heap.ndeferred, n);
    oaki_objtable_rechain(&self.objects);
    oaki_lock_release(&self.lock);
}

void oaki_deferred_trim(void)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&self.lock);
    (void)oaki_objtable_trim(&self.objects, OAKI_TUNE_TABLE_FORGET);
    oaki_lock_release(&self.lock);
}

static char *take(void)
{
    char *obj = NULL;
    oaki_lock_acquire(&self.lock);
    size_t n = self.objects.records.len;
    if (n > 0) {
        obj = at(n - 1);
        oaki_objtable_unlink(&self.objects, (uint32_t)n - 1);
        oaki_objtable_remove(&self.objects, (uint32_t)n - 1);
        AO_store(&oaki_the_heap.ndeferred, self.objects.records.len);
    }
    oaki_lock_release(&self.lock);
    return obj;
}

/* Before it is freed no stop may come, which would forget it, nor the reaper of its zone. */
static bool release_one(void)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_NO_MARK();
    if (!oaki_helper_try()) return false;
    char *obj = take();
    if (obj) oaki_free_deferred(obj);
    oaki_lock_release(&oaki_the_heap.helper_lock);
    return true;
}

/* A mark that has begun meanwhile keeps the rest until its end. */
void oaki_deferred_release(uint64_t end_ns)
{
    OAKI_REQUIRES_OUTSIDE();
    while (AO_load(&oaki_the_heap.ndeferred) > 0 && (!end_ns || oaki_os_now_ns() < end_ns)) {
        oaki_thread *t = oaki_enter();
        bool marks = oaki_is_marking(), done = !marks && release_one();
        oaki_leave(t);
        if (marks) return;
        if (!done) oaki_os_yield();
    }
}

/* No function is asked whether an object that was freed by hand is to be kept. */
static void forget_disclaim(char *obj)
{
    size_t slot = oaki_heap_offset(obj);
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(slot));
    if (OAKI_LIKELY(!t || !t->disclaim)) return;
    oaki_span *s = oaki_span_of_offset(slot);
    if (s->cls == OAKI_CLASS_LARGE) s->type = 0;
    else oaki_span_set_type(obj, 0);
}

/* An old object may have all of its mark bits; the next object in its place has none. */
void oaki_deferred_wipe(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    oaki_lock_acquire(&self.lock);
    for (size_t i = 0; i < self.objects.records.len; i++) {
        size_t slot = oaki_heap_offset(at(i));
        forget_disclaim(at(i));
        oaki_mark_wipe(slot, OAKI_MIN(oaki_object_size(slot), OAKI_SMALL_MAX));
    }
    empty();
    oaki_lock_release(&self.lock);
}

const char *oaki_deferred_check(void)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&self.lock);
    const char *rule = oaki_objtable_check(&self.objects);
    if (!rule && self.objects.records.len != AO_load(&oaki_the_heap.ndeferred))
        rule = "deferred frees: ndeferred counts the objects that are kept";
    oaki_lock_release(&self.lock);
    return rule;
}

/* No thread was in the middle of a change. The records stay, for the child's next mark. */
void oaki_deferred_reset(void)
{
    OAKI_REQUIRES_FORKED();
    oaki_lock_reset(&self.lock);
}

OAKI_AT_START int oaki_deferred_init(void)
{
    oaki_objtable_init(&self.objects, sizeof(oaki_record), &self.lock);
    return 0;
}

/* freed.c - objects that were freed by hand while a mark beside the program was under way.
 *
 * The page heap must not have them before it is over, and what a function marks must not be handed
 * out again: they stay allocated, and lose their mark in the last stop, so that the sweep frees
 * them. One for whose note there is no memory stays until the next cycle.
 *
 * Owns: the list. Lock: its own while the world runs; none where it stands. */
#include "beside.h"
#include "host.h"
#include "mark.h"
#include "runtime/meta.h"

static struct {
    oaki_lock lock;
    oaki_vec objects; /* void * */
} self = { .lock = OAKI_LOCK_INIT(OAKI_RANK_FREED) };

bool oaki_gc_keep_freed(void *obj, size_t bytes)
{
    if (oaki_beside_state() == OAKI_BESIDE_NONE) return false;
    oaki_lock_acquire(&self.lock);
    if (oaki_vec_reserve(&self.objects, self.objects.len + 1) == 0)
        ((void **)self.objects.items)[self.objects.len++] = obj;
    oaki_lock_release(&self.lock);
    oaki_count_sub_most(&oaki_the_heap.live, bytes);
    return true;
}

size_t oaki_freed_marked(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < self.objects.len; i++) {
        size_t slot = oaki_heap_offset(((void **)self.objects.items)[i]);
        if (oaki_mark_get(slot)) bytes += oaki_object_size(slot);
    }
    return bytes;
}

/* An old object may have all of its bits, and what comes to its place is to have none. */
void oaki_freed_wipe(void)
{
    void **obj = self.objects.items;
    for (size_t i = 0; i < self.objects.len; i++) {
        size_t slot = oaki_heap_offset(obj[i]);
        oaki_mark_wipe(slot, OAKI_MIN(oaki_object_size(slot), OAKI_SMALL_MAX));
    }
    self.objects.len = 0;
}

void oaki_freed_forget(void)
{
    self.objects.len = 0;
}

static void after_fork(void)
{
    oaki_lock_reset(&self.lock);
    self.objects.len = 0;
}

void oaki_freed_init(void)
{
    oaki_vec_init(&self.objects, sizeof(void *), OAKI_META_OTHER);
    oaki_fork_register(after_fork);
}

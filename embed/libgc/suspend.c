/* suspend.c - suspends single threads, and resumes them.
 *
 * A stop parks all threads outside of the runtime, or where they leave it next. The suspended
 * thread stays parked when the world runs again (runtime/park.c). So it holds no lock of the heap,
 * and counts as blocked in later stops. A thread in a region of GC_do_blocking goes on to the
 * region's end, as in libgc.
 *
 * Owns: oaki_thread.suspended. Lock: threads_lock. */
#include "libgc.h"

#include "runtime/os.h"

static oaki_thread *find(pthread_t id)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.threads_lock);
    oaki_thread *t = oaki_the_heap.threads;
    while (t && (t->own || !pthread_equal(t->pthread, id))) t = t->next;
    return t;
}

static void suspend_self(void)
{
    oaki_thread *t = oaki_enter();
    AO_int_store_release(&t->suspended, 1);
    t->stop_pending = 1;
    oaki_leave(t);
}

LGC_OUTSIDE(void, GC_suspend_thread, (void *id), (id))

void GC_suspend_thread(void *id)
{
    lgc_ready();
    if (!oaki_thread_self() && pthread_equal((pthread_t)id, pthread_self())) return;
    if (lgc_is_blocked()) {
        GC_suspend_thread_outside(id);
        return;
    }
    if (pthread_equal((pthread_t)id, pthread_self())) {
        suspend_self();
        return;
    }
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) oak_fatal("oakum: GC_suspend_thread: no memory to stop the world");
    oaki_thread *other = find((pthread_t)id);
    if (other) AO_int_store_release(&other->suspended, 1);
    oaki_gc_stop_end(t);
}

/* Calls fn for the thread with this id, if there is one. The thread can't end during the call. */
static int with(pthread_t id, int (*fn)(oaki_thread *t))
{
    lgc_ready();
    oaki_thread *t = oaki_enter();
    if (!t) return 0;
    oaki_lock_acquire_parked(t, &oaki_the_heap.threads_lock);
    oaki_thread *other = find(id);
    int result = other ? fn(other) : 0;
    oaki_lock_release(&oaki_the_heap.threads_lock);
    oaki_leave(t);
    return result;
}

static int resume(oaki_thread *t)
{
    AO_int_store_release(&t->suspended, 0);
    oaki_futex_wake(&t->suspended, 1);
    return 0;
}

static int is_suspended(oaki_thread *t)
{
    return AO_int_load_acquire(&t->suspended) != 0;
}

LGC_OUTSIDE(void, GC_resume_thread, (void *id), (id))

void GC_resume_thread(void *id)
{
    if (lgc_is_blocked()) GC_resume_thread_outside(id);
    else (void)with((pthread_t)id, resume);
}

LGC_OUTSIDE(int, GC_is_thread_suspended, (void *id), (id))

int GC_is_thread_suspended(void *id)
{
    if (lgc_is_blocked()) return GC_is_thread_suspended_outside(id);
    return with((pthread_t)id, is_suspended);
}

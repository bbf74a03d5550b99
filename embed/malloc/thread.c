/* thread.c - attaches threads before their first instruction.
 *
 * A thread may hold the only reference to an object before it calls malloc. So if leaks or growth
 * are looked for, pthread_create and thrd_create start each thread in a function that attaches it.
 *
 * Owns nothing. Lock: none. */
#include "preload.h"
#include "runtime/task.h"
#include <dirent.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

/* ---- starting ---- */

typedef struct first {
    union {
        void *(*posix)(void *);
        thrd_start_t c11;
    } fn;
    void *arg;
    unsigned char sealed; /* of the thread that starts it */
} first;

static void *run(void *p)
{
    first f = *(first *)p;
    oaki_side_free(p);
    oaki_my.sealed = f.sealed;
    (void)oaki_can_enter();
    oaki_last_thread_begins();
    return f.fn.posix(f.arg);
}

static int run_c11(void *p)
{
    first f = *(first *)p;
    oaki_side_free(p);
    oaki_my.sealed = f.sealed;
    (void)oaki_can_enter();
    oaki_last_thread_begins();
    return f.fn.c11(f.arg);
}

/* Run a thread of Oakum's own: its allocations aren't the program's. It uses the side range, unless
 * the runtime attaches it. */
static void *run_own(void *p)
{
    first f = *(first *)p;
    oaki_side_free(p);
    oaki_my.sealed = f.sealed;
    oaki_my.quiet = 1;
    oaki_my.was_attached = true;
    return f.fn.posix(f.arg);
}

OAKI_EXPORT int pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *),
                               void *arg)
{
    if (!oaki_wanted.tracks && !oaki_my.quiet) return OAKI_REAL(pthread_create)(id, attr, fn, arg);
    first *f = oaki_side_alloc(sizeof *f, 1);
    if (!f) return EAGAIN;
    *f = (first){ .fn.posix = fn, .arg = arg, .sealed = oaki_my.sealed };
    int e = OAKI_REAL(pthread_create)(id, attr, oaki_my.quiet ? run_own : run, f);
    if (e != 0) oaki_side_free(f);
    return e;
}

OAKI_EXPORT int thrd_create(thrd_t *id, thrd_start_t fn, void *arg)
{
    if (!oaki_wanted.tracks) return OAKI_REAL(thrd_create)(id, fn, arg);
    first *f = oaki_side_alloc(sizeof *f, 1);
    if (!f) return thrd_nomem;
    *f = (first){ .fn.c11 = fn, .arg = arg, .sealed = oaki_my.sealed };
    int e = OAKI_REAL(thrd_create)(id, run_c11, f);
    if (e != thrd_success) oaki_side_free(f);
    return e;
}

int __real_oaki_thread_spawn(const char *name, void *(*fn)(void *), void *arg, bool attach);
int __wrap_oaki_thread_spawn(const char *name, void *(*fn)(void *), void *arg, bool attach);

int __wrap_oaki_thread_spawn(const char *name, void *(*fn)(void *), void *arg, bool attach)
{
    oaki_quiet_begin();
    int e = __real_oaki_thread_spawn(name, fn, arg, attach);
    oaki_quiet_end();
    return e;
}

/* ---- unattached threads ---- */

static bool is_attached(int tid)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *me = oaki_enter(), *t;
    oaki_lock_acquire_parked(me, &h->threads_lock);
    for (t = h->threads; t && t->tid != tid; t = t->next) {}
    oaki_lock_release(&h->threads_lock);
    oaki_leave(me);
    return t != NULL;
}

/* Whether a thread can't hold references: it is Oakum's or the kernel's, or has ended. */
static bool is_harmless(int tid)
{
    oaki_task task;
    if (!oaki_task_read(tid, &task)) return oaki_task_none(errno);
    return strncmp(task.name, "oakum", 5) == 0 || task.worker || oaki_task_is_dead(&task);
}

static bool is_known(int tid)
{
    return is_attached(tid) || is_harmless(tid);
}

/* Is this true of each thread of the process? false, too, if they can't be read. */
static bool all_threads(bool (*is)(int tid))
{
    DIR *d = opendir("/proc/self/task");
    bool all = d != NULL;
    while (all) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            all = errno == 0;
            break;
        }
        all = e->d_name[0] == '.' || is(atoi(e->d_name));
    }
    if (d) closedir(d);
    return all;
}

bool oaki_threads_unknown(void)
{
    return !all_threads(is_known);
}

bool oaki_threads_all_own(void)
{
    return all_threads(is_harmless);
}

/* ---- the library's own data ---- */

typedef struct data {
    uintptr_t lo, hi;
} data;

static int find_data(struct dl_phdr_info *info, size_t size, void *ctx)
{
    data *d = ctx;
    bool ours = false;
    (void)size;
    *d = (data){ UINTPTR_MAX, 0 };
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + p->p_vaddr, hi = lo + p->p_memsz;
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_W)) continue;
        d->lo = OAKI_MIN(d->lo, lo);
        d->hi = OAKI_MAX(d->hi, hi);
        ours = ours || ((uintptr_t)&oaki_wanted >= lo && (uintptr_t)&oaki_wanted < hi);
    }
    return ours;
}

void *oaki_own_data(size_t *n)
{
    data d;
    if (dl_iterate_phdr(find_data, &d) != 1) return NULL;
    *n = d.hi - d.lo;
    return (void *)d.lo;
}

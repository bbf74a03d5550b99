/* thread.c - threads from their first instruction on.
 *
 * A thread that may hold the only reference to something must be known before it has called malloc:
 * where that matters, pthread_create starts it in a function of ours that attaches it.
 *
 * Owns: what the wrapped functions are; written at first use, the same by whoever comes first. */
#include "preload.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>

static struct {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
} real;

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* ---- starting ---- */

typedef struct first {
    void *(*fn)(void *);
    void *arg;
} first;

static void *run(void *p)
{
    first f = *(first *)p;
    oaki_side_free(p);
    (void)oaki_can_enter();
    return f.fn(f.arg);
}

/* One of Oakum's own: what it allocates is not the program's. The runtime attaches it if it wants
 * to; until then it has the side, as libc calls malloc in the middle of that. */
static void *run_own(void *p)
{
    first f = *(first *)p;
    oaki_side_free(p);
    oaki_my.quiet = 1;
    oaki_my.was_attached = true;
    return f.fn(f.arg);
}

OAKI_EXPORT int pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *),
                               void *arg)
{
    if (!real.create) *(void **)&real.create = next("pthread_create");
    if (!oaki_wanted.tracks && !oaki_my.quiet) return real.create(id, attr, fn, arg);
    first *f = oaki_side_alloc(sizeof *f, 1);
    if (!f) return EAGAIN;
    *f = (first){ fn, arg };
    int e = real.create(id, attr, oaki_my.quiet ? run_own : run, f);
    if (e != 0) oaki_side_free(f);
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

/* ---- our own data ---- */

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
        ours = ours || ((uintptr_t)&real >= lo && (uintptr_t)&real < hi);
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

/* pin.c - a reference of the library's to itself (pin.h).
 *
 * The reference is taken by a constructor, when the loader's lock is the loading thread's already.
 * Two kinds of library need none. One that was loaded with the program is never unloaded, and
 * dlopen would cost such a program a twentieth of its start. The static library is a part of the
 * program, or of a module that was linked with -z nodelete.
 * Owns: the reference. Lock: none: loading, shutdown and a new start are each by one thread. */
#include "pin.h"
#include "restore.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/auxv.h>

static struct {
    void *handle;
    bool wanted; /* there is a reference, or there can be none */
    bool for_good;
} self;

#ifdef PIC

/* The loader's list of objects, whose first is the program. The loader comes behind some of those
 * that were loaded with the program, and before all that were loaded later. */
typedef struct order {
    uintptr_t loader; /* its address */
    bool begun, own, own_first;
} order;

extern OAKI_HIDDEN const char file_start[] __asm__("__ehdr_start"); /* the library's */

static int look(struct dl_phdr_info *info, size_t size, void *ctx)
{
    order *o = ctx;
    (void)size;
    if (!o->begun && (uintptr_t)info->dlpi_phdr != getauxval(AT_PHDR)) return 1; /* a namespace */
    o->begun = true;
    o->own = o->own || info->dlpi_addr == (uintptr_t)file_start;
    o->own_first = o->own && info->dlpi_addr == o->loader;
    return info->dlpi_addr == o->loader;
}

static bool came_with_program(void)
{
    order o = { .loader = getauxval(AT_BASE) };
    return o.loader && dl_iterate_phdr(look, &o) == 1 && o.own_first;
}

static void *own_handle(void)
{
    Dl_info own;
    if (came_with_program() || !dladdr((void *)&self, &own) || !own.dli_fname) return NULL;
    return dlopen(own.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
}

static __attribute__((constructor)) void begin(void)
{
    oaki_pin_begin();
}
#else
static void *own_handle(void)
{
    return NULL;
}
#endif

/* dlopen may call a malloc that comes back here by the heap's start. */
void oaki_pin_begin(void)
{
    if (self.wanted) return;
    self.wanted = true;
    self.handle = own_handle();
}

void oaki_pin_end(void)
{
    void *handle = self.handle;
    if (self.for_good) return;
    self.handle = NULL;
    self.wanted = false;
    if (handle) (void)dlclose(handle);
}

void oaki_pin_for_good(void)
{
    self.for_good = true;
    oaki_restore_except(&self, sizeof self);
}

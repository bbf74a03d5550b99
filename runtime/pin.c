/* pin.c - a reference of the library's to itself (pin.h).
 *
 * The reference is taken by a constructor, when the loader's lock is the loading thread's already.
 * The static library has none: it is a part of the program, or of a module that was linked with
 * -z nodelete.
 * Owns: the reference. Lock: none: loading, shutdown and a new start are each by one thread. */
#include "pin.h"
#include "restore.h"

#include <dlfcn.h>

static struct {
    void *handle;
    bool wanted; /* there is a reference, or there can be none */
    bool for_good;
} self;

#ifdef PIC
static void *own_handle(void)
{
    Dl_info own;
    if (!dladdr((void *)&self, &own) || !own.dli_fname) return NULL;
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

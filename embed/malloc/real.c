/* real.c - the next functions of the same names as this library's own: those of libc, or of a
 * library in between.
 *
 * A look-up takes the loader's lock. Another thread may hold it and wait for the caller: for
 * example in a library's constructor that waits for a new thread. So all functions are looked up
 * before main. Earlier calls, by constructors or the loader, look up their function themselves.
 *
 * Owns: the table. Lock: none: each look-up of a function gives the same address. */
#include "preload.h"
#include <dlfcn.h>

static AO_t known[OAKI_REALS];

#define NAME(name) #name,
static const char *const names[] = { OAKI_EACH_REAL(NAME) };

static void *find(unsigned which)
{
    void *fn = dlsym(RTLD_NEXT, names[which]);
    AO_store(&known[which], (AO_t)fn);
    return fn;
}

void *oaki_real(unsigned which)
{
    void *fn = (void *)AO_load(&known[which]);
    return OAKI_LIKELY(fn != NULL) ? fn : find(which);
}

void oaki_reals_find(void)
{
    for (unsigned i = 0; i < OAKI_REALS; i++) (void)find(i);
    (void)dlerror(); /* discard the message, so that the program doesn't get it */
}

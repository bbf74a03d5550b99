/* real.c - the functions of libc, or of who is between, that the library's own of the same name
 * call.
 *
 * Looking one up takes the loader's lock, which another thread may have that waits for the caller:
 * one in a library's constructor, say, that waits for a thread to be created. So all are looked up
 * before main. Before that one is looked up when it is called, by a constructor or the loader.
 *
 * Owns: the table, which is the same whoever looks them up. Lock: none. */
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
    (void)dlerror(); /* the program's first is to be of its own */
}

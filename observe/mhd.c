/* mhd.c - loading libmicrohttpd (mhd.h). */
#include "mhd.h"
#include <dlfcn.h>

const char *oaki_mhd_library = "libmicrohttpd.so.12";
oaki_mhd_table oaki_mhd;

const oaki_mhd_table *oaki_mhd_load(const char **missing)
{
    const char *unused;
    if (!missing) missing = &unused;
    *missing = oaki_mhd_library;
    void *lib = dlopen(oaki_mhd_library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!lib) return NULL;
#define FIND(fn)                                               \
    *missing = #fn;                                            \
    if (!(*(void **)&oaki_mhd.fn = dlsym(lib, #fn))) {         \
        dlclose(lib);                                          \
        return NULL;                                           \
    }
    OAKI_MHD_FUNCTIONS(FIND)
#undef FIND
    return &oaki_mhd;
}

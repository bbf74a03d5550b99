/* mhd.c - loading libmicrohttpd (mhd.h). */
#include "mhd.h"
#include "foreign.h"
#include "runtime/print.h"

const char *oaki_mhd_library = "libmicrohttpd.so.12";
oaki_mhd_table oaki_mhd;

const oaki_mhd_table *oaki_mhd_load(char *why)
{
    char unused[OAKI_FOREIGN_WHY];
    if (!why) why = unused;
    void *lib = oaki_foreign_load(oaki_mhd_library, why);
    if (!lib) return NULL;
#define FIND(fn)                                                                            \
    if (!(*(void **)&oaki_mhd.fn = oaki_foreign_find(lib, #fn))) {                          \
        oaki_format(why, OAKI_FOREIGN_WHY, "%s: there is no %s", oaki_mhd_library, #fn);    \
        return NULL;                                                                        \
    }
    OAKI_MHD_FUNCTIONS(FIND)
#undef FIND
    return &oaki_mhd;
}

void oaki_mhd_panic(void *unused, const char *file, unsigned line, const char *why)
{
    (void)unused, (void)file;
    oaki_log("oakum: the debug server has ended: libmicrohttpd, line %u: %.100s\n", line,
             why ? why : "");
    oaki_foreign_give_up();
}

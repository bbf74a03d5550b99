/* check.c - `oakum run --check`: the guard (runtime/guard.h) for unmodified programs.
 *
 * The guard begins when the program's libraries have been initialised. Earlier blocks have no gaps.
 *
 * Owns nothing. Lock: none. */
#include "observe/guard.h"
#include "observe/site.h"
#include "preload.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/roomy.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The stack may load tables, which calls malloc. */
static uint32_t site(void)
{
    if (oaki_my.quiet || oaki_sealed_strictly()) return UINT32_MAX;
    oaki_quiet_begin();
    uint32_t id = oaki_guard_site();
    oaki_quiet_end();
    return id;
}

static void tell_line(const char *text)
{
    char line[512];
    size_t n = oaki_format(line, sizeof line, "==%d== %.400s", oaki_os_pid(), text);
    oaki_tell(line, OAKI_MIN(n, sizeof line - 1));
}

static void tell(void *ctx)
{
    const oaki_guard_finding *f = *(const oaki_guard_finding **)ctx;
    char headline[400];
    (void)oaki_guard_headline(f, headline, sizeof headline);
    oaki_say("oakum: %s", headline);
    oaki_guard_explain(f, oaki_wanted.frames, tell_line);
}

static void report(const oaki_guard_finding *f)
{
    int saved = errno;
    oaki_quiet_begin();
    oaki_roomy_call(tell, &f);
    oaki_quiet_end();
    if (!oaki_guard.go_on)
        oak_fatal("oakum: the first error ends the program; --check=continue goes on");
    errno = saved;
}

void oaki_check_start(void)
{
    const char *words = oaki_wanted.check;
    oaki_debug *d = &oaki_debug_switches;
    d->guard = OAKI_DEBUG_GUARD;
    if (strstr(words, "page")) d->guard |= OAKI_DEBUG_GUARD_PAGE;
    if (strstr(words, "continue")) d->guard |= OAKI_DEBUG_GUARD_CONTINUE;
    oaki_quiet_begin();
    bool can = oaki_sites_init() == 0 && oaki_guard_start(site, report);
    if (can) oaki_guard_catch();
    else oaki_say("oakum: no memory to check the program");
    oaki_quiet_end();
}

/* The status to end with. */
int oaki_check_end(int status)
{
    oaki_guard_check("the program's end");
    size_t n = oaki_guard_found();
    if (n > 0) oaki_say("oakum: %zu error%s found", n, n == 1 ? " was" : "s were");
    return n > 0 && oaki_wanted.error_exit ? oaki_wanted.error_exit : status;
}

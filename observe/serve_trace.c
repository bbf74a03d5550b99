/* serve_trace.c - a trace of some seconds by HTTP, for Perfetto.
 *
 * Owns: nothing; runs on the light worker. The request is handled here twice, and waits in between
 * without a thread. The trace belongs to the request, and ends with it if the client goes. The
 * program's own trace is never ended for a request. */
#include "runtime/os.h"
#include "serve_json.h"
#include "trace.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define EVENTS ((size_t)16 << 10) /* events a thread */
#define MOST (OAKI_BODY_MAX - ((size_t)64 << 10)) /* bytes: a body is read with some to spare */

static void begin(oaki_request *r)
{
    r->trace = oaki_trace_begin(EVENTS);
    if (r->trace)
        r->due = oaki_os_now_ns() + (uint64_t)r->seconds * 1000000000;
    else if (errno == EBUSY)
        oaki_request_refuse(r, 409, "a trace is under way already; it ends by itself");
    else
        oaki_request_refuse(r, 503, "no memory for a trace");
}

/* Writes to an anonymous file first. */
static void end(oaki_request *r)
{
    int fd = memfd_create("oakum-trace", MFD_CLOEXEC);
    int result = oaki_trace_end(r->trace, fd, MOST);
    bool stale = result != 0 && errno == ESTALE;
    r->trace = 0;
    if (stale)
        oaki_request_refuse(r, 409, "the program has begun a trace of its own meanwhile");
    else if (result != 0 || fd < 0)
        oaki_request_refuse(r, 503, "the trace can't be written: no memory");
    else
        oaki_body_read(&r->body, fd);
    if (fd >= 0) close(fd);
    if (r->status != 200) return;
    r->type = "application/json; charset=utf-8";
    r->name = "trace.json";
}

void oaki_serve_trace(oaki_request *r)
{
    if (r->trace)
        end(r);
    else
        begin(r);
}

/* serve_routes.c - the server's addresses, and two pages that contain nothing about the program:
 * the dashboard, which requests its data, and the list of addresses.
 *
 * Owns: the list, and the one address that a host adds to it. The build makes the dashboard an
 * array from observe/dashboard.html. */
#include "runtime/os.h"
#include "runtime/print.h"
#include "serve_json.h"
#include <string.h>

static const unsigned char page[] = {
#include "observe/dashboard.inc"
};

/* The place in the page for the nonce. */
static const char placeholder[] = "0123456789abcdef0123456789abcdef";

static void make_nonce(char out[33])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[16];
    oaki_os_random(bytes, sizeof bytes);
    for (int i = 0; i < 16; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[32] = '\0';
}

static void make_page(oaki_request *r)
{
    r->type = "text/html; charset=utf-8";
    oaki_body_put(&r->body, page, sizeof page);
    if (r->body.failed) return;
    make_nonce(r->nonce);
    char *at = r->body.p, *end = r->body.p + r->body.n;
    while ((at = memmem(at, (size_t)(end - at), placeholder, 32)) != NULL) {
        memcpy(at, r->nonce, 32);
        at += 32;
    }
}

static void make_list(oaki_request *r);

/* LIGHT: made by the light worker, at once. LATER: by the light worker, after some seconds. HEAVY:
 * by the heavy worker. OPEN: by the loop, and without a token. */
#define LIGHT(path, fn, help) { path, OAKI_MAKER_LIGHT, false, 0, fn, help }
#define LATER(path, seconds, fn, help) { path, OAKI_MAKER_LIGHT, false, seconds, fn, help }
#define HEAVY(path, fn, help) { path, OAKI_MAKER_HEAVY, false, 0, fn, help }
#define OPEN(path, fn, help) { path, OAKI_MAKER_LOOP, true, 0, fn, help }

static const oaki_route routes[] = {
    OPEN("/", make_page, "the dashboard, for a browser"),
    LIGHT("/metrics", oaki_serve_metrics, "for Prometheus"),
    OPEN("/debug/", make_list, "this list"),
    LIGHT("/debug/state", oaki_serve_state,
          "what the dashboard shows, as JSON; since=N: collections after that one; n=N maps"),
    LIGHT("/debug/memstats", oaki_serve_memstats, "MemStats under Go's names, as JSON"),
    LIGHT("/debug/host", oaki_serve_host,
          "what this host costs, and what the collector decided by it, as JSON"),
    LIGHT("/debug/gc", oaki_serve_gc,
          "the last collections, as JSON; since=N: those after that one"),
    LIGHT("/debug/maps", oaki_serve_maps, "live maps, the largest first, as JSON; n=N: so many"),
    LIGHT("/debug/threads", oaki_serve_threads, "attached threads and parked fibers, as JSON"),
    LIGHT("/debug/leaks", oaki_serve_leaks, "what the leak detector has found, as JSON"),
    HEAVY("/debug/why", oaki_serve_why,
          "why the object at addr=0x... is alive, or one that site=N made, as JSON; text=1: in "
          "words"),
    LIGHT("/debug/pprof/heap", oaki_serve_heap,
          "heap profile for pprof; seconds=N: what changes meanwhile; debug=1: as text"),
    LIGHT("/debug/pprof/allocs", oaki_serve_allocs, "the same, all that was allocated first"),
    LATER("/debug/pprof/profile-diff", 10, oaki_serve_profile_diff,
          "what changes in seconds=N, 1 to 600; 10 if not said"),
    LATER("/debug/trace", 5, oaki_serve_trace,
          "a trace of seconds=N, 1 to 600, for Perfetto; 5 if not said"),
};

/* The host's own route; set before the server starts. */
static const oaki_route *added;

void oaki_route_add(const oaki_route *route)
{
    added = route;
}

static void list_route(oaki_request *r, const oaki_route *route)
{
    static const char blanks[] = "                             ";
    size_t n = OAKI_MIN(strlen(route->path), sizeof blanks - 2);
    oaki_body_format(&r->body, "%s%s%s\n", route->path, blanks + n, route->help);
}

static void make_list(oaki_request *r)
{
    for (size_t i = 0; i < OAKI_COUNT(routes); i++) list_route(r, &routes[i]);
    if (added) list_route(r, added);
}

const oaki_route *oaki_route_find(const char *path)
{
    for (size_t i = 0; i < OAKI_COUNT(routes); i++)
        if (strcmp(path, routes[i].path) == 0) return &routes[i];
    if (added && strcmp(path, added->path) == 0) return added;
    if (strcmp(path, "/debug") == 0) return oaki_route_find("/debug/");
    return NULL;
}

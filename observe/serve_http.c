/* serve_http.c - requests: checks, parameters, and the answer's headers.
 *
 * Owns: nothing; runs on the loop's thread. An answer repeats nothing of its request, with one
 * exception. A redirect that removes the token from an address repeats arguments of letters and
 * digits. */
#include "mhd.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "serve.h"
#include "trace.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- answers ---- */

static void add(struct MHD_Response *m, const char *name, const char *value)
{
    (void)oaki_mhd.MHD_add_response_header(m, name, value);
}

/* The page may run only scripts and styles with its nonce, and send requests only to its own
 * server. */
static void add_policy(struct MHD_Response *m, const oaki_request *r)
{
    char policy[320] = "default-src 'none'; frame-ancestors 'none'";
    if (r && r->nonce[0])
        oaki_format(policy, sizeof policy,
                    "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
                    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'",
                    r->nonce, r->nonce);
    add(m, "Content-Security-Policy", policy);
}

static void add_headers(struct MHD_Response *m, unsigned status, const char *type,
                        const oaki_request *r)
{
    char disposition[96];
    add(m, "Content-Type", type);
    add(m, "Cache-Control", "no-store");
    add(m, "X-Content-Type-Options", "nosniff");
    add(m, "Cross-Origin-Resource-Policy", "same-origin");
    add(m, "Cross-Origin-Opener-Policy", "same-origin");
    add(m, "Referrer-Policy", "no-referrer");
    add_policy(m, r);
    if (status == 405) add(m, "Allow", "GET, HEAD");
    if (status == 401) add(m, "WWW-Authenticate", "Bearer realm=\"oakum\"");
    if (status >= 400) add(m, "X-Go-Pprof", "1"); /* go tool pprof shows the line */
    if (r && r->name) {
        oaki_format(disposition, sizeof disposition, "attachment; filename=\"%s\"", r->name);
        add(m, "Content-Disposition", disposition);
    }
}

static bool queue(struct MHD_Connection *c, unsigned status, struct MHD_Response *m)
{
    bool queued = oaki_mhd.MHD_queue_response(c, status, m) == MHD_YES;
    oaki_mhd.MHD_destroy_response(m);
    oaki_client *client = oaki_client_of(c);
    if (client) oaki_client_enter(client, OAKI_CLIENT_SENDING);
    return queued;
}

static bool refuse(struct MHD_Connection *c, unsigned status, const char *why)
{
    struct MHD_Response *m = oaki_mhd.MHD_create_response_from_buffer(
        strlen(why), (void *)(uintptr_t)why, MHD_RESPMEM_PERSISTENT);
    if (!m) return false;
    add_headers(m, status, "text/plain; charset=utf-8", NULL);
    add(m, "Connection", "close");
    return queue(c, status, m);
}

/* libmicrohttpd owns the body. As it may have a malloc of its own, it is given the free of this
 * one. */
static struct MHD_Response *response_of(const oaki_body *b)
{
    if (b->p) return oaki_mhd.MHD_create_response_from_buffer_with_free_callback(b->n, b->p, free);
    return oaki_mhd.MHD_create_response_from_buffer(0, (void *)(uintptr_t)"",
                                                    MHD_RESPMEM_PERSISTENT);
}

static const char larger[] =
    "the answer is larger than 64 MiB: n=N asks for less, and files have no limit: those of "
    "oak_profile_save and oak_snapshot_save, or of oakum run's --profile and --signal\n";
_Static_assert(OAKI_BODY_MAX == (size_t)64 << 20, "this limit is told");

static bool answer(oaki_request *r)
{
    if (r->body.failed) {
        bool too_long = r->body.too_long;
        oaki_body_free(&r->body);
        return refuse(r->connection, 503, too_long ? larger : "no memory for the answer\n");
    }
    struct MHD_Response *m = response_of(&r->body);
    if (!m) return false;
    r->body = (oaki_body){ NULL, 0, 0, false, false };
    add_headers(m, r->status, r->type, r);
    return queue(r->connection, r->status, m);
}

void oaki_request_refuse(oaki_request *r, unsigned status, const char *why)
{
    oaki_body_free(&r->body);
    oaki_body_text(&r->body, why);
    oaki_body_text(&r->body, "\n");
    r->status = status;
    r->type = "text/plain; charset=utf-8";
    r->name = NULL;
}

void oaki_request_free(oaki_request *r)
{
    oaki_body_free(&r->body);
    oak_profile_free(r->base);
    oak_profile_free(r->base_now);
    if (r->trace) (void)oaki_trace_end(r->trace, -1, 0);
    free(r);
}

/* ---- checks ---- */

typedef struct headers {
    const char *host, *authorization, *site;
    unsigned hosts, tokens;
    bool has_body, has_cookie;
} headers;

static enum MHD_Result look(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
    headers *h = ctx;
    (void)kind;
    if (!value) value = "";
    if (strcasecmp(key, "Host") == 0) {
        h->host = value;
        h->hosts++;
    }
    if (strcasecmp(key, "Authorization") == 0) {
        h->authorization = value;
        h->tokens++;
    }
    if (strcasecmp(key, "Cookie") == 0) h->has_cookie |= oaki_token_in_cookies(value);
    if (strcasecmp(key, "Sec-Fetch-Site") == 0) h->site = value;
    if (strcasecmp(key, "Transfer-Encoding") == 0) h->has_body = true;
    if (strcasecmp(key, "Content-Length") == 0 && strcmp(value, "0") != 0) h->has_body = true;
    return MHD_YES;
}

/* A colon and digits, or nothing. */
static bool is_port(const char *s)
{
    if (*s == '\0') return true;
    return *s == ':' && strspn(s + 1, "0123456789") == strlen(s + 1) && strlen(s) <= 6;
}

bool oaki_http_host_allowed(const char *host, const char *name)
{
    char part[OAKI_SERVE_HOST_MAX + 1];
    unsigned char addr[sizeof(struct in6_addr)];
    bool v6 = host[0] == '[';
    size_t n = strcspn(host + v6, v6 ? "]" : ":");
    const char *rest = host + v6 + n;
    if (n == 0 || n >= sizeof part || (v6 && *rest != ']') || !is_port(rest + v6)) return false;
    memcpy(part, host + v6, n);
    part[n] = '\0';
    if (v6) return inet_pton(AF_INET6, part, addr) == 1;
    if (inet_pton(AF_INET, part, addr) == 1 || strcasecmp(part, "localhost") == 0) return true;
    return name[0] && strcasecmp(part, name) == 0;
}

static enum MHD_Result count_token(void *ctx, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    unsigned *n = ctx;
    (void)kind, (void)value;
    *n += strcmp(key, "token") == 0;
    return MHD_YES;
}

/* Whether the request has the token of TCP. 0: yes. 303: yes, but in the address, from which a
 * browser should remove it. Else the status of a refusal. */
static unsigned check_token(struct MHD_Connection *c, headers *h, bool open, const char **why)
{
    unsigned in_address = 0;
    if (oaki_the_server.token[0] == '\0') return 0;
    (void)oaki_mhd.MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND,
                                             (MHD_KeyValueIterator)count_token, &in_address);
    *why = "one token, not several\n";
    if (h->tokens + in_address > 1) return 400;
    *why = "the token is missing or wrong: send Authorization: Bearer TOKEN, or in a browser open "
           "the address with ?token=TOKEN once\n";
    if (in_address) {
        const char *given =
            oaki_mhd.MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "token");
        return given && oaki_token_is(given) ? 303 : 401;
    }
    if (h->authorization) return open || oaki_token_in_header(h->authorization) ? 0 : 401;
    return open || h->has_cookie ? 0 : 401;
}

/* 0; or the status of a refusal, with its line in *why. */
static unsigned check(struct MHD_Connection *c, const char *method, const oaki_route *route,
                      const char **why)
{
    headers h = { 0 };
    const oaki_client *client = oaki_client_of(c);
    *why = "no request has a NUL in it\n";
    if (client && client->nul) return 400;
    *why = "not for you: only the program's own user, and root, may ask\n";
    if (!client || client->stranger) return 403;
    (void)oaki_mhd.MHD_get_connection_values(c, MHD_HEADER_KIND, (MHD_KeyValueIterator)look, &h);
    *why = "the Host header must have an address, localhost, or the name that the server knows\n";
    if (h.hosts != 1) return 400;
    if (!oaki_http_host_allowed(h.host, oaki_the_server.host)) return 403;
    *why = "only GET and HEAD\n";
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) return 405;
    *why = "no request has a body here\n";
    if (h.has_body) return 413;
    *why = "there is nothing here; /debug/ lists what there is\n";
    if (!route) return 404;
    *why = "not for pages of others\n";
    if (h.site && !route->open && strcmp(h.site, "same-origin") != 0 && strcmp(h.site, "none") != 0)
        return 403;
    return client->local ? 0 : check_token(c, &h, route->open, why);
}

/* ---- parameters ---- */

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | ('A' <= c && c <= 'F' ? 0x20 : 0)) : NULL;
    return at ? (int)(at - digits) : -1;
}

size_t oaki_http_unescape(char *s)
{
    char *out = s;
    for (const char *in = s; *in; in++) {
        int high = *in == '%' ? digit(in[1]) : -1, low = high >= 0 ? digit(in[2]) : -1;
        bool is_code = low >= 0 && high + low > 0;
        *out++ = is_code ? (char)(high << 4 | low) : *in;
        if (is_code) in += 2;
    }
    *out = '\0';
    return (size_t)(out - s);
}

static const char *argument(oaki_request *r, const char *name)
{
    return oaki_mhd.MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* A whole number, in decimal, or hexadecimal after 0x. Nothing else. */
static bool read_number(const char *s, uint64_t max, uint64_t *out)
{
    char *end;
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    if (hex) s += 2;
    if (s[strspn(s, hex ? "0123456789abcdefABCDEF" : "0123456789")] != '\0' || *s == '\0')
        return false;
    errno = 0;
    unsigned long long v = strtoull(s, &end, hex ? 16 : 10);
    *out = v;
    return errno == 0 && v <= max;
}

static bool read_arguments(oaki_request *r, const char **why)
{
    uint64_t v = 0;
    const char *s = argument(r, "text");
    const char *accept =
        oaki_mhd.MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Accept");
    r->text = s ? strcmp(s, "0") != 0 : accept && strncmp(accept, "text/plain", 10) == 0;
    s = argument(r, "debug");
    r->text |= s && strcmp(s, "0") != 0;
    *why = "addr must be an address, as 0x7f0012345678\n";
    s = argument(r, "addr");
    if (s && !read_number(s, UINT64_MAX, &r->address)) return false;
    r->has_address = s != NULL;
    *why = "site must be the number of a site of the heap profile\n";
    s = argument(r, "site");
    if (s && !read_number(s, UINT32_MAX, &r->site)) return false;
    r->has_site = s != NULL;
    *why = "seconds must be a whole number from 1 to 600\n";
    s = argument(r, "seconds");
    if (s && (!read_number(s, OAKI_SERVE_SECONDS_MAX, &v) || v == 0)) return false;
    r->has_seconds = s || r->route->seconds;
    r->seconds = s ? (unsigned)v : r->route->seconds;
    *why = "since must be the number of a collection\n";
    s = argument(r, "since");
    if (s && !read_number(s, UINT64_MAX, &r->since)) return false;
    *why = "n must be a whole number from 1 to 4096\n";
    s = argument(r, "n");
    if (s && (!read_number(s, 4096, &v) || v == 0)) return false;
    r->has_top = s != NULL;
    r->top = (unsigned)v;
    *why = "too many differences of profiles and traces are under way\n";
    return true;
}

/* ---- requests ---- */

/* The same address without the token. Other arguments are kept if they are letters and digits
 * only. */
static void put_address(char *out, size_t room, oaki_request *r)
{
    static const char *const names[] = { "text", "debug", "addr", "site", "seconds", "since", "n" };
    static const char plain[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = oaki_format(out, room, "%s", r->route->path);
    char mark = '?';
    for (size_t i = 0; i < OAKI_COUNT(names); i++) {
        const char *s = argument(r, names[i]);
        if (!s || strlen(s) > 20 || s[strspn(s, plain)] != '\0') continue;
        n += oaki_format(out + n, room - n, "%c%s=%s", mark, names[i], s);
        mark = '&';
    }
}

/* Redirects a request that has the token in its address; from here on a cookie replaces it. */
static bool redirect(struct MHD_Connection *c, const oaki_route *route)
{
    static const char body[] = "the token is right: a cookie has what stands for it now\n";
    char address[512], cookie[128];
    oaki_request r = { .connection = c, .route = route };
    put_address(address, sizeof address, &r);
    oaki_token_cookie(cookie, sizeof cookie);
    struct MHD_Response *m = oaki_mhd.MHD_create_response_from_buffer(
        sizeof body - 1, (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT);
    if (!m) return false;
    add_headers(m, 303, "text/plain; charset=utf-8", NULL);
    add(m, "Location", address);
    add(m, "Set-Cookie", cookie);
    return queue(c, 303, m);
}

static bool begin(struct MHD_Connection *c, const char *path, const char *method, void **context)
{
    const char *why;
    const oaki_route *route = oaki_route_find(path);
    unsigned status = check(c, method, route, &why);
    if (status == 303) return redirect(c, route);
    if (status != 0) return refuse(c, status, why);
    oaki_request *r = calloc(1, sizeof *r);
    if (!r) return refuse(c, 503, "no memory\n");
    r->connection = c;
    r->route = route;
    r->status = 200;
    r->type = "text/plain; charset=utf-8";
    if (!read_arguments(r, &why)) {
        oaki_request_free(r);
        return refuse(c, 400, why);
    }
    if (r->has_seconds && oaki_client_diffs_full()) {
        oaki_request_free(r);
        return refuse(c, 503, why);
    }
    *context = r;
    return true;
}

static bool give(oaki_request *r)
{
    oaki_client *client = oaki_client_of(r->connection);
    if (!client) return false;
    if (r->route->maker == OAKI_MAKER_LOOP) {
        r->route->make(r);
        r->state = OAKI_REQUEST_READY;
        return answer(r);
    }
    if (r->route->maker == OAKI_MAKER_HEAVY && oaki_client_heavy_full())
        return refuse(r->connection, 503, "too many wait for a path already: ask again later\n");
    oaki_client_suspend(client, r);
    return true;
}

/* Called once the headers have arrived, again once the request is complete, and again after the
 * connection is resumed. */
bool oaki_http_request(struct MHD_Connection *c, const char *path, const char *method,
                       size_t *upload, void **context)
{
    oaki_request *r = *context;
    if (!r) return begin(c, path, method, context);
    if (*upload != 0) return false;
    if (r->state == OAKI_REQUEST_NEW) return give(r);
    return r->state == OAKI_REQUEST_READY && answer(r);
}

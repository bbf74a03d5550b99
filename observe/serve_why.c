/* serve_why.c - /debug/why: the path from a root to an object.
 *
 * Owns: nothing; runs on the heavy worker, as an image of a large heap takes a while. The strings
 * in the answer may be any bytes. */
#include "census.h"
#include "runtime/collector.h"
#include "serve_json.h"
#include "site.h"
#include <errno.h>
#include <oakum/why.h>
#include <stdlib.h>

#define CANDIDATES 8 /* among the oldest samples, and among the newest */

static const char *kind_name(oak_root_kind kind)
{
    static const char *const names[] = {
        [OAK_ROOT_NONE] = "none",           [OAK_ROOT_GLOBAL] = "global",
        [OAK_ROOT_RANGE] = "range",         [OAK_ROOT_PINNED] = "pinned",
        [OAK_ROOT_TLS] = "tls",             [OAK_ROOT_STACK] = "stack",
        [OAK_ROOT_REGISTER] = "register",   [OAK_ROOT_FIBER] = "fiber",
        [OAK_ROOT_FINALIZER] = "finalizer", [OAK_ROOT_CLEANUP] = "cleanup",
        [OAK_ROOT_WAITING] = "waiting",     [OAK_ROOT_RUNTIME] = "runtime",
    };
    return (unsigned)kind < OAKI_COUNT(names) ? names[kind] : "unknown";
}

/* A size that may be unknown. */
static void put_offset(oaki_json *j, const char *key, size_t n)
{
    oaki_json_key(j, key);
    if (n == SIZE_MAX) oaki_json_null(j);
    else oaki_json_u64(j, n);
}

static void put_root(oaki_json *j, const oak_root_info *root)
{
    char words[512];
    oak_root_format(root, words, sizeof words);
    oaki_json_object(j);
    oaki_json_put_string(j, "kind", kind_name(root->kind));
    oaki_json_put_string(j, "text", words);
    if (root->thread) oaki_json_put_i64(j, "thread", root->thread);
    if (root->thread_name[0]) oaki_json_put_string(j, "thread_name", root->thread_name);
    if (root->address) oaki_json_put_address(j, "address", root->address);
    if (root->where[0]) oaki_json_put_string(j, "where", root->where);
    if (root->file[0]) oaki_json_put_string(j, "file", root->file);
    put_offset(j, "offset", root->offset);
    oaki_json_put_bool(j, "asks", root->caller);
    oaki_json_object_end(j);
}

static void put_step(oaki_json *j, const oak_step *s)
{
    oaki_json_object(j);
    oaki_json_put_address(j, "object", s->object);
    oaki_json_put_u64(j, "size", s->size);
    oaki_json_put_string(j, "type", s->type);
    put_offset(j, "offset", s->offset);
    oaki_json_put_u64(j, "interior", s->interior);
    oaki_json_put_string(j, "label", s->label);
    oaki_json_object_end(j);
}

static void put_json(oaki_request *r, const oak_path *p)
{
    oaki_json j;
    oaki_serve_json_begin(r, &j);
    oaki_json_object(&j);
    oaki_json_put_address(&j, "object", p->object);
    oaki_json_put_u64(&j, "size", p->size);
    oaki_json_put_u64(&j, "length", p->length);
    oaki_json_put_bool(&j, "reached", p->root.kind != OAK_ROOT_NONE);
    oaki_json_key(&j, "root");
    put_root(&j, &p->root);
    oaki_json_key(&j, "steps");
    oaki_json_array(&j);
    for (size_t i = 0; i < p->nsteps; i++) put_step(&j, &p->steps[i]);
    oaki_json_array_end(&j);
    oaki_json_object_end(&j);
    oaki_serve_json_end(r, &j);
}

static void put_text(oaki_request *r, const oak_path *p)
{
    size_t n = oak_path_format(p, NULL, 0);
    char *text = malloc(n + 1);
    if (!text) {
        r->body.failed = true;
        return;
    }
    oak_path_format(p, text, n + 1);
    oaki_body_put(&r->body, text, n);
    free(text);
}

static void refuse(oaki_request *r, int error)
{
    if (error == EINVAL) oaki_request_refuse(r, 404, "no live object of the heap is there");
    else if (error == ETIMEDOUT) oaki_request_refuse(r, 503, "it took more than a minute");
    else if (error == ENOMEM) oaki_request_refuse(r, 503, "no memory for an image of the heap");
    else oaki_request_refuse(r, 503, "the image of the heap was lost");
}

/* ---- one object of many ---- */

/* Addresses are inverted, so that they keep nothing alive. */
typedef struct candidates {
    uint64_t site;
    size_t n; /* samples of the site */
    uintptr_t oldest[CANDIDATES];
    uintptr_t newest[CANDIDATES]; /* of the others; a ring */
} candidates;

static void note(void *obj, size_t bytes, double weight, const oaki_site *s, void *ctx)
{
    candidates *c = ctx;
    (void)bytes, (void)weight;
    if (s->id != c->site) return;
    uintptr_t *to = c->n < CANDIDATES ? c->oldest : c->newest;
    to[c->n++ % CANDIDATES] = oaki_hide(obj);
}

/* The ith candidate; NULL: there are no more. The oldest come first, as what leaks is old. In a
 * queue they have died, and the newest live. */
static void *candidate(const candidates *c, size_t i)
{
    if (i < OAKI_MIN(c->n, (size_t)CANDIDATES)) return oaki_unhide(c->oldest[i]);
    if (i >= OAKI_MIN(c->n, 2 * (size_t)CANDIDATES)) return NULL;
    return oaki_unhide(c->newest[(c->n - 1 - (i - CANDIDATES)) % CANDIDATES]);
}

/* Collects the oldest and the newest samples of the site. */
static bool find_candidates(candidates *c)
{
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return false;
    oaki_samples_visit(note, c);
    oaki_gc_stop_end(t);
    return true;
}

/* The path of an object of this site. Objects may die meanwhile. The result is for one that
 * something besides this search keeps alive. */
static oak_path *of_site(uint64_t site)
{
    candidates c = { .site = site };
    oak_path *p = NULL;
    errno = ENOMEM;
    if (!find_candidates(&c)) return NULL;
    errno = EINVAL;
    void *obj;
    for (size_t i = 0; !p && (obj = candidate(&c, i)) != NULL; i++) {
        p = oak_why_alive(obj);
        if (!p || (p->root.kind != OAK_ROOT_NONE && !p->root.caller)) continue;
        oak_path_free(p);
        p = NULL;
        errno = EINVAL;
    }
    return p;
}

void oaki_serve_why(oaki_request *r)
{
    if (!r->has_address && !r->has_site) {
        oaki_request_refuse(r, 400, "which object? /debug/why?addr=0x... or site=N");
        return;
    }
    oak_path *p = r->has_site ? of_site(r->site)
                              : oak_why_alive((const void *)(uintptr_t)r->address);
    if (!p) {
        refuse(r, errno);
        return;
    }
    if (r->text) put_text(r, p);
    else put_json(r, p);
    oak_path_free(p);
}

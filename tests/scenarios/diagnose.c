/* diagnose.c - what the tools of observe/ say of a leak, and whether it is the truth: the profile's
 * top function, the root at which the path to an object begins.
 *
 * The profile is on in every scenario from its start. Names come from symbol tables and debugging
 * information; in a program that was stripped of both, what can't be named is not expected. */
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- profile ---- */

#define FUNCTIONS 128

typedef struct function_bytes {
    const char *name;
    int64_t bytes;
} function_bytes;

/* Bytes in use by function. */
typedef struct flat {
    function_bytes functions[FUNCTIONS];
    size_t count;
    int64_t total;
} flat;

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* What stands between a scenario and the library is none of the scenario's. */
static bool is_between(const oak_frame *f)
{
    static const char *const files[] = { "policy.c",    "measure.c",   "gate.c",    "lru.c",
                                         "readdirty.c", "readdirty.h", "scenario.h" };

    if (f->function != NULL &&
        (begins_with(f->function, "scn_") || begins_with(f->function, "classic_") ||
         begins_with(f->function, "default_")))
        return true;
    for (size_t i = 0; f->file != NULL && i < sizeof(files) / sizeof(files[0]); i++)
        if (ends_with(f->file, files[i])) return true;
    return false;
}

static bool add_site(const oak_profile_site *site, void *ctx)
{
    flat *f = ctx;
    const char *name = "?";
    size_t i = 0;

    while (i < site->nframes && is_between(&site->frames[i])) i++;
    if (i < site->nframes && site->frames[i].function != NULL) name = site->frames[i].function;
    f->total += site->inuse_bytes;
    for (i = 0; i < f->count && strcmp(f->functions[i].name, name) != 0; i++) continue;
    if (i == FUNCTIONS) return true;
    if (i == f->count) f->functions[f->count++] = (function_bytes){ name, 0 };
    f->functions[i].bytes += site->inuse_bytes;
    return true;
}

static oak_profile *since; /* of the last scn_profile_mark */

typedef struct reading {
    flat flat;
    bool difference; /* from `since` */
} reading;

static void take_profile(void *arg)
{
    reading *r = arg;
    oak_profile *p = oak_profile_read(0);

    if (p == NULL) scn_die("no memory for the profile");
    if (r->difference) oak_profile_subtract(p, since);
    memset(&r->flat, 0, sizeof(r->flat));
    if (oak_profile_each(p, OAK_PROFILE_INUSE_BYTES, add_site, &r->flat) != 0)
        scn_die("no memory for the profile");
    oak_profile_free(p);
}

static const function_bytes *top_of(const flat *f)
{
    const function_bytes *top = NULL;

    for (size_t i = 0; i < f->count; i++)
        if (top == NULL || f->functions[i].bytes > top->bytes) top = &f->functions[i];
    return top;
}

/* A compiler's copy of a function has a suffix: "fill.constprop.0". */
static bool is_function(const char *seen, const char *function)
{
    size_t n = strlen(function);

    return strncmp(seen, function, n) == 0 && (seen[n] == '\0' || seen[n] == '.');
}

void scn_expect_site(scn *s, const char *function)
{
    static reading r;
    const function_bytes *top;
    char name[72];

    r.difference = false;
    scn_on_thread(take_profile, &r);
    top = top_of(&r.flat);
    if (top != NULL && strcmp(top->name, "?") == 0) return;
    snprintf(name, sizeof(name), "top of the profile is %s", function);
    scn_expect_true(s, name, top != NULL && is_function(top->name, function));
    if (top != NULL)
        scn_pointed_too(s, "profile: %s %.0f %%", top->name,
                        (double)top->bytes / (double)r.flat.total * 100);
}

typedef struct site_call {
    const char *function;
    scn_site site;
} site_call;

static bool add_to_site(const oak_profile_site *site, void *ctx)
{
    site_call *c = ctx;
    size_t i = 0;

    while (i < site->nframes && is_between(&site->frames[i])) i++;
    if (i == site->nframes || site->frames[i].function == NULL) return true;
    c->site.named = true;
    if (!is_function(site->frames[i].function, c->function)) return true;
    c->site.alloc_objects += (double)site->alloc_objects;
    c->site.alloc_bytes += (double)site->alloc_bytes;
    c->site.inuse_objects += (double)site->inuse_objects;
    c->site.inuse_bytes += (double)site->inuse_bytes;
    return true;
}

static void read_site(void *arg)
{
    site_call *c = arg;

    if (oak_profile_each(NULL, OAK_PROFILE_ALLOC_BYTES, add_to_site, c) != 0)
        scn_die("no memory for the profile");
}

scn_site scn_site_of(const char *function)
{
    site_call c = { .function = function };

    scn_on_thread(read_site, &c);
    return c.site;
}

typedef struct label_call {
    const char *key, *value;
    double bytes, all;
} label_call;

static bool add_to_label(const oak_profile_site *site, void *ctx)
{
    label_call *c = ctx;

    c->all += (double)site->inuse_bytes;
    for (size_t i = 0; i < site->nlabels; i++)
        if (strcmp(site->labels[i].key, c->key) == 0 &&
            strcmp(site->labels[i].value, c->value) == 0)
            c->bytes += (double)site->inuse_bytes;
    return true;
}

static void read_label(void *arg)
{
    label_call *c = arg;

    if (oak_profile_each(NULL, OAK_PROFILE_INUSE_BYTES, add_to_label, c) != 0)
        scn_die("no memory for the profile");
}

void scn_expect_label(scn *s, const char *key, const char *value, double low, double high)
{
    label_call c = { .key = key, .value = value };
    char name[72];

    scn_on_thread(read_label, &c);
    snprintf(name, sizeof(name), "in use with the label %s=%s, of all", key, value);
    scn_expect(s, name, c.bytes / c.all, low, high);
    scn_pointed_too(s, "label %s=%s: %.0f %%", key, value, c.bytes / c.all * 100);
}

static void mark(void *arg)
{
    (void)arg;
    oak_profile_free(since);
    since = oak_profile_read(0);
    if (since == NULL) scn_die("no memory for the profile");
}

void scn_profile_mark(void)
{
    scn_on_thread(mark, NULL);
}

void scn_expect_growth(scn *s, const char *function, double bytes, double percent)
{
    static reading r;
    const function_bytes *top;
    char name[72];

    r.difference = true;
    scn_on_thread(take_profile, &r);
    top = top_of(&r.flat);
    if (top != NULL && strcmp(top->name, "?") == 0) return;
    snprintf(name, sizeof(name), "growth in the profile, of %s", function);
    scn_expect_bytes(s, name,
                     top != NULL && is_function(top->name, function) ? (double)top->bytes : 0,
                     bytes, percent);
    if (top != NULL)
        scn_pointed_too(s, "profile: %s %+.1f MB", top->name, (double)top->bytes / 1e6);
}

/* ---- paths ---- */

static const char *const root_names[] = {
    [OAK_ROOT_NONE] = "nothing",
    [OAK_ROOT_GLOBAL] = "global",
    [OAK_ROOT_RANGE] = "range",
    [OAK_ROOT_PINNED] = "pinned object",
    [OAK_ROOT_TLS] = "TLS",
    [OAK_ROOT_STACK] = "stack of",
    [OAK_ROOT_REGISTER] = "stack of",
    [OAK_ROOT_FIBER] = "fiber",
    [OAK_ROOT_FINALIZER] = "finalizer",
    [OAK_ROOT_CLEANUP] = "cleanup",
    [OAK_ROOT_WAITING] = "finalizer that waits",
    [OAK_ROOT_RUNTIME] = "runtime",
};

static const char *step_name(const oak_step *step)
{
    return step->label[0] != '\0' ? step->label : step->type;
}

static bool on_path(const oak_path *p, const char *step)
{
    for (size_t i = 0; i < p->nsteps; i++)
        if (strstr(step_name(&p->steps[i]), step) != NULL) return true;
    return false;
}

/* "global map -> oak_map -> array -> segment" */
static void tell(scn *s, const oak_path *p)
{
    char text[160];
    size_t n;

    n = (size_t)snprintf(text, sizeof(text), "%s %s", root_names[p->root.kind], p->root.where);
    for (size_t i = 0; i < p->nsteps && n < sizeof(text); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, " -> %s%s", step_name(&p->steps[i]),
                              p->steps[i].interior != 0 ? " (interior)" : "");
    scn_pointed_too(s, "path: %s", text);
}

/* A stack's word may be in a register when its thread is stopped. */
static bool is_kind(oak_root_kind seen, oak_root_kind kind)
{
    return seen == kind || (kind == OAK_ROOT_STACK && seen == OAK_ROOT_REGISTER);
}

/* A register's name is none of a function. */
static bool is_where(const oak_root_info *root, const char *where)
{
    return root->where[0] == '\0' || root->kind == OAK_ROOT_REGISTER ||
           strstr(root->where, where) != NULL;
}

typedef struct path_call {
    scn_find *find;
    oak_path *path;
    int error;
} path_call;

static void find_path(void *arg)
{
    path_call *c = arg;

    c->path = oak_why_alive(c->find());
    c->error = errno;
}

size_t scn_expect_path(scn *s, scn_find *object, oak_root_kind kind, const char *where,
                       const char *step)
{
    path_call c = { object, NULL, 0 };
    oak_path *p;
    size_t interior;
    char name[72];

    scn_on_thread(find_path, &c);
    p = c.path;
    if (p == NULL) scn_die("no path: %s", strerror(c.error));
    tell(s, p);
    snprintf(name, sizeof(name), "the path begins at %s %s", root_names[kind], where);
    scn_expect_true(s, name, is_kind(p->root.kind, kind) && is_where(&p->root, where));
    if (kind == OAK_ROOT_STACK)
        scn_expect_true(s, "the path names the thread", p->root.thread != 0);
    if (step != NULL) {
        snprintf(name, sizeof(name), "the path goes through %s", step);
        scn_expect_true(s, name, on_path(p, step));
    }
    interior = p->nsteps != 0 ? p->steps[p->nsteps - 1].interior : 0;
    oak_path_free(p);
    return interior;
}

/* profile.c - the rate, readings, differences, visits (<oakum/profile.h>).
 *
 * Owns: struct self: the last rate that was not 0. Written under oaki_heap's gc_lock, as the rate
 * changes with the world stopped; read without a lock.
 * Bound: a reading is O(sites). A visit sorts the sites, and looks up the names of those shown. */
#include "profile.h"
#include "runtime/heap.h"
#include "symbol.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    AO_t last_rate;
} self = { OAK_PROFILE_RATE };

/* ---- the rate ---- */

int oak_profile_set_rate(size_t bytes)
{
    if (!oaki_heap_ready()) return -1;
    if (bytes == 0 && oak_profile_rate() == 0) return 0;
    if (oaki_sites_init() != 0 || oaki_sample_set_rate(bytes, oaki_sites_hooks(), 0) != 0) {
        errno = ENOMEM;
        return -1;
    }
    if (bytes) AO_store(&self.last_rate, bytes);
    return 0;
}

size_t oak_profile_rate(void)
{
    return AO_load(&oaki_the_heap.sampler.rate);
}

/* ---- readings ---- */

static int64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

oak_profile *oak_profile_read(unsigned flags)
{
    oaki_site_reading *r;
    long n = oaki_sites_read(&r);
    oak_profile *p = n < 0 ? NULL : malloc(sizeof *p + (size_t)n * sizeof p->row[0]);
    if (!p) {
        free(n < 0 ? NULL : r);
        errno = ENOMEM;
        return NULL;
    }
    *p = (oak_profile){ .rate = AO_load(&self.last_rate), .flags = flags, .n = (size_t)n };
    p->time_ns = wall_ns();
    for (size_t i = 0; i < p->n; i++)
        p->row[i] = (oaki_profile_row){ r[i].site, flags & OAK_PROFILE_NOW ? r[i].now
                                                                           : r[i].settled };
    free(r);
    return p;
}

/* Row i has id i in both readings. */
void oak_profile_subtract(oak_profile *p, const oak_profile *base)
{
    if (!p || !base) return;
    for (size_t i = 0; i < OAKI_MIN(p->n, base->n); i++) {
        oaki_site_figures *f = &p->row[i].f;
        const oaki_site_figures *b = &base->row[i].f;
        f->alloc_objects -= b->alloc_objects;
        f->alloc_bytes -= b->alloc_bytes;
        f->live_objects -= b->live_objects;
        f->live_bytes -= b->live_bytes;
    }
    p->span_ns = p->time_ns - base->time_ns;
}

void oak_profile_free(oak_profile *p)
{
    free(p);
}

const oak_profile *oaki_profile_borrow(const oak_profile *p)
{
    return p ? p : oak_profile_read(0);
}

void oaki_profile_return(const oak_profile *borrowed, const oak_profile *p)
{
    if (borrowed != p) oak_profile_free((oak_profile *)borrowed);
}

/* ---- the figures shown ---- */

/* Rounds to the nearest. llround does so too, but is in libm. */
static int64_t rounded(double x)
{
    int64_t whole = (int64_t)x;
    double part = x - (double)whole;
    return whole + (part >= 0.5) - (part <= -0.5);
}

oak_profile_site oaki_profile_shown(const oaki_profile_row *r)
{
    return (oak_profile_site){
        .inuse_bytes = rounded(r->f.live_bytes),
        .inuse_objects = rounded(r->f.live_objects),
        .alloc_bytes = rounded(r->f.alloc_bytes),
        .alloc_objects = rounded(r->f.alloc_objects),
        .id = r->site->id,
    };
}

bool oaki_profile_is_empty(const oak_profile_site *s)
{
    return !s->inuse_bytes && !s->inuse_objects && !s->alloc_bytes && !s->alloc_objects;
}

int oaki_profile_find(oak_profile_site *out, const oaki_site *s)
{
    oak_frame *frames = malloc((s->nframes + 1) * OAKI_SYMBOL_INLINED * sizeof *frames);
    oak_label *labels = malloc((s->nlabels + 1) * sizeof *labels);
    if (!frames || !labels) {
        free(frames);
        free(labels);
        errno = ENOMEM;
        return -1;
    }
    size_t n = 0;
    for (size_t i = 0; i < s->nframes; i++)
        n += oaki_symbol_of_code(oaki_site_code(s, i), frames + n);
    for (size_t i = 0; i < s->nlabels; i++) labels[i] = oaki_label_public(oaki_site_labels(s), i);
    out->frames = frames;
    out->nframes = n;
    out->labels = labels;
    out->nlabels = s->nlabels;
    return 0;
}

void oaki_profile_lose(oak_profile_site *s)
{
    free((void *)s->frames);
    free((void *)s->labels);
}

/* ---- visits ---- */

typedef struct ranked {
    double by;
    size_t row;
} ranked;

static double rank_of(const oaki_site_figures *f, oak_profile_order order)
{
    switch (order) {
    case OAK_PROFILE_INUSE_OBJECTS: return f->live_objects;
    case OAK_PROFILE_ALLOC_BYTES: return f->alloc_bytes;
    case OAK_PROFILE_ALLOC_OBJECTS: return f->alloc_objects;
    default: return f->live_bytes;
    }
}

/* By rank, then by id, so that every visit has the same order. */
static int compare(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->by != y->by) return x->by < y->by ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

static int visit(const oak_profile *p, const ranked *order,
                 bool (*fn)(const oak_profile_site *site, void *ctx), void *ctx)
{
    bool more = true;
    for (size_t i = 0; i < p->n && more; i++) {
        const oaki_profile_row *r = &p->row[order[i].row];
        oak_profile_site s = oaki_profile_shown(r);
        if (oaki_profile_is_empty(&s)) continue;
        if (oaki_profile_find(&s, r->site) != 0) return -1;
        more = fn(&s, ctx);
        oaki_profile_lose(&s);
    }
    return 0;
}

int oak_profile_each(const oak_profile *p, oak_profile_order order,
                     bool (*fn)(const oak_profile_site *site, void *ctx), void *ctx)
{
    if (!fn) return errno = EINVAL, -1;
    const oak_profile *r = oaki_profile_borrow(p);
    ranked *rank = r ? malloc((r->n + 1) * sizeof *rank) : NULL;
    int result = -1;
    if (rank) {
        for (size_t i = 0; i < r->n; i++) rank[i] = (ranked){ rank_of(&r->row[i].f, order), i };
        qsort(rank, r->n, sizeof *rank, compare);
        result = visit(r, rank, fn, ctx);
        oaki_symbols_release();
    } else {
        errno = ENOMEM;
    }
    int saved = errno;
    free(rank);
    if (r) oaki_profile_return(r, p);
    errno = saved;
    return result;
}

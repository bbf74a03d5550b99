/* judge.c - growth of the heap, of the profile's sites, of types, threads and fibers (judge.h).
 *
 * Bound: linear in the sites and types that hold many bytes. A growth is judged in
 *   O(looks^2 log looks). */
#include "judge.h"

#include "runtime/print.h"
#include <math.h>
#include <string.h>

bool oaki_row_lasts(oaki_row *r, bool shows, int looks, const oaki_detector *d, const oaki_look *l)
{
    if (!shows) {
        r->looks = 0;
        return false;
    }
    if (r->looks++ == 0) r->since = l->at;
    return r->looks >= (unsigned)looks && l->at - r->since >= oaki_paces_ns(d, looks - 1);
}

/* ---- figures ---- */

void oaki_figure_init(const oaki_detector *d, oaki_figure *f)
{
    memset(f, 0, sizeof *f);
    oaki_growth_init(&f->seen, (unsigned)d->cfg.looks_max);
}

void oaki_figure_add(const oaki_detector *d, oaki_figure *f, double value)
{
    if (!d->paced) return;
    f->news = true;
    if (oaki_growth_add(&f->seen, value)) f->slow_news = true;
}

static void judge_fast(const oaki_detector *d, oaki_figure *f, double least, double part)
{
    const oaki_trend *t = &f->seen.fast;
    bool up = oaki_trend_rises(t, (unsigned)d->cfg.looks_min, least, part, &f->rise);
    f->rose = up ? f->rose + 1 : 0;
    f->looks = oaki_trend_len(t);
    f->grows = f->rose >= OAKI_PERSIST;
}

/* As judge_fast, for the slow series, each value of which stands for OAKI_SLOW looks. */
static void judge_slow(const oaki_detector *d, oaki_figure *f, double least, double part)
{
    const oaki_trend *t = &f->seen.slow;
    oaki_rise r;
    if (!f->slow_news && f->slow_rose < OAKI_PERSIST) return;
    bool up = oaki_trend_rises(t, (unsigned)d->cfg.looks_min, least, part, &r);
    if (f->slow_news) f->slow_rose = up ? f->slow_rose + 1 : 0;
    f->slow_news = false;
    if (f->grows || !up || f->slow_rose < OAKI_PERSIST) return;
    f->rise = r;
    f->rise.slope /= OAKI_SLOW;
    f->rise.late /= OAKI_SLOW;
    f->looks = OAKI_SLOW * oaki_trend_len(t);
    f->grows = true;
}

bool oaki_figure_grows(const oaki_detector *d, oaki_figure *f, double least, double percent,
                       oaki_rise *r, unsigned *looks)
{
    if (f->news) {
        judge_fast(d, f, least, percent / 100);
        judge_slow(d, f, least, percent / 100);
    }
    f->news = false;
    *r = f->rise;
    *looks = f->looks;
    return f->grows;
}

/* ---- series of sites and types ---- */

static oaki_series *series_of(oaki_detector *d, oak_finding_kind kind, uint64_t key)
{
    uint64_t hash = (key * 8 + kind) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = hash >> 40;; i++) {
        oaki_series *s = &d->series[i % (2 * OAKI_SERIES)];
        if (s->key == key && s->kind == kind) return s;
        if (s->key != 0) continue;
        if (d->nseries == OAKI_SERIES) return NULL;
        d->nseries++;
        s->kind = kind;
        s->key = key;
        s->look = d->paces - d->paced;
        oaki_figure_init(d, &s->figure);
        return s;
    }
}

/* Adds a value at this look. For looks that didn't see the site or type, which was small then, adds
 * 0. */
static void add(const oaki_detector *d, oaki_series *s, double value)
{
    if (!d->paced) return;
    for (; s->look + 1 < d->paces; s->look++) oaki_figure_add(d, &s->figure, 0);
    oaki_figure_add(d, &s->figure, value);
    s->look = d->paces;
}

/* When the table is three quarters full, drops the series not seen for a whole window, and hashes
 * the others anew. */
static void forget_old(oaki_detector *d)
{
    size_t n = 0;
    if (d->nseries < OAKI_SERIES - OAKI_SERIES / 4) return;
    for (size_t i = 0; i < 2 * OAKI_SERIES; i++) {
        oaki_series *s = &d->series[i];
        if (s->key && d->paces - s->look <= (uint64_t)d->cfg.looks_max)
            d->series[2 * OAKI_SERIES + n++] = *s;
    }
    memset(d->series, 0, 2 * OAKI_SERIES * sizeof *d->series);
    d->nseries = 0;
    for (size_t i = 0; i < n; i++) {
        oaki_series old = d->series[2 * OAKI_SERIES + i], *s = series_of(d, old.kind, old.key);
        if (s) *s = old;
    }
}

static void tell_growth(oak_finding *f, const oaki_rise *r, unsigned looks)
{
    char a[32], b[32], c[32];
    f->before = (uint64_t)OAKI_MAX(r->before, 0);
    f->now = (uint64_t)OAKI_MAX(r->now, 0);
    f->slope = r->slope;
    f->looks = looks;
    oaki_format(f->evidence, sizeof f->evidence,
                "live after collection %s -> %s in %u looks, %s a look, z %.1f",
                oaki_size_text(r->before, a), oaki_size_text(r->now, b), f->looks,
                oaki_size_text(r->slope, c), r->z);
}

/* ---- the heap ---- */

static void judge_heap(oaki_detector *d, const oaki_look *l)
{
    oaki_rise r;
    unsigned looks;
    bool fresh;
    oaki_figure_add(d, &d->heap, (double)l->cycles.live);
    oaki_rise fast = oaki_trend_rise(&d->heap.seen.fast);
    oaki_rise slow = oaki_trend_rise(&d->heap.seen.slow);
    d->heap_slope = OAKI_MAX(fast.slope, slow.slope / OAKI_SLOW);
    d->heap_late = OAKI_MAX(fast.late, slow.late / OAKI_SLOW);
    if (oaki_figure_grows(d, &d->heap, (double)d->cfg.growth_bytes, d->cfg.growth_percent / 10.0,
                          &r, &looks)) {
        oak_finding *f = oaki_raise(d, l, OAK_FINDING_HEAP_GROWTH, 1, &fresh);
        if (!f) return;
        if (fresh) oaki_format(f->subject, sizeof f->subject, "the heap");
        tell_growth(f, &r, looks);
    }
    double mean, sigma, now = (double)l->cycles.live;
    if (!oaki_trend_spread(&d->heap.seen.fast, &mean, &sigma)) return;
    if (now < mean + d->cfg.sigmas * sigma || now < mean + (double)d->cfg.growth_bytes) return;
    if (now < mean * 1.25) return;
    oak_finding *f = oaki_raise(d, l, OAK_FINDING_STEP, 1, &fresh);
    char a[32], b[32], c[32];
    if (!f) return;
    if (fresh) oaki_format(f->subject, sizeof f->subject, "the heap");
    f->before = (uint64_t)mean;
    f->now = (uint64_t)now;
    f->looks = oaki_trend_len(&d->heap.seen.fast);
    oaki_format(f->evidence, sizeof f->evidence,
                "live after collection is %s; the mean of %u looks is %s, sigma %s",
                oaki_size_text(now, a), f->looks - 1, oaki_size_text(mean, b),
                oaki_size_text(sigma, c));
}

/* ---- sites ---- */

/* A site's bytes are an estimate, so a rise of a few standard deviations is no growth. So small a
 * recent rise doesn't show whether the site levels off. Then the heap, whose bytes are exact, must
 * not level off. When sampling begins in a full heap, sites rise without growth. So the heap must
 * grow, too. */
static void judge_site(oaki_detector *d, const oaki_look *l, const oaki_site_reading *s)
{
    double live = s->settled.live_bytes;
    oaki_series *e = series_of(d, OAK_FINDING_SITE_GROWTH, (uint64_t)s->site->id + 1);
    oaki_rise r;
    unsigned looks;
    if (!e) return;
    add(d, e, live);
    double sigma = l->rate > 1 ? sqrt((double)l->rate * live) : 0;
    double least = OAKI_MAX((double)d->cfg.growth_bytes, 4 * sigma);
    if (!oaki_figure_grows(d, &e->figure, least, d->cfg.growth_percent, &r, &looks)) return;
    if (d->heap_slope < r.slope / 2) return;
    if (r.late * (looks / 2) < 6 * sigma && d->heap_late < r.slope / 2) return;
    bool fresh;
    oak_finding *f = oaki_raise(d, l, OAK_FINDING_SITE_GROWTH, e->key, &fresh);
    if (!f) return;
    if (fresh) {
        f->site = s->site->id;
        size_t n = oaki_format(f->subject, sizeof f->subject, "site ");
        (void)oaki_site_format(s->site, 3, f->subject + n, sizeof f->subject - n);
    }
    tell_growth(f, &r, looks);
}

static void judge_sites(oaki_detector *d, const oaki_look *l)
{
    for (long i = 0; i < l->nsites; i++) {
        double live = l->sites[i].settled.live_bytes;
        if (live >= (double)d->cfg.growth_bytes / 4) judge_site(d, l, &l->sites[i]);
    }
}

/* ---- types ---- */

static void judge_types(oaki_detector *d, const oaki_look *l)
{
    for (size_t i = 0; i < l->census->ntypes; i++) {
        const oaki_census_type *t = &l->census->types[i];
        if (t->bytes < d->cfg.growth_bytes / 4) continue;
        oaki_series *e = series_of(d, OAK_FINDING_TYPE_GROWTH, t->id);
        oaki_rise r;
        unsigned looks;
        if (!e) continue;
        add(d, e, (double)t->bytes);
        if (!oaki_figure_grows(d, &e->figure, (double)d->cfg.growth_bytes, d->cfg.growth_percent,
                               &r, &looks))
            continue;
        bool fresh;
        oak_finding *f = oaki_raise(d, l, OAK_FINDING_TYPE_GROWTH, t->id, &fresh);
        if (!f) continue;
        f->type = oaki_type_by_id(t->id);
        if (fresh) oaki_format(f->subject, sizeof f->subject, "type %.100s", t->name);
        tell_growth(f, &r, looks);
        size_t n = strlen(f->evidence);
        oaki_format(f->evidence + n, sizeof f->evidence - n, ", %zu objects%s", t->objects,
                    l->census->sampled ? " (estimated)" : "");
    }
}

/* ---- threads and fibers ---- */

static void tell_count(oaki_detector *d, const oaki_look *l, oak_finding_kind kind,
                       const oaki_rise *r, unsigned looks, const char *what)
{
    bool fresh;
    oak_finding *f = oaki_raise(d, l, kind, 1, &fresh);
    char a[32];
    if (!f) return;
    if (fresh) oaki_format(f->subject, sizeof f->subject, "%s", what);
    f->before = (uint64_t)r->before;
    f->now = (uint64_t)r->now;
    f->slope = r->slope;
    f->looks = looks;
    double stacks = 0;
    for (size_t i = 0; i < l->census->nthreads; i++)
        stacks += (double)l->census->threads[i].stack_bytes;
    oaki_format(f->evidence, sizeof f->evidence,
                "%.0f -> %.0f in %u looks; their stacks hold %s", r->before, r->now, f->looks,
                oaki_size_text(stacks, a));
}

static void judge_counts(oaki_detector *d, const oaki_look *l)
{
    oaki_rise r;
    unsigned looks;
    double least = d->cfg.threads, percent = d->cfg.growth_percent;
    oaki_figure_add(d, &d->threads, (double)(l->census->threads_seen - l->census->fibers));
    if (oaki_figure_grows(d, &d->threads, least, percent, &r, &looks))
        tell_count(d, l, OAK_FINDING_THREAD_GROWTH, &r, looks, "attached threads");
    oaki_figure_add(d, &d->fibers, (double)l->census->fibers);
    if (oaki_figure_grows(d, &d->fibers, 10 * least, percent, &r, &looks))
        tell_count(d, l, OAK_FINDING_FIBER_GROWTH, &r, looks, "parked fibers");
}

void oaki_judge_growth(oaki_detector *d, const oaki_look *l)
{
    forget_old(d);
    judge_heap(d, l);
    judge_sites(d, l);
    judge_types(d, l);
    judge_counts(d, l);
}

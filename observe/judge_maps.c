/* judge_maps.c - faults of maps: growth, an array far too large, retained old buckets, colliding
 * keys (judge.h).
 *
 * A default map in the middle of a resize is never stuck: it holds only the memory that it needs
 * (docs/maps-internals.md). An empty classic map counts as stuck from fewer bytes, as deletes don't
 * move buckets. A map that was made for many entries and has not had them yet is not sparse.
 *
 * Bound: linear in the maps of the census and in OAKI_TRACKS. */
#include "judge.h"

#include "runtime/print.h"
#include <string.h>

#define TRACK_BYTES ((size_t)16 << 10) /* maps with smaller arrays are not followed */

static size_t bytes_of(const oaki_map_view *v)
{
    return v->array_bytes + v->old_array_bytes;
}

/* ---- tracks of maps, sorted by `hidden` ---- */

static oaki_map_track *find(oaki_detector *d, uintptr_t hidden, bool *there)
{
    size_t lo = 0, hi = d->ntracks;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (d->tracks[mid].hidden < hidden) lo = mid + 1;
        else hi = mid;
    }
    *there = lo < d->ntracks && d->tracks[lo].hidden == hidden;
    return &d->tracks[lo];
}

static void drop_unseen(oaki_detector *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->ntracks; i++)
        if (d->tracks[i].look == d->looks) d->tracks[n++] = d->tracks[i];
    d->ntracks = n;
}

static oaki_map_track *track_of(oaki_detector *d, uintptr_t hidden)
{
    bool there;
    oaki_map_track *t = find(d, hidden, &there);
    if (there) return t;
    if (d->ntracks == OAKI_TRACKS) return NULL;
    memmove(t + 1, t, (size_t)(d->tracks + d->ntracks - t) * sizeof *t);
    d->ntracks++;
    memset(t, 0, sizeof *t);
    t->hidden = hidden;
    oaki_figure_init(d, &t->len);
    return t;
}

/* ---- findings ---- */

static oak_finding *raise(oaki_detector *d, const oaki_look *l, oak_finding_kind kind,
                          const oaki_map_track *t)
{
    bool fresh;
    oak_finding *f = oaki_raise(d, l, kind, t->hidden, &fresh);
    if (!f) return NULL;
    f->object = oaki_unhide(t->hidden);
    if (fresh)
        oaki_format(f->subject, sizeof f->subject, "%smap %p%s%s",
                    t->view.kind == OAKI_MAP_CLASSIC ? "classic " : "", f->object,
                    t->view.name[0] ? " of type " : "", t->view.name);
    return f;
}

/* ---- the rules ---- */

static void judge_growth(oaki_detector *d, const oaki_look *l, oaki_map_track *t)
{
    const oaki_map_view *v = &t->view;
    oaki_rise r;
    unsigned looks;
    char a[32];
    double least = (double)d->cfg.growth_bytes / (double)OAKI_MAX(v->entry_bytes, 1);
    if (!oaki_figure_grows(d, &t->len, least, d->cfg.growth_percent, &r, &looks)) return;
    oak_finding *f = raise(d, l, OAK_FINDING_MAP_GROWTH, t);
    if (!f) return;
    f->before = (uint64_t)r.before;
    f->now = (uint64_t)r.now;
    f->slope = r.slope;
    f->looks = looks;
    oaki_format(f->evidence, sizeof f->evidence,
                "%.0f -> %.0f entries in %u looks, %.0f a look; its arrays hold %s", r.before,
                r.now, f->looks, r.slope, oaki_size_text((double)bytes_of(v), a));
}

static void judge_sparse(oaki_detector *d, const oaki_look *l, oaki_map_track *t)
{
    const oaki_map_view *v = &t->view;
    char a[32];
    bool filled_once = v->growths > 0 || t->most > 4 * v->len;
    bool sparse = v->array_bytes >= d->cfg.sparse_bytes && !v->reserved && !v->growing &&
                  filled_once &&
                  v->len * v->entry_bytes * (size_t)d->cfg.sparse_part < v->array_bytes;
    if (!oaki_row_lasts(&t->sparse, sparse, 2, d, l)) return;
    oak_finding *f = raise(d, l, OAK_FINDING_MAP_SPARSE, t);
    if (!f) return;
    f->now = v->array_bytes;
    f->before = v->len * v->entry_bytes;
    oaki_format(f->evidence, sizeof f->evidence,
                "array much larger than its entries: %zu of %zu slots, %.1f %%, in %s", v->len,
                v->capacity, v->capacity ? 100.0 * (double)v->len / (double)v->capacity : 0.0,
                oaki_size_text((double)v->array_bytes, a));
}

static void judge_stuck(oaki_detector *d, const oaki_look *l, oaki_map_track *t)
{
    const oaki_map_view *v = &t->view;
    char a[32], b[32];
    if (v->progress != t->progress) t->still.looks = 0;
    t->progress = v->progress;
    bool grows = v->growing && !v->busy;
    if (!oaki_row_lasts(&t->still, grows, OAKI_MAX(d->cfg.stuck_looks, 2), d, l)) return;
    size_t least = v->len ? d->cfg.stuck_bytes : d->cfg.stuck_bytes / 8;
    if (v->kind != OAKI_MAP_CLASSIC || v->old_array_bytes < least) return;
    oak_finding *f = raise(d, l, OAK_FINDING_MAP_STUCK, t);
    if (!f) return;
    f->now = v->old_array_bytes;
    f->looks = t->still.looks;
    oaki_format(f->evidence, sizeof f->evidence,
                "growing without progress for %u looks: old buckets hold %s beside %s, %.1f %% are "
                "evacuated, %zu entries",
                f->looks, oaki_size_text((double)v->old_array_bytes, a),
                oaki_size_text((double)v->array_bytes, b), 100 * v->moved, v->len);
}

static void judge_hash(oaki_detector *d, const oaki_look *l, const oaki_map_track *t)
{
    const oaki_map_view *v = &t->view;
    oak_finding *f = v->bad_hash ? raise(d, l, OAK_FINDING_MAP_HASH, t) : NULL;
    if (!f) return;
    f->now = v->len;
    oaki_format(f->evidence, sizeof f->evidence,
                "%zu entries share few hashes: operations take time in proportion to them", v->len);
}

void oaki_judge_maps(oaki_detector *d, const oaki_look *l)
{
    const oaki_census *c = l->census;
    for (size_t i = 0; i < c->nmaps; i++) {
        const oaki_census_map *m = &c->maps[i];
        if (bytes_of(&m->view) < TRACK_BYTES) continue;
        oaki_map_track *t = track_of(d, m->hidden);
        if (!t) continue;
        if (m->view.growths < t->view.growths) { /* another map at this address */
            uintptr_t hidden = t->hidden;
            memset(t, 0, sizeof *t);
            t->hidden = hidden;
            oaki_figure_init(d, &t->len);
        }
        t->view = m->view;
        t->look = d->looks;
        t->most = OAKI_MAX(t->most, m->view.len);
        oaki_figure_add(d, &t->len, (double)m->view.len);
        judge_growth(d, l, t);
        judge_sparse(d, l, t);
        judge_stuck(d, l, t);
        judge_hash(d, l, t);
    }
    drop_unseen(d);
}

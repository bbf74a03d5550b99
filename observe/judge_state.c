/* judge_state.c - memory held or wasted without growth (judge.h): stationary threads, finalizers
 * that don't run, dead weak references, collections that free little, nearly empty spans, and
 * memory that is idle since the heap was larger.
 *
 * Bound: O(threads * log threads). */
#include "judge.h"

#include "runtime/print.h"
#include <oakum/gc.h>
#include <stdlib.h>
#include <string.h>

#define FEW_IN_A_ROW 2 /* successive looks before a state that may be transient is reported */

static oak_finding *raise(oaki_detector *d, const oaki_look *l, oak_finding_kind kind,
                          const char *subject)
{
    bool fresh;
    oak_finding *f = oaki_raise(d, l, kind, 1, &fresh);
    if (f && fresh) oaki_format(f->subject, sizeof f->subject, "%s", subject);
    return f;
}

/* ---- threads ---- */

static int by_tid(const void *a, const void *b)
{
    const oaki_still *x = a, *y = b;
    return x->tid < y->tid ? -1 : x->tid > y->tid;
}

const oaki_still *oaki_still_of(const oaki_detector *d, int tid)
{
    oaki_still key = { .tid = tid };
    return d->nstill ? bsearch(&key, d->still, d->nstill, sizeof key, by_tid) : NULL;
}

/* The row of a thread that has not moved since the look before; an empty row if it has. */
static oaki_row row_of(const oaki_detector *d, int tid, uintptr_t sp)
{
    const oaki_still *s = oaki_still_of(d, tid);
    return s && s->sp == sp ? s->row : (oaki_row){ 0 };
}

/* Reports the threads in blocking regions that have not moved for several looks. */
static void judge_threads(oaki_detector *d, const oaki_look *l)
{
    const oaki_census *c = l->census;
    oaki_still *now = malloc((c->nthreads + 1) * sizeof *now);
    size_t n = 0, old = 0, bytes = 0, oldest = 0;
    if (!now) return;
    for (size_t i = 0; i < c->nthreads; i++) {
        const oaki_census_thread *t = &c->threads[i];
        if (t->place != OAKI_PLACE_THREAD || !t->blocked) continue;
        oaki_still *s = &now[n++];
        *s = (oaki_still){ t->tid, t->sp, row_of(d, t->tid, t->sp), false, t->waits };
        s->lasts = oaki_row_lasts(&s->row, true, d->cfg.blocked_looks, d, l);
        oldest = OAKI_MAX(oldest, s->row.looks);
        if (!s->lasts) continue;
        old++;
        bytes += t->stack_bytes;
    }
    free(d->still);
    d->still = now;
    d->nstill = n;
    qsort(now, n, sizeof *now, by_tid);
    if (old < (size_t)d->cfg.blocked_threads) return;
    oak_finding *f = raise(d, l, OAK_FINDING_THREADS_BLOCKED, "blocked threads");
    char a[32];
    if (!f) return;
    f->now = old;
    oaki_format(f->evidence, sizeof f->evidence,
                "%zu threads have stood still for %d looks or more (%zu at most), with %s of stack "
                "and all that it refers to",
                old, d->cfg.blocked_looks, oldest, oaki_size_text((double)bytes, a));
}

/* ---- finalizers and weak references ---- */

static void judge_finalizers(oaki_detector *d, const oaki_look *l)
{
    const oak_memstats *s = &l->census->stats;
    char a[32];
    bool many = s->finalizer_cycles >= (uint64_t)d->cfg.finalizer_cycles;
    if (oaki_row_lasts(&d->finalizer_cycles, many, FEW_IN_A_ROW, d, l)) {
        oak_finding *f = raise(d, l, OAK_FINDING_FINALIZER_CYCLE, "finalizers");
        if (f) {
            f->now = s->finalizer_cycles;
            oaki_format(f->evidence, sizeof f->evidence,
                        "%llu objects with ordered finalizers, of %s, reach themselves: they never "
                        "run",
                        (unsigned long long)s->finalizer_cycles,
                        oaki_size_text((double)s->finalizer_cycle_bytes, a));
        }
    }
    uint64_t running = oak_finalizer_running_ns();
    if (running < (uint64_t)d->cfg.finalizer_ms * 1000000) return;
    oak_finding *f = raise(d, l, OAK_FINDING_FINALIZER_STUCK, "finalizers");
    if (!f) return;
    f->now = s->finalizers_ready;
    oaki_format(f->evidence, sizeof f->evidence,
                "one has been running for %.1f s, %llu wait behind it", (double)running / 1e9,
                (unsigned long long)s->finalizers_ready);
}

static void judge_weak(oaki_detector *d, const oaki_look *l)
{
    const oak_memstats *s = &l->census->stats;
    bool many =
        s->weak_refs_cleared >= d->cfg.weak_dead && s->weak_refs_cleared >= s->weak_refs;
    if (!oaki_row_lasts(&d->weak_dead, many, FEW_IN_A_ROW, d, l)) return;
    oak_finding *f = raise(d, l, OAK_FINDING_WEAK_DEAD, "weak references");
    if (!f) return;
    f->now = s->weak_refs_cleared;
    oaki_format(f->evidence, sizeof f->evidence,
                "%llu are held whose objects have gone, beside %llu that refer to something: dead "
                "entries of a pool or map",
                (unsigned long long)s->weak_refs_cleared, (unsigned long long)s->weak_refs);
}

/* ---- collections ---- */

static void judge_thrash(oaki_detector *d, const oaki_look *l)
{
    const oaki_cycles *c = &l->cycles;
    if (c->thrashed == d->thrashed) return;
    d->thrashed = c->thrashed;
    oak_finding *f = raise(d, l, OAK_FINDING_THRASH, "the collector");
    if (!f) return;
    f->now = (uint64_t)c->share;
    oaki_format(f->evidence, sizeof f->evidence,
                "%.0f %% of the processor time in three collections up to cycle %llu, none of "
                "which could free more than %.1f %% of the heap%s",
                c->share, (unsigned long long)c->thrash_cycle, c->freed,
                c->over ? "; more is live than the memory limit allows" : "");
}

/* ---- memory ---- */

static void judge_memory(oaki_detector *d, const oaki_look *l)
{
    const oaki_census *c = l->census;
    size_t inuse = c->stats.heap_inuse > c->empty_bytes ? c->stats.heap_inuse - c->empty_bytes : 0;
    char a[32], b[32], e[32];
    bool pinned = inuse >= d->cfg.fragmented_bytes &&
                  inuse >= (size_t)d->cfg.fragmented_ratio * c->bytes &&
                  c->fill_bytes[0] >= inuse / 2;
    if (oaki_row_lasts(&d->fragmented, pinned, FEW_IN_A_ROW, d, l)) {
        oak_finding *f = raise(d, l, OAK_FINDING_FRAGMENTED, "the heap");
        if (f) {
            f->before = c->bytes;
            f->now = inuse;
            oaki_format(f->evidence, sizeof f->evidence,
                        "%s live in %s of spans: %zu spans, %s, are less than 10 %% full",
                        oaki_size_text((double)c->bytes, a), oaki_size_text((double)inuse, b),
                        c->fill_spans[0], oaki_size_text((double)c->fill_bytes[0], e));
        }
    }
    size_t idle = c->stats.heap_idle + c->empty_bytes;
    if (idle < d->cfg.watermark_bytes || idle < c->bytes || l->cycles.peak < 2 * c->bytes) return;
    oak_finding *f = raise(d, l, OAK_FINDING_WATERMARK, "the heap");
    if (!f) return;
    f->before = l->cycles.peak;
    f->now = c->bytes;
    oaki_format(f->evidence, sizeof f->evidence,
                "high-water mark, no leak: %s live, there were %s; %s are idle, of which the "
                "system has %.0f %% back",
                oaki_size_text((double)c->bytes, a), oaki_size_text((double)l->cycles.peak, b),
                oaki_size_text((double)idle, e),
                100.0 * (double)c->stats.heap_released / (double)idle);
}

void oaki_judge_state(oaki_detector *d, const oaki_look *l)
{
    judge_threads(d, l);
    oaki_judge_standing(d, l);
    oaki_judge_stranded(d, l);
    judge_finalizers(d, l);
    judge_weak(d, l);
    judge_thrash(d, l);
    judge_memory(d, l);
}

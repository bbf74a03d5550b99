/* judge_standing.c - memory held by stationary threads and parked fibers alone, and threads that
 * wait for ever (judge.h, standing.h, stranded.h).
 *
 * An answer takes a search of the heap, in an image while the program runs. So a query is made only
 * if threads are stationary or fibers parked, and for held memory, if the heap is large enough.
 * Queries take at most a twentieth of the time, and run without the turn. The next look reports the
 * answer.
 *
 * Bound: linear in the threads. */
#include "judge.h"

#include "runtime/os.h"
#include "runtime/print.h"
#include <stdlib.h>
#include <string.h>

#define REST 20 /* rest until the next query, in multiples of the time that the last one took */

static size_t count_fibers(const oaki_census *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->nthreads; i++) n += c->threads[i].place == OAKI_PLACE_FIBER;
    return n;
}

static void take_fibers(const oaki_census *c, uintptr_t *out)
{
    for (size_t i = 0; i < c->nthreads; i++)
        if (c->threads[i].place == OAKI_PLACE_FIBER) *out++ = c->threads[i].hidden;
}

static void take_threads(const oaki_detector *d, oaki_standing *s)
{
    for (size_t i = 0; i < d->nstill && s->nthreads < OAKI_STANDING_THREADS; i++)
        if (d->still[i].lasts) s->thread[s->nthreads++].tid = d->still[i].tid;
}

oaki_standing *oaki_standing_wanted(const oaki_detector *d, const oaki_census *c)
{
    if (c->bytes < d->cfg.held_bytes || d->held_stopped || oaki_os_now_ns() < d->held_next)
        return NULL;
    size_t nfibers = count_fibers(c);
    oaki_standing *s = calloc(1, sizeof *s + nfibers * sizeof *s->fibers);
    if (!s) return NULL;
    take_threads(d, s);
    take_fibers(c, (uintptr_t *)(s + 1));
    s->fibers = (const uintptr_t *)(s + 1);
    s->nfibers = nfibers;
    if (s->nthreads + nfibers > 0) return s;
    free(s);
    return NULL;
}

void oaki_standing_answer(oaki_detector *d, oaki_standing *s, bool whole, uint64_t took)
{
    d->held_next = oaki_os_now_ns() + REST * took;
    d->held_stopped = s->stopped;
    free(d->held);
    d->held = whole ? s : NULL;
    if (!whole) free(s);
}

/* ---- findings of held memory ---- */

static void tell(oaki_detector *d, const oaki_look *l, uint64_t key, const char *who,
                 uint64_t bytes, uint64_t objects, const char *what)
{
    bool fresh;
    char a[32], b[32];
    oak_finding *f = oaki_raise(d, l, OAK_FINDING_STACKS_HOLD, key, &fresh);
    if (!f) return;
    if (fresh) oaki_format(f->subject, sizeof f->subject, "%s", who);
    f->now = bytes;
    oaki_format(f->evidence, sizeof f->evidence,
                "%s and holds %s alone, in %llu objects; %s are live", what,
                oaki_size_text((double)bytes, a), (unsigned long long)objects,
                oaki_size_text((double)d->held->live_bytes, b));
}

static void tell_thread(oaki_detector *d, const oaki_look *l, const oaki_standing_thread *t)
{
    const oaki_still *s = oaki_still_of(d, t->tid);
    char who[64], what[64];
    if (!s || !s->lasts || t->bytes < d->cfg.held_bytes) return;
    oaki_format(who, sizeof who, "thread %d", t->tid);
    oaki_format(what, sizeof what, "has stood still for %u looks", s->row.looks);
    tell(d, l, (uint64_t)t->tid, who, t->bytes, t->objects, what);
}

void oaki_judge_standing(oaki_detector *d, const oaki_look *l)
{
    const oaki_standing *s = d->held;
    char what[64];
    if (!s) return;
    for (size_t i = 0; i < s->nthreads; i++) tell_thread(d, l, &s->thread[i]);
    if (s->fiber_bytes < d->cfg.held_bytes || count_fibers(l->census) == 0) return;
    oaki_format(what, sizeof what, "of %zu fibers each is parked", s->nfibers);
    tell(d, l, UINT64_MAX, "parked fibers", s->fiber_bytes, s->fiber_objects, what);
}

/* ---- stranded threads ---- */

oaki_stranded *oaki_stranded_wanted(const oaki_detector *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->nstill; i++) n += d->still[i].waits && d->still[i].lasts;
    if (n == 0 || d->stranded_stopped || oaki_os_now_ns() < d->stranded_next) return NULL;
    oaki_stranded *s = calloc(1, oaki_stranded_size(n));
    for (size_t i = 0; s && i < d->nstill; i++)
        if (d->still[i].waits && d->still[i].lasts) s->tid[s->asked++] = d->still[i].tid;
    return s;
}

void oaki_stranded_answer(oaki_detector *d, oaki_stranded *s, bool whole, uint64_t took)
{
    d->stranded_next = oaki_os_now_ns() + REST * took;
    d->stranded_stopped = s->stopped;
    free(d->stranded);
    d->stranded = whole ? s : NULL;
    if (!whole) free(s);
}

/* Reports the stranded threads of the last answer that still wait. */
void oaki_judge_stranded(oaki_detector *d, const oaki_look *l)
{
    const oaki_stranded *s = d->stranded;
    size_t n = 0;
    int one = 0;
    for (size_t i = 0; s && i < s->n; i++) {
        const oaki_still *t = oaki_still_of(d, s->tid[i]);
        if (!t || !t->lasts || !t->waits) continue;
        n++;
        one = t->tid;
    }
    if (n == 0) return;
    bool fresh;
    char a[32];
    oak_finding *f = oaki_raise(d, l, OAK_FINDING_THREADS_STRANDED, 1, &fresh);
    if (!f) return;
    if (fresh) oaki_format(f->subject, sizeof f->subject, "stranded threads");
    f->now = n;
    oaki_format(f->evidence, sizeof f->evidence,
                "%zu threads, %d for one, wait for what nothing reaches but they and their like: "
                "nobody can wake them; they alone hold %s, in %llu objects",
                n, one, oaki_size_text((double)s->bytes, a), (unsigned long long)s->objects);
}

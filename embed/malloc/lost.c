/* lost.c - the leak check: an image of the heap is walked, and what it tells comes back.
 *
 * Nothing of the program's is written: the walk has bitmaps of its own. What is lost in an image
 * is lost for good, unless the program hides its pointers; so a collection is the same walk, and
 * the parent frees what it is told.
 *
 * Owns: struct self: how large the heap was after the last collection. Lock: `collecting`, an
 * atomic flag: one collection at a time, the others go on.
 * Bound: a check O(the heap), beside the program, that stands for as long as a fork takes. */
#include "observe/site.h"
#include "runtime/guard.h"
#include "runtime/os.h"
#include "walk.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

#define TIMEOUT_NS (UINT64_C(120) * 1000000000)
#define ROOM_LEAST ((size_t)4 << 20)     /* that can be mapped; else a check isn't begun */
#define COLLECT_LEAST ((size_t)64 << 20) /* that the heap grows by before it is collected */

static struct {
    AO_t collect_at;         /* bytes in use; 0: not known yet */
    unsigned int collecting; /* AO_int */
} self;

/* ---- in the image ---- */

typedef struct query {
    size_t nsites;
} query;

typedef struct telling {
    const oaki_walk *w;
    oaki_lost out;
    size_t nsites;
    oaki_lost_site *site;
    oaki_sum *below; /* by head */
    uint64_t *noted; /* bitmap of the lost ones that were noted */
} telling;

static void add(oaki_sum *s, uint64_t bytes)
{
    s->blocks++;
    s->bytes += bytes;
}

/* First what is lost indirectly, so that heads know of it. */
static void sum_below(void *obj, size_t bytes, double weight, const oaki_site *s, void *ctx)
{
    telling *t = ctx;
    size_t slot = oaki_heap_offset(obj);
    (void)weight, (void)s;
    if (oaki_walk_loss(t->w, slot) == OAKI_INDIRECT)
        add(&t->below[oaki_walk_head(t->w, slot)], bytes);
}

static void sum_site(void *obj, size_t bytes, double weight, const oaki_site *s, void *ctx)
{
    telling *t = ctx;
    size_t slot = oaki_heap_offset(obj), g = slot >> OAKI_GRANULE_SHIFT;
    oaki_loss loss = oaki_walk_loss(t->w, slot);
    (void)weight;
    add(&t->out.of[loss], bytes);
    t->noted[g / 64] |= (uint64_t)1 << g % 64;
    if (s->id >= t->nsites) return;
    oaki_lost_site *at = &t->site[s->id];
    add(&at->of[loss], bytes);
    if (loss != OAKI_LOST) return;
    const oaki_sum *below = &t->below[oaki_walk_head(t->w, slot)];
    at->below.blocks += below->blocks;
    at->below.bytes += below->bytes;
}

static void sum_unknown(void *ctx, size_t slot)
{
    telling *t = ctx;
    if (!oaki_bit_get(t->noted, slot)) add(&t->out.unknown, oaki_object_size(slot));
}

static bool is_told(const oaki_lost_site *s)
{
    return s->of[OAKI_LOST].blocks || s->of[OAKI_POSSIBLE].blocks || s->of[OAKI_INDIRECT].blocks ||
           s->of[OAKI_KEPT].blocks;
}

static int tell(oaki_image *im, telling *t)
{
    size_t bytes = OAKI_MAX(t->nsites, (size_t)1) * sizeof *t->site;
    size_t heads = OAKI_MAX(t->w->nheads, (size_t)1) * sizeof *t->below;
    t->site = oaki_os_map(bytes);
    t->below = oaki_os_map(heads);
    t->noted = oaki_os_map(t->w->bytes);
    bool can = t->site && t->below && t->noted;
    if (can) {
        oaki_samples_visit(sum_below, t);
        oaki_samples_visit(sum_site, t);
        oaki_walk_each_lost(t->w, sum_unknown, t);
        for (size_t i = 0; i < t->nsites; i++) t->out.n += is_told(&t->site[i]);
        can = oaki_image_put(im, &t->out, sizeof t->out);
        for (size_t i = 0; i < t->nsites && can; i++) {
            t->site[i].id = (uint32_t)i;
            if (is_told(&t->site[i])) can = oaki_image_put(im, &t->site[i], sizeof t->site[i]);
        }
    }
    if (t->site) oaki_os_release(t->site, bytes);
    if (t->below) oaki_os_release(t->below, heads);
    if (t->noted) oaki_os_release(t->noted, t->w->bytes);
    return can ? 0 : ENOMEM;
}

static int check(oaki_image *im, void *arg)
{
    const query *q = arg;
    oaki_walk w;
    if (!oaki_walk_begin(&w, im)) return ENOMEM;
    int error = ETIMEDOUT;
    if (oaki_walk_roots(&w) && oaki_walk_lost(&w)) {
        telling t = { .w = &w, .nsites = q->nsites };
        t.out.blind = w.blind;
        t.out.kept_out = oaki_kept_from_forks() && !oaki_image_in_stop(im);
        error = tell(im, &t);
    }
    oaki_walk_end(&w);
    return error;
}

/* ---- asking ---- */

static size_t count_sites(void)
{
    oaki_thread *t = oaki_enter();
    uint32_t n = 0;
    for (uint32_t step = OAKI_SITES; step > 0; step /= 2)
        while (oaki_site_by_id(n + step - 1)) n += step;
    oaki_leave(t);
    return n;
}

/* For the runtime's own tables, which it can't do without, and for the walk. */
static bool has_room(void)
{
    void *p = oaki_os_map(ROOM_LEAST);
    if (!p) return false;
    oaki_os_release(p, ROOM_LEAST);
    return true;
}

int oaki_lost_find(oaki_lost *out, const char *own_sp)
{
    query q = { count_sites() };
    oaki_image_request r = { .work = check,
                             .arg = &q,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = own_sp,
                             .keep_fd = -1 };
    oaki_image_answer a;
    memset(out, 0, sizeof *out);
    oaki_free_put_off();
    oaki_guard_check("a collection");
    if (!has_room() || oaki_image_take(&r, &a) != 0) return -1;
    int error = EIO;
    if (a.n >= sizeof *out) {
        memcpy(out, a.data, sizeof *out);
        size_t bytes = out->n * sizeof *out->site;
        out->site = NULL;
        if (a.n == sizeof *out + bytes) {
            out->site = oaki_os_map(OAKI_MAX(bytes, (size_t)1));
            error = out->site ? 0 : ENOMEM;
            if (out->site) memcpy(out->site, a.data + sizeof *out, bytes);
        }
        out->pause_ns = a.pause_ns;
    }
    oaki_image_answer_free(&a);
    errno = error;
    return error ? -1 : 0;
}

void oaki_lost_free(oaki_lost *l)
{
    if (l->site) oaki_os_release(l->site, OAKI_MAX(l->n * sizeof *l->site, (size_t)1));
    l->site = NULL;
}

/* ---- collecting ---- */

typedef struct putting {
    oaki_image *im;
    bool failed;
} putting;

static void put(void *ctx, size_t slot)
{
    putting *p = ctx;
    if (!p->failed) p->failed = !oaki_image_put(p->im, &slot, sizeof slot);
}

static int collect(oaki_image *im, void *arg)
{
    oaki_walk w;
    putting p = { .im = im };
    (void)arg;
    if (!oaki_walk_begin(&w, im)) return ENOMEM;
    int error = ETIMEDOUT;
    if (oaki_walk_roots(&w) && oaki_walk_lost(&w) && !w.blind) {
        oaki_walk_each_lost(&w, put, &p);
        error = p.failed ? ENOMEM : 0;
    }
    oaki_walk_end(&w);
    return error;
}

/* Something that can't be seen may have the only reference. */
static bool may_free(void)
{
    return !oaki_threads_unknown() && !oaki_kept_from_forks();
}

size_t oaki_lost_collect(const char *own_sp)
{
    oaki_image_request r = { .work = collect,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = own_sp,
                             .keep_fd = -1 };
    oaki_image_answer a;
    size_t bytes = 0;
    oaki_guard_check("a collection");
    if (!may_free() || oaki_image_take(&r, &a) != 0) return 0;
    const size_t *slot = (const size_t *)(const void *)a.data;
    size_t n = may_free() ? a.n / sizeof *slot : 0;
    for (size_t i = 0; i < n; i++) {
        if (!oaki_bit_get(oaki_the_heap.alloc, slot[i])) continue;
        bytes += oaki_object_size(slot[i]);
        oaki_free_here(oaki_tls_thread, (void *)(oaki_the_heap.base + slot[i]), slot[i]);
    }
    oaki_image_answer_free(&a);
    return bytes;
}

static size_t in_use(void)
{
    return AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT;
}

static void expect_more(void)
{
    AO_store(&self.collect_at, in_use() + OAKI_MAX(in_use(), COLLECT_LEAST));
}

/* Whoever collected is not here. */
void oaki_lost_after_fork(void)
{
    if (AO_int_load(&self.collecting)) expect_more();
    AO_int_store(&self.collecting, 0);
}

OAKI_NOINLINE void oaki_lost_grown(void)
{
    OAKI_SAVE_REGISTERS;
    if (oaki_my.quiet || !AO_load(&oaki_started)) return;
    size_t at = AO_load(&self.collect_at);
    if (in_use() < OAKI_MAX(at, COLLECT_LEAST)) return;
    if (!AO_int_compare_and_swap_full(&self.collecting, 0, 1)) return;
    int saved = errno;
    if (oaki_sealed()) { /* and so it stays */
        AO_store(&self.collect_at, SIZE_MAX);
    } else {
        oaki_quiet_begin();
        (void)oaki_lost_collect(OAKI_SAVED_SP);
        (void)oak_scavenge();
        oaki_quiet_end();
        expect_more();
    }
    errno = saved;
    AO_int_store_release(&self.collecting, 0);
}

/* lost.c - the leak check and the collections of --collect. A forked child walks an image of the
 * heap, and sends its result to the parent.
 *
 * The walk has its own bitmaps, and writes nothing of the program's. An object that is lost in an
 * image is lost for good, unless the program hides its pointers. So a collection is the same walk,
 * and the parent frees the lost objects.
 *
 * Owns: struct self. Lock: `collecting`, an atomic flag and futex: at most one collection runs at a
 * time. Other threads go on, except those that found no room: they wait.
 * Bound: a check is O(heap), and concurrent with the program, which stops for as long as a fork
 * takes. */
#include "observe/site.h"
#include "runtime/contain.h"
#include "runtime/guard.h"
#include "runtime/os.h"
#include "runtime/room.h"
#include "walk.h"
#include <errno.h>
#include <limits.h>
#include <oakum/heap.h>
#include <string.h>

#define TIMEOUT_NS (UINT64_C(120) * 1000000000)
#define ROOM_LEAST ((size_t)4 << 20)     /* bytes that must be mappable for a check to begin */
#define TURN_NS 10000000u /* a sleep while another thread collects */
#define NAP_NS 1000000u   /* between two searches for unattached threads, */
#define NAPS 1000         /* and the number of these */
#define LOOKS 8           /* walks at most, if unattached threads appear during each */
#define COLLECT_LEAST ((size_t)64 << 20) /* the least growth of the heap between collections */

static struct {
    AO_t collect_at;         /* bytes in use at which the next collection is due; 0: not known */
    unsigned int collecting; /* AO_int */
    unsigned int unknown;    /* AO_int: some thread stays unattached */
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
    oaki_sum *below; /* by head: objects that are lost with it */
    uint64_t *noted; /* bitmap of the lost objects that have a site */
} telling;

static void add(oaki_sum *s, uint64_t bytes)
{
    s->blocks++;
    s->bytes += bytes;
}

/* Sum up the indirectly lost objects by head. Runs before the heads are counted. */
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
    t->site = oaki_os_map_scratch(bytes);
    t->below = oaki_os_map_scratch(heads);
    t->noted = oaki_os_map_scratch(t->w->bytes);
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
    if (!oaki_walk_begin(&w, im, false)) return ENOMEM;
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

/* ---- the check ---- */

static size_t count_sites(void)
{
    oaki_thread *t = oaki_enter();
    uint32_t n = 0;
    for (uint32_t step = OAKI_SITES; step > 0; step /= 2)
        while (oaki_site_by_id(n + step - 1)) n += step;
    oaki_leave(t);
    return n;
}

/* Whether memory can be mapped for the walk, and for tables that the runtime needs. */
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
            out->site = oaki_os_map_scratch(OAKI_MAX(bytes, (size_t)1));
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

/* The child's result: a bitmap of the lost objects without its empty words. It takes at most a
 * 64th of the heap. */
typedef struct lost_word {
    size_t number; /* of the word */
    uint64_t bits; /* by granule */
} lost_word;

typedef struct putting {
    oaki_image *im;
    lost_word word; /* the last, which may get more */
    bool failed;
} putting;

static void put_word(putting *p)
{
    if (p->word.bits && !p->failed) p->failed = !oaki_image_put(p->im, &p->word, sizeof p->word);
}

static void put(void *ctx, size_t slot)
{
    putting *p = ctx;
    size_t g = slot >> OAKI_GRANULE_SHIFT;
    if (g / 64 != p->word.number) {
        put_word(p);
        p->word = (lost_word){ g / 64, 0 };
    }
    p->word.bits |= (uint64_t)1 << g % 64;
}

static int collect(oaki_image *im, void *arg)
{
    oaki_walk w;
    putting p = { .im = im };
    (void)arg;
    if (!oaki_walk_begin(&w, im, true)) return ENOMEM;
    int error = ETIMEDOUT;
    if (oaki_walk_roots(&w) && !w.blind) {
        oaki_walk_each_lost(&w, put, &p);
        put_word(&p);
        error = p.failed ? ENOMEM : 0;
    }
    oaki_walk_end(&w);
    return error;
}

/* Whether all references are visible: there are no unattached threads, and no memory that a fork
 * doesn't get. */
static bool may_free(void)
{
    return !oaki_threads_unknown() && !oaki_kept_from_forks();
}

/* Wait until all references are visible. A thread that begins or ends is unattached for a moment; a
 * caller that found no room waits for it. Once a wait has failed, some thread is taken to stay
 * unattached, and later calls don't wait. */
static bool await_known(bool wait)
{
    for (unsigned i = 0; !may_free(); i++) {
        if (!wait || oaki_kept_from_forks() || AO_int_load(&self.unknown)) return false;
        if (i == NAPS) AO_int_store(&self.unknown, 1);
        oaki_os_sleep_ns(NAP_NS);
    }
    AO_int_store(&self.unknown, 0);
    return true;
}

static bool find(const char *own_sp, bool wait, oaki_image_answer *out)
{
    oaki_image_request r = { .work = collect,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = own_sp,
                             .keep_fd = -1 };
    for (unsigned i = 0; i < (wait ? LOOKS : 1); i++) {
        if (!await_known(wait) || oaki_image_take(&r, out) != 0) return false;
        if (may_free()) return true;
        oaki_image_answer_free(out);
    }
    return false;
}

typedef struct found {
    lost_word *word;
    size_t n;
} found;

/* false: it is of the other sort. */
static bool free_slot(size_t off, bool plain)
{
    const oaki_heap *h = &oaki_the_heap;
    if (!oaki_bit_get(h->alloc, off)) return true;
    const oaki_span *s = oaki_span_of_offset(off);
    void *p = (void *)(h->base + off);
    if (plain == (s->guarded || s->special)) return false;
    if (plain && AO_char_load(&s->sampled)) h->sampler.on.freed(p);
    if (plain && s->cls == OAKI_CLASS_LARGE) oaki_closed_open(p, s->size);
    if (plain) oaki_free_deferred(p);
    else oaki_free_here(oaki_tls_thread, p, off);
    return true;
}

/* Frees the plain objects, or the others: those that the guard watches, or that have records. Each
 * slot once: a live object may lie there next. */
static void free_some(const found *f, bool plain)
{
    for (size_t i = 0; i < f->n; i++) {
        lost_word *w = &f->word[i];
        for (uint64_t bits = w->bits; bits != 0; bits &= bits - 1) {
            size_t g = w->number * 64 + oaki_ctz(bits);
            if (free_slot(g << OAKI_GRANULE_SHIFT, plain)) w->bits &= ~(bits & -bits);
        }
    }
}

static void free_plain(void *ctx)
{
    free_some(ctx, true);
}

/* Collect. Lost objects are freed in a pause, so that the waiting threads get their room. */
static bool collect_lost(const char *own_sp, bool wait)
{
    oaki_image_answer a;
    uint64_t begun = oaki_os_now_ns();
    oaki_guard_check("a collection");
    oaki_thread *t = oaki_enter();
    oaki_room_see();
    oaki_leave(t);
    if (!find(own_sp, wait, &a)) return false;
    found f = { (lost_word *)(void *)a.data, a.n / sizeof *f.word };
    free_some(&f, false);
    t = oaki_enter();
    bool stopped = oaki_room_stop(t, &(oaki_room_finding){ .found = OAKI_FOUND_SEEN,
                                                           .ns = oaki_os_now_ns() - begun,
                                                           .free = free_plain,
                                                           .ctx = &f });
    if (!stopped) free_plain(&f);
    oaki_leave(t);
    oaki_image_answer_free(&a);
    return stopped;
}

static size_t in_use(void)
{
    return AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT;
}

static void expect_more(void)
{
    AO_store(&self.collect_at, in_use() + OAKI_MAX(in_use(), COLLECT_LEAST));
}

/* A thread of the parent that was collecting is not in the child. */
void oaki_lost_after_fork(void)
{
    if (AO_int_load(&self.collecting)) expect_more();
    AO_int_store(&self.collecting, 0);
}

static bool begin(void)
{
    return AO_int_compare_and_swap_full(&self.collecting, 0, 1);
}

static void finish(void)
{
    AO_int_store_release(&self.collecting, 0);
    oaki_futex_wake(&self.collecting, INT_MAX);
}

OAKI_NOINLINE void oaki_lost_grown(void)
{
    OAKI_SAVE_REGISTERS;
    OAKI_NO_CANCEL;
    if (oaki_my.quiet || !AO_load(&oaki_started)) return;
    size_t at = AO_load(&self.collect_at);
    if (in_use() < OAKI_MAX(at, COLLECT_LEAST)) return;
    if (!begin()) return;
    int saved = errno;
    if (oaki_seal_work_begin()) { /* for good */
        AO_store(&self.collect_at, SIZE_MAX);
    } else {
        oaki_quiet_begin();
        (void)collect_lost(OAKI_SAVED_SP, false);
        oaki_give_back();
        oaki_quiet_end();
        oaki_seal_work_end();
        expect_more();
    }
    errno = saved;
    finish();
}

static bool collect_unless_sealed(const char *own_sp)
{
    if (oaki_seal_work_begin()) return false;
    bool looked = collect_lost(own_sp, true);
    oaki_seal_work_end();
    return looked;
}

/* A thread that waits for another's collection may get its room in the pause that ends that one. */
OAKI_NOINLINE bool oaki_lost_make_room(oaki_thread *t, oaki_want *w)
{
    OAKI_SAVE_REGISTERS;
    OAKI_NO_CANCEL;
    bool looked = true;
    if (!oaki_wanted.collect || !AO_load(&oaki_started)) return false;
    oaki_leave(t);
    bool first = begin();
    for (; !first && w->answer == OAKI_WANT_WAITS; first = begin())
        oaki_futex_wait(&self.collecting, 1, TURN_NS);
    if (first) {
        oaki_quiet_begin();
        if (w->answer == OAKI_WANT_WAITS) looked = collect_unless_sealed(OAKI_SAVED_SP);
        oaki_quiet_end();
        expect_more();
        finish();
    }
    (void)oaki_enter();
    return looked;
}

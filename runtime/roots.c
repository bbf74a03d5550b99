/* roots.c - registered ranges, exclusions, and the walk over all roots.
 *
 * Owns: a hash table of registered ranges, and the sorted list of exclusions. Lock: roots_lock to
 * change them; with the world stopped, none.
 * Invariants: linear probing from its hash reaches each range without a gap. Exclusions are sorted,
 * disjoint, and not empty.
 * Bounds: adding and removing a range O(1); excluding O(exclusions). A visit is O(capacity of the
 * table + loaded segments + threads), plus O(log exclusions) per range that may be cut. */
#include "dlroots.h"

#include "heap.h"
#include "meta.h"
#include "probe.h"
#include "rootmask.h"
#include <errno.h>
#include <oakum/gc.h>
#include <string.h>

#define RANGES_MIN 16
#define FRAMES_MAX ((uintptr_t)64 << 10) /* most bytes of the collector's frames */
#define MIN_PAGE ((size_t)4096) /* no page is smaller */

/* A range, added `count` times; count 0 is an empty place. */
typedef struct range {
    uintptr_t lo;
    size_t n, count;
} range;

typedef struct span {
    uintptr_t lo, hi;
} span;

static struct {
    range *range;
    size_t cap, used;
    oaki_vec excluded; /* of span */
    oaki_vec own;      /* of span: those of the runtime's own */
} roots;

/* ---- registered ranges ---- */

static size_t place(uintptr_t lo, size_t n)
{
    uint64_t h = (lo ^ (n << 32 | n >> 32)) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 32) & (roots.cap - 1);
}

/* The place of the range, or the empty place for it. There is always an empty one. */
static range *find(uintptr_t lo, size_t n)
{
    size_t i = place(lo, n);
    while (roots.range[i].count > 0 && (roots.range[i].lo != lo || roots.range[i].n != n))
        i = (i + 1) & (roots.cap - 1);
    return &roots.range[i];
}

static int resize(size_t cap)
{
    range *old = roots.range;
    size_t old_cap = roots.cap;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    OAKI_ASSERT(roots.used < cap && (cap & (cap - 1)) == 0);
    range *fresh = oaki_meta_zalloc(cap * sizeof *fresh, OAKI_META_OTHER);
    if (!fresh) return -1;
    roots.range = fresh;
    roots.cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].count > 0) *find(old[i].lo, old[i].n) = old[i];
    oaki_meta_free(old, old_cap * sizeof *old, OAKI_META_OTHER);
    return 0;
}

/* Removes the range at `hole`, and moves up later ranges that could no longer be found across
 * it. */
static void take_out(size_t hole)
{
    size_t mask = roots.cap - 1;
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    OAKI_ASSERT(roots.used > 0 && roots.range[hole].count == 0);
    roots.used--;
    for (size_t i = (hole + 1) & mask; roots.range[i].count > 0; i = (i + 1) & mask) {
        size_t home = place(roots.range[i].lo, roots.range[i].n);
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        roots.range[hole] = roots.range[i];
        hole = i;
    }
    roots.range[hole] = (range){ 0 };
}

static int add(uintptr_t lo, size_t n)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    if (roots.used * 4 >= roots.cap * 3 && resize(OAKI_MAX(roots.cap * 2, RANGES_MIN)) != 0)
        return -1;
    range *r = find(lo, n);
    if (r->count == 0) {
        *r = (range){ .lo = lo, .n = n };
        roots.used++;
    }
    r->count++;
    OAKI_ASSERT(roots.used < roots.cap); /* there is an empty place */
    return 0;
}

static int drop(uintptr_t lo, size_t n)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    range *r = roots.cap > 0 ? find(lo, n) : NULL;
    if (!r || r->count == 0) {
        errno = ENOENT;
        return -1;
    }
    if (--r->count > 0) return 0;
    take_out((size_t)(r - roots.range));
    /* without memory for a smaller table the large one stays, which only costs time */
    if (roots.cap > RANGES_MIN && roots.used * 8 < roots.cap) (void)resize(roots.cap / 2);
    return 0;
}

static bool valid(const void *p, size_t n)
{
    return p && n > 0 && (uintptr_t)p <= UINTPTR_MAX - n;
}

static bool in_heap(uintptr_t lo, size_t n)
{
    const oaki_heap *h = &oaki_the_heap;
    return lo < h->base + h->reserved && lo + n > h->base;
}

/* Leaves the thread's blocking regions for the call: an exception that is thrown in one is made a
 * root. The saved regions have a frame of their own, or they would be stale words in all other
 * calls. */
static OAKI_NOINLINE OAKI_COLD int outside_regions(int (*fn)(void *p, size_t n), void *p, size_t n)
{
    oaki_region region;
    oaki_blocking_suspend(oaki_thread_self(), &region);
    int r = fn(p, n);
    oaki_blocking_resume(oaki_thread_self(), &region);
    return r;
}

static bool in_region(void)
{
    const oaki_thread *t = oaki_thread_self();
    return OAKI_UNLIKELY(t && t->in_runtime == OAKI_IN_BLOCKING);
}

int oak_root_add(void *p, size_t n)
{
    if (!valid(p, n)) {
        errno = EINVAL;
        return -1;
    }
    if (in_region()) return outside_regions(oak_root_add, p, n);
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    int r = -1;
    if (in_heap((uintptr_t)p, n)) {
        errno = EINVAL;
    } else {
        oaki_lock_acquire(&oaki_the_heap.roots_lock);
        r = add((uintptr_t)p, n);
        oaki_lock_release(&oaki_the_heap.roots_lock);
    }
    oaki_leave(t);
    return r;
}

int oak_root_remove(void *p, size_t n)
{
    if (in_region()) return outside_regions(oak_root_remove, p, n);
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire(&oaki_the_heap.roots_lock);
    int r = drop((uintptr_t)p, n);
    oaki_lock_release(&oaki_the_heap.roots_lock);
    oaki_leave(t);
    return r;
}

void oaki_roots_clear(void)
{
    OAKI_REQUIRES_OUTSIDE();
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_lock_acquire(&oaki_the_heap.roots_lock);
    oaki_meta_free(roots.range, roots.cap * sizeof *roots.range, OAKI_META_OTHER);
    roots.range = NULL;
    roots.cap = roots.used = 0;
    oaki_lock_release(&oaki_the_heap.roots_lock);
    oaki_leave(t);
}

/* ---- exclusions ---- */

/* The index of the first span of the list that ends after `at`. */
static size_t first_after(const oaki_vec *list, uintptr_t at)
{
    const span *e = list->items;
    size_t lo = 0, hi = list->len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (e[mid].hi <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int insert(oaki_vec *list, const void *p, size_t n)
{
    OAKI_REQUIRES_LOCK_OR_STARTING(&oaki_the_heap.roots_lock);
    span new = { (uintptr_t)p, (uintptr_t)p + n };
    if (!oaki_vec_push(list)) return -1;
    list->len--;
    span *e = list->items;
    size_t len = list->len;
    /* [from, to) are the exclusions that the new one touches, and that merge with it */
    size_t from = new.lo > 0 ? first_after(list, new.lo - 1) : 0, to = from;
    for (; to < len && e[to].lo <= new.hi; to++) {
        new.lo = OAKI_MIN(new.lo, e[to].lo);
        new.hi = OAKI_MAX(new.hi, e[to].hi);
    }
    memmove(&e[from + 1], &e[to], (len - to) * sizeof *e);
    e[from] = new;
    list->len = len - (to - from) + 1;
    OAKI_ASSERT(new.lo < new.hi);
    OAKI_ASSERT((from == 0 || e[from - 1].hi < new.lo) &&
                (from + 1 == list->len || new.hi < e[from + 1].lo));
    return 0;
}

int oaki_roots_exclude(const void *p, size_t n)
{
    OAKI_REQUIRES_STARTING();
    return insert(&roots.own, p, n) == 0 ? insert(&roots.excluded, p, n) : -1;
}

bool oaki_roots_excluded(const char *lo, const char *hi)
{
    const span *e = roots.excluded.items;
    size_t i = first_after(&roots.excluded, (uintptr_t)lo);
    return i < roots.excluded.len && e[i].lo <= (uintptr_t)lo && e[i].hi >= (uintptr_t)hi;
}

int oaki_roots_exclude_own_only(void)
{
    int r = 0;
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire(&oaki_the_heap.roots_lock);
    const span *own = roots.own.items;
    roots.excluded.len = 0;
    for (size_t i = 0; i < roots.own.len && r == 0; i++)
        r = insert(&roots.excluded, (const void *)own[i].lo, own[i].hi - own[i].lo);
    oaki_lock_release(&oaki_the_heap.roots_lock);
    oaki_leave(t);
    return r;
}

int oak_root_exclude(void *p, size_t n)
{
    if (!valid(p, n)) {
        errno = EINVAL;
        return -1;
    }
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire(&oaki_the_heap.roots_lock);
    int r = insert(&roots.excluded, p, n);
    oaki_lock_release(&oaki_the_heap.roots_lock);
    oaki_leave(t);
    return r;
}

/* ---- the walk ---- */

void oaki_root_emit(const oaki_root_visitor *v, oaki_root root)
{
    root.lo = (const char *)OAKI_ALIGN_UP((uintptr_t)root.lo, sizeof(void *));
    root.hi = (const char *)OAKI_ALIGN_DOWN((uintptr_t)root.hi, sizeof(void *));
    if (root.lo >= root.hi) return;
    if (OAKI_UNLIKELY(AO_load(&oaki_root_masks)))
        oaki_root_emit_masked(v, root);
    else
        v->fn(&root, v->ctx);
}

/* In a stop, the frames of the stopping thread, from its saved context on. They may lie in data or
 * in a registered range, where a host that switches stacks by itself keeps stacks. More than
 * FRAMES_MAX bytes mean that the host has switched meanwhile. */
static OAKI_NOINLINE span own_frames(void)
{
    const oaki_thread *t = oaki_thread_self();
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), sp = t ? (uintptr_t)t->sp : 0;
    if (!oaki_world_stopped() || here >= sp || sp - here > FRAMES_MAX) return (span){ 0, 0 };
    return (span){ here, sp };
}

static void emit_others(const oaki_root_visitor *v, oaki_root root, const span *own)
{
    const char *lo = (const char *)own->lo - root.shift, *hi = (const char *)own->hi - root.shift;
    if (own->lo < own->hi && root.lo < hi && lo < root.hi) {
        oaki_root below = root;
        below.hi = lo;
        if (below.lo < below.hi) oaki_root_emit(v, below);
        root.lo = hi;
    }
    if (root.lo < root.hi) oaki_root_emit(v, root);
}

static void cut(const oaki_root_visitor *v, oaki_root root, const oaki_vec *out, const span *own)
{
    const span *e = out->items;
    const char *end = root.hi;
    for (size_t i = first_after(out, (uintptr_t)(root.lo + root.shift)); i < out->len; i++) {
        const char *lo = (const char *)e[i].lo - root.shift,
                   *hi = (const char *)e[i].hi - root.shift;
        if (lo >= end) break;
        root.hi = lo;
        if (root.lo < lo) emit_others(v, root, own);
        root.lo = hi;
    }
    root.hi = end;
    if (root.lo < end) emit_others(v, root, own);
}

void oaki_root_emit_cut(const oaki_root_visitor *v, oaki_root root)
{
    const span own = own_frames();
    cut(v, root, &roots.excluded, &own);
}

void oaki_root_emit_unknown(const oaki_root_visitor *v, oaki_root root)
{
    static const span none;
    cut(v, root, &roots.own, &none);
}

/* The ranges of one visit, collected for probing. Hosts often register many small ranges in few
 * pages: their globals, one by one. */
typedef struct checked {
    const oaki_root_visitor *v;
    const range *range;
    bool all; /* no range probed so far is missing */
    size_t n; /* addresses to probe */
    const void *at[OAKI_PROBES];
    uintptr_t seen[OAKI_PROBES]; /* pages + 1 */
} checked;

static void ask(checked *c)
{
    c->all = c->all && oaki_probe_all(c->at, c->n);
    c->n = 0;
}

static void ask_about(checked *c, const char *p)
{
    uintptr_t page = ((uintptr_t)p >> 12) + 1, *seen = &c->seen[page % OAKI_COUNT(c->seen)];
    if (*seen == page) return;
    *seen = page;
    c->at[c->n++] = p;
    if (c->n == OAKI_COUNT(c->at)) ask(c);
}

/* Probes the first page and the last; the pages between are only checked for being mapped. */
static void ask_about_range(const oaki_root *root, void *ctx)
{
    checked *c = ctx;
    ask_about(c, root->lo);
    ask_about(c, root->hi - 1);
    if ((size_t)(root->hi - root->lo) > MIN_PAGE)
        c->all = c->all && oaki_probe_mapped(root->lo, root->hi);
}

/* Reports an unmapped range here. The scan would fault, far from the code that unmapped the range
 * and left it registered. */
static void hand_on_mapped(const oaki_root *root, void *ctx)
{
    checked *c = ctx;
    if (!c->all && !oaki_probe_range(root->lo, root->hi))
        oak_fatal("oakum: oak_root_add: the %zu bytes at %p can't be read any more: was it "
                  "unmapped before oak_root_remove?",
                  c->range->n, (void *)c->range->lo);
    c->v->fn(root, c->v->ctx);
}

static void each_range(checked *c, void (*fn)(const oaki_root *root, void *ctx))
{
    for (size_t i = 0; i < roots.cap; i++) {
        const range *r = &roots.range[i];
        if (r->count == 0) continue;
        const char *lo = (const char *)r->lo;
        c->range = r;
        oaki_root_emit_cut(&(oaki_root_visitor){ fn, c },
                           (oaki_root){ .kind = OAKI_ROOT_RANGE, .lo = lo, .hi = lo + r->n });
    }
}

/* Probes the ranges together, as each probe is a system call. If one is missing, probes each range,
 * to report which. */
static void visit_ranges(const oaki_root_visitor *v)
{
    checked c = { .v = v, .all = true };
    each_range(&c, ask_about_range);
    ask(&c);
    each_range(&c, hand_on_mapped);
}

/* Leaves out an unreadable range; the next stop reports it. */
static void hand_on_readable(const oaki_root *root, void *ctx)
{
    const oaki_root_visitor *v = ctx;
    if (oaki_probe_range(root->lo, root->hi)) v->fn(root, v->ctx);
}

/* No word is split between two calls. */
bool oaki_roots_visit_some(oaki_root_place *at, size_t bytes,
                           void (*fn)(const oaki_root *root, void *ctx), void *ctx)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    oaki_root_visitor v = { fn, ctx };
    if (AO_load(&oaki_root_masks)) return false;
    for (; at->i < roots.cap; at->i++, at->done = 0) {
        const range *r = &roots.range[at->i];
        if (r->count == 0 || r->n < OAKI_ROOT_LARGE || at->done >= r->n) continue;
        const char *lo = (const char *)r->lo + at->done;
        if (bytes < r->n - at->done) bytes -= (uintptr_t)(lo + bytes) % sizeof(uintptr_t);
        bytes = OAKI_MIN(bytes, r->n - at->done);
        at->done += bytes;
        oaki_root_emit_cut(&(oaki_root_visitor){ hand_on_readable, &v },
                           (oaki_root){ .kind = OAKI_ROOT_RANGE, .lo = lo, .hi = lo + bytes });
        return true;
    }
    return false;
}

static void visit_kept(const oaki_root_visitor *v, const oaki_thread *t)
{
    const char *lo = t->kept;
    if (!lo) return;
    oaki_root r = { .kind = OAKI_ROOT_SLOT, .lo = lo, .hi = lo + t->kept_bytes, .thread = t };
    oaki_root_emit(v, r);
}

void oaki_roots_visit(void (*fn)(const oaki_root *root, void *ctx), void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    oaki_root_visitor v = { fn, ctx };
    oaki_dlroots_visit(&v);
    visit_ranges(&v);
    for (oaki_thread *t = oaki_the_heap.threads; t; t = t->next) {
        oaki_stackroots_visit(&v, t);
        oaki_tlsroots_visit(&v, t);
        visit_kept(&v, t);
    }
    if (OAKI_UNLIKELY(AO_load(&oaki_root_masks))) oaki_root_masks_visited();
}

/* ---- checking ---- */

static bool are_apart(const oaki_vec *list)
{
    const span *e = list->items;
    for (size_t i = 0; i < list->len; i++)
        if (e[i].lo >= e[i].hi || (i > 0 && e[i - 1].hi >= e[i].lo)) return false;
    return true;
}

const char *oaki_roots_check(void)
{
    size_t used = 0;
    OAKI_REQUIRES_STOPPED();
    for (size_t i = 0; i < roots.cap; i++) {
        const range *r = &roots.range[i];
        if (r->count == 0) continue;
        used++;
        if (find(r->lo, r->n) != r) return "roots: a range is found from its hash";
    }
    if (used != roots.used) return "roots: used counts the ranges";
    if (!are_apart(&roots.excluded) || !are_apart(&roots.own))
        return "roots: exclusions are sorted and apart";
    return NULL;
}

/* ---- start-up ---- */

int oaki_roots_init(void)
{
    oaki_vec_init(&roots.excluded, sizeof(span), OAKI_META_OTHER);
    oaki_vec_init(&roots.own, sizeof(span), OAKI_META_OTHER);
    /* the heap's own record holds addresses in the heap, which must keep nothing alive */
    if (oaki_roots_exclude(&oaki_the_heap, sizeof oaki_the_heap) != 0) return -1;
    return oaki_dlroots_init();
}

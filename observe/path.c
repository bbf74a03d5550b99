/* path.c - why an object is alive: a breadth-first search that ends at the object, and labels for
 * the words of the path.
 *
 * The call itself puts the object's address on the calling thread's stack. So roots are searched in
 * turns, and a turn only if no earlier one reaches the object:
 *   1. all roots except those of the next turns;
 *   2. other threads' registers, and words one past an object's end: mostly relics that point into
 *      the middle of an object whose beginning is in a global;
 *   3. the calling thread's stacks and registers, except words that are the object itself;
 *   4. those words, in the frames of the caller;
 *   5. objects that nothing reaches and that wait for their finalizer;
 *   6. the rest: registers, and the registers that the frames of the call saved.
 * Within each turn the path is a shortest one.
 *
 * Owns nothing that outlives the image. Bound: the words of the live objects, 8 bytes an object. */
#include "path.h"

#include "gc/debug/edges.h"
#include "graph.h"
#include "maplabel.h"
#include "rootname.h"
#include "runtime/fiber.h"
#include "runtime/meta.h"
#include "runtime/print.h"
#include "runtime/probe.h"
#include "runtime/track.h"
#include "runtime/type.h"
#include <errno.h>
#include <string.h>

#define HALF (OAK_PATH_STEPS / 2)

#define RANKS 3 /* of a root's word; as many again for words one past the end */

enum { LASTING, RELICS, CALLER, CALLER_ITSELF, WAITING, OURS, TURNS };

typedef struct head {
    oaki_root_found root;
    uint64_t length, nsteps, object, size;
} head;

typedef struct step {
    uint64_t object, size, offset, interior;
    uint32_t shape, type;
    char label[OAKI_LABEL];
} step;

typedef struct query {
    oaki_search s;
    const oaki_path_query *asked;
    unsigned turn;
    size_t target; /* offset of the object */
    /* the search for the root's word: one that leads to `first` in this turn */
    size_t first;
    unsigned rank; /* of `root`: lower is better */
    oaki_root_word root;
} query;

/* ---- turns ---- */

static bool leads_to(const oaki_image *im, const oaki_root_word *w, size_t slot)
{
    return oaki_graph_object(im, w->value) == slot ||
           (w->past_end && oaki_graph_object(im, w->value - 1) == slot);
}

static unsigned turn_of(const query *q, const oaki_root_word *w)
{
    if (w->kind == OAK_ROOT_WAITING) return WAITING;
    if (!w->caller) return w->kind == OAK_ROOT_REGISTER ? RELICS : LASTING;
    if (!leads_to(q->s.im, w, q->target)) return CALLER;
    return w->ours ? OURS : CALLER_ITSELF;
}

/* Does the word belong to this turn: for the object it points to, or with `before`, for the object
 * that ends there? */
static bool counts(const query *q, const oaki_root_word *w, bool before)
{
    unsigned turn = turn_of(q, w);
    if (!before) return turn == q->turn;
    return w->past_end && (turn == LASTING ? RELICS : turn) == q->turn;
}

static void add_root(void *ctx, const oaki_root_word *w)
{
    query *q = ctx;
    if (counts(q, w, false)) oaki_search_value(&q->s, w->value);
    if (counts(q, w, true)) oaki_search_value(&q->s, w->value - 1);
}

/* A register's value is mostly on the stack too, and a frame says more. A stack's value may also be
 * in a more lasting place. */
static unsigned rank_of(const oaki_root_word *w)
{
    switch (w->kind) {
    case OAK_ROOT_REGISTER: return 2;
    case OAK_ROOT_STACK:
    case OAK_ROOT_FIBER: return 1;
    default: return 0;
    }
}

static void find_root(void *ctx, const oaki_root_word *w)
{
    query *q = ctx;
    unsigned rank = rank_of(w);
    if (!counts(q, w, false) || oaki_graph_object(q->s.im, w->value) != q->first) {
        if (!counts(q, w, true) || oaki_graph_object(q->s.im, w->value - 1) != q->first) return;
        rank += RANKS;
    }
    if (rank >= q->rank) return;
    q->root = *w;
    q->rank = rank;
}

/* ---- steps ---- */

oaki_shape oaki_shape_of(size_t slot)
{
    oaki_pte e = oaki_the_heap.pte[slot >> OAKI_PAGE_SHIFT];
    switch (oaki_pte_kind(e)) {
    case OAKI_NOSCAN: return OAKI_SHAPE_NOSCAN;
    case OAKI_TYPED: return OAKI_SHAPE_TYPED;
    case OAKI_PINNED: return OAKI_SHAPE_PINNED;
    default: return OAKI_SHAPE_CONSERVATIVE;
    }
}

typedef struct lead {
    const oaki_image *im;
    size_t child;
    size_t at, interior;
    bool found;
} lead;

static void find_word(void *ctx, const oaki_edge *edge, size_t n)
{
    lead *l = ctx;
    for (size_t i = 0; i < n && (!l->found || l->at == SIZE_MAX); i++) {
        if (oaki_graph_object(l->im, oaki_the_heap.base + edge[i].to) != l->child) continue;
        l->found = true;
        l->at = edge[i].at;
        l->interior = edge[i].to - l->child;
    }
}

/* Labels the word on a parked fiber's stack. */
OAKI_NO_ASAN static void label_fiber(const oaki_image *im, const oak_fiber *f, size_t child,
                                     char out[OAKI_LABEL])
{
    const char *p = f->sp ? oaki_fiber_from(f->lo, f->sp) : f->hi, *hi = oaki_probe_end(p, f->hi);
    for (p = (const char *)OAKI_ALIGN_UP((uintptr_t)p, 8); p + 8 <= hi; p += 8) {
        uintptr_t w = *(const uintptr_t *)(const void *)p;
        if (oaki_graph_object(im, w) != child && oaki_graph_object(im, w - 1) != child) continue;
        oaki_format(out, OAKI_LABEL, "stack of the fiber, %zu bytes above its end",
                    (size_t)(p - f->sp));
        return;
    }
}

static bool is_fiber(size_t slot)
{
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(slot));
    return t && strcmp(t->name, "oak_fiber") == 0 && t->elem_size == sizeof(oak_fiber);
}

static void say_edge(const query *q, oaki_label_context *c, size_t parent, step *st)
{
    const char *from = (const char *)oaki_the_heap.base + parent;
    lead l = { .im = q->s.im, .child = st->object - oaki_the_heap.base, .at = SIZE_MAX };
    oaki_edges_of(parent, true, find_word, &l);
    st->offset = l.at;
    st->interior = l.interior;
    if (!l.found) {
        oaki_format(st->label, OAKI_LABEL, "ephemeron");
        return;
    }
    oaki_map_label(q->s.im, c, from, l.at, (const char *)(uintptr_t)st->object, st->label);
    if (l.at == SIZE_MAX && !st->label[0] && is_fiber(parent))
        label_fiber(q->s.im, (const void *)from, l.child, st->label);
}

static void describe(size_t slot, step *st)
{
    *st = (step){ .object = oaki_the_heap.base + slot,
                  .size = oaki_object_size(slot),
                  .shape = oaki_shape_of(slot) };
    if (st->shape == OAKI_SHAPE_TYPED) st->type = oaki_type_id_at(slot);
}

static void describe_first(query *q, size_t slot, step *st)
{
    describe(slot, st);
    size_t to = q->root.value - oaki_the_heap.base;
    st->interior = to - slot < st->size ? to - slot : to == slot + st->size ? st->size : 0;
    if (q->root.kind == OAK_ROOT_WAITING && slot == q->target)
        oaki_format(st->label, OAKI_LABEL, "its own finalizer");
    if (q->root.place) oaki_iterator_label(q->s.im, q->root.place, st->label);
}

/* Walks from the object that was found back to the root. `order` receives places in the search's
 * queue: all, or the first and the last HALF. Returns the length of the whole path. */
static size_t trace(const query *q, uint32_t found, uint32_t order[OAK_PATH_STEPS])
{
    size_t length = 0, at;
    for (uint32_t i = found; i != OAKI_FROM_ROOT; i = q->s.parent[i]) length++;
    at = length;
    for (uint32_t i = found; i != OAKI_FROM_ROOT; i = q->s.parent[i]) {
        at--;
        if (length <= OAK_PATH_STEPS || at < HALF)
            order[at] = i;
        else if (at >= length - HALF)
            order[at - (length - OAK_PATH_STEPS)] = i;
    }
    return length;
}

static int tell_path(query *q, uint32_t found)
{
    uint32_t order[OAK_PATH_STEPS];
    oaki_label_context c = { .map = NULL };
    head h = { .length = trace(q, found, order) };
    h.nsteps = OAKI_MIN(h.length, (uint64_t)OAK_PATH_STEPS);
    h.object = oaki_the_heap.base + q->target;
    h.size = oaki_object_size(q->target);
    q->first = oaki_search_at(&q->s, order[0]);
    q->rank = 2 * RANKS;
    oaki_root_words(q->s.im, find_root, q);
    oaki_root_flatten(&q->root, q->asked->code, &h.root);
    if (!oaki_image_put(q->s.im, &h, sizeof h)) return EPIPE;
    for (size_t i = 0; i < h.nsteps; i++) {
        step st;
        size_t slot = oaki_search_at(&q->s, order[i]);
        if (i == 0) {
            describe_first(q, slot, &st);
        } else {
            describe(slot, &st);
            say_edge(q, &c, oaki_search_at(&q->s, q->s.parent[order[i]]), &st);
        }
        if (!oaki_image_put(q->s.im, &st, sizeof st)) return EPIPE;
    }
    return 0;
}

static int tell_unreached(query *q)
{
    head h = { .object = oaki_the_heap.base + q->target, .size = oaki_object_size(q->target) };
    return oaki_image_put(q->s.im, &h, sizeof h) ? 0 : EPIPE;
}

int oaki_path_work(oaki_image *im, void *arg)
{
    query q = { .asked = arg };
    q.target = oaki_graph_object(im, q.asked->p);
    if (q.target == SIZE_MAX) return EINVAL;
    if (!oaki_search_begin(&q.s, im, true)) return ENOMEM;
    q.s.target = q.target;
    for (; q.turn < TURNS && !q.s.found; q.turn++) {
        oaki_root_words(im, add_root, &q);
        oaki_search_run(&q.s);
        if (oaki_image_late(im) || q.s.found) break;
    }
    int r = oaki_image_late(im) ? ETIMEDOUT
            : q.s.found         ? tell_path(&q, (uint32_t)q.s.found_at)
                                : tell_unreached(&q);
    oaki_search_end(&q.s);
    return r;
}

/* ---- outside of the image ---- */

const char *oaki_shape_name(uint32_t shape, uint32_t type)
{
    static const char *const names[OAKI_SHAPES] = { "conservative", "noscan", "conservative",
                                                    "pinned" };
    const oak_type *t = shape == OAKI_SHAPE_TYPED ? oaki_type_by_id(type) : NULL;
    return t ? t->name : names[shape < OAKI_SHAPES ? shape : 0];
}

static size_t path_bytes(size_t nsteps)
{
    return sizeof(oak_path) + nsteps * sizeof(oak_step);
}

oak_path *oaki_path_new(size_t nsteps, oak_step **steps)
{
    oaki_thread *t = oaki_enter();
    if (!t) return NULL;
    oak_path *p = oaki_meta_zalloc(path_bytes(nsteps), OAKI_META_OTHER);
    oaki_leave(t);
    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    *steps = (oak_step *)(void *)(p + 1);
    p->steps = *steps;
    p->nsteps = nsteps;
    return p;
}

void oak_path_free(oak_path *path)
{
    if (!path) return;
    oaki_thread *t = oaki_enter();
    oaki_meta_free(path, path_bytes(path->nsteps), OAKI_META_OTHER);
    oaki_leave(t);
}

oak_path *oaki_path_read(const char *data, size_t n)
{
    head h;
    if (n < sizeof h) goto bad;
    memcpy(&h, data, sizeof h);
    if (h.nsteps > OAK_PATH_STEPS || n != sizeof h + h.nsteps * sizeof(step)) goto bad;
    oak_step *steps;
    oak_path *p = oaki_path_new((size_t)h.nsteps, &steps);
    if (!p) return NULL;
    p->length = (size_t)h.length;
    p->object = (const void *)(uintptr_t)h.object;
    p->size = (size_t)h.size;
    if (h.nsteps > 0) oaki_root_name(&h.root, &p->root);
    for (size_t i = 0; i < h.nsteps; i++) {
        step st;
        memcpy(&st, data + sizeof h + i * sizeof st, sizeof st);
        steps[i] = (oak_step){ .object = (const void *)(uintptr_t)st.object,
                               .size = (size_t)st.size,
                               .type = oaki_shape_name(st.shape, st.type),
                               .offset = (size_t)st.offset,
                               .interior = (size_t)st.interior };
        memcpy(steps[i].label, st.label, sizeof st.label);
    }
    return p;
bad:
    errno = EIO;
    return NULL;
}

/* snapgraph.c - queries on a loaded snapshot: its items, paths, and the largest retainers.
 *
 * Owns nothing. Bounds: an object by address, an edge, and the pairs of a key are O(log snapshot),
 * however many pairs the key has. A path is otherwise linear in the snapshot. The analysis is as
 * dominators.h says; the top is O(objects * log max). A malicious file may reach these bounds. */
#include "dominators.h"
#include "path.h"
#include "snapread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- look-ups ---- */

const char *oaki_snaptype(const oak_snapshot *s, const oaki_snapobject *o)
{
    unsigned shape = o->type & 3;
    uint64_t id = o->type >> 2;
    if (shape == OAKI_SHAPE_TYPED && id > 0 && id <= s->types.n)
        return oaki_snapstring(s, ((const uint64_t *)s->types.item)[id - 1]);
    return oaki_shape_name(shape == OAKI_SHAPE_TYPED ? OAKI_SHAPE_CONSERVATIVE : shape, 0);
}

uint64_t oaki_snapinterior_of(const oak_snapshot *s, uint64_t edge)
{
    const oaki_snapinterior *in = s->interiors.item;
    size_t lo = 0, hi = s->interiors.n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (in[mid].edge < edge)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->interiors.n && in[lo].edge == edge ? in[lo].bytes : 0;
}

const char *oaki_snapkey_of(const oak_snapshot *s, uint32_t object, uint32_t word)
{
    const oaki_snapkey *k = s->keys.item;
    size_t lo = 0, hi = s->keys.n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (k[mid].object < object || (k[mid].object == object && k[mid].word < word))
            lo = mid + 1;
        else
            hi = mid;
    }
    bool found = lo < s->keys.n && k[lo].object == object && k[lo].word == word;
    return found ? oaki_snapstring(s, k[lo].text) : NULL;
}

/* The first pair whose key is at least this one. */
static size_t pair_from(const oak_snapshot *s, uint64_t key)
{
    const oaki_snappair *p = s->pairs.item;
    size_t lo = 0, hi = s->pairs.n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (p[mid].key < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const oaki_snappair *oaki_snappairs_of(const oak_snapshot *s, uint32_t key, size_t *n)
{
    *n = 0;
    if (!s->pairs.n) return NULL;
    size_t lo = pair_from(s, key);
    *n = pair_from(s, (uint64_t)key + 1) - lo;
    return (const oaki_snappair *)s->pairs.item + lo;
}

void oak_snapshot_info_read(const oak_snapshot *s, oak_snapshot_info *out)
{
    if (out) *out = s ? s->info : (oak_snapshot_info){ 0 };
}

static int refuse(void)
{
    errno = EINVAL;
    return -1;
}

int oak_snapshot_object_read(const oak_snapshot *s, uint64_t number, oak_snapshot_object *out)
{
    if (!s || !out || number >= s->objects.n) return refuse();
    const oaki_snapobject *o = oaki_snapobject_at(s, number);
    *out = (oak_snapshot_object){ .address = s->info.heap_base + (o->address << 4),
                                  .size = oaki_snapbytes(o),
                                  .type = oaki_snaptype(s, o),
                                  .edges = o->nedges,
                                  .dominator = UINT64_MAX };
    if (!s->idom) return 0;
    out->retained = s->retained[number];
    if (s->idom[number] != OAKI_DOM_NONE) out->dominator = s->idom[number];
    return 0;
}

int oak_snapshot_find(const oak_snapshot *s, uint64_t address, uint64_t *number)
{
    if (!s) return refuse();
    uint64_t at = address - s->info.heap_base;
    size_t lo = 0, hi = s->objects.n;
    if (at >= s->info.heap_used) return refuse();
    at >>= 4;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const oaki_snapobject *o = oaki_snapobject_at(s, mid);
        if (o->address + o->granules <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == s->objects.n || oaki_snapobject_at(s, lo)->address > at) return refuse();
    if (number) *number = lo;
    return 0;
}

int oak_snapshot_edge_read(const oak_snapshot *s, uint64_t number, uint64_t i,
                           oak_snapshot_edge *out)
{
    size_t npairs;
    if (!s || !out || number >= s->objects.n) return refuse();
    const oaki_snapobject *o = oaki_snapobject_at(s, number);
    const oaki_snappair *p = oaki_snappairs_of(s, (uint32_t)number, &npairs);
    if (i >= o->nedges + npairs) return refuse();
    *out = (oak_snapshot_edge){ .offset = UINT64_MAX };
    if (i >= o->nedges) {
        out->target = p[i - o->nedges].value;
        out->ephemeron = true;
        return 0;
    }
    const oaki_snapedge *e = oaki_snapedges_of(s, o) + i;
    out->target = e->target;
    out->interior = oaki_snapinterior_of(s, o->edge + i);
    if (e->word == OAKI_SNAP_NOWHERE) return 0;
    out->offset = (uint64_t)e->word * 8;
    out->label = oaki_snapkey_of(s, (uint32_t)number, e->word);
    return 0;
}

int oak_snapshot_root_read(const oak_snapshot *s, uint64_t i, oak_root_info *out, uint64_t *target)
{
    if (!s || i >= s->roots.n) return refuse();
    const oaki_snaproot *r = oaki_snaproot_at(s, i);
    if (target) *target = r->target;
    if (!out) return 0;
    const oaki_snapobject *o = oaki_snapobject_at(s, r->target);
    const oaki_snapthread *t = s->threads.item;
    *out = (oak_root_info){ .kind = (oak_root_kind)r->kind,
                            .thread = r->thread,
                            .caller = r->caller != 0,
                            .address = (const void *)(uintptr_t)r->address,
                            .offset = (size_t)r->offset };
    out->value = (const void *)(uintptr_t)(s->info.heap_base + (o->address << 4) + r->interior);
    snprintf(out->where, sizeof out->where, "%s", oaki_snapstring(s, r->where));
    snprintf(out->file, sizeof out->file, "%s", oaki_snapstring(s, r->file));
    for (size_t k = 0; r->thread && k < s->threads.n; k++)
        if (t[k].tid == r->thread)
            snprintf(out->thread_name, sizeof out->thread_name, "%s",
                     oaki_snapstring(s, t[k].name));
    return 0;
}

/* ---- paths ---- */

typedef struct paths {
    const oak_snapshot *s;
    uint32_t *from;  /* by object: its predecessor, or the root's number | its bit */
    uint32_t *queue;
    uint8_t *state;  /* 0 not found, 1 found from an object, 2 found from a root */
    size_t n, next;
} paths;

static void found(paths *p, uint32_t object, uint32_t from, uint8_t state)
{
    if (p->state[object]) return;
    p->state[object] = state;
    p->from[object] = from;
    p->queue[p->n++] = object;
}

static void follow(paths *p, uint32_t object)
{
    size_t npairs;
    const oaki_snapobject *o = oaki_snapobject_at(p->s, object);
    const oaki_snapedge *e = oaki_snapedges_of(p->s, o);
    for (uint32_t i = 0; i < o->nedges; i++) found(p, e[i].target, object, 1);
    const oaki_snappair *pair = oaki_snappairs_of(p->s, object, &npairs);
    for (size_t i = 0; i < npairs; i++) found(p, pair[i].value, object, 1);
}

/* The turns of oak_why_alive. Registers and words one past the end, then the calling thread's
 * words, then waiting objects, come after all other roots. */
static unsigned turn_of(const paths *p, const oaki_snaproot *r)
{
    if (r->kind == OAK_ROOT_WAITING) return 3;
    if (r->caller) return 2;
    return r->kind == OAK_ROOT_REGISTER ||
           r->interior >= oaki_snapbytes(oaki_snapobject_at(p->s, r->target));
}

static void search(paths *p, uint32_t target)
{
    for (unsigned turn = 0; turn < 4 && !p->state[target]; turn++) {
        for (size_t i = 0; i < p->s->roots.n; i++) {
            const oaki_snaproot *r = oaki_snaproot_at(p->s, i);
            if (turn_of(p, r) == turn) found(p, r->target, (uint32_t)i, 2);
        }
        while (p->next < p->n && !p->state[target]) follow(p, p->queue[p->next++]);
    }
}

static void tell_step(const oak_snapshot *s, uint32_t parent, uint32_t object, bool first,
                      oak_step *out)
{
    const oaki_snapobject *o = oaki_snapobject_at(s, object);
    *out = (oak_step){ .object = (const void *)(uintptr_t)(s->info.heap_base + (o->address << 4)),
                       .size = (size_t)oaki_snapbytes(o),
                       .type = oaki_snaptype(s, o) };
    oak_snapshot_edge e;
    for (uint64_t i = 0; !first && oak_snapshot_edge_read(s, parent, i, &e) == 0; i++) {
        if (e.target != object) continue;
        out->offset = (size_t)e.offset;
        out->interior = (size_t)e.interior;
        if (e.label) snprintf(out->label, sizeof out->label, "key %s", e.label);
        if (e.ephemeron) snprintf(out->label, sizeof out->label, "ephemeron");
        return;
    }
}

static oak_path *tell_path(const paths *p, uint32_t target)
{
    size_t length = 0;
    uint32_t at = target;
    if (p->state[target])
        for (length = 1; p->state[at] == 1; at = p->from[at]) length++;
    oak_step *steps;
    size_t kept = OAKI_MIN(length, (size_t)OAK_PATH_STEPS), half = OAK_PATH_STEPS / 2;
    oak_path *path = oaki_path_new(kept, &steps);
    if (!path) return NULL;
    const oaki_snapobject *o = oaki_snapobject_at(p->s, target);
    path->length = length;
    path->object = (const void *)(uintptr_t)(p->s->info.heap_base + (o->address << 4));
    path->size = (size_t)oaki_snapbytes(o);
    if (length == 0) return path;
    oak_snapshot_root_read(p->s, p->from[at], &path->root, NULL);
    at = target;
    for (size_t i = length; i-- > 0;) {
        bool first = p->state[at] == 2;
        size_t place = length <= OAK_PATH_STEPS || i < half ? i : i - (length - kept);
        if (length <= OAK_PATH_STEPS || i < half || i >= length - half)
            tell_step(p->s, p->from[at], at, first, &steps[place]);
        if (first) steps[place].interior = (size_t)oaki_snaproot_at(p->s, p->from[at])->interior;
        if (!first) at = p->from[at];
    }
    return path;
}

oak_path *oak_snapshot_why(const oak_snapshot *s, uint64_t address)
{
    uint64_t target;
    if (oak_snapshot_find(s, address, &target) != 0) return NULL;
    paths p = { .s = s };
    p.from = malloc(s->objects.n * sizeof *p.from);
    p.queue = malloc(s->objects.n * sizeof *p.queue);
    p.state = calloc(s->objects.n, 1);
    oak_path *path = NULL;
    if (p.from && p.queue && p.state) {
        search(&p, (uint32_t)target);
        path = tell_path(&p, (uint32_t)target);
    } else {
        errno = ENOMEM;
    }
    free(p.from);
    free(p.queue);
    free(p.state);
    return path;
}

/* ---- retainers ---- */

static uint32_t edge_of(const void *ctx, uint32_t v, uint64_t i)
{
    const oak_snapshot *s = ctx;
    const oaki_snapobject *o = oaki_snapobject_at(s, v);
    if (i < o->nedges) return oaki_snapedges_of(s, o)[i].target;
    if (s->pairs.n == 0) return OAKI_DOM_NONE;
    size_t n;
    const oaki_snappair *p = oaki_snappairs_of(s, v, &n);
    return i - o->nedges < n ? p[i - o->nedges].value : OAKI_DOM_NONE;
}

int oak_snapshot_analyse(oak_snapshot *s)
{
    if (!s) return refuse();
    if (s->idom) return 0;
    size_t n = OAKI_MAX(s->objects.n, (size_t)1);
    uint32_t *roots = malloc(OAKI_MAX(s->roots.n, (size_t)1) * sizeof *roots);
    uint32_t *idom = malloc(n * sizeof *idom);
    uint64_t *retained = malloc(n * sizeof *retained);
    bool done = roots && idom && retained;
    for (size_t i = 0; done && i < s->roots.n; i++) roots[i] = oaki_snaproot_at(s, i)->target;
    for (size_t i = 0; done && i < s->objects.n; i++)
        retained[i] = oaki_snapbytes(oaki_snapobject_at(s, i));
    oaki_dom_graph g = { .n = (uint32_t)s->objects.n,
                         .edge = edge_of,
                         .ctx = s,
                         .roots = roots,
                         .nroots = s->roots.n };
    done = done && oaki_dominators(&g, idom) == 0 && oaki_retained(&g, idom, retained) == 0;
    free(roots);
    if (done) {
        s->idom = idom;
        s->retained = retained;
        return 0;
    }
    free(idom);
    free(retained);
    errno = ENOMEM;
    return -1;
}

/* In a chain whose objects retain little more than their successors, only the first is shown. */
static bool is_told_by_dominator(const oak_snapshot *s, size_t i)
{
    uint32_t d = s->idom[i];
    if (d == OAKI_DOM_NONE) return false;
    return s->retained[d] - s->retained[i] < s->retained[i] / 8;
}

/* Does a come after b in the order? Of equal sizes, the lower index comes first. */
static bool is_behind(const oak_snapshot *s, uint64_t a, uint64_t b)
{
    if (s->retained[a] != s->retained[b]) return s->retained[a] < s->retained[b];
    return a > b;
}

/* Restores a heap whose top is the last in the order. */
static void sift(const oak_snapshot *s, uint64_t *heap, size_t i, size_t n)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_behind(s, heap[child + 1], heap[child])) child++;
        if (!is_behind(s, heap[child], heap[i])) return;
        uint64_t x = heap[i];
        heap[i] = heap[child];
        heap[child] = x;
    }
}

static void make_heap(const oak_snapshot *s, uint64_t *heap, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sift(s, heap, i, n);
}

size_t oak_snapshot_top(const oak_snapshot *s, uint64_t *out, size_t max)
{
    size_t n = 0;
    if (!s || !out || !s->idom || max == 0) return 0;
    for (size_t i = 0; i < s->objects.n; i++) {
        if (n == max && is_behind(s, i, out[0])) continue;
        if (is_told_by_dominator(s, i)) continue;
        if (n < max) {
            out[n++] = i;
            if (n == max) make_heap(s, out, n);
        } else {
            out[0] = i;
            sift(s, out, 0, n);
        }
    }
    if (n < max) make_heap(s, out, n);
    for (size_t left = n; left-- > 1;) {
        uint64_t last = out[0];
        out[0] = out[left];
        out[left] = last;
        sift(s, out, 0, left);
    }
    return n;
}

/* dominators.c - dominators of a graph: Lengauer and Tarjan, "A fast algorithm for finding
 * dominators in a flowgraph", 1979, with path compression.
 *
 * Dominators as nearest common ancestors (Georgiadis 2005) would need no buckets. But that is
 * quadratic for a long list whose end and beginning both refer to the same many objects.
 *
 * Nodes are identified by their numbers in a depth-first search: 0 is none, 1 the root of roots,
 * and the nodes follow. An ancestor has a lower number than its descendants. So nodes are processed
 * from the highest number down, and each is then linked to its parent.
 *
 * Nothing recurses, as a path may contain all nodes.
 *
 * Owns: nothing; tables are from the host's malloc. Bound: see dominators.h. */
#include "dominators.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct tables {
    const oaki_dom_graph *g;
    uint32_t *number;   /* by node: its number; 0: not reached */
    uint32_t *node;     /* this table and those below are by number */
    uint32_t *parent;   /* in the search */
    uint32_t *semi, *label, *dom;
    uint64_t *first;    /* index in `pred` of a number's first predecessor */
    uint32_t *pred;
    uint32_t count;     /* numbers given; the root of roots has 1 */
} tables;

/* ---- the search ---- */

static uint32_t edge_of(const tables *t, uint32_t number, uint64_t i)
{
    if (number > 1) return t->g->edge(t->g->ctx, t->node[number], i);
    return i < t->g->nroots ? t->g->roots[i] : OAKI_DOM_NONE;
}

static void give_number(tables *t, uint32_t v, uint32_t parent)
{
    uint32_t n = ++t->count;
    if (n > 1) t->number[v] = n;
    t->node[n] = v;
    t->parent[n] = parent;
}

/* Depth first. `parent` is the way back up; at[n] is the next edge of n to follow. */
static bool search(tables *t)
{
    uint64_t *at = calloc((size_t)t->g->n + 2, sizeof *at);
    if (!at) return false;
    give_number(t, OAKI_DOM_NONE, 0);
    for (uint32_t n = 1; n != 0;) {
        uint32_t v = edge_of(t, n, at[n]++);
        if (v == OAKI_DOM_NONE) {
            n = t->parent[n];
        } else if (t->number[v] == 0) {
            give_number(t, v, n);
            n = t->count;
        }
    }
    free(at);
    return true;
}

/* Lists predecessors by number: counts them, then places them. */
static bool find_predecessors(tables *t)
{
    uint64_t *first = t->first = calloc((size_t)t->count + 2, sizeof *first);
    if (!first) return false;
    for (uint32_t n = 1; n <= t->count; n++)
        for (uint64_t i = 0;; i++) {
            uint32_t v = edge_of(t, n, i);
            if (v == OAKI_DOM_NONE) break;
            first[t->number[v] + 1]++;
        }
    for (uint32_t n = 1; n <= t->count + 1; n++) first[n] += first[n - 1];
    t->pred = malloc(OAKI_MAX(first[t->count + 1], UINT64_C(1)) * sizeof *t->pred);
    if (!t->pred) return false;
    for (uint32_t n = 1; n <= t->count; n++)
        for (uint64_t i = 0;; i++) {
            uint32_t v = edge_of(t, n, i);
            if (v == OAKI_DOM_NONE) break;
            t->pred[first[t->number[v]]++] = n;
        }
    /* each entry has advanced to the beginning of the next one: shift them back */
    memmove(first + 1, first, ((size_t)t->count + 1) * sizeof *first);
    first[0] = 0;
    return true;
}

/* ---- semidominators ---- */

/* The label of least semidominator on the path up from v through linked nodes, whose numbers are
 * above `last`. The path is compressed: each node on it is linked to its end. The stack for that is
 * the path itself, with its links reversed. */
static uint32_t evaluate(tables *t, uint32_t *link, uint32_t v, uint32_t last)
{
    if (v <= last) return t->label[v];
    uint32_t below = 0, at = v;
    while (link[at] > last) {
        uint32_t up = link[at];
        link[at] = below;
        below = at;
        at = up;
    }
    /* `at` is linked to a node not above `last`; the nodes below `at` follow, from the top down */
    uint32_t end = link[at], above = at;
    while (below != 0) {
        uint32_t next = link[below];
        if (t->semi[t->label[above]] < t->semi[t->label[below]]) t->label[below] = t->label[above];
        link[below] = end;
        above = below;
        below = next;
    }
    return t->label[v];
}

/* Processes the nodes with semidominator p. The dominator of each is p, or that of a node on the
 * path from p. Until it is known, `dom` has the next node of the bucket. */
static void empty_bucket(tables *t, uint32_t *link, uint32_t *bucket, uint32_t p, uint32_t last)
{
    uint32_t v = bucket[p];
    bucket[p] = 0;
    while (v != 0) {
        uint32_t next = t->dom[v], u = evaluate(t, link, v, last);
        t->dom[v] = t->semi[u] < p ? u : p;
        v = next;
    }
}

static void find_semidominators(tables *t, uint32_t *link, uint32_t *bucket)
{
    for (uint32_t w = t->count; w > 1; w--) {
        uint32_t semi = t->parent[w];
        for (uint64_t i = t->first[w]; i < t->first[w + 1]; i++) {
            uint32_t s = t->semi[evaluate(t, link, t->pred[i], w)];
            semi = OAKI_MIN(semi, s);
        }
        t->semi[w] = semi;
        t->dom[w] = bucket[semi];
        bucket[semi] = w;
        empty_bucket(t, link, bucket, t->parent[w], w - 1);
    }
}

static bool find_dominators(tables *t)
{
    size_t n = (size_t)t->count + 1, bytes = n * sizeof(uint32_t);
    uint32_t *link = malloc(bytes), *bucket = calloc(n, sizeof *bucket);
    t->semi = malloc(bytes);
    t->label = malloc(bytes);
    t->dom = calloc(n, sizeof *t->dom);
    bool done = link && bucket && t->semi && t->label && t->dom;
    if (done) {
        memcpy(link, t->parent, bytes);
        for (uint32_t i = 0; i <= t->count; i++) t->semi[i] = t->label[i] = i;
        find_semidominators(t, link, bucket);
        for (uint32_t w = 2; w <= t->count; w++)
            if (t->dom[w] != t->semi[w]) t->dom[w] = t->dom[t->dom[w]];
    }
    free(link);
    free(bucket);
    return done;
}

/* ---- the whole ---- */

static void free_tables(tables *t)
{
    uint32_t *all[] = { t->number, t->node, t->parent, t->semi, t->label, t->dom, t->pred };
    for (size_t i = 0; i < OAKI_COUNT(all); i++) free(all[i]);
    free(t->first);
}

static bool begin(tables *t, const oaki_dom_graph *g)
{
    *t = (tables){ .g = g };
    t->number = calloc((size_t)g->n + 1, sizeof *t->number);
    t->node = malloc(((size_t)g->n + 2) * sizeof *t->node);
    t->parent = malloc(((size_t)g->n + 2) * sizeof *t->parent);
    if (t->parent) t->parent[0] = 0;
    return t->number && t->node && t->parent && search(t);
}

int oaki_dominators(const oaki_dom_graph *g, uint32_t *idom)
{
    tables t;
    bool done = begin(&t, g) && find_predecessors(&t) && find_dominators(&t);
    for (uint32_t v = 0; done && v < g->n; v++) idom[v] = OAKI_DOM_NONE;
    for (uint32_t w = 2; done && w <= t.count; w++)
        if (t.dom[w] > 1) idom[t.node[w]] = t.node[t.dom[w]];
    free_tables(&t);
    if (!done) errno = ENOMEM;
    return done ? 0 : -1;
}

int oaki_retained(const oaki_dom_graph *g, const uint32_t *idom, uint64_t *retained)
{
    /* children before parents, without recursion: children[v] counts those not added yet */
    uint32_t *children = calloc((size_t)g->n + 1, sizeof *children);
    if (!children) {
        errno = ENOMEM;
        return -1;
    }
    for (uint32_t v = 0; v < g->n; v++)
        if (idom[v] != OAKI_DOM_NONE) children[idom[v]]++;
    for (uint32_t v = 0; v < g->n; v++) {
        uint32_t at = v;
        /* a node without children left is complete; then its dominator may be, too */
        while (at != OAKI_DOM_NONE && children[at] == 0) {
            children[at] = OAKI_DOM_NONE;
            uint32_t up = idom[at];
            if (up == OAKI_DOM_NONE) break;
            retained[up] += retained[at];
            children[up]--;
            at = up <= v ? up : OAKI_DOM_NONE;
        }
    }
    free(children);
    return 0;
}

/* dominators.h - who alone keeps whom, in a graph.
 *
 * Node d dominates v when every path from the roots to v goes through d. A node's retained size is
 * the sum of the sizes of all that it dominates, itself included. */
#ifndef OAKI_DOMINATORS_H
#define OAKI_DOMINATORS_H

#include "runtime/base.h"

#define OAKI_DOM_NONE UINT32_MAX

/* Nodes 0 .. n - 1, n < OAKI_DOM_NONE - 1. Edges of v: edge(ctx, v, i) for i from 0 on, in any
 * order, until it is OAKI_DOM_NONE; asked for three times. */
typedef struct oaki_dom_graph {
    uint32_t n;
    uint32_t (*edge)(const void *ctx, uint32_t v, uint64_t i);
    const void *ctx;
    const uint32_t *roots; /* may hold a node several times */
    size_t nroots;
} oaki_dom_graph;

/* idom[v]: the dominator next to v; OAKI_DOM_NONE: only the roots together, or v is not reached.
 * 0 or -1 with ENOMEM. Takes 28 bytes a node and 4 an edge, O(edges * log nodes). */
int oaki_dominators(const oaki_dom_graph *g, uint32_t *idom);

/* retained[v], which holds v's own size before, becomes its retained size. As oaki_dominators,
 * which has filled in idom; 4 bytes a node. */
int oaki_retained(const oaki_dom_graph *g, const uint32_t *idom, uint64_t *retained);

#endif

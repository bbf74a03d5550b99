/* dominators.h - dominators and retained sizes of a graph's nodes.
 *
 * Node d dominates v when every path from the roots to v goes through d. A node's retained size is
 * the sum of the sizes of all nodes that it dominates, itself included. */
#ifndef OAKI_DOMINATORS_H
#define OAKI_DOMINATORS_H

#include "runtime/base.h"

#define OAKI_DOM_NONE UINT32_MAX

/* Nodes are 0 .. n - 1, with n < OAKI_DOM_NONE - 1. The edges of v are edge(ctx, v, i), in any
 * order, for i from 0 until the result is OAKI_DOM_NONE. They are read three times. */
typedef struct oaki_dom_graph {
    uint32_t n;
    uint32_t (*edge)(const void *ctx, uint32_t v, uint64_t i);
    const void *ctx;
    const uint32_t *roots; /* may contain a node several times */
    size_t nroots;
} oaki_dom_graph;

/* Sets idom[v] to the immediate dominator of v. OAKI_DOM_NONE: only the roots together dominate v,
 * or v is unreachable. Returns 0, or -1 with ENOMEM. Takes 28 bytes a node and 4 an edge, and
 * O(edges * log nodes) time. */
int oaki_dominators(const oaki_dom_graph *g, uint32_t *idom);

/* Turns retained[v] from v's own size into its retained size. idom is from oaki_dominators. Returns
 * as oaki_dominators. Takes 4 bytes a node. */
int oaki_retained(const oaki_dom_graph *g, const uint32_t *idom, uint64_t *retained);

#endif

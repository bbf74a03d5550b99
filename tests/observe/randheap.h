/* randheap.h - a random heap whose references a test knows: nodes of all kinds, and what a simple
 * search says of them. Addresses are kept inverted, so that they keep nothing. */
#ifndef TESTS_OBSERVE_RANDHEAP_H
#define TESTS_OBSERVE_RANDHEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RANDHEAP_NODES = 400,
    RANDHEAP_EDGES = 4, /* of a node, at most */
    RANDHEAP_ROOTS = 8
};
#define RANDHEAP_FAR UINT32_MAX

typedef struct randheap_node {
    uintptr_t hidden;
    size_t size;
    uint32_t to[RANDHEAP_EDGES];
    uint32_t nedges;
    bool pinned, kept; /* a root itself; a finalizer's context */
} randheap_node;

typedef struct randheap {
    size_t n;
    randheap_node node[RANDHEAP_NODES];
    uint32_t root[RANDHEAP_ROOTS]; /* what root word i refers to; FAR: nothing */
    void **words;                  /* that are registered */
} randheap;

/* Start Oakum and make one. Seeds are the test's. */
void randheap_make(randheap *h);

/* Steps from a root to each node: 1 for what a root refers to; FAR: not reached. As if `without`
 * were not there; FAR: all are. */
void randheap_search(const randheap *h, uint32_t without, uint32_t distance[RANDHEAP_NODES]);

/* Bytes that are reached. */
size_t randheap_bytes(const randheap *h, uint32_t without);

void *randheap_at(const randheap *h, uint32_t i);

#endif

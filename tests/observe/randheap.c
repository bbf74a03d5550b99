/* randheap.c - see randheap.h. */
#include "randheap.h"

#include "tests/heap.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define HIDE(p) (~(uintptr_t)(p))

void *randheap_at(const randheap *h, uint32_t i)
{
    return (void *)HIDE(h->node[i].hidden);
}

static void clean(void *ctx)
{
    (void)ctx;
}

/* Words 0 .. EDGES - 1 are its references. */
static void *make_node(const oak_type *t, randheap_node *node)
{
    size_t n = RANDHEAP_EDGES * sizeof(void *);
    switch (test_below(6)) {
    case 0: node->pinned = test_below(12) == 0; break;
    case 1: return oak_alloc_typed(t, 1 + test_below(40));
    case 2: return oak_alloc(n + test_size(100000));
    default: break;
    }
    n += test_below(200);
    return node->pinned ? oak_alloc_pinned(n) : oak_alloc(n);
}

static void connect(randheap *h, uint32_t i)
{
    randheap_node *node = &h->node[i];
    for (node->nedges = (uint32_t)test_below(RANDHEAP_EDGES + 1); node->nedges > 0; node->nedges--)
        if (test_below(2)) break;
    for (uint32_t e = 0; e < node->nedges; e++) {
        node->to[e] = (uint32_t)test_below(h->n);
        const randheap_node *to = &h->node[node->to[e]];
        /* some point inside */
        size_t in = test_below(4) == 0 ? test_below(to->size) : 0;
        ((char **)randheap_at(h, i))[e] = (char *)HIDE(to->hidden) + in;
    }
}

static void make_all(void *arg)
{
    static const uint64_t bits[] = { (1u << RANDHEAP_EDGES) - 1 };
    randheap *h = arg;
    const oak_type *t = oak_type_bitmap("random node", 64, bits);
    h->n = 2 + test_below(RANDHEAP_NODES - 1);
    for (size_t i = 0; i < h->n; i++) {
        void *p = make_node(t, &h->node[i]);
        h->node[i].hidden = HIDE(p);
        h->node[i].size = oak_usable_size(p);
    }
    for (uint32_t i = 0; i < h->n; i++) connect(h, i);
    for (size_t i = 0; i < RANDHEAP_ROOTS; i++) {
        h->root[i] = test_below(3) ? (uint32_t)test_below(h->n) : RANDHEAP_FAR;
        if (h->root[i] != RANDHEAP_FAR) h->words[i] = randheap_at(h, h->root[i]);
    }
    for (size_t i = test_below(3); i > 0; i--) {
        uint32_t obj = (uint32_t)test_below(h->n), ctx = (uint32_t)test_below(h->n);
        if (obj == ctx) continue;
        ck_assert_int_eq(oak_cleanup_add(randheap_at(h, obj), clean, randheap_at(h, ctx)), 0);
        h->node[ctx].kept = true;
    }
}

void randheap_make(randheap *h)
{
    memset(h, 0, sizeof *h);
    test_heap_start(test_config());
    h->words = calloc(RANDHEAP_ROOTS, sizeof *h->words);
    ck_assert_int_eq(oak_root_add(h->words, RANDHEAP_ROOTS * sizeof *h->words), 0);
    oak_gc_disable();
    test_away(make_all, h);
    oak_gc_enable();
}

void randheap_search(const randheap *h, uint32_t without, uint32_t distance[RANDHEAP_NODES])
{
    uint32_t queue[RANDHEAP_NODES], n = 0;
    for (size_t i = 0; i < h->n; i++) distance[i] = RANDHEAP_FAR;
    for (uint32_t i = 0; i < h->n; i++) {
        bool root = h->node[i].pinned || h->node[i].kept;
        for (size_t k = 0; k < RANDHEAP_ROOTS; k++) root |= h->root[k] == i;
        if (!root || i == without) continue;
        distance[i] = 1;
        queue[n++] = i;
    }
    for (uint32_t at = 0; at < n; at++) {
        const randheap_node *node = &h->node[queue[at]];
        for (uint32_t e = 0; e < node->nedges; e++) {
            uint32_t to = node->to[e];
            if (to == without || distance[to] != RANDHEAP_FAR) continue;
            distance[to] = distance[queue[at]] + 1;
            queue[n++] = to;
        }
    }
}

size_t randheap_bytes(const randheap *h, uint32_t without)
{
    uint32_t distance[RANDHEAP_NODES];
    size_t bytes = 0;
    randheap_search(h, without, distance);
    for (size_t i = 0; i < h->n; i++)
        if (distance[i] != RANDHEAP_FAR) bytes += h->node[i].size;
    return bytes;
}

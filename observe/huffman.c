/* huffman.c - prefix codes of limited length (huffman.h).
 *
 * Huffman's construction with two queues: the leaves, sorted by count, and the nodes, which are
 * made in ascending order of counts. If a code is too long, all counts are halved, which brings
 * them nearer to each other, and the tree is built again.
 *
 * Owns:  nothing.
 * Bound: the tree is built at most log2(largest count) times. */
#include "huffman.h"
#include <string.h>

#define NODES (2 * OAKI_HUFFMAN_SYMBOLS)

typedef struct tree {
    size_t n;    /* number of leaves, which come first, sorted by count */
    size_t leaf; /* the first leaf without a parent */
    size_t node; /* the first node without a parent */
    size_t end;  /* the index after the last node */
    uint32_t count[NODES];
    uint16_t parent[NODES];
    uint16_t symbol[OAKI_HUFFMAN_SYMBOLS];
} tree;

static void add_leaf(tree *t, const uint32_t *count, size_t symbol)
{
    size_t i = t->n++;
    for (; i > 0 && count[t->symbol[i - 1]] > count[symbol]; i--) t->symbol[i] = t->symbol[i - 1];
    t->symbol[i] = (uint16_t)symbol;
}

/* Takes the leaf or node of least count, and gives it the next node as its parent. Returns the
 * count. */
static uint32_t take(tree *t)
{
    bool leaf = t->leaf < t->n && (t->node == t->end || t->count[t->leaf] <= t->count[t->node]);
    size_t i = leaf ? t->leaf++ : t->node++;
    t->parent[i] = (uint16_t)t->end;
    return t->count[i];
}

/* Builds the tree and sets the codes' lengths. Returns the longest. A parent comes after its
 * children, so depths are computed from the root, which is last, downwards. */
static unsigned grow(tree *t, const uint32_t *count, uint8_t *bits)
{
    unsigned longest = 0;
    uint8_t depth[NODES];
    for (size_t i = 0; i < t->n; i++) t->count[i] = count[t->symbol[i]];
    t->leaf = 0;
    t->node = t->end = t->n;
    while (t->end < 2 * t->n - 1) {
        uint32_t sum = take(t);
        sum += take(t);
        t->count[t->end++] = sum;
    }
    depth[t->end - 1] = 0;
    for (size_t i = t->end - 1; i-- > 0;) depth[i] = (uint8_t)(depth[t->parent[i]] + 1);
    for (size_t i = 0; i < t->n; i++) {
        bits[t->symbol[i]] = depth[i];
        longest = OAKI_MAX(longest, (unsigned)depth[i]);
    }
    return longest;
}

/* Numbers the codes from their lengths: shorter codes first, then in the order of symbols. The bits
 * of a code are reversed. */
static void number(oaki_huffman *h, size_t n)
{
    unsigned next[OAKI_HUFFMAN_BITS + 1] = { 0 }, of[OAKI_HUFFMAN_BITS + 1] = { 0 };
    for (size_t i = 0; i < n; i++) of[h->bits[i]]++;
    of[0] = 0;
    for (unsigned b = 1; b <= OAKI_HUFFMAN_BITS; b++) next[b] = (next[b - 1] + of[b - 1]) << 1;
    for (size_t i = 0; i < n; i++) {
        unsigned code = h->bits[i] ? next[h->bits[i]]++ : 0, turned = 0;
        for (unsigned b = 0; b < h->bits[i]; b++) turned |= (code >> b & 1) << (h->bits[i] - 1 - b);
        h->code[i] = (uint16_t)turned;
    }
}

void oaki_huffman_make(oaki_huffman *h, uint32_t *count, size_t n, unsigned most)
{
    tree t;
    OAKI_ASSERT(n >= 2 && n <= OAKI_HUFFMAN_SYMBOLS && most <= OAKI_HUFFMAN_BITS);
    memset(h, 0, sizeof *h);
    t.n = 0;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) used += count[i] != 0;
    for (size_t i = 0; used < 2; i++)
        if (count[i] == 0) {
            count[i] = 1;
            used++;
        }
    for (size_t i = 0; i < n; i++)
        if (count[i]) add_leaf(&t, count, i);
    while (grow(&t, count, h->bits) > most)
        for (size_t i = 0; i < t.n; i++) count[t.symbol[i]] = (count[t.symbol[i]] >> 1) | 1;
    number(h, n);
}

/* huffman.c - prefix codes of limited length (huffman.h).
 *
 * Owns: nothing. Huffman's construction with two queues: symbols by their counts, and nodes, which
 * are made in the order of theirs. Where a code gets too long the counts are halved, which brings
 * them nearer to each other, and it is made again: log2(most of a count) times at most. */
#include "huffman.h"
#include <string.h>

#define NODES (2 * OAKI_HUFFMAN_SYMBOLS)

typedef struct tree {
    size_t n;    /* leaves, sorted by count */
    size_t leaf; /* the first that has no parent, */
    size_t node; /* the first node without, */
    size_t end;  /* and the number after the last node */
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

/* The leaf or node with the least count, which has a parent now. */
static uint32_t take(tree *t)
{
    bool leaf = t->leaf < t->n && (t->node == t->end || t->count[t->leaf] <= t->count[t->node]);
    size_t i = leaf ? t->leaf++ : t->node++;
    t->parent[i] = (uint16_t)t->end;
    return t->count[i];
}

/* Bits of the longest code. Parents come after their children: so from the root, which is last,
 * down. */
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

/* From the lengths, shorter codes first and symbols in their order; the bits reversed. */
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

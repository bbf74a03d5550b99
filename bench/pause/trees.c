/* trees.c - small trees come and go beside a large one that changes.
 *
 * usage: trees DEPTH OPERATIONS. A tree of depth DEPTH lives; an operation makes a tree of depth 6
 * and walks it, and each sixteenth puts it into the large tree in place of a subtree at random. A
 * node is two pointers, made after its children. Answer: what pauses_show and stops_show tell of
 * the operations; `total`, seconds for the large tree and the operations. The Go twin is
 * trees.go. */
#include "pause.h"

enum { SMALL = 6, KEPT = 16 };

typedef struct node {
    struct node *left, *right;
} node;

static node *large;

static node *build(unsigned depth)
{
    node *left = NULL, *right = NULL;
    if (depth) {
        left = build(depth - 1);
        right = build(depth - 1);
    }
    node *n = MEM_ALLOC(sizeof *n);
    if (!n) mem_out();
    n->left = left;
    n->right = right;
    return n;
}

static uint64_t count(const node *n)
{
    return n->left ? 1 + count(n->left) + count(n->right) : 1;
}

static void drop(node *n)
{
#if !MEM_COLLECTS
    if (n->left) {
        drop(n->left);
        drop(n->right);
    }
#endif
    MEM_FREE(n);
}

/* The bits of `way` from the lowest on: left or right. */
static void replace(node *n, unsigned depth, uint64_t way)
{
    node **at = &n;
    for (node *next = large; depth > SMALL; depth--, way >>= 1) {
        at = way & 1 ? &next->right : &next->left;
        next = *at;
    }
    drop(*at);
    *at = n;
}

int main(int argc, char **argv)
{
    unsigned depth = (unsigned)bench_arg(argc, argv, 1, 22);
    uint64_t operations = bench_arg(argc, argv, 2, 1000000), state = 1, check = 0;
    if (depth <= SMALL || depth > 40) return 2;
    pause_init();
    pauses *p = pauses_new();

    uint64_t start = bench_now_ns();
    large = build(depth);
    stops_begin();
    uint64_t last = pauses_begin(p);
    for (uint64_t i = 0; i < operations; i++) {
        node *n = build(SMALL);
        check += count(n);
        if (i % KEPT)
            drop(n);
        else
            replace(n, depth, bench_random(&state));
        last = pauses_add(p, last);
    }
    pauses_end(p);
    stops_end();
    check += count(large);
    printf("check %llu\ntotal %.6f\n", (unsigned long long)check, (double)(p->end - start) / 1e9);
    stops_show();
    pauses_show(&p, 1);
    counts_show();
    return 0;
}

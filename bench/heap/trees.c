/* trees.c - how fast are small linked objects made, walked and dropped?
 *
 * Binary trees after the benchmarks game, which has them from GCBench (Ellis, Kovac, Boehm): a
 * stretch tree of depth + 1, a long-lived tree of the full depth, and for each fourth depth from
 * 4 up as many short-lived trees as make the same number of nodes each time. A node is two
 * pointers, made after its children. Answer: `time` in seconds, and the peak RSS that the
 * runner reads. Its Go twin is trees.go. With malloc each tree is freed by a walk. */
#include "mem.h"

enum { MIN_DEPTH = 4, DEPTH_STEP = 4 };

typedef struct node {
    struct node *left, *right;
} node;

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

static uint64_t build_count_drop(unsigned depth)
{
    node *n = build(depth);
    uint64_t nodes = count(n);
    drop(n);
    return nodes;
}

int main(int argc, char **argv)
{
    unsigned max = (unsigned)bench_arg(argc, argv, 1, 20);
    MEM_INIT();

    uint64_t start = bench_now_ns();
    uint64_t check = build_count_drop(max + 1);
    node *long_lived = build(max);
    for (unsigned depth = MIN_DEPTH; depth <= max; depth += DEPTH_STEP) {
        uint64_t trees = (uint64_t)1 << (max - depth + MIN_DEPTH);
        for (uint64_t i = 0; i < trees; i++) check += build_count_drop(depth);
    }
    check += count(long_lived);
    uint64_t ns = bench_now_ns() - start;

    printf("check %llu\ntime %.6f\n", (unsigned long long)check, (double)ns / 1e9);
    counts_show();
    return 0;
}

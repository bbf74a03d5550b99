/* course.c - the operations that comparisons of maps time, with the same hash for all maps.
 *
 * usage: course ENTRIES MS; -DPEER says whose map, and keys.h which entries.
 *
 * ns an operation, each measured for MS milliseconds at least, over as many maps as it takes, and
 * `load`, entries a slot. A map is grown from empty (insert). In random order keys are found (hit)
 * and given another value (replace), others are not found (miss) and can't be erased (absent). All
 * entries are summed (iterate), and up to a half of the keys erased. Of larger maps these are a
 * million keys, chosen at random. With MS 0 it prints how many of each there are for one map.
 * Compiles as C and as C++. */
#include PEER

#include "common/counts.h"
#include "pass.h"

enum { INSERT, HIT, MISS, REPLACE, ABSENT, ITERATE, ERASE, OPERATIONS };
static const uint64_t most = 1000000;

static const char *const names[] = { "insert", "hit",     "miss", "replace",
                                     "absent", "iterate", "erase" };
static map *the_map; /* reachable by a collector from here */

TIMED(insert, (peer_set(m, key[j], index[j] + 1), 1))
TIMED(hit, peer_get(m, key[j]))
TIMED(miss, peer_get(m, key[j]))
TIMED(replace, (peer_set(m, key[j], index[j] + 2), 1))
TIMED(absent, peer_delete(m, key[j]))
TIMED(erase, peer_delete(m, key[j]))
TIMED(replaced, peer_get(m, key[j]))
TIMED(erased, peer_delete(m, key[j]))

/* A random choice and order of `some` of the n indexes, at the table's beginning. */
static void choose(uint32_t *table, uint64_t n, uint64_t some, uint64_t *state)
{
    for (uint64_t i = 0; i < some; i++) {
        uint64_t j = i + bench_random(state) % (n - i);
        uint32_t t = table[i];
        table[i] = table[j];
        table[j] = t;
    }
}

static uint64_t sum_of(const uint32_t *table, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += (uint64_t)table[i] + 1;
    return sum;
}

/* One map from its first insert to its last erase. What all its entries summed up to. */
static uint64_t run_map(uint32_t *table, uint64_t n, uint64_t *state, op *ops, double *load)
{
    uint64_t some = n < most ? n : most, erased = n / 2 < most ? n / 2 : most;
    source in_order = { IN_ORDER, NULL, n, NULL }, chosen = { BY_TABLE, table, n, NULL },
           none = { NONE, NULL, n, NULL };
    op untimed = { 0, 0 };
    map *m = the_map = peer_new();
    expect(pass(m, timed_insert, in_order, n, &ops[INSERT]), n);
    expect(peer_len(m), n);
    *load = peer_load(m);
    choose(table, n, some, state);
    expect(pass(m, timed_hit, chosen, some, &ops[HIT]), sum_of(table, some));
    expect(pass(m, timed_miss, none, some, &ops[MISS]), 0);
    choose(table, n, some, state);
    expect(pass(m, timed_replace, chosen, some, &ops[REPLACE]), some);
    expect(pass(m, timed_replaced, chosen, some, &untimed), sum_of(table, some) + some);
    expect(pass(m, timed_absent, none, some, &ops[ABSENT]), 0);
    expect(peer_len(m), n);
    uint64_t sum = pass_sum(m, n, &ops[ITERATE]);
    choose(table, n, erased, state);
    expect(pass(m, timed_erase, chosen, erased, &ops[ERASE]), erased);
    expect(pass(m, timed_erased, chosen, erased, &untimed), 0);
    expect(peer_len(m), n - erased);
    peer_drop(m);
    return sum;
}

static bool timed_enough(const op *ops, uint64_t least_ns)
{
    for (unsigned i = 0; i < OPERATIONS; i++)
        if (ops[i].ns < least_ns) return false;
    return true;
}

int main(int argc, char **argv)
{
    uint64_t n = bench_arg(argc, argv, 1, 0), least_ns = bench_arg(argc, argv, 2, 20) * 1000000,
             state = n, check, sum;
    op ops[OPERATIONS];
    double load;
    if (n < 2 || n > INT32_MAX) return 2;
    uint32_t *table = keys_array(n);
    memset(ops, 0, sizeof ops);
    keys_begin(n);
    check = run_map(table, n, &state, ops, &load);
    while (!timed_enough(ops, least_ns)) {
        sum = run_map(table, n, &state, ops, &load);
        expect(sum, check);
    }
    printf("check %llu\n", (unsigned long long)check);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        if (least_ns == 0)
            printf("%s %llu\n", names[i], (unsigned long long)ops[i].count);
        else
            show(names[i], &ops[i]);
    }
    printf("load %.3f\n", load);
    free(table);
    counts_show();
    return 0;
}

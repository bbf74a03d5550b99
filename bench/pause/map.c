/* map.c - a map of pointers that grows and shrinks, every write timed.
 *
 * usage: map ENTRIES. Grows to ENTRIES, shrinks to a tenth, grows again, and shrinks to nothing. A
 * put makes an item of 16 bytes for its key. Keys are SplitMix64's, so that each write is somewhere
 * else in the map. Answer: what pauses_show and stops_show tell of all writes; `total` in seconds.
 * The Go twin is map.go. */
#include "pause.h"

enum { LOOKED = 1000 };

typedef struct item {
    struct item *next;
    uint64_t key;
} item;

#ifdef MEM_OAKUM
#include "store_oakum.h"
#else
#include "store_linear.h"
#endif

static store *map;
static pauses *p;
static uint64_t check;

static inline uint64_t key_of(uint64_t i)
{
    return bench_mix((i + 1) * 0x9e3779b97f4a7c15u);
}

/* After each phase, outside of what is timed: is there what should be? */
static uint64_t look(uint64_t from, uint64_t to, uint64_t last)
{
    check += store_size(map);
    for (uint64_t i = 0; i < LOOKED && to > from; i++) {
        item *found = store_find(map, key_of(from + i * 7919 % (to - from)));
        check += found ? found->key : 1;
    }
    uint64_t now = bench_now_ns();
    pauses_leave_out(p, now - last);
    return now;
}

static uint64_t grow(uint64_t from, uint64_t to, uint64_t last)
{
    for (uint64_t i = from; i < to; i++) {
        item *new = MEM_ALLOC(sizeof *new);
        if (!new) mem_out();
        new->next = NULL;
        new->key = key_of(i);
        store_add(map, new->key, new);
        last = pauses_add(p, last);
    }
    return look(0, to, last);
}

static uint64_t shrink(uint64_t from, uint64_t to, uint64_t last)
{
    for (uint64_t i = from; i-- > to;) {
        MEM_FREE(store_take(map, key_of(i)));
        last = pauses_add(p, last);
    }
    return look(0, from, last);
}

int main(int argc, char **argv)
{
    uint64_t entries = bench_arg(argc, argv, 1, 10000000);
    pause_init();
    p = pauses_new();
    map = store_make();

    stops_begin();
    uint64_t last = pauses_begin(p);
    last = grow(0, entries, last);
    last = shrink(entries, entries / 10, last);
    last = grow(entries / 10, entries, last);
    shrink(entries, 0, last);
    pauses_end(p);
    stops_end();
    printf("check %llu\ntotal %.6f\n", (unsigned long long)check,
           (double)(p->end - p->begin) / 1e9);
    stops_show();
    pauses_show(&p, 1);
    counts_show();
    return 0;
}

/* window.c - the message window of bench-heap, with every push timed.
 *
 * usage: window LIVE PUSHES. A ring of LIVE messages of 1,024 bytes without pointers; each push
 * makes one, fills it, and puts it in the place of the oldest. Answer: what pauses_show and
 * stops_show tell; `total` in seconds. The Go twin is window.go. */
#include "pause.h"

enum { MESSAGE = 1024 };

static unsigned char **ring;

int main(int argc, char **argv)
{
    uint64_t live = bench_arg(argc, argv, 1, 200000), pushes = bench_arg(argc, argv, 2, 2000000);
    if (live == 0 || pushes < live) return 2;
    pause_init();
    pauses *p = pauses_new();
    if (!(ring = MEM_ALLOC(live * sizeof *ring))) mem_out();
    memset(ring, 0, live * sizeof *ring);

    stops_begin();
    uint64_t last = pauses_begin(p);
    for (uint64_t i = 0; i < pushes; i++) {
        unsigned char *m = MEM_ALLOC_NOSCAN(MESSAGE);
        if (!m) mem_out();
        memset(m, (int)(i & 0xff), MESSAGE);
        MEM_FREE(ring[i % live]);
        ring[i % live] = m;
        last = pauses_add(p, last);
    }
    pauses_end(p);
    stops_end();

    uint64_t check = 0;
    for (uint64_t i = 0; i < live; i++) check += ring[i][i % MESSAGE];
    printf("check %llu\ntotal %.6f\n", (unsigned long long)check,
           (double)(p->end - p->begin) / 1e9);
    stops_show();
    pauses_show(&p, 1);
    counts_show();
    return 0;
}

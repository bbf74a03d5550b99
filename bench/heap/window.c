/* window.c - how long does one operation wait while all that is live is replaced?
 *
 * A ring of `live` messages of 1,024 bytes without pointers; each of `pushes` pushes makes one,
 * fills it, and puts it in the place of the oldest. Answer: `worst` push in microseconds (each is
 * timed, at the cost of one reading of the clock), `total` in seconds, and the peak RSS that the
 * runner reads. Its Go twin is window.go. With malloc the message that leaves the ring is freed. */
#include <string.h>

#include "mem.h"

enum { MESSAGE = 1024 };

static unsigned char **ring;

int main(int argc, char **argv)
{
    uint64_t live = bench_arg(argc, argv, 1, 200000), pushes = bench_arg(argc, argv, 2, 2000000);
    if (live == 0 || pushes < live) return 2;
    MEM_INIT();

    if (!(ring = MEM_ALLOC(live * sizeof *ring))) mem_out();
    memset(ring, 0, live * sizeof *ring);

    uint64_t worst = 0, start = bench_now_ns(), before = start;
    for (uint64_t i = 0; i < pushes; i++) {
        unsigned char *m = MEM_ALLOC_NOSCAN(MESSAGE);
        if (!m) mem_out();
        memset(m, (int)(i & 0xff), MESSAGE);
        MEM_FREE(ring[i % live]);
        ring[i % live] = m;
        uint64_t now = bench_now_ns();
        if (now - before > worst) worst = now - before;
        before = now;
    }

    uint64_t check = 0;
    for (uint64_t i = 0; i < live; i++) check += ring[i][i % MESSAGE];
    printf("check %llu\nworst %.3f\ntotal %.6f\n", (unsigned long long)check, (double)worst / 1e3,
           (double)(before - start) / 1e9);
    counts_show();
    return 0;
}

/* profile.c - what does the heap profile cost?
 *
 * The work of churn.c on one thread, in slices of some milliseconds, each at random with the
 * profile at `rate` or without: what a slow minute of the machine costs falls on both alike, and no
 * rhythm of its own can favour one. Counted is the CPU time of the process, as others run beside
 * it. Answer: `cost`, by how many percent the median slice with the profile takes longer; and
 * `noise`, the same between two halves, drawn likewise, of those without, which should be 0.
 * usage: profile [SIZE [RATE [SLICES]]]; make bench-profile runs some. */
#include "mem.h"

#ifndef MEM_OAKUM
#error "this one asks about Oakum only"
#endif

static uint64_t *slot[16]; /* a root */

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double slice(size_t size, uint64_t count)
{
    double start = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *p = MEM_ALLOC(size);
        if (!p) mem_out();
        *p = i;
        slot[i % 16] = p;
    }
    return (cpu_ns() - start) / (double)count;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, compare);
    return v[n / 2];
}

int main(int argc, char **argv)
{
    size_t size = (size_t)bench_arg(argc, argv, 1, 64);
    size_t rate = (size_t)bench_arg(argc, argv, 2, OAK_PROFILE_RATE);
    size_t slices = (size_t)bench_arg(argc, argv, 3, 800);
    uint64_t count = ((uint64_t)64 << 20) / size, seed = bench_now_ns();
    enum { OFF, ALSO_OFF, ON, KINDS };
    double *ns[KINDS], mid[KINDS];
    size_t n[KINDS] = { 0 };
    MEM_INIT();
    for (int k = 0; k < KINDS; k++)
        if (!(ns[k] = malloc((slices + 1) * sizeof *ns[k]))) mem_out();
    for (size_t i = 0; i < slices; i++) {
        unsigned k = (unsigned)(bench_random(&seed) % 4);
        if (k == KINDS) k = ON;
        if (oak_profile_set_rate(1) || oak_profile_set_rate(k == ON ? rate : 0)) mem_out();
        ns[k][n[k]++] = slice(size, count);
    }
    for (int k = 0; k < KINDS; k++) {
        if (n[k] == 0) return 2;
        mid[k] = median(ns[k], n[k]);
    }
    double off = (mid[OFF] + mid[ALSO_OFF]) / 2;
    printf("ns %.3f\ncost %.2f\nnoise %.2f\n", off, 100 * (mid[ON] / off - 1),
           100 * (mid[ALSO_OFF] / mid[OFF] - 1));
    counts_show();
    return 0;
}

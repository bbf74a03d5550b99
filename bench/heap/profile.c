/* profile.c - what does the heap profile cost?
 *
 * The work of churn.c on one thread, in slices of some milliseconds, by turns without the profile
 * and with it at `rate`; what a slow minute of the machine costs falls on both alike. Answer:
 * `cost`, the median over all pairs of slices of how much longer the second took, in percent; and
 * `noise`, the same between two slices without the profile, which should be 0.
 * usage: profile [SIZE [RATE [PAIRS]]]; make bench-profile runs some. */
#include "mem.h"

#ifndef MEM_OAKUM
#error "this one asks about Oakum only"
#endif

static uint64_t *slot[16]; /* a root */

static uint64_t slice(size_t size, uint64_t count)
{
    uint64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *p = MEM_ALLOC(size);
        if (!p) mem_out();
        *p = i;
        slot[i % 16] = p;
    }
    return bench_now_ns() - start;
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
    uint64_t pairs = bench_arg(argc, argv, 3, 200), count = ((uint64_t)64 << 20) / size;
    double *cost = malloc(pairs * sizeof *cost), *noise = malloc(pairs * sizeof *noise);
    double *plain = malloc(pairs * sizeof *plain);
    if (!cost || !noise || !plain) mem_out();
    MEM_INIT();
    for (uint64_t i = 0; i < pairs; i++) {
        if (oak_profile_set_rate(0)) mem_out();
        double off = (double)slice(size, count), again = (double)slice(size, count);
        if (oak_profile_set_rate(rate)) mem_out();
        double on = (double)slice(size, count);
        if (oak_profile_set_rate(0)) mem_out();
        double after = (double)slice(size, count);
        cost[i] = 100 * (on * 2 / (again + after) - 1);
        noise[i] = 100 * (again * 2 / (off + after) - 1);
        plain[i] = off / (double)count;
    }
    printf("ns %.3f\ncost %.2f\nnoise %.2f\n", median(plain, pairs), median(cost, pairs),
           median(noise, pairs));
    return 0;
}

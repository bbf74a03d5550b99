/* clock.c - what the clock itself costs, and what this machine does to a program that only waits.
 *
 * usage: clock insert|delete|clock ENTRIES. Reads the clock over and over, for as long as a run of
 * that many inserts takes, 1.5 s for ten million: the same figures of the time between two readings
 * are the floor below which resize.c measures nothing, and a flat line in its plots. Also what a
 * reading costs on the average, and the least step by which the clock was seen to advance. */
#include "latency.h"

static latency_sum sum, own;

int main(int argc, char **argv)
{
    uint64_t n = bench_arg(argc, argv, 2, 10000000), step = UINT64_MAX;
    uint32_t none;
    latency l = { .ns = &none };
    latency_look(&l);
    uint64_t begin = bench_now_ns(), end = begin + n * 150, last = begin;
    while (last < end) {
        uint64_t now = bench_now_ns(), ns = now - last;
        if (ns > 0 && ns < step) step = ns;
        l.count = 0;
        last = latency_add(&l, last, now);
        latency_note(&sum, none);
        if (!(none & LATENCY_OTHERS)) latency_note(&own, none);
    }
    latency_sort(&sum);
    latency_sort(&own);
    latency_look(&l);
    latency_show(&sum, "");
    latency_show_own(&own, &l);
    printf("seconds %.3f\nswitches %ld\n", (double)(last - begin) / 1e9, l.switches);
    printf("cost %.2f\nstep %llu\n", (double)(last - begin) / (double)sum.count,
           (unsigned long long)step);
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", argv[0], argc > 1 ? argv[1] : "clock");
    FILE *f = fopen(path, "a");
    if (!f) keys_die("the figures for the plot can't be written");
    fprintf(f, "1000 1000 %u %u\n%llu %llu %u %u\n", latency_at(&sum, 1), latency_at(&sum, 0.9999),
            (unsigned long long)n, (unsigned long long)n, latency_at(&sum, 1),
            latency_at(&sum, 0.9999));
    return fclose(f) != 0;
}

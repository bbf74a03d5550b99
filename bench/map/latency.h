/* latency.h - the time of every single operation: kept while it runs, summed up afterwards.
 *
 * One clock for all peers, the system's monotonic one; the time of an operation is that between
 * two readings, and so holds one reading. The array is touched before, so that writing to it makes
 * no page faults. Percentiles are by nearest rank. An operation is the peer's own work where it
 * met no page fault and kept its processor. latency.go is the twin. */
#ifndef BENCH_MAP_LATENCY_H
#define BENCH_MAP_LATENCY_H

#include <math.h>
#include <sys/resource.h>

#include "keys.h"

/* The kernel is asked about operations from LATENCY_LONG on: no page fault takes less. */
enum { LATENCY_DIRECT = 65536, LATENCY_LONG = 500 };
#define LATENCY_OTHERS (UINT32_C(1) << 31) /* a flag: the time is not the operation's own */
static const double latency_bucket = 1.2115276586285884; /* twelve to a decade */

/* Operation i, counted from 0, took ns[i], at most 2 seconds. */
typedef struct latency {
    uint32_t *ns;
    uint64_t count;
    long switches, faults; /* of the thread, when last looked: lost processors, page faults */
    uint64_t faulted;      /* operations with a page fault */
    uint32_t fault_most;   /* the longest of them */
} latency;

static inline void latency_look(latency *l)
{
    struct rusage u;
    getrusage(RUSAGE_THREAD, &u);
    l->switches = u.ru_nivcsw;
    l->faults = u.ru_minflt + u.ru_majflt;
}

static inline void latency_open(latency *l, uint64_t most)
{
    memset(l, 0, sizeof *l);
    l->ns = keys_array(most);
    latency_look(l);
}

static __attribute__((noinline, cold)) uint64_t latency_long(latency *l)
{
    uint32_t *ns = &l->ns[l->count - 1];
    long switches = l->switches, faults = l->faults;
    latency_look(l);
    if (l->faults != faults) {
        l->faulted++;
        if (*ns > l->fault_most) l->fault_most = *ns;
    }
    if (l->faults != faults || l->switches != switches) *ns |= LATENCY_OTHERS;
    return bench_now_ns();
}

/* From `last` to `now`; when the next one begins. */
static inline uint64_t latency_add(latency *l, uint64_t last, uint64_t now)
{
    uint64_t ns = now - last;
    l->ns[l->count++] = ns < LATENCY_OTHERS ? (uint32_t)ns : LATENCY_OTHERS - 1;
    return ns < LATENCY_LONG ? now : latency_long(l);
}

static inline int latency_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* What the operations come to. Times below LATENCY_DIRECT are counted each, and the few above are
 * kept. */
typedef struct latency_sum {
    uint64_t direct[LATENCY_DIRECT];
    uint32_t *above;
    uint64_t nabove, room, count;
} latency_sum;

static inline void latency_note(latency_sum *s, uint32_t ns)
{
    ns &= ~LATENCY_OTHERS;
    s->count++;
    if (ns < LATENCY_DIRECT) {
        s->direct[ns]++;
        return;
    }
    if (s->nabove == s->room) {
        s->room = s->room ? 2 * s->room : 1024;
        s->above = (uint32_t *)realloc(s->above, s->room * sizeof *s->above);
        if (!s->above) keys_die("out of memory");
    }
    s->above[s->nabove++] = ns;
}

static inline void latency_sort(latency_sum *s)
{
    if (s->nabove) qsort(s->above, s->nabove, sizeof *s->above, latency_order);
}

static inline void latency_read(latency_sum *s, const uint32_t *ns, uint64_t count)
{
    memset(s->direct, 0, sizeof s->direct);
    s->count = s->nabove = 0;
    for (uint64_t i = 0; i < count; i++) latency_note(s, ns[i]);
    latency_sort(s);
}

static inline void latency_read_own(latency_sum *s, const uint32_t *ns, uint64_t count)
{
    latency_read(s, ns, 0);
    for (uint64_t i = 0; i < count; i++)
        if (!(ns[i] & LATENCY_OTHERS)) latency_note(s, ns[i]);
    latency_sort(s);
}

/* The least time that `part` of the operations don't exceed. */
static inline uint32_t latency_at(const latency_sum *s, double part)
{
    uint64_t rank = (uint64_t)ceil(part * (double)s->count), seen = 0;
    if (s->count == 0) return 0;
    if (rank == 0) rank = 1;
    for (uint32_t ns = 0; ns < LATENCY_DIRECT; ns++) {
        seen += s->direct[ns];
        if (seen >= rank) return ns;
    }
    return s->above[rank - seen - 1]; /* sorted */
}

static inline uint64_t latency_over(const latency_sum *s, uint32_t ns)
{
    uint64_t n = s->nabove;
    for (uint32_t i = ns + 1; i < LATENCY_DIRECT; i++) n += s->direct[i];
    for (uint64_t i = 0; i < s->nabove && s->above[i] <= ns; i++) n--;
    return n;
}

/* Percentiles in ns, `prefix` before each key; the longest in us; how many took longer. */
static inline void latency_show(latency_sum *s, const char *prefix)
{
    printf("%sp50 %u\n%sp99 %u\n%sp999 %u\n%sp9999 %u\n%smax %.1f\n", prefix, latency_at(s, 0.5),
           prefix, latency_at(s, 0.99), prefix, latency_at(s, 0.999), prefix, latency_at(s, 0.9999),
           prefix, latency_at(s, 1) / 1e3);
    printf("%sover10 %llu\n%sover100 %llu\n%sover1000 %llu\n", prefix,
           (unsigned long long)latency_over(s, 10000), prefix,
           (unsigned long long)latency_over(s, 100000), prefix,
           (unsigned long long)latency_over(s, 1000000));
}

/* The same of the peer's own work, with what page faults did. `own` holds no other operations. */
static inline void latency_show_own(const latency_sum *own, const latency *l)
{
    printf("own_p9999 %u\nown_max %.1f\nfault_max %.1f\nfaults %llu\n", latency_at(own, 0.9999),
           latency_at(own, 1) / 1e3, l->fault_most / 1e3, (unsigned long long)l->faulted);
}

/* For the plot: the longest and p99.99 for each bucket of map sizes, appended to `path`. Buckets
 * are twelve a decade; the size is that with the entry that operation i added or took: i + 1, or
 * for deletes count - i. */
static inline void latency_plot(latency_sum *s, const latency *l, bool deletes, const char *path)
{
    FILE *f = fopen(path, "a");
    if (!f) keys_die("the figures for the plot can't be written");
    double lo = 1;
    for (uint64_t first = 1; first <= l->count; lo *= latency_bucket) {
        uint64_t next = (uint64_t)ceil(lo * latency_bucket);
        if (next <= first) continue;
        /* What would be left of a bucket goes with the last one. */
        if (next + (next - first) / 2 > l->count) next = l->count + 1;
        latency_read(s, l->ns + (deletes ? l->count - next + 1 : first - 1), next - first);
        fprintf(f, "%llu %llu %u %u\n", (unsigned long long)first, (unsigned long long)next - 1,
                latency_at(s, 1), latency_at(s, 0.9999));
        first = next;
    }
    if (fclose(f)) keys_die("the figures for the plot can't be written");
}

#endif

/* pause.h - how long each operation of a program takes, and what is left to it of any short while.
 *
 * Every operation is timed, from one reading of the clock to the next. Its time goes into a bucket
 * (64 to a doubling, so a percentile is at most 1.6 % above the true one); the longest is kept as
 * it is. One that takes NOTED_NS or longer is noted with its begin and its end: from these gaps
 * comes the minimum mutator utilisation (Cheng and Blelloch, 2001), the least part of any window
 * of that length in which the program was not in a gap. When there is no room for more gaps, the
 * shorter ones are forgotten, and from then on only gaps of twice the length are noted.
 * A recorder belongs to one thread, and lies outside of the heap. The buckets are touched before;
 * what noting a gap costs, page faults included, is outside of what is timed. The Go twin is
 * pause.go.
 *
 * Also here: how often the collector stopped the program, and for how long, by its own account. */
#ifndef BENCH_PAUSE_PAUSE_H
#define BENCH_PAUSE_PAUSE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "heap/mem.h"

enum {
    SUB_BITS = 6,
    BUCKETS = (64 - SUB_BITS + 1) << SUB_BITS,
    NOTED_NS = 20000,
    GAPS = 1 << 22
};

typedef struct gap {
    uint64_t begin, end;
    uint64_t before; /* of all gaps before this one together; set by pauses_end */
} gap;

typedef struct pauses {
    uint64_t begin, end;
    uint64_t most;
    uint64_t noted_ns; /* a gap is this long or longer */
    uint64_t over;     /* operations of NOTED_NS or longer */
    uint64_t ngaps;
    uint64_t counts[BUCKETS];
    gap gaps[GAPS];
} pauses;

static inline unsigned pauses_bucket(uint64_t ns)
{
    if (ns < 2u << SUB_BITS) return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    return (shift << SUB_BITS) + (unsigned)(ns >> shift);
}

/* The longest time that goes into a bucket. */
static inline uint64_t pauses_upper(unsigned bucket)
{
    if (bucket < 2u << SUB_BITS) return bucket;
    unsigned shift = (bucket >> SUB_BITS) - 1;
    return ((uint64_t)(bucket - (shift << SUB_BITS) + 1) << shift) - 1;
}

static inline pauses *pauses_new(void)
{
    pauses *p = malloc(sizeof *p);
    if (!p) mem_out();
    memset(p, 0, offsetof(pauses, gaps));
    p->noted_ns = NOTED_NS;
    return p;
}

/* Room for more: only long gaps are kept. */
static inline void pauses_thin(pauses *p)
{
    uint64_t kept = 0;
    p->noted_ns *= 2;
    for (uint64_t i = 0; i < p->ngaps; i++) {
        if (p->gaps[i].end - p->gaps[i].begin >= p->noted_ns) p->gaps[kept++] = p->gaps[i];
    }
    p->ngaps = kept;
}

static __attribute__((noinline, cold, unused)) uint64_t pauses_note(pauses *p, uint64_t last,
                                                                    uint64_t now)
{
    p->over++;
    while (p->ngaps == GAPS) pauses_thin(p);
    if (now - last >= p->noted_ns) p->gaps[p->ngaps++] = (gap){ last, now, 0 };
    return bench_now_ns();
}

/* Begin to time; when the first operation begins. */
static inline uint64_t pauses_begin(pauses *p)
{
    return p->begin = bench_now_ns();
}

/* An operation that began at `last` ends; when the next one begins. */
static inline uint64_t pauses_add(pauses *p, uint64_t last)
{
    uint64_t now = bench_now_ns(), ns = now - last;
    p->counts[pauses_bucket(ns)]++;
    if (ns > p->most) p->most = ns;
    return ns < NOTED_NS ? now : pauses_note(p, last, now);
}

/* What lay between the last operation and now, `ns`, was no part of the run. */
static inline void pauses_leave_out(pauses *p, uint64_t ns)
{
    p->begin += ns;
    for (uint64_t i = 0; i < p->ngaps; i++) {
        p->gaps[i].begin += ns;
        p->gaps[i].end += ns;
    }
}

static inline void pauses_end(pauses *p)
{
    uint64_t sum = 0;
    p->end = bench_now_ns();
    for (uint64_t i = 0; i < p->ngaps; i++) {
        p->gaps[i].before = sum;
        sum += p->gaps[i].end - p->gaps[i].begin;
    }
}

/* ---- what it comes to ---- */

/* The first gap that ends after t. */
static inline uint64_t pauses_first(const pauses *p, uint64_t t)
{
    uint64_t lo = 0, hi = p->ngaps;
    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;
        if (p->gaps[mid].end > t)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* What gaps take of the time before t. */
static inline uint64_t pauses_lost(const pauses *p, uint64_t t)
{
    uint64_t i = pauses_first(p, t);
    if (i == p->ngaps) return i ? p->gaps[i - 1].before + p->gaps[i - 1].end - p->gaps[i - 1].begin
                                : 0;
    return p->gaps[i].before + (t > p->gaps[i].begin ? t - p->gaps[i].begin : 0);
}

/* The least part of a window that is left, in percent. The worst window begins where a gap begins
 * or ends where one ends, or lies at an end of the run. */
static inline double pauses_mmu(const pauses *p, uint64_t window)
{
    uint64_t most = 0;
    if (p->end - p->begin < window) window = p->end - p->begin;
    for (uint64_t i = 0; i < 2 * p->ngaps; i++) {
        const gap *g = &p->gaps[i / 2];
        uint64_t lo = i % 2 ? g->end - window : g->begin;
        if (i % 2 && g->end < p->begin + window) lo = p->begin;
        if (lo > p->end - window) lo = p->end - window;
        uint64_t lost = pauses_lost(p, lo + window) - pauses_lost(p, lo);
        if (lost > most) most = lost;
    }
    return window ? 100.0 * (double)(window - most) / (double)window : 100;
}

/* The least time, by nearest rank, that `part` of the operations don't exceed. */
static inline uint64_t pauses_at(const pauses *p, double part)
{
    uint64_t count = 0, seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) count += p->counts[i];
    uint64_t rank = (uint64_t)ceil(part * (double)count);
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += p->counts[i];
        if (seen >= rank && seen) return pauses_upper(i) < p->most ? pauses_upper(i) : p->most;
    }
    return 0;
}

/* What timing an operation costs, the clock and the bucket: the best of several times. */
static inline double pauses_cost(void)
{
    enum { TIMES = 50, READINGS = 50000 };
    pauses *p = pauses_new();
    uint64_t least = UINT64_MAX;
    for (unsigned t = 0; t < TIMES; t++) {
        uint64_t begin = pauses_begin(p), last = begin;
        for (unsigned i = 0; i < READINGS; i++) last = pauses_add(p, last);
        if (last - begin < least) least = last - begin;
    }
    free(p);
    return (double)least / READINGS;
}

/* Of n threads: percentiles over the operations of all, the utilisation of the one that had the
 * least. What is in `all` beside all[0] stays as it is. */
static inline void pauses_show(pauses *const *all, unsigned n)
{
    static const unsigned windows_ms[] = { 1, 10, 100 };
    pauses *p = all[0];
    for (unsigned w = 0; w < 3; w++) {
        double least = 100;
        for (unsigned i = 0; i < n; i++) {
            double mmu = pauses_mmu(all[i], windows_ms[w] * (uint64_t)1000000);
            if (mmu < least) least = mmu;
        }
        printf("mmu%u %.3f\n", windows_ms[w], least);
    }
    for (unsigned i = 1; i < n; i++) {
        for (unsigned b = 0; b < BUCKETS; b++) p->counts[b] += all[i]->counts[b];
        p->over += all[i]->over;
        if (all[i]->most > p->most) p->most = all[i]->most;
    }
    printf("worst %.3f\np9999 %.3f\np999 %.3f\np50 %llu\nover %llu\nclock %.1f\n",
           (double)p->most / 1e3, (double)pauses_at(p, 0.9999) / 1e3,
           (double)pauses_at(p, 0.999) / 1e3, (unsigned long long)pauses_at(p, 0.5),
           (unsigned long long)p->over, pauses_cost());
}

/* ---- the collector's own account ---- */

/* stops_begin; what is measured; stops_end. Then stops_show: the cycles in between, and the longest
 * stop of them. */
static struct {
    uint64_t cycles, most_ns; /* cycles: before stops_end, as many as there were at the begin */
    bool known;
} stops;

#if defined(MEM_OAKUM)

static FILE *stops_log; /* a line a cycle */

static inline void stops_begin(void)
{
    oak_memstats s;
    oak_memstats_read(&s);
    stops.cycles = s.num_gc;
    stops_log = tmpfile();
    if (stops_log) (void)oak_gclog_start_fd(fileno(stops_log));
}

static inline void stops_end(void)
{
    static const char member[] = "\"longest_stop_ns\":";
    char line[4096];
    oak_memstats s;
    oak_memstats_read(&s);
    stops.cycles = s.num_gc - stops.cycles;
    stops.known = true;
    (void)oak_gclog_stop();
    if (stops_log) rewind(stops_log);
    while (stops_log && fgets(line, sizeof line, stops_log)) {
        const char *at = strstr(line, member);
        uint64_t ns = at ? strtoull(at + sizeof member - 1, NULL, 10) : 0;
        if (ns > stops.most_ns) stops.most_ns = ns;
    }
}

#elif defined(MEM_BOEHM)

/* Under the collector's lock. */
static inline void stops_event(GC_EventType event)
{
    static uint64_t since;
    if (event == GC_EVENT_PRE_STOP_WORLD) since = bench_now_ns();
    if (event != GC_EVENT_POST_START_WORLD) return;
    uint64_t ns = bench_now_ns() - since;
    if (ns > stops.most_ns) stops.most_ns = ns;
}

static inline void stops_begin(void)
{
    GC_set_on_collection_event(stops_event);
    stops.cycles = GC_get_gc_no();
    stops.most_ns = 0;
}

static inline void stops_end(void)
{
    GC_set_on_collection_event(NULL);
    stops.cycles = GC_get_gc_no() - stops.cycles;
    stops.known = true;
}

#else

#define stops_begin() ((void)0)
#define stops_end() ((void)0)

#endif

static inline void stops_show(void)
{
    if (stops.known) printf("cycles %llu\n", (unsigned long long)stops.cycles);
    if (stops.most_ns) printf("stop %.3f\n", (double)stops.most_ns / 1e3);
}

/* MEM_INIT, and with -DBOEHM_INCREMENTAL Boehm's mode in which it stops more often and shorter. */
static inline void pause_init(void)
{
    MEM_INIT();
#ifdef BOEHM_INCREMENTAL
    GC_enable_incremental();
    if (!GC_is_incremental_mode()) {
        fputs("this libgc has no incremental mode\n", stderr);
        exit(1);
    }
#endif
}

#endif

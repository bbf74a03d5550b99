/* gc-thrash.c - a collector that runs all the time, and how one can tell.
 *
 * What leaks: nothing; memory is short, or the heap may grow too little between two collections.
 * Why:        each collection marks all that lives, however little it frees. With a limit below
 *             what lives no collection ever helps; then the collector must leave the program its
 *             half of the time.
 * Seen by:    the share of time in collection, and the bytes freed a cycle: less than a tenth of
 *             the heap in three cycles running. Two rules of thumb that are often told fail:
 *             "heap_inuse above 80 % of next_gc" holds in a healthy process most of the time, and
 *             "next_gc below heap_alloc" only under a limit that can't be met. */
#include "scenario.h"

#include <time.h>

#define NODE ((size_t)1024)
#define LIVE ((size_t)64 << 20)
#define GARBAGE ((size_t)128 << 20)
#define SAMPLES 128
#define ROUNDS 3 /* the fastest counts */
#define MIB ((size_t)1 << 20)

typedef struct node {
    struct node *next;
    char body[NODE - sizeof(struct node *)];
} node;

static node *list;
static oak_type *node_type;

static __attribute__((noinline)) node *node_new(void)
{
    return scn_must(oak_alloc_typed(node_type, 1));
}

static void fill(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < LIVE / NODE; i++) {
        node *n = node_new();

        n->next = list;
        list = n;
    }
}

typedef struct outcome {
    double ms, cycles;
    double cpu_us;         /* of all of the process */
    double share;          /* of that in collection, percent */
    double bounded;        /* under a limit: bounded_share */
    double freed;          /* a cycle, in percent of the heap */
    double goal_below;     /* samples with next_gc < heap_alloc */
    double inuse_above_80; /* samples with heap_inuse > 80 % of next_gc */
} outcome;

/* The collector's part of the time since it started is told of all processors. */
static double started_us, processors;

static void read_start(void)
{
    scn_log_collection();
    started_us = (scn_log_figure("begin_ns") - scn_log_figure("since_start_ns")) / 1e3;
    processors = scn_log_figure("processors");
}

/* Clocks: on the wall; of the process, which other processes can't lengthen; of the collector's
 * part of that, in stops and beside the program. */
typedef struct moment {
    double us, cpu_us, gc_us, cycles;
} moment;

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static moment now(void)
{
    static oak_memstats st;
    double us;

    oak_memstats_read(&st);
    us = scn_wall_us();
    return (moment){ us, cpu_us(), st.gc_cpu_fraction * (us - started_us) * processors, st.num_gc };
}

/* What one collection of the list takes, the sweep included. */
static double collection_us(void)
{
    double best = 1e12;

    for (int i = 0; i < ROUNDS; i++) {
        double began = cpu_us(), us;

        oak_collect();
        us = cpu_us() - began;
        if (us < best) best = us;
    }
    return best;
}

static size_t times = 1; /* as much garbage; samples are of the first time */

static void allocate_garbage(void *arg)
{
    outcome *o = arg;
    static oak_memstats st;

    for (size_t i = 0; i < times * (GARBAGE / NODE); i++) {
        scn_keep(node_new());
        if (i % (GARBAGE / NODE / SAMPLES) != 0 || i >= GARBAGE / NODE) continue;
        oak_memstats_read(&st);
        o->goal_below += st.next_gc < st.heap_alloc;
        o->inuse_above_80 += (double)st.heap_inuse > 0.8 * (double)st.next_gc;
    }
}

static double freed_percent(double each)
{
    return each / ((double)LIVE + each) * 100;
}

static moment asked; /* what collections that were asked for took, and their number */

static outcome run_once(void)
{
    outcome o = { 0 };
    moment from = now(), to;

    asked.gc_us -= from.gc_us;
    oak_collect();
    from = now();
    asked.gc_us += from.gc_us;
    asked.cycles++;
    scn_on_thread(allocate_garbage, &o);
    to = now();
    o.ms = (to.us - from.us) / 1e3;
    o.cycles = to.cycles - from.cycles;
    o.cpu_us = to.cpu_us - from.cpu_us;
    o.share = (to.gc_us - from.gc_us) / o.cpu_us * 100;
    o.freed =
        o.cycles != 0 ? freed_percent((double)(times * GARBAGE) / o.cycles) : 0;
    return o;
}

/* That used the processor least. */
static outcome fastest(void)
{
    outcome best = run_once();

    for (int i = 1; i < ROUNDS; i++) {
        outcome o = run_once();

        if (o.cpu_us < best.cpu_us) best = o;
    }
    return best;
}

static void figures(scn *s, const outcome *o)
{
    scn_retained(s, o->cycles, SCN_COUNT);
    scn_figure(s, "milliseconds", o->ms, SCN_MEASURE);
    scn_figure(s, "of processor time", o->cpu_us / 1e3, SCN_MEASURE);
    scn_figure(s, "samples with next_gc < heap_alloc", o->goal_below, SCN_COUNT);
    scn_figure(s, "samples with heap_inuse > 80 % of next_gc", o->inuse_above_80, SCN_COUNT);
    scn_pointed(s,
                "%.0f %% of the time in collection, each freed %.0f %% of the heap; of 128 "
                "samples %.0f with next_gc < heap_alloc, %.0f with heap_inuse > 80 %% of next_gc",
                o->share, o->freed, o->goal_below, o->inuse_above_80);
}

/* A row, with the detector begun anew. */
static outcome at_percent(scn *s, const char *what, const char *go, int percent)
{
    int old = oak_set_gc_percent(percent);
    outcome o;

    scn_row(s, "%s: collections", what);
    scn_go(s, go);
    scn_detector_begin(NULL);
    o = fastest();
    scn_detector_look();
    oak_set_gc_percent(old);
    figures(s, &o);
    return o;
}

/* Percent of the time since then that was in collections that nobody asked for, but for one of
 * them, which the next wait is for: what a limit that can't be met bounds. From when the limit was
 * set on, as the program saves up what it does not use of its half. */
static double bounded_share(moment then)
{
    moment to = now();
    double cycles = to.cycles - then.cycles - asked.cycles;
    double gc_us = to.gc_us - then.gc_us - asked.gc_us;

    if (cycles <= 0) return 0;
    return gc_us * (cycles - 1) / cycles / (to.cpu_us - then.cpu_us - asked.gc_us) * 100;
}

/* Percent stays at 100: the limit alone makes it collect. So many tries, until the detector finds
 * thrash. */
static outcome at_limit(scn *s, const char *what, const char *go, size_t bytes, int tries)
{
    moment set;
    size_t old;
    outcome o;

    oak_scavenge();
    scn_row(s, "%s: collections", what);
    scn_go(s, go);
    scn_detector_begin(NULL);
    old = oak_set_memory_limit(bytes);
    set = now();
    asked = (moment){ 0 };
    do {
        o = run_once();
        scn_detector_look();
    } while (--tries > 0 && !scn_detector_finds(OAK_FINDING_THRASH, NULL));
    o.bounded = bounded_share(set);
    oak_set_memory_limit(old);
    figures(s, &o);
    return o;
}

SCN_FIND(find_list, list->next->next)

static void run(scn *s)
{
    static const uint64_t first_word[NODE / 8 / 64] = { 1 };
    double start = scn_live(), live, one;
    outcome at_100, at_25, at_5, tight, short_of;

    node_type = scn_must(oak_type_bitmap("node", NODE, first_word));
    scn_on_thread(fill, NULL);
    live = scn_live() - start;
    oak_scavenge();
    read_start();
    one = collection_us();

    at_100 = at_percent(s, "128 MiB of garbage beside 64 MiB, gc_percent 100", "1 to 2", 100);
    scn_expect(s, "collections", at_100.cycles, 0, 3);
    scn_expect_bytes(s, "live", live, (double)LIVE, 5);
    scn_expect_quiet(s);
    scn_expect_site(s, "node_new");
    scn_expect_path(s, find_list, OAK_ROOT_GLOBAL, "list", "node");

    at_25 = at_percent(s, "the same, gc_percent 25", "7", 25);
    scn_expect(s, "collections", at_25.cycles, at_100.cycles, 12);
    /* a rule of thumb that fires in health */
    scn_expect(s, "samples with heap_inuse > 80 % of next_gc", at_25.inuse_above_80, SAMPLES / 2,
               SAMPLES);
    scn_expect_quiet(s);

    at_5 = at_percent(s, "the same, gc_percent 5", "39", 5);
    scn_expect_found(s, OAK_FINDING_THRASH, NULL);
    scn_expect(s, "collections", at_5.cycles, 30, 50);
    scn_figure(s, "time, of that at 100", at_5.ms / at_100.ms, SCN_RATIO);
    scn_figure(s, "a collection that is asked for, in us", one, SCN_COUNT);
    scn_expect(s, "time that a collection adds, of one that is asked for",
               (at_5.cpu_us - at_100.cpu_us) / (at_5.cycles - at_100.cycles) / one, 0, 4);

    tight = at_limit(s, "the same, a memory limit of 16 MiB more than lives", "127 to 208",
                     LIVE + 16 * MIB, 1);
    scn_expect_true(s, "the program ran on", tight.ms > 0);
    scn_figure(s, "the detector finds thrash, which depends on the machine",
               scn_detector_finds(OAK_FINDING_THRASH, NULL), SCN_COUNT);

    times = 3; /* a handful of collections are no row of three of a kind for certain */
    short_of = at_limit(s, "the same, a memory limit of 4 MiB less than lives", "72 to 81",
                        LIVE - 4 * MIB, 4);
    scn_figure(s, "bytes of garbage", (double)(times * GARBAGE), SCN_BYTES);
    scn_expect(s, "percent of the time in collections but one", short_of.bounded, 0, 50);
    scn_expect_found(s, OAK_FINDING_THRASH, NULL);
    list = NULL;
    scn_expect_none(s, "retained after the list is dropped", scn_live() - start);
}

const scn_scenario scn_gc_thrash = {
    .id = "gc-thrash",
    .class = 'G',
    .source = "A2 2.4",
    .leak = "a heap that may hardly grow is collected all the time",
    .maps = false,
    .alone = true,
    .run = run,
};

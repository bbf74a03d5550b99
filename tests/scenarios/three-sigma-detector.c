/* three-sigma-detector.c - alarms when a figure is above mean plus three times its deviation.
 *
 * What leaks: 64 KiB a sample, in one of the programs.
 * Why:        it is said that a window of 30 samples with mu + 3 sigma finds leaks. It finds steps:
 *             memory that came from the system in one piece, a large object that was gone a moment
 *             later. A leak is a ramp, and the newest point of a ramp is 1.79 sigma above the mean
 *             of the 30 before it, whatever its slope: the alarm never comes.
 * Seen by:    what lives after collections: it rises with every one in the program that leaks, and
 *             stands still in the others. */
#include "scenario.h"

#include <math.h>

#define SAMPLES 300
#define WINDOW 30
#define EVERY 10 /* samples between two collections */
#define INTERVALS (SAMPLES / EVERY - 1)
#define LEAK ((size_t)64 << 10)
#define TEMPORARY ((size_t)64 << 20)
#define CHURN 1024 /* objects of 1 KiB that a sample allocates and drops */
#define RISE 4096.0

typedef struct program {
    bool leaks, temporary;
    bool collects; /* before every 10th sample */
} program;

typedef struct trace {
    double sys[SAMPLES], heap_alloc[SAMPLES], live[SAMPLES / EVERY];
} trace;

static void **leaked; /* a list: the first word is the next */
static trace seen;

static __attribute__((noinline)) void leak_some(void)
{
    void **piece = scn_must(oak_alloc(LEAK));

    piece[0] = leaked;
    leaked = piece;
}

static __attribute__((noinline)) void work(const program *p, int sample)
{
    for (int i = 0; i < CHURN; i++) scn_keep(scn_must(oak_alloc_noscan(1024)));
    if (p->leaks) leak_some();
    if (p->temporary && sample == SAMPLES / 2) scn_keep(scn_must(oak_alloc_noscan(TEMPORARY)));
}

static void run_program(void *arg)
{
    const program *p = arg;
    static oak_memstats st;

    for (int i = 0; i < SAMPLES; i++) {
        work(p, i);
        if (p->collects && i % EVERY == EVERY - 1) {
            scn_clear_stack();
            oak_collect();
            oak_collect();
            scn_detector_look();
        }
        oak_memstats_read(&st);
        seen.sys[i] = (double)st.sys;
        seen.heap_alloc[i] = (double)st.heap_alloc;
        if (i % EVERY == EVERY - 1) seen.live[i / EVERY] = (double)st.heap_alloc;
    }
}

/* How far a sample is above the mean of those in the window before it, in deviations. */
static double sigmas(const double *x)
{
    double mean = 0, variance = 0;

    for (int i = 1; i <= WINDOW; i++) mean += x[-i] / WINDOW;
    for (int i = 1; i <= WINDOW; i++) variance += (x[-i] - mean) * (x[-i] - mean) / WINDOW;
    if (variance == 0) return *x > mean ? (double)INFINITY : 0;
    return (*x - mean) / sqrt(variance);
}

static unsigned alarms(const double *x)
{
    unsigned n = 0;

    for (int i = WINDOW; i < SAMPLES; i++) n += sigmas(&x[i]) > 3;
    return n;
}

static unsigned rises(void)
{
    unsigned n = 0;

    for (int i = 0; i < INTERVALS; i++) n += seen.live[i + 1] - seen.live[i] > RISE;
    return n;
}

/* ---- what the rule of three sigma says ---- */

static void alarm_row(scn *s, const char *what, const char *go, bool leaks, bool temporary)
{
    program p = { leaks, temporary, false };
    double start = scn_live();

    scn_row(s, "%s: alarms of sys", what);
    scn_on_thread(run_program, &p);
    scn_retained(s, alarms(seen.sys), SCN_COUNT);
    scn_go(s, go);
    scn_figure(s, "alarms of heap_alloc", alarms(seen.heap_alloc), SCN_COUNT);
    scn_pointed(s, "sys > mu + 3 sigma %u times, heap_alloc %u times", alarms(seen.sys),
                alarms(seen.heap_alloc));
    scn_expect(s, "alarms of either, by steps", fmax(alarms(seen.sys), alarms(seen.heap_alloc)), 1,
               SAMPLES);
    leaked = NULL;
    scn_expect_none(s, "retained when dropped", scn_live() - start);
}

static void ramp_row(scn *s)
{
    static double ramp[SAMPLES];

    scn_row(s, "a pure ramp: alarms");
    for (int i = 0; i < SAMPLES; i++) ramp[i] = (double)LEAK * i;
    scn_retained(s, alarms(ramp), SCN_COUNT);
    scn_go(s, "0");
    scn_pointed(s, "the newest point is %.2f sigma above the mean", sigmas(&ramp[WINDOW]));
    scn_expect(s, "alarms", alarms(ramp), 0, 0);
    scn_expect_ratio(s, "sigmas of the newest point", sigmas(&ramp[WINDOW]), 1.79, 0.5);
}

/* ---- what live bytes after collections say ---- */

static void slope_row(scn *s, const char *what, const char *go, bool leaks, bool temporary)
{
    program p = { leaks, temporary, true };
    double start = scn_live(), live;

    scn_row(s, "%s: live bytes rose, of 29 times", what);
    scn_detector_begin(NULL);
    scn_on_thread(run_program, &p);
    live = scn_live() - start;
    scn_retained(s, rises(), SCN_COUNT);
    if (go != NULL) scn_go(s, go);
    scn_pointed(s, "live after collections: %s B at first, %s B at last",
                scn_thousands(seen.live[0] - start), scn_thousands(seen.live[INTERVALS] - start));
    if (leaks) {
        scn_expect(s, "rises", rises(), INTERVALS, INTERVALS);
        scn_expect_bytes(s, "live at the end", live, (double)LEAK * SAMPLES, 5);
        scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
        scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "leak_some");
        scn_expect_site(s, "leak_some");
    } else {
        scn_expect(s, "rises", rises(), 0, 2);
        scn_expect_none(s, "live at the end", live);
        scn_expect_quiet(s);
    }
    leaked = NULL;
    scn_expect_none(s, "retained when dropped", scn_live() - start);
}

static void run(scn *s)
{
    alarm_row(s, "300 samples, a leak of 64 KiB each", "9 to 12", true, false);
    ramp_row(s);
    alarm_row(s, "no leak, one object of 64 MiB for a moment", "3 to 4", false, true);
    slope_row(s, "the leak", "29", true, false);
    slope_row(s, "the leak, and one object of 64 MiB for a moment", NULL, true, true);
    slope_row(s, "no leak", "1", false, false);
    slope_row(s, "no leak, one object of 64 MiB for a moment", "1", false, true);
}

const scn_scenario scn_three_sigma_detector = {
    .id = "three-sigma-detector",
    .class = 'N',
    .source = "A2 4.2",
    .leak = "mean plus three sigma finds steps, not leaks",
    .maps = false,
    .run = run,
};

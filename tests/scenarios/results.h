/* results.h - what scenarios reported, as the parent holds it and as it crosses the pipe.
 *
 * Owns: struct scn_result, a row of the table. Plain data of fixed size, so that a child writes
 *       it as it is: both ends are the same program. Text that doesn't fit is cut. */
#ifndef SCN_RESULTS_H
#define SCN_RESULTS_H

#include "scenario.h"

#define SCN_FIGURES 12
#define SCN_EXPECTATIONS 20

typedef struct scn_named_figure {
    char name[56];
    double value;
    scn_unit unit;
} scn_named_figure;

typedef struct scn_expectation {
    char name[72];
    double seen, low, high;
    bool yes_or_no; /* seen is 1 or 0, and should be 1 */
    bool ok;
} scn_expectation;

typedef struct scn_result {
    const scn_scenario *scenario;
    const scn_map_policy *policy;
    char what[112];
    char go[64];
    char pointed[320];
    char skipped[96];  /* why the row could not run; empty: it did */
    char failure[192]; /* crash, time limit, early end; empty: none */
    bool has_retained;
    double retained;
    scn_unit unit;
    unsigned figure_count, expectation_count;
    scn_named_figure figures[SCN_FIGURES];
    scn_expectation expectations[SCN_EXPECTATIONS];
} scn_result;

/* Whether the row passes: it ran to its end, expected something, and all of that held; or it was
 * skipped. */
bool scn_result_ok(const scn_result *r);

/* All rows of a run, in the order in which they came. */
typedef struct scn_results {
    scn_result *rows;
    size_t count, room;
} scn_results;

/* The new row, zeroed. Never NULL: out of memory ends the program. */
scn_result *scn_results_add(scn_results *all);
void scn_results_free(scn_results *all);

/* ---- the live heap over time ---- */

typedef struct scn_sample {
    double ms;    /* since the scenario began */
    double bytes; /* live, after two collections */
} scn_sample;

#define SCN_SAMPLES 1024 /* the first ones; more are left out */

typedef struct scn_series {
    const scn_scenario *scenario;
    const scn_map_policy *policy;
    size_t count;
    scn_sample *samples;
} scn_series;

void scn_series_free(scn_series *series);

/* ---- runs: any number at once ---- */

#define SCN_RUNS_MOST 16

/* A scenario on a policy, in a child process. */
typedef struct scn_run scn_run;

/* Never NULL: when no child can be had, the program ends. Rows and samples go to all and series as
 * they come; both must stay until the run has been ended. */
scn_run *scn_run_start(const scn_scenario *scenario, const scn_map_policy *policy,
                       unsigned limit_s, scn_results *all, scn_series *series);

/* Wait until one of the runs is over, and return its index. `tick`, if not NULL, is called some
 * times a second meanwhile. */
size_t scn_run_wait(scn_run *const *runs, size_t count, void (*tick)(void *ctx), void *ctx);

/* What it came to has been added: at least one row, a crash, an early end or the time limit as a
 * failing one. Returns the seconds it took; the run is gone. */
double scn_run_end(scn_run *run);

/* "11,522,088", "97.0 %", "2.74 x". */
void scn_format(char *out, size_t n, double value, scn_unit unit);

/* ---- the pipe (report.c writes, runner.c reads) ---- */

typedef enum scn_message_kind {
    SCN_MESSAGE_BEGIN,  /* a row has begun: a row of which only `what` counts */
    SCN_MESSAGE_ROW,    /* a row is complete */
    SCN_MESSAGE_FATAL,  /* the child is about to die: a row, for its `failure` */
    SCN_MESSAGE_SAMPLE, /* a sample */
    SCN_MESSAGE_DONE    /* the body has returned: nothing */
} scn_message_kind;

/* Before each message: what follows. */
typedef struct scn_message_head {
    scn_message_kind kind;
    uint32_t size;
} scn_message_head;

/* Of the detector, in the child: add to the row under way whether there were false alarms since the
 * row before; and look at what is left at the end. (detect.c) */
void scn_detector_judge(scn *s);
void scn_detector_end(scn *s);

/* The child's side: run the body, write what it reports to fd, and exit. */
OAK_NORETURN void scn_child(const scn_scenario *scenario, const scn_map_policy *policy, int fd);

#endif

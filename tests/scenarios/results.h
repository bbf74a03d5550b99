/* results.h - what scenarios reported, as the parent holds it and as it crosses the pipe.
 *
 * Owns: struct scn_result, a row of the table. Plain data of fixed size, so that a child writes
 *       it as it is: both ends are the same program. Text that doesn't fit is cut. */
#ifndef SCN_RESULTS_H
#define SCN_RESULTS_H

#include "scenario.h"

#define SCN_FIGURES 12
#define SCN_EXPECTATIONS 16

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

/* Run one scenario on one policy in a child process, and append its rows: at least one. A crash,
 * an early end or the time limit is a failing row. Returns the seconds it took. */
double scn_run(const scn_scenario *scenario, const scn_map_policy *policy, unsigned limit_s,
               scn_results *all);

/* "11,522,088", "97.0 %", "2.74 x". */
void scn_format(char *out, size_t n, double value, scn_unit unit);

/* ---- the pipe (report.c writes, runner.c reads) ---- */

typedef enum scn_message_kind {
    SCN_MESSAGE_BEGIN, /* a row has begun: only `what` counts */
    SCN_MESSAGE_ROW,   /* a row is complete */
    SCN_MESSAGE_FATAL, /* the child is about to die: `failure` */
    SCN_MESSAGE_DONE   /* the body has returned */
} scn_message_kind;

typedef struct scn_message {
    scn_message_kind kind;
    scn_result row;
} scn_message;

/* The child's side: run the body, write what it reports to fd, and exit. */
OAK_NORETURN void scn_child(const scn_scenario *scenario, const scn_map_policy *policy, int fd);

#endif

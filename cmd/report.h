/* report.h - running scenarios, and the forms in which `oakum leaks` shows what they came to: a
 * table, JSON, and a page. */
#ifndef CMD_REPORT_H
#define CMD_REPORT_H

#include "tests/scenarios/results.h"

#define CMD_GO_VERSION \
    "1.19.8" /* whose figures stand beside ours: constants of docs/scenarios.md */

#define CMD_POLICIES_MOST 4

/* What a scenario came to. */
typedef struct cmd_outcome {
    const scn_scenario *scenario;
    scn_results rows; /* of all policies */
    scn_series series[CMD_POLICIES_MOST];
    double seconds;
    bool started, finished, repeated;
} cmd_outcome;

/* ---- running (schedule.c) ---- */

typedef struct cmd_schedule {
    cmd_outcome *outcomes; /* scenario set, the rest 0 */
    size_t count;
    unsigned jobs, limit_s; /* scenarios at once; seconds for each policy */
    const char *new_line;   /* before a line on stderr: "" or what clears one that stands there */
    void (*finished)(cmd_outcome *o, void *ctx);
    void (*tick)(void *ctx); /* some times a second; or NULL */
    void *ctx;
} cmd_schedule;

/* Returns when all are finished. */
void cmd_schedule_run(const cmd_schedule *plan);

/* ---- what all came to ---- */

typedef struct cmd_tally {
    size_t scenarios, failed_scenarios, repeated_scenarios;
    size_t rows, failed_rows, skipped_rows;
    double seconds;
} cmd_tally;

/* ---- table (table.c) ---- */

typedef struct cmd_table {
    FILE *out;
    bool color, verbose;
    unsigned columns;
} cmd_table;

/* The header; then each scenario's rows, `count` of them, all policies; then the footer. */
void cmd_table_begin(const cmd_table *t);
void cmd_table_scenario(const cmd_table *t, const scn_result *rows, size_t count);
void cmd_table_end(const cmd_table *t, const cmd_tally *tally);

/* "123,456" for large numbers, four digits otherwise. */
void cmd_number(char *out, size_t n, double value);

/* "three: 3, expected 0 to 1" */
void cmd_expectation(char *out, size_t n, const scn_expectation *e);

/* Rows of a scenario, as rows of the table: the same was done, on different policies. Calls fn with
 * each; NULL stands for a policy without it. */
void cmd_table_rows(const scn_result *rows, size_t count,
                    void (*fn)(const scn_result *const *by_policy, void *ctx), void *ctx);

/* ---- JSON (json.c) ---- */

/* One object: versions, what the run came to, its rows, and the live heap over time. */
void cmd_json_results(FILE *out, const cmd_outcome *outcomes, size_t count,
                      const cmd_tally *tally);

/* One object that lists the scenarios. */
void cmd_json_list(FILE *out, const scn_scenario *const *scenarios);

/* ---- a page (html.c) ---- */

void cmd_html_page(FILE *out, const cmd_outcome *outcomes, size_t count, const cmd_tally *tally);

#endif

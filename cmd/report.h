/* report.h - running leak scenarios, and the results of `oakum leaks` as a table, as JSON, and as a
 * page. */
#ifndef CMD_REPORT_H
#define CMD_REPORT_H

#include "tests/scenarios/results.h"

#define CMD_GO_VERSION \
    "1.19.8" /* the source of Go's figures, which are constants of docs/scenarios.md */

#define CMD_POLICIES_MOST 4

/* The outcome of a scenario. */
typedef struct cmd_outcome {
    const scn_scenario *scenario;
    scn_results rows; /* for all policies */
    scn_series series[CMD_POLICIES_MOST];
    double seconds;
    bool started, finished, repeated;
} cmd_outcome;

/* ---- running (schedule.c) ---- */

typedef struct cmd_schedule {
    cmd_outcome *outcomes; /* in: scenario is set, the rest is 0 */
    size_t count;
    unsigned jobs, limit_s; /* scenarios at a time; seconds for each policy */
    const char *new_line;   /* printed before each line on stderr: "", or codes to clear a line */
    void (*finished)(cmd_outcome *o, void *ctx);
    void (*tick)(void *ctx); /* called some times a second; or NULL */
    void *ctx;
} cmd_schedule;

/* Run all scenarios of a plan. Returns when all are finished. */
void cmd_schedule_run(const cmd_schedule *plan);

/* The outcome of all scenarios. */
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

/* Print the header, the `count` rows of each scenario for all policies, and the footer. */
void cmd_table_begin(const cmd_table *t);
void cmd_table_scenario(const cmd_table *t, const scn_result *rows, size_t count);
void cmd_table_end(const cmd_table *t, const cmd_tally *tally);

/* Format a number: "123,456" from 10,000 on, otherwise with four digits. */
void cmd_number(char *out, size_t n, double value);

/* Format an expectation: "three: 3, expected 0 to 1". */
void cmd_expectation(char *out, size_t n, const scn_expectation *e);

/* Group the rows of a scenario into rows of the table, each with the same step under all policies.
 * Calls fn for each group; a policy that lacks the step is NULL. */
void cmd_table_rows(const scn_result *rows, size_t count,
                    void (*fn)(const scn_result *const *by_policy, void *ctx), void *ctx);

/* ---- JSON (json.c) ---- */

/* Print one object: the versions, the tally, the rows, and the live heap over time. */
void cmd_json_results(FILE *out, const cmd_outcome *outcomes, size_t count,
                      const cmd_tally *tally);

/* Print one object with the list of scenarios. */
void cmd_json_list(FILE *out, const scn_scenario *const *scenarios);

/* ---- a page (html.c) ---- */

/* Print the results as an HTML page. */
void cmd_html_page(FILE *out, const cmd_outcome *outcomes, size_t count, const cmd_tally *tally);

#endif

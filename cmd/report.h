/* report.h - the two forms in which `oakum leaks` shows rows: a table and JSON. */
#ifndef CMD_REPORT_H
#define CMD_REPORT_H

#include "tests/scenarios/results.h"

#define CMD_GO_VERSION \
    "1.19.8" /* whose figures stand beside ours: constants of docs/scenarios.md */

/* What a run came to. */
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

/* ---- JSON (json.c) ---- */

/* One object: versions, what the run came to, and its rows. */
void cmd_json_results(FILE *out, const scn_results *all, const cmd_tally *tally);

/* One object that lists the scenarios. */
void cmd_json_list(FILE *out, const scn_scenario *const *scenarios);

#endif

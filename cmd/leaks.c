/* leaks.c - `oakum leaks`: runs the leak scenarios and shows what they retain.
 *
 * Scenarios run one after the other, so that none disturbs another's figures. Rows go to stdout,
 * the table's as they come; progress goes to stderr, so that what is piped holds rows only. */
#include "cmd.h"

#include "report.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_DEFAULT 120
#define LIMIT_MOST 86400

enum { OPTION_JSON, OPTION_LIST, OPTION_VERBOSE, OPTION_COLOR, OPTION_TIMEOUT, OPTION_HELP };

static const cmd_option options[] = {
    [OPTION_JSON] = { "json", 0, NULL, "print one JSON object instead of the table" },
    [OPTION_LIST] = { "list", 'l', NULL, "list the scenarios, run none" },
    [OPTION_VERBOSE] = { "verbose", 'v', NULL,
                         "show all that each row expects, and its further figures" },
    [OPTION_COLOR] = { "color", 0, "WHEN", "auto (the default), always or never" },
    [OPTION_TIMEOUT] = { "timeout", 0, "SECONDS",
                         "end a scenario that takes longer: it fails (120)" },
    [OPTION_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

typedef struct request {
    bool json, list, verbose, help;
    cmd_color color;
    unsigned limit_s;
    const scn_scenario **chosen; /* NULL ends them */
    size_t count;
} request;

/* ---- the command line ---- */

static const char *scenario_id(size_t i, const void *ctx)
{
    const scn_scenario *s = ((const scn_scenario *const *)ctx)[i];

    return s != NULL ? s->id : NULL;
}

static size_t scenario_count(void)
{
    size_t n = 0;

    while (scn_scenarios[n] != NULL) n++;
    return n;
}

/* A scenario that is named twice runs once. */
static bool choose(request *r, const char *name)
{
    for (size_t i = 0; scn_scenarios[i] != NULL; i++) {
        if (strcmp(scn_scenarios[i]->id, name) != 0) continue;
        for (size_t j = 0; j < r->count; j++)
            if (r->chosen[j] == scn_scenarios[i]) return true;
        r->chosen[r->count++] = scn_scenarios[i];
        return true;
    }
    cmd_tell_unknown("oakum leaks", "scenario", name, scenario_id, scn_scenarios);
    return false;
}

static bool parse_limit(const char *text, unsigned *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n < 1 || n > LIMIT_MOST) {
        fprintf(stderr, "oakum leaks: --timeout takes seconds from 1 to %d, not '%s'\n", LIMIT_MOST,
                text);
        return false;
    }
    *out = (unsigned)n;
    return true;
}

static bool take_option(request *r, int option, const char *value)
{
    switch (option) {
    case OPTION_JSON:
        r->json = true;
        return true;
    case OPTION_LIST:
        r->list = true;
        return true;
    case OPTION_VERBOSE:
        r->verbose = true;
        return true;
    case OPTION_COLOR:
        if (cmd_color_parse(value, &r->color)) return true;
        fprintf(stderr, "oakum leaks: --color takes auto, always or never, not '%s'\n", value);
        return false;
    case OPTION_TIMEOUT:
        return parse_limit(value, &r->limit_s);
    case OPTION_HELP:
        r->help = true;
        return true;
    default:
        return false;
    }
}

static bool parse(request *r, int argc, char **argv)
{
    cmd_args args = { "oakum leaks", options, argc, 1, argv, false };
    const char *text;

    for (;;) {
        int what = cmd_args_next(&args, &text);

        if (what == CMD_ARG_END) break;
        if (what == CMD_ARG_BAD || (what == CMD_ARG_NAME && !choose(r, text)) ||
            (what >= 0 && !take_option(r, what, text)))
            return false;
    }
    if (r->count == 0)
        for (; scn_scenarios[r->count] != NULL; r->count++)
            r->chosen[r->count] = scn_scenarios[r->count];
    return true;
}

static void help(void)
{
    fputs("usage: oakum leaks [OPTION...] [NAME...]\n"
          "Run the leak scenarios, or those named, and show what each retains after two full "
          "collections,\n"
          "what Go 1.19 retains, and what pointed at it.\n\n",
          stdout);
    cmd_options_print(options);
    fputs("\nExit status: 0 when all is as expected, 1 when a scenario is not, 2 for a wrong "
          "command line.\n",
          stdout);
}

static void list(const request *r)
{
    if (r->json) {
        cmd_json_list(stdout, r->chosen);
        return;
    }
    for (size_t i = 0; i < r->count; i++)
        printf("%-26s %c  %s\n", r->chosen[i]->id, r->chosen[i]->class, r->chosen[i]->leak);
    fputs("\nM: caused by the map's policy; U: by the program; G: collector or allocator; N: not a "
          "leak.\n",
          stdout);
}

/* ---- progress ---- */

/* On a terminal one line that is overwritten; otherwise a line for each scenario when it has
 * ended. */
static void progress_start(const request *r, size_t i)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "[%zu/%zu] %-40s\r", i + 1, r->count, r->chosen[i]->id);
}

static void progress_end(const request *r, size_t i, bool ok, double seconds)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "%-50s\r", "");
    else
        fprintf(stderr, "[%zu/%zu] %s: %s, %.1f s\n", i + 1, r->count, r->chosen[i]->id,
                ok ? "ok" : "FAIL", seconds);
}

/* ---- running ---- */

/* Whether all that is wrong with the rows from `first` on are figures; *missed is the first row. */
static bool only_figures_missed(const scn_results *all, size_t first, const scn_result **missed)
{
    *missed = NULL;
    for (size_t i = first; i < all->count; i++) {
        const scn_result *row = &all->rows[i];

        if (row->failure[0] != '\0') return false;
        if (*missed == NULL && !scn_result_ok(row)) *missed = row;
    }
    return *missed != NULL;
}

/* To a conservative collector one stray word, be it a bucket's hashes, can point to a whole array.
 * So a scenario that misses a figure runs once more, and the second run counts. */
static double run_policies(const request *r, const scn_scenario *s, scn_results *all,
                           bool *repeated)
{
    unsigned policies = s->maps ? scn_policy_count : 1;
    double seconds = 0;

    for (unsigned p = 0; p < policies; p++) {
        const scn_result *missed;
        size_t first = all->count;

        seconds += scn_run(s, scn_policies[p], r->limit_s, all);
        if (!only_figures_missed(all, first, &missed)) continue;
        fprintf(stderr, "%s: not as expected: \"%s\"; once more\n", s->id, missed->what);
        all->count = first;
        seconds += scn_run(s, scn_policies[p], r->limit_s, all);
        *repeated = true;
    }
    return seconds;
}

/* Adds the rows from `first` on. Whether all of them pass. */
static bool count_rows(const scn_results *all, size_t first, cmd_tally *tally)
{
    size_t failed = 0;

    for (size_t i = first; i < all->count; i++) {
        const scn_result *row = &all->rows[i];

        failed += !scn_result_ok(row);
        tally->skipped_rows += row->skipped[0] != '\0' && scn_result_ok(row);
    }
    tally->rows += all->count - first;
    tally->failed_rows += failed;
    tally->failed_scenarios += failed != 0;
    tally->scenarios++;
    return failed == 0;
}

static int run(const request *r)
{
    cmd_table table = { stdout, !r->json && cmd_color_wanted(r->color), r->verbose, cmd_columns() };
    scn_results all = { NULL, 0, 0 };
    cmd_tally tally = { 0 };

    if (!r->json) cmd_table_begin(&table);
    for (size_t i = 0; i < r->count; i++) {
        size_t first = all.count;
        double seconds;
        bool ok, repeated = false;

        progress_start(r, i);
        seconds = run_policies(r, r->chosen[i], &all, &repeated);
        tally.repeated_scenarios += repeated;
        tally.seconds += seconds;
        ok = count_rows(&all, first, &tally);
        progress_end(r, i, ok, seconds);
        if (!r->json) cmd_table_scenario(&table, &all.rows[first], all.count - first);
    }
    if (r->json)
        cmd_json_results(stdout, &all, &tally);
    else
        cmd_table_end(&table, &tally);
    scn_results_free(&all);
    return tally.failed_rows == 0 ? CMD_OK : CMD_FAILED;
}

int cmd_leaks(int argc, char **argv)
{
    request r = { .color = CMD_COLOR_AUTO, .limit_s = LIMIT_DEFAULT };
    int status = CMD_OK;

    r.chosen = calloc(scenario_count() + 1, sizeof(const scn_scenario *));
    if (r.chosen == NULL) {
        fputs("oakum leaks: out of memory\n", stderr);
        return CMD_FAILED;
    }
    if (!parse(&r, argc, argv))
        status = CMD_USAGE;
    else if (r.help)
        help();
    else if (r.list)
        list(&r);
    else
        status = run(&r);
    free(r.chosen);
    return status;
}

/* leaks.c - `oakum leaks`: runs the leak scenarios and shows the memory that they retain.
 *
 * Rows go to stdout. The table prints a row once all rows before it are known. Progress goes to
 * stderr, so a pipe gets rows only. */
#include "cmd.h"

#include "report.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_DEFAULT 120
#define LIMIT_MOST 86400
#define JOBS_MOST 4 /* scenarios at a time, without --jobs */

enum {
    OPTION_JSON,
    OPTION_HTML,
    OPTION_LIST,
    OPTION_VERBOSE,
    OPTION_COLOR,
    OPTION_JOBS,
    OPTION_TIMEOUT,
    OPTION_HELP
};

static const cmd_option options[] = {
    [OPTION_JSON] = { "json", 0, NULL, "print one JSON object instead of the table" },
    [OPTION_HTML] = { "html", 0, "FILE", "write a page with plots to a file, too" },
    [OPTION_LIST] = { "list", 'l', NULL, "list the scenarios, run none" },
    [OPTION_VERBOSE] = { "verbose", 'v', NULL,
                         "show all that each row expects, and its further figures" },
    [OPTION_COLOR] = { "color", 0, "WHEN", "auto (the default), always or never" },
    [OPTION_JOBS] = { "jobs", 0, "N", "run N scenarios at a time (one a processor, 4 at most)" },
    [OPTION_TIMEOUT] = { "timeout", 0, "SECONDS",
                         "end a scenario that takes longer: it fails (120)" },
    [OPTION_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

typedef struct request {
    bool json, list, verbose, help;
    cmd_color color;
    unsigned limit_s, jobs;
    const char *html;            /* a file, or NULL */
    const scn_scenario **chosen; /* with a NULL at the end */
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
    cmd_tell_unknown("oakum leaks", "scenario", "", name, "--list", scenario_id, scn_scenarios);
    return false;
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
        cmd_say(stderr, "oakum leaks: --color takes auto, always or never, not '%s'\n", value);
        return false;
    case OPTION_TIMEOUT:
        return cmd_parse_amount("oakum leaks", "timeout", "seconds", LIMIT_MOST, value,
                                &r->limit_s);
    case OPTION_JOBS:
        return cmd_parse_number("oakum leaks", "jobs", SCN_RUNS_MOST, value, &r->jobs);
    case OPTION_HTML:
        r->html = value;
        if (value[0] != '\0') return true;
        fputs("oakum leaks: --html needs the name of a file, as --html=leaks.html\n", stderr);
        return false;
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
          "Run the leak scenarios, or those named, and show what each retains after two\n"
          "full collections, what Go 1.19 retains, and what pointed at it.\n\n",
          stdout);
    cmd_options_print(options);
    fputs("\nExit status: 0 when all is as expected, 1 when a scenario is not, 2 for a\n"
          "wrong command line.\n",
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

/* ---- running ---- */

typedef struct session {
    const request *request;
    cmd_table table;
    cmd_outcome *outcomes;
    cmd_tally tally;
    size_t shown;  /* number of outcomes that the table has printed */
    bool terminal; /* stderr is a terminal */
} session;

/* Show the running scenarios on a terminal, in one line that is overwritten. Without a terminal,
 * show_finished prints a line for each scenario instead. */
static void show_running(void *ctx)
{
    const session *s = ctx;
    char text[80];
    size_t n = 0;

    for (size_t i = 0; i < s->request->count && n < sizeof(text); i++)
        if (s->outcomes[i].started && !s->outcomes[i].finished)
            n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", s->outcomes[i].scenario->id);
    fprintf(stderr, "\r[%zu/%zu]%-.60s\033[K\r", s->tally.scenarios, s->request->count,
            n != 0 ? text : "");
}

/* Whether all rows pass. */
static bool count_rows(const scn_results *all, cmd_tally *tally)
{
    size_t failed = 0;

    for (size_t i = 0; i < all->count; i++) {
        const scn_result *row = &all->rows[i];

        failed += !scn_result_ok(row);
        tally->skipped_rows += row->skipped[0] != '\0' && scn_result_ok(row);
    }
    tally->rows += all->count;
    tally->failed_rows += failed;
    tally->failed_scenarios += failed != 0;
    tally->scenarios++;
    return failed == 0;
}

/* Scenarios may end in another order than the table's. A scenario is printed once all before it
 * are. */
static void show_finished(cmd_outcome *o, void *ctx)
{
    session *s = ctx;
    bool ok = count_rows(&o->rows, &s->tally);

    s->tally.repeated_scenarios += o->repeated;
    if (s->terminal)
        fputs("\r\033[K", stderr);
    else
        fprintf(stderr, "[%zu/%zu] %s: %s, %.1f s\n", s->tally.scenarios, s->request->count,
                o->scenario->id, ok ? "ok" : "FAIL", o->seconds);
    for (; s->shown < s->request->count && s->outcomes[s->shown].finished; s->shown++)
        if (!s->request->json)
            cmd_table_scenario(&s->table, s->outcomes[s->shown].rows.rows,
                               s->outcomes[s->shown].rows.count);
}

static unsigned default_jobs(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return processors < 1 ? 1 : processors > JOBS_MOST ? JOBS_MOST : (unsigned)processors;
}

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int tell_unwritten(const request *r)
{
    cmd_say(stderr, "oakum leaks: cannot write %s: %s; %s\n", r->html, strerror(errno),
            cmd_remedy(errno));
    return CMD_FAILED;
}

static int report(const request *r, const session *s, cmd_output *page)
{
    int status = s->tally.failed_rows == 0 ? CMD_OK : CMD_FAILED;

    if (r->json)
        cmd_json_results(stdout, s->outcomes, r->count, &s->tally);
    else
        cmd_table_end(&s->table, &s->tally);
    if (r->html == NULL) return status;
    cmd_html_page(page->stream, s->outcomes, r->count, &s->tally);
    return cmd_output_close(page, 0) == 0 ? status : tell_unwritten(r);
}

static int run(const request *r)
{
    session s = {
        .request = r,
        .table = { stdout, !r->json && cmd_color_wanted(r->color), r->verbose, cmd_columns() },
        .outcomes = calloc(r->count, sizeof(cmd_outcome)),
        .terminal = isatty(STDERR_FILENO),
    };
    cmd_schedule plan = {
        .outcomes = s.outcomes,
        .count = r->count,
        .jobs = r->jobs != 0 ? r->jobs : default_jobs(),
        .limit_s = r->limit_s,
        .new_line = s.terminal ? "\r\033[K" : "",
        .finished = show_finished,
        .tick = s.terminal ? show_running : NULL,
        .ctx = &s,
    };
    double began = seconds_now();
    cmd_output page;
    int status;

    if (s.outcomes == NULL) {
        fputs("oakum leaks: out of memory: try fewer scenarios\n", stderr);
        return CMD_FAILED;
    }
    if (r->html != NULL && cmd_output_open(&page, r->html) != 0) {
        status = tell_unwritten(r); /* before the minutes that all scenarios take */
        free(s.outcomes);
        return status;
    }
    for (size_t i = 0; i < r->count; i++) s.outcomes[i].scenario = r->chosen[i];
    if (!r->json) cmd_table_begin(&s.table);
    cmd_schedule_run(&plan);
    s.tally.seconds = seconds_now() - began;
    status = report(r, &s, &page);
    for (size_t i = 0; i < r->count; i++) {
        scn_results_free(&s.outcomes[i].rows);
        for (unsigned p = 0; p < scn_policy_count; p++) scn_series_free(&s.outcomes[i].series[p]);
    }
    free(s.outcomes);
    return status;
}

int cmd_leaks(int argc, char **argv)
{
    request r = { .color = CMD_COLOR_AUTO, .limit_s = LIMIT_DEFAULT };
    int status = CMD_OK;

    r.chosen = calloc(scenario_count() + 1, sizeof(const scn_scenario *));
    if (r.chosen == NULL) {
        fputs("oakum leaks: out of memory: try fewer scenarios\n", stderr);
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

/* table.c - prints rows as a table of text.
 *
 * The table is printed scenario by scenario, so the widths of its columns are fixed at the start. A
 * scenario is a heading line and its rows.
 *
 * A row has these columns: the step ("what was done"), a figure for each map policy, Go's figure,
 * the diagnosis ("what pointed at it"), and ok, FAIL or skip. Long text is wrapped. In a narrow
 * table the diagnosis is below the row. Below a failed row are the expectations that it misses.
 *
 * A scenario that is not about maps has its figure in the column of the first policy. The diagnosis
 * is that of the first policy, too; --verbose shows the others. */
#include "cmd.h"

#include "report.h"
#include <string.h>

#define INDENT 2
#define GAP 2
#define FIGURE 13 /* "1,064,110,456" */
#define GO 15
#define VERDICT 4

#define GREEN "\033[32m"
#define RED "\033[1;31m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

#define TEXTS_LEAST 60 /* columns for step and diagnosis, to be side by side */
#define WHAT_LEAST 20

typedef struct widths {
    unsigned what, pointed;
    bool below; /* the diagnosis is below the row */
} widths;

static widths widths_of(const cmd_table *t)
{
    unsigned fixed = INDENT + scn_policy_count * (FIGURE + GAP) + GO + GAP + VERDICT + GAP;
    unsigned left = t->columns > fixed + WHAT_LEAST ? t->columns - fixed : WHAT_LEAST;

    if (left < TEXTS_LEAST + GAP) return (widths){ left, t->columns - INDENT - GAP - GAP, true };
    left -= GAP;
    return (widths){ left * 9 / 20, left - left * 9 / 20, false };
}

static void put_color(const cmd_table *t, const char *code)
{
    if (t->color) fputs(code, t->out);
}

/* ---- cells ---- */

/* Take a line of at most `width` columns from *text. *line gets its start, and *text moves to its
 * end. Words longer than a line are cut. Returns the line's length. */
static size_t take_line(const char **text, unsigned width, const char **line)
{
    const char *p = *text;
    size_t n, end;

    p += strspn(p, " ");
    *line = p;
    n = strlen(p);
    if (n > width) {
        for (end = width; end > 0 && p[end] != ' '; end--) continue;
        n = end != 0 ? end : width;
    }
    *text = p + n;
    while (n > 0 && p[n - 1] == ' ') n--;
    return n;
}

typedef struct cell {
    const char *text;
    unsigned width;
    bool right;
    const char *color;
} cell;

static void put_spaces(FILE *out, size_t n)
{
    while (n-- != 0) fputc(' ', out);
}

static void put_cell(const cmd_table *t, const char *line, size_t n, const cell *c)
{
    if (c->right) put_spaces(t->out, c->width - n);
    if (n != 0 && c->color != NULL) put_color(t, c->color);
    cmd_say(t->out, "%.*s", (int)n, line);
    if (n != 0 && c->color != NULL) put_color(t, PLAIN);
}

/* Print cells side by side, on as many lines as the longest needs, without blanks at line ends. */
static void put_cells(const cmd_table *t, cell *cells, size_t count)
{
    bool more = true;

    while (more) {
        size_t due = INDENT; /* blanks to print before the next text */

        more = false;
        for (size_t i = 0; i < count; i++) {
            cell *c = &cells[i];
            const char *line;
            size_t n = take_line(&c->text, c->width, &line);

            if (n != 0) {
                put_spaces(t->out, due);
                put_cell(t, line, n, c);
                due = c->right ? 0 : c->width - n;
            } else {
                due += c->width;
            }
            due += GAP;
            more = more || c->text[strspn(c->text, " ")] != '\0';
        }
        fputc('\n', t->out);
    }
}

/* Print a diagnosis below its row. */
static void put_below(const cmd_table *t, const char *text, const char *color)
{
    cell cells[] = { { "", GAP, false, NULL }, { text, widths_of(t).pointed, false, color } };

    if (text[0] != '\0') put_cells(t, cells, 2);
}

/* ---- rows ---- */

#define MOST_CELLS (4 + CMD_POLICIES_MOST)

static void put_row(const cmd_table *t, const scn_result *const *by_policy)
{
    const scn_result *first = NULL;
    char figures[CMD_POLICIES_MOST][40];
    const char *pointed;
    cell cells[MOST_CELLS];
    bool ok = true, skipped = false;
    size_t n = 1;
    widths w = widths_of(t);

    for (unsigned i = 0; i < scn_policy_count; i++) {
        const scn_result *r = by_policy[i];

        figures[i][0] = '\0';
        if (r != NULL && r->has_retained)
            scn_format(figures[i], sizeof(figures[i]), r->retained, r->unit);
        if (r != NULL) {
            first = first != NULL ? first : r;
            ok = ok && scn_result_ok(r);
            skipped = skipped || r->skipped[0] != '\0';
        }
        cells[n++] = (cell){ figures[i], FIGURE, true, NULL };
    }
    cells[0] = (cell){ first->what, w.what, false, NULL };
    cells[n++] = (cell){ first->go, GO, true, NULL };
    pointed = first->skipped[0] != '\0' ? first->skipped : first->pointed;
    if (!w.below) cells[n++] = (cell){ pointed, w.pointed, false, NULL };
    cells[n++] = !ok       ? (cell){ "FAIL", VERDICT, false, RED }
                 : skipped ? (cell){ "skip", VERDICT, false, YELLOW }
                           : (cell){ "ok", VERDICT, false, GREEN };
    put_cells(t, cells, n);
    if (w.below) put_below(t, pointed, NULL);
}

void cmd_number(char *out, size_t n, double value)
{
    if (value >= 1e4 || value <= -1e4)
        snprintf(out, n, "%s", scn_thousands(value));
    else
        snprintf(out, n, "%.4g", value);
}

void cmd_expectation(char *out, size_t n, const scn_expectation *e)
{
    char seen[40], low[40], high[40];

    cmd_number(seen, sizeof(seen), e->seen);
    cmd_number(low, sizeof(low), e->low);
    cmd_number(high, sizeof(high), e->high);
    if (e->yes_or_no)
        snprintf(out, n, "%s: %s", e->name, e->ok ? "yes" : "no");
    else if (e->low == e->high)
        snprintf(out, n, "%s: %s, expected %s", e->name, seen, low);
    else
        snprintf(out, n, "%s: %s, expected %s to %s", e->name, seen, low, high);
}

static void put_expectation(const cmd_table *t, const scn_expectation *e)
{
    char text[256];

    put_spaces(t->out, INDENT + GAP);
    put_color(t, e->ok ? GREEN : RED);
    fputs(e->ok ? "ok    " : "FAIL  ", t->out);
    put_color(t, PLAIN);
    cmd_expectation(text, sizeof(text), e);
    cmd_say(t->out, "%s\n", text);
}

/* Print the expectations that a row misses; if verbose, all of them, and its further figures. */
static void put_details(const cmd_table *t, const scn_result *r)
{
    bool several = scn_policy_count > 1 && r->scenario->maps;

    if (scn_result_ok(r) && !t->verbose) return;
    if (several) {
        put_spaces(t->out, INDENT + GAP);
        cmd_say(t->out, "%s: %s\n", r->policy->name, r->pointed);
    }
    if (r->failure[0] != '\0') {
        put_spaces(t->out, INDENT + GAP);
        put_color(t, RED);
        fputs("FAIL  ", t->out);
        put_color(t, PLAIN);
        cmd_say(t->out, "%s\n", r->failure);
    } else if (r->expectation_count == 0 && r->skipped[0] == '\0') {
        put_spaces(t->out, INDENT + GAP);
        fputs("FAIL  the row expects nothing\n", t->out);
    }
    for (unsigned i = 0; i < r->expectation_count; i++)
        if (t->verbose || !r->expectations[i].ok) put_expectation(t, &r->expectations[i]);
    for (unsigned i = 0; t->verbose && i < r->figure_count; i++) {
        char value[40];

        scn_format(value, sizeof(value), r->figures[i].value, r->figures[i].unit);
        put_spaces(t->out, INDENT + GAP);
        cmd_say(t->out, "      %s: %s\n", r->figures[i].name, value);
    }
}

/* The column of a row's policy, from 0. */
static unsigned column_of(const scn_result *r)
{
    unsigned p = 0;

    while (p + 1 < scn_policy_count && scn_policies[p] != r->policy) p++;
    return p;
}

/* Whether two rows are one row of the table: the same step under different policies. */
static bool same_row(const scn_result *a, const scn_result *b)
{
    return a->policy != b->policy && strcmp(a->what, b->what) == 0;
}

static bool shown_before(const scn_result *rows, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (same_row(&rows[j], &rows[i])) return true;
    return false;
}

void cmd_table_rows(const scn_result *rows, size_t count,
                    void (*fn)(const scn_result *const *by_policy, void *ctx), void *ctx)
{
    for (size_t i = 0; i < count; i++) {
        const scn_result *by_policy[CMD_POLICIES_MOST] = { NULL };

        if (shown_before(rows, i)) continue;
        by_policy[column_of(&rows[i])] = &rows[i];
        for (size_t j = i + 1; j < count; j++)
            if (same_row(&rows[i], &rows[j])) by_policy[column_of(&rows[j])] = &rows[j];
        fn(by_policy, ctx);
    }
}

static void put_row_and_details(const scn_result *const *by_policy, void *ctx)
{
    const cmd_table *t = ctx;

    put_row(t, by_policy);
    for (unsigned p = 0; p < scn_policy_count; p++)
        if (by_policy[p] != NULL) put_details(t, by_policy[p]);
}

void cmd_table_scenario(const cmd_table *t, const scn_result *rows, size_t count)
{
    put_color(t, BOLD);
    fputs(rows[0].scenario->id, t->out);
    put_color(t, PLAIN);
    fprintf(t->out, ": %s\n", rows[0].scenario->leak);
    cmd_table_rows(rows, count, put_row_and_details, (void *)(uintptr_t)t);
    fputc('\n', t->out);
    fflush(t->out);
}

void cmd_table_begin(const cmd_table *t)
{
    char titles[CMD_POLICIES_MOST][40];
    cell cells[MOST_CELLS];
    size_t n = 1;
    widths w = widths_of(t);

    cells[0] = (cell){ "scenario: what leaks, and what was done", w.what, false, BOLD };
    for (unsigned i = 0; i < scn_policy_count; i++) {
        snprintf(titles[i], sizeof(titles[i]), "%s retained", scn_policies[i]->name);
        cells[n++] = (cell){ titles[i], FIGURE, true, BOLD };
    }
    cells[n++] = (cell){ "Go 1.19", GO, true, BOLD };
    if (!w.below) cells[n++] = (cell){ "what pointed at it", w.pointed, false, BOLD };
    put_cells(t, cells, n);
    if (w.below) put_below(t, "what pointed at it", BOLD);
    fputc('\n', t->out);
    fflush(t->out);
}

void cmd_table_end(const cmd_table *t, const cmd_tally *tally)
{
    fprintf(t->out, "%zu scenario%s, %zu rows, ", tally->scenarios,
            tally->scenarios == 1 ? "" : "s", tally->rows);
    if (tally->failed_rows == 0) {
        put_color(t, GREEN);
        fputs("all as expected", t->out);
    } else {
        put_color(t, RED);
        fprintf(t->out, "%zu not as expected, in %zu scenario%s", tally->failed_rows,
                tally->failed_scenarios, tally->failed_scenarios == 1 ? "" : "s");
    }
    put_color(t, PLAIN);
    if (tally->skipped_rows != 0) fprintf(t->out, ", %zu skipped", tally->skipped_rows);
    if (tally->repeated_scenarios != 0)
        fprintf(t->out, ", %zu repeated", tally->repeated_scenarios);
    fprintf(t->out, "; %.1f s\n", tally->seconds);
    fputs("Bytes live after two full collections, less those at the start. Go's figures\n"
          "were measured once with Go " CMD_GO_VERSION " on linux/amd64 (docs/scenarios.md);\n"
          "all others in this run.\n",
          t->out);
}

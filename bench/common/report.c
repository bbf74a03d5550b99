/* report.c - the figures of a suite as text tables, as Markdown and as plain lines: those that are
 * timed, and those that are counted.
 *
 * A ratio is Oakum's figure divided by that of a peer, or by the least of several, so that below 1
 * Oakum is better; its bar, where there is one, stands beside it with `met` or `missed ✗`. A few
 * bars are on Oakum's figure itself. That is a report, never an exit status: a machine that is
 * busy misses bars too. Under --quick the work is so small that the bars mean nothing, and they
 * are left out. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/suite.h"

#define COUNTED "counted, not timed"

enum { CELL = 64, WHAT_WIDTH = 37, LEAST_WIDTH = 9, RATIO_WIDTH = 24 };

/* Three digits that count. */
static const char *digits(char *cell, double v)
{
    snprintf(cell, CELL, "%.*f", v < 1 ? 3 : v < 10 ? 2 : v < 100 ? 1 : 0, v);
    return cell;
}

double ratio(const options *o, const metric *m, unsigned column)
{
    double ours = figure(o, m, m->ours), least = -1;
    if (ours < 0) ours = figure(o, m, OAKUM);
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        double theirs = figure(o, m, p);
        if (!(the_suite.columns[column].peers & PEER_BIT(p)) || theirs <= 0) continue;
        if (least < 0 || theirs < least) least = theirs;
    }
    return ours >= 0 && least > 0 && !m->larger ? ours / least : -1;
}

double mean_ratio(const options *o, unsigned column)
{
    double sum = 0;
    unsigned n = 0;
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++)
        for (const metric *m = NULL; b->selected && (m = next_row(b, false, m)) != NULL;) {
            double r = m->mean ? ratio(o, m, column) : -1;
            if (r <= 0) continue;
            sum += log(r);
            n++;
        }
    return n > 0 ? exp(sum / n) : -1;
}

static const char *figure_cell(const options *o, const bench *b, const metric *m, unsigned peer,
                               char *cell)
{
    double v = figure(o, m, peer);
    if (v >= 0) return digits(cell, v);
    return b->peers & PEER_BIT(peer) ? "-" : "n/a";
}

static const char *verdict(double value, double bar)
{
    return value <= bar ? "met" : "missed ✗";
}

/* "0.280 (<= 0.35 met)" */
static const char *share_cell(const options *o, double r, double bar, const char *at_most,
                              char *cell)
{
    if (r < 0) return "-";
    int n = snprintf(cell, CELL, "%.3f", r);
    if (bar > 0 && !o->quick)
        snprintf(cell + n, CELL - (size_t)n, " (%s %.3g %s)", at_most, bar, verdict(r, bar));
    return cell;
}

static const char *ratio_cell(const options *o, const metric *m, unsigned column,
                              const char *at_most, char *cell)
{
    return share_cell(o, ratio(o, m, column), m->bar[column], at_most, cell);
}

static const char *mean_cell(const options *o, unsigned column, const char *at_most, char *cell)
{
    return share_cell(o, mean_ratio(o, column), the_suite.mean.bar[column], at_most, cell);
}

/* "<= 100 met", of Oakum's figure itself; empty without such a bar. */
static const char *most_cell(const options *o, const metric *m, const char *at_most, char *cell)
{
    double ours = figure(o, m, OAKUM);
    if (m->most <= 0 || ours < 0 || o->quick) return "";
    snprintf(cell, CELL, "%s %.3g %s", at_most, m->most, verdict(ours, m->most));
    return cell;
}

/* Whether a column for bars on Oakum's own figures is needed. */
static bool any_most(const options *o)
{
    for (size_t i = 0; i < the_suite.nbenches && !o->quick; i++) {
        const bench *b = &the_suite.benches[i];
        for (unsigned k = 0; k < MAX_METRICS && b->selected; k++) {
            if (b->metrics[k].most > 0) return true;
        }
    }
    return false;
}

static bool any_peer(const metric *m)
{
    bool any = false;
    for (unsigned p = 0; p < the_suite.npeers; p++)
        for (unsigned r = 0; r < m->rounds[p]; r++) any |= m->value[p][r] > 0;
    return any;
}

const metric *next_row(const bench *b, bool counts, const metric *m)
{
    const metric *first = counts ? b->counts : b->metrics;
    const metric *end = first + (counts ? (size_t)MAX_COUNTS : (size_t)MAX_METRICS);
    m = m ? m + 1 : first;
    while (counts && m < end && m->key && !any_peer(m)) m++;
    return m < end && m->key ? m : NULL;
}

/* What a reader must know of all figures. */
static const char *better(void)
{
    for (size_t i = 0; i < the_suite.nbenches; i++) {
        for (const metric *m = NULL; (m = next_row(&the_suite.benches[i], false, m)) != NULL;) {
            if (m->larger) return "of what has a ratio, smaller is better";
        }
    }
    return "smaller is better";
}

/* What can't be read is left out. */
void machine_line(char *text, size_t size)
{
    char line[256], model[128] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "model name : %127[^\n]", model) == 1) break;
    }
    if (f) fclose(f);
    struct utsname u;
    uname(&u);
    snprintf(text, size, "%s, %ld processors, %.0f GB, %s %s", model, sysconf(_SC_NPROCESSORS_ONLN),
             (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1e9, u.sysname,
             u.release);
}

void method_line(const options *o, char *text, size_t size)
{
    if (o->rounds == 1)
        snprintf(text, size, "one round%s",
                 o->quick ? ", --quick: a part of the work, no bars" : "");
    else
        snprintf(text, size, "%s of %u rounds, every peer in turn in each%s",
                 o->minimum ? "least" : "median", o->rounds,
                 o->quick ? ", --quick: a part of the work, no bars" : "");
}

static int width_of(const char *title)
{
    int n = (int)strlen(title);
    return n > LEAST_WIDTH ? n : LEAST_WIDTH;
}

static int ratio_width(unsigned column)
{
    int n = (int)strlen(the_suite.columns[column].title) + 8;
    return n > RATIO_WIDTH ? n : RATIO_WIDTH;
}

static void text_row(const options *o, const bench *b, const metric *m, bool most)
{
    char a[CELL];
    printf("%-*s %-4s", WHAT_WIDTH, m->what, m->unit);
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (o->title[p]) printf(" %*s", width_of(o->title[p]), figure_cell(o, b, m, p, a));
    }
    for (unsigned c = 0; c < the_suite.ncolumns; c++)
        printf("  %-*s", ratio_width(c), ratio_cell(o, m, c, "<=", a));
    printf("%s%s\n", most ? "  " : "", most_cell(o, m, "<=", a));
}

static void text_mean(const options *o)
{
    char a[CELL];
    printf("%-*s %-4s", WHAT_WIDTH, the_suite.mean.what, "");
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (o->title[p]) printf(" %*s", width_of(o->title[p]), "");
    }
    for (unsigned c = 0; c < the_suite.ncolumns; c++)
        printf("  %-*s", ratio_width(c), mean_cell(o, c, "<=", a));
    putchar('\n');
}

/* A benchmark's counts stand below its name. */
static void text_table(const options *o, bool counts)
{
    bool most = !counts && any_most(o);
    printf("%-*s %-4s", WHAT_WIDTH, counts ? COUNTED : "", "");
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (o->title[p]) printf(" %*s", width_of(o->title[p]), o->title[p]);
    }
    for (unsigned c = 0; c < the_suite.ncolumns; c++)
        printf("  Oakum / %-*s", ratio_width(c) - 8, the_suite.columns[c].title);
    puts(most ? "  Oakum" : "");
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        const metric *m = b->selected ? next_row(b, counts, NULL) : NULL;
        if (m && counts) puts(b->name);
        for (; m; m = next_row(b, counts, m)) text_row(o, b, m, most);
    }
    if (the_suite.mean.what && !counts) text_mean(o);
}

static void print_text(const options *o)
{
    char line[256];
    machine_line(line, sizeof line);
    printf("%s\n", line);
    method_line(o, line, sizeof line);
    printf("%s; %s\n\n", line, better());
    if (!o->counted) {
        text_table(o, false);
        putchar('\n');
    }
    text_table(o, true);
}

/* Of "10,000 integers: insert" or "16 bytes, one thread", what names the group. */
static int group_length(const char *group)
{
    size_t n = strcspn(group, ":,");
    while (group[n] == ',' && group[n + 1] != ' ') n += 1 + strcspn(group + n + 1, ":,");
    return (int)n;
}

/* What stands indented below a line of the text table names that line here. */
static void markdown_row(const options *o, FILE *f, const bench *b, const metric *m,
                         const char *group, bool most)
{
    char a[CELL];
    bool below = m->what[0] == ' ';
    fprintf(f, "| %.*s%s%s%s%s%s |", below ? group_length(group) : 0, group, below ? ": " : "",
            m->what + strspn(m->what, " "), *m->unit ? " (" : "", m->unit, *m->unit ? ")" : "");
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (o->title[p]) fprintf(f, " %s |", figure_cell(o, b, m, p, a));
    }
    for (unsigned c = 0; c < the_suite.ncolumns; c++)
        fprintf(f, " %s |", ratio_cell(o, m, c, "≤", a));
    if (most) fprintf(f, " %s |", most_cell(o, m, "≤", a));
    fputc('\n', f);
}

static void markdown_mean(const options *o, FILE *f, bool most)
{
    char a[CELL];
    fprintf(f, "| %s |", the_suite.mean.what);
    for (unsigned p = 0; p < the_suite.npeers; p++) fputs(o->title[p] ? " |" : "", f);
    for (unsigned c = 0; c < the_suite.ncolumns; c++)
        fprintf(f, " %s |", mean_cell(o, c, "≤", a));
    fputs(most ? " |\n" : "\n", f);
}

static void markdown_table(const options *o, FILE *f, bool counts)
{
    bool most = !counts && any_most(o);
    fprintf(f, "\n| %s |", counts ? COUNTED : "");
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (o->title[p]) fprintf(f, " %s |", o->title[p]);
    }
    for (unsigned c = 0; c < the_suite.ncolumns; c++)
        fprintf(f, " Oakum / %s |", the_suite.columns[c].title);
    fputs(most ? " Oakum |\n|---|" : "\n|---|", f);
    for (unsigned p = 0; p < the_suite.npeers; p++) fputs(o->title[p] ? "--:|" : "", f);
    for (unsigned c = 0; c < the_suite.ncolumns + most; c++) fputs("---|", f);
    fputc('\n', f);
    const char *group = "";
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        if (!b->selected) continue;
        for (const metric *m = NULL; (m = next_row(b, counts, m)) != NULL;) {
            if (counts) group = b->name;
            else if (m->what[0] != ' ') group = m->what;
            markdown_row(o, f, b, m, group, most);
        }
    }
    if (the_suite.mean.what && !counts) markdown_mean(o, f, most);
}

static void print_markdown(const options *o, FILE *f)
{
    char line[256];
    machine_line(line, sizeof line);
    fprintf(f, "%s; ", line);
    method_line(o, line, sizeof line);
    fprintf(f, "%s; %s.\n", line, better());
    if (!o->counted) markdown_table(o, f, false);
    markdown_table(o, f, true);
}

/* benchmark, figure, peer, value */
static void print_plain(const options *o, FILE *f)
{
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        for (const metric *m = NULL; b->selected && (m = next_row(b, false, m)) != NULL;) {
            for (unsigned p = 0; p < the_suite.npeers; p++) {
                double v = figure(o, m, p);
                if (v >= 0) fprintf(f, "%s %s %s %.6g\n", b->name, m->key, the_suite.peers[p], v);
            }
        }
    }
}

/* To the named file, or to stdout when it is "-". */
static int write_to(const char *path, const options *o, void (*print)(const options *, FILE *))
{
    if (!path) return 0;
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdout : fopen(path, "w");
    if (!f) {
        perror(path);
        return -1;
    }
    print(o, f);
    if (fflush(f) || ferror(f) || (!standard && fclose(f))) {
        perror(path);
        return -1;
    }
    return 0;
}

int report(const options *o)
{
    print_text(o);
    int json = write_to(o->json, o, print_json),
        markdown = write_to(o->markdown, o, print_markdown),
        plain = write_to(o->plain, o, print_plain);
    return json || markdown || plain ? -1 : 0;
}

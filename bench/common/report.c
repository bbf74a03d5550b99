/* report.c - the figures of a suite as a text table, as Markdown, as JSON and as plain lines.
 *
 * A ratio is Oakum's figure divided by that of a peer, or by the least of several, so that below 1
 * Oakum is better; its bar, where there is one, stands beside it with `met` or `missed`. A few
 * bars are on Oakum's figure itself. That is a report, never an exit status: a machine that is
 * busy misses bars too. Under --quick the work is so small that the bars mean nothing, and they
 * are left out. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/suite.h"

enum { CELL = 64, WHAT_WIDTH = 37, LEAST_WIDTH = 9, RATIO_WIDTH = 24 };

/* Three digits that count. */
static const char *digits(char *cell, double v)
{
    snprintf(cell, CELL, "%.*f", v < 1 ? 3 : v < 10 ? 2 : v < 100 ? 1 : 0, v);
    return cell;
}

/* Oakum's figure by the least of the column's; negative when one of the two is not there. */
static double ratio(const options *o, const metric *m, unsigned column)
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

static const char *figure_cell(const options *o, const bench *b, const metric *m, unsigned peer,
                               char *cell)
{
    double v = figure(o, m, peer);
    if (v >= 0) return digits(cell, v);
    return b->peers & PEER_BIT(peer) ? "-" : "n/a";
}

static const char *verdict(double value, double bar)
{
    return value <= bar ? "met" : "missed";
}

/* "0.280 (<= 0.35 met)" */
static const char *ratio_cell(const options *o, const metric *m, unsigned column,
                              const char *at_most, char *cell)
{
    double r = ratio(o, m, column);
    if (r < 0) return "-";
    int n = snprintf(cell, CELL, "%.3f", r);
    if (m->bar[column] > 0 && !o->quick)
        snprintf(cell + n, CELL - (size_t)n, " (%s %.3g %s)", at_most, m->bar[column],
                 verdict(r, m->bar[column]));
    return cell;
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

static const metric *next_metric(const bench *b, const metric *m)
{
    m = m ? m + 1 : b->metrics;
    return m < b->metrics + MAX_METRICS && m->key ? m : NULL;
}

/* What a reader must know of all figures. */
static const char *better(void)
{
    for (size_t i = 0; i < the_suite.nbenches; i++) {
        for (const metric *m = NULL; (m = next_metric(&the_suite.benches[i], m)) != NULL;) {
            if (m->larger) return "of what has a ratio, smaller is better";
        }
    }
    return "smaller is better";
}

/* One line on the machine; what can't be read is left out. */
static void machine(char *text, size_t size)
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

static void method(const options *o, char *text, size_t size)
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

static void print_text(const options *o)
{
    char a[CELL], line[256];
    bool most = any_most(o);
    machine(line, sizeof line);
    printf("%s\n", line);
    method(o, line, sizeof line);
    printf("%s; %s\n\n%-*s %-4s", line, better(), WHAT_WIDTH, "", "");
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (o->title[p]) printf(" %*s", width_of(o->title[p]), o->title[p]);
    }
    for (unsigned c = 0; c < the_suite.ncolumns; c++)
        printf("  Oakum / %-*s", ratio_width(c) - 8, the_suite.columns[c].title);
    puts(most ? "  Oakum" : "");
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        for (const metric *m = NULL; b->selected && (m = next_metric(b, m)) != NULL;) {
            printf("%-*s %-4s", WHAT_WIDTH, m->what, m->unit);
            for (unsigned p = 0; p < the_suite.npeers; p++) {
                if (o->title[p]) printf(" %*s", width_of(o->title[p]), figure_cell(o, b, m, p, a));
            }
            for (unsigned c = 0; c < the_suite.ncolumns; c++)
                printf("  %-*s", ratio_width(c), ratio_cell(o, m, c, "<=", a));
            printf("%s%s\n", most ? "  " : "", most_cell(o, m, "<=", a));
        }
    }
}

/* Of "10,000 integers: insert" or "16 bytes, one thread", what names the group. */
static int group_length(const char *group)
{
    size_t n = strcspn(group, ":,");
    while (group[n] == ',' && group[n + 1] != ' ') n += 1 + strcspn(group + n + 1, ":,");
    return (int)n;
}

static void print_markdown(const options *o, FILE *f)
{
    char a[CELL], line[256];
    bool most = any_most(o);
    machine(line, sizeof line);
    fprintf(f, "%s; ", line);
    method(o, line, sizeof line);
    fprintf(f, "%s; %s.\n\n| |", line, better());
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
        for (const metric *m = NULL; b->selected && (m = next_metric(b, m)) != NULL;) {
            /* What stands indented below a line of the text table names that line here. */
            bool below = m->what[0] == ' ';
            if (!below) group = m->what;
            fprintf(f, "| %.*s%s%s%s%s%s |", below ? group_length(group) : 0, group,
                    below ? ": " : "", m->what + strspn(m->what, " "), *m->unit ? " (" : "",
                    m->unit, *m->unit ? ")" : "");
            for (unsigned p = 0; p < the_suite.npeers; p++) {
                if (o->title[p]) fprintf(f, " %s |", figure_cell(o, b, m, p, a));
            }
            for (unsigned c = 0; c < the_suite.ncolumns; c++)
                fprintf(f, " %s |", ratio_cell(o, m, c, "≤", a));
            if (most) fprintf(f, " %s |", most_cell(o, m, "≤", a));
            fputc('\n', f);
        }
    }
}

/* A string of a title or of the kernel's: nothing in it needs more escaping than this. */
static void json_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') fputc('\\', f);
        if ((unsigned char)*s >= ' ') fputc(*s, f);
    }
    fputc('"', f);
}

static void json_bar(const options *o, FILE *f, double value, double bar)
{
    if (bar > 0 && !o->quick)
        fprintf(f, ", \"bar\": %g, \"met\": %s", bar, value <= bar ? "true" : "false");
}

static void json_metric(const options *o, const bench *b, const metric *m, FILE *f)
{
    fprintf(f,
            "    {\"benchmark\": \"%s\", \"arguments\": \"%s\", \"figure\": \"%s\", \"unit\": "
            "\"%s\",\n     \"peers\": {",
            b->name, o->quick ? b->quick : b->full, m->key, m->unit);
    const char *comma = "";
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (m->rounds[p] == 0) continue;
        fprintf(f, "%s\"%s\": {\"value\": %.6g, \"rounds\": [", comma, the_suite.peers[p],
                figure(o, m, p));
        for (unsigned r = 0; r < m->rounds[p]; r++)
            fprintf(f, "%s%.6g", r ? ", " : "", m->value[p][r]);
        fputs("]}", f);
        comma = ", ";
    }
    fputs("},\n     \"ratios\": {", f);
    comma = "";
    for (unsigned c = 0; c < the_suite.ncolumns; c++) {
        double r = ratio(o, m, c);
        if (r < 0) continue;
        fprintf(f, "%s\"%s\": {\"value\": %.4g", comma, the_suite.columns[c].title, r);
        json_bar(o, f, r, m->bar[c]);
        fputc('}', f);
        comma = ", ";
    }
    fputc('}', f);
    if (figure(o, m, OAKUM) >= 0) json_bar(o, f, figure(o, m, OAKUM), m->most);
    fputc('}', f);
}

static void print_json(const options *o, FILE *f)
{
    char line[256];
    machine(line, sizeof line);
    fputs("{\"machine\": ", f);
    json_string(f, line);
    fprintf(f, ", \"rounds\": %u, \"statistic\": \"%s\", \"quick\": %s,\n \"peers\": {", o->rounds,
            o->minimum ? "minimum" : "median", o->quick ? "true" : "false");
    const char *comma = "";
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (!o->title[p]) continue;
        fprintf(f, "%s\"%s\": ", comma, the_suite.peers[p]);
        json_string(f, o->title[p]);
        comma = ", ";
    }
    fputs("},\n \"figures\": [\n", f);
    comma = "";
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        for (const metric *m = NULL; b->selected && (m = next_metric(b, m)) != NULL;
             comma = ",\n") {
            fputs(comma, f);
            json_metric(o, b, m, f);
        }
    }
    fputs("\n]}\n", f);
}

/* benchmark, figure, peer, value */
static void print_plain(const options *o, FILE *f)
{
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        for (const metric *m = NULL; b->selected && (m = next_metric(b, m)) != NULL;) {
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

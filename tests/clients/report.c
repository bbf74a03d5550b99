/* report.c - what was seen of the clients as a text table, as Markdown and as JSON.
 *
 * A ratio is Oakum's figure divided by libgc's: below 1 Oakum is better. The bars are on a client
 * as a whole: the sum of its works' times, and of their peaks of memory. They are a report, never
 * the exit status: a machine that is busy misses bars too. --quick does a small part of the work,
 * of which the bars mean nothing, and they are left out. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "clients.h"

enum { CELL = 64 };
enum { TIME, RSS, PAUSE, MEASURES };

/* A work, or all works of a client: sums of those figures that both sides have. */
typedef struct line {
    const char *client, *name;
    double value[MEASURES][SIDES];
    unsigned runs[SIDES], bad[SIDES];
    bool wrong, total;
} line;

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double measure(const work *w, unsigned side, int what)
{
    const figures *f = &w->side[side];
    if (what == TIME) return least(f->seconds, f->timed);
    if (what == RSS) return median(f->mib, f->timed);
    return larger(median(f->stop_ms, f->paused), median(f->call_ms, f->paused));
}

static line line_of(const options *o, const work *w)
{
    line l = { .client = w->client, .name = w->name, .wrong = is_wrong(o, w) };
    for (unsigned side = 0; side < SIDES; side++) {
        for (int m = 0; m < MEASURES; m++) l.value[m][side] = measure(w, side, m);
        l.runs[side] = w->side[side].runs;
        l.bad[side] = w->side[side].bad;
    }
    return l;
}

/* Pauses are not added up: the longest one counts. */
static void add_to(line *all, const line *l)
{
    for (int m = 0; m < MEASURES; m++) {
        const double *from = l->value[m];
        double *to = all->value[m];
        if (from[LIBGC] < 0 || from[OAKUM] < 0) continue;
        for (unsigned side = 0; side < SIDES; side++)
            to[side] = m == PAUSE ? larger(to[side], from[side]) : larger(to[side], 0) + from[side];
    }
    for (unsigned side = 0; side < SIDES; side++) {
        all->runs[side] += l->runs[side];
        all->bad[side] += l->bad[side];
    }
    all->wrong |= l->wrong;
}

static double ratio(const line *l, int what)
{
    const double *v = l->value[what];
    return v[LIBGC] > 0 && v[OAKUM] >= 0 ? v[OAKUM] / v[LIBGC] : -1;
}

static double bar_of(const options *o, const line *l, int what)
{
    if (!l->total || o->quick) return 0;
    return what == TIME ? TIME_BAR : what == RSS ? RSS_BAR : 0;
}

/* Calls `print` for each line: the works of a client, then the client as a whole. */
static void each_line(const options *o, FILE *f,
                      void (*print)(const options *, FILE *, const line *))
{
    const work *end = works + nworks;
    for (const work *w = works; w < end;) {
        const char *client = w->client;
        line all = { .client = client, .name = "all", .total = true };
        unsigned lines = 0;
        for (int m = 0; m < MEASURES; m++) all.value[m][LIBGC] = all.value[m][OAKUM] = -1;
        for (; w < end && strcmp(w->client, client) == 0; w++) {
            if (!w->selected || !w->installed) continue;
            line l = line_of(o, w);
            add_to(&all, &l);
            print(o, f, &l);
            lines++;
        }
        if (lines) print(o, f, &all);
    }
}

/* ---- text ---- */

/* Three digits that count. */
static const char *digits(char *cell, double v)
{
    if (v < 0) return "-";
    snprintf(cell, CELL, "%.*f", v < 1 ? 3 : v < 10 ? 2 : v < 100 ? 1 : 0, v);
    return cell;
}

/* "yes", "no", or how many of how many runs went wrong on each side. */
static const char *correct(const line *l, char *cell)
{
    if (!l->bad[LIBGC] && !l->bad[OAKUM]) return "yes";
    snprintf(cell, CELL, "%s: %u/%u, %u/%u bad", l->wrong ? "no" : "yes", l->bad[LIBGC],
             l->runs[LIBGC], l->bad[OAKUM], l->runs[OAKUM]);
    return cell;
}

static const char *verdict(const options *o, const line *l, int what)
{
    double bar = bar_of(o, l, what), r = ratio(l, what);
    if (bar <= 0 || r < 0) return "";
    return r <= bar ? " met" : " missed";
}

static void print_line(const options *o, FILE *f, const line *l)
{
    char a[CELL];
    fprintf(f, "%-9s %-11s %-26s", l->client, l->name, correct(l, a));
    for (int m = 0; m < MEASURES; m++) {
        for (unsigned side = 0; side < SIDES; side++)
            fprintf(f, " %7s", digits(a, l->value[m][side]));
        fprintf(f, " %6s%-7s", digits(a, ratio(l, m)), verdict(o, l, m));
    }
    fputc('\n', f);
    if (l->total) fputc('\n', f);
}

/* One line on the machine; what can't be read is left out. */
static void machine(char *text, size_t size)
{
    char row[256], model[128] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(row, sizeof row, f)) {
        if (sscanf(row, "model name : %127[^\n]", model) == 1) break;
    }
    if (f) fclose(f);
    struct utsname u;
    uname(&u);
    snprintf(text, size, "%s, %ld processors, %s %s", model, sysconf(_SC_NPROCESSORS_ONLN),
             u.sysname, u.release);
}

static void print_text(const options *o, FILE *f)
{
    char text[512];
    machine(text, sizeof text);
    fprintf(f,
            "%s\nleast time and median RSS of %u round%s%s; ratios are Oakum / libgc; "
            "bars: time %.2g, RSS %.2g\n\n",
            text, o->rounds, o->rounds == 1 ? "" : "s",
            o->quick ? ", --quick: a part of the work, no bars" : "", TIME_BAR, RSS_BAR);
    fprintf(f, "%-9s %-11s %-26s %-29s %-29s %-22s\n", "client", "work", "correct", "time (s)",
            "peak RSS (MiB)", "longest pause (ms)");
    fprintf(f, "%-48s", "");
    for (int m = 0; m < MEASURES; m++)
        fprintf(f, " %7s %7s %-13s", side_names[LIBGC], side_names[OAKUM], " ratio");
    fputc('\n', f);
    each_line(o, f, print_line);
}

/* ---- Markdown ---- */

static void markdown_line(const options *o, FILE *f, const line *l)
{
    char a[CELL];
    fprintf(f, "| %s %s | %s |", l->client, l->name, correct(l, a));
    for (int m = 0; m < MEASURES; m++) {
        for (unsigned side = 0; side < SIDES; side++)
            fprintf(f, " %s |", digits(a, l->value[m][side]));
        fprintf(f, " %s%s |", digits(a, ratio(l, m)), verdict(o, l, m));
    }
    fputc('\n', f);
}

static void print_markdown(const options *o, FILE *f)
{
    char text[512];
    machine(text, sizeof text);
    fprintf(f,
            "%s; least time and median RSS of %u rounds.\n\n"
            "| | correct | s, libgc | s, Oakum | ratio | MiB, libgc | MiB, Oakum | ratio "
            "| pause, libgc (ms) | pause, Oakum | ratio |\n"
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            text, o->rounds);
    each_line(o, f, markdown_line);
}

/* ---- JSON ---- */

static void json_list(FILE *f, const char *name, const double *v, unsigned n)
{
    fprintf(f, ", \"%s\": [", name);
    for (unsigned i = 0; i < n; i++) fprintf(f, "%s%.6g", i ? ", " : "", v[i]);
    fputc(']', f);
}

static void json_side(FILE *f, const work *w, unsigned side)
{
    const figures *s = &w->side[side];
    fprintf(f, ",\n   \"%s\": {\"runs\": %u, \"bad\": %u, \"why\": \"%s\"", side_names[side],
            s->runs, s->bad, s->why);
    json_list(f, "seconds", s->seconds, s->timed);
    json_list(f, "cpu_seconds", s->cpu, s->timed);
    json_list(f, "rss_mib", s->mib, s->timed);
    json_list(f, "longest_stop_ms", s->stop_ms, s->paused);
    json_list(f, "longest_call_ms", s->call_ms, s->paused);
    fputc('}', f);
}

/* What goes before the next line. */
static const char *comma;

static void json_line(const options *o, FILE *f, const line *l)
{
    static const char *const names[] = { "seconds", "rss_mib", "pause_ms" };
    fprintf(f, "%s  {\"client\": \"%s\", \"work\": \"%s\", \"correct\": %s", comma, l->client,
            l->name, l->wrong ? "false" : "true");
    comma = ",\n";
    for (int m = 0; m < MEASURES; m++) {
        const double *v = l->value[m];
        double bar = bar_of(o, l, m), r = ratio(l, m);
        fprintf(f, ", \"%s\": {", names[m]);
        for (unsigned side = 0; side < SIDES; side++)
            if (v[side] >= 0) fprintf(f, "\"%s\": %.6g, ", side_names[side], v[side]);
        if (r < 0)
            fputs("\"ratio\": null", f);
        else
            fprintf(f, "\"ratio\": %.4g", r);
        if (bar > 0 && r >= 0)
            fprintf(f, ", \"bar\": %g, \"met\": %s", bar, r <= bar ? "true" : "false");
        fputc('}', f);
    }
    for (const work *w = works; w < works + nworks && !l->total; w++) {
        if (strcmp(w->client, l->client) != 0 || strcmp(w->name, l->name) != 0) continue;
        for (unsigned side = 0; side < SIDES; side++) json_side(f, w, side);
    }
    fputc('}', f);
}

static void print_json(const options *o, FILE *f)
{
    char text[512];
    machine(text, sizeof text);
    fprintf(f, "{\"machine\": \"%s\", \"rounds\": %u, \"quick\": %s,\n \"figures\": [\n", text,
            o->rounds, o->quick ? "true" : "false");
    comma = "";
    each_line(o, f, json_line);
    fputs("]}\n", f);
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
    int text = write_to("-", o, print_text), json = write_to(o->json, o, print_json),
        markdown = write_to(o->markdown, o, print_markdown);
    return text || json || markdown ? -1 : 0;
}

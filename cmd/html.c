/* html.c - the results of `oakum leaks` as one page: the table, and for each scenario a plot of the
 * live heap over time, with a line for each policy.
 *
 * The page needs no script and no other file. Its colours follow the reader's scheme, light or
 * dark. All text that is not from this file is escaped. */
#include "cmd.h"

#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            if ((unsigned char)*text >= 0x20) fputc(*text, out);
        }
    }
}

/* <tag class="class">text</tag>; class may be NULL. */
static void put_element(FILE *out, const char *tag, const char *class, const char *text)
{
    fprintf(out, "<%s", tag);
    if (class != NULL) fprintf(out, " class=\"%s\"", class);
    fputc('>', out);
    put_escaped(out, text);
    fprintf(out, "</%s>", tag);
}

static const char style[] =
    "<style>\n"
    ":root{color-scheme:light dark;--page:#fff;--text:#1b1f24;--quiet:#57606a;--line:#d0d7de;"
    "--p0:#b35900;--p1:#0969da;--p2:#8250df;--p3:#1a7f37;--good:#1a7f37;--bad:#cf222e;"
    "--plot:#f6f8fa}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#0d1117;--text:#e6edf3;--quiet:#9198a1;"
    "--line:#30363d;--p0:#f0883e;--p1:#58a6ff;--p2:#bc8cff;--p3:#3fb950;--good:#3fb950;"
    "--bad:#ff7b72;--plot:#161b22}}\n"
    "body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--page);color:var(--text);"
    "font:15px/1.45 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.1rem;margin:0}\n"
    "section{border-top:1px solid var(--line);padding:1rem 0}\n"
    ".quiet{color:var(--quiet)}.badge{border:1px solid var(--line);border-radius:.6em;"
    "padding:0 .5em;font-size:.8rem;font-weight:normal}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.85rem}\n"
    "th,td{padding:.25rem .5rem;text-align:left;vertical-align:top;"
    "border-top:1px solid var(--line);overflow-wrap:break-word}\n"
    "th:first-child,td:first-child{min-width:11rem}\n"
    "th{border-top:0;color:var(--quiet);font-weight:600}\n"
    ".n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\n"
    ".good{color:var(--good)}.bad{color:var(--bad);font-weight:600}\n"
    "svg{display:block;width:100%;max-width:46rem;height:auto;margin:.5rem 0;"
    "background:var(--plot);border-radius:6px}\n"
    "svg text{fill:var(--quiet);font:11px system-ui,sans-serif}\n"
    "svg .axis{stroke:var(--line)}svg .p0{stroke-dasharray:7 3}\n"
    "svg .curve{fill:none;stroke-width:2;stroke-linejoin:round}\n"
    ".p0{stroke:var(--p0)}.p1{stroke:var(--p1)}.p2{stroke:var(--p2)}.p3{stroke:var(--p3)}\n"
    ".c0{background:repeating-linear-gradient(90deg,var(--p0) 0 7px,transparent 7px 10px)}\n"
    ".c1{background:var(--p1)}.c2{background:var(--p2)}"
    ".c3{background:var(--p3)}\n"
    ".key{display:inline-block;width:1.2em;height:.25em;vertical-align:middle;"
    "margin:0 .3em 0 1em}\n"
    "details{font-size:.85rem}summary{cursor:pointer;color:var(--quiet)}"
    "ul{margin:.3rem 0;padding-left:1.2rem}\n"
    "nav{columns:18rem;font-size:.9rem}nav a{display:block;color:inherit}\n"
    ":focus-visible{outline:2px solid var(--p1);outline-offset:2px}\n"
    "@media(max-width:40rem){nav{columns:2 9rem;overflow-wrap:anywhere}thead{display:none}"
    "table,tbody,tr,td{display:block}tr{border-top:1px solid var(--line);padding:.5rem 0}"
    "td{border:0;padding:.1rem 0;text-align:left!important;overflow-wrap:anywhere}"
    "td:first-child{font-weight:600}td[data-label]::before{content:attr(data-label) \" \";"
    "color:var(--quiet);font-weight:400}svg text{font-size:20px}}\n"
    "</style>\n";

/* ---- plots ---- */

enum { WIDTH = 640, HEIGHT = 160, LEFT = 10, RIGHT = 10, TOP = 26, BOTTOM = 26 };

static double most_of(const cmd_outcome *o, bool bytes)
{
    double most = 0;

    for (unsigned p = 0; p < scn_policy_count; p++)
        for (size_t i = 0; i < o->series[p].count; i++)
            most = fmax(most, bytes ? o->series[p].samples[i].bytes : o->series[p].samples[i].ms);
    return most;
}

static void format_bytes(char *out, size_t n, double bytes)
{
    if (bytes >= 1e6)
        snprintf(out, n, "%.1f MB", bytes / 1e6);
    else
        snprintf(out, n, "%.0f KB", bytes / 1e3);
}

/* Draw a curve in steps, as a value holds until the next measurement, with a dot for each one. */
static void put_curve(FILE *out, const scn_series *s, unsigned policy, double ms, double bytes)
{
    double sx = (WIDTH - LEFT - RIGHT) / ms, sy = (HEIGHT - TOP - BOTTOM) / bytes;

    fprintf(out, "<path class=\"curve p%u\" d=\"", policy);
    for (size_t i = 0; i < s->count; i++) {
        double x = LEFT + s->samples[i].ms * sx, y = HEIGHT - BOTTOM - s->samples[i].bytes * sy;

        if (i == 0)
            fprintf(out, "M%.1f %.1f", x, y);
        else
            fprintf(out, "H%.1fV%.1f", x, y);
    }
    fputs("\"/>", out);
}

static void put_plot(FILE *out, const cmd_outcome *o)
{
    double ms = most_of(o, false), bytes = most_of(o, true);
    char most[32];

    if (ms <= 0 || bytes <= 0) return;
    format_bytes(most, sizeof(most), bytes);
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", WIDTH, HEIGHT);
    put_escaped(out, o->scenario->id);
    fputs(": live heap after collections, over time</title>\n", out);
    fprintf(out, "<path class=\"axis\" fill=\"none\" d=\"M%d %dV%dH%d\"/>", LEFT, TOP,
            HEIGHT - BOTTOM, WIDTH - RIGHT);
    fprintf(out, "<text x=\"%d\" y=\"%d\">%s</text>", LEFT, TOP - 8, most);
    fprintf(out, "<text x=\"%d\" y=\"%d\">0</text>", LEFT, HEIGHT - 6);
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.2f s</text>\n", WIDTH - RIGHT,
            HEIGHT - 6, ms / 1e3);
    for (unsigned p = 0; p < scn_policy_count; p++)
        if (o->series[p].count != 0) put_curve(out, &o->series[p], p, ms, bytes);
    fputs("</svg>\n", out);
}

/* ---- rows ---- */

/* A cell, and what its column is called where the columns are below each other. */
static void put_cell(FILE *out, const char *class, const char *label, const char *label_more,
                     const char *text)
{
    fprintf(out, "<td class=\"%s\"", class);
    if (text[0] != '\0') fprintf(out, " data-label=\"%s%s\"", label, label_more);
    fputc('>', out);
    put_escaped(out, text);
    fputs("</td>", out);
}

static void put_expectations(FILE *out, const scn_result *r)
{
    char text[256];

    for (unsigned i = 0; i < r->expectation_count; i++) {
        cmd_expectation(text, sizeof(text), &r->expectations[i]);
        put_element(out, "li", r->expectations[i].ok ? NULL : "bad", text);
    }
    for (unsigned i = 0; i < r->figure_count; i++) {
        char value[40];

        scn_format(value, sizeof(value), r->figures[i].value, r->figures[i].unit);
        snprintf(text, sizeof(text), "%s: %s", r->figures[i].name, value);
        put_element(out, "li", "quiet", text);
    }
    if (r->failure[0] != '\0') put_element(out, "li", "bad", r->failure);
}

static void put_details(FILE *out, const scn_result *const *by_policy, bool ok)
{
    fprintf(out, "<details%s><summary>what was expected</summary>", ok ? "" : " open");
    for (unsigned p = 0; p < scn_policy_count; p++) {
        const scn_result *r = by_policy[p];

        if (r == NULL) continue;
        fputs("<ul>", out);
        if (r->scenario->maps) {
            char line[400];

            snprintf(line, sizeof(line), "%s: %s", r->policy->name, r->pointed);
            put_element(out, "li", "quiet", line);
        }
        put_expectations(out, r);
        fputs("</ul>", out);
    }
    fputs("</details>", out);
}

static void put_row(const scn_result *const *by_policy, void *ctx)
{
    FILE *out = ctx;
    const scn_result *first = NULL;
    bool ok = true, skipped = false;

    for (unsigned p = 0; p < scn_policy_count; p++) {
        if (by_policy[p] == NULL) continue;
        if (first == NULL) first = by_policy[p];
        ok = ok && scn_result_ok(by_policy[p]);
        skipped = skipped || by_policy[p]->skipped[0] != '\0';
    }
    fputs("<tr>", out);
    put_element(out, "td", NULL, first->what);
    for (unsigned p = 0; p < scn_policy_count; p++) {
        char figure[40] = "";

        if (by_policy[p] != NULL && by_policy[p]->has_retained)
            scn_format(figure, sizeof(figure), by_policy[p]->retained, by_policy[p]->unit);
        put_cell(out, "n", scn_policies[p]->name, " retained", figure);
    }
    put_cell(out, "n", "Go 1.19", "", first->go);
    fputs("<td data-label=\"what pointed at it\">", out);
    put_escaped(out, first->skipped[0] != '\0' ? first->skipped : first->pointed);
    put_details(out, by_policy, ok);
    fputs("</td>", out);
    put_cell(out,
             !ok       ? "n bad"
             : skipped ? "n quiet"
                       : "n good",
             "result", "",
             !ok       ? "FAIL"
             : skipped ? "skip"
                       : "ok");
    fputs("</tr>\n", out);
}

static const char *class_name(char class)
{
    switch (class) {
    case 'M':
        return "M: the map's policy";
    case 'U':
        return "U: the program";
    case 'G':
        return "G: collector or allocator";
    default:
        return "N: not a leak";
    }
}

static void put_scenario(FILE *out, const cmd_outcome *o)
{
    const scn_scenario *s = o->scenario;

    fputs("<section id=\"", out);
    put_escaped(out, s->id);
    fputs("\"><h2>", out);
    put_escaped(out, s->id);
    fputs(" <span class=\"badge\">", out);
    put_escaped(out, class_name(s->class));
    fputs("</span></h2>\n<p>", out);
    put_escaped(out, s->leak);
    fputs(" <span class=\"quiet\">(", out);
    put_escaped(out, s->source);
    fputs(")</span></p>\n", out);
    put_plot(out, o);
    fputs("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"", out);
    put_escaped(out, s->id);
    fputs(": rows\"><table aria-label=\"", out);
    put_escaped(out, s->id);
    fputs("\"><thead><tr><th scope=\"col\">what was done</th>", out);
    for (unsigned p = 0; p < scn_policy_count; p++) {
        fputs("<th scope=\"col\" class=\"n\">", out);
        put_escaped(out, scn_policies[p]->name);
        fputs(" retained</th>", out);
    }
    fputs("<th scope=\"col\" class=\"n\">Go 1.19</th><th scope=\"col\">what pointed at it</th>"
          "<th scope=\"col\" class=\"n\">result</th></tr></thead><tbody>\n",
          out);
    cmd_table_rows(o->rows.rows, o->rows.count, put_row, out);
    fputs("</tbody></table></div></section>\n", out);
}

/* ---- the page ---- */

static void put_summary(FILE *out, const cmd_outcome *outcomes, size_t count,
                        const cmd_tally *tally)
{
    fprintf(out, "<h1>Leak scenarios</h1>\n<p>%zu scenario%s, %zu rows, ", tally->scenarios,
            tally->scenarios == 1 ? "" : "s", tally->rows);
    if (tally->failed_rows == 0)
        fputs("<span class=\"good\">all as expected</span>", out);
    else
        fprintf(out, "<span class=\"bad\">%zu not as expected</span>, in %zu scenario%s",
                tally->failed_rows, tally->failed_scenarios,
                tally->failed_scenarios == 1 ? "" : "s");
    if (tally->skipped_rows != 0) fprintf(out, ", %zu skipped", tally->skipped_rows);
    if (tally->repeated_scenarios != 0) fprintf(out, ", %zu repeated", tally->repeated_scenarios);
    fprintf(out, "; %.1f s. Oakum ", tally->seconds);
    put_escaped(out, oak_version());
    fputs(".</p>\n<p class=\"quiet\">Bytes live after two full collections, less those at the "
          "start. Go's figures were measured once with Go " CMD_GO_VERSION
          " on linux/amd64; all others in this run. Plots: the live heap after collections, over "
          "time:",
          out);
    for (unsigned p = 0; p < scn_policy_count; p++) {
        fprintf(out, "<span class=\"key c%u\"></span>", p);
        put_escaped(out, scn_policies[p]->name);
    }
    fputs("; where a scenario is not about maps, there is one line.</p>\n"
          "<nav aria-label=\"Scenarios\">",
          out);
    for (size_t i = 0; i < count; i++) {
        fputs("<a href=\"#", out);
        put_escaped(out, outcomes[i].scenario->id);
        fputs("\">", out);
        put_escaped(out, outcomes[i].scenario->id);
        fputs("</a>\n", out);
    }
    fputs("</nav>\n", out);
}

void cmd_html_page(FILE *out, const cmd_outcome *outcomes, size_t count, const cmd_tally *tally)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<title>Oakum: leak scenarios</title>\n",
          out);
    fputs(style, out);
    fputs("</head>\n<body>\n", out);
    put_summary(out, outcomes, count, tally);
    for (size_t i = 0; i < count; i++) put_scenario(out, &outcomes[i]);
    fputs("</body>\n</html>\n", out);
}

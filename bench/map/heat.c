/* heat.c - draws the figures of bench-course as a heat map, as SVG.
 *
 * usage: heat FIGURES PEER=TITLE... >FILE. FIGURES has lines of a benchmark, as "u32-1000", a
 * figure, a peer and a value. A row is an operation on one of these kinds and sizes, a column a
 * peer. A cell has the ns, and a colour by the ratio to the least of its row: green at 1, red from
 * MOST on. The last rows are the geometric mean of the ratios and, without colour, entries a
 * slot. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/svg.h"

enum { LEFT = 178, CELL = 80, ROW = 19, TOP = 84, MAX_PEERS = 16, MAX_ROWS = 32, NAME = 32 };
enum { OPERATIONS = 8, LOAD = OPERATIONS - 1 };
static const double MOST = 8;

static const struct {
    const char *key, *title;
} operations[OPERATIONS] = {
    { "insert", "insert" },   { "erase", "erase" },         { "replace", "replace" },
    { "hit", "hit" },         { "miss", "miss" },           { "absent", "erase what is absent" },
    { "iterate", "iterate" }, { "load", "entries a slot" },
};

static struct row {
    char name[NAME];
    double value[OPERATIONS][MAX_PEERS]; /* 0: none */
} rows[MAX_ROWS];

static struct peer {
    const char *name, *title;
    double logs; /* of its ratios, summed */
    unsigned ratios;
} peers[MAX_PEERS];
static unsigned nrows, npeers;

static struct row *row_of(const char *name)
{
    unsigned i = 0;
    while (i < nrows && strcmp(rows[i].name, name) != 0) i++;
    if (i == MAX_ROWS) return NULL;
    if (i == nrows) snprintf(rows[nrows++].name, NAME, "%s", name);
    return &rows[i];
}

static int read_figures(const char *path)
{
    char name[NAME], key[NAME], peer[NAME];
    double value;
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    while (fscanf(f, "%31s %31s %31s %lf", name, key, peer, &value) == 4) {
        struct row *r = row_of(name);
        for (unsigned o = 0; r && o < OPERATIONS; o++)
            for (unsigned p = 0; p < npeers; p++)
                if (strcmp(key, operations[o].key) == 0 && strcmp(peer, peers[p].name) == 0)
                    r->value[o][p] = value;
    }
    fclose(f);
    return 0;
}

/* ---- drawing ---- */

static double x_of(unsigned peer)
{
    return LEFT + CELL * (double)peer;
}

static void draw_cell(unsigned peer, double y, double value, double ratio)
{
    static const double green[] = { 120, 196, 125 }, yellow[] = { 253, 232, 145 },
                        red[] = { 226, 104, 84 };
    char text[32], colour[32] = "#f2f2f2";
    double at = ratio > 0 ? log(ratio) / log(MOST) * 2 : 0; /* 0 green, 1 yellow, 2 red */
    const double *from = at < 1 ? green : yellow, *to = at < 1 ? yellow : red;
    if (at >= 1) at = at < 2 ? at - 1 : 1;
    if (ratio > 0)
        snprintf(colour, sizeof colour, "rgb(%.0f,%.0f,%.0f)", from[0] + (to[0] - from[0]) * at,
                 from[1] + (to[1] - from[1]) * at, from[2] + (to[2] - from[2]) * at);
    printf("<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n", x_of(peer), y,
           CELL - 1, ROW - 1, colour);
    snprintf(text, sizeof text, "%.*f", value < 10 ? 2 : value < 100 ? 1 : 0, value);
    svg_text(x_of(peer) + CELL - 8, y + 14, "end", "#222", text);
}

/* "u32-10000000" as "u32, 10 million". */
static void draw_name(const char *name, double y)
{
    char text[64];
    const char *dash = strchr(name, '-');
    int kind = dash ? (int)(dash - name) : (int)strlen(name);
    unsigned long size = dash ? strtoul(dash + 1, NULL, 10) : 0;
    if (size >= 1000000)
        snprintf(text, sizeof text, "%.*s, %lu million", kind, name, size / 1000000);
    else
        snprintf(text, sizeof text, "%.*s, %lu,%03lu", kind, name, size / 1000, size % 1000);
    svg_text(LEFT - 8, y + 14, "end", "#222", text);
}

static void draw_row(const struct row *r, unsigned operation, double y)
{
    const double *value = r->value[operation];
    double least = 0;
    for (unsigned p = 0; p < npeers; p++)
        if (value[p] > 0 && (least <= 0 || value[p] < least)) least = value[p];
    draw_name(r->name, y);
    for (unsigned p = 0; p < npeers; p++) {
        double ratio = operation == LOAD ? 0 : value[p] / least;
        if (value[p] <= 0) continue;
        draw_cell(p, y, value[p], ratio);
        if (ratio <= 0) continue;
        peers[p].logs += log(ratio);
        peers[p].ratios++;
    }
}

static double draw_group(const char *title, double y)
{
    svg_text(8, y + 16, "start", "#111", title);
    svg_rule(8, y + 2, x_of(npeers), y + 2, "stroke:#bbb");
    return y + ROW + 3;
}

static double draw_means(double y)
{
    y = draw_group("geometric mean of the ratios", y);
    for (unsigned p = 0; p < npeers; p++) {
        double mean = peers[p].ratios > 0 ? exp(peers[p].logs / peers[p].ratios) : 0;
        if (mean > 0) draw_cell(p, y, mean, mean);
    }
    return y + ROW + 5;
}

/* Title and version, one above the other. */
static void draw_titles(void)
{
    for (unsigned p = 0; p < npeers; p++) {
        char name[NAME];
        const char *space = strchr(peers[p].title, ' ');
        size_t n = space ? (size_t)(space - peers[p].title) : strlen(peers[p].title);
        snprintf(name, sizeof name, "%s", peers[p].title);
        if (n < sizeof name) name[n] = '\0';
        svg_text(x_of(p) + CELL - 8, TOP - 24, "end", "#111", name);
        if (space) svg_text(x_of(p) + CELL - 8, TOP - 8, "end", "#555", space + 1);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    for (int i = 2; i < argc && npeers < MAX_PEERS; i++) {
        char *title = strchr(argv[i], '=');
        if (!title) return 2;
        *title = '\0';
        peers[npeers].name = argv[i];
        peers[npeers++].title = title + 1;
    }
    if (read_figures(argv[1])) {
        perror(argv[1]);
        return 1;
    }
    double y = TOP;
    svg_begin(LEFT + CELL * (int)npeers + 10,
              TOP + OPERATIONS * (ROW * (int)(nrows + 1) + 8) + 2 * ROW + 12);
    printf("<text x=\"8\" y=\"24\" font-size=\"16\" fill=\"#111\">Nanoseconds an operation, the "
           "same hash for all; the colour is the ratio to the least of the row</text>\n");
    draw_titles();
    for (unsigned o = 0; o < OPERATIONS; o++) {
        if (o == LOAD) y = draw_means(y);
        y = draw_group(operations[o].title, y);
        for (unsigned i = 0; i < nrows; i++, y += ROW) draw_row(&rows[i], o, y);
        y += 5;
    }
    svg_end();
    return 0;
}

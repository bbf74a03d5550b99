/* plot.c - draws the figures of bench-pause as SVG.
 *
 * usage: plot FILE size|load|worst PEER=TITLE... >SVG. FILE holds lines as the runner's --plain
 * writes them: benchmark, figure, peer, value. `size` and `load` are two panels of lines each,
 * `worst` is a bar for each peer in each benchmark; times are logarithmic. What was not run is left
 * out. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/svg.h"

enum { WIDTH = 980, LEFT = 78, RIGHT = 838, TOP = 62, HEIGHT = 330, GAP = 74 };
enum { MAX_PEERS = SVG_MAX_LABELS, MAX_POINTS = 8, PANELS = 2, MAX_FIGURES = 4096, NAME = 32 };
enum { BAR = 15, BARS_LEFT = 168 };
static const double least_us = 10, most_us = 1e7;

typedef struct figure {
    char bench[NAME], key[NAME], peer[NAME];
    double value;
} figure;

typedef struct point {
    const char *bench, *label;
    double at; /* 0 is left, 1 is right */
} point;

typedef struct panel {
    const char *title, *key;
    point points[MAX_POINTS]; /* up to the first without a benchmark */
} panel;

#define SIZES {{"graph-256", "256 MB", 0.04}, {"graph-512", "512 MB", 0.27}, \
               {"graph-1024", "1 GiB", 0.5}, {"graph-4096", "4 GiB", 0.96}}

static const struct plot {
    const char *name, *title;
    panel panels[PANELS];
} plots[] = {
    { "size", "A random graph, mutated: pauses against what is live",
      { { "worst operation", "worst", SIZES },
        { "longest stop, by the collector's own account", "stop", SIZES } } },
    { "load", "A random graph of 512 MB, mutated: worst operation",
      { { "against threads", "worst",
          { { "graph-512", "1 thread", 0.04 }, { "threads-2", "2 threads", 0.27 },
            { "threads-4", "4 threads", 0.5 }, { "threads-16", "16 threads", 0.96 } } },
        { "against writes to random nodes, beside the one to the table", "worst",
          { { "graph-512", "none", 0.04 }, { "writes-1", "1 an operation", 0.27 },
            { "writes-4", "4 an operation", 0.61 },
            { "writes-16", "16 an operation", 0.96 } } } } },
};

static const point bars[] = {
    { "graph-512", "random graph of 512 MB", 0 },
    { "graph-4096", "random graph of 4 GiB", 0 },
    { "window", "message window: 200,000 of 1 KB", 0 },
    { "map", "map of pointers, to 10 million and back, twice", 0 },
    { "trees", "small trees beside a large one", 0 },
};

static const struct {
    const char *name, *colour, *style;
} looks[] = {
    { "oakum", "#d4380d", "stroke-width:3.2" },
    { "stopped", "#d4a017", "stroke-width:1.6" },
    { "concurrent", "#b5479b", "stroke-width:1.6" },
    { "generations", "#7a5c3e", "stroke-width:1.6" },
    { "faults", "#8a5bd0", "stroke-width:1.6" },
    { "boehm", "#0a5fa8", "stroke-width:1.6" },
    { "incremental", "#3aa6d0", "stroke-width:1.6" },
    { "go", "#1b8a5a", "stroke-width:1.6" },
    { "glibc", "#8a8a8a", "stroke-width:1.4;stroke-dasharray:4 3" },
};
enum { LOOKS = sizeof looks / sizeof looks[0] };

static figure figures[MAX_FIGURES];
static unsigned nfigures;
static struct {
    const char *name, *title;
} peers[MAX_PEERS];
static unsigned npeers;

static unsigned look_of(const char *name)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        if (strcmp(looks[i].name, name) == 0) return i;
    }
    return LOOKS - 1;
}

/* Negative when there is none. */
static double value_of(const char *bench, const char *key, const char *peer)
{
    for (const figure *f = figures; f < figures + nfigures; f++) {
        if (strcmp(f->bench, bench) == 0 && strcmp(f->key, key) == 0 && strcmp(f->peer, peer) == 0)
            return f->value;
    }
    return -1;
}

/* 0 to 1, from the least time of the scale to the most. */
static double part(double us)
{
    double p = log(us / least_us) / log(most_us / least_us);
    return us <= least_us ? 0 : p > 1 ? 1 : p;
}

static const char *const times[] = { "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s", "10 s" };
enum { TIMES = sizeof times / sizeof times[0] };

/* ---- lines ---- */

static double y_of(double us, int panel)
{
    return TOP + HEIGHT + panel * (HEIGHT + GAP) - HEIGHT * part(us);
}

static double x_of(const point *p)
{
    return LEFT + (RIGHT - LEFT) * p->at;
}

static void draw_grid(const panel *p, int at)
{
    double bottom = y_of(least_us, at), top = y_of(most_us, at), us = least_us;
    svg_text(LEFT, top - 10, "start", "#222", p->title);
    for (unsigned i = 0; i < TIMES; i++, us *= 10) {
        svg_rule(LEFT, y_of(us, at), RIGHT, y_of(us, at), "stroke:#e4e4e4");
        svg_text(LEFT - 8, y_of(us, at) + 4, "end", "#555", times[i]);
    }
    for (const point *q = p->points; q < p->points + MAX_POINTS && q->bench; q++) {
        svg_rule(x_of(q), top, x_of(q), bottom, "stroke:#e4e4e4");
        svg_text(x_of(q), bottom + 18, "middle", "#555", q->label);
    }
}

/* A dot for each figure, and a line through them. false when there is none. */
static bool draw_line(const panel *p, int at, unsigned peer, svg_label *label)
{
    unsigned look = look_of(peers[peer].name);
    bool some = false;
    printf("<polyline style=\"stroke:%s;%s\" points=\"", looks[look].colour, looks[look].style);
    for (const point *q = p->points; q < p->points + MAX_POINTS && q->bench; q++) {
        double us = value_of(q->bench, p->key, peers[peer].name);
        if (us < 0) continue;
        printf("%.1f,%.1f ", x_of(q), y_of(us, at));
        *label = (svg_label){ y_of(us, at), looks[look].colour, peers[peer].title };
        some = true;
    }
    puts("\"/>");
    for (const point *q = p->points; q < p->points + MAX_POINTS && q->bench; q++) {
        double us = value_of(q->bench, p->key, peers[peer].name);
        if (us >= 0)
            printf("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x_of(q), y_of(us, at),
                   looks[look].colour);
    }
    return some;
}

static void draw_lines(const struct plot *plot)
{
    svg_begin(WIDTH, TOP + PANELS * (HEIGHT + GAP) - 24);
    printf("<text x=\"%d\" y=\"24\" font-size=\"16\" fill=\"#111\">%s</text>\n", LEFT, plot->title);
    for (int at = 0; at < PANELS; at++) {
        svg_label labels[MAX_PEERS];
        unsigned n = 0;
        draw_grid(&plot->panels[at], at);
        for (unsigned i = npeers; i-- > 0;) n += draw_line(&plot->panels[at], at, i, &labels[n]);
        svg_labels(labels, n, RIGHT, y_of(least_us, at));
    }
    svg_end();
}

/* ---- bars ---- */

static const char *amount(char *text, size_t size, double us)
{
    double v = us < 1e3 ? us : us < 1e6 ? us / 1e3 : us / 1e6;
    snprintf(text, size, "%.*f %s", v < 10 ? 2 : v < 100 ? 1 : 0, v,
             us < 1e3 ? "us" : us < 1e6 ? "ms" : "s");
    return text;
}

/* What is as high as `y` lies below; returns where the next group begins. */
static double draw_group(const point *group, double y)
{
    svg_text(BARS_LEFT, y + 4, "start", "#222", group->label);
    y += 12;
    for (unsigned i = 0; i < npeers; i++) {
        double us = value_of(group->bench, "worst", peers[i].name);
        const char *colour = looks[look_of(peers[i].name)].colour;
        char text[32];
        if (us < 0) continue;
        double width = 2 + (RIGHT - BARS_LEFT) * part(us);
        printf("<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", BARS_LEFT,
               y, width, BAR - 3, colour);
        svg_text(BARS_LEFT - 8, y + 10, "end", colour, peers[i].title);
        svg_text(BARS_LEFT + width + 6, y + 10, "start", "#222",
                 amount(text, sizeof text, us));
        y += BAR;
    }
    return y + 18;
}

static void draw_bars(void)
{
    enum { GROUPS = sizeof bars / sizeof bars[0] };
    double height = TOP + GROUPS * (30 + BAR * (double)npeers), y = TOP, us = least_us;
    svg_begin(WIDTH, (int)height + 10);
    printf("<text x=\"%d\" y=\"24\" font-size=\"16\" fill=\"#111\">Worst operation (logarithmic)"
           "</text>\n",
           BARS_LEFT);
    for (unsigned i = 0; i < TIMES; i++, us *= 10) {
        double x = BARS_LEFT + (RIGHT - BARS_LEFT) * part(us);
        svg_rule(x, TOP - 12, x, height - 12, "stroke:#e4e4e4");
        svg_text(x, TOP - 18, "middle", "#555", times[i]);
    }
    for (unsigned g = 0; g < GROUPS; g++) y = draw_group(&bars[g], y);
    svg_end();
}

static bool read_figures(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) return false;
    figure *at = figures;
    while (nfigures < MAX_FIGURES &&
           fscanf(f, "%31s %31s %31s %lf", at->bench, at->key, at->peer, &at->value) == 4) {
        at++;
        nfigures++;
    }
    fclose(f);
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 4 || !read_figures(argv[1])) return 2;
    for (int i = 3; i < argc && npeers < MAX_PEERS; i++) {
        char *title = strchr(argv[i], '=');
        if (!title) return 2;
        *title = '\0';
        peers[npeers].name = argv[i];
        peers[npeers++].title = title + 1;
    }
    if (strcmp(argv[2], "worst") == 0) {
        draw_bars();
        return 0;
    }
    for (unsigned i = 0; i < sizeof plots / sizeof plots[0]; i++) {
        if (strcmp(plots[i].name, argv[2]) != 0) continue;
        draw_lines(&plots[i]);
        return 0;
    }
    return 2;
}

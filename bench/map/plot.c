/* plot.c - draws the times of single operations against the size of the map, as SVG.
 *
 * usage: plot DIR insert|delete ENTRIES PEER=TITLE... >FILE. Reads DIR/resize-PEER.insert: lines of
 * a bucket's first and last size, its longest time and p99.99 in ns, once for each round, and draws
 * the median over rounds. Two panels, both axes logarithmic: the longest, and p99.99. Labels at
 * the right end say which line is whose. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/svg.h"

enum { WIDTH = 980, LEFT = 78, RIGHT = 838, TOP = 62, HEIGHT = 330, GAP = 66 };
enum { MAX_BUCKETS = 128, MAX_ROUNDS = 99, MAX_PEERS = SVG_MAX_LABELS, PANELS = 2 };
static const double least_size = 1000, least_ns = 10, most_ns = 1e9;

typedef struct bucket {
    unsigned long long first, last;
    unsigned rounds;
    double ns[PANELS][MAX_ROUNDS];
} bucket;

typedef struct line {
    const char *name, *title;
    bucket buckets[MAX_BUCKETS];
    unsigned count;
} line;

static const struct {
    const char *name, *colour, *style;
} looks[] = {
    { "oakum", "#d4380d", "stroke-width:3.2" },
    { "classic", "#d4a017", "stroke-width:1.6" },
    { "absl", "#0a5fa8", "stroke-width:1.6" },
    { "boost", "#3aa6d0", "stroke-width:1.6" },
    { "std", "#1b8a5a", "stroke-width:1.6" },
    { "khash", "#b5479b", "stroke-width:1.6" },
    { "glib", "#7a5c3e", "stroke-width:1.6" },
    { "go", "#4b3fa0", "stroke-width:1.6" },
    { "clock", "#8a8a8a", "stroke-width:1.4;stroke-dasharray:4 3" },
};
enum { LOOKS = sizeof looks / sizeof looks[0] };

static unsigned look_of(const char *name)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        if (strcmp(looks[i].name, name) == 0) return i;
    }
    return LOOKS - 1;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void read_line(line *l, const char *dir, const char *what)
{
    char path[4096];
    unsigned long long first, last;
    double most, p9999;
    snprintf(path, sizeof path, "%s/resize-%s.%s", dir, l->name, what);
    FILE *f = fopen(path, "r");
    if (!f) return;
    while (fscanf(f, "%llu %llu %lf %lf", &first, &last, &most, &p9999) == 4) {
        unsigned i = 0;
        if ((double)first < least_size) continue;
        while (i < l->count && l->buckets[i].first != first) i++;
        if (i == MAX_BUCKETS || (i < l->count && l->buckets[i].rounds == MAX_ROUNDS)) continue;
        bucket *b = &l->buckets[i];
        if (i == l->count) l->count++;
        b->first = first;
        b->last = last;
        b->ns[0][b->rounds] = most;
        b->ns[1][b->rounds++] = p9999;
    }
    fclose(f);
}

static double x_of(double size, double most_size)
{
    return LEFT + (RIGHT - LEFT) * log(size / least_size) / log(most_size / least_size);
}

static double y_of(double ns, int panel)
{
    double bottom = TOP + HEIGHT + panel * (HEIGHT + GAP);
    if (ns < least_ns) ns = least_ns;
    if (ns > most_ns) ns = most_ns;
    return bottom - HEIGHT * log(ns / least_ns) / log(most_ns / least_ns);
}

/* Grid and scales. */
static void draw_panel(int panel, double most_size, const char *what)
{
    static const char *const times[] = { "10 ns", "100 ns", "1 us",   "10 us", "100 us",
                                         "1 ms",  "10 ms",  "100 ms", "1 s" };
    double bottom = y_of(least_ns, panel), top = y_of(most_ns, panel);
    svg_text(LEFT, top - 10, "start", "#222", what);
    double ns = least_ns;
    for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++, ns *= 10) {
        svg_rule(LEFT, y_of(ns, panel), RIGHT, y_of(ns, panel), "stroke:#e4e4e4");
        svg_text(LEFT - 8, y_of(ns, panel) + 4, "end", "#555", times[i]);
    }
    for (double size = least_size; size <= most_size * 1.001; size *= 10) {
        char cell[32];
        if (size < 1e6)
            snprintf(cell, sizeof cell, "%.0f,000", size / 1e3);
        else
            snprintf(cell, sizeof cell, "%.0f million", size / 1e6);
        svg_rule(x_of(size, most_size), top, x_of(size, most_size), bottom, "stroke:#e4e4e4");
        svg_text(x_of(size, most_size), bottom + 18, "middle", "#555", cell);
    }
}

/* What Oakum is to stay below; over the lines. */
static void draw_bar(int panel, double bar, const char *label)
{
    double y = y_of(bar, panel);
    svg_rule(LEFT, y, RIGHT, y, "stroke:#d4380d;stroke-dasharray:2 4");
    svg_text(LEFT + 6, y - 4, "start", "#d4380d", label);
}

static void draw_line(line *l, int panel, double most_size)
{
    unsigned look = look_of(l->name);
    printf("<polyline style=\"stroke:%s;%s\" points=\"", looks[look].colour, looks[look].style);
    for (unsigned i = 0; i < l->count; i++) {
        bucket *b = &l->buckets[i];
        printf("%.1f,%.1f ", x_of(sqrt((double)b->first * (double)b->last), most_size),
               y_of(median(b->ns[panel], b->rounds), panel));
    }
    puts("\"/>");
}

/* The titles beside where the lines end. */
static void draw_labels(const line *lines, unsigned count, int panel)
{
    svg_label labels[MAX_PEERS];
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        if (lines[i].count == 0) continue;
        bucket b = lines[i].buckets[lines[i].count - 1];
        labels[n++] = (svg_label){ y_of(median(b.ns[panel], b.rounds), panel),
                                   looks[look_of(lines[i].name)].colour, lines[i].title };
    }
    svg_labels(labels, n, RIGHT, y_of(least_ns, panel));
}

int main(int argc, char **argv)
{
    static line lines[MAX_PEERS];
    unsigned count = 0;
    if (argc < 5) return 2;
    const char *what = argv[2];
    bool deletes = strcmp(what, "delete") == 0;
    double most_size = strtod(argv[3], NULL);
    for (int i = 4; i < argc && count < MAX_PEERS; i++) {
        char *title = strchr(argv[i], '=');
        if (!title) return 2;
        *title = '\0';
        lines[count].name = argv[i];
        lines[count].title = title + 1;
        read_line(&lines[count++], argv[1], what);
    }
    int height = TOP + PANELS * (HEIGHT + GAP) + 4;
    svg_begin(WIDTH, height);
    printf("<text x=\"%d\" y=\"24\" font-size=\"16\" fill=\"#111\">Time of a single %s, by the "
           "size of the map%s</text>\n",
           LEFT, what, deletes ? " (read from right to left)" : "");
    draw_panel(0, most_size, "the longest in each range of sizes");
    draw_panel(1, most_size, "p99.99 in each range of sizes");
    for (int panel = 0; panel < PANELS; panel++) {
        for (unsigned i = count; i-- > 0;) draw_line(&lines[i], panel, most_size);
        draw_bar(panel, panel == 0 ? 1e5 : 3e3, panel == 0 ? "bar: 100 us" : "bar: 3 us");
        draw_labels(lines, count, panel);
    }
    svg_text((LEFT + RIGHT) / 2.0, height - 8, "middle", "#555", "entries in the map");
    svg_end();
    return 0;
}

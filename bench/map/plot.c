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

enum { WIDTH = 980, LEFT = 78, RIGHT = 838, TOP = 62, HEIGHT = 330, GAP = 66 };
enum { MAX_BUCKETS = 128, MAX_ROUNDS = 99, MAX_PEERS = 16, PANELS = 2, LABEL = 15 };
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

static void text(double x, double y, const char *anchor, const char *colour, const char *s)
{
    printf("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">", x, y, anchor, colour);
    for (; *s; s++) {
        if (*s == '<')
            fputs("&lt;", stdout);
        else if (*s == '&')
            fputs("&amp;", stdout);
        else
            putchar(*s);
    }
    puts("</text>");
}

static void rule(double x1, double y1, double x2, double y2, const char *style)
{
    printf("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" style=\"%s\"/>\n", x1, y1, x2, y2,
           style);
}

/* Grid and scales. */
static void draw_panel(int panel, double most_size, const char *what)
{
    static const char *const times[] = { "10 ns", "100 ns", "1 us",   "10 us", "100 us",
                                         "1 ms",  "10 ms",  "100 ms", "1 s" };
    double bottom = y_of(least_ns, panel), top = y_of(most_ns, panel);
    text(LEFT, top - 10, "start", "#222", what);
    double ns = least_ns;
    for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++, ns *= 10) {
        rule(LEFT, y_of(ns, panel), RIGHT, y_of(ns, panel), "stroke:#e4e4e4");
        text(LEFT - 8, y_of(ns, panel) + 4, "end", "#555", times[i]);
    }
    for (double size = least_size; size <= most_size * 1.001; size *= 10) {
        char cell[32];
        if (size < 1e6)
            snprintf(cell, sizeof cell, "%.0f,000", size / 1e3);
        else
            snprintf(cell, sizeof cell, "%.0f million", size / 1e6);
        rule(x_of(size, most_size), top, x_of(size, most_size), bottom, "stroke:#e4e4e4");
        text(x_of(size, most_size), bottom + 18, "middle", "#555", cell);
    }
}

/* What Oakum is to stay below; over the lines. */
static void draw_bar(int panel, double bar, const char *label)
{
    rule(LEFT, y_of(bar, panel), RIGHT, y_of(bar, panel), "stroke:#d4380d;stroke-dasharray:2 4");
    text(LEFT + 6, y_of(bar, panel) - 4, "start", "#d4380d", label);
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

/* The titles beside where the lines end, from the top, moved apart where they would touch: down,
 * and up again from the bottom of the panel. */
static void draw_labels(const line *lines, unsigned count, int panel)
{
    const line *order[MAX_PEERS];
    double at[MAX_PEERS], y[MAX_PEERS], bottom = y_of(least_ns, panel);
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        if (lines[i].count == 0) continue;
        bucket b = lines[i].buckets[lines[i].count - 1];
        double end = y_of(median(b.ns[panel], b.rounds), panel);
        unsigned k = n++;
        for (; k > 0 && at[k - 1] > end; k--) {
            at[k] = at[k - 1];
            order[k] = order[k - 1];
        }
        at[k] = end;
        order[k] = &lines[i];
    }
    for (unsigned k = 0; k < n; k++)
        y[k] = k > 0 && at[k] < y[k - 1] + LABEL ? y[k - 1] + LABEL : at[k];
    for (unsigned k = n; k-- > 0;) {
        double most = k + 1 < n ? y[k + 1] - LABEL : bottom;
        if (y[k] > most) y[k] = most;
        const char *colour = looks[look_of(order[k]->name)].colour;
        char style[64];
        snprintf(style, sizeof style, "stroke:%s", colour);
        rule(RIGHT + 2, at[k], RIGHT + 18, y[k], style);
        text(RIGHT + 22, y[k] + 4, "start", colour, order[k]->title);
    }
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
    printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
           "height=\"%d\" font-family=\"sans-serif\" font-size=\"12.5\">\n"
           "<style>polyline{fill:none;stroke-linejoin:round}"
           "text{paint-order:stroke;stroke:#fff;stroke-width:3px}</style>\n"
           "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
           WIDTH, height, WIDTH, height);
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
    text((LEFT + RIGHT) / 2.0, height - 8, "middle", "#555", "entries in the map");
    puts("</svg>");
    return 0;
}

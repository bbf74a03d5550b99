/* svg.h - what the plots share: the picture's frame, texts, straight lines, and labels at the ends
 * of lines. All goes to stdout. */
#ifndef BENCH_COMMON_SVG_H
#define BENCH_COMMON_SVG_H

#include <stdio.h>

enum { SVG_LABEL = 15, SVG_MAX_LABELS = 16 };

static inline void svg_begin(int width, int height)
{
    printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
           "height=\"%d\" font-family=\"sans-serif\" font-size=\"12.5\">\n"
           "<style>polyline{fill:none;stroke-linejoin:round}"
           "text{paint-order:stroke;stroke:#fff;stroke-width:3px}</style>\n"
           "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
           width, height, width, height);
}

static inline void svg_end(void)
{
    puts("</svg>");
}

static inline void svg_text(double x, double y, const char *anchor, const char *colour,
                            const char *s)
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

static inline void svg_rule(double x1, double y1, double x2, double y2, const char *style)
{
    printf("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" style=\"%s\"/>\n", x1, y1, x2, y2,
           style);
}

typedef struct svg_label {
    double y; /* where its line ends */
    const char *colour, *text;
} svg_label;

/* At most SVG_MAX_LABELS, right of x, from the top; moved apart where they would touch: down, and
 * up again from the bottom. */
static inline void svg_labels(const svg_label *labels, unsigned n, double x, double bottom)
{
    const svg_label *order[SVG_MAX_LABELS];
    double y[SVG_MAX_LABELS];
    for (unsigned i = 0; i < n; i++) {
        unsigned k = i;
        for (; k > 0 && order[k - 1]->y > labels[i].y; k--) order[k] = order[k - 1];
        order[k] = &labels[i];
    }
    for (unsigned k = 0; k < n; k++)
        y[k] = k > 0 && order[k]->y < y[k - 1] + SVG_LABEL ? y[k - 1] + SVG_LABEL : order[k]->y;
    for (unsigned k = n; k-- > 0;) {
        double most = k + 1 < n ? y[k + 1] - SVG_LABEL : bottom;
        char style[64];
        if (y[k] > most) y[k] = most;
        snprintf(style, sizeof style, "stroke:%s", order[k]->colour);
        svg_rule(x + 2, order[k]->y, x + 18, y[k], style);
        svg_text(x + 22, y[k] + 4, "start", order[k]->colour, order[k]->text);
    }
}

#endif

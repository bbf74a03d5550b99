/* topview.c - prints the state of a running program's heap, as a page for a terminal or as a line.
 *
 * A page's lines are broken at the terminal's columns, and it is cut to the rows. Its lines are
 * cleaned, as the server's strings may contain any bytes. */
#include "live.h"

#include <stdarg.h>
#include <string.h>

#define BOLD "\033[1m"
#define RED "\033[1;31m"
#define YELLOW "\033[33m"
#define DIM "\033[2m"
#define END "\033[0m"
#define PLAIN ""
#define MAPS_MOST 12
#define HEADING 10 /* columns of a line's first word, where it has one */

typedef struct page {
    const cmd_view *v;
    unsigned row;
} page;

/* ---- values as text ---- */

/* Bytes in binary units, as in the dashboard. */
static const char *size(char out[24], double n)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    int unit = 0;

    for (; n >= 1024 && unit < 4; unit++) n /= 1024;
    snprintf(out, 24, unit == 0 ? "%.0f %s" : "%.1f %s", n, units[unit]);
    return out;
}

/* The size that starts the next collection. Without automatic collections it is the largest number
 * that there is. */
static const char *trigger(char out[24], double n)
{
    return n < 0x1p63 ? size(out, n) : "never";
}

static const char *span(char out[24], double ns)
{
    if (ns >= 1e9)
        snprintf(out, 24, "%.2f s", ns / 1e9);
    else if (ns >= 1e6)
        snprintf(out, 24, "%.1f ms", ns / 1e6);
    else
        snprintf(out, 24, "%.0f us", ns / 1e3);
    return out;
}

/* Seconds between two states; 0 without an earlier one. */
static double seconds(const cmd_json *now, const cmd_json *before)
{
    if (before == NULL) return 0;
    return (cmd_json_number(now, "unix_ns") - cmd_json_number(before, "unix_ns")) / 1e9;
}

static double rate(const cmd_json *now, const cmd_json *before, const char *path)
{
    double s = seconds(now, before);

    return s > 0 ? (cmd_json_number(now, path) - cmd_json_number(before, path)) / s : 0;
}

/* ---- lines of a page ---- */

/* The number of bytes of s that fit into so many columns. A character of UTF-8 takes one column. */
static int fits(const char *s, unsigned columns)
{
    int n = 0;

    for (; s[n] != '\0'; n++)
        if (((unsigned char)s[n] & 0xc0) != 0x80 && columns-- == 0) break;
    return n;
}

/* The bytes of s for a line of so many columns: up to the last space there, if there is one that
 * does not only indent. */
static int piece(const char *s, unsigned columns)
{
    int n = fits(s, columns), lead = (int)strspn(s, " ");

    if (s[n] == '\0' || s[n] == ' ') return n;
    for (int end = n; end > lead; end--)
        if (s[end - 1] == ' ') return end;
    return n;
}

static void put(page *p, const char *color, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void put(page *p, const char *color, const char *format, ...)
{
    char line[1024], *at = line;
    unsigned indent = 0, next;
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    cmd_clean(line, strlen(line), "");
    next = line[0] == ' ' ? (unsigned)strspn(line, " ") + 2 : HEADING;
    if (2 * next > p->v->columns) next = p->v->columns > 8 ? 2 : 0;
    while (*at != '\0') {
        int n = piece(at, p->v->columns > indent ? p->v->columns - indent : 1);

        if (p->v->rows != 0 && p->row + 1 >= p->v->rows) return;
        if (p->v->color) fputs(color, p->v->out);
        fprintf(p->v->out, "%*s%.*s", (int)indent, "", n, at);
        if (p->v->color && color[0] != '\0') fputs(END, p->v->out);
        fputs(p->v->erase ? "\033[K\n" : "\n", p->v->out);
        p->row++;
        at += n;
        at += strspn(at, " ");
        indent = next;
    }
}

static void put_memory(page *p, const cmd_json *now, const cmd_json *before)
{
    char a[24], b[24], c[24], d[24];
    const cmd_json *m = cmd_json_at(now, "memory");

    put(p, PLAIN, "heap      %s allocated, %s in spans, next collection: %s, %s given back",
        size(a, cmd_json_number(m, "heap_alloc")), size(b, cmd_json_number(m, "heap_inuse")),
        trigger(c, cmd_json_number(m, "next_gc")), size(d, cmd_json_number(m, "heap_released")));
    if (before != NULL)
        put(p, PLAIN, "          %.0f objects; allocates %s and %.0f objects a second",
            cmd_json_number(m, "heap_objects"), size(a, rate(now, before, "memory.total_alloc")),
            rate(now, before, "memory.mallocs"));
    else
        put(p, PLAIN, "          %.0f objects", cmd_json_number(m, "heap_objects"));
    put(p, PLAIN, "threads   %.0f, their stacks %s; finalizers that are due: %.0f",
        cmd_json_number(m, "threads"), size(a, cmd_json_number(m, "stack_inuse")),
        cmd_json_number(m, "finalizers_ready"));
}

static void put_collections(page *p, const cmd_json *now, const cmd_json *before)
{
    const cmd_json *cycles = cmd_json_at(now, "cycles"), *last = NULL;
    double worst = 0;
    char a[24], b[24], c[24], often[32] = "";

    for (const cmd_json *g = cycles != NULL ? cycles->first : NULL; g != NULL; g = g->next) {
        double pause = cmd_json_number(g, "pause_ns");

        worst = pause > worst ? pause : worst;
        last = g;
    }
    if (before != NULL)
        snprintf(often, sizeof often, " %.1f a second,", rate(now, before, "memory.num_gc"));
    put(p, PLAIN, "collected %.0f times,%s %.1f %% of the CPU time",
        cmd_json_number(now, "memory.num_gc"), often,
        100 * cmd_json_number(now, "memory.gc_cpu_fraction"));
    if (last != NULL)
        put(p, PLAIN, "          last pause %s, longest of the last %zu %s; live then %s",
            span(a, cmd_json_number(last, "pause_ns")), cmd_json_count(now, "cycles"),
            span(b, worst), size(c, cmd_json_number(last, "live")));
}

static void put_map(page *p, const cmd_json *m)
{
    char a[24], b[24], resize[64] = "";
    double entries = cmd_json_number(m, "entries"), bytes = cmd_json_number(m, "array_bytes");

    if (cmd_json_number(m, "growing") != 0)
        snprintf(resize, sizeof(resize), "%.0f %% moved, old array %s",
                 100 * cmd_json_number(m, "moved"), size(a, cmd_json_number(m, "old_array_bytes")));
    if (cmd_json_number(m, "bad_hash") != 0) snprintf(resize, sizeof(resize), "bad hash");
    put(p, cmd_json_number(m, "growing") != 0 ? YELLOW : PLAIN,
        "  %-16s %-8s %11.0f %5.0f %% %10s %10s  %s", cmd_json_text(m, "address"),
        cmd_json_text(m, "kind"), entries, 100 * cmd_json_number(m, "load"), size(a, bytes),
        entries > 0 ? size(b, bytes / entries) : "-", resize);
}

static void put_maps(page *p, const cmd_json *now)
{
    const cmd_json *maps = cmd_json_at(now, "maps"), *largest = cmd_json_at(maps, "largest");
    char a[24], b[24];
    int shown = 0;

    put(p, PLAIN, "maps      %.0f with %.0f entries, arrays %s, arrays that are being left %s",
        cmd_json_number(maps, "count"), cmd_json_number(maps, "entries"),
        size(a, cmd_json_number(maps, "array_bytes")),
        size(b, cmd_json_number(maps, "old_array_bytes")));
    if (largest == NULL || largest->first == NULL) return;
    put(p, DIM, "  %-16s %-8s %11s %7s %10s %10s  %s", "map", "kind", "entries", "load", "array",
        "an entry", "resize");
    for (const cmd_json *m = largest->first; m != NULL && shown < MAPS_MOST; m = m->next, shown++)
        put_map(p, m);
    if (cmd_json_number(maps, "count") > shown)
        put(p, DIM, "  and %.0f smaller ones", cmd_json_number(maps, "count") - shown);
}

static void put_suspects(page *p, const cmd_json *now)
{
    const cmd_json *f = cmd_json_at(now, "leaks.findings");

    if (cmd_json_number(now, "leaks.looks") == 0 && cmd_json_count(now, "leaks.findings") == 0) {
        put(p, DIM,
            "suspects  the leak detector has not looked yet (OAKUM_DETECTOR=1, or "
            "oakum run --growth)");
        return;
    }
    put(p, PLAIN, "suspects  %zu, after %.0f looks", cmd_json_count(now, "leaks.findings"),
        cmd_json_number(now, "leaks.looks"));
    for (f = f != NULL ? f->first : NULL; f != NULL; f = f->next) {
        bool active = cmd_json_number(f, "active") != 0;
        bool leak = strcmp(cmd_json_text(f, "severity"), "leak") == 0;

        put(p,
            !active ? DIM
            : leak  ? RED
                    : YELLOW,
            "  %s%s %s: %s", cmd_json_text(f, "severity"), active ? "" : " (over)",
            cmd_json_text(f, "kind"), cmd_json_text(f, "subject"));
        if (cmd_json_at(f, "site") != NULL)
            put(p, PLAIN, "    site=%.0f: %s", cmd_json_number(f, "site"),
                cmd_json_text(f, "evidence"));
        else
            put(p, PLAIN, "    %s", cmd_json_text(f, "evidence"));
    }
}

void cmd_view_page(const cmd_view *v, const cmd_server *s, const cmd_json *now,
                   const cmd_json *before)
{
    page p = { v, 0 };
    bool local = s->path[0] != '\0';

    if (v->erase) fputs("\033[H", v->out);
    put(&p, BOLD, "%s, process %.0f, Oakum %s, %s%s%s%s%s", cmd_json_text(now, "program"),
        cmd_json_number(now, "pid"), cmd_json_text(now, "version"), local ? "unix:" : "http://",
        local ? s->path : s->host, local ? "" : ":", local ? "" : s->port, local ? "" : "/");
    put_memory(&p, now, before);
    put_collections(&p, now, before);
    put_maps(&p, now);
    put_suspects(&p, now);
    if (v->erase) fputs("\033[J", v->out);
    fflush(v->out);
}

/* ---- a line ---- */

void cmd_view_heading(FILE *out)
{
    fprintf(out, "%10s %10s %10s %10s %12s %8s %9s %6s %8s\n", "allocated", "in spans", "next gc",
            "live", "allocates/s", "gcs", "pause", "maps", "suspects");
}

void cmd_view_line(FILE *out, const cmd_json *now, const cmd_json *before)
{
    const cmd_json *m = cmd_json_at(now, "memory"), *last = NULL, *c = cmd_json_at(now, "cycles");
    char a[24], b[24], d[24], e[24], f[24], g[24];

    for (c = c != NULL ? c->first : NULL; c != NULL; c = c->next) last = c;
    fprintf(out, "%10s %10s %10s %10s %12s %8.0f %9s %6.0f %8zu\n",
            size(a, cmd_json_number(m, "heap_alloc")), size(b, cmd_json_number(m, "heap_inuse")),
            trigger(d, cmd_json_number(m, "next_gc")),
            last != NULL ? size(e, cmd_json_number(last, "live")) : "-",
            before != NULL ? size(f, rate(now, before, "memory.total_alloc")) : "-",
            cmd_json_number(m, "num_gc"),
            last != NULL ? span(g, cmd_json_number(last, "pause_ns")) : "-",
            cmd_json_number(now, "maps.count"), cmd_json_count(now, "leaks.findings"));
    fflush(out);
}

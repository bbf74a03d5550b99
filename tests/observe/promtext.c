/* promtext.c - a reader of Prometheus' text format for tests (promtext.h). */
#include "promtext.h"

#include <check.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME 128
#define SERIES 512

typedef struct reader {
    char family[NAME], type[NAME];
    char seen[SERIES][256]; /* families and samples that were met */
    unsigned nseen, samples;
    double bucket;          /* the last one, of a histogram */
} reader;

static void met(reader *r, const char *kind, const char *what, size_t n)
{
    ck_assert_uint_lt(r->nseen, SERIES);
    char *name = r->seen[r->nseen];
    int len = snprintf(name, sizeof r->seen[0], "%s %.*s", kind, (int)n, what);
    ck_assert_int_lt(len, (int)sizeof r->seen[0]);
    for (unsigned i = 0; i < r->nseen; i++)
        ck_assert_msg(strcmp(r->seen[i], name) != 0, "twice: %s", name);
    r->nseen++;
}

static size_t name_length(const char *p)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == ':') n++;
    ck_assert_msg(n > 0 && !isdigit((unsigned char)p[0]), "no name: %.40s", p);
    return n;
}

/* Behind {a="b",c="d"}. */
static const char *labels(const char *p)
{
    if (*p != '{') return p;
    do {
        p++;
        p += name_length(p);
        ck_assert_msg(p[0] == '=' && p[1] == '"', "no label: %.40s", p);
        for (p += 2; *p != '"'; p++) {
            ck_assert_msg(*p != '\n' && *p != '\0', "a label without an end");
            if (*p == '\\') {
                p++;
                ck_assert_msg(*p && strchr("\\\"n", *p), "no escape: \\%c", *p);
            }
        }
        p++;
    } while (*p == ',');
    ck_assert_msg(*p == '}', "no end of labels: %.40s", p);
    return p + 1;
}

static double number(const char *p, const char **end)
{
    char *stop;
    double v = strtod(p, &stop);
    ck_assert_msg(stop > p && (*stop == '\n' || *stop == ' '), "no number: %.40s", p);
    *end = stop;
    return v;
}

static bool has_suffix(const char *name, size_t n, const char *suffix)
{
    size_t m = strlen(suffix);
    return n > m && memcmp(name + n - m, suffix, m) == 0;
}

static void check_histogram(reader *r, const char *name, size_t n, double v)
{
    if (has_suffix(name, n, "_bucket")) {
        ck_assert_msg(v >= r->bucket, "%.*s: buckets must rise", (int)n, name);
        r->bucket = v;
    } else if (has_suffix(name, n, "_count")) {
        ck_assert(v == r->bucket);
    } else {
        ck_assert_msg(has_suffix(name, n, "_sum"), "%.*s", (int)n, name);
    }
}

static const char *sample(reader *r, const char *p)
{
    size_t n = name_length(p), family = strlen(r->family);
    const char *end = labels(p + n);
    ck_assert_msg(strncmp(p, r->family, family) == 0, "%.*s in %s", (int)n, p, r->family);
    met(r, "sample", p, (size_t)(end - p));
    ck_assert_msg(*end == ' ', "no blank: %.40s", end);
    const char *after;
    double v = number(end + 1, &after);
    if (strcmp(r->type, "histogram") == 0) check_histogram(r, p, n, v);
    else ck_assert_msg(n == family, "%.*s in %s", (int)n, p, r->family);
    if (strcmp(r->type, "counter") == 0) ck_assert(has_suffix(p, n, "_total"));
    r->samples++;
    return after;
}

static const char *comment(reader *r, const char *p)
{
    char word[16], name[NAME];
    int n = 0;
    ck_assert_int_eq(sscanf(p, "# %15s %127s %n", word, name, &n), 2);
    if (strcmp(word, "HELP") == 0) {
        met(r, "family", name, strlen(name));
        snprintf(r->family, sizeof r->family, "%s", name);
        r->type[0] = '\0';
    } else {
        ck_assert_str_eq(word, "TYPE");
        ck_assert_str_eq(name, r->family);
        ck_assert_int_eq(sscanf(p + n, "%127s", r->type), 1);
        ck_assert(strcmp(r->type, "gauge") == 0 || strcmp(r->type, "counter") == 0 ||
                  strcmp(r->type, "histogram") == 0);
        r->bucket = 0;
    }
    return p + strcspn(p, "\n");
}

unsigned prom_check(const char *text)
{
    reader *r = calloc(1, sizeof *r);
    for (const char *p = text; *p; p++) {
        p = *p == '#' ? comment(r, p) : sample(r, p);
        ck_assert_msg(*p == '\n', "no end of the line: %.40s", p);
    }
    unsigned n = r->samples;
    free(r);
    return n;
}

double prom_value(const char *text, const char *what)
{
    size_t n = strlen(what);
    const char *end;
    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, what, n) == 0 && p[n] == ' ') return number(p + n + 1, &end);
    }
    ck_abort_msg("no %s", what);
    return 0;
}

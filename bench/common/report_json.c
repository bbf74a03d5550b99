/* report_json.c - the figures of a suite as JSON, with those of each round. */
#include <stdio.h>
#include <stdlib.h>

#include "common/suite.h"
#include "observe/json.h"

static bool to_file(void *file, const char *p, size_t n)
{
    return fwrite(p, 1, n, file) == n;
}

/* As many digits as count. */
static void put_rounded(oaki_json *j, double v, int figures)
{
    char text[64];
    snprintf(text, sizeof text, "%.*g", figures, v);
    oaki_json_double(j, strtod(text, NULL));
}

static void put_bar(const options *o, oaki_json *j, double value, double bar)
{
    if (bar <= 0 || o->quick) return;
    oaki_json_put_double(j, "bar", bar);
    oaki_json_put_bool(j, "met", value <= bar);
}

static void put_peers(const options *o, oaki_json *j, const metric *m)
{
    oaki_json_key(j, "peers");
    oaki_json_object(j);
    for (unsigned p = 0; p < the_suite.npeers; p++) {
        if (m->rounds[p] == 0) continue;
        oaki_json_key(j, the_suite.peers[p]);
        oaki_json_object(j);
        oaki_json_key(j, "value");
        put_rounded(j, figure(o, m, p), 6);
        oaki_json_key(j, "rounds");
        oaki_json_array(j);
        for (unsigned r = 0; r < m->rounds[p]; r++) put_rounded(j, m->value[p][r], 6);
        oaki_json_array_end(j);
        oaki_json_object_end(j);
    }
    oaki_json_object_end(j);
}

static void put_ratios(const options *o, oaki_json *j, const metric *m)
{
    oaki_json_key(j, "ratios");
    oaki_json_object(j);
    for (unsigned c = 0; c < the_suite.ncolumns; c++) {
        double r = ratio(o, m, c);
        if (r < 0) continue;
        oaki_json_key(j, the_suite.columns[c].title);
        oaki_json_object(j);
        oaki_json_key(j, "value");
        put_rounded(j, r, 4);
        put_bar(o, j, r, m->bar[c]);
        oaki_json_object_end(j);
    }
    oaki_json_object_end(j);
}

static void put_row(const options *o, oaki_json *j, const bench *b, const metric *m)
{
    oaki_json_line(j, 4);
    oaki_json_object(j);
    oaki_json_put_string(j, "benchmark", b->name);
    oaki_json_put_string(j, "arguments", o->quick ? b->quick : b->full);
    oaki_json_put_string(j, "figure", m->key);
    oaki_json_put_string(j, "unit", m->unit);
    if (m->ours) oaki_json_put_string(j, "ours", the_suite.peers[m->ours]);
    oaki_json_line(j, 5);
    put_peers(o, j, m);
    oaki_json_line(j, 5);
    put_ratios(o, j, m);
    if (figure(o, m, OAKUM) >= 0) put_bar(o, j, figure(o, m, OAKUM), m->most);
    oaki_json_object_end(j);
}

static void put_table(const options *o, oaki_json *j, const char *key, bool counts)
{
    oaki_json_line(j, 1);
    oaki_json_key(j, key);
    oaki_json_array(j);
    for (const bench *b = the_suite.benches; b < the_suite.benches + the_suite.nbenches; b++) {
        const metric *m = b->selected ? next_row(b, counts, NULL) : NULL;
        for (; m; m = next_row(b, counts, m)) put_row(o, j, b, m);
    }
    oaki_json_array_end(j);
}

static void put_mean(const options *o, oaki_json *j)
{
    oaki_json_line(j, 1);
    oaki_json_key(j, "mean");
    oaki_json_object(j);
    for (unsigned c = 0; c < the_suite.ncolumns; c++) {
        double r = mean_ratio(o, c);
        if (r < 0) continue;
        oaki_json_key(j, the_suite.columns[c].title);
        oaki_json_object(j);
        oaki_json_key(j, "value");
        put_rounded(j, r, 4);
        put_bar(o, j, r, the_suite.mean.bar[c]);
        oaki_json_object_end(j);
    }
    oaki_json_object_end(j);
}

void print_json(const options *o, FILE *f)
{
    char line[256];
    oaki_json j;
    oaki_json_init(&j, to_file, f);
    j.terminal = true;
    machine_line(line, sizeof line);
    oaki_json_object(&j);
    oaki_json_put_string(&j, "machine", line);
    oaki_json_put_u64(&j, "rounds", o->rounds);
    oaki_json_put_string(&j, "statistic", o->minimum ? "minimum" : "median");
    oaki_json_put_bool(&j, "quick", o->quick);
    oaki_json_line(&j, 1);
    oaki_json_key(&j, "peers");
    oaki_json_object(&j);
    for (unsigned p = 0; p < the_suite.npeers; p++)
        if (o->title[p]) oaki_json_put_string(&j, the_suite.peers[p], o->title[p]);
    oaki_json_object_end(&j);
    if (!o->counted) put_table(o, &j, "figures", false);
    if (the_suite.mean.what && !o->counted) put_mean(o, &j);
    put_table(o, &j, "counts", true);
    oaki_json_object_end(&j);
    (void)oaki_json_finish(&j);
}

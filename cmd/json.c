/* json.c - rows, series and scenarios as JSON (RFC 8259).
 *
 * Text is ASCII or UTF-8 as it comes; control characters, quotes and backslashes are escaped, and
 * what is no UTF-8 is U+FFFD.
 * Numbers that JSON cannot write (infinities, not a number) are null. */
#include "cmd.h"

#include "report.h"
#include <math.h>
#include <string.h>

void cmd_json_string(FILE *out, const char *text)
{
    size_t n = strlen(text), len;

    fputc('"', out);
    for (; n > 0; text += len, n -= len) {
        unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];

        len = cmd_character(text, n);
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (len != 0)
            fwrite(text, 1, len, out);
        else if (c < 0x80)
            fprintf(out, "\\u%04x", c);
        else
            fprintf(out, "\\u%04x", c == 0xc2 && next >= 0x80 && next < 0xa0 ? next : 0xfffd);
        if (len == 0) len = c == 0xc2 && next >= 0x80 && next < 0xa0 ? 2 : 1;
    }
    fputc('"', out);
}

static void put_number(FILE *out, double value)
{
    if (!isfinite(value))
        fputs("null", out);
    else if (value == floor(value) && fabs(value) < 1e15)
        fprintf(out, "%.0f", value);
    else
        fprintf(out, "%.6g", value);
}

static void put_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, "\"%s\": ", name);
    if (text[0] != '\0')
        cmd_json_string(out, text);
    else
        fputs("null", out);
}

static const char *unit_name(scn_unit unit)
{
    static const char *const names[] = { "bytes", "count", "percent", "ratio", "measure" };

    return names[unit];
}

static void put_value(FILE *out, double value, scn_unit unit)
{
    fputs("\"value\": ", out);
    put_number(out, value);
    fprintf(out, ", \"unit\": \"%s\"", unit_name(unit));
}

static void put_expectation(FILE *out, const scn_expectation *e)
{
    fputs("{", out);
    put_text(out, "name", e->name);
    fputs(", \"seen\": ", out);
    put_number(out, e->seen);
    fputs(", \"low\": ", out);
    put_number(out, e->low);
    fputs(", \"high\": ", out);
    put_number(out, e->high);
    fprintf(out, ", \"ok\": %s}", e->ok ? "true" : "false");
}

static void put_lists(FILE *out, const scn_result *r)
{
    fputs(",\n     \"figures\": [", out);
    for (unsigned i = 0; i < r->figure_count; i++) {
        fputs(i != 0 ? ",\n       {" : "\n       {", out);
        put_text(out, "name", r->figures[i].name);
        fputs(", ", out);
        put_value(out, r->figures[i].value, r->figures[i].unit);
        fputs("}", out);
    }
    fputs("],\n     \"expectations\": [", out);
    for (unsigned i = 0; i < r->expectation_count; i++) {
        fputs(i != 0 ? ",\n       " : "\n       ", out);
        put_expectation(out, &r->expectations[i]);
    }
    fputs("]", out);
}

static void put_row(FILE *out, const scn_result *r)
{
    fputs("    {", out);
    put_text(out, "scenario", r->scenario->id);
    fprintf(out, ", \"class\": \"%c\", ", r->scenario->class);
    put_text(out, "what", r->what);
    fputs(",\n     ", out);
    put_text(out, "policy", r->scenario->maps ? r->policy->name : "");
    fputs(", \"retained\": ", out);
    if (r->has_retained) {
        fputs("{", out);
        put_value(out, r->retained, r->unit);
        fputs("}", out);
    } else {
        fputs("null", out);
    }
    fputs(",\n     ", out);
    put_text(out, "go_1_19", r->go);
    fputs(", ", out);
    put_text(out, "pointed_at_by", r->pointed);
    fprintf(out, ",\n     \"ok\": %s, ", scn_result_ok(r) ? "true" : "false");
    put_text(out, "skipped", r->skipped);
    fputs(", ", out);
    put_text(out, "failure", r->failure);
    put_lists(out, r);
    fputs("}", out);
}

static void put_series(FILE *out, const scn_series *series)
{
    fputs("    {", out);
    put_text(out, "id", series->scenario->id);
    fputs(", ", out);
    put_text(out, "policy", series->scenario->maps ? series->policy->name : "");
    fputs(", \"points\": [", out);
    for (size_t i = 0; i < series->count; i++)
        fprintf(out, "%s[%.1f, %.0f]", i != 0 ? ", " : "", series->samples[i].ms,
                series->samples[i].bytes);
    fputs("]}", out);
}

static void put_all_series(FILE *out, const cmd_outcome *outcomes, size_t count)
{
    bool any = false;

    fputs("  \"heap_over_time\": [", out);
    for (size_t i = 0; i < count; i++) {
        for (unsigned p = 0; p < scn_policy_count; p++) {
            if (outcomes[i].series[p].count == 0) continue;
            fputs(any ? ",\n" : "\n", out);
            put_series(out, &outcomes[i].series[p]);
            any = true;
        }
    }
    fputs("\n  ]", out);
}

void cmd_json_results(FILE *out, const cmd_outcome *outcomes, size_t count, const cmd_tally *tally)
{
    bool any = false;

    fputs("{\n  \"versions\": {", out);
    put_text(out, "oakum", oak_version());
    fputs(", ", out);
    put_text(out, "go", CMD_GO_VERSION);
    fprintf(out,
            "},\n  \"ok\": %s, \"seconds\": %.1f, \"scenarios\": %zu, \"failed_scenarios\": %zu,\n",
            tally->failed_rows == 0 ? "true" : "false", tally->seconds, tally->scenarios,
            tally->failed_scenarios);
    fprintf(out, "  \"repeated_scenarios\": %zu,\n", tally->repeated_scenarios);
    fprintf(out, "  \"failed_rows\": %zu, \"skipped_rows\": %zu,\n  \"rows\": [",
            tally->failed_rows, tally->skipped_rows);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < outcomes[i].rows.count; j++) {
            fputs(any ? ",\n" : "\n", out);
            put_row(out, &outcomes[i].rows.rows[j]);
            any = true;
        }
    }
    fputs("\n  ],\n", out);
    put_all_series(out, outcomes, count);
    fputs("\n}\n", out);
}

void cmd_json_list(FILE *out, const scn_scenario *const *scenarios)
{
    fputs("{\n  \"scenarios\": [", out);
    for (size_t i = 0; scenarios[i] != NULL; i++) {
        fputs(i != 0 ? ",\n    {" : "\n    {", out);
        put_text(out, "id", scenarios[i]->id);
        fprintf(out, ", \"class\": \"%c\", ", scenarios[i]->class);
        put_text(out, "source", scenarios[i]->source);
        fputs(", ", out);
        put_text(out, "leak", scenarios[i]->leak);
        fputs("}", out);
    }
    fputs("\n  ]\n}\n", out);
}

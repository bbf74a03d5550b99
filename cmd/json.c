/* json.c - prints rows, series and scenarios as JSON, with observe's writer (observe/json.h).
 *
 * Figures are rounded: times to a tenth, and numbers that aren't whole to six digits. Whole numbers
 * up to 1e15 are exact. */
#include "cmd.h"

#include "report.h"
#include <math.h>
#include <stdlib.h>

static bool to_file(void *file, const char *p, size_t n)
{
    return fwrite(p, 1, n, file) == n;
}

void cmd_json_init(oaki_json *j, FILE *out)
{
    oaki_json_init(j, to_file, out);
    j->terminal = true;
}

static double six_digits(double value)
{
    char text[32];

    if (!isfinite(value) || (value == floor(value) && fabs(value) < 1e15)) return value;
    snprintf(text, sizeof(text), "%.6g", value);
    return strtod(text, NULL);
}

static double tenths(double value)
{
    return nearbyint(value * 10) / 10;
}

/* An empty text is null. */
static void put_text(oaki_json *j, const char *key, const char *text)
{
    oaki_json_put_string(j, key, text[0] != '\0' ? text : NULL);
}

static const char *unit_name(scn_unit unit)
{
    static const char *const names[] = { "bytes", "count", "percent", "ratio", "measure" };

    return names[unit];
}

static void put_value(oaki_json *j, double value, scn_unit unit)
{
    oaki_json_put_double(j, "value", six_digits(value));
    oaki_json_put_string(j, "unit", unit_name(unit));
}

static void put_class(oaki_json *j, const scn_scenario *scenario)
{
    char text[] = { scenario->class, '\0' };

    oaki_json_put_string(j, "class", text);
}

static void put_expectation(oaki_json *j, const scn_expectation *e)
{
    oaki_json_object(j);
    put_text(j, "name", e->name);
    oaki_json_put_double(j, "seen", six_digits(e->seen));
    oaki_json_put_double(j, "low", six_digits(e->low));
    oaki_json_put_double(j, "high", six_digits(e->high));
    oaki_json_put_bool(j, "ok", e->ok);
    oaki_json_object_end(j);
}

static void put_lists(oaki_json *j, const scn_result *r)
{
    oaki_json_line(j, 5);
    oaki_json_key(j, "figures");
    oaki_json_array(j);
    for (unsigned i = 0; i < r->figure_count; i++) {
        oaki_json_line(j, 7);
        oaki_json_object(j);
        put_text(j, "name", r->figures[i].name);
        put_value(j, r->figures[i].value, r->figures[i].unit);
        oaki_json_object_end(j);
    }
    oaki_json_array_end(j);
    oaki_json_line(j, 5);
    oaki_json_key(j, "expectations");
    oaki_json_array(j);
    for (unsigned i = 0; i < r->expectation_count; i++) {
        oaki_json_line(j, 7);
        put_expectation(j, &r->expectations[i]);
    }
    oaki_json_array_end(j);
}

static void put_retained(oaki_json *j, const scn_result *r)
{
    oaki_json_key(j, "retained");
    if (!r->has_retained) {
        oaki_json_null(j);
        return;
    }
    oaki_json_object(j);
    put_value(j, r->retained, r->unit);
    oaki_json_object_end(j);
}

static void put_row(oaki_json *j, const scn_result *r)
{
    oaki_json_line(j, 4);
    oaki_json_object(j);
    put_text(j, "scenario", r->scenario->id);
    put_class(j, r->scenario);
    put_text(j, "what", r->what);
    oaki_json_line(j, 5);
    put_text(j, "policy", r->scenario->maps ? r->policy->name : "");
    put_retained(j, r);
    oaki_json_line(j, 5);
    put_text(j, "go_1_19", r->go);
    put_text(j, "pointed_at_by", r->pointed);
    oaki_json_line(j, 5);
    oaki_json_put_bool(j, "ok", scn_result_ok(r));
    put_text(j, "skipped", r->skipped);
    put_text(j, "failure", r->failure);
    put_lists(j, r);
    oaki_json_object_end(j);
}

static void put_series(oaki_json *j, const scn_series *series)
{
    oaki_json_line(j, 4);
    oaki_json_object(j);
    put_text(j, "id", series->scenario->id);
    put_text(j, "policy", series->scenario->maps ? series->policy->name : "");
    oaki_json_key(j, "points");
    oaki_json_array(j);
    for (size_t i = 0; i < series->count; i++) {
        oaki_json_array(j);
        oaki_json_double(j, tenths(series->samples[i].ms));
        oaki_json_double(j, nearbyint(series->samples[i].bytes));
        oaki_json_array_end(j);
    }
    oaki_json_array_end(j);
    oaki_json_object_end(j);
}

static void put_all_series(oaki_json *j, const cmd_outcome *outcomes, size_t count)
{
    oaki_json_line(j, 2);
    oaki_json_key(j, "heap_over_time");
    oaki_json_array(j);
    for (size_t i = 0; i < count; i++)
        for (unsigned p = 0; p < scn_policy_count; p++)
            if (outcomes[i].series[p].count != 0) put_series(j, &outcomes[i].series[p]);
    oaki_json_line(j, 2);
    oaki_json_array_end(j);
}

static void put_tally(oaki_json *j, const cmd_tally *tally)
{
    oaki_json_line(j, 2);
    oaki_json_put_bool(j, "ok", tally->failed_rows == 0);
    oaki_json_put_double(j, "seconds", tenths(tally->seconds));
    oaki_json_put_u64(j, "scenarios", tally->scenarios);
    oaki_json_put_u64(j, "failed_scenarios", tally->failed_scenarios);
    oaki_json_line(j, 2);
    oaki_json_put_u64(j, "repeated_scenarios", tally->repeated_scenarios);
    oaki_json_line(j, 2);
    oaki_json_put_u64(j, "failed_rows", tally->failed_rows);
    oaki_json_put_u64(j, "skipped_rows", tally->skipped_rows);
}

void cmd_json_results(FILE *out, const cmd_outcome *outcomes, size_t count, const cmd_tally *tally)
{
    oaki_json j;

    cmd_json_init(&j, out);
    oaki_json_object(&j);
    oaki_json_line(&j, 2);
    oaki_json_key(&j, "versions");
    oaki_json_object(&j);
    put_text(&j, "oakum", oak_version());
    put_text(&j, "go", CMD_GO_VERSION);
    oaki_json_object_end(&j);
    put_tally(&j, tally);
    oaki_json_line(&j, 2);
    oaki_json_key(&j, "rows");
    oaki_json_array(&j);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < outcomes[i].rows.count; k++) put_row(&j, &outcomes[i].rows.rows[k]);
    oaki_json_line(&j, 2);
    oaki_json_array_end(&j);
    put_all_series(&j, outcomes, count);
    oaki_json_line(&j, 0);
    oaki_json_object_end(&j);
    (void)oaki_json_finish(&j); /* a failure is the stream's */
}

void cmd_json_list(FILE *out, const scn_scenario *const *scenarios)
{
    oaki_json j;

    cmd_json_init(&j, out);
    oaki_json_object(&j);
    oaki_json_line(&j, 2);
    oaki_json_key(&j, "scenarios");
    oaki_json_array(&j);
    for (size_t i = 0; scenarios[i] != NULL; i++) {
        oaki_json_line(&j, 4);
        oaki_json_object(&j);
        put_text(&j, "id", scenarios[i]->id);
        put_class(&j, scenarios[i]);
        put_text(&j, "source", scenarios[i]->source);
        put_text(&j, "leak", scenarios[i]->leak);
        oaki_json_object_end(&j);
    }
    oaki_json_line(&j, 2);
    oaki_json_array_end(&j);
    oaki_json_line(&j, 0);
    oaki_json_object_end(&j);
    (void)oaki_json_finish(&j);
}

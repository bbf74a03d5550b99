/* serve_leaks.c - the leak detector's findings, as JSON and as metrics.
 *
 * Owns: nothing; runs on the light worker. A finding may keep its map alive. So copies are in
 * memory that is not scanned, and are freed at once. Bound: FINDINGS findings. */
#include "serve_json.h"
#include <oakum/detector.h>
#include <stdlib.h>

#define FINDINGS 256

static const char *severity_name(oak_severity s)
{
    return s == OAK_SEVERITY_LEAK ? "leak" : s == OAK_SEVERITY_WARNING ? "warning" : "note";
}

static void put_finding(oaki_json *j, const oak_finding *f)
{
    oaki_json_object(j);
    oaki_json_put_u64(j, "id", f->id);
    oaki_json_put_string(j, "kind", oak_finding_name(f->kind));
    oaki_json_put_string(j, "severity", severity_name(f->severity));
    oaki_json_put_bool(j, "active", f->active);
    oaki_json_put_string(j, "subject", f->subject);
    oaki_json_put_string(j, "evidence", f->evidence);
    if (f->object) oaki_json_put_address(j, "object", f->object);
    if (f->type) oaki_json_put_string(j, "type", oak_type_name(f->type));
    if (f->site >= 0) oaki_json_put_i64(j, "site", f->site);
    oaki_json_put_u64(j, "before", f->before);
    oaki_json_put_u64(j, "now", f->now);
    oaki_json_put_double(j, "slope", f->slope);
    oaki_json_put_u64(j, "looks", f->looks);
    oaki_json_put_u64(j, "first_seen_unix_ns", f->first_seen);
    oaki_json_put_u64(j, "last_seen_unix_ns", f->last_seen);
    oaki_json_put_u64(j, "first_gc", f->first_cycle);
    oaki_json_put_u64(j, "last_gc", f->last_cycle);
    oaki_json_object_end(j);
}

void oaki_serve_put_leaks(oaki_json *j)
{
    oak_finding *f = calloc(FINDINGS, sizeof *f);
    oak_detector_stats stats;
    size_t n = f ? OAKI_MIN(oak_detector_findings(f, FINDINGS), (size_t)FINDINGS) : 0;
    oak_detector_stats_read(&stats);
    oaki_json_object(j);
    oaki_json_put_u64(j, "looks", stats.looks);
    oaki_json_put_u64(j, "dropped", stats.dropped);
    oaki_json_put_u64(j, "stop_ns", stats.stop_ns);
    oaki_json_key(j, "findings");
    oaki_json_array(j);
    for (size_t i = 0; i < n; i++) put_finding(j, &f[i]);
    oaki_json_array_end(j);
    oaki_json_object_end(j);
    free(f);
}

void oaki_serve_leaks(oaki_request *r)
{
    oaki_json j;
    oaki_serve_json_begin(r, &j);
    oaki_serve_put_leaks(&j);
    oaki_serve_json_end(r, &j);
}

void oaki_serve_leak_metrics(oaki_body *b)
{
    oak_detector_stats s;
    oak_detector_stats_read(&s);
    oaki_body_text(b, "# HELP oakum_detector_looks_total Looks that the leak detector has taken.\n"
                      "# TYPE oakum_detector_looks_total counter\n");
    oaki_body_format(b, "oakum_detector_looks_total %llu\n", (unsigned long long)s.looks);
    oaki_body_text(b, "# HELP oakum_detector_findings What it sees now, by kind.\n"
                      "# TYPE oakum_detector_findings gauge\n");
    for (unsigned k = 0; k < OAK_FINDING_KINDS; k++)
        oaki_body_format(b, "oakum_detector_findings{kind=\"%s\"} %llu\n",
                         oak_finding_name((oak_finding_kind)k), (unsigned long long)s.active[k]);
    oaki_body_text(b, "# HELP oakum_detector_findings_total What it has found so far, by kind.\n"
                      "# TYPE oakum_detector_findings_total counter\n");
    for (unsigned k = 0; k < OAK_FINDING_KINDS; k++)
        oaki_body_format(b, "oakum_detector_findings_total{kind=\"%s\"} %llu\n",
                         oak_finding_name((oak_finding_kind)k), (unsigned long long)s.raised[k]);
}

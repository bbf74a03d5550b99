/* report.c - the child's side of a scenario: rows are filled here and sent to the parent when the
 * next one begins.
 *
 * Owns: struct scn, one a process. Rows are filled by the child's main thread; scn_die may be
 *       called by any. */
#include "results.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scn {
    int fd;
    bool in_row;
    double began_us;
    scn_result row;
};

static scn the_run;

const scn_map_policy *scn_policy(const scn *s)
{
    return s->row.policy;
}

static void write_all(const void *data, size_t left)
{
    const char *p = data;

    while (left != 0) {
        ssize_t n = write(the_run.fd, p, left);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) _exit(1);
        p += n;
        left -= (size_t)n;
    }
}

static void send_message(scn_message_kind kind, const void *data, size_t size)
{
    scn_message_head head = { kind, (uint32_t)size };

    write_all(&head, sizeof(head));
    write_all(data, size);
}

static void send_row(scn_message_kind kind)
{
    send_message(kind, &the_run.row, sizeof(the_run.row));
}

void scn_sample_live(double bytes)
{
    scn_sample sample = { (scn_wall_us() - the_run.began_us) / 1e3, bytes };

    if (the_run.fd > 0) send_message(SCN_MESSAGE_SAMPLE, &sample, sizeof(sample));
}

/* A row that expects nothing of its own fails for that. */
static bool expects(const scn *s)
{
    return s->in_row && s->row.expectation_count > 0;
}

static void end_row(scn *s)
{
    if (expects(s)) scn_detector_judge(s);
    if (s->in_row) send_row(SCN_MESSAGE_ROW);
    s->in_row = false;
}

static void send_fatal(const char *text)
{
    snprintf(the_run.row.failure, sizeof(the_run.row.failure), "%s", text);
    send_row(SCN_MESSAGE_FATAL);
}

static void set_environment(const char *setting)
{
    const char *equals = setting != NULL ? strchr(setting, '=') : NULL;
    char name[64];

    if (equals == NULL) return;
    snprintf(name, sizeof(name), "%.*s", (int)(equals - setting), setting);
    if (setenv(name, equals + 1, 1) != 0) scn_die("no room for the environment");
}

void scn_child(const scn_scenario *scenario, const scn_map_policy *policy, int fd)
{
    scn *s = &the_run;

    s->fd = fd;
    s->began_us = scn_wall_us();
    s->row.scenario = scenario;
    s->row.policy = policy;
    set_environment(scenario->environment);
    oak_set_fatal_handler(send_fatal);
    if (oak_init(NULL) != 0) scn_die("oak_init failed");
    if (oak_profile_set_rate(scenario->profile_rate != 0 ? scenario->profile_rate
                                                         : SCN_PROFILE_RATE) != 0)
        scn_die("no memory for the profile");
    scn_detector_begin(NULL);
    scenario->run(s);
    if (expects(s)) scn_detector_end(s);
    end_row(s);
    send_message(SCN_MESSAGE_DONE, NULL, 0);
    _exit(0);
}

void scn_die(const char *format, ...)
{
    char text[sizeof(the_run.row.failure)];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    send_fatal(text);
    _exit(1);
}

/* ---- filling a row ---- */

void scn_row(scn *s, const char *what, ...)
{
    scn_result *r = &s->row;
    const scn_scenario *scenario = r->scenario;
    const scn_map_policy *policy = r->policy;
    va_list ap;

    end_row(s);
    memset(r, 0, sizeof(*r));
    r->scenario = scenario;
    r->policy = policy;
    va_start(ap, what);
    vsnprintf(r->what, sizeof(r->what), what, ap);
    va_end(ap);
    s->in_row = true;
    send_row(SCN_MESSAGE_BEGIN);
}

void scn_retained(scn *s, double value, scn_unit unit)
{
    s->row.has_retained = true;
    s->row.retained = value;
    s->row.unit = unit;
}

void scn_go(scn *s, const char *figure)
{
    snprintf(s->row.go, sizeof(s->row.go), "%s", figure);
}

/* Text that doesn't fit ends in an ellipsis. */
static void point(scn_result *r, size_t at, const char *format, va_list ap)
{
    size_t room = sizeof(r->pointed) - at;

    if ((size_t)vsnprintf(r->pointed + at, room, format, ap) >= room)
        memcpy(r->pointed + sizeof(r->pointed) - 4, "...", 4);
}

void scn_pointed(scn *s, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    point(&s->row, 0, format, ap);
    va_end(ap);
}

void scn_pointed_too(scn *s, const char *format, ...)
{
    scn_result *r = &s->row;
    size_t n = strlen(r->pointed);
    va_list ap;

    if (n != 0 && n + 2 < sizeof(r->pointed)) {
        memcpy(r->pointed + n, "; ", 3);
        n += 2;
    }
    va_start(ap, format);
    point(r, n, format, ap);
    va_end(ap);
}

void scn_figure(scn *s, const char *name, double value, scn_unit unit)
{
    scn_result *r = &s->row;
    scn_named_figure *f;

    if (r->figure_count == SCN_FIGURES) scn_die("more than %d figures in a row", SCN_FIGURES);
    f = &r->figures[r->figure_count++];
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->value = value;
    f->unit = unit;
}

void scn_skip(scn *s, const char *why)
{
    snprintf(s->row.skipped, sizeof(s->row.skipped), "%s", why);
}

/* ---- expectations ---- */

static scn_expectation *expectation(scn *s, const char *name)
{
    scn_result *r = &s->row;
    scn_expectation *e;

    if (r->expectation_count == SCN_EXPECTATIONS)
        scn_die("more than %d expectations in a row", SCN_EXPECTATIONS);
    e = &r->expectations[r->expectation_count++];
    snprintf(e->name, sizeof(e->name), "%s", name);
    return e;
}

void scn_expect(scn *s, const char *name, double seen, double low, double high)
{
    scn_expectation *e = expectation(s, name);

    e->seen = seen;
    e->low = low;
    e->high = high;
    e->ok = seen >= low && seen <= high; /* not a number fails */
}

void scn_expect_true(scn *s, const char *name, bool seen)
{
    scn_expectation *e = expectation(s, name);

    e->seen = seen;
    e->low = e->high = 1;
    e->yes_or_no = true;
    e->ok = seen;
}

void scn_expect_bytes(scn *s, const char *name, double seen, double want, double percent)
{
    double slack = fmax(fabs(want) * percent / 100, SCN_NOISE);

    scn_expect(s, name, seen, want - slack, want + slack);
}

void scn_expect_ratio(scn *s, const char *name, double seen, double want, double percent)
{
    double slack = fabs(want) * percent / 100;

    scn_expect(s, name, seen, want - slack, want + slack);
}

void scn_expect_none(scn *s, const char *name, double bytes)
{
    scn_expect(s, name, bytes, -SCN_NOISE, SCN_NOISE);
}

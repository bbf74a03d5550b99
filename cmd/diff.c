/* diff.c - `oakum diff`: the growth by type between two snapshots; or of a running program, the
 * changes of its heap profile in some seconds. */
#include "live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_JSON, OPT_COUNT, OPT_SECONDS, OPT_HELP };

static const cmd_option options[] = {
    { "json", 0, NULL, "print JSON, of two snapshots" },
    { "count", 0, "N", "show at most N types, or sites (20)" },
    { "seconds", 0, "N", "of a running program: time between two readings (10)" },
    { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

#define TYPES_MOST 100000ul

static void put_line(const oak_snapshot_change *c)
{
    char bytes[24], after[24];
    double grown = (double)c->bytes_after - (double)c->bytes_before;

    cmd_say(stdout, "%12s %+12lld %12s %12llu  %s\n", cmd_bytes(bytes, grown),
            (long long)(c->objects_after - c->objects_before),
            cmd_bytes(after, (double)c->bytes_after), (unsigned long long)c->objects_after,
            c->type);
}

static void put_json(const oak_snapshot_change *c, int n)
{
    oaki_json j;

    cmd_json_init(&j, stdout);
    oaki_json_array(&j);
    for (int i = 0; i < n; i++) {
        oaki_json_line(&j, 2);
        oaki_json_object(&j);
        oaki_json_put_string(&j, "type", c[i].type);
        oaki_json_put_u64(&j, "objects_before", c[i].objects_before);
        oaki_json_put_u64(&j, "objects_after", c[i].objects_after);
        oaki_json_put_u64(&j, "bytes_before", c[i].bytes_before);
        oaki_json_put_u64(&j, "bytes_after", c[i].bytes_after);
        oaki_json_object_end(&j);
    }
    oaki_json_line(&j, 0);
    oaki_json_array_end(&j);
    (void)oaki_json_finish(&j);
}

static void put_text(const oak_snapshot_change *c, int n, size_t total)
{
    printf("%12s %12s %12s %12s  %s\n", "bytes +/-", "objects +/-", "bytes now", "objects now",
           "type");
    for (int i = 0; i < n; i++) put_line(&c[i]);
    if (total > (size_t)n) printf("and %zu other types\n", total - (size_t)n);
}

static int put_changes(const oak_snapshot *a, const oak_snapshot *b, unsigned long count, bool json)
{
    oak_snapshot_change *c = malloc(count * sizeof(*c));
    size_t total = 0;
    int n = c != NULL ? oak_snapshot_diff(a, b, c, count, &total) : -1;

    if (n < 0) {
        fputs("oakum diff: out of memory: try a smaller --count\n", stderr);
        free(c);
        return CMD_FAILED;
    }
    if (json)
        put_json(c, n);
    else
        put_text(c, n, total);
    free(c);
    return CMD_OK;
}

static int diff(const char *before, const char *after, unsigned long count, bool json)
{
    oak_snapshot *a = cmd_snapshot_open("oakum diff", before), *b = NULL;
    int status = CMD_FAILED;

    if (a != NULL) b = cmd_snapshot_open("oakum diff", after);
    if (b != NULL) status = put_changes(a, b, count, json);
    oak_snapshot_close(a);
    oak_snapshot_close(b);
    return status;
}

typedef struct request {
    unsigned count, seconds;
    bool json, help;
} request;

static bool take(void *ctx, int option, const char *value)
{
    request *r = ctx;

    if (option == OPT_JSON) r->json = true;
    if (option == OPT_HELP) r->help = true;
    if (option == OPT_COUNT)
        return cmd_parse_number("oakum diff", "count", TYPES_MOST, value, &r->count);
    if (option == OPT_SECONDS)
        return cmd_parse_number("oakum diff", "seconds", CMD_SECONDS_MOST, value, &r->seconds);
    return true;
}

static int help(void)
{
    fputs("usage: oakum diff [OPTION...] BEFORE AFTER\n"
          "       oakum diff [--seconds=N] PID|URL\n"
          "Compare two snapshots by type, most growth first; or two readings of the heap\n"
          "profile of a running program that has a debug server.\n\n",
          stdout);
    cmd_options_print(options);
    return CMD_OK;
}

int cmd_diff(int argc, char **argv)
{
    cmd_args args = { "oakum diff", options, argc, 1, argv, false };
    request r = { 20, 10, false, false };
    const char *name[2] = { NULL, NULL };
    int names = cmd_args_read(&args, take, &r, name, 2);

    if (names == CMD_ARG_BAD) return CMD_USAGE;
    if (r.help) return help();
    if (names == 1 && cmd_is_server(name[0])) {
        if (!r.json) return cmd_diff_live(name[0], r.count, r.seconds);
        fputs("oakum diff: --json is for two snapshots; of a running program, "
              "'oakum profile --seconds=N -o FILE' saves the changes\n",
              stderr);
        return CMD_USAGE;
    }
    if (names != 2) {
        fputs("oakum diff: wants two snapshots, or one running program; "
              "'oakum diff --help' tells more\n",
              stderr);
        return CMD_USAGE;
    }
    return diff(name[0], name[1], r.count, r.json);
}

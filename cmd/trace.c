/* trace.c - `oakum trace`: records a trace of a running program for some seconds, for Perfetto. */
#include "live.h"

#include <stdlib.h>

#define WAIT_S 90 /* for an answer, besides the seconds that the request asks for */

enum { OPT_OUTPUT, OPT_SECONDS, OPT_HELP };

static const cmd_option options[] = {
    [OPT_OUTPUT] = { "output", 'o', "FILE", "save the trace there, not on standard output" },
    [OPT_SECONDS] = { "seconds", 0, "N", "record for N seconds, 1 to 600 (5)" },
    [OPT_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

typedef struct request {
    const char *output;
    unsigned seconds;
    bool help;
} request;

static bool take(void *ctx, int option, const char *value)
{
    request *r = ctx;

    if (option == OPT_OUTPUT) r->output = value;
    if (option == OPT_HELP) r->help = true;
    return option != OPT_SECONDS ||
           cmd_parse_number("oakum trace", "seconds", CMD_SECONDS_MOST, value, &r->seconds);
}

static void help(void)
{
    fputs("usage: oakum trace [OPTION...] PID|URL\n"
          "Record what a running program does: collections and their phases, sweeping,\n"
          "resizes of maps, the size of the heap and the program's own spans, as JSON that\n"
          "https://ui.perfetto.dev opens.\n\n",
          stdout);
    cmd_options_print(options);
    fputs("\nThe program needs a debug server: OAKUM_DEBUG_SERVE=1 in its environment.\n",
          stdout);
}

int cmd_trace(int argc, char **argv)
{
    request r = { .seconds = 5 };
    cmd_args args = { "oakum trace", options, argc, 1, argv, false };
    cmd_server s;
    cmd_reply reply;
    const char *where;
    char path[64];
    int status;

    if (!cmd_live_args(&args, take, &r, &r.help, &where)) return CMD_USAGE;
    if (r.help) {
        help();
        return CMD_OK;
    }
    snprintf(path, sizeof(path), "/debug/trace?seconds=%u", r.seconds);
    if (!cmd_server_find("oakum trace", where, &s)) return CMD_FAILED;
    if (!cmd_server_get("oakum trace", &s, path, WAIT_S + r.seconds, &reply)) return CMD_FAILED;
    if (r.output == NULL) cmd_clean(reply.body, reply.n, "\t\n");
    status = cmd_output_put("oakum trace", r.output, reply.body, reply.n);
    free(reply.body);
    return status;
}

/* profile.c - `oakum profile`: the heap profile of a running program. Also `oakum why` and `oakum
 * diff` where they ask a running program instead of a snapshot. */
#include "live.h"

#include <stdlib.h>
#include <string.h>

#define SITES_MOST 4096
#define WAIT_S 90 /* for an answer, besides the seconds that the request asks for */

enum { OPT_OUTPUT, OPT_ALLOCS, OPT_SECONDS, OPT_COUNT, OPT_HELP };

static const cmd_option options[] = {
    [OPT_OUTPUT] = { "output", 'o', "FILE", "save it in pprof's format; - is standard output" },
    [OPT_ALLOCS] = { "allocs", 0, NULL, "by allocated memory, not by memory in use" },
    [OPT_SECONDS] = { "seconds", 0, "N", "show the changes in N seconds, 1 to 600" },
    [OPT_COUNT] = { "count", 0, "N", "show at most N sites (20)" },
    [OPT_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

typedef struct request {
    const char *output;
    bool allocs, help;
    unsigned seconds, count;
} request;

static bool take(void *ctx, int option, const char *value)
{
    request *r = ctx;

    if (option == OPT_OUTPUT) r->output = value;
    if (option == OPT_ALLOCS) r->allocs = true;
    if (option == OPT_HELP) r->help = true;
    if (option == OPT_SECONDS)
        return cmd_parse_number("oakum profile", "seconds", CMD_SECONDS_MOST, value, &r->seconds);
    if (option != OPT_COUNT) return true;
    return cmd_parse_number("oakum profile", "count", SITES_MOST, value, &r->count);
}

static void help(void)
{
    fputs("usage: oakum profile [OPTION...] PID|URL\n"
          "Print the heap profile of a running program, the largest sites first, or save it\n"
          "for 'go tool pprof'.\n\n",
          stdout);
    cmd_options_print(options);
    fputs("\nThe program needs a debug server (OAKUM_DEBUG_SERVE=1) and a profile\n"
          "(OAKUM_PROFILE_RATE=512K).\n",
          stdout);
}

int cmd_profile(int argc, char **argv)
{
    request r = { .count = 20 };
    cmd_server s;
    cmd_reply reply;
    char path[128], seconds[32] = "", text[32] = "";
    const char *where;
    cmd_args args = { "oakum profile", options, argc, 1, argv, false };
    int status;

    if (!cmd_live_args(&args, take, &r, &r.help, &where)) return CMD_USAGE;
    if (r.help) {
        help();
        return CMD_OK;
    }
    if (r.seconds != 0) snprintf(seconds, sizeof(seconds), "seconds=%u&", r.seconds);
    if (r.output == NULL) snprintf(text, sizeof(text), "debug=1&n=%u", r.count);
    snprintf(path, sizeof(path), "/debug/pprof/%s?%s%s", r.allocs ? "allocs" : "heap", seconds,
             text);
    if (!cmd_server_find("oakum profile", where, &s)) return CMD_FAILED;
    if (!cmd_server_get("oakum profile", &s, path, WAIT_S + r.seconds, &reply)) return CMD_FAILED;
    if (r.output == NULL) cmd_clean(reply.body, reply.n, "\t\n");
    status = cmd_output_put("oakum profile", r.output, reply.body, reply.n);
    free(reply.body);
    return status;
}

/* ---- why and diff ---- */

/* The address has hexadecimal digits, or is "site=" and a decimal number. */
int cmd_why_live(const char *where, const char *address, bool json)
{
    char path[128];
    bool site = strncmp(address, "site=", 5) == 0;
    const char *digits = site ? address + 5 : address;
    bool prefixed = !site && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');

    digits += prefixed ? 2 : 0;
    if (digits[0] == '\0' || strlen(digits) > 16 ||
        digits[strspn(digits, site ? "0123456789" : "0123456789abcdefABCDEF")] != '\0') {
        cmd_say(stderr, "oakum why: '%s' is no address, nor as site=4; 'oakum top' shows some\n",
                address);
        return CMD_USAGE;
    }
    snprintf(path, sizeof(path), "/debug/why?%s%s%s", site ? "site=" : "addr=0x", digits,
             json ? "&text=0" : "&text=1");
    return cmd_server_print("oakum why", where, path, WAIT_S);
}

int cmd_diff_live(const char *where, unsigned count, unsigned seconds)
{
    char path[128];

    snprintf(path, sizeof(path), "/debug/pprof/profile-diff?debug=1&n=%u&seconds=%u",
             count < SITES_MOST ? count : SITES_MOST, seconds);
    return cmd_server_print("oakum diff", where, path, WAIT_S + seconds);
}
